"""Size, orientation and colour facts of any picture from its first bytes, without decoding it.

PNG, JPEG, WebP and BMP are read by our own readers; what looks unusual in them, and the formats that plugins add, goes
to Pillow, which is imported only then.
"""

import os
import stat
import warnings
from pathlib import Path
from typing import Final

from fluxgym_tui.dataset.exif import exif_orientation
from fluxgym_tui.dataset.header import HEAD_BYTES, ByteSource, PictureError, PictureHeader
from fluxgym_tui.dataset.jpeg import read_jpeg
from fluxgym_tui.dataset.png import read_png
from fluxgym_tui.dataset.webp_bmp import read_bmp, read_webp

# Twice Pillow's MAX_IMAGE_PIXELS: above it Pillow, and with it every trainer, refuses to open a picture.
MAX_PIXELS: Final = 2 * (1024 * 1024 * 1024 // 4 // 3)

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

# Formats that have a plugin of their own: what to import, and what to install.
_PLUGINS: Final = {
    "heic": ("pillow_heif", "pillow-heif"),
    "avif": ("pillow_avif", "pillow-avif-plugin"),
    "jxl": ("pillow_jxl", "pillow-jxl-plugin"),
}


def read_header(path: Path) -> PictureHeader:
    """The header of the picture at `path`. PictureError where it cannot be trained, OSError as the system raises it."""
    # O_NONBLOCK: a pipe among the pictures must not stop the scan.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise PictureError("not_a_file", "it is not a regular file")
        return header_of(ByteSource(handle, os.read(handle, HEAD_BYTES), status.st_size), path=os.fspath(path))
    finally:
        os.close(handle)


def header_of(source: ByteSource, *, path: str) -> PictureHeader:
    """The header of an open picture; `path` is where Pillow would find it. Errors as `read_header`."""
    head = source.head
    if not head:
        raise PictureError("zero_bytes", "the file is empty")
    header = None
    if head[:3] == b"\xff\xd8\xff":
        header = read_jpeg(source)
    elif head[:8] == b"\x89PNG\r\n\x1a\n":
        header = read_png(source)
    elif head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        header = read_webp(source)
    elif head[:2] == b"BM":
        header = read_bmp(source)
    if header is None:
        header = _by_pillow(path, head)
    if header.width * header.height > MAX_PIXELS:
        raise PictureError("too_large", f"{header.width}x{header.height} is more than {MAX_PIXELS:,} pixels")
    return header


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
            with Image.open(path) as picture:
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
                exif = picture.info.get("exif")
                orientation = exif_orientation(exif) if isinstance(exif, bytes) else None
                return PictureHeader(
                    (picture.format or "unknown").lower(), width, height, orientation or 1, tuple(sorted(traits))
                )
    except Image.DecompressionBombError as error:
        raise PictureError("too_large", "it has more pixels than any trainer opens") from error
    except UnidentifiedImageError as error:
        if plugin is not None:
            package = _PLUGINS[plugin][1]
            raise PictureError(
                "needs_plugin", f"{plugin.upper()} pictures are read only where {package} is installed"
            ) from error
        raise PictureError("not_a_picture", "its bytes are not those of a picture") from error
    except FileNotFoundError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, OverflowError) as error:
        # What Pillow's readers are seen to raise on damaged files; each means that this one cannot be opened.
        raise PictureError("broken", f"it cannot be opened ({error or type(error).__name__})") from error


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
