"""Everything that knows Dagster, and nothing else, by Dagster's own nouns.

`assets/` (a function around one step each), `checks/`, `jobs`, `schedules`, `sensors`,
`automation`, `partitions`, `resources`, `executors` and `instance` say each what belongs there.
Beside them: `build` puts the definitions together, so that tests can replace any part; `runner`
runs them from the command line, and `report` has what came of that; `failures` decides what
follows a failure; `metadata` says in Dagster's words what came of a step; `slots` frees what dead
processes hold; `event_log` reads Dagster's own log for the events.
"""
