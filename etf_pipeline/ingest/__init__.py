"""Getting prices: what to ask for, of whom, and what to make of the answer.

No Dagster, no Kafka, and no store: what is known comes in as values. `steps/download.py` reads it,
asks, and keeps what is new.
"""
