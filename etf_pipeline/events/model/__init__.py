"""What events are: envelope, types, and the state that they add up to. Pure."""
