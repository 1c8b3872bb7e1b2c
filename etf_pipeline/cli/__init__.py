"""The command `etf`: one module per family; options and exit codes are declared once."""
