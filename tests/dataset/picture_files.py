"""Pictures made for tests, by Pillow and byte by byte."""

import io
import struct
import zlib
from pathlib import Path

from PIL import Image


def exif(orientation: int, *, order: str = "<", filler_bytes: int = 0) -> bytes:
    """An EXIF block with an orientation and a maker's note of `filler_bytes` in front of its directory."""
    mark = b"II" if order == "<" else b"MM"
    start = 8 + filler_bytes
    entries = [(0x010F, 2, 4, b"abc\0"), (0x0112, 3, 1, struct.pack(order + "HH", orientation, 0))]
    body = b"".join(struct.pack(order + "HHI", tag, kind, count) + value for tag, kind, count, value in entries)
    head = mark + struct.pack(order + "HI", 42, start)
    return (
        b"Exif\0\0" + head + bytes(filler_bytes) + struct.pack(order + "H", len(entries)) + body + struct.pack("I", 0)
    )


def gradient(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """A picture in which every corner looks different."""
    across = Image.linear_gradient("L").rotate(90).resize((width, height))
    down = Image.linear_gradient("L").resize((width, height))
    return Image.merge("RGB", (across, down, Image.new("L", (width, height), 90))).convert(mode)


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of `picture` as `kind`, one of Pillow's format names."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def save(path: Path, *, size: tuple[int, int] = (40, 30), orientation: int = 1, caption: str | None = None) -> Path:
    """A picture at `path` in the format of its name, with a caption beside it."""
    kind = {"jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP", "bmp": "BMP"}.get(path.suffix[1:].lower(), "PNG")
    options: dict[str, object] = {} if orientation == 1 else {"exif": exif(orientation)}
    # Content that differs by name, or every other picture would be a duplicate.
    picture = gradient(*size)
    picture.putpixel((0, 0), tuple(zlib.crc32(str(path).encode("utf-8", "surrogateescape")).to_bytes(4)[:3]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(picture, kind, **options))
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return path


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    size: tuple[int, int] = (40, 30), *, before: bytes = b"", behind: bytes = b"", pixels_chunk: int = 1 << 20
) -> bytes:
    """A PNG with further chunks before and behind its pixels, which come in chunks of `pixels_chunk` bytes."""
    width, height = size
    rows = b"".join(b"\0" + bytes((x * y + x) % 256 for x in range(width * 3)) for y in range(height))
    packed = zlib.compress(rows, 1)
    parts = [packed[start : start + pixels_chunk] for start in range(0, len(packed), pixels_chunk)]
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + before
        + b"".join(png_chunk(b"IDAT", part) for part in parts)
        + behind
        + png_chunk(b"IEND", b"")
    )


def jpeg_segment(marker: int, body: bytes) -> bytes:
    """One segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def swapped_profile() -> bytes:
    """A linear colour profile in which red and green are exchanged: converting by it is plain to see."""

    def xyz(x: float, y: float, z: float) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">iii", *(round(value * 65536) for value in (x, y, z)))

    def text(words: bytes) -> bytes:
        return b"desc\0\0\0\0" + struct.pack(">I", len(words) + 1) + words + bytes(1 + 4 + 4 + 2 + 1 + 67)

    curve = b"curv\0\0\0\0" + struct.pack(">I", 0)
    tags = {
        b"desc": text(b"swapped"),
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(0.3851, 0.7169, 0.0971),
        b"gXYZ": xyz(0.4361, 0.2225, 0.0139),
        b"bXYZ": xyz(0.1431, 0.0606, 0.7141),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    table, data = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, body in tags.items():
        padded = body + bytes(-len(body) % 4)
        table += name + struct.pack(">II", start + len(data), len(body))
        data += padded
    size = start + len(data)
    head = struct.pack(">I4sI4s4s4s", size, b"none", 0x02100000, b"mntr", b"RGB ", b"XYZ ") + bytes(12) + b"acsp"
    head += bytes(28) + struct.pack(">iii", round(0.9642 * 65536), 65536, round(0.8249 * 65536))
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data
