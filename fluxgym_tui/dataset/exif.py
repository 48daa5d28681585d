"""The orientation of a picture from the bytes of its EXIF, XMP or old text profile."""

import re
from struct import Struct
from typing import Final

_XMP_ORIENTATION: Final = re.compile(rb"""tiff:Orientation(?:\s*=\s*["']|>)([1-8])["'<]""")


class _Order:
    """Reading numbers in one byte order, and the orientation's tag (0x0112) as it is written in it."""

    def __init__(self, sign: str) -> None:
        self.long = Struct(sign + "I").unpack_from
        self.short = Struct(sign + "H").unpack_from
        self.kind_and_count = Struct(sign + "HI").unpack_from
        self.tag = Struct(sign + "H").pack(0x0112)
        self.values = {1: Struct(sign + "B").unpack_from, 3: self.short, 4: self.long}  # by the kind of entry


_ORDERS: Final = {b"II": _Order("<"), b"MM": _Order(">")}


def tiff_orientation(tiff: bytes) -> int | None:
    """The orientation (1 to 8) in a TIFF block, the body of every EXIF.

    None where the block has no such entry, is cut before it, or holds a value that means nothing. EXIF 2.32, 4.6.
    """
    order = _ORDERS.get(tiff[:2])
    if order is None or len(tiff) < 8 or order.short(tiff, 2)[0] != 42:
        return None
    entries = order.long(tiff, 4)[0] + 2
    if entries > len(tiff):
        return None
    end = min(entries + 12 * order.short(tiff, entries - 2)[0], len(tiff))
    offset = tiff.find(order.tag, entries, end)
    while offset >= 0 and (offset - entries) % 12:  # the same bytes inside another entry
        offset = tiff.find(order.tag, offset + 1, end)
    if offset < 0 or offset + 12 > end:
        return None
    kind, count = order.kind_and_count(tiff, offset + 2)
    read = order.values.get(kind)
    if read is None or count != 1:
        return None
    value: int = read(tiff, offset + 8)[0]
    return value if 1 <= value <= 8 else None


def exif_orientation(exif: bytes) -> int | None:
    """The orientation in an EXIF block, with or without its `Exif\\0\\0` prefix."""
    return tiff_orientation(exif.removeprefix(b"Exif\x00\x00"))


def xmp_orientation(xmp: bytes) -> int | None:
    """The orientation that an XMP packet gives (`tiff:Orientation`), None where it gives none."""
    found = _XMP_ORIENTATION.search(xmp)
    return int(found.group(1)) if found else None


def text_profile_orientation(profile: bytes) -> int | None:
    """The orientation in ImageMagick's `Raw profile type exif` text: a name, a length, then hexadecimal lines."""
    lines = profile.strip().split(b"\n")
    try:
        return exif_orientation(bytes.fromhex(b"".join(lines[2:]).decode("ascii")))
    except ValueError:
        return None
