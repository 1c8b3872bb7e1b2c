"""Proofs over recorded events: archive, read models, rebuilt histories, verification."""
