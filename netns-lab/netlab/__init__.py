"""Networks of namespaces for the lab, the tests and the benchmarks, and the lab itself (``python -m netlab``)."""
