"""One process at a time: a lock beside the file that is fetched, gone when nobody fetches it."""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_LOOK_S = 0.2


@contextmanager
def alone(path: Path, *, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock at `path`; while another process has it, `waiting` is called several times a second.

    The kernel gives the lock back when its holder dies. On a file system without locks nobody waits.
    """
    handle = None
    while handle is None:
        handle = _taken(path)
        if handle is None:
            waiting()
            time.sleep(_LOOK_S)
    try:
        yield
    finally:
        # Removed while it is held: whoever waits on the removed file sees that and takes a new one.
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(handle)


def _taken(path: Path) -> int | None:
    """A handle that holds the lock; None where another process does."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(handle).st_ino == path.stat().st_ino:
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:
        return handle  # no locks here
    os.close(handle)
    return None
