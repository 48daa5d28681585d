"""Files that are never seen half-written, and appends that are whole lines or nothing."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any


def write_atomic(path: Path, data: bytes | str, *, mode: int | None = None, durable: bool = False) -> None:
    """Write `data` (text as UTF-8) to `path` by a temporary file beside it and `os.replace`.

    A reader sees the old file or the new one. `mode` sets permissions (by default an existing file keeps its own, a new
    one follows the umask); `durable` also syncs file and folder to the disk. The folder must exist. OSError as the
    system raises it, and then nothing is left behind.
    """
    raw = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    path = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.chmod(_mode_for(path) if mode is None else mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut, where the file system can."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, data: Any, *, mode: int | None = None) -> None:
    """Write `data` as indented JSON, ASCII so that undecodable file names survive, atomically."""
    write_atomic(path, json.dumps(data, indent=2, ensure_ascii=True) + "\n", mode=mode)


def read_json(path: Path) -> Any:
    """The JSON of `path`. OSError if it cannot be read, ValueError if it is no JSON."""
    return json.loads(Path(path).read_bytes())


def _mode_for(path: Path) -> int:
    """The permission bits a file written the ordinary way at `path` would have."""
    try:
        return path.stat().st_mode & 0o7777
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
