"""Where a training can go on from, and what its command becomes."""

import json
from pathlib import Path

import pytest

from fluxgym_tui.backends.arguments import with_options
from fluxgym_tui.backends.resume import Length, ResumePoint, resume_points, resumed_command
from fluxgym_tui.base.errors import FluxgymError
from tests.backends.kohya.test_resume import whole_state

LENGTH = Length(epochs=4, steps=40, steps_per_epoch=10)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "train --a 1 2 --b=3 --c"),
        ({"a": None}, "train --b=3 --c"),
        ({"a": "9"}, "train --b=3 --c --a 9"),
        ({"b": "4", "c": None, "d": "5"}, "train --a 1 2 --b 4 --d 5"),
    ],
)
def test_options_are_changed_in_place_of_what_was_said(changes: dict[str, str | None], expected: str) -> None:
    assert with_options(["train", "--a", "1", "2", "--b=3", "--c"], changes) == tuple(expected.split())


def test_only_whole_states_of_whole_epochs_count(tmp_path: Path) -> None:
    for name, epoch in (("x-000001", 1), ("x-000003", 3), ("x-000002", 1), ("x-step00000015", 2), ("x", 4), ("y", 4)):
        whole_state(tmp_path / f"{name}-state", epoch=epoch)
    (tmp_path / "x-state" / "model.safetensors").write_bytes(b"half")
    points = resume_points(tmp_path, "x", backend="kohya", length=LENGTH, weights=False)
    # -000002 says epoch 1 inside: a leftover of something else.
    assert [(point.path.name, point.epoch, point.step) for point in points] == [
        ("x-000001-state", 1, 10),
        ("x-000003-state", 3, 30),
    ]


def test_states_of_the_built_in_trainer_may_lie_within_an_epoch(tmp_path: Path) -> None:
    folder = tmp_path / "x-step00000015-state"
    folder.mkdir()
    (folder / "state.safetensors").touch()
    facts = {"current_epoch": 2, "current_step": 15}
    (folder / "train_state.json").write_text(json.dumps(facts), encoding="utf-8")
    (point,) = resume_points(tmp_path, "x", backend="builtin", length=LENGTH, weights=False)
    assert point == ResumePoint(path=folder, epoch=2, step=15)
    assert resume_points(tmp_path, "x", backend="kohya", length=LENGTH, weights=False) == []
    argv = ("python", "--max_train_steps", "40", "--resume", "old")
    same = resumed_command(argv, point, backend="builtin", length=LENGTH, planned=LENGTH)
    assert same.argv == ("python", "--max_train_steps", "40", "--resume", str(folder))
    assert same.first_step == 0  # it counts the whole run's steps itself
    longer = resumed_command(argv, point, backend="builtin", length=LENGTH.longer(2), planned=LENGTH)
    assert longer.argv == ("python", "--resume", str(folder), "--max_train_epochs", "6")


def test_the_built_in_trainer_goes_on_from_states_only(tmp_path: Path) -> None:
    point = ResumePoint(path=tmp_path / "x.safetensors", epoch=4, step=40, kind="weights")
    with pytest.raises(FluxgymError, match="states only"):
        resumed_command(("python",), point, backend="builtin", length=LENGTH.longer(1), planned=LENGTH)


def test_sd_scripts_cannot_end_a_resumed_training_within_an_epoch(tmp_path: Path) -> None:
    partial = Length(epochs=4, steps=35, steps_per_epoch=10)
    point = ResumePoint(path=tmp_path / "x-000002-state", epoch=2, step=20)
    with pytest.raises(FluxgymError, match="step 35") as caught:
        resumed_command(("accelerate",), point, backend="kohya", length=partial, planned=partial)
    assert "--epochs 0" in str(caught.value.hint)
    made = resumed_command(("accelerate",), point, backend="kohya", length=partial.longer(0), planned=partial)
    assert made.argv[-6:] == ("--max_train_epochs", "4", "--initial_epoch", "3", "--resume", str(point.path))


@pytest.mark.parametrize(
    ("option", "noted"),
    [
        ("--sample_every_n_steps 5", True),
        ("--sample_every_n_steps=7", False),  # of 20 steps
        ("--sample_every_n_steps 40", False),  # counted from this attempt's start
        ("--sample_every_n_epochs 2", True),
        ("--sample_every_n_epochs 3", False),
        ("--seed 5", False),
    ],
)
def test_samples_on_the_last_step_of_a_resume_are_told(option: str, noted: bool) -> None:
    point = ResumePoint(path=Path("/x-state"), step=20, epoch=2)
    argv = ("train", *option.split())
    command = resumed_command(argv, point, backend="kohya", length=LENGTH, planned=LENGTH)
    assert bool(command.notes) is noted
