"""How many cores are ours to use: what the scheduler lets us on, less what the container's quota takes away."""

import math
import os
from pathlib import Path

from fluxgym_tui.machine.memory import control_group


def usable_cores(root: Path = Path("/")) -> float:
    """Cores that this process may keep busy, as a fraction where a quota says so; at least 0.1."""
    affinity = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    quota = _quota(root)
    return affinity if quota is None else max(min(affinity, quota), 0.1)


def thread_count(root: Path = Path("/")) -> int:
    """Threads worth starting for computing: the usable cores, rounded up, at least one."""
    return max(math.ceil(usable_cores(root) - 0.05), 1)


def _quota(root: Path) -> float | None:
    """Cores that the control group grants, or None where it sets no bound."""
    group = control_group(root)
    if group is None:
        return None
    if group.version == 2:
        words = (group.read("cpu", "cpu.max") or "").split()
    else:
        words = [group.read("cpu", "cpu.cfs_quota_us") or "", group.read("cpu", "cpu.cfs_period_us") or ""]
    if len(words) != 2 or not all(word.isdigit() for word in words) or int(words[1]) == 0:
        return None  # "max", -1, or no such file
    return int(words[0]) / int(words[1])
