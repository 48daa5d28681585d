"""The headers of WebP and BMP: size, orientation, colour facts, and whether all bytes are there."""

from struct import unpack_from

from fluxgym_tui.dataset.exif import exif_orientation, xmp_orientation
from fluxgym_tui.dataset.header import MAX_PIXELS, ByteSource, PictureError, PictureHeader, cut_off


def read_webp(source: ByteSource) -> PictureHeader | None:
    """The header of a WebP (RFC 9649). None where only a decoder can judge; PictureError where it is cut off."""
    head = source.head
    if len(head) < 30:
        raise cut_off()
    total = unpack_from("<I", head, 4)[0] + 8
    if total > source.size:
        raise cut_off()
    kind = head[12:16]
    if kind == b"VP8 ":
        if head[23:26] != b"\x9d\x01\x2a":
            return None
        width, height = unpack_from("<HH", head, 26)
        return PictureHeader("webp", width & 0x3FFF, height & 0x3FFF) if width & 0x3FFF and height & 0x3FFF else None
    if kind == b"VP8L":
        if head[20] != 0x2F:
            return None
        bits = unpack_from("<I", head, 21)[0]
        alpha: tuple[str, ...] = ("alpha",) if bits >> 28 & 1 else ()
        return PictureHeader("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, 1, alpha)
    if kind != b"VP8X":
        return None
    flags = head[20]
    width, height = int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    traits = tuple(name for bit, name in ((0x10, "alpha"), (0x02, "animated"), (0x20, "icc")) if flags & bit)
    orientation = _webp_orientation(source, total) if flags & 0x0C else 1
    return PictureHeader("webp", width, height, orientation, traits)


def _webp_orientation(source: ByteSource, total: int) -> int:
    """The orientation in the EXIF or XMP chunk, which stand behind the pixels."""
    exif = xmp = None
    offset = 12
    while offset + 8 <= total:
        header = source.at(offset, 8)
        if len(header) < 8:
            break
        kind, length = header[:4], int.from_bytes(header[4:], "little")
        if kind == b"EXIF" and exif is None:
            exif = exif_orientation(source.at(offset + 8, length))
        elif kind == b"XMP " and xmp is None:
            xmp = xmp_orientation(source.at(offset + 8, length))
        offset += 8 + length + (length & 1)
    return exif or xmp or 1


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
    if width * height <= MAX_PIXELS and pixels + (width * bits + 31) // 32 * 4 * height > source.size:
        raise cut_off(size=(width, height))
    return PictureHeader("bmp", width, height, 1, ("palette",) if bits <= 8 else ())
