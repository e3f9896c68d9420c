"""What pyproject.toml cannot say: conf/ and sweeps/ go into the wheel, as adaspan/share/."""

from setuptools import find_namespace_packages, setup

code = find_namespace_packages(include=["adaspan", "adaspan.*"])
defaults = find_namespace_packages(include=["conf", "conf.*", "sweeps", "sweeps.*"])
setup(
    packages=[*code, *(f"adaspan.share.{folder}" for folder in defaults)],
    package_dir={"adaspan.share.conf": "conf", "adaspan.share.sweeps": "sweeps"},
)
