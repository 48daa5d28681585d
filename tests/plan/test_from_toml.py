"""Plans straight from kohya's dataset.toml: nothing mended, pictures as stored."""

import random
from pathlib import Path

from fluxgym_tui.base.findings import Severity
from fluxgym_tui.config.dataset_toml import DatasetConfig, SubsetConfig
from fluxgym_tui.plan.from_toml import plan_from_toml
from fluxgym_tui.plan.planning import PlanImage, TrainPlan


def plan_of(dataset: DatasetConfig, pictures: dict[str, list[PlanImage]]) -> TrainPlan:
    return plan_from_toml([dataset], lambda folder: pictures.get(folder.name, []), max_train_epochs=1)


def pictures(count: int, *, width: int = 512) -> list[PlanImage]:
    return [PlanImage(f"/data/p/{index:02d}.png", width, 512 + 64 * (index % 4)) for index in reversed(range(count))]


def test_sd_scripts_defaults_are_not_a_specs() -> None:
    plan = plan_of(
        DatasetConfig(resolution=(512, 512), subsets=(SubsetConfig(image_dir=Path("p")),)), {"p": pictures(3)}
    )
    assert [bucket.size for bucket in plan.buckets] == [(512, 512)]
    assert plan.steps.total == 3


def test_nothing_is_mended() -> None:
    subsets = (SubsetConfig(image_dir=Path("p")),)
    for dataset in (
        DatasetConfig(resolution=(1536, 1536), enable_bucket=True, subsets=subsets),
        DatasetConfig(resolution=(512, 512), enable_bucket=True, bucket_reso_steps=32, subsets=subsets),
    ):
        plan = plan_of(dataset, {"p": pictures(3)})
        assert plan.steps.total is None
        assert [finding.code for finding in plan.findings if finding.severity is Severity.ERROR] == ["bucket_settings"]


def test_an_empty_folder_is_told_and_the_rest_trains() -> None:
    subsets = (SubsetConfig(image_dir=Path("gone")), SubsetConfig(image_dir=Path("p"), num_repeats=2))
    plan = plan_of(DatasetConfig(resolution=(512, 512), subsets=subsets), {"p": pictures(3)})
    assert plan.steps.total == 6
    assert [(finding.code, finding.path) for finding in plan.findings if finding.code == "folder_empty"] == [
        ("folder_empty", "gone")
    ]
    nothing = plan_of(DatasetConfig(resolution=(512, 512), subsets=subsets[:1]), {})
    assert nothing.steps.total is None


def test_pictures_held_back_for_validation_are_not_counted() -> None:
    dataset = DatasetConfig(
        resolution=(512, 704), enable_bucket=True, bucket_no_upscale=True, validation_split=0.25, validation_seed=7,
        subsets=(SubsetConfig(image_dir=Path("p")), SubsetConfig(image_dir=Path("r"), is_reg=True)),
    )  # fmt: skip
    given = {"p": pictures(10), "r": [PlanImage("/data/r/0.png", 448, 448)]}
    plan = plan_of(dataset, given)
    # sd-scripts shuffles the sorted pictures with the seed and trains the first ceil(10 x 0.75).
    drawn = sorted(image.path for image in given["p"])
    random.Random(7).shuffle(drawn)
    assert {planned.image.path for planned in plan.images if not planned.is_reg} == set(drawn[:8])
    assert sum(planned.repeats for planned in plan.images if planned.is_reg) == 8
    assert "validation_unseeded" not in [finding.code for finding in plan.findings]


def test_a_draw_without_a_seed_is_told() -> None:
    subsets = (SubsetConfig(image_dir=Path("p")),)
    plan = plan_of(DatasetConfig(resolution=(512, 512), validation_split=0.1, subsets=subsets), {"p": pictures(10)})
    assert plan.steps.total == 9
    assert "validation_unseeded" in [finding.code for finding in plan.findings]
