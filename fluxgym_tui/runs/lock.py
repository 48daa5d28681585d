"""The one writer of a run: a lock that ends with its holder, naming who holds it."""

import contextlib
import fcntl
import json
import os
import time
from pathlib import Path

from fluxgym_tui.machine.processes import Identity, identify

# Written over in one go and never cut short, so that a reader at that very moment sees one name or the other.
_RECORD_BYTES = 512
BEAT_S = 20.0
_SILENT_S = 120.0  # six beats missed: enough for clocks that differ and disks that are slow


class RunLock:
    """An exclusive flock on a run's `lock`, held until `release` or the end of the process, however it ends."""

    def __init__(self, handle: int, holder: Identity) -> None:
        self._handle = handle
        self.holder = holder

    @classmethod
    def acquire(cls, path: Path, *, wait_s: float = 0.0) -> "RunLock | None":
        """Take the lock for this process, trying for `wait_s` seconds; None where somebody else keeps it.

        OSError where the file cannot be opened. A file system without flock is no obstacle: then only the name in the
        file tells a second supervisor to leave.
        """
        holder = identify()
        assert holder is not None, "this process lives"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(handle)
                    return None
                time.sleep(0.02)
            except OSError:
                if holder_of(path) is not None:
                    os.close(handle)
                    return None
                break
        os.pwrite(handle, json.dumps(holder.to_json()).encode("ascii").ljust(_RECORD_BYTES - 1) + b"\n", 0)
        return cls(handle, holder)

    def beat(self) -> None:
        """Give a sign of life for other machines that see this disk (`elsewhere`); call it every `BEAT_S`."""
        with contextlib.suppress(OSError):
            os.utime(self._handle)

    def release(self) -> None:
        """Give the lock up; the name in the file stays and is that of a process that no longer supervises."""
        os.close(self._handle)


def last_holder(path: Path) -> Identity | None:
    """Who took the lock last, dead or alive; None where nobody ever did."""
    try:
        return Identity.from_json(json.loads(path.read_bytes()))
    except (OSError, ValueError):
        return None


def elsewhere(path: Path) -> str | None:
    """The host whose supervisor holds the lock on a disk that we share with it; None where that is nobody.

    Its processes cannot be looked at from here: its name counts for as long as the lock shows fresh signs of life.
    """
    holder = last_holder(path)
    if holder is None or holder.host == os.uname().nodename:
        return None
    try:
        silent_s = time.time() - path.stat().st_mtime
    except OSError:
        return None
    return holder.host if silent_s < _SILENT_S else None


def holder_of(path: Path) -> Identity | None:
    """The living holder of the lock, or None."""
    holder = last_holder(path)
    return holder if holder is not None and identify(holder.pid) == holder else None
