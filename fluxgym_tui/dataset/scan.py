"""Every picture and caption in a folder, from headers alone; whatever is wrong becomes a row, never a crash."""

import errno
import json
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.findings import Finding
from fluxgym_tui.dataset.captions import CAPTION_EXTENSIONS, MAX_CAPTION_BYTES, decode_caption, trained_caption
from fluxgym_tui.dataset.digests import DigestCache
from fluxgym_tui.dataset.duplicates import Duplicates
from fluxgym_tui.dataset.header import HEAD_BYTES, ByteSource, PictureError, PictureHeader
from fluxgym_tui.dataset.headers import header_of
from fluxgym_tui.dataset.problems import problem
from fluxgym_tui.dataset.scanned import Ignored, Rejected, ScanItem, ScannedImage, ScanResult

__all__ = ["Ignored", "Rejected", "ScanItem", "ScanResult", "ScannedImage", "scan", "scan_iter", "scan_json"]

# Names that are read as pictures, in any case of letters: sd-scripts' own, JPEG's other names, and plugins' formats.
PICTURE_EXTENSIONS: Final = frozenset(
    (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".jfif", ".jpe", ".avif", ".heic", ".heif", ".jxl")
)
# Pictures that are not trained, and are told: nobody should wonder where they went.
_UNTRAINED: Final = frozenset(
    """.gif .tif .tiff .psd .psb .xcf .tga .ppm .pgm .pbm .pnm .ico .icns .jp2 .j2k .jpf .jpx .svg .raw .cr2 .cr3 .nef
    .arw .dng .orf .rw2 .raf .exr .hdr .dds .eps .pcx .qoi .apng .mpo .dib .avifs""".split()
)
_FORMATS: Final = {
    ".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".jfif": "jpeg", ".jpe": "jpeg", ".webp": "webp", ".bmp": "bmp"
}  # fmt: skip
# O_NONBLOCK: a pipe that took a picture's place must not stop the scan.
_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


def scan(folder: Path, *, recursive: bool = True, digests: DigestCache | None = None) -> ScanResult:
    """All of `folder`, as `scan_iter` finds it."""
    result = ScanResult()
    for item in scan_iter(folder, recursive=recursive, digests=digests):
        match item:
            case ScannedImage():
                result.images.append(item)
            case Rejected():
                result.rejected.append(item)
            case Ignored():
                result.ignored.append(item)
            case Finding():
                result.problems.append(item)
    return result


def scan_iter(folder: Path, *, recursive: bool = True, digests: DigestCache | None = None) -> Iterator[ScanItem]:
    """Each file of `folder` and each finding about it, as they are read, folder by folder in the order of names.

    Nothing is kept of a picture once it is handed out, so a folder may be of any size. `digests` spares reading
    again what was compared by content before. FluxgymError where `folder` is no folder that can be read.
    """
    return _Scan(recursive=recursive, digests=digests).run(Path(folder))


def scan_json(folder: Path, *, recursive: bool = True, digests: DigestCache | None = None) -> Iterator[str]:
    """The text of `scan --json`, in pieces, made as the pictures are read."""
    rest: dict[str, list[str]] = {"rejected": [], "ignored": [], "problems": []}
    separator = '{"images": ['
    for item in scan_iter(folder, recursive=recursive, digests=digests):
        text = json.dumps(item.to_json())
        match item:
            case ScannedImage():
                yield f"{separator}\n{text}"
                separator = ","
            case Rejected():
                rest["rejected"].append(text)
            case Ignored():
                rest["ignored"].append(text)
            case Finding():
                rest["problems"].append(text)
    if separator != ",":
        yield separator
    for name, rows in rest.items():
        yield f'],\n"{name}": ['
        for number, row in enumerate(rows):
            yield f"{',' if number else ''}\n{row}"
    yield "]}\n"


class _Names:
    """The names in one folder, sorted out by what they are."""

    def __init__(self) -> None:
        self.pictures: list[str] = []
        self.captions: dict[str, list[str]] = {}  # stem: files
        self.other: list[tuple[str, str]] = []  # name, what it is taken for
        self.untrained: list[str] = []
        self.special: list[str] = []
        self.folders: list[str] = []
        self.linked_folders: list[str] = []
        self.dead_links: list[str] = []


class _Scan:
    """One scan: the folders seen so far and what must be compared across them."""

    def __init__(self, *, recursive: bool, digests: DigestCache | None) -> None:
        self.recursive = recursive
        self.digests = digests or DigestCache()
        self.seen: set[tuple[int, int]] = set()
        self.links: list[str] = []  # linked folders wait until every real one is known
        self.duplicates = Duplicates(self.digests)
        self.count = 0

    def run(self, folder: Path) -> Iterator[ScanItem]:
        """The whole scan; see `scan_iter`."""
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise _no_folder(folder, error) from error
        os.close(handle)
        yield from self._tree(str(folder), hidden=False)
        while self.links:
            path = self.links.pop(0)
            yield from self._tree(path, hidden=False, link=True)
        yield from self.duplicates.findings()
        self.digests.save()
        if self.count == 0:
            yield problem("no_pictures", path=folder)
        elif self.count == 1:
            yield problem("one_picture", path=folder)

    def _tree(self, top: str, *, hidden: bool, link: bool = False) -> Iterator[ScanItem]:
        """A folder and those below it, each before its own folders."""
        waiting = [(top, hidden)]
        while waiting:
            folder, is_hidden = waiting.pop()
            try:
                handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                yield problem("folder_unreadable", path=folder, detail=os.strerror(error.errno or 0))
                continue
            try:
                status = os.fstat(handle)
                identity = (status.st_dev, status.st_ino)
                if identity in self.seen:
                    if link:
                        yield Ignored(Path(folder), "a link to a folder that is read already")
                    continue
                self.seen.add(identity)
                names = _list(handle)
                if is_hidden:
                    yield from self._hidden(folder, names)
                else:
                    yield from self._folder(folder, handle, names)
            except OSError as error:
                yield problem("folder_unreadable", path=folder, detail=os.strerror(error.errno or 0))
                continue
            finally:
                os.close(handle)
            link = False
            if self.recursive:
                for name in sorted(names.folders, reverse=True):
                    waiting.append((os.path.join(folder, name), is_hidden or _is_hidden(name)))
                if not is_hidden:
                    self.links.extend(os.path.join(folder, name) for name in sorted(names.linked_folders))

    def _hidden(self, folder: str, names: "_Names") -> Iterator[ScanItem]:
        every = [*names.pictures, *names.untrained, *names.special, *names.dead_links, *names.linked_folders]
        every += [name for name, _ in names.other] + [name for group in names.captions.values() for name in group]
        for name in sorted(every):
            yield Ignored(Path(folder, name), "in a hidden folder")

    def _folder(self, folder: str, handle: int, names: "_Names") -> Iterator[ScanItem]:
        stems: dict[str, str] = {}
        for name in sorted(names.pictures):
            stem = name.rpartition(".")[0]
            yield from self._picture(folder, handle, name, names.captions.get(stem))
            if stem in stems and stem in names.captions:
                detail = f"{stems[stem]} and {name} both take {names.captions[stem][0]}"
                yield problem("stem_clash", path=os.path.join(folder, name), detail=detail)
            stems.setdefault(stem, name)
        for name in sorted(names.untrained):
            kind = name.rpartition(".")[2].lower()
            yield from _reject(os.path.join(folder, name), "untrained_format", f"{kind} pictures are not trained")
        for name in sorted(names.special):
            yield from _reject(os.path.join(folder, name), "not_a_file", "it is not a regular file")
        for name in sorted(names.dead_links):
            yield from _reject(os.path.join(folder, name), "broken_link", "the link leads nowhere")
        for stem, files in sorted(names.captions.items()):
            for name in files:
                path = Path(folder, name)
                yield Ignored(path, f"the caption of {stems[stem]}" if stem in stems else "a caption without a picture")
                if stem not in stems:
                    yield problem("orphan_caption", path=path)
        for name, reason in sorted(names.other):
            yield Ignored(Path(folder, name), reason)

    def _picture(self, folder: str, handle: int, name: str, captions: list[str] | None) -> Iterator[ScanItem]:
        path = os.path.join(folder, name)
        try:
            file = os.open(name, _FLAGS, dir_fd=handle)
            try:
                status = os.fstat(file)
                if not stat.S_ISREG(status.st_mode):
                    raise PictureError("not_a_file", "it is not a regular file")
                head = os.read(file, HEAD_BYTES)
                header = header_of(ByteSource(file, head, status.st_size), path=path)
                middle = os.pread(file, HEAD_BYTES, status.st_size // 2) if status.st_size > HEAD_BYTES else b""
            finally:
                os.close(file)
        except PictureError as error:
            yield from _reject(path, error.code, error.reason)
            return
        except OSError as error:
            yield from _reject(path, *_system_reason(error))
            return
        self.count += 1
        self.duplicates.add(path, status.st_size, zlib.crc32(head), zlib.crc32(middle))
        caption = caption_path = None
        findings: list[Finding] = []
        if captions:
            caption_path = Path(folder, captions[0])
            caption = _caption(handle, captions, folder, findings)
        else:
            findings.append(problem("no_caption", path=path))
        yield ScannedImage(
            Path(path),
            header.width,
            header.height,
            header.orientation,
            caption,
            caption_path,
            header.format,
            status.st_size,
            status.st_mtime_ns,
            status.st_ino,
            header.traits,
        )
        if "animated" in header.traits:
            yield problem("animated", path=path)
        _check_extension(path, name, header, findings)
        yield from findings


def _check_extension(path: str, name: str, header: PictureHeader, findings: list[Finding]) -> None:
    expected = _FORMATS.get("." + name.rpartition(".")[2].lower())
    if expected is not None and expected != header.format:
        findings.append(problem("wrong_extension", path=path, detail=f"it is a {header.format} picture"))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _list(handle: int) -> _Names:
    """The names in the open folder `handle`, sorted out."""
    names = _Names()
    with os.scandir(handle) as entries:
        for entry in entries:
            name = entry.name
            if entry.is_dir(follow_symlinks=False):
                names.folders.append(name)
                continue
            if name.startswith("."):
                names.other.append((name, "a hidden file"))
                continue
            extension = name[name.rfind(".") :].lower() if "." in name else ""
            if entry.is_symlink():
                try:
                    mode = os.stat(name, dir_fd=handle).st_mode
                except OSError:
                    if extension in PICTURE_EXTENSIONS:
                        names.dead_links.append(name)
                    else:
                        names.other.append((name, "a link that leads nowhere"))
                    continue
                if stat.S_ISDIR(mode):
                    names.linked_folders.append(name)
                    continue
                regular = stat.S_ISREG(mode)
            else:
                regular = entry.is_file(follow_symlinks=False)
            if extension in PICTURE_EXTENSIONS:
                (names.pictures if regular else names.special).append(name)
            elif not regular:
                names.other.append((name, "not a regular file"))
            elif extension in CAPTION_EXTENSIONS:
                names.captions.setdefault(name[: -len(extension)], []).append(name)
            elif extension in _UNTRAINED:
                names.untrained.append(name)
            else:
                names.other.append((name, "not a picture by its name"))
    for files in names.captions.values():
        if len(files) > 1:
            files.sort(key=lambda name: CAPTION_EXTENSIONS.index(name[name.rfind(".") :].lower()))
    return names


def _caption(handle: int, files: list[str], folder: str, findings: list[Finding]) -> str | None:
    """The caption in the first of `files`, as it would be trained; what is to be said about it goes to `findings`."""
    name = files[0]
    path = os.path.join(folder, name)
    if len(files) > 1:
        findings.append(problem("two_captions", path=os.path.join(folder, files[1]), detail=f"{name} is used"))
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
    caption = decode_caption(raw)
    if caption.problem == "binary":
        findings.append(problem("caption_binary", path=path))
        return None
    if caption.problem == "bom":
        findings.append(problem("caption_bom", path=path))
    elif caption.problem is not None:
        detail = f"it reads as {caption.encoding}: {trained_caption(caption.text)[:80]}"
        findings.append(problem("caption_not_utf8", path=path, detail=detail))
    text = trained_caption(caption.text)
    dropped = caption.text.strip()[len(text) :].strip() if text else caption.text.strip()
    if not text:
        findings.append(
            problem("empty_caption", path=path, detail=f"not trained: {dropped[:200]}" if dropped else None)
        )
        return None
    if dropped:
        findings.append(problem("multiline_caption", path=path, detail=f"not trained: {dropped[:200]}"))
    return text


def _reject(path: str, code: str, reason: str) -> Iterator[ScanItem]:
    yield Rejected(Path(path), code, reason)
    yield problem(code, path=path, detail=reason)


def _system_reason(error: OSError) -> tuple[str, str]:
    """The code and the words for a file that the system does not hand out."""
    if error.errno in {errno.ENOENT, errno.ESTALE}:
        return "vanished", "the file was there when the folder was listed, and is gone"
    return "unreadable", os.strerror(error.errno) if error.errno else str(error)


def _no_folder(folder: Path, error: OSError) -> FluxgymError:
    if error.errno == errno.ENOENT:
        return FluxgymError(
            f"there is no folder {folder}", hint="Check the path; `ls` its parent to see what is there."
        )
    if error.errno == errno.ENOTDIR:
        return FluxgymError(f"{folder} is a file, not a folder", hint="Name the folder that holds the pictures.")
    return FluxgymError(f"{folder} cannot be read: {error.strerror}", hint="Allow reading it (chmod u+rx).")
