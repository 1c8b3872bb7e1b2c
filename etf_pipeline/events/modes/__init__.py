"""What becomes of events: one module per mode, each an implementation of `protocol.Events`."""
