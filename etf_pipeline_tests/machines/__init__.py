"""Chaos around several machines on one share: seeded cycles, and one machine to compare with.

Two real workers with homes and working copies of their own take runs from a real Redis; Dagster's
records are in a real PostgreSQL, the share is a bucket of a real S3 server. In every cycle the
source has a session more, four shards and what follows from them are made, and one or two things go
wrong. Then all copies must be, to the last byte, what one machine makes of the same source, and
every event must have been told once.

`script.py` draws what goes wrong from a seed, `services.py` has the servers, `source.py` the
prices, `hub.py` is the machine that hands runs over, `world.py` knows all machines, `troubles.py`
does the things that go wrong, `told.py` reads the events, and `checker.py` judges.

    python -m etf_pipeline_tests.machines 17             # one cycle again, by its seed
    python -m etf_pipeline_tests.machines 0 --cycles 20  # several, one after the other
"""
