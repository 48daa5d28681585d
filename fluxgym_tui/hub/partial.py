"""What a download that broke off leaves: the bytes so far, and of which file they are."""

import contextlib
from pathlib import Path

from fluxgym_tui.base.files import read_json, sync_folder, write_json


def partial_path(target: Path) -> Path:
    """Where the bytes of `target` lie until it is whole."""
    return target.with_name(f".{target.name}.partial")


def lock_path(target: Path) -> Path:
    """What is held by whoever fetches `target`."""
    return target.with_name(f".{target.name}.lock")


def partial_bytes(target: Path) -> int:
    """How much of `target` an earlier download left."""
    try:
        return partial_path(target).stat().st_size
    except OSError:
        return 0


def is_partial_of(target: Path, etag: str) -> bool:
    """Whether what is left of `target` belongs to the file with that entity tag, and can be gone on with."""
    try:
        return bool(read_json(_note(target))["etag"] == etag)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def begin_partial(target: Path, etag: str) -> None:
    """Note that bytes of the file with that entity tag are to come; what is left of another goes. OSError."""
    partial_path(target).unlink(missing_ok=True)
    write_json(_note(target), {"etag": etag})


def finish_partial(target: Path) -> None:
    """Put the whole file in its place. OSError."""
    partial_path(target).replace(target)
    sync_folder(target.parent)
    forget_partial(target)


def forget_partial(target: Path) -> None:
    """Take away what is left of `target`, where that can be done."""
    for path in (partial_path(target), _note(target)):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _note(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial.json")
