"""What goes wrong while training: one clear line each, nothing half-written, and what was learned is not lost."""

import io
import math
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.events import StepEvent
from fluxgym_tui.trainer.checkpoint import open_lora
from fluxgym_tui.trainer.learner import MOST_LEFT_OUT, Learner
from fluxgym_tui.trainer.leftovers import remove_leftovers, remove_torn_caches
from fluxgym_tui.trainer.loop import train
from fluxgym_tui.trainer.report import Reporter
from fluxgym_tui.trainer.state import read_state
from fluxgym_tui.trainer.stopping import StopRequest
from tests.trainer.trainer_options import (
    QUICK,
    arguments_for,
    drawn_dataset,
    kinds,
    options_for,
    read_events,
    train_quickly,
)

EPOCHS = ("--max_train_epochs", "3", "--network_dim", "4", "--max_data_loader_n_workers", "0")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Three pictures with their caches."""
    toml = drawn_dataset(tmp_path)
    train_quickly(toml, tmp_path / "first", "--max_train_steps", "1")
    return toml


class DoneAfter(Reporter):
    """A reporter at whose step something happens."""

    def __init__(self, step: int, happens: Callable[[], object]) -> None:
        super().__init__(out=io.StringIO())
        self._step, self._happens = step, happens

    def step(self, event: StepEvent, *, first: int) -> None:
        super().step(event, first=first)
        if event.step == self._step:
            self._happens()


def train_until_it_fails(toml: Path, folder: Path, report: Reporter, *flags: str) -> FluxgymError:
    options = options_for(toml, *QUICK, *EPOCHS, *flags, output_dir=folder)
    with pytest.raises(FluxgymError) as failed:
        train(options, report=report, stop=StopRequest())
    return failed.value


def by_front_door(
    toml: Path, folder: Path, *flags: str, largest_file: int | None = None
) -> tuple[int, list[dict[str, Any]], str]:
    """The real trainer in a process of its own: exit code, events, output; the disk may take no larger file."""

    def limited() -> None:
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    events = folder.parent / "events.jsonl"
    done = subprocess.run(
        [sys.executable, "-m", "fluxgym_tui.trainer", *arguments_for(toml, *QUICK, *EPOCHS, *flags, output_dir=folder)],
        env=os.environ | {"FLUXGYM_EVENTS": str(events), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limited,
    )
    return done.returncode, read_events(events), done.stdout + done.stderr


def left(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_disk_that_takes_no_more_ends_in_one_line(dataset: Path, tmp_path: Path) -> None:
    code, events, said = by_front_door(dataset, tmp_path / "out", "--save_every_n_steps", "2", largest_file=60_000)
    (problem,) = kinds(events, "problem")
    assert code == ExitCode.FAILED
    assert "last-step00000002.safetensors: the LoRA cannot be written: File too large" in problem["title"]
    assert "Traceback" not in said
    assert said.count("error:") == 1
    assert left(tmp_path / "out") == []


def test_a_picture_that_vanishes_before_it_is_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toml = drawn_dataset(tmp_path)
    gone = tmp_path / "photos" / "1.png"
    monkeypatch.setattr("fluxgym_tui.trainer.loop.remove_leftovers", lambda *_: gone.unlink())
    failed = train_until_it_fails(toml, tmp_path / "out", Reporter(out=io.StringIO()))
    assert failed.message == f"{gone}: the picture cannot be read: No such file or directory"


@pytest.mark.parametrize(
    ("breaks", "words"),
    [(lambda path: path.unlink(), "the cache is gone"), (lambda path: path.write_bytes(b"PK"), "cannot be read")],
    ids=["gone", "torn"],
)
def test_a_cache_that_breaks_loses_no_step(
    dataset: Path, tmp_path: Path, breaks: Callable[[Path], object], words: str
) -> None:
    cache = tmp_path / "photos" / "2_flux_te.npz"
    failed = train_until_it_fails(dataset, tmp_path / "out", DoneAfter(4, lambda: breaks(cache)))
    assert failed.code is ExitCode.FAILED
    assert str(cache) in failed.message
    assert words in failed.message
    (state,) = (tmp_path / "out").iterdir()
    assert read_state(state).step >= 4
    train_quickly(dataset, tmp_path / "out", *EPOCHS, "--resume", str(state))
    train_quickly(dataset, tmp_path / "whole", *EPOCHS)
    here, there = (load_file(tmp_path / name / "last.safetensors") for name in ("out", "whole"))
    assert all(torch.equal(here[key], there[key]) for key in there)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    toml = drawn_dataset(tmp_path)
    (tmp_path / "photos" / "0_flux_te.npz").mkdir()
    code, events, said = by_front_door(toml, tmp_path / "out")
    (problem,) = kinds(events, "problem")
    assert code == ExitCode.FAILED
    assert "0_flux_te.npz: the cache cannot be written: Is a directory" in problem["title"]
    assert "Traceback" not in said
    assert [name for name in left(tmp_path / "photos") if name.endswith(".tmp")] == []


def test_a_folder_that_stops_taking_files(dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    failed = train_until_it_fails(
        dataset, folder, DoneAfter(2, (folder / "last-step00000003.safetensors").mkdir),
        "--save_every_n_steps", "3",
    )  # fmt: skip
    assert "last-step00000003.safetensors: the LoRA cannot be written" in failed.message
    assert left(folder) == ["last-step00000003.safetensors"]


def test_samples_that_cannot_be_written_come_after_the_lora(dataset: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a cat --w 64 --h 64 --s 1\n", encoding="utf-8")
    folder = tmp_path / "out"

    def taken() -> None:
        for path in sorted((folder / "sample").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        (folder / "sample").rmdir()
        (folder / "sample").write_text("a file", encoding="utf-8")

    failed = train_until_it_fails(dataset, folder, DoneAfter(9, taken), "--sample_prompts", str(prompts),
                                  "--sample_every_n_epochs", "3")  # fmt: skip
    assert "the sample cannot be written" in failed.message
    assert open_lora(folder / "last.safetensors").ranks


def spoilt(monkeypatch: pytest.MonkeyPatch, steps: Sequence[int]) -> None:
    """Make the loss NaN in these calls (from 1), one a step."""
    count = 0

    def loss(self: Learner, read: Any) -> torch.Tensor:
        nonlocal count
        count += 1
        found: torch.Tensor = real(self, read)
        return found * math.nan if count in steps else found

    real = Learner._loss
    monkeypatch.setattr(Learner, "_loss", loss)


def test_a_loss_that_is_no_number_stops(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoilt(monkeypatch, [5])
    report = Reporter(out=io.StringIO())
    failed = train_until_it_fails(dataset, tmp_path / "out", report, "--save_every_n_steps", "2")
    assert failed.message == "The loss is nan at step 5: the training cannot go on."
    assert "fluxgym_on_nan skip" in str(failed.hint)
    assert left(tmp_path / "out") == ["last-step00000002.safetensors", "last-step00000004.safetensors"]
    assert all(open_lora(path).ranks for path in (tmp_path / "out").iterdir())


def test_steps_may_be_left_out_instead(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoilt(monkeypatch, [1, 5])
    skip = (*EPOCHS, "--fluxgym_on_nan", "skip", "--lr_scheduler", "cosine", "--save_every_n_steps", "4")
    events = train_quickly(dataset, tmp_path / "out", *skip)
    warned = [event["title"] for event in kinds(events, "warning")]
    assert warned == ["The loss is nan at step 1, which is left out.", "The loss is nan at step 5, which is left out."]
    steps = kinds(events, "step")
    assert [event["step"] for event in steps] == list(range(1, 10))
    assert [event["step"] for event in steps if event["loss"] == "nan"] == [1, 5]
    assert [event["step"] for event in steps if event["avg_loss"] == "nan"] == [1]
    rates = [event["lr"] for event in steps]
    assert rates == sorted(rates, reverse=True)
    assert len(set(rates)) == 9
    assert open_lora(tmp_path / "out" / "last.safetensors").ranks


def test_not_for_ever(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoilt(monkeypatch, range(2, 100))
    options = options_for(dataset, *QUICK, "--max_train_steps", "30", "--fluxgym_on_nan", "skip",
                          output_dir=tmp_path / "out")  # fmt: skip
    with pytest.raises(FluxgymError, match=f"at step {2 + MOST_LEFT_OUT}"):
        train(options, report=Reporter(out=io.StringIO()), stop=StopRequest())


def test_what_a_killed_trainer_left_goes_at_the_next_start(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "sample").mkdir(parents=True)
    long = "a-name-that-is-longer-than-forty-letters-are"
    torn = [
        out / ".last.safetensors.ab_12cd3.tmp",
        out / ".last-000002.safetensors.ab_12cd3.tmp",
        out / ".last-step00000002.safetensors.ab_12cd3.tmp",
        out / "sample" / ".last_e000001_00_20260101000000.png.ab_12cd3.tmp",
        out / "sample" / ".000007_01_20260101000000_42.png.ab_12cd3.tmp",
        tmp_path / "photos" / ".0_flux_te.npz.ab_12cd3.tmp",
        tmp_path / "photos" / ".0_0064x0064_flux.npz.fingerprint.json.ab_12cd3.tmp",
    ]
    others = [
        out / ".other.safetensors.ab_12cd3.tmp",
        out / ".last-of-all.safetensors.ab_12cd3.tmp",
        out / f".{long[:40]}.ab_12cd3.tmp",
        tmp_path / "photos" / ".mine.tmp",
        tmp_path / "photos" / ".x_flux_te.npz.ab_12cd3.tmp",
    ]
    for path in (*torn, *others):
        path.write_bytes(b"half")
    (out / ".last-000001-state.unfinished").mkdir()
    train_quickly(dataset, out, "--max_train_steps", "1")
    assert [path for path in torn if path.exists()] == []
    assert [path for path in others if not path.exists()] == []
    assert not (out / ".last-000001-state.unfinished").exists()
    remove_leftovers(out, long)
    assert not others[2].exists()
    remove_torn_caches([tmp_path / "photos" / "x_flux_te.npz"])
    assert not others[4].exists()


def test_a_state_that_was_moved_aside_comes_back(dataset: Path, tmp_path: Path) -> None:
    train_quickly(dataset, tmp_path / "out", "--max_train_steps", "1", "--save_state")
    whole = tmp_path / "out" / "last-state"
    whole.rename(tmp_path / "out" / ".last-state.replaced")
    remove_leftovers(tmp_path / "out", "last")
    assert read_state(whole).step == 1
    (tmp_path / "out" / ".last-state.replaced").mkdir()
    remove_leftovers(tmp_path / "out", "last")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["last-state", "last.safetensors"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_both_signals_save_a_state_first(dataset: Path, tmp_path: Path, number: signal.Signals) -> None:
    events = tmp_path / "events.jsonl"
    arguments = arguments_for(dataset, *QUICK, "--max_train_steps", "100000", output_dir=tmp_path / "out")
    with (tmp_path / "log").open("wb") as out:
        trainer = subprocess.Popen(
            [sys.executable, "-m", "fluxgym_tui.trainer", *arguments],
            stdout=out,
            stderr=out,
            env=os.environ | {"FLUXGYM_EVENTS": str(events), "OMP_NUM_THREADS": "1"},
        )
        try:
            while not (events.exists() and b'"kind":"step"' in events.read_bytes()):
                with pytest.raises(subprocess.TimeoutExpired):
                    trainer.wait(timeout=0.05)
            trainer.send_signal(number)
            assert trainer.wait(timeout=60) == -number
        finally:
            trainer.kill()
            trainer.wait()
    done = kinds(read_events(events), "step")[-1]["step"]
    (state,) = (tmp_path / "out").iterdir()
    assert read_state(state).step == done
    assert kinds(read_events(events), "problem") == []
