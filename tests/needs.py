"""What a test needs of the machine: there, or the test is skipped saying how to install it. CI allows no skip."""

from __future__ import annotations

import os
import shutil

import pytest


def need(program: str, *, package: str) -> str:
    """The path of `program`. Without it the test is skipped, naming the Debian packages; under CI=true it fails."""
    path = shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))
    if path is not None:
        return path
    message = f"{program} is not installed: apt-get install {package}"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
