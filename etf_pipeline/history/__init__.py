"""From raw batches to a history that can be trusted. Pure: no Dagster, no network."""
