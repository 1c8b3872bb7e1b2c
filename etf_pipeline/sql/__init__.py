"""SQL over the store: the DuckDB catalogue, and queries that can do no harm."""
