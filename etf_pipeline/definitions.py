"""The entry point of `workspace.yaml`: reads the settings, nothing else."""

from etf_pipeline.events.settings import load_event_settings
from etf_pipeline.orchestration.build import build_definitions
from etf_pipeline.settings import load_settings

defs = build_definitions(load_settings(), load_event_settings())
