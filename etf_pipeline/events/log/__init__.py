"""The local event log in SQLite, and the same log as an outbox."""
