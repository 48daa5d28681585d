"""What a trainer that was killed while it wrote left behind: removed, or put back, at the next start."""

import contextlib
import re
import shutil
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

KEPT_OF_NAME = 40  # `write_atomic` names its temporary files by so much of the name they are for
_TORN = re.compile(r"\.(?P<name>.+)\.[a-z0-9_]{8}\.tmp", re.DOTALL)
_UNNAMED_SAMPLE = re.compile(r"e?\d{6}_\d{2}_\d{14}")  # of a training without output_name
UNFINISHED, REPLACED = ".unfinished", ".replaced"  # what `write_state` calls a folder while it writes


def remove_leftovers(output_dir: Path, output_name: str) -> None:
    """Remove the torn files and folders of `output_name` in `output_dir`; other trainings' are left alone.

    A state that was moved aside for a newer one, which was then not finished, is put back.
    """
    written = re.compile(rf"{re.escape(output_name)}(-\d{{6}}|-step\d{{8}})?\.safetensors")
    longest = f"{output_name}-step00000000.safetensors"
    for path in _entries(output_dir):
        name = _torn_name(path)
        if name is not None and (written.fullmatch(name) or _cut(name, longest)):
            path.unlink(missing_ok=True)
    for path in _entries(output_dir / "sample"):
        name = _torn_name(path)
        ours = name is not None and (name.startswith(f"{output_name}_") or _cut(name, f"{output_name}_"))
        if ours or (name is not None and _UNNAMED_SAMPLE.match(name)):
            path.unlink(missing_ok=True)
    _settle_states(output_dir, output_name)


def remove_torn_caches(caches: Iterable[Path]) -> None:
    """Remove what was left of files that were to become one of `caches`, or the fingerprint of one."""
    names: defaultdict[Path, set[str]] = defaultdict(set)
    for path in caches:
        names[path.parent] |= {path.name[:KEPT_OF_NAME], f"{path.name}.fingerprint.json"[:KEPT_OF_NAME]}
    for folder, wanted in names.items():
        for path in _entries(folder):
            if _torn_name(path) in wanted:
                path.unlink(missing_ok=True)


def _settle_states(output_dir: Path, output_name: str) -> None:
    state = re.compile(rf"\.{re.escape(output_name)}(-\d{{6}}|-step\d{{8}})?-state")
    for path in _entries(output_dir):
        for end in (UNFINISHED, REPLACED):
            if not path.name.endswith(end) or not state.fullmatch(path.name.removesuffix(end)):
                continue
            whole = path.with_name(path.name.removeprefix(".").removesuffix(end))
            if end == REPLACED and not whole.exists():
                path.rename(whole)
            else:
                shutil.rmtree(path, ignore_errors=True)


def _entries(folder: Path) -> list[Path]:
    """The hidden entries of `folder`; none where it cannot be listed."""
    with contextlib.suppress(OSError):
        return [path for path in folder.iterdir() if path.name.startswith(".")]
    return []


def _torn_name(path: Path) -> str | None:
    """The (beginning of the) name that a temporary file was to get; None where it is none."""
    found = _TORN.fullmatch(path.name)
    return found["name"] if found else None


def _cut(name: str, whole: str) -> bool:
    """Whether `name` was cut off, and what is left begins as `whole` does."""
    return len(name) == KEPT_OF_NAME and (whole.startswith(name) or name.startswith(whole))
