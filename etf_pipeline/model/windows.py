"""Numbers that decide where a window begins, what is a hole and what does not move.

For prices and for SQL, which is without numpy.
"""

GRACE_DAYS = 10  # how much later than a window a history that covers it may begin (holidays)
EARLY_DAYS = 40  # before a window's start, where its first common date is looked for
LONG_GAP = 30  # days without a price that no holidays make
FLAT_SPREAD = 1e-12  # a spread of returns no larger than this is rounding, not variance
