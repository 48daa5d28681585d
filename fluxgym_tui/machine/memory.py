"""How much memory there is for us: the machine's, or what the container's control group grants."""

from dataclasses import dataclass
from pathlib import Path

_UNLIMITED = 1 << 60  # version 1 of control groups writes "no limit" as a number near 2**63


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """Where this process' control group shows its files: `version` 1 or 2, and the folder of each controller."""

    version: int
    folders: dict[str, Path]

    def read(self, controller: str, name: str) -> str | None:
        """The text of one of its files, or None."""
        folder = self.folders.get("" if self.version == 2 else controller)
        if folder is None:
            return None
        try:
            return (folder / name).read_text(encoding="ascii", errors="replace").strip()
        except OSError:
            return None


@dataclass(frozen=True, slots=True)
class MemoryFacts:
    """Memory in bytes: `total` and `available` as they bind us; `limited_by` is "machine" or "cgroup"."""

    total: int
    available: int
    limited_by: str


def control_group(root: Path = Path("/")) -> ControlGroup | None:
    """This process' control group as mounted under `root`/sys/fs/cgroup; None where there is none.

    In a container the group's own path is often not visible; its limits then stand at the top of the mount.
    """
    mount = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    paths: dict[str, str] = {}
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(","):
            paths[controller] = path
    if (mount / "cgroup.controllers").is_file():
        own = mount / paths.get("", "/").lstrip("/")
        return ControlGroup(2, {"": own if (own / "memory.max").is_file() else mount})
    folders = {}
    for controller in ("memory", "cpu", "cpuset"):
        top = next((mount / name for name in (controller, "cpu,cpuacct") if (mount / name).is_dir()), None)
        if top is not None and (controller in top.name or controller == "cpu"):
            own = top / paths.get(controller, "/").lstrip("/")
            folders[controller] = own if own.is_dir() else top
    return ControlGroup(1, folders) if folders else None


def memory_facts(root: Path = Path("/")) -> MemoryFacts | None:
    """Memory that this process may use; None where the system does not say (no /proc/meminfo)."""
    try:
        text = (root / "proc/meminfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    kib = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        digits = value.split()
        if digits and digits[0].isdigit():
            kib[name] = int(digits[0])
    total = kib.get("MemTotal", 0) * 1024
    available = kib.get("MemAvailable", kib.get("MemFree", 0)) * 1024
    group = control_group(root)
    if group is None:
        return MemoryFacts(total, available, "machine")
    names = ("memory.max", "memory.current") if group.version == 2 else (
        "memory.limit_in_bytes", "memory.usage_in_bytes")  # fmt: skip
    limit, used = (_number(group.read("memory", name)) for name in names)
    if limit is None or limit >= min(total, _UNLIMITED):
        return MemoryFacts(total, available, "machine")
    # Pages of files that nobody writes are counted as used but given back when memory is asked for.
    reclaimable = _stat_field(group, "inactive_file" if group.version == 2 else "total_inactive_file")
    free = max(limit - (used or 0) + reclaimable, 0)
    return MemoryFacts(limit, min(free, limit, available), "cgroup")


def oom_kills(root: Path = Path("/")) -> int | None:
    """How many processes of this control group the kernel killed for memory so far; None where it does not count."""
    group = control_group(root)
    if group is None:
        return None
    text = group.read("memory", "memory.events" if group.version == 2 else "memory.oom_control")
    for line in (text or "").splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill":
            return _number(value)
    return None


def _stat_field(group: ControlGroup, wanted: str) -> int:
    for line in (group.read("memory", "memory.stat") or "").splitlines():
        name, _, value = line.partition(" ")
        if name == wanted:
            return _number(value) or 0
    return 0


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isdigit() else None
