"""Where our own files are: beside the package in a checkout and in a job's frozen code, inside it
once it is installed from a wheel.
"""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = Path(__file__).parent
# What setup.py puts into a wheel.
_SHARE = PACKAGE / "share"
IS_INSTALLED = _SHARE.is_dir()
# Holds conf/, sweeps/ and docs/.
DEFAULTS = _SHARE if IS_INSTALLED else PACKAGE.parent
CONF = DEFAULTS / "conf"
SWEEPS = DEFAULTS / "sweeps"
# Error lines point to it.
EXTENDING = DEFAULTS / "docs" / "extending.md"
# The folder that the package is in.
CODE = PACKAGE.parent
# Where the frozen code of a job has the user's own modules.
FROZEN_EXTENSIONS = CODE / "frozen_extensions"
# What a user types before key=value.
LAUNCH = "adaspan train" if IS_INSTALLED else "python launch.py"


def shown(path: Path) -> str:
    """A path as a user in this folder would write it."""
    here = Path.cwd()
    return os.path.relpath(path, here) if path.is_relative_to(here) else str(path)
