"""Numbers that decide where a window begins and what does not move; for prices and for SQL."""

GRACE_DAYS = 10  # how much later than a window a history that covers it may begin (holidays)
EARLY_DAYS = 40  # before a window's start, where its first common date is looked for
FLAT_SPREAD = 1e-12  # a spread of returns no larger than this is rounding, not variance
