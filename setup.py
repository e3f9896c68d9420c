"""What pyproject.toml cannot say: conf/, sweeps/ and the pages of docs/ that it names go into the
wheel, as adaspan/share/.
"""

from setuptools import find_namespace_packages, setup

code = find_namespace_packages(include=["adaspan", "adaspan.*"])
defaults = find_namespace_packages(include=["conf", "conf.*", "sweeps", "sweeps.*"])
setup(
    packages=[*code, *(f"adaspan.share.{folder}" for folder in (*defaults, "docs"))],
    package_dir={f"adaspan.share.{folder}": folder for folder in ("conf", "sweeps", "docs")},
)
