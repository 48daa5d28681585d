"""Fetching model files: resumed after any break, checked when whole, one process at a time, with progress."""

import errno
import hashlib
import importlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.text import human_size
from fluxgym_tui.hub.find import ModelState
from fluxgym_tui.hub.library import HubError, transport_errors, unreachable
from fluxgym_tui.hub.locks import alone
from fluxgym_tui.hub.partial import (
    begin_partial,
    finish_partial,
    forget_partial,
    is_partial_of,
    lock_path,
    partial_bytes,
    partial_path,
)
from fluxgym_tui.hub.remote import AgainError, RemoteFile, RestartError, look_up, pieces, xet_works

_TRIES = 8  # in a row without a byte
_FIRST_WAIT_S = 0.5  # doubled with each
_LONGEST_WAIT_S = 30.0
_LONGEST_ASKED_S = 300.0  # where the server says how long: the Hub counts requests over so long, and nobody waits a day
_SPARE_BYTES = 100_000_000  # what a disk should have left when all is there
_TELL_S = 0.1
_RATE_S = 10.0  # the rate is the mean over so long
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A file to fetch: `file` of `repo`, to lie at `target`. Its SHA-256 and exact size where they are known before.

    One that is not `required` may be missing in the repository.
    """

    repo: str
    file: str
    target: Path
    size_bytes: int | None = None
    sha256: str | None = None
    required: bool = True

    def to_json(self) -> dict[str, Any]:
        """As `from_json` reads it."""
        return {
            "repo": self.repo,
            "file": self.file,
            "target": str(self.target),
            "size_bytes": self.size_bytes,
            "sha256": self.sha256,
            "required": self.required,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Wanted":
        """What `to_json` wrote."""
        return cls(**{**data, "target": Path(data["target"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadProgress:
    """Where a download stands, in bytes: file `number` of `files` (`name`), and all of them together.

    `total` of the file is None where the server does not tell. `rate` is bytes a second, `left_s` the time that the
    rest takes at that rate; both are None while they are not known. `doing` is waiting while another process fetches
    the file, and checking while what an earlier download left is read.
    """

    name: str
    number: int
    files: int
    done: int
    total: int | None
    all_done: int
    all_total: int
    rate: float | None
    left_s: float | None
    doing: Literal["downloading", "waiting", "checking"]


Tell = Callable[[DownloadProgress], None]


def needed(state: ModelState) -> tuple[Wanted, ...]:
    """What must be fetched before the model of `state` can be trained from; empty where all is here.

    Raises:
        FluxgymError: a missing file has no repository to come from, or another file lies in its place.
    """
    for rejected in state.blocking:
        raise FluxgymError(
            f"{rejected.path} {rejected.why}",
            hint="It lies where the right file belongs: move it away or delete it, and the right one is fetched.",
        )
    wanted = []
    for missing in state.missing:
        source = missing.source
        if source.repo is None or source.file is None:
            raise FluxgymError(
                f"{state.entry.key}: {missing.path} is not there",
                hint="Put it there, or correct its path in models.yaml.",
                code=ExitCode.NOT_FOUND,
            )
        wanted.append(
            Wanted(
                repo=source.repo,
                file=source.file,
                target=missing.path,
                size_bytes=source.size_bytes,
                sha256=source.sha256,
            )
        )
    home = state.expected.tokenizer_cache_dir
    for tokenizer in state.tokenizers:
        assert home is not None  # the folder they are missing from
        wanted += [
            Wanted(
                repo=tokenizer.repo,
                file=file,
                target=tokenizer.folder(home) / file,
                required=file in tokenizer.vocabulary,
            )
            for file in tokenizer.files
        ]
    return tuple(wanted)


def download(wanted: Sequence[Wanted], *, tell: Tell | None = None) -> list[Path]:
    """Fetch all of `wanted`, one after the other; the files' paths.

    What a broken connection or a killed process left is gone on with. Where another process fetches the same file, it
    is waited for. Room on the disk is checked before the first byte, size and hash after the last.

    Raises:
        HubError: the Hub refuses, is not reached, or broke off too often.
        FluxgymError: the disk is full, or what came is not what it should be.
    """
    described = [(one, remote) for one in wanted if (remote := _described(one)) is not None]
    _check_room(described)
    work = _Download(described, tell or (lambda _: None))
    return [work.fetch(number) for number in range(len(described))]


def _described(wanted: Wanted) -> RemoteFile | None:
    """The file as its server has it now. None for one that is not there and need not be."""
    try:
        remote = look_up(wanted.repo, wanted.file)
    except HubError as error:
        if error.reason == "no_file" and not wanted.required:
            return None
        raise
    for known, now in ((wanted.sha256, remote.sha256), (wanted.size_bytes, remote.size)):
        if known is not None and now is not None and known != now:
            raise FluxgymError(
                f"{wanted.file} of {wanted.repo} is not the file that models.yaml names: {now}, not {known}",
                hint="It was changed, or a mirror gives another one. Correct sha256 and bytes in models.yaml if you "
                "trust it.",
                code=ExitCode.FAILED,
            )
    return remote


def _check_room(described: Iterable[tuple[Wanted, RemoteFile]]) -> None:
    """FluxgymError where a disk has too little room for what is to come."""
    need: dict[int, tuple[Path, int]] = {}
    for wanted, remote in described:
        folder = _make_folder(wanted.target.parent)
        device = folder.stat().st_dev
        rest = max(0, (remote.size or 0) - partial_bytes(wanted.target))
        need[device] = (folder, need.get(device, (folder, 0))[1] + rest)
    for folder, size in need.values():
        stats = os.statvfs(folder)
        free = stats.f_frsize * stats.f_bavail
        if size and free < size + _SPARE_BYTES:
            raise FluxgymError(
                f"{folder} has {human_size(free)} free, and {human_size(size)} are to be downloaded",
                hint="Make room, or choose a workspace on a larger disk: --workspace DIR or FLUXGYM_HOME.",
                code=ExitCode.FAILED,
            )


def _make_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FluxgymError(f"cannot make {folder}: {error.strerror}", hint="Check its permissions.") from error
    return folder


class _Download:
    """The files of one call, fetched in their order; knows what is done and how fast it goes."""

    def __init__(self, described: Sequence[tuple[Wanted, RemoteFile]], tell: Tell) -> None:
        self._described = described
        self._tell = tell
        self._total = sum(remote.size or 0 for _, remote in described)
        self._before = 0  # bytes of the files before this one
        self._came: deque[tuple[float, int]] = deque()  # when how many bytes had come
        self._received = 0
        self._told_at = -_TELL_S
        self._by_xet = True  # until it once failed

    def fetch(self, number: int) -> Path:
        """Fetch the file of that number, from 0, and put it in its place."""
        wanted, remote = self._described[number]
        try:
            with alone(lock_path(wanted.target), waiting=lambda: self._say(number, 0, "waiting")):
                if not self._is_there(wanted, remote):
                    self._fill(number, wanted, remote)
        except OSError as error:
            raise _disk_error(wanted, error) from error
        self._before += remote.size or wanted.target.stat().st_size
        return wanted.target

    def _is_there(self, wanted: Wanted, remote: RemoteFile) -> bool:
        """Whether another process fetched it meanwhile."""
        if not wanted.target.is_file():
            return False
        if remote.size in (None, wanted.target.stat().st_size):
            return True
        raise FluxgymError(f"{wanted.target} is in the way: it is another file", hint="Move it away, then try again.")

    def _fill(self, number: int, wanted: Wanted, remote: RemoteFile) -> None:
        """Fetch until the file is whole and right; what was left by an earlier download is blamed once."""
        for again in (True, False):
            if not is_partial_of(wanted.target, remote.etag) or _too_long(wanted.target, remote):
                begin_partial(wanted.target, remote.etag)
            resumed = partial_bytes(wanted.target) > 0
            wrong = self._receive(number, wanted, remote)
            if wrong is None:
                finish_partial(wanted.target)
                self._say(number, remote.size or wanted.target.stat().st_size, "downloading", now=True)
                return
            forget_partial(wanted.target)
            if not (resumed and again):
                raise FluxgymError(
                    f"{wanted.file} of {wanted.repo} came wrong: {wrong}",
                    hint="It was thrown away. Try again; where it happens twice, something on the way changes it.",
                    code=ExitCode.FAILED,
                )

    def _receive(self, number: int, wanted: Wanted, remote: RemoteFile) -> str | None:
        """Append to what is there until nothing more is to come; what is wrong with the whole, or None."""
        digest = hashlib.sha256()
        done = 0
        with partial_path(wanted.target).open("ab+") as file:
            file.seek(0)
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
                done += len(block)
                self._say(number, done, "checking")
            self._say(number, done, "downloading", now=True)
            failures = 0
            while remote.size is None or done < remote.size:
                begun = done
                by_xet = self._by_xet and xet_works(remote)
                passing: tuple[type[Exception], ...] = (AgainError, *transport_errors(), *_xet_errors(by_xet))
                try:
                    for piece in pieces(remote, done, by_xet=by_xet):
                        file.write(piece)
                        digest.update(piece)
                        done += len(piece)
                        self._received += len(piece)
                        self._say(number, done, "downloading")
                    if remote.size is None or done >= remote.size:
                        break
                    reason: Exception = AgainError("the connection was closed too early")
                except RestartError:
                    file.truncate(0)
                    done, digest = 0, hashlib.sha256()
                    continue
                except passing as error:
                    reason = error
                    self._by_xet = self._by_xet and not by_xet
                file.flush()
                failures = 0 if done > begun else failures + 1
                remote = self._patiently(wanted, remote, reason, failures)
            file.flush()
            os.fsync(file.fileno())
        return _wrong(wanted, remote, done, digest.hexdigest())

    def _patiently(self, wanted: Wanted, remote: RemoteFile, reason: Exception, failures: int) -> RemoteFile:
        """Wait before the next try, and ask anew where the bytes are: a link may have run out."""
        if failures >= _TRIES:
            raise unreachable(f"download {wanted.file} of {wanted.repo}", reason) from reason
        asked = reason.wait_s if isinstance(reason, AgainError) else None
        own = min(_FIRST_WAIT_S * 2**failures, _LONGEST_WAIT_S)
        time.sleep(own if asked is None else min(asked, _LONGEST_ASKED_S))
        try:
            now = look_up(wanted.repo, wanted.file)
        except HubError as error:
            if error.reason in ("unreachable", "server", "busy"):
                return remote  # the next try counts
            raise
        if now.etag != remote.etag:
            raise FluxgymError(
                f"{wanted.file} of {wanted.repo} was changed while it was downloaded",
                hint="Try again: the new one is fetched from its beginning.",
                code=ExitCode.FAILED,
            )
        return now

    def _say(
        self, number: int, done: int, doing: Literal["downloading", "waiting", "checking"], *, now: bool = False
    ) -> None:
        at = time.monotonic()
        if at - self._told_at < _TELL_S and not now:
            return
        self._told_at = at
        wanted, remote = self._described[number]
        rate = self._rate(at)
        all_done = self._before + done
        self._tell(
            DownloadProgress(
                name=wanted.target.name,
                number=number + 1,
                files=len(self._described),
                done=done,
                total=remote.size,
                all_done=all_done,
                all_total=self._total,
                rate=rate,
                left_s=None if not rate else max(0, self._total - all_done) / rate,
                doing=doing,
            )
        )

    def _rate(self, at: float) -> float | None:
        self._came.append((at, self._received))
        while at - self._came[0][0] > _RATE_S:
            self._came.popleft()
        seconds = at - self._came[0][0]
        return (self._received - self._came[0][1]) / seconds if seconds > 0 else None


def _too_long(target: Path, remote: RemoteFile) -> bool:
    return remote.size is not None and partial_bytes(target) > remote.size


def _wrong(wanted: Wanted, remote: RemoteFile, size: int, sha256: str) -> str | None:
    """What is wrong with the whole file: its size, its hash."""
    if remote.size is not None and size != remote.size:
        return f"{size:,} bytes, not {remote.size:,}"
    expected = wanted.sha256 or remote.sha256
    if expected is not None:
        return None if sha256 == expected else f"its SHA-256 is {sha256}, not {expected}"
    if remote.git_sha1 is not None:
        content = partial_path(wanted.target).read_bytes()  # small: large files have a SHA-256
        found = hashlib.sha1(b"blob %d\0" % size + content, usedforsecurity=False).hexdigest()
        return None if found == remote.git_sha1 else f"its git hash is {found}, not {remote.git_sha1}"
    return None


def _xet_errors(by_xet: bool) -> tuple[type[Exception], ...]:
    """What Xet may raise, its own errors and the bare ones of its compiled part; none of them where it is not used."""
    if not by_xet:
        return ()
    hub_errors = importlib.import_module("huggingface_hub.errors")
    return (RuntimeError, ValueError, ConnectionError, PermissionError, hub_errors.HfHubHTTPError)


def _disk_error(wanted: Wanted, error: OSError) -> FluxgymError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return FluxgymError(
            f"{wanted.target.name} does not fit into {wanted.target.parent}: {error.strerror}",
            hint="Make room and try again: what has come is kept and gone on with.",
            code=ExitCode.FAILED,
        )
    return FluxgymError(
        f"cannot write {wanted.target}: {error.strerror or error}",
        hint="Check the folder's permissions.",
        code=ExitCode.FAILED,
    )
