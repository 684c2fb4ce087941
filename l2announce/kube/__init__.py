"""The Kubernetes API server behind the ports of control/ports.py."""
