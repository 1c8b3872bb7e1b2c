"""The public Python API: the provider, the system, and what stands behind them."""
