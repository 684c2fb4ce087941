"""Measures l2announce and the kernel in turn, in network namespaces, and compares them. ``python -m benchmarks.harness``."""
