"""The header of a PNG: size, orientation (eXIf wherever it stands), colour facts, and whether its end is there."""

import zlib
from struct import unpack_from
from typing import Final

from fluxgym_tui.dataset.exif import exif_orientation, text_profile_orientation, xmp_orientation
from fluxgym_tui.dataset.header import ByteSource, PictureError, PictureHeader

_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_END: Final = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_CUT: Final = "the picture is cut off: its end is missing"
_RAW_EXIF: Final = b"Raw profile type exif\x00"
_XMP: Final = b"XML:com.adobe.xmp\x00"


class _Facts:
    """What the chunks beside the pixels say."""

    __slots__ = ("exif", "profile", "traits", "xmp")

    def __init__(self) -> None:
        self.exif: int | None = None
        self.profile: int | None = None
        self.xmp: int | None = None
        self.traits: set[str] = set()

    def take(self, source: ByteSource, kind: bytes, offset: int, length: int) -> None:
        """Note what the chunk `kind`, whose body is `length` bytes at `offset`, says."""
        if kind == b"eXIf":
            self.exif = exif_orientation(source.at(offset, length))
        elif kind == b"iCCP":
            self.traits.add("icc")
        elif kind == b"tRNS":
            self.traits.add("alpha")
        elif kind == b"acTL":
            self.traits.add("animated")
        elif kind in {b"iTXt", b"zTXt", b"tEXt"}:
            name = source.at(offset, min(length, 24))
            if name.startswith((_RAW_EXIF, _XMP)):
                text = _text(kind, source.at(offset, length))
                if name.startswith(_XMP):
                    self.xmp = xmp_orientation(text)
                else:
                    self.profile = text_profile_orientation(text)


def read_png(source: ByteSource) -> PictureHeader | None:
    """The header of a PNG, chunk by chunk to the pixels and from their end on (PNG 3rd edition, 5 and 11).

    None where it is built in a way that only a decoder can judge; PictureError where the file is cut off.
    """
    head = source.head
    if len(head) < 33:
        raise PictureError("truncated", _CUT)
    if head[8:16] != b"\x00\x00\x00\rIHDR" or zlib.crc32(head[12:29]) != unpack_from(">I", head, 29)[0]:
        return None
    width, height, depth, colour = unpack_from(">IIBB", head, 16)
    if not width or not height or depth not in _DEPTHS.get(colour, ()):
        return None
    facts = _Facts()
    pixels = _walk(source, 33, facts, stop=b"IDAT")
    if pixels is None:
        return None
    length = int.from_bytes(source.at(pixels, 4))
    behind = pixels + 12 + length
    if behind + 12 != source.size or source.at(behind, 12) != _END:
        _walk(source, _last_equal_chunk(source, pixels, length), facts, stop=b"IEND")
    traits = facts.traits
    if colour == 3:
        traits.add("palette")
    elif colour >= 4:
        traits.add("alpha")
    if depth == 16:
        traits.add("deep")
    return PictureHeader(
        "png", width, height, facts.exif or facts.profile or facts.xmp or 1, tuple(sorted(traits)) if traits else ()
    )


def _walk(source: ByteSource, offset: int, facts: _Facts, *, stop: bytes) -> int | None:
    """Take the chunks from `offset` on; the offset of the first `stop`. None at bytes that are no chunk or pixels."""
    while True:
        header = source.at(offset, 8)
        if len(header) < 8:
            raise PictureError("truncated", _CUT)
        kind = header[4:]
        if kind == stop:
            return offset
        length = int.from_bytes(header[:4])
        if not kind.isalpha() or kind == b"IEND":
            return None
        if offset + 12 + length > source.size:
            raise PictureError("truncated", _CUT)
        if kind != b"IDAT":
            facts.take(source, kind, offset + 8, length)
        offset += 12 + length


def _last_equal_chunk(source: ByteSource, pixels: int, length: int) -> int:
    """Where to go on behind the first pixels at `pixels`: writers make chunks of one `length`, so a jump goes far.

    The last place where such a chunk could stand, if one of pixels stands there; else the first chunk itself.
    """
    if length:
        jump = pixels + (source.size - 12 - pixels) // (length + 12) * (length + 12)
        for offset in (jump, jump - length - 12):
            if offset > pixels and source.at(offset + 4, 4) == b"IDAT":
                return offset
    return pixels


def _text(kind: bytes, body: bytes) -> bytes:
    """The text of a PNG text chunk; empty where it is damaged."""
    rest = body.partition(b"\x00")[2]
    packed = kind == b"zTXt"
    if kind == b"iTXt":
        packed = rest[:1] == b"\x01"
        rest = rest[2:].partition(b"\x00")[2].partition(b"\x00")[2]
    elif packed:
        rest = rest[1:]
    if not packed:
        return rest
    try:
        return zlib.decompressobj().decompress(rest, 1 << 20)
    except zlib.error:
        return b""
