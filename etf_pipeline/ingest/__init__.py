"""Getting prices: what to ask for, whom, and what to make of the answer. No Dagster, no Kafka."""
