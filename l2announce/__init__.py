"""l2announce: tells the local network which node answers for a Kubernetes Service address."""

__version__ = "0.1.0"
