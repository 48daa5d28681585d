"""Every picture and caption in a folder, from headers alone; whatever is wrong becomes a row, never a crash."""

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from stat import S_IFMT, S_IFREG
from typing import Final
from zlib import crc32

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.findings import Finding
from fluxgym_tui.dataset.captions import (
    MAX_CAPTION_BYTES,
    decode_caption,
    plain_caption,
    trained_caption,
    untrained_text,
)
from fluxgym_tui.dataset.digests import DigestCache
from fluxgym_tui.dataset.duplicates import Duplicates
from fluxgym_tui.dataset.header import HEAD_BYTES, ByteSource, PictureError
from fluxgym_tui.dataset.headers import gif_size, header_of
from fluxgym_tui.dataset.listing import Listing, is_hidden, list_folder
from fluxgym_tui.dataset.problems import problem
from fluxgym_tui.dataset.scanned import Ignored, Rejected, ScanItem, ScannedImage, ScanResult

__all__ = ["Ignored", "Rejected", "ScanItem", "ScanResult", "ScannedImage", "scan", "scan_iter", "scan_json"]

# The usual ending of each format; other contents are read all the same, and told.
_ENDINGS: Final = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "bmp": ".bmp"}
# O_NONBLOCK: a pipe that took a picture's place must not stop the scan.
_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def scan(folder: Path, *, recursive: bool = True, digests: DigestCache | None = None) -> ScanResult:
    """All of `folder`, as `scan_iter` finds it."""
    result = ScanResult()
    for item in scan_iter(folder, recursive=recursive, digests=digests):
        if isinstance(item, ScannedImage):
            result.images.append(item)
        elif isinstance(item, Ignored):
            result.ignored.append(item)
        elif isinstance(item, Rejected):
            result.rejected.append(item)
        else:
            result.problems.append(item)
    return result


def scan_iter(folder: Path, *, recursive: bool = True, digests: DigestCache | None = None) -> Iterator[ScanItem]:
    """Each file of `folder` and each finding about it, as they are read, folder by folder in the order of names.

    Little is kept of a picture once it is handed out, so a folder may be of any size. Linked folders are read once,
    after all others. `digests` spares reading again what was compared by content before. FluxgymError where `folder`
    is no folder that can be read.
    """
    folder = Path(folder)
    try:
        os.close(os.open(folder, _FOLDER_FLAGS))
    except OSError as error:
        raise _no_folder(folder, error) from error
    return _Scan(recursive=recursive, digests=digests).run(folder)


def scan_json(folder: Path, *, recursive: bool = True, digests: DigestCache | None = None) -> Iterator[str]:
    """The text of `scan --json`, in pieces, made as the pictures are read."""
    rest: dict[str, list[str]] = {"rejected": [], "ignored": [], "problems": []}
    separator = '{"images": [\n'
    for item in scan_iter(folder, recursive=recursive, digests=digests):
        text = json.dumps(item.to_json())
        if isinstance(item, ScannedImage):
            yield separator + text
            separator = ",\n"
        elif isinstance(item, Finding):
            rest["problems"].append(text)
        else:
            rest["ignored" if isinstance(item, Ignored) else "rejected"].append(text)
    if separator != ",\n":
        yield separator
    for name, rows in rest.items():
        yield f'],\n"{name}": ['
        for number, row in enumerate(rows):
            yield f"{',' if number else ''}\n{row}"
    yield "]}\n"


class _Folder:
    """An open folder: its handle, and its path as it stands before the names in it."""

    __slots__ = ("handle", "prefix")

    def __init__(self, path: Path, handle: int) -> None:
        text = str(path)
        # So that the whole is what `Path` would print.
        self.prefix = "" if text == "." else text if text.endswith("/") else text + "/"
        self.handle = handle


class _Scan:
    """One scan: the folders seen so far and what must be compared across them."""

    def __init__(self, *, recursive: bool, digests: DigestCache | None) -> None:
        self.recursive = recursive
        self.seen: set[tuple[int, int]] = set()
        self.links: list[Path] = []  # linked folders wait until every real one is known
        self.duplicates = Duplicates(digests)
        self.count = 0

    def run(self, folder: Path) -> Iterator[ScanItem]:
        """The whole scan; see `scan_iter`."""
        yield from self._tree(folder)
        while self.links:
            link = self.links.pop(0)
            if self._is_new(link):
                yield from self._tree(link)
            else:
                yield Ignored(str(link), "a link to a folder that is read already")
        yield from self.duplicates.findings()
        if self.count == 0:
            yield problem("no_pictures", path=folder)
        elif self.count == 1:
            yield problem("one_picture", path=folder)

    def _is_new(self, folder: Path) -> bool:
        try:
            status = folder.stat()
        except OSError:
            return True  # `_tree` tells what is wrong with it
        return (status.st_dev, status.st_ino) not in self.seen

    def _tree(self, top: Path) -> Iterator[ScanItem]:
        """A folder and those below it, each before its own folders."""
        waiting = [(top, False)]
        while waiting:
            folder, hidden = waiting.pop()
            try:
                handle = os.open(folder, _FOLDER_FLAGS)
            except OSError as error:
                yield problem("folder_unreadable", path=folder, detail=error.strerror)
                continue
            try:
                status = os.fstat(handle)
                if (status.st_dev, status.st_ino) in self.seen:  # mounted inside itself
                    continue
                self.seen.add((status.st_dev, status.st_ino))
                listing = list_folder(handle)
                opened = _Folder(folder, handle)
                if hidden:
                    for name in listing.files():
                        yield Ignored(opened.prefix + name, "in a hidden folder")
                else:
                    yield from self._folder(opened, listing)
            except OSError as error:
                yield problem("folder_unreadable", path=folder, detail=error.strerror)
                continue
            finally:
                os.close(handle)
            if self.recursive:
                waiting += [
                    (folder / name, hidden or is_hidden(name)) for name in sorted(listing.folders, reverse=True)
                ]
                if not hidden:
                    self.links += [folder / name for name in sorted(listing.linked_folders)]

    def _folder(self, folder: _Folder, listing: Listing) -> Iterator[ScanItem]:
        """The files of one open folder: pictures with their findings, captions, then all others."""
        captions = listing.captions
        owners: dict[str, str] = {}  # stem: the first picture that takes its caption
        for name in sorted(listing.pictures):
            stem = name[: name.rindex(".")]
            caption_name = captions.get(stem)
            findings: list[Finding] = []
            yield self._picture(folder, name, caption_name, findings)
            if caption_name is not None:
                first = owners.setdefault(stem, name)
                if first is name:
                    yield Ignored(folder.prefix + caption_name, f"the caption of {name}")
                else:
                    detail = f"{first} and {name} both take {caption_name}"
                    findings.append(problem("stem_clash", path=folder.prefix + name, detail=detail))
            if findings:
                yield from findings
        yield from _others(folder.prefix, listing, owners)

    def _picture(
        self, folder: _Folder, name: str, caption_name: str | None, findings: list[Finding]
    ) -> ScannedImage | Rejected:
        """One picture; what is to be said about it and its caption goes to `findings`."""
        path = folder.prefix + name
        try:
            file = os.open(name, _FLAGS, dir_fd=folder.handle)
            try:
                status = os.fstat(file)
                if S_IFMT(status.st_mode) != S_IFREG:
                    raise PictureError("not_a_file", "it is not a regular file")
                size_bytes = status.st_size
                source = ByteSource(file, size_bytes)
                kind, width, height, orientation, traits = header_of(source, path=path)
            finally:
                os.close(file)
        except PictureError as error:
            findings.append(problem(error.code, path=path, detail=error.reason))
            return Rejected(path, error.code, error.reason, *(error.size or ()))
        except OSError as error:
            code, reason = _system_reason(error)
            findings.append(problem(code, path=path, detail=reason))
            return Rejected(path, code, reason)
        self.count += 1
        self.duplicates.add(path, size_bytes << 32 | crc32(source.tail, crc32(source.head[:1024])))
        if traits and "animated" in traits:
            findings.append(problem("animated", path=path))
        if not name.endswith(_ENDINGS.get(kind, "")) and _promised(name) != kind:
            findings.append(problem("wrong_extension", path=path, detail=f"it is a {kind} picture"))
        caption = caption_path = None
        if caption_name is None:
            findings.append(problem("no_caption", path=path))
        else:
            caption_path = folder.prefix + caption_name
            caption = _caption(folder.handle, caption_name, caption_path, findings)
        return ScannedImage(
            path,
            width,
            height,
            orientation,
            caption,
            caption_path,
            kind,
            size_bytes,
            status.st_mtime_ns,
            status.st_ino,
            traits,
        )


def _promised(name: str) -> str:
    """The format that a picture's name promises: its extension, but for JPEG's many."""
    extension = name[name.rindex(".") + 1 :].lower()
    return "jpeg" if extension in {"jpg", "jfif", "jpe"} else extension


def _others(prefix: str, listing: Listing, owners: dict[str, str]) -> Iterator[ScanItem]:
    """The files of a folder that are no pictures to train."""
    for name in sorted(listing.untrained):
        kind = name[name.rindex(".") + 1 :].lower()
        yield from _reject(prefix + name, "untrained_format", f"{kind} pictures are not trained")
    for name in sorted(listing.special):
        yield from _reject(prefix + name, "not_a_file", "it is not a regular file")
    for name in sorted(listing.dead_links):
        yield from _reject(prefix + name, "broken_link", "the link leads nowhere")
    for stem, name in sorted(listing.captions.items()):
        if stem not in owners:
            yield Ignored(prefix + name, "a caption without a picture")
            yield problem("orphan_caption", path=prefix + name)
    for name, stem in sorted(listing.spare_captions.items()):
        yield Ignored(prefix + name, "a second caption")
        yield problem("two_captions", path=prefix + name, detail=f"{listing.captions[stem]} is used")
    for name, reason in sorted(listing.other):
        yield Ignored(prefix + name, reason)


def _caption(handle: int, name: str, path: str, findings: list[Finding]) -> str | None:
    """The caption in the file `name`, as it would be trained; what is to be said about it goes to `findings`."""
    try:
        file = os.open(name, _FLAGS, dir_fd=handle)
        try:
            raw = os.read(file, HEAD_BYTES)
            if len(raw) == HEAD_BYTES:
                raw += os.pread(file, MAX_CAPTION_BYTES, HEAD_BYTES)
        finally:
            os.close(file)
    except OSError as error:
        findings.append(problem("caption_unreadable", path=path, detail=_system_reason(error)[1]))
        return None
    plain = plain_caption(raw) if len(raw) < HEAD_BYTES else None
    if plain is not None:
        return plain
    decoded = decode_caption(raw)
    text = decoded.text
    caption = trained_caption(text)
    if decoded.problem == "not_utf8":
        detail = f"it reads as {decoded.encoding}: {caption[:80]}"
        findings.append(problem("caption_not_utf8", path=path, detail=detail))
    elif decoded.problem is not None:
        findings.append(problem(f"caption_{decoded.problem}", path=path))
    if len(raw) >= HEAD_BYTES:
        findings.append(problem("caption_too_long", path=path, detail=f"{len(caption):,} characters in its first line"))
    lost = untrained_text(text)[:200]
    if caption and lost:
        findings.append(problem("multiline_caption", path=path, detail=f"not trained: {lost}"))
    elif not caption and decoded.problem != "binary":
        findings.append(problem("empty_caption", path=path, detail=f"not trained: {lost}" if lost else None))
    return caption or None


def _reject(path: str, code: str, reason: str) -> Iterator[ScanItem]:
    size = gif_size(Path(path)) if path.lower().endswith(".gif") else None
    yield Rejected(path, code, reason, *(size or ()))
    yield problem(code, path=path, detail=reason)


def _system_reason(error: OSError) -> tuple[str, str]:
    """The code and the words for a file that the system does not hand out."""
    if error.errno in {errno.ENOENT, errno.ESTALE}:
        return "vanished", "it was there when the folder was listed, and is gone"
    return "unreadable", error.strerror or str(error)


def _no_folder(folder: Path, error: OSError) -> FluxgymError:
    if error.errno == errno.ENOENT:
        return FluxgymError(
            f"there is no folder {folder}",
            hint="Check the path: `ls` its parent to see what is there.",
            code=ExitCode.USAGE,
        )
    if error.errno == errno.ENOTDIR:
        return FluxgymError(f"{folder} is a file, not a folder", hint="Name the folder that holds the pictures.")
    return FluxgymError(f"{folder} cannot be read: {error.strerror}", hint="Allow reading it: chmod u+rx.")
