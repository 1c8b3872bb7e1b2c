"""The assets, a module per stage.

Belongs here: what Dagster is told of an asset, and a function that calls one step. Nothing is
computed, read or written here; that is for `etf_pipeline.steps`.
"""
