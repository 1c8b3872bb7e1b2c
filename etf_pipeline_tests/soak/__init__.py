"""Chaos around the event log: seeded cycles in which things go wrong, and a checker of its own.

`script.py` draws what happens from a seed, `programs.py` is what the processes do that it happens
to, `nursery.py` starts them, `world.py` knows what is running, `steps.py` does the things that go
wrong, `reading.py` reads what is left with other people's libraries alone, and `checker.py` judges.

    python -m etf_pipeline_tests.soak 17            # one cycle again, by its seed
    python -m etf_pipeline_tests.soak 0 --cycles 20 # several
"""
