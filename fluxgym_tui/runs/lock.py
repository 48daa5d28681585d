"""The one writer of a run: a lock that ends with its holder, naming who holds it."""

import fcntl
import json
import os
import time
from pathlib import Path

from fluxgym_tui.machine.processes import Identity, identify

# Written over in one go and never cut short, so that a reader at that very moment sees one name or the other.
_RECORD_BYTES = 512


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

    def release(self) -> None:
        """Give the lock up; the name in the file stays and is that of a process that no longer supervises."""
        os.close(self._handle)


def last_holder(path: Path) -> Identity | None:
    """Who took the lock last, dead or alive; None where nobody ever did."""
    try:
        return Identity.from_json(json.loads(path.read_bytes()))
    except (OSError, ValueError):
        return None


def holder_of(path: Path) -> Identity | None:
    """The living holder of the lock, or None."""
    holder = last_holder(path)
    return holder if holder is not None and identify(holder.pid) == holder else None
