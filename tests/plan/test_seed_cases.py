"""The cases people bring, each with the plan's words: the rows of docs/buckets.md."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from fluxgym_tui.base.findings import Finding
from fluxgym_tui.dataset.pixels import staged_size
from fluxgym_tui.dataset.scanned import ScannedImage
from fluxgym_tui.plan.buckets import BucketError, BucketSettings, Size, fit
from fluxgym_tui.plan.from_spec import bucket_settings
from fluxgym_tui.plan.planning import PlanDataset, PlanImage, PlanSubset, TrainPlan, make_plan
from fluxgym_tui.plan.words import finding_words

DOC = Path(__file__).parents[2] / "docs" / "buckets.md"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A staged picture (or several) under a spec's settings, and what becomes of the first; `words` begin a finding."""

    pictures: tuple[Size, ...]
    resolution: int | tuple[int, int]
    resized: Size
    bucket: Size
    lost: str
    words: str = ""
    buckets: str = "no upscaling"

    def plan(self) -> TrainPlan:
        settings, findings = bucket_settings(
            self.resolution, enable_bucket=self.buckets != "off", bucket_no_upscale=self.buckets == "no upscaling"
        )
        images = tuple(PlanImage(f"/photos/{index}.jpg", *size) for index, size in enumerate(self.pictures))
        dataset = PlanDataset(settings=settings, subsets=(PlanSubset(images=images),))
        return make_plan([dataset], max_train_epochs=1, findings=findings)

    def row(self) -> str:
        """The case as a row of the table in docs/buckets.md."""
        resolution = self.resolution if isinstance(self.resolution, int) else list(self.resolution)
        pictures = ", ".join(f"{width}x{height}" for width, height in self.pictures)
        outcome = [f"{width}x{height}" for width, height in (self.resized, self.bucket)]
        return f"| {pictures} | {resolution} | {self.buckets} | {' | '.join(outcome)} | {self.lost} | {self.words} |"


FOUR = ((768, 1024), (1024, 768), (768, 768), (896, 896))
CASES = [
    Case(
        pictures=((768, 1024),), resolution=(768, 0), buckets="off", resized=(768, 1024), bucket=(768, 768),
        lost="25.0%", words="768x1024 is cropped to 768x768, 25.0% lost: top and bottom 128 px are cut; "
        "press b for buckets (enable_bucket)",
    ),
    Case(
        pictures=((500, 400),), resolution=(768, 0), buckets="off", resized=(960, 768), bucket=(768, 768),
        lost="20.0%", words="500x400 is scaled up 1.92 times: to 960x768: it will look soft beside the others; "
        "use a larger picture or a lower resolution",
    ),
    Case(
        pictures=((768, 1024),), resolution=(768, 0), resized=(640, 853), bucket=(640, 832), lost="2.5%",
        words="768x1024 is resized to 640x853 and cropped to 640x832, 2.5% lost: top 10 and bottom 11 px are cut; "
        "crop the picture yourself if the edges matter",
    ),
    Case(pictures=((768, 768),), resolution=(768, 0), resized=(768, 768), bucket=(768, 768), lost="0.0%"),
    Case(
        pictures=FOUR, resolution=(768, 0), resized=(640, 853), bucket=(640, 832), lost="2.5%",
        words="resolution 896 keeps 768x1024, 1024x768, 768x768 and 896x896 as they are: now 768x1024 is resized to "
        "640x853, bucket 640x832; set resolution to 896: a step then takes up to 1.36 times the pixels",
    ),
    Case(
        pictures=((768, 1024),), resolution=(768, 0), buckets="upscaling", resized=(672, 896), bucket=(640, 896),
        lost="4.8%", words="768x1024 is resized to 672x896 and cropped to 640x896, 4.8% lost: left and right 16 px "
        "are cut; crop the picture yourself if the edges matter",
    ),
    Case(pictures=((768, 1024),), resolution=(768, 1024), resized=(768, 1024), bucket=(768, 1024), lost="0.0%"),
    Case(pictures=((1024, 768),), resolution=(768, 1024), resized=(1024, 768), bucket=(1024, 768), lost="0.0%"),
    Case(pictures=((3024, 4032),), resolution=(768, 1024), resized=(768, 1024), bucket=(768, 1024), lost="0.0%"),
    Case(
        pictures=((896, 896),), resolution=(768, 1024), resized=(832, 832), bucket=(832, 832), lost="0.0%",
        words="resolution 896 keeps 896x896 as it is: now 896x896 is resized to 832x832, bucket 832x832; "
        "set resolution to 896: a step then takes up to 1.02 times the pixels",
    ),
    Case(
        pictures=((700, 700),), resolution=768, resized=(700, 700), bucket=(640, 640), lost="16.4%",
        words="700x700 is cropped to 640x640, 16.4% lost: left and right 30 px, top and bottom 30 px are cut; "
        "a picture under the resolution's area is cut to multiples of 64: 704x704 or 640x640 would fit",
    ),
    Case(
        pictures=((767, 1023),), resolution=(768, 1024), resized=(767, 1023), bucket=(704, 960), lost="13.9%",
        words="767x1023 is cropped to 704x960, 13.9% lost: left 31 and right 32 px, top 31 and bottom 32 px are cut; "
        "a picture under the resolution's area is cut to multiples of 64: 768x1024 or 704x960 would fit",
    ),
    Case(
        pictures=((800, 1200),), resolution=(768, 1024), resized=(704, 1056), bucket=(704, 1024), lost="3.0%",
        words="800x1200 is resized to 704x1056 and cropped to 704x1024, 3.0% lost: top and bottom 16 px are cut; "
        "crop the picture yourself if the edges matter",
    ),
    Case(
        pictures=((800, 1200),), resolution=1024, resized=(800, 1200), bucket=(768, 1152), lost="7.8%",
        words="800x1200 is cropped to 768x1152, 7.8% lost: left and right 16 px, top and bottom 24 px are cut; "
        "a picture under the resolution's area is cut to multiples of 64: 768x1152 or 832x1216 would fit",
    ),
    Case(pictures=((1080, 1350),), resolution=(768, 1024), resized=(768, 960), bucket=(768, 960), lost="0.0%"),
    Case(
        pictures=((1080, 1350),), resolution=1024, resized=(896, 1120), bucket=(896, 1088), lost="2.9%",
        words="1080x1350 is resized to 896x1120 and cropped to 896x1088, 2.9% lost: top and bottom 16 px are cut; "
        "crop the picture yourself if the edges matter",
    ),
    Case(
        pictures=((1536, 1536),), resolution=1536, resized=(1536, 1536), bucket=(1536, 1536), lost="0.0%",
        words="max_bucket_reso is 1536 instead of 1024: the resolution's longer side is 1536; "
        "write max_bucket_reso: 1536 to say so yourself",
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.pictures[0]}-{case.resolution}-{case.buckets}")
def test_each_case_and_its_row(case: Case) -> None:
    plan = case.plan()
    fitted = plan.images[0].fit
    assert fitted is not None
    assert (fitted.resized, fitted.bucket, f"{fitted.lost:.1%}") == (case.resized, case.bucket, case.lost)
    told = [finding_words(finding) for finding in plan.findings if finding.code != "one_picture"]
    if case.words:
        assert case.words in told
    else:
        assert told == []
    assert case.row() in DOC.read_text(encoding="utf-8").splitlines()


def test_the_table_has_no_other_rows() -> None:
    lines = DOC.read_text(encoding="utf-8").splitlines()
    table = lines[lines.index("|---|---|---|---|---|---|---|") + 1 :]
    assert table[: len(CASES)] == [case.row() for case in CASES]
    assert table[len(CASES)] == ""


def test_the_four_sizes_lie_untouched_at_the_advised_resolution() -> None:
    settings, _ = bucket_settings(896)
    for size in FOUR:
        assert fit(*size, settings).bucket == size == fit(*size, settings).resized


def test_sd_scripts_refuses_what_a_spec_mends() -> None:
    with pytest.raises(BucketError, match="max_bucket_reso 1024 is below"):
        fit(1536, 1536, BucketSettings((1536, 1536)))
    mended, findings = bucket_settings(1536)
    assert mended.max_bucket_reso == 1536
    assert codes(findings) == ["max_bucket_reso_mended"]


def test_steps_go_up_to_what_flux_takes() -> None:
    settings, findings = bucket_settings(512, bucket_reso_steps=32)
    assert settings.bucket_reso_steps == 64
    assert codes(findings) == ["bucket_reso_steps_mended"]
    assert bucket_settings(512, bucket_reso_steps=65)[0].bucket_reso_steps == 128
    assert bucket_settings(512, bucket_reso_steps=32, enable_bucket=False)[1] == []


def test_a_low_resolution_lowers_the_smallest_bucket() -> None:
    settings, findings = bucket_settings([128, 192], max_bucket_reso=100)
    assert (settings.min_bucket_reso, settings.max_bucket_reso) == (128, 192)
    assert codes(findings) == ["min_bucket_reso_mended", "max_bucket_reso_mended"]


@pytest.mark.parametrize("resolution", [768, [768], [768, 0], [0, 768], (768, 768)])
def test_squares(resolution: int | list[int] | tuple[int, int]) -> None:
    settings, findings = bucket_settings(resolution)
    assert settings.resolution == (768, 768)
    assert findings == []


@pytest.mark.parametrize("resolution", [0, [], [0, 0], [1, 2, 3], [-64, 64]])
def test_what_is_no_resolution(resolution: int | list[int]) -> None:
    with pytest.raises(BucketError, match="is no size"):
        bucket_settings(resolution)


def codes(findings: list[Finding]) -> list[str]:
    return [finding.code for finding in findings]


def of_sizes(sizes: list[Size], *, num_repeats: int = 1, batch_size: int = 4, epochs: int = 1) -> TrainPlan:
    """A plan of pictures of `sizes` at 768x1024."""
    images = tuple(PlanImage(f"/photos/{index}.jpg", *size) for index, size in enumerate(sizes))
    subset = PlanSubset(images=images, num_repeats=num_repeats)
    dataset = PlanDataset(settings=BucketSettings((768, 1024)), batch_size=batch_size, subsets=(subset,))
    return make_plan([dataset], max_train_epochs=epochs)


def quoted() -> list[str]:
    """The plan's words that docs/buckets.md quotes below the table."""
    return [line[2:] for line in DOC.read_text(encoding="utf-8").splitlines() if line.startswith("> ")]


def test_a_lonely_bucket_at_batch_4_makes_a_one_picture_batch() -> None:
    plan = of_sizes([(768, 1024)] * 6 + [(1024, 768)])
    assert [(bucket.size, bucket.repeated, bucket.batches) for bucket in plan.buckets] == [
        ((768, 1024), 6, 2),
        ((1024, 768), 1, 1),
    ]
    lonely = [finding_words(finding) for finding in plan.findings if finding.code == "lonely_bucket"]
    assert len(lonely) == 1
    assert lonely[0] in quoted()


def test_what_fluxgym_would_say() -> None:
    plan = of_sizes([(768, 1024)] * 3, num_repeats=10, epochs=16)
    said = [finding_words(finding) for finding in plan.findings if finding.code == "fluxgym_estimate"]
    assert said[0] in quoted()
    assert len(quoted()) == 2


def test_a_photo_resized_to_768_is_the_first_case() -> None:
    photo = ScannedImage(
        file="/photos/0.jpg", width=4032, height=3024, orientation=6, caption=None, caption_file=None,
        format="JPEG", size_bytes=1, mtime_ns=1,
    )  # fmt: skip
    assert staged_size(photo, resize=768) == CASES[0].pictures[0]
