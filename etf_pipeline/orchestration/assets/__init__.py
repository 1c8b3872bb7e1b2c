"""The assets, a module per stage."""
