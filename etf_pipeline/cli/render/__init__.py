"""What the commands print: functions that take values and ask nobody.

`output` prints JSON, lines and errors; `tables` is how every table looks; the others are one module
per family of commands.
"""
