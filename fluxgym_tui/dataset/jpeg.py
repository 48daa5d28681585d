"""The header of a JPEG: size, EXIF or XMP orientation, colour profile, and whether its end is there."""

from struct import unpack_from
from typing import Final

from fluxgym_tui.dataset.exif import exif_orientation, xmp_orientation
from fluxgym_tui.dataset.header import HEAD_BYTES, ByteSource, PictureError, PictureHeader

_SIZES: Final = frozenset((0xC0, 0xC1, 0xC2))  # baseline, extended, progressive: what every decoder reads
_OTHER_SIZES: Final = frozenset((0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF))
_EXIF: Final = b"Exif\x00\x00"
_XMP: Final = b"http://ns.adobe.com/xap/1.0/\x00"
_CUT: Final = "the picture is cut off: its end is missing"


def read_jpeg(source: ByteSource) -> PictureHeader | None:
    """The header of a JPEG, by its markers up to the pixels (ITU T.81, annex B).

    None where it is built in a way that only a decoder can judge; PictureError where the file is cut off.
    """
    data, base = source.head, 0  # the bytes at hand and where they start in the file
    offset = 2
    width = height = channels = 0
    orientation = xmp = None
    icc = False
    while True:
        start = offset - base
        if start + 20 > len(data) and base + len(data) < source.size:
            data, base = source.at(offset, HEAD_BYTES), offset
            start = 0
        if start + 4 > len(data):
            raise PictureError("truncated", _CUT)
        if data[start] != 0xFF:
            return None
        marker = data[start + 1]
        if marker == 0xFF:  # fill bytes may stand before any marker
            offset += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD9 or marker == 0x00:
            return None
        length = data[start + 2] << 8 | data[start + 3]
        if length < 2:
            return None
        if marker == 0xDA:
            break
        if marker in _SIZES and not width:
            if start + 10 > len(data) or data[start + 4] != 8:
                return None
            height, width = unpack_from(">HH", data, start + 5)
            channels = data[start + 9]
        elif marker in _OTHER_SIZES:
            return None
        elif marker == 0xE1:
            signature = data[start + 4 : start + 10]
            if signature == _EXIF and orientation is None:
                orientation = exif_orientation(data[start + 10 : start + 2 + length])
                if orientation is None:  # the directory may lie beyond the bytes at hand
                    orientation = exif_orientation(source.at(offset + 10, length - 8))
            elif signature == _XMP[:6] and xmp is None:
                body = source.at(offset + 4, length - 2)
                xmp = xmp_orientation(body) if body.startswith(_XMP) else None
        elif marker == 0xE2 and data[start + 4 : start + 16] == b"ICC_PROFILE\x00":
            icc = True
        offset += 2 + length
    if not width or not height or channels not in {1, 3, 4}:
        return None
    if source.at(source.size - 2, 2) != b"\xff\xd9" and source.find(b"\xff\xd9", offset + 2 + length) < 0:
        raise PictureError("truncated", _CUT)
    traits = (("cmyk",) if channels == 4 else ()) + (("icc",) if icc else ())
    return PictureHeader("jpeg", width, height, orientation or xmp or 1, traits)
