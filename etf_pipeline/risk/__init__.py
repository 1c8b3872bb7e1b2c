"""Returns and risk: pure numpy over prices, definitions and sources in each docstring."""
