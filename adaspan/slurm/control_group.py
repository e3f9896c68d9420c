"""What the kernel did to the processes of a job."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_OWN = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")


def ran_out_of_memory(own: Path = _OWN, groups: Path = _GROUPS) -> bool:
    """Whether the kernel killed a process of this job's control group for its memory.

    Args:
        own: file that says which groups this process is in, a line for each hierarchy.
        groups: folder of all groups.
    """
    for line in own.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            events = groups / path.strip("/") / "memory.events"
        elif "memory" in controllers.split(","):
            events = groups / "memory" / path.strip("/") / "memory.oom_control"
        else:
            continue
        with suppress(OSError):
            counts = dict(line.split() for line in events.read_text().splitlines())
            if int(counts.get("oom_kill", 0)):
                return True
    return False
