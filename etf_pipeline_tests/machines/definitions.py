"""What workers execute: `etf_pipeline.definitions` with a clock that may be off."""

from etf_pipeline.events.settings import load_event_settings
from etf_pipeline.orchestration.build import build_definitions
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.settings import load_settings
from etf_pipeline_tests.machines.clock import machine_clock

_settings, _events = load_settings(), load_event_settings()
defs = build_definitions(_settings, _events, Pipeline(_settings, _events, machine_clock))
