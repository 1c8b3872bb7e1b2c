"""Random portfolio problems, and judges that share no code with what they judge.

`asked` holds a problem as plain values, `kinds` draws them, `truth` solves them by formulations of
its own for clarabel and HiGHS, `judges` compare, `reproduce` makes a failure small and prints it.
"""
