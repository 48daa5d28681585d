"""Whole plans: what is counted, what is said, and the form of `plan --json`."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxgym_tui.base.findings import Finding, Severity
from fluxgym_tui.plan.advice import fitting_sizes
from fluxgym_tui.plan.buckets import BucketSettings, fit
from fluxgym_tui.plan.planning import PlanDataset, PlanImage, PlanSubset, TrainPlan, make_plan
from fluxgym_tui.plan.words import explain

SETTINGS = BucketSettings((768, 1024))


def images(*sizes: tuple[int, int], folder: str = "/photos") -> tuple[PlanImage, ...]:
    return tuple(PlanImage(f"{folder}/{index:03d}.jpg", *size) for index, size in enumerate(sizes))


def plan(*subsets: PlanSubset, settings: BucketSettings = SETTINGS, batch_size: int = 1, **arguments: Any) -> TrainPlan:
    dataset = PlanDataset(settings=settings, batch_size=batch_size, subsets=subsets)
    return make_plan([dataset], **{"max_train_epochs": 2, **arguments})


def codes(made: TrainPlan, severity: Severity | None = None) -> list[str]:
    return [finding.code for finding in made.findings if severity in (None, finding.severity)]


def test_the_json_is_as_the_design_says() -> None:
    made = plan(PlanSubset(images=images((768, 1024), (3024, 4032), (700, 700)), num_repeats=5), batch_size=4)
    data = json.loads(json.dumps(made.to_json()))
    assert data["buckets"] == [
        {"dataset": 0, "width": 640, "height": 640, "images": 1, "repeated": 5, "batches": 2},
        {"dataset": 0, "width": 768, "height": 1024, "images": 2, "repeated": 10, "batches": 3},
    ]
    assert data["images"][2] == {
        "path": "/photos/002.jpg",
        "width": 700,
        "height": 700,
        "bucket": [640, 640],
        "resized": [700, 700],
        "crop": [30, 30, 670, 670],
        "lost": 0.164082,
    }
    assert data["steps"] == {"batches_per_epoch": 5, "steps_per_epoch": 5, "epochs": 2, "total": 10}
    assert set(data) == {"buckets", "images", "steps", "findings"}
    assert all({"path", "code", "severity", "title", "fix"} <= set(finding) for finding in data["findings"])


def test_no_picture_trains_nothing() -> None:
    made = plan(PlanSubset(images=()))
    assert made.to_json()["steps"] == {"batches_per_epoch": 0, "steps_per_epoch": 0, "epochs": None, "total": None}
    assert not made.trains
    assert codes(made) == ["no_pictures"]
    assert explain(made)[0] == "nothing would train"
    assert make_plan([]).steps.total is None


def test_regularisation_alone_trains_nothing() -> None:
    made = plan(PlanSubset(images=images((512, 512)), is_reg=True))
    assert made.steps.total is None
    assert codes(made, Severity.ERROR) == ["no_pictures"]


def test_one_picture_is_warned_of_and_trains() -> None:
    made = plan(PlanSubset(images=images((768, 1024)), num_repeats=10))
    assert made.steps.total == 20
    assert codes(made) == ["one_picture"]


def test_a_picture_without_a_bucket_stops_the_plan_and_is_named() -> None:
    made = plan(PlanSubset(images=images((768, 1024), (2000, 20))))
    assert made.steps.total is None
    errors = [finding for finding in made.findings if finding.severity is Severity.ERROR]
    assert [(finding.code, finding.path) for finding in errors] == [("no_bucket", "/photos/001.jpg")]
    assert made.to_json()["images"][1]["bucket"] is None


@pytest.mark.parametrize(
    ("settings", "batch_size", "code"),
    [
        (BucketSettings((768, 1536)), 1, "bucket_settings"),
        (BucketSettings((768, 1024), bucket_reso_steps=32), 1, "bucket_settings"),
        (BucketSettings((700, 700), enable_bucket=False), 1, "resolution_off_grid"),
        (SETTINGS, 0, "batch_size"),
    ],
)
def test_settings_that_cannot_train_are_said_once(settings: BucketSettings, batch_size: int, code: str) -> None:
    made = plan(PlanSubset(images=images((768, 1024), (1024, 768))), settings=settings, batch_size=batch_size)
    assert codes(made, Severity.ERROR) == [code]
    assert made.steps.total is None
    assert made.buckets == ()


@pytest.mark.parametrize(("side", "warned"), [(512, False), (704, False), (705, True), (711, True), (720, False)])
def test_without_buckets_the_resolution_must_divide_into_patches(side: int, warned: bool) -> None:
    settings = BucketSettings((side, 512), enable_bucket=False)
    made = plan(PlanSubset(images=images((side, 512), (side, 512))), settings=settings)
    assert made.trains
    assert codes(made) == (["resolution_off_grid"] if warned else [])


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"max_train_epochs": 0}, "max_train_epochs is 0"),
        ({"max_train_epochs": None, "max_train_steps": -1}, "max_train_steps is -1"),
        ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps is 0"),
        ({"num_processes": 0}, "num_processes is 0"),
    ],
)
def test_lengths_that_train_nothing_are_refused_by_name(arguments: dict[str, Any], name: str) -> None:
    made = plan(PlanSubset(images=images((768, 1024), (768, 1024))), **arguments)
    assert made.steps.total is None
    assert name in [finding.title for finding in made.findings]


def test_an_error_found_before_stops_the_plan() -> None:
    broken = Finding(code="broken", severity=Severity.ERROR, title="all pictures are broken")
    made = plan(PlanSubset(images=images((768, 1024), (768, 1024))), findings=[broken])
    assert made.steps.total is None
    assert made.findings[0] is broken


def test_each_enlarged_picture_is_told() -> None:
    settings = BucketSettings((768, 768), bucket_no_upscale=False)
    made = plan(PlanSubset(images=images((300, 300), (300, 300), (768, 768))), settings=settings)
    told = [finding for finding in made.findings if finding.code == "upscaled"]
    assert [finding.path for finding in told] == ["/photos/000.jpg", "/photos/001.jpg"]
    assert "2.56 times" in told[0].title
    assert "bucket_no_upscale" in (told[0].fix or "")


def test_a_crop_is_told_once_for_each_size() -> None:
    made = plan(PlanSubset(images=images(*[(700, 700)] * 30, (900, 700))))
    told = [finding.title for finding in made.findings if finding.code == "cut_by_steps"]
    assert told == [
        "30 pictures of 700x700 are cropped to 640x640, 16.4% lost",
        "900x700 is cropped to 896x640, 9.0% lost",
    ]


def test_buckets_of_one_picture_repeated_are_lonely_too() -> None:
    made = plan(PlanSubset(images=images((768, 1024), (1024, 768), (1024, 768)), num_repeats=4), batch_size=4)
    titles = [finding.title for finding in made.findings if finding.code == "lonely_bucket"]
    assert titles == ["lonely bucket 768x1024: its 1 batch holds one picture over and over"]
    several = plan(PlanSubset(images=images((768, 1024), (1024, 768)), num_repeats=4), batch_size=4)
    assert [finding.title for finding in several.findings if finding.code == "lonely_bucket"] == [
        "lonely buckets 768x1024 and 1024x768: the batches of each hold one picture over and over"
    ]
    assert "lonely_bucket" not in codes(plan(PlanSubset(images=images((768, 1024), (1024, 768)))))


def test_many_lonely_buckets_make_one_finding() -> None:
    sizes = [(64 * side, 512) for side in range(4, 12)]
    made = plan(PlanSubset(images=images(*sizes)), batch_size=4)
    assert [finding.title for finding in made.findings if finding.code == "lonely_bucket"] == [
        "lonely buckets 256x512, 320x512, 384x512, 448x512, 512x512, 576x512 and 2 more: none fills a batch of 4"
    ]


def test_regularisation_pictures_fill_up_or_stay_out() -> None:
    few = plan(
        PlanSubset(images=images((768, 1024)), num_repeats=5), PlanSubset(images=images((512, 512)), is_reg=True)
    )
    assert [(bucket.size, bucket.repeated) for bucket in few.buckets] == [((512, 512), 5), ((768, 1024), 5)]
    many = plan(PlanSubset(images=images((768, 1024))), PlanSubset(images=images(*[(512, 512)] * 3), is_reg=True))
    assert many.steps.batches_per_epoch == 2
    assert [finding.title for finding in many.findings if finding.code == "regularisation_unused"] == [
        "2 regularisation pictures of dataset 1 are not used"
    ]


def test_samples_files_and_disk() -> None:
    made = plan(
        PlanSubset(images=images(*[(768, 1024)] * 6), num_repeats=10),
        max_train_epochs=16,
        save_every_n_epochs=4,
        sample_every_n_steps=100,
        prompts=["a cat", "a dog"],
        lora_bytes=40_000_000,
    )
    assert made.steps.total == 960
    assert [moment.step for moment in made.samples] == list(range(100, 1000, 100))
    assert made.disk_bytes == 160_000_000
    assert explain(made) == [
        "960 steps: ceil(60/1) = 60 batches an epoch; 60 x 16 epochs = 960 steps",
        "samples at steps 100, 200 ... 900: 9 rounds for each of 2 prompts, 18 pictures",
        "LoRA files at the end of epochs 4, 8 and 12, and at the end: 4 files, 160 MB",
    ]


def test_words_for_other_rounds() -> None:
    made = plan(
        PlanSubset(images=images(*[(768, 1024)] * 4)),
        max_train_epochs=3,
        sample_every_n_epochs=2,
        sample_at_first=True,
        save_every_n_steps=5,
        prompts=["a cat"],
    )
    assert explain(made)[1:] == [
        "samples before the first step and at the end of epoch 2: 2 rounds for the prompt, 2 pictures",
        "LoRA files at steps 5 and 10, and at the end: 3 files",
    ]


def test_findings_of_one_kind_are_counted_beyond_the_first() -> None:
    sizes = [(300 + side, 300) for side in range(9)]
    lines = explain(plan(PlanSubset(images=images(*sizes))), most_of_a_kind=2)
    assert len([line for line in lines if "cropped" in line]) == 2
    assert lines[-1] == "... and 7 more: cut_by_steps"


def test_prompts_without_an_interval_make_no_samples() -> None:
    made = plan(PlanSubset(images=images((768, 1024), (768, 1024))), prompts=["a cat"])
    assert made.samples == ()
    assert codes(made) == ["prompts_without_interval"]


SIZES = st.tuples(st.integers(64, 3000), st.integers(64, 3000)).filter(lambda size: 0.3 < size[0] / size[1] < 3)


@given(
    st.lists(SIZES, min_size=1, max_size=12), st.integers(1, 5), st.integers(1, 4), st.randoms(use_true_random=False)
)
def test_repeats_are_kept_and_the_order_does_not_matter(
    sizes: list[tuple[int, int]], num_repeats: int, batch_size: int, shuffler: Any
) -> None:
    made = plan(PlanSubset(images=images(*sizes), num_repeats=num_repeats), batch_size=batch_size)
    assert sum(bucket.repeated for bucket in made.buckets) == len(sizes) * num_repeats
    assert sum(bucket.images for bucket in made.buckets) == len(sizes)
    shuffled = list(sizes)
    shuffler.shuffle(shuffled)
    again = plan(PlanSubset(images=images(*shuffled), num_repeats=num_repeats), batch_size=batch_size)
    assert (again.buckets, again.steps) == (made.buckets, made.steps)


@given(SIZES)
def test_the_sizes_that_would_fit_do_fit(size: tuple[int, int]) -> None:
    named = fitting_sizes(*size, SETTINGS)
    assert len(named) <= 2
    for fitting in named:
        assert fit(*fitting, SETTINGS).bucket == fitting
        assert fit(*fitting, SETTINGS).resized == fitting
    if size[0] * size[1] <= SETTINGS.area:
        assert named
