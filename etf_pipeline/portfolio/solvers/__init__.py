"""The engines: each gives weights, and none is believed without a certificate."""
