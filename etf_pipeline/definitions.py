"""The entry point of `workspace.yaml`."""

from etf_pipeline.orchestration.build import build_definitions
from etf_pipeline.settings import load_settings

defs = build_definitions(load_settings())
