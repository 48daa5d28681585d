"""The header of a JPEG: size, EXIF or XMP orientation, colour profile, and whether its end is there."""

from struct import Struct
from typing import Final

from fluxgym_tui.dataset.exif import exif_orientation, xmp_orientation
from fluxgym_tui.dataset.header import HEAD_BYTES, ByteSource, PictureHeader, cut_off

# Segments that say nothing we need: tables, comments, most applications' own.
_PASSED: Final = frozenset(0xFF00 | kind for kind in (0xC4, 0xCC, *range(0xDA + 1, 0xE1), *range(0xE3, 0xFF)))
# Baseline, extended and progressive: what every decoder reads. The other kinds of frame are left to Pillow.
_FRAMES: Final = frozenset((0xFFC0, 0xFFC1, 0xFFC2))
_APP1, _APP2, _SCAN, _FILL = 0xFFE1, 0xFFE2, 0xFFDA, 0xFFFF
_END: Final = b"\xff\xd9"
_EXIF: Final = b"Exif\x00\x00"
_XMP: Final = b"http://ns.adobe.com/xap/1.0/\x00"
_ICC: Final = b"ICC_PROFILE\x00"
_marker_and_length = Struct(">HH").unpack_from
_frame = Struct(">BHHB").unpack_from  # bits, height, width, channels


def read_jpeg(source: ByteSource) -> PictureHeader | None:  # noqa: PLR0912 - one branch a kind of segment
    """The header of a JPEG, by its segments up to the pixels (ITU T.81, annex B).

    None where it is built in a way that only a decoder can judge; PictureError where the file is cut off.
    """
    data = source.head
    base, end = 0, len(data)  # where the bytes at hand start in the file, and how many they are
    offset = 2
    width = height = channels = 0
    orientation: int | None = None
    xmp: int | None = None
    icc = False
    while True:
        at = offset - base
        if at + 20 > end and base + end < source.size:
            data, base, at = source.at(offset, HEAD_BYTES), offset, 0
            end = len(data)
        if at + 10 > end:
            raise cut_off(size=(width, height) if width else None)
        marker, length = _marker_and_length(data, at)
        if marker in _PASSED:
            pass
        elif marker == _APP1:
            if data[at + 4 : at + 10] == _EXIF:
                if orientation is None:
                    orientation = exif_orientation(data[at + 10 : at + 2 + length])
                if orientation is None and at + 2 + length > end:  # its directory may lie beyond the bytes at hand
                    orientation = exif_orientation(source.at(offset + 10, length - 8))
            elif data[at + 4 : at + 10] == _XMP[:6]:
                packet = source.at(offset + 4, length - 2)
                xmp = xmp_orientation(packet) if packet.startswith(_XMP) else None
        elif marker in _FRAMES:
            bits, height, width, channels = _frame(data, at + 4)
            if bits != 8:
                return None
            if orientation is not None:  # no more to learn
                break
        elif marker == _APP2:
            icc = icc or data[at + 4 : at + 16] == _ICC
        elif marker == _SCAN:
            break
        elif marker == _FILL:  # fill bytes may stand before any marker
            offset += 1
            continue
        else:
            return None
        offset += 2 + length
    if not width or not height or channels not in {1, 3, 4}:
        return None
    if source.tail[-2:] != _END and not source.has(_END, start=offset + length):
        raise cut_off(size=(width, height))
    traits: tuple[str, ...] = ("icc",) if icc else ()
    if channels == 4:
        traits = ("cmyk", *traits)
    return PictureHeader("jpeg", width, height, orientation or xmp or 1, traits)
