"""Trainings of sd-scripts that run on this machine now, whoever started them."""

import os
import time
from pathlib import Path

_PROC = Path("/proc")
_PROGRAM = b"_train_network.py"
_OPTION = b"--output_dir"
_FRESH_S = 1.0  # a list of many runs asks for each of them


class _Seen:
    """The last look at the process table."""

    at_s = -_FRESH_S
    folders: dict[str, int] = {}  # noqa: RUF012 - replaced as a whole, never changed


def training_into(folder: Path) -> int | None:
    """The pid of a living trainer of sd-scripts that writes into `folder`, or None. A second old at most."""
    now = time.monotonic()
    if now - _Seen.at_s >= _FRESH_S:
        _Seen.folders, _Seen.at_s = _look(), now
    return _Seen.folders.get(os.path.realpath(folder))


def _look() -> dict[str, int]:
    """The output folders of all trainers, each with the newest process that has it: launchers hand their options on."""
    found: dict[str, int] = {}
    try:
        pids = sorted(int(entry.name) for entry in os.scandir(_PROC) if entry.name.isdigit())
    except OSError:
        return {}  # no /proc: not Linux
    for pid in pids:
        try:
            words = (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended, or is not ours to see
        if not any(word.endswith(_PROGRAM) for word in words):
            continue
        for word, following in zip(words, [*words[1:], b""], strict=True):
            name, equals, value = word.partition(b"=")
            if name == _OPTION:
                found[os.path.realpath(os.fsdecode(value if equals else following))] = pid
    return found
