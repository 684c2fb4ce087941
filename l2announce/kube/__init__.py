"""The Kubernetes API server behind the ports of control/ports.py."""

import os
from pathlib import Path

try:
    Path.home()
except RuntimeError:  # a user that no passwd file knows, as in an image; the official client wants a home directory when it is imported
    os.environ["HOME"] = "/"
