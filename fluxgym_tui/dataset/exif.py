"""The orientation of a picture from the bytes of its EXIF, XMP or old text profile."""

import re
import struct

ORIENTATION_TAG = 0x0112
_XMP_ORIENTATION = re.compile(rb"""tiff:Orientation(?:\s*=\s*["']|>)([1-8])["'<]""")


def tiff_orientation(tiff: bytes) -> int | None:
    """The orientation (1 to 8) in a TIFF block, the body of every EXIF.

    None where the block has no such entry, is cut before it, or holds a value that means nothing. EXIF 2.32, 4.6.
    """
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return None
    directory = struct.unpack_from(order + "I", tiff, 4)[0]
    if directory + 2 > len(tiff):
        return None
    entries = struct.unpack_from(order + "H", tiff, directory)[0]
    for offset in range(directory + 2, min(directory + 2 + 12 * entries, len(tiff) - 11), 12):
        tag, kind, length = struct.unpack_from(order + "HHI", tiff, offset)
        if tag == ORIENTATION_TAG:
            code = {1: "B", 3: "H", 4: "I"}.get(kind)
            if code is None or length != 1:
                return None
            value = int(struct.unpack_from(order + code, tiff, offset + 8)[0])
            return value if 1 <= value <= 8 else None
    return None


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
