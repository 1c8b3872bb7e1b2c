"""What things are: tables, outcomes, instruments, calendars, lineage."""
