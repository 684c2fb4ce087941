"""What agents cost on a real API server: ``make scale``, docs/scale.md."""
