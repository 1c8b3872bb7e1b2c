"""Everything that knows Dagster, and nothing else: assets are thin calls into the domain.

An asset reads, calls one pure function, publishes through the store and returns what it did. The
definitions are built by `build.build_definitions`, so that tests can replace any part.
"""
