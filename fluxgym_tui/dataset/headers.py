"""Size, orientation and colour facts of any picture from its first bytes, without decoding it.

PNG, JPEG, WebP and BMP are read by our own readers; what looks unusual in them, and the formats that plugins add, goes
to Pillow, which is imported only then.
"""

import os
import stat
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any, Final

from fluxgym_tui.dataset.exif import exif_orientation, xmp_orientation
from fluxgym_tui.dataset.header import MAX_PIXELS, ByteSource, PictureError, PictureHeader
from fluxgym_tui.dataset.jpeg import read_jpeg
from fluxgym_tui.dataset.png import read_png
from fluxgym_tui.dataset.webp_bmp import read_bmp, read_webp

# Pillow's modes, as the traits of `PictureHeader`.
_MODE_TRAITS: Final[dict[str, tuple[str, ...]]] = {
    "RGB": (),
    "L": (),
    "1": (),
    "P": ("palette",),
    "PA": ("alpha", "palette"),
    "RGBA": ("alpha",),
    "RGBa": ("alpha",),
    "LA": ("alpha",),
    "La": ("alpha",),
    "CMYK": ("cmyk",),
}

_FORMATS: Final = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "DIB", "GIF", "ICO", "PPM", "JPEG2000", "AVIF", "HEIF", "JXL")
# Formats that have a plugin of their own: what to import, and what to install.
_PLUGINS: Final = {
    "heic": ("pillow_heif", "pillow-heif"),
    "avif": ("pillow_avif", "pillow-avif-plugin"),
    "jxl": ("pillow_jxl", "pillow-jxl-plugin"),
}


def pillow_errors() -> tuple[type[Exception], ...]:
    """What Pillow is seen to raise on damaged files; each means that this file cannot be opened or decoded."""
    from PIL import Image

    return (
        *(OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, OverflowError),
        *(RuntimeError, MemoryError, AssertionError, struct.error, zlib.error, Image.DecompressionBombError),
    )


def read_header(path: Path) -> PictureHeader:
    """The header of the picture at `path`. PictureError where it cannot be trained, OSError as the system raises it."""
    # O_NONBLOCK: a pipe among the pictures must not stop the scan.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise PictureError("not_a_file", "it is not a regular file")
        return header_of(ByteSource(handle, status.st_size), path=str(path))
    finally:
        os.close(handle)


def header_of(source: ByteSource, *, path: str) -> PictureHeader:
    """The header of an open picture; `path` is where Pillow would find it. Errors as `read_header`."""
    head = source.head
    start = head[:2]
    header = None
    if start == b"\xff\xd8":
        header = read_jpeg(source)
    elif start == b"\x89P" and head[:8] == b"\x89PNG\r\n\x1a\n":
        header = read_png(source)
    elif start == b"RI" and head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        header = read_webp(source)
    elif start == b"BM":
        header = read_bmp(source)
    elif not head:
        raise PictureError("zero_bytes", "the file is empty")
    if header is None:
        header = _by_pillow(path, head)
    if header[1] * header[2] > MAX_PIXELS:
        width, height = header.width, header.height
        raise PictureError("too_large", f"{width}x{height} is more than {MAX_PIXELS:,} pixels", size=(width, height))
    return header


def gif_size(path: Path) -> tuple[int, int] | None:
    """Width and height in pixels of a GIF, which is told but not trained; None where it does not say."""
    try:
        with path.open("rb", buffering=0) as file:
            head = file.read(10)
    except OSError:
        return None
    if len(head) < 10 or head[:4] != b"GIF8":
        return None
    return int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little")


def _sniff(head: bytes) -> str | None:
    """The format that needs a plugin, by its first bytes."""
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand in {b"avif", b"avis"}:
            return "avif"
        if brand in {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}:
            return "avif" if b"avif" in head[16:64] else "heic"
    if head[:2] == b"\xff\x0a" or head[:12] == b"\x00\x00\x00\x0cJXL \r\n\x87\n":
        return "jxl"
    return None


def _by_pillow(path: str, head: bytes) -> PictureHeader:
    """The header as Pillow reads it: for the unusual, and for formats of plugins."""
    # Slow to import, and most folders never need it.
    from PIL import Image, UnidentifiedImageError

    plugin = _sniff(head)
    if plugin is not None:
        enable_plugin(plugin)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # oversize pictures are judged by our own limit
            with Image.open(path, formats=_openable()) as picture:
                width, height = picture.size
                traits = set(_MODE_TRAITS.get(picture.mode, ("deep",)))
                if picture.info.get("icc_profile"):
                    traits.add("icc")
                if "transparency" in picture.info:
                    traits.add("alpha")
                if getattr(picture, "is_animated", False) and picture.format != "MPO":
                    traits.add("animated")
                if picture.format not in {"JPEG", "PNG", "WEBP", "BMP", "MPO", "DIB"}:
                    traits.add("foreign")
                return PictureHeader(
                    (picture.format or "unknown").lower(),
                    width,
                    height,
                    _orientation(picture.info),
                    tuple(sorted(traits)),
                )
    except Image.DecompressionBombError as error:
        raise PictureError("too_large", "it has more pixels than any trainer opens") from error
    except UnidentifiedImageError as error:
        if plugin is not None:
            reason = f"{plugin.upper()} pictures are read only where {_PLUGINS[plugin][1]} is installed"
            raise PictureError("needs_plugin", reason) from error
        raise PictureError("not_a_picture", "its bytes are not those of a picture that is trained") from error
    except FileNotFoundError:
        raise
    except pillow_errors() as error:
        raise PictureError("broken", f"it cannot be opened ({error or type(error).__name__})") from error


def _openable() -> list[str]:
    """The formats of Pillow's that a file with a picture's name is tried as; the rest only invite accidents."""
    from PIL import Image

    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _orientation(info: dict[Any, Any]) -> int:
    """The orientation in what Pillow keeps of a file. Its own `getexif` would decode some formats first."""
    exif, xmp = info.get("exif"), info.get("xmp")
    found = exif_orientation(exif) if isinstance(exif, bytes) else None
    if found is None and isinstance(xmp, bytes):
        found = xmp_orientation(xmp)
    return found or 1


def enable_plugin(name: str) -> bool:
    """Let Pillow open `heic`, `avif` or `jxl` where the plugin is installed; whether it now may."""
    import importlib

    from PIL import features

    if name == "avif" and features.check("avif"):
        return True
    try:
        module = importlib.import_module(_PLUGINS[name][0])
    except ImportError:
        return False
    if name == "heic":
        module.register_heif_opener()
    return True
