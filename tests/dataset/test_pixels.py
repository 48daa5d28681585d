"""Copies with other pixels: upright, sRGB, 8 bits, on white, resized, and when none is needed."""

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps, JpegImagePlugin

from fluxgym_tui.dataset.header import PictureError
from fluxgym_tui.dataset.pixels import copy_extension, needs_copy, render, staged_size
from fluxgym_tui.dataset.scan import scan
from fluxgym_tui.dataset.scanned import ScannedImage
from tests.dataset.picture_files import encoded, exif, gradient, swapped_profile

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def scanned(folder: Path, data: bytes, name: str = "a.png") -> ScannedImage:
    """The picture of these bytes, as a scan sees it."""
    (folder / name).write_bytes(data)
    return next(image for image in scan(folder).images if image.path.name == name)


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def near(left: tuple[int, ...] | float | None, right: tuple[int, ...], by: int = 3) -> bool:
    assert isinstance(left, tuple)
    return all(abs(a - b) <= by for a, b in zip(left, right, strict=True))


@given(
    width=st.integers(1, 5000),
    height=st.integers(1, 5000),
    orientation=st.integers(1, 8),
    resize=st.integers(0, 2000),
    downscale_only=st.booleans(),
)
def test_staged_sizes(width: int, height: int, orientation: int, resize: int, downscale_only: bool) -> None:
    image = ScannedImage("a", width, height, orientation, None, None, "png", 1, 1)
    size = staged_size(image, resize=resize, downscale_only=downscale_only)
    upright = image.upright_size
    if resize == 0 or (downscale_only and min(upright) <= resize):
        assert size == upright
    else:
        assert min(size) == resize
        assert size[0] * upright[1] == pytest.approx(size[1] * upright[0], abs=max(upright))


def test_sizes_are_rounded_down_as_fluxgym_does() -> None:
    image = ScannedImage("a", 3024, 4032, 1, None, None, "png", 1, 1)
    assert staged_size(image, resize=768) == (768, 1024)
    assert staged_size(ScannedImage("a", 1000, 1999, 1, None, None, "png", 1, 1), resize=768) == (768, 1535)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_turned_pictures_are_upright(tmp_path: Path, kind: str, orientation: int) -> None:
    data = encoded(gradient(80, 40), kind, exif=exif(orientation))
    image = scanned(tmp_path, data)
    assert needs_copy(image) == (orientation != 1)
    copy, size = render(image)
    shown = opened(copy)
    expected = ImageOps.exif_transpose(opened(data))
    assert shown.size == size == expected.size == staged_size(image)
    assert shown.getexif().get(0x0112) is None
    for place in [(2, 2), (size[0] - 3, 2), (2, size[1] - 3)]:
        found, wanted = shown.getpixel(place), expected.convert("RGB").getpixel(place)
        assert isinstance(wanted, tuple)
        assert near(found, wanted)


@pytest.mark.parametrize("size", [(33, 21), (21, 34), (30, 30)])
@pytest.mark.parametrize("resize", [0, 10, 21, 47])
@pytest.mark.parametrize("downscale_only", [True, False])
def test_a_copy_has_the_size_that_was_planned(
    tmp_path: Path, size: tuple[int, int], resize: int, downscale_only: bool
) -> None:
    image = scanned(tmp_path, encoded(gradient(*size), "PNG", exif=exif(6)))
    copy, made = render(image, resize=resize, downscale_only=downscale_only)
    assert opened(copy).size == made == staged_size(image, resize=resize, downscale_only=downscale_only)


def test_jpegs_stay_jpegs_of_full_colour_resolution(tmp_path: Path) -> None:
    image = scanned(tmp_path, encoded(gradient(300, 200), "JPEG"), "a.jpg")
    assert not needs_copy(image)
    assert not needs_copy(image, resize=200)
    assert not needs_copy(image, resize=512)
    assert needs_copy(image, resize=512, downscale_only=False)
    assert needs_copy(image, resize=128)
    copy, size = render(image, resize=128)
    shown = opened(copy)
    assert copy_extension(image) == ".jpg"
    assert (shown.format, size, shown.size) == ("JPEG", (192, 128), (192, 128))
    assert isinstance(shown, JpegImagePlugin.JpegImageFile)
    assert JpegImagePlugin.get_sampling(shown) == 0
    assert max(shown.quantization[0]) <= 5  # quality 95 has 10 and more
    reference = gradient(300, 200).resize((192, 128), Image.Resampling.LANCZOS)
    wanted = reference.getpixel((30, 90))
    assert isinstance(wanted, tuple)
    assert near(shown.getpixel((30, 90)), wanted, by=6)


def test_transparency_is_put_on_white(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (8, 8), (200, 0, 0, 0))
    clear.putpixel((0, 0), (0, 100, 0, 255))
    clear.putpixel((1, 0), (0, 0, 0, 128))
    palette = clear.convert("RGB").quantize(4)
    grey = Image.new("LA", (8, 8), (0, 0))
    for picture, options in ((clear, {}), (palette, {"transparency": palette.getpixel((5, 5))}), (grey, {})):
        image = scanned(tmp_path, encoded(picture, "PNG", **options))
        assert needs_copy(image)
        copy, _ = render(image)
        shown = opened(copy)
        assert shown.mode == "RGB"
        assert shown.getpixel((5, 5)) == (255, 255, 255)
    copy, _ = render(scanned(tmp_path, encoded(clear, "PNG")))
    assert opened(copy).getpixel((0, 0)) == (0, 100, 0)
    assert near(opened(copy).getpixel((1, 0)), (127, 127, 127), by=1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_other_profiles_are_converted_and_srgb_is_left(tmp_path: Path, kind: str) -> None:
    red = Image.new("RGB", (32, 32), (255, 0, 0))
    other = scanned(tmp_path, encoded(red, kind, icc_profile=swapped_profile()))
    assert needs_copy(other)
    shown = opened(render(other)[0])
    assert near(shown.getpixel((16, 16)), (0, 255, 0), by=16)
    assert "icc_profile" not in shown.info
    plain = scanned(tmp_path, encoded(red, kind, icc_profile=SRGB))
    assert plain.traits == ("icc",)
    assert not needs_copy(plain)
    damaged = scanned(tmp_path, encoded(red, kind, icc_profile=swapped_profile()[:200]))
    assert near(opened(render(damaged)[0]).getpixel((16, 16)), (255, 0, 0), by=8)


def test_a_profile_and_transparency_together(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (8, 8), (255, 0, 0, 255))
    picture.putpixel((7, 7), (0, 0, 0, 0))
    image = scanned(tmp_path, encoded(picture, "PNG", icc_profile=swapped_profile()))
    shown = opened(render(image)[0])
    assert near(shown.getpixel((1, 1)), (0, 255, 0), by=4)
    assert shown.getpixel((7, 7)) == (255, 255, 255)


def test_sixteen_bits_keep_their_range(tmp_path: Path) -> None:
    deep = Image.new("I;16", (3, 1))
    for place, value in enumerate((0, 32768, 65535)):
        deep.putpixel((place, 0), value)
    image = scanned(tmp_path, encoded(deep, "PNG"))
    assert needs_copy(image)
    shown = opened(render(image)[0])
    assert [shown.getpixel((place, 0)) for place in range(3)] == [(0, 0, 0), (128, 128, 128), (255, 255, 255)]


def test_cmyk_palette_grey_and_animations_become_rgb(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ((250, 0, 0), (0, 250, 0))]
    cases = {
        "cmyk.jpg": (encoded(Image.new("CMYK", (20, 20), (0, 255, 255, 0)), "JPEG"), True),
        "palette.png": (encoded(frames[0].quantize(2), "PNG"), True),
        "grey.jpg": (encoded(Image.new("L", (20, 20), 70), "JPEG"), False),
        "film.webp": (encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True), True),
        "gif.png": (encoded(frames[0], "GIF"), True),
    }
    for name, (data, copied) in cases.items():
        image = scanned(tmp_path, data, name)
        assert needs_copy(image) == copied, name
        shown = opened(render(image)[0])
        assert shown.mode == "RGB"
        wanted = (70, 70, 70) if name == "grey.jpg" else (250, 0, 0)
        assert near(shown.getpixel((10, 10)), wanted, by=8), name


def test_a_picture_that_cannot_be_decoded(tmp_path: Path) -> None:
    data = bytearray(encoded(gradient(64, 64), "PNG"))
    data[len(data) // 2 : len(data) // 2 + 9] = b"\xff" * 9
    with pytest.raises(PictureError, match="cannot be decoded"):
        render(scanned(tmp_path, bytes(data)))
