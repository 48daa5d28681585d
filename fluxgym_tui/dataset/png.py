"""The header of a PNG: size, orientation (eXIf wherever it stands), colour facts, and whether its end is there."""

import zlib
from struct import Struct
from typing import Final
from zlib import crc32

from fluxgym_tui.dataset.exif import exif_orientation, text_profile_orientation, xmp_orientation
from fluxgym_tui.dataset.header import ByteSource, PictureHeader, cut_off

_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_END: Final = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_RAW_EXIF: Final = b"Raw profile type exif\x00"
_XMP: Final = b"XML:com.adobe.xmp\x00"
_TELLING: Final = frozenset((b"eXIf", b"iCCP", b"tRNS", b"acTL", b"tEXt", b"zTXt", b"iTXt"))
_MAX_TEXT_BYTES: Final = 1 << 20  # Pillow's limit for one text: beyond it, it opens the picture no more
_chunk = Struct(">I4s").unpack_from  # length, kind
_ihdr = Struct(">IIBB").unpack_from  # width, height, bits a channel, kind of colour


class _Facts:
    """What the chunks beside the pixels say."""

    __slots__ = ("exif", "profile", "size", "traits", "unusual", "xmp")

    def __init__(self, width: int, height: int) -> None:
        self.size = (width, height)
        self.exif: int | None = None
        self.profile: int | None = None
        self.xmp: int | None = None
        self.traits: set[str] = set()
        self.unusual = False  # only a decoder can judge

    def take(self, kind: bytes, body: bytes) -> None:
        """Note what the chunk `kind` says."""
        if kind == b"eXIf":
            self.exif = exif_orientation(body)
        elif kind == b"iCCP":
            self.traits.add("icc")
        elif kind == b"tRNS":
            self.traits.add("alpha")
        elif kind == b"acTL":
            # Pillow takes fewer than two frames, or a damaged count, for a still picture.
            frames = int.from_bytes(body[:4])
            if len(body) == 8 and 1 < frames < 1 << 31:
                self.traits.add("animated")
        elif kind != b"tEXt" or body.startswith(_RAW_EXIF):
            text = _text(kind, body)
            if text is None:
                self.unusual = True
            elif body.startswith(_XMP):
                self.xmp = xmp_orientation(text)
            elif body.startswith(_RAW_EXIF):
                self.profile = text_profile_orientation(text)


def read_png(source: ByteSource) -> PictureHeader | None:
    """The header of a PNG, chunk by chunk to the pixels and from their end on (PNG 3rd edition, 5 and 11).

    None where it is built in a way that only a decoder can judge; PictureError where the file is cut off.
    """
    head = source.head
    if len(head) < 33:
        raise cut_off()
    if head[8:16] != b"\x00\x00\x00\rIHDR" or crc32(head[12:29]) != int.from_bytes(head[29:33]):
        return None
    width, height, depth, colour = _ihdr(head, 16)
    if not width or not height or depth not in _DEPTHS.get(colour, ()):
        return None
    facts = _Facts(width, height)
    pixels = _walk(source, 33, facts, stop=b"IDAT")
    if pixels is None:
        return None
    length = int.from_bytes(source.at(pixels, 4))
    if pixels + 24 + length != source.size or source.tail[-12:] != _END:
        _walk(source, _last_equal_chunk(source, pixels, length), facts, stop=b"IEND")
    if facts.unusual:
        return None
    traits = facts.traits
    if colour == 3:
        traits.add("palette")
    elif colour >= 4:
        traits.add("alpha")
    if depth == 16 and colour == 0:
        traits.add("deep")
    orientation = facts.exif or facts.profile or facts.xmp or 1
    return PictureHeader("png", width, height, orientation, tuple(sorted(traits)) if traits else ())


def _walk(source: ByteSource, offset: int, facts: _Facts, *, stop: bytes) -> int | None:
    """Take the chunks from `offset` on; the offset of the first `stop`. None where a decoder must judge."""
    head = source.head
    while True:
        if offset + 8 > len(head):
            head_or_more = source.at(offset, 8)
            if len(head_or_more) < 8:
                raise cut_off(size=facts.size)
            length, kind = _chunk(head_or_more, 0)
        else:
            length, kind = _chunk(head, offset)
        if kind == stop:
            return offset
        if not kind.isalpha() or kind == b"IEND":
            return None
        if offset + 12 + length > source.size:
            raise cut_off(size=facts.size)
        if kind != b"IDAT":
            body = source.at(offset + 4, length + 8)  # with its kind before and its checksum behind
            if crc32(body[:-4]) != int.from_bytes(body[-4:]):
                return None
            if kind in _TELLING:
                facts.take(kind, body[4:-4])
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


def _text(kind: bytes, body: bytes) -> bytes | None:
    """The text of a text chunk, empty where it is damaged; None where it unpacks to more than a decoder takes."""
    rest = body.partition(b"\x00")[2]
    packed = kind == b"zTXt"
    if kind == b"iTXt":
        packed = rest[:1] == b"\x01"
        rest = rest[2:].partition(b"\x00")[2].partition(b"\x00")[2]
    elif packed:
        rest = rest[1:]
    if not packed:
        return rest
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(rest, _MAX_TEXT_BYTES)
    except zlib.error:
        return b""
    return None if unpacker.unconsumed_tail else text
