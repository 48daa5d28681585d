"""What a captioner wrote and what was there before, for undo and for going on after a break."""

import base64
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.files import write_atomic
from fluxgym_tui.captioner.job import CaptionJob

_UNDONE: Final = ".undone"
_SUFFIX: Final = ".jsonl"


@dataclass(frozen=True, slots=True)
class Written:
    """One caption file: its bytes before (None: there was none) and after."""

    path: Path
    before: bytes | None
    after: bytes


@dataclass(frozen=True, slots=True)
class Past:
    """A journal as read: whose folder, by which recipe, what was written, and whether the job came to its end."""

    path: Path
    folder: Path
    recipe: dict[str, Any]
    ended: bool
    written: list[Written] = field(default_factory=list)


def new_journal(journals: Path, folder: Path) -> Path:
    """A new name in the folder `journals` for a job in `folder`; names sort by time.

    Jobs of one moment in folders of one name, as an app with several folders starts them, have names of their own.
    """
    now = time.time()
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now)) + f"-{int(now % 1 * 1000):03d}"
    whole = folder.resolve()
    digest = hashlib.sha256(os.fsencode(whole)).hexdigest()[:8]
    return journals / f"{stamp}-{os.getpid()}-{digest}-{whole.name[:40] or 'captions'}{_SUFFIX}"


class Journal:
    """Appends to a job's journal; each line is on the disk before the caption it speaks of is written."""

    def __init__(self, job: CaptionJob) -> None:
        """Start the journal of `job`. OSError as the system raises it."""
        job.journal.parent.mkdir(parents=True, exist_ok=True)
        self._file = job.journal.open("ab", buffering=0)
        self._add({"folder": str(job.folder.resolve()), "recipe": job.recipe()})

    def note(self, path: Path, *, before: bytes | None, after: bytes) -> None:
        """Note a caption file that is about to be written."""
        self._add(
            {
                "path": str(path.absolute()),
                "before": None if before is None else base64.b64encode(before).decode("ascii"),
                "after": base64.b64encode(after).decode("ascii"),
            }
        )

    def end(self) -> None:
        """Note that every picture had its turn."""
        self._add({"ended": True})

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _add(self, data: dict[str, Any]) -> None:
        self._file.write(json.dumps(data).encode("ascii") + b"\n")


def read_journal(path: Path) -> Past | None:
    """The journal at `path`; None where it is none. A torn last line is passed over."""
    lines = list(_lines(path))
    if not lines or "folder" not in lines[0]:
        return None
    written = [
        Written(Path(line["path"]), _decoded(line["before"]), base64.b64decode(line["after"]))
        for line in lines
        if "path" in line
    ]
    ended = any("ended" in line for line in lines)
    return Past(path, Path(lines[0]["folder"]), lines[0]["recipe"], ended, written)


def last_journal(journals: Path, folder: Path) -> Past | None:
    """The newest of `past_journals`: what undo takes back."""
    return next(past_journals(journals, folder), None)


def past_journals(journals: Path, folder: Path) -> Iterator[Past]:
    """The journals in the folder `journals` that speak of `folder` and were not undone, the newest first."""
    whole = folder.resolve()
    try:
        names = sorted((path for path in journals.iterdir() if path.suffix == _SUFFIX), reverse=True)
    except OSError:
        return
    for path in names:
        past = read_journal(path)
        if past is not None and past.folder == whole:
            yield past


def undo(journals: Path, folder: Path) -> tuple[int, list[Path]]:
    """Put back what the last job in `folder` found; how many captions, and those kept as they were changed since.

    Raises:
        FluxgymError: nothing is there to undo, or a caption cannot be written.
    """
    past = last_journal(journals, folder)
    if past is None:
        raise FluxgymError(
            f"no captions of {folder} were made that could be taken back",
            hint=f"Jobs are noted in {journals}; one that was undone is not undone twice.",
            code=ExitCode.NOT_FOUND,
        )
    first: dict[Path, Written] = {}
    for change in past.written:
        earlier = first.get(change.path)
        first[change.path] = Written(change.path, earlier.before if earlier else change.before, change.after)
    kept = []
    back = 0
    for change in first.values():
        try:
            now = _bytes(change.path)
            if now == change.before:
                continue  # noted, and never written: the job was killed between the two
            if now != change.after:
                kept.append(change.path)
            elif change.before is None:
                change.path.unlink()
                back += 1
            else:
                write_atomic(change.path, change.before)
                back += 1
        except OSError as error:
            raise FluxgymError(
                f"cannot put back {change.path}: {error.strerror}",
                hint="Mend that and undo again: nothing is lost, the journal stays.",
            ) from error
    past.path.rename(past.path.with_name(past.path.name + _UNDONE))
    return back, kept


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        raw = path.read_bytes()
    except OSError:
        return
    for line in raw.split(b"\n"):
        try:
            data = json.loads(line)
        except ValueError:
            continue
        if isinstance(data, dict):
            yield data


def _decoded(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
