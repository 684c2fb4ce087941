"""The embedded cluster: objects from a directory of YAML files, leases as files below its ``.cluster/``. No Kubernetes needed."""
