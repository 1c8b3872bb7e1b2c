"""One module per asset, without Dagster: from the store to outcomes and what was published."""
