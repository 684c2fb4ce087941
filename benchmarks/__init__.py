"""Benchmarks: the responder beside the kernel's own answer, and the core alone. Nothing here is part of the program."""
