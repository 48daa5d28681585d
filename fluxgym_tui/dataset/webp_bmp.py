"""The headers of WebP and BMP: size, orientation, colour facts, and whether all bytes are there."""

from struct import Struct, unpack_from

from fluxgym_tui.dataset.exif import exif_orientation, xmp_orientation
from fluxgym_tui.dataset.header import MAX_PIXELS, ByteSource, PictureError, PictureHeader, cut_off

_long = Struct("<I").unpack_from
_shorts = Struct("<HH").unpack_from


def read_webp(source: ByteSource) -> PictureHeader | None:
    """The header of a WebP (RFC 9649). None where only a decoder can judge; PictureError where it is cut off."""
    head = source.head
    if len(head) < 30:
        raise cut_off()
    total = _long(head, 4)[0] + 8
    if total > source.size:
        raise cut_off()
    if head[12:16] != b"VP8X":
        frame = _frame(head[12:30])
        if frame is None or 20 + _long(head, 16)[0] > total:
            return None
        return PictureHeader("webp", frame[0], frame[1], 1, ("alpha",) if frame[2] else ())
    flags = head[20]
    size = int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if _long(head, 16)[0] != 10:
        return None
    orientation = _walk(source, total, size, flags)
    if orientation is None:
        return None
    traits = [name for bit, name in ((0x10, "alpha"), (0x02, "animated"), (0x20, "icc")) if flags & bit]
    return PictureHeader("webp", *size, orientation, tuple(traits))


def _frame(chunk: bytes) -> tuple[int, int, bool] | None:
    """Width, height and transparency of a chunk of pixels by its first 18 bytes; None where they are none."""
    if chunk[:4] == b"VP8 " and chunk[11:14] == b"\x9d\x01\x2a" and len(chunk) == 18:
        width, height = _shorts(chunk, 14)
        width, height = width & 0x3FFF, height & 0x3FFF
        return (width, height, False) if width and height else None
    if chunk[:4] == b"VP8L" and chunk[8:9] == b"\x2f" and len(chunk) >= 13:
        bits = _long(chunk, 9)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)
    return None


def _walk(source: ByteSource, total: int, size: tuple[int, int], flags: int) -> int | None:
    """The orientation that a file of many chunks has in its EXIF or XMP, which stand behind the pixels.

    None where the pixels are not of the canvas' `size`, or where a chunk has no place in the file.
    """
    exif = xmp = None
    animated, told = bool(flags & 0x02), bool(flags & 0x0C)
    seen = animated
    offset = 30
    while offset + 8 <= total and (told or not seen):
        chunk = source.at(offset, 18)
        kind, length = chunk[:4], _long(chunk, 4)[0]
        if offset + 8 + length > total:
            return None
        if kind in {b"VP8 ", b"VP8L"} and not animated:
            frame = _frame(chunk)
            if frame is None or frame[:2] != size:
                return None
            seen = True
        elif kind == b"EXIF" and exif is None:
            exif = exif_orientation(source.at(offset + 8, length))
        elif kind == b"XMP " and xmp is None:
            xmp = xmp_orientation(source.at(offset + 8, length))
        offset += 8 + length + (length & 1)
    return (exif or xmp or 1) if seen else None


def read_bmp(source: ByteSource) -> PictureHeader | None:
    """The header of a BMP. None where only a decoder can judge; PictureError where it is cut off."""
    head = source.head
    if len(head) < 26:
        raise cut_off()
    pixels, kind = unpack_from("<II", head, 10)
    if kind == 12:
        width, height, planes, bits = unpack_from("<HHHH", head, 18)
        packing = 0
    elif kind in {40, 52, 56, 64, 108, 124} and len(head) >= 14 + kind:
        width, height, planes, bits, packing = unpack_from("<iiHHI", head, 18)
    else:
        return None
    height = abs(height)  # negative: the rows are stored from the top
    if width <= 0 or not height or planes != 1 or bits not in {1, 4, 8, 24, 32} or packing != 0:
        return None
    if bits <= 8 and kind >= 40 and unpack_from("<I", head, 46)[0] > 256:
        raise PictureError("broken", "its palette has more than 256 colours", size=(width, height))
    # Rows are padded to four bytes; nobody misses the padding of the last one.
    needed = pixels + (width * bits + 31) // 32 * 4 * (height - 1) + (width * bits + 7) // 8
    if width * height <= MAX_PIXELS and needed > source.size:
        raise cut_off(size=(width, height))
    return PictureHeader("bmp", width, height, 1, ("palette",) if bits <= 8 else ())
