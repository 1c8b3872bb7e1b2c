"""Proofs over recorded events: archiving, rebuilt histories, verification."""
