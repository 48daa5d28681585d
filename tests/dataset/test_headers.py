"""Sizes, orientations and colour facts from headers, held against Pillow, and files that are damaged."""

import contextlib
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps, features

from fluxgym_tui.dataset import headers
from fluxgym_tui.dataset.header import MAX_PIXELS, PictureError, PictureHeader
from fluxgym_tui.dataset.headers import read_header
from tests.dataset.picture_files import encoded, exif, gradient, jpeg_segment, png, png_chunk, swapped_profile

KINDS = ("JPEG", "PNG", "WEBP", "BMP")
Write = Callable[[bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes bytes to a file with a picture's name."""

    def write_file(data: bytes) -> Path:
        path = tmp_path / "picture.png"
        path.write_bytes(data)
        return path

    return write_file


@pytest.fixture
def without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow refuses to open anything."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("Pillow was asked")

    monkeypatch.setattr(headers, "_by_pillow", refuse)


@pytest.mark.usefixtures("without_pillow")
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_is_read_without_pillow(write: Write, kind: str, orientation: int, order: str) -> None:
    path = write(encoded(gradient(40, 30), kind, exif=exif(orientation, order=order)))
    assert read_header(path) == PictureHeader(kind.lower(), 40, 30, orientation)
    with Image.open(path) as picture:
        upright = ImageOps.exif_transpose(picture).size
    assert upright == ((30, 40) if orientation >= 5 else (40, 30))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(width=st.integers(1, 300), height=st.integers(1, 300), kind=st.sampled_from(KINDS))
def test_sizes_are_those_of_pillow(write: Write, width: int, height: int, kind: str) -> None:
    path = write(encoded(Image.new("RGB", (width, height), (9, 8, 7)), kind))
    assert read_header(path) == PictureHeader(kind.lower(), width, height)


@pytest.mark.usefixtures("without_pillow")
@pytest.mark.parametrize(
    ("mode", "kind", "options", "traits"),
    [
        ("RGBA", "PNG", {}, ("alpha",)),
        ("LA", "PNG", {}, ("alpha",)),
        ("P", "PNG", {}, ("palette",)),
        ("P", "PNG", {"transparency": 0}, ("alpha", "palette")),
        ("L", "PNG", {}, ()),
        ("1", "PNG", {}, ()),
        ("I;16", "PNG", {}, ("deep",)),
        ("RGB", "PNG", {"icc_profile": swapped_profile()}, ("icc",)),
        ("CMYK", "JPEG", {}, ("cmyk",)),
        ("L", "JPEG", {}, ()),
        ("RGB", "JPEG", {"progressive": True}, ()),
        ("RGB", "JPEG", {"icc_profile": swapped_profile()}, ("icc",)),
        ("RGBA", "WEBP", {"lossless": True}, ("alpha",)),
        ("RGB", "WEBP", {"lossless": True}, ()),
        ("RGB", "WEBP", {"icc_profile": swapped_profile()}, ("icc",)),
        ("P", "BMP", {}, ("palette",)),
        ("L", "BMP", {}, ("palette",)),
    ],
)
def test_traits(write: Write, mode: str, kind: str, options: dict[str, object], traits: tuple[str, ...]) -> None:
    picture = Image.new("I;16", (40, 30), 4096) if mode == "I;16" else gradient(40, 30).convert(mode)
    if mode in {"RGBA", "LA"}:
        picture.putalpha(100)
    assert read_header(write(encoded(picture, kind, **options))) == PictureHeader(kind.lower(), 40, 30, 1, traits)


@pytest.mark.usefixtures("without_pillow")
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_animations_are_noticed(write: Write, kind: str) -> None:
    frames = [gradient(40, 30), gradient(40, 30).rotate(180)]
    path = write(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert "animated" in read_header(path).traits


@pytest.mark.usefixtures("without_pillow")
@pytest.mark.parametrize("pixels_chunk", [7, 100, 8192, 1 << 20])
@pytest.mark.parametrize("note_bytes", [0, 9000])
def test_a_png_may_have_its_exif_behind_the_pixels(write: Write, pixels_chunk: int, note_bytes: int) -> None:
    note = png_chunk(b"tEXt", b"Comment\0" + bytes(note_bytes).replace(b"\0", b"x"))
    behind = note + png_chunk(b"eXIf", exif(6)[6:])
    path = write(png(behind=behind, pixels_chunk=pixels_chunk))
    assert read_header(path).orientation == 6
    with Image.open(path) as picture:
        assert picture.getexif()[0x0112] == 6


@pytest.mark.usefixtures("without_pillow")
def test_orientation_in_old_text_profiles_and_xmp(write: Write) -> None:
    block = exif(8)
    text = b"\nexif\n%8d\n" % len(block) + block.hex().encode()
    packet = b'<x:xmpmeta><rdf:Description tiff:Orientation="5"/></x:xmpmeta>'
    for chunk, orientation in (
        (png_chunk(b"tEXt", b"Raw profile type exif\0" + text), 8),
        (png_chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text)), 8),
        (png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet), 5),
    ):
        path = write(png(before=chunk))
        assert read_header(path).orientation == orientation
        with Image.open(path) as picture:
            assert ImageOps.exif_transpose(picture).size == (30, 40)
    jpeg = encoded(gradient(40, 30), "JPEG")
    path = write(jpeg[:2] + jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet) + jpeg[2:])
    assert read_header(path).orientation == 5


@pytest.mark.usefixtures("without_pillow")
def test_a_jpeg_with_large_segments_and_fill_bytes(write: Write) -> None:
    jpeg = encoded(gradient(40, 30), "JPEG")
    blocks = jpeg_segment(0xE1, exif(6, filler_bytes=20_000)) + jpeg_segment(0xED, bytes(60_000))
    path = write(jpeg[:2] + b"\xff\xff" + blocks + b"\xff\xff\xff" + jpeg[2:])
    assert read_header(path) == PictureHeader("jpeg", 40, 30, 6)
    assert read_header(write(jpeg + b"a film behind the picture")).width == 40


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_means_nothing_is_upright(write: Write, value: int) -> None:
    assert read_header(write(encoded(gradient(40, 30), "JPEG", exif=exif(value)))).orientation == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_cut_anywhere_is_refused(write: Write, kind: str) -> None:
    data = encoded(gradient(64, 48), kind, **({"exif": exif(6)} if kind != "BMP" else {}))
    needed = len(data) - (4 if kind == "PNG" else 0)  # nobody misses the checksum of a PNG's end mark
    for end in sorted({*range(1, 60, 7), *range(60, needed, max(needed // 60, 1)), needed - 1}):
        with pytest.raises(PictureError) as refused:
            read_header(write(data[:end]))
        assert refused.value.code in {"truncated", "not_a_picture", "broken"}
        assert refused.value.code == "truncated" or end < 60


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    changes=st.lists(st.tuples(st.integers(0, 700), st.binary(min_size=1, max_size=6)), min_size=1, max_size=4),
)
@pytest.mark.filterwarnings("ignore")
def test_damage_is_an_error_of_ours_or_nothing(write: Write, kind: str, changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(encoded(gradient(33, 21), kind, **({"exif": exif(3)} if kind != "BMP" else {})))
    for offset, change in changes:
        data[offset : offset + len(change)] = change
    with contextlib.suppress(PictureError):
        header = read_header(write(bytes(data)))
        assert header.width > 0
        assert header.height > 0
        assert 1 <= header.orientation <= 8


def test_what_is_no_picture_says_so(write: Write, tmp_path: Path) -> None:
    def code(data: bytes) -> str:
        with pytest.raises(PictureError) as refused:
            read_header(write(data))
        return refused.value.code

    assert code(b"") == "zero_bytes"
    assert code(b"<!doctype html><title>404</title>" + bytes(99)) == "not_a_picture"
    assert code(b"\x89PNG\r\n\x1a\n" + bytes(200)) == "not_a_picture"
    assert code(b"\0\0\0\x18ftypheic" + bytes(200)) == "needs_plugin"
    assert code(b"\xff\x0a" + bytes(200)) == "needs_plugin"
    bomb = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0))
    whole = b"\x89PNG\r\n\x1a\n" + bomb + png_chunk(b"IDAT", b"x") + png_chunk(b"IEND", b"")
    assert MAX_PIXELS < 20_000 * 20_000
    assert code(whole) == "too_large"
    with pytest.raises(PictureError):
        read_header(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_header(tmp_path / "missing.png")


def test_a_text_that_unpacks_to_megabytes_is_refused_as_pillow_refuses_it(write: Write) -> None:
    path = write(png(before=png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(5 << 20)))))
    with pytest.raises(ValueError, match="too large"), Image.open(path):
        pass
    with pytest.raises(PictureError):
        read_header(path)


def test_other_contents_under_a_pictures_name_go_through_pillow(write: Write) -> None:
    header = read_header(write(encoded(gradient(40, 30), "GIF")))
    assert (header.format, header.width, header.height) == ("gif", 40, 30)
    assert "foreign" in header.traits
    assert "palette" in header.traits


def test_avif_is_read_where_pillow_reads_it(write: Write) -> None:
    if features.check("avif"):
        path = write(encoded(gradient(40, 30), "AVIF", exif=exif(6)))
        assert read_header(path) == PictureHeader("avif", 40, 30, 6, ("foreign",))
    else:
        with pytest.raises(PictureError, match="pillow-avif-plugin"):
            read_header(write(b"\0\0\0\x18ftypavif" + bytes(99)))


@pytest.mark.usefixtures("without_pillow")
def test_a_webp_tells_by_its_chunks(write: Write) -> None:
    whole = encoded(gradient(40, 30), "WEBP", exif=exif(6), icc_profile=swapped_profile())
    assert read_header(write(whole)) == PictureHeader("webp", 40, 30, 6, ("icc",))
    with pytest.raises(AssertionError, match="Pillow was asked"):  # the canvas is not of the pixels' size
        read_header(write(whole[:24] + b"\x29" + whole[25:]))
    at = whole.index(b"VP8 ") + 4
    with pytest.raises(AssertionError, match="Pillow was asked"):  # a chunk that is longer than the file
        read_header(write(whole[:at] + b"\xff\xff\xff\x00" + whole[at + 4 :]))


def test_bitmaps_of_old_and_odd_kinds(write: Write) -> None:
    pixels = bytes(40 * 3 * 30)
    core = struct.pack("<IHHHH", 12, 40, 30, 1, 24)
    whole = b"BM" + struct.pack("<IHHI", 26 + len(pixels), 0, 0, 26) + core + pixels
    assert read_header(write(whole)) == PictureHeader("bmp", 40, 30)
    odd = encoded(gradient(33, 21), "BMP")
    assert read_header(write(odd[:-1])).width == 33  # but for padding all is there
    upside = struct.pack("<IiiHHIIiiII", 40, 40, -30, 1, 24, 0, 0, 0, 0, 0, 0)
    whole = b"BM" + struct.pack("<IHHI", 54 + len(pixels), 0, 0, 54) + upside + pixels
    assert read_header(write(whole)) == PictureHeader("bmp", 40, 30)
    with Image.open(io.BytesIO(whole)) as picture:
        assert picture.size == (40, 30)
