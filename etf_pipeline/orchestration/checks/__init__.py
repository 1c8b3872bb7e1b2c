"""The asset checks, each declared as a `check.Check`; those that block hold back what follows.

Belongs here: what a check is called and what its result says. What is wrong with a table is found
by a function from the table to problems, without Dagster. `runs` judges what a run did, `tables`
reads what was published; both come with the materialisation, as a step of their own would cost more
than they do.
"""
