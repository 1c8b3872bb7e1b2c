"""The Parquet store: where files are, how they are published and read. No Dagster, no Kafka.

What the numbers in them mean is decided in the pure rooms; this one reads, guards and writes.
"""
