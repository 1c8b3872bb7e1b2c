"""What is kept of events in files: the local log (an outbox too), the archive, read models."""
