"""The command line: one file per command, each defining `command`; its docstring's first line is the short help."""
