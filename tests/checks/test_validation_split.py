"""Pictures that are held back for validation are not counted as trained: the plan is what the trainer then does."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from fluxgym_tui.checks.run_files import dataset_config, image_dirs
from fluxgym_tui.checks.spec_plan import SpecPlan, plan_spec
from fluxgym_tui.config.dataset_toml import DatasetConfig, SubsetConfig, dump_dataset_toml
from fluxgym_tui.config.settings_flags import effective_flags
from fluxgym_tui.config.spec import TrainSpec
from fluxgym_tui.config.specfile import build_spec
from fluxgym_tui.dataset.staging import stage
from fluxgym_tui.trainer.data import load_training_data
from tests.trainer.trainer_options import options_for

# Names whose order by whole file name is another than by stem, and a size for each: which are held back shows.
SIZES = {"a.png": 64, "a-b.png": 128, "deep/c.png": 192, "d.png": 256, "e.jpg": 320, "f.png": 384, "g.png": 448}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for name, width in SIZES.items():
        Image.new("RGB", (width, 64)).save(folder / name)
        (folder / name).with_suffix(".txt").write_text("a cat\n", encoding="utf-8")
    return folder


def spec_with(photos: Path, flags: Mapping[str, float], *, backend: str = "builtin") -> TrainSpec:
    return build_spec(
        {
            "name": "x", "trigger": "cat", "backend": backend, "flags": flags, "training": {"max_train_epochs": 2},
            "dataset": {"path": photos, "resolution": 512, "num_repeats": 3},
        }
    )  # fmt: skip


def planned(spec: TrainSpec) -> SpecPlan:
    return plan_spec(spec, flags=effective_flags(spec, backend=spec.backend, vram="cpu"))


@pytest.mark.parametrize("flags", [{}, {"validation_seed": 5}, {"validation_seed": 6}])
def test_the_plan_counts_what_the_trainer_trains(photos: Path, tmp_path: Path, flags: dict[str, int]) -> None:
    spec = spec_with(photos, {"validation_split": 0.4, **flags})
    plan = planned(spec)
    staged = tmp_path / "staged"
    stage(plan.sources, staged)
    toml = tmp_path / "dataset.toml"
    toml.write_text(dump_dataset_toml([dataset_config(spec, plan=plan, staged=staged)]), encoding="utf-8")
    words = [
        "--validation_split",
        "0.4",
        *(word for name, value in flags.items() for word in (f"--{name}", f"{value}")),
    ]
    data = load_training_data(options_for(toml, *words), seed=42)  # a spec's own seed
    trained = Counter(picture.fit.bucket for picture in data.pictures)
    assert {bucket.size: bucket.images for bucket in plan.plan.buckets} == trained
    assert len(data.kept_back) == 3  # as in sd-scripts one of seven is both trained and measured
    assert plan.plan.steps.total == 2 * 3 * 5 == 2 * len(data.batches(epoch=1))


def test_the_draw_is_sd_scripts_too(photos: Path) -> None:
    split = {"validation_split": 0.4, "validation_seed": 5}
    ours, theirs = (planned(spec_with(photos, split, backend=backend)).plan for backend in ("builtin", "kohya"))
    assert ours.buckets == theirs.buckets
    assert planned(spec_with(photos, {})).plan.steps.total == 2 * 3 * 7


def test_a_dataset_toml_edited_by_hand_holds_back_too(photos: Path, tmp_path: Path) -> None:
    spec = spec_with(photos, {})
    staged = tmp_path / "staged"
    (folder,) = image_dirs(planned(spec).sources, staged=staged)
    subset = SubsetConfig(image_dir=folder, num_repeats=1, caption_extension=".txt")
    dataset = DatasetConfig(resolution=(512, 512), validation_split=0.4, validation_seed=5, subsets=(subset,))
    plan = plan_spec(
        spec,
        flags=effective_flags(spec, backend="builtin", vram="cpu"),
        datasets=[dataset],
        image_dirs=[folder],
    )
    assert plan.plan.steps.batches_per_epoch == 5
