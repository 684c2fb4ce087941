"""The command line: arguments, tables and plots for people."""
