"""Buckets against sd-scripts' own answers, and the laws they keep."""

import csv
import gzip
import io
import math
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fluxgym_tui.plan.buckets import (
    BucketError,
    BucketSettings,
    bucket_limits,
    bucket_sizes,
    check_flux_steps,
    fit,
    stored_crop,
)

ANSWERS = Path(__file__).parents[1] / "data" / "buckets.csv.gz"


def answers() -> list[dict[str, str]]:
    """sd-scripts' answers, one dict a row."""
    return list(csv.DictReader(io.StringIO(gzip.decompress(ANSWERS.read_bytes()).decode("utf-8"))))


def settings_of(row: dict[str, str]) -> BucketSettings:
    return BucketSettings(
        resolution=(int(row["res_w"]), int(row["res_h"])),
        enable_bucket=row["enable_bucket"] == "1",
        min_bucket_reso=int(row["min_bucket_reso"]),
        max_bucket_reso=int(row["max_bucket_reso"]),
        bucket_reso_steps=int(row["bucket_reso_steps"]),
        bucket_no_upscale=row["bucket_no_upscale"] == "1",
    )


def test_every_answer_of_sd_scripts() -> None:
    wrong, errors, checked = [], 0, 0
    for row in answers():
        settings, picture = settings_of(row), (int(row["img_w"]), int(row["img_h"]))
        if row["error"] or "0" in (row["bucket_w"], row["bucket_h"]):
            errors += 1
            with pytest.raises(BucketError):
                fit(*picture, settings)
            continue
        expected_bucket = (int(row["bucket_w"]), int(row["bucket_h"]))
        expected_resized = (int(row["resized_w"]), int(row["resized_h"]))
        left, top = int(row["trim_left"]), int(row["trim_top"])
        crop = (left, top, left + expected_bucket[0], top + expected_bucket[1])
        got = fit(*picture, settings)
        checked += 1
        if (got.bucket, got.resized, got.crop) != (expected_bucket, expected_resized, crop):
            wrong.append((picture, settings, row["stage"], got))
        assert sum(got.trimmed[0::2]) == int(row["crop_w"])
        assert sum(got.trimmed[1::2]) == int(row["crop_h"])
    assert wrong == []
    assert checked + errors == 3482
    assert errors > 179  # the raised ones, and those whose width came out as 0


def test_every_limit_of_sd_scripts() -> None:
    for row in answers():
        if row["eff_min"] and row["enable_bucket"] == "1":
            assert bucket_limits(settings_of(row)) == (int(row["eff_min"]), int(row["eff_max"]))
        if row["stage"] == "dataset_init":
            side = "min_bucket_reso" if "min_bucket_reso" in row["error"] else "max_bucket_reso"
            with pytest.raises(BucketError, match=side):
                bucket_limits(settings_of(row))


def test_every_stored_crop_of_sd_scripts() -> None:
    checked = 0
    for row in answers():
        if row["crop_l"]:
            box = stored_crop(int(row["img_w"]), int(row["img_h"]), (int(row["bucket_w"]), int(row["bucket_h"])))
            assert box == tuple(float(row[name]) for name in ("crop_l", "crop_t", "crop_r", "crop_b"))
            checked += 1
    assert checked == 3127


def test_flux_steps_column() -> None:
    seen = set()
    for row in answers():
        settings = settings_of(row)
        ok = row["flux_steps_ok"] == "1"
        seen.add((ok, settings.enable_bucket))
        if ok or not settings.enable_bucket:
            check_flux_steps(settings)
        else:
            with pytest.raises(BucketError, match="multiple of 64"):
                check_flux_steps(settings)
    assert {(True, True), (False, True)} <= seen


SIDES = st.integers(min_value=1, max_value=8000)
STEPS = st.sampled_from([1, 8, 32, 48, 64, 128])


@st.composite
def usable_settings(draw: st.DrawFn, *, no_upscale: bool) -> BucketSettings:
    """Settings that `bucket_limits` takes."""
    steps = draw(STEPS)
    resolution = (draw(st.integers(256, 2048)), draw(st.integers(256, 2048)))
    lowest = draw(st.integers(max(steps, 64), 256))
    return BucketSettings(
        resolution,
        min_bucket_reso=lowest,
        max_bucket_reso=draw(st.integers(max(resolution), 4096)),
        bucket_reso_steps=steps,
        bucket_no_upscale=no_upscale,
    )


@given(SIDES, SIDES, usable_settings(no_upscale=False))
def test_with_upscaling_a_bucket_of_the_list_is_covered(width: int, height: int, settings: BucketSettings) -> None:
    got = fit(width, height, settings)
    lowest, highest = bucket_limits(settings)
    square = int(math.sqrt(settings.area) // settings.bucket_reso_steps) * settings.bucket_reso_steps
    assert got.bucket in bucket_sizes(settings)
    assert got.bucket[0] * got.bucket[1] <= settings.area
    for side, resized in zip(got.bucket, got.resized, strict=True):
        assert side % settings.bucket_reso_steps == 0
        assert lowest <= side <= highest or side == square
        assert resized >= side
    assert got.bucket[0] == got.resized[0] or got.bucket[1] == got.resized[1]


@given(SIDES, SIDES, usable_settings(no_upscale=True))
def test_without_upscaling_nothing_grows(width: int, height: int, settings: BucketSettings) -> None:
    try:
        got = fit(width, height, settings)
    except BucketError:
        assume(False)
    steps = settings.bucket_reso_steps
    for picture, resized, side in zip((width, height), got.resized, got.bucket, strict=True):
        assert side % steps == 0
        assert 0 <= resized - side < steps
        assert resized <= picture
    if width * height <= settings.area:
        assert got.resized == (width, height)


@given(SIDES, SIDES, st.booleans(), st.integers(64, 2048), st.integers(64, 2048))
def test_the_crop_lies_in_the_middle_of_the_resized_picture(
    width: int, height: int, enable_bucket: bool, res_w: int, res_h: int
) -> None:
    settings = BucketSettings((res_w, res_h), enable_bucket=enable_bucket, min_bucket_reso=64, max_bucket_reso=2048)
    try:
        got = fit(width, height, settings)
    except BucketError:
        assume(False)
    left, top, right, bottom = got.crop
    assert 0 <= left < right <= got.resized[0]
    assert 0 <= top < bottom <= got.resized[1]
    assert (right - left, bottom - top) == got.bucket
    assert 0 <= left <= got.resized[0] - right <= left + 1
    assert 0 <= got.lost < 1


@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(1, 30))
def test_no_bucket_exceeds_the_area_of_a_resolution_on_the_grid(width: int, height: int, columns: int) -> None:
    settings = BucketSettings((columns * 64 + 256, 768), max_bucket_reso=4096)
    try:
        bucket = fit(width, height, settings).bucket
    except BucketError:
        assume(False)
    assert math.prod(bucket) <= settings.area


@pytest.mark.parametrize(
    ("picture", "settings", "word"),
    [
        ((0, 10), BucketSettings((512, 512)), "0x10"),
        ((10, 10), BucketSettings((0, 512)), "no area"),
        ((10, 10), BucketSettings((512, 512), bucket_reso_steps=0), "bucket_reso_steps is 0"),
        ((63, 500), BucketSettings((512, 512)), "63x500"),
        ((4000, 10), BucketSettings((64, 64), min_bucket_reso=64), "scaled to"),
        ((500, 500), BucketSettings((512, 512), min_bucket_reso=63, bucket_no_upscale=False), "no buckets"),
    ],
)
def test_errors_say_what_and_what_to_do(picture: tuple[int, int], settings: BucketSettings, word: str) -> None:
    with pytest.raises(BucketError, match=word) as caught:
        fit(*picture, settings)
    assert caught.value.hint


def test_settings_that_make_their_own_buckets_have_no_list() -> None:
    assert bucket_sizes(BucketSettings((512, 512), enable_bucket=False)) == ((512, 512),)
    assert bucket_sizes(BucketSettings((512, 512))) == ()
    assert (512, 512) in bucket_sizes(BucketSettings((512, 512), bucket_no_upscale=False))
