"""Random faults against live agents, from a seed, judged by what a client saw: see docs/chaos.md."""
