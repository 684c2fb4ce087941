"""A container's user has no home directory, and no line in /etc/passwd."""

import subprocess
import sys


def test_the_api_can_be_used_without_a_home_directory() -> None:
    code = (
        "import os, pwd\n"
        "os.environ.pop('HOME', None)\n"
        "def nobody(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = nobody\n"
        "import l2announce.kube.credentials\n"
    )
    done = subprocess.run((sys.executable, "-c", code), check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
