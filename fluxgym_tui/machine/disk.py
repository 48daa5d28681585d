"""Room on the disk a path lies on, and whether that disk goes away with its container."""

import os
from dataclasses import dataclass
from pathlib import Path

# File systems of a container's own writable layer: what is written there ends with the container.
_CONTAINER_KINDS = {"overlay", "overlayfs", "aufs"}
_MEMORY_KINDS = {"tmpfs", "ramfs"}


@dataclass(frozen=True, slots=True)
class DiskFacts:
    """A file system as a path shows it: bytes in all and free for us, where it is mounted and of what kind."""

    total: int
    free: int
    mount: Path
    kind: str

    @property
    def lasting(self) -> bool:
        """Whether what is written here outlives the container and the machine's next start."""
        return self.kind not in _CONTAINER_KINDS and self.kind not in _MEMORY_KINDS


def disk_facts(path: Path, *, mounts: Path = Path("/proc/self/mounts")) -> DiskFacts:
    """The disk of `path`, or of the nearest folder above it that exists. OSError where none can be asked."""
    folder = path.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    stats = os.statvfs(folder)
    mount, kind = _mount_of(folder.resolve(), mounts)
    return DiskFacts(
        total=stats.f_frsize * stats.f_blocks, free=stats.f_frsize * stats.f_bavail, mount=mount, kind=kind
    )


def _mount_of(folder: Path, mounts: Path) -> tuple[Path, str]:
    """The mount point above `folder` and its file system's name; the later of two at one place hides the earlier."""
    best, kind = Path("/"), "unknown"
    try:
        lines = mounts.read_bytes().splitlines()
    except OSError:
        return best, kind
    for line in lines:
        fields = line.split(b" ")
        if len(fields) < 3:
            continue
        # The kernel writes blanks and the like in names as octal escapes.
        name = fields[1].decode("latin-1").encode("latin-1").decode("unicode_escape").encode("latin-1")
        point = Path(os.fsdecode(name))
        if folder.is_relative_to(point) and len(point.parts) >= len(best.parts):
            best, kind = point, fields[2].decode("ascii", "replace")
    return best, kind
