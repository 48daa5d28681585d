"""Steps, saves and samples as sd-scripts counts them."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxgym_tui.base.findings import Severity
from fluxgym_tui.config.dataset_toml import load_dataset_toml
from fluxgym_tui.plan.from_toml import plan_from_toml
from fluxgym_tui.plan.planning import PlanImage, TrainPlan
from fluxgym_tui.plan.steps import (
    Round,
    StepCounts,
    batches,
    checkpoint_rounds,
    count_steps,
    epochs_between_saves,
    fluxgym_estimate,
    regularisation_repeats,
    sample_rounds,
    step_formula,
)

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "steps.json").read_text(encoding="utf-8")
)["cases"]
_ARGUMENTS = ("max_train_epochs", "max_train_steps", "gradient_accumulation_steps", "save_every_n_epochs")


def toml_text(datasets: list[dict[str, Any]]) -> str:
    """The case's datasets as a dataset.toml; JSON's numbers, texts and lists are TOML's too."""
    lines = []
    for dataset in datasets:
        lines.append("[[datasets]]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in dataset.items() if key != "subsets"]
        for subset in dataset["subsets"]:
            lines.append("[[datasets.subsets]]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in subset.items() if key not in ("images", "note")]
    return "\n".join(lines)


def plan_of(case: dict[str, Any], folder: Path) -> TrainPlan:
    path = folder / "dataset.toml"
    path.write_text(toml_text(case["input"]["datasets"]), encoding="utf-8")
    pictures = {
        subset["image_dir"]: [PlanImage(f"{subset['image_dir']}/{name}", w, h) for name, w, h in subset["images"]]
        for dataset in case["input"]["datasets"]
        for subset in dataset["subsets"]
    }
    arguments = {key: value for key, value in case["input"].items() if key in _ARGUMENTS}
    return plan_from_toml(load_dataset_toml(path), lambda image_dir: pictures[str(image_dir)], **arguments)


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_every_case_of_sd_scripts(case: dict[str, Any], tmp_path: Path) -> None:
    plan, output = plan_of(case, tmp_path), case["output"]
    steps = plan.to_json()["steps"]
    if output["result"] != "ok":
        assert steps["total"] is None
        assert any(finding.severity is Severity.ERROR for finding in plan.findings)
        return
    assert steps == {
        "batches_per_epoch": output["batches_per_epoch"],
        "steps_per_epoch": output["num_update_steps_per_epoch"],
        "epochs": output["num_train_epochs"],
        "total": output["optimizer_steps"],
    }
    for index, dataset in enumerate(output["datasets"]):
        mine = [bucket for bucket in plan.buckets if bucket.dataset == index]
        assert sum(bucket.batches for bucket in mine) == dataset["batches"]
        if "buckets" in dataset:
            found = [[list(bucket.size), bucket.repeated] for bucket in mine]
            assert found == [[list(size), repeated] for size, repeated in dataset["buckets"]]
    counts = StepCounts(**steps)
    assert output["save_every_n_epochs"] == epochs_between_saves(
        counts,
        save_every_n_epochs=case["input"].get("save_every_n_epochs"),
        save_n_epoch_ratio=case["input"].get("save_n_epoch_ratio"),
    )


def test_what_fluxgym_would_say_in_every_case() -> None:
    checked = 0
    for case in CASES:
        said = case["output"].get("naive_fluxgym_total_steps")
        if said is not None:
            subsets = [subset for dataset in case["input"]["datasets"] for subset in dataset["subsets"]]
            pictures = [(len(subset["images"]), subset["num_repeats"]) for subset in subsets]
            assert fluxgym_estimate(pictures, epochs=case["input"]["max_train_epochs"]) == said
            checked += 1
    assert checked > 15


def test_the_set_of_cases_is_whole() -> None:
    results = [case["output"]["result"] for case in CASES]
    assert len(results) == 34
    assert {"ok", "error", "returned_without_training"} == set(results)


@pytest.mark.parametrize(
    ("batch_count", "arguments", "expected"),
    [
        (25, {"max_train_epochs": 16}, (25, 25, 16, 400)),
        (25, {"max_train_epochs": 16, "max_train_steps": 7}, (25, 25, 16, 400)),
        (25, {"max_train_epochs": 4, "gradient_accumulation_steps": 2}, (25, 13, 4, 52)),
        (25, {"max_train_epochs": 4, "gradient_accumulation_steps": 2, "num_processes": 2}, (25, 7, 4, 28)),
        (25, {"max_train_steps": 30}, (25, 25, 2, 30)),
        (25, {}, (25, 25, 64, 1600)),
        (0, {"max_train_epochs": 4}, (0, 0, 0, 0)),
    ],
)
def test_counting(batch_count: int, arguments: dict[str, int], expected: tuple[int, ...]) -> None:
    counts = count_steps(batch_count, **arguments)
    assert (counts.batches_per_epoch, counts.steps_per_epoch, counts.epochs, counts.total) == expected


@given(st.integers(1, 5000), st.integers(1, 64), st.integers(1, 16), st.integers(1, 8))
def test_an_epoch_is_divided_once_up(batch_count: int, epochs: int, accumulation: int, processes: int) -> None:
    counts = count_steps(
        batch_count, max_train_epochs=epochs, gradient_accumulation_steps=accumulation, num_processes=processes
    )
    exact = batch_count / (accumulation * processes)
    assert exact <= counts.steps_per_epoch < exact + 1
    assert counts.total == epochs * counts.steps_per_epoch
    assert counts.epochs == epochs


@given(st.integers(1, 10_000), st.integers(1, 64))
def test_batches_hold_every_picture(repeated: int, batch_size: int) -> None:
    number = batches(repeated, batch_size=batch_size)
    assert (number - 1) * batch_size < repeated <= number * batch_size


@given(st.lists(st.integers(1, 12), max_size=30), st.integers(0, 500))
def test_regularisation_fills_up_to_the_pictures(num_repeats: list[int], train_pictures: int) -> None:
    used = regularisation_repeats(num_repeats, train_pictures=train_pictures)
    assert len(used) == len(num_repeats)
    if sum(num_repeats) <= train_pictures and num_repeats:
        assert sum(used) == train_pictures
        added = [after - before for before, after in zip(num_repeats, used, strict=True)]
        assert max(added) - min(added) <= 1
        assert added == sorted(added, reverse=True)
    else:
        kept = len([repeats for repeats in used if repeats])
        assert used[:kept] == num_repeats[:kept]
        assert sum(used[: max(0, kept - 1)]) < train_pictures or kept == 0


def test_960_steps_with_samples_every_100_make_nine_rounds() -> None:
    counts = count_steps(60, max_train_epochs=16)
    assert counts.total == 960
    rounds = sample_rounds(counts, sample_every_n_steps=100)
    assert [moment.step for moment in rounds] == [100, 200, 300, 400, 500, 600, 700, 800, 900]


def test_samples_by_epochs_beat_steps_and_come_at_the_ends() -> None:
    counts = count_steps(10, max_train_steps=25)
    assert sample_rounds(counts, sample_every_n_epochs=1, sample_every_n_steps=5) == [
        Round(step=10, epoch=1),
        Round(step=20, epoch=2),
        Round(step=25, epoch=3),
    ]
    assert sample_rounds(counts, sample_every_n_steps=25, sample_at_first=True) == [Round(step=0), Round(step=25)]
    assert sample_rounds(counts, sample_every_n_steps=0, sample_every_n_epochs=0) == []


def test_the_last_epoch_has_no_checkpoint_of_its_own() -> None:
    counts = count_steps(10, max_train_epochs=16)
    rounds = checkpoint_rounds(counts, save_every_n_epochs=4)
    assert rounds == [Round(step=40, epoch=4), Round(step=80, epoch=8), Round(step=120, epoch=12)]
    by_steps = checkpoint_rounds(counts, save_every_n_steps=80)
    assert by_steps == [Round(step=80), Round(step=160)]
    assert checkpoint_rounds(counts, save_n_epoch_ratio=5) == checkpoint_rounds(counts, save_every_n_epochs=3)
    assert checkpoint_rounds(counts, save_every_n_epochs=0) == []


def test_the_formula_adds_up() -> None:
    counts = count_steps(23, max_train_epochs=2, gradient_accumulation_steps=3, num_processes=2)
    assert step_formula(counts, [(30, 4), (59, 4)], by_epochs=True, gradient_accumulation_steps=3, num_processes=2) == (
        "ceil(30/4) + ceil(59/4) = 23 batches an epoch; ceil(23 / 2 processes / 3 accumulated) = 4 steps an epoch; "
        "4 x 2 epochs = 8 steps"
    )
    by_steps = count_steps(5, max_train_steps=12)
    assert step_formula(by_steps, [(1, 1)] * 5, by_epochs=False) == (
        "ceil(1/1) + ceil(1/1) + ceil(1/1) + ceil(1/1) + ... (5 buckets) = 5 batches an epoch; "
        "12 steps = 2 epochs and 2 of the next one's 5 steps"
    )
    assert step_formula(count_steps(5, max_train_steps=4), [(5, 1)], by_epochs=False).endswith(
        "4 steps = 4 of an epoch's 5 steps"
    )
    assert step_formula(count_steps(5, max_train_steps=10), [(5, 1)], by_epochs=False).endswith("10 steps = 2 epochs")
    assert step_formula(count_steps(0), [], by_epochs=True) == "nothing to train"
