"""One captioning job from end to end: which pictures, asking, writing, and telling of each."""

import errno
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.captioner.answers import CANCELLED, Answer, Captioner
from fluxgym_tui.captioner.job import CaptionJob
from fluxgym_tui.captioner.journal import Journal, past_journals
from fluxgym_tui.captioner.wording import clean_caption, says_only, with_trigger
from fluxgym_tui.dataset.caption_edits import caption_file
from fluxgym_tui.dataset.captions import decode_caption, write_caption
from fluxgym_tui.dataset.scan import scan
from fluxgym_tui.dataset.scanned import ScannedImage

SCHEMA: Final = 1
Tell = Callable[[dict[str, Any]], None]
_LONGEST_CAPTION: Final = 20_000  # characters; no text encoder reads a tenth of them
_LOOK_S: Final = 0.05
# What stands in the way of every caption, not of one.
_OF_THE_DISK: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO))


@dataclass(frozen=True, slots=True)
class Todo:
    """A picture to caption, its caption file, and what that held when the job began (None: there was none)."""

    image: ScannedImage
    path: Path
    before: bytes | None


@dataclass(frozen=True, slots=True)
class Selection:
    """The pictures to caption, those left alone, and those whose caption could not be written; both with the reason."""

    todo: list[Todo]
    kept: list[tuple[ScannedImage, str]]
    failed: list[tuple[ScannedImage, str]]


def make_captioner(job: CaptionJob) -> Captioner:
    """What makes the captions of `job`; its module is imported here, for one of them needs torch."""
    if job.method == "endpoint":
        from fluxgym_tui.captioner.endpoint import Endpoint

        return Endpoint(job)
    if job.method == "command":
        from fluxgym_tui.captioner.command import Command

        return Command(job)
    from fluxgym_tui.captioner.florence import Florence

    return Florence(job)


def select(job: CaptionJob) -> Selection:
    """Which pictures of the folder are captioned. FluxgymError where the folder cannot be read."""
    only = None if job.only is None else {str(path.absolute()) for path in job.only}
    done = _done_before(job) if job.existing == "replace" else frozenset()
    todo: list[Todo] = []
    kept: list[tuple[ScannedImage, str]] = []
    failed: list[tuple[ScannedImage, str]] = []
    owners: dict[Path, str] = {}
    for image in scan(job.folder, recursive=job.recursive).images:
        if only is not None and str(image.path.absolute()) not in only:
            continue
        path = caption_file(image)
        owner = owners.setdefault(path, image.path.name)
        reason = None
        try:
            before = _bytes(path)
        except OSError as error:
            failed.append((image, f"{path.name} cannot be read: {error.strerror}"))
            continue
        if owner != image.path.name:
            reason = f"it shares its caption with {owner}"
        elif before is not None:
            reason = _why_kept(job, before, path.absolute() in done)
        if reason is not None:
            kept.append((image, reason))
        elif not os.access(path.parent, os.W_OK | os.X_OK):
            failed.append((image, f"nothing can be written into {path.parent}"))
        else:
            todo.append(Todo(image, path, before))
    return Selection(todo, kept, failed)


def run_job(job: CaptionJob, captioner: Captioner, *, tell: Tell, stop: threading.Event) -> str:
    """Caption what `select` finds; the outcome: `finished` or `stopped`.

    `tell` gets one event after another: `start`, `phase`, `picture` for each, `end`. `stop` lets what is under way
    end, and what came is written.

    Raises:
        FluxgymError: no picture can be captioned, or none any more (a refused key, a full disk). What was written
            stays, and the journal knows it.
    """
    selection = select(job)
    total = len(selection.todo) + len(selection.failed)
    tell(_event("start", total=total, kept=len(selection.kept), method=job.method, folder=str(job.folder)))
    for image, reason in selection.kept:
        tell(_event("picture", path=image.file, outcome="kept", caption=image.caption, reason=reason))
    counts = {"written": 0, "failed": len(selection.failed), "kept": len(selection.kept)}
    for number, (image, reason) in enumerate(selection.failed, 1):
        tell(_picture(image, "failed", None, reason, done=number, total=total, seconds=0.0))
    if selection.todo:
        tell(_event("phase", name="load", detail=None))
        if _prepared(captioner, tell=tell, stop=stop):
            tell(_event("phase", name="caption", detail=None))
            _caption_all(job, captioner, selection, counts, tell=tell, stop=stop)
    outcome = (
        "stopped" if counts["written"] + counts["failed"] + counts["kept"] < total + len(selection.kept) else "finished"
    )
    tell(_event("end", outcome=outcome, **counts, reason=None))
    return outcome


def _prepared(captioner: Captioner, *, tell: Tell, stop: threading.Event) -> bool:
    """Let it get ready, which may take minutes; False where `stop` came first: then it is left to itself."""
    problems: list[BaseException] = []

    def prepare() -> None:
        try:
            captioner.prepare(say=lambda words: tell(_event("phase", name="load", detail=words)))
        except BaseException as problem:  # noqa: BLE001 - raised again by who waits
            problems.append(problem)

    thread = threading.Thread(target=prepare, name="prepare", daemon=True)
    thread.start()
    while thread.is_alive():
        if stop.is_set():
            return False
        thread.join(_LOOK_S)
    if problems:
        raise problems[0]
    return True


def _caption_all(
    job: CaptionJob,
    captioner: Captioner,
    selection: Selection,
    counts: dict[str, int],
    *,
    tell: Tell,
    stop: threading.Event,
) -> None:
    todo = selection.todo
    total = len(todo) + len(selection.failed)
    waiting = {item.image.file: item for item in todo}
    try:
        journal = Journal(job)
    except OSError as error:
        raise _unwritable(job.journal, error) from error
    last = time.monotonic()
    # What asks must not begin more after a failure here, while the caller's own wish stays what it was.
    cancel = _Either(stop)
    try:
        for answer in captioner.answers([item.image for item in todo], stop=cancel):
            if answer.reason == CANCELLED:
                continue
            item = waiting.pop(answer.image.file)
            outcome, caption, reason = _write(job, item, answer, journal)
            counts[outcome] += 1
            now = time.monotonic()
            done = total - len(waiting)
            tell(_picture(item.image, outcome, caption, reason, done=done, total=total, seconds=round(now - last, 3)))
            last = now
        if not waiting:
            journal.end()
    finally:
        journal.close()


class _Either(threading.Event):
    """Set when it is set itself, or the event it follows is."""

    def __init__(self, other: threading.Event) -> None:
        super().__init__()
        self._other = other

    def is_set(self) -> bool:
        return super().is_set() or self._other.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        end = None if timeout is None else time.monotonic() + timeout
        while not self.is_set():
            left = 0.1 if end is None else min(0.1, end - time.monotonic())
            if left <= 0:
                break
            self._other.wait(left)
        return self.is_set()


def _write(job: CaptionJob, item: Todo, answer: Answer, journal: Journal) -> tuple[str, str | None, str | None]:
    """Write one caption; the outcome, the caption and the reason."""
    if answer.text is None:
        return "failed", None, answer.reason
    caption = clean_caption(answer.text)
    if not caption:
        return "failed", None, "it said nothing"
    if len(caption) > _LONGEST_CAPTION:
        return "failed", None, f"it said {len(caption):,} characters, which is no caption"
    caption = with_trigger(caption, job.trigger)
    try:
        if _bytes(item.path) != item.before:
            return "kept", None, "its caption was changed meanwhile"
        journal.note(item.path, before=item.before, after=f"{caption}\n".encode())
        write_caption(item.path, caption)
    except OSError as error:
        if error.errno in _OF_THE_DISK:
            raise _unwritable(item.path, error) from error
        return "failed", None, f"{item.path.name} cannot be written: {error.strerror}"
    return "written", caption, None


def _why_kept(job: CaptionJob, before: bytes, done: bool) -> str | None:
    """Why a picture with a caption file is left alone; None where it is captioned."""
    if job.existing == "keep":
        return "it has a caption"
    if job.existing == "replace":
        return "it was captioned before the break" if done else None
    text = decode_caption(before)
    if text.problem == "binary":
        return "its caption file is no text"
    return None if says_only(text.text, job.trigger) else "it has a caption"


def _done_before(job: CaptionJob) -> frozenset[Path]:
    """The caption files that jobs of the same recipe, broken off one after the other, wrote, and that are still so."""
    after: dict[Path, bytes] = {}
    for past in past_journals(job.journal.parent, job.folder):
        if past.ended or past.recipe != job.recipe():
            break
        for change in reversed(past.written):
            after.setdefault(change.path, change.after)
    return frozenset(path for path, raw in after.items() if _is(path, raw))


def _is(path: Path, raw: bytes) -> bool:
    try:
        return _bytes(path) == raw
    except OSError:
        return False


def _bytes(path: Path) -> bytes | None:
    """What the file holds, None where there is none. OSError where it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _unwritable(path: Path, error: OSError) -> FluxgymError:
    return FluxgymError(
        f"cannot write {path}: {error.strerror}",
        hint="Check that the disk has room and the folder is yours; then start again, it goes on where it ended.",
    )


def _picture(
    image: ScannedImage, outcome: str, caption: str | None, reason: str | None, **facts: Any
) -> dict[str, Any]:
    return _event("picture", path=image.file, outcome=outcome, caption=caption, reason=reason, **facts)


def _event(kind: str, **facts: Any) -> dict[str, Any]:
    return {"kind": kind, "schema": SCHEMA, "time": round(time.time(), 3), **facts}
