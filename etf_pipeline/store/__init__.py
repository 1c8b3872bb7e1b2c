"""The Parquet store: where files are, how they are published and read. No Dagster, no Kafka."""
