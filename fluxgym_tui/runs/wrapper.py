"""The process around a child: starts it once, and keeps its exit code.

`python -m fluxgym_tui.runs.wrapper RUN PHASE N ARGV...`. It outlives whoever started it, so it does little. It holds a
lock on the log, which the child inherits with its standard output, so that no second wrapper can start the child again
while any part of the first start lives.
"""

import contextlib
import errno
import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path

from fluxgym_tui.machine.memory import oom_kills
from fluxgym_tui.machine.processes import Identity, identify
from fluxgym_tui.runs.directory import ChildFiles

ALREADY_STARTED = 75  # exit code of a wrapper that found the child started by another
_CANNOT_RUN = 126
_NOT_FOUND = 127  # both as shells have them
_RETRY_S = 1.0


def main(argv: list[str]) -> int:
    """Run `argv[3:]` as child `argv[1]` of attempt `argv[2]` of the run directory `argv[0]`; returns our exit code."""
    files = ChildFiles(Path(argv[0]), argv[1], int(argv[2]))
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    log = os.open(files.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return ALREADY_STARTED
    except OSError:
        pass  # a file system without locks: the process file alone must do
    if files.process.exists() or files.exit.exists():
        return ALREADY_STARTED
    draft = _reserve(files.exit)
    wrapper = identify()
    pid = os.fork()
    if pid == 0:
        _become(argv[3:], files=files, log=log, wrapper=wrapper)
    _, status = os.waitpid(pid, 0)
    _publish(draft, files.exit, os.waitstatus_to_exitcode(status))
    return 0


def _become(argv: list[str], *, files: ChildFiles, log: int, wrapper: Identity | None) -> None:
    """In the forked child: a session of its own, streams on the log, its identity on disk, then its program."""
    code = _CANNOT_RUN
    try:
        os.setsid()
        # SIGHUP stays ignored, as nohup does it; the others get back what a program expects.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        # Written by the child itself, before its program: from here on nobody can start it and not be known.
        _write_process(files.process, wrapper=wrapper)
        os.execvp(argv[0], argv)
    except OSError as error:
        code = _NOT_FOUND if error.errno == errno.ENOENT else _CANNOT_RUN
        os.write(2, f"cannot run {argv[0]}: {error.strerror}\n".encode("utf-8", "surrogateescape"))
    finally:
        os._exit(code)


def _write_process(path: Path, *, wrapper: Identity | None) -> None:
    child = identify()
    data = {
        "schema": 1,
        "time": time.time(),
        "wrapper": None if wrapper is None else wrapper.to_json(),
        "child": None if child is None else child.to_json(),
        "oom_kills": oom_kills(),
    }
    draft = path.with_name(f".{path.name}.tmp")
    draft.write_bytes(json.dumps(data).encode("ascii"))
    draft.rename(path)


def _reserve(path: Path) -> Path:
    """A draft of the exit file with its bytes on the disk already, so that a disk filled meanwhile cannot lose them."""
    draft = path.with_name(f".{path.name}.tmp")
    with contextlib.suppress(OSError):
        draft.write_bytes(b" " * 15 + b"\n")
    return draft


def _publish(draft: Path, path: Path, code: int) -> None:
    """Put the exit code where everybody looks, whole or not at all; tries until the disk lets it."""
    while True:
        try:
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT, 0o644)
            try:
                os.pwrite(handle, str(code).ljust(15).encode("ascii") + b"\n", 0)
                os.fsync(handle)
            finally:
                os.close(handle)
            draft.rename(path)
        except FileNotFoundError:
            return  # the run was deleted: there is nobody left to tell
        except OSError:
            time.sleep(_RETRY_S)
        else:
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
