"""What happened, recorded so that nothing is lost: event model, stores, replay, archive."""
