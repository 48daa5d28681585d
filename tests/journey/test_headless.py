"""The whole way by the real command line, the real supervisor and the real trainer on the tiny base."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fluxgym_tui.base.files import read_json
from fluxgym_tui.base.safetensors import read_header
from fluxgym_tui.config.resources import bundled
from fluxgym_tui.machine.processes import Identity
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.listing import list_runs
from fluxgym_tui.runs.lock import holder_of
from fluxgym_tui.runs.verify import verify_lora
from tests.journey.commands import PATIENCE_S, cli

Json = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with photos/ and, once something trains, ws/; whatever still runs there is stopped at the end."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("cat", "dahlia", "officer"):
        for extension in (".jpg", ".txt"):
            shutil.copy(bundled("examples/photos") / f"{name}{extension}", photos)
    yield tmp_path
    for run in list_runs(tmp_path / "ws/outputs"):
        if not run.state.ended:
            _cli("stop", run.name, folder=tmp_path)
            _wait(partial(_has_ended, tmp_path, run.name))


def _cli(*arguments: object, folder: Path, check: bool = False) -> "subprocess.CompletedProcess[str]":
    return cli(*arguments, workspace=folder / "ws", check=check)


def _train(folder: Path, *options: object) -> "subprocess.CompletedProcess[str]":
    return _cli(
        *("train", folder / "photos", "--name", "Journey", "--trigger", "tinyfoto", "--base-model", "tiny-flux"),
        *("--backend", "builtin", "--vram", "cpu", "--resolution", "192,128", "--batch-size", "2", "--repeats", "2"),
        *("--set", "dataset.min_bucket_reso=64", "--set", "flags.t5xxl_max_token_length=64"),
        *options,
        folder=folder,
    )


def _state(folder: Path, name: str = "journey") -> Json:
    runs = json.loads(_cli("runs", "--json", folder=folder, check=True).stdout)["runs"]
    return next(run for run in runs if run["name"] == name)


def _has_ended(folder: Path, name: str) -> bool:
    return _state(folder, name)["state"] in ("stopped", "finished", "failed")


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.1)


def _digests(folder: Path) -> dict[str, tuple[str, int]]:
    """Every file's content and modification time."""
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(folder.iterdir())
    }


def _step(folder: Path, name: str = "journey") -> int:
    return int(_state(folder, name)["step"])


def test_from_photos_to_a_lora(folder: Path) -> None:
    before = _digests(folder / "photos")
    done = _train(
        folder,
        *("--epochs", 2, "--set", "training.save_every_n_epochs=1", "--set", "samples.at_first=true"),
        *("--sample-prompt", "tinyfoto, a red flower --w 64 --h 128 --d 7 --s 2", "--set", "samples.every_n_epochs=2"),
        "--json",
    )
    assert done.returncode == 0, done.stderr
    *events, last = [json.loads(line) for line in done.stdout.splitlines()]
    run = RunDirectory(folder / "ws/outputs/journey")
    assert last == {
        "run": str(run.output_dir),
        "outcome": "finished",
        "lora": str(run.output_dir / "journey.safetensors"),
    }

    kinds = [event["kind"] for event in events]
    phases = [event["name"] for event in events if event["kind"] == "phase"]
    assert [phase for index, phase in enumerate(phases) if phase not in phases[:index]] == [
        *("prepare", "cache_latents", "cache_text", "load", "sample", "train", "save")
    ]
    steps = [event for event in events if event["kind"] == "step"]
    assert [step["step"] for step in steps] == list(range(1, 7))
    assert all(step["total"] == 6 and step["loss"] > 0 for step in steps)
    # Saved before sampling, so that a crash in sampling cannot cost the LoRA.
    assert kinds.index("checkpoint") < len(kinds) - 1 - kinds[::-1].index("sample")

    assert verify_lora(run.output_dir / "journey.safetensors").good
    assert (run.output_dir / "journey-000001.safetensors").is_file()
    header = read_header(run.output_dir / "journey.safetensors")
    assert (header.metadata["ss_network_dim"], header.metadata["ss_steps"]) == ("4", "6")
    samples = sorted(path.name for path in run.samples.glob("*.png"))
    assert [name[:19] + name[-6:] for name in samples] == ["journey_e000000_00__7.png", "journey_e000002_00__7.png"]
    with Image.open(run.samples / samples[0]) as picture:
        assert picture.size == (64, 128)
    assert "Training finished after 6 of 6 steps" in (run.output_dir / "README.md").read_text(encoding="utf-8")

    assert _digests(folder / "photos") == before
    # The officer's portrait is stored sideways with an EXIF orientation; what is trained is upright.
    with Image.open(folder / "ws/datasets/journey/officer.jpg") as upright:
        assert upright.size == (512, 600)
    assert _state(folder)["state"] == "finished"


def test_a_spec_saved_by_a_run_reproduces_it_to_the_bit(folder: Path) -> None:
    first_run = _train(folder, "--epochs", 1)
    assert first_run.returncode == 0, first_run.stdout + first_run.stderr
    outputs = folder / "ws/outputs"
    again = _cli("train", outputs / "journey/run/spec.yaml", folder=folder)
    assert again.returncode == 0, again.stderr
    first, second = outputs / "journey/journey.safetensors", outputs / "journey-2/journey-2.safetensors"
    start = min(info.start for info in read_header(first).tensors.values())
    other = min(info.start for info in read_header(second).tensors.values())
    assert first.read_bytes()[start:] == second.read_bytes()[other:]


def test_what_was_edited_or_removed_since_is_trained_so(folder: Path) -> None:
    first_run = _train(folder, "--epochs", 1)
    assert first_run.returncode == 0, first_run.stdout + first_run.stderr
    staged = folder / "ws/datasets/journey"
    caches = {path.name: path.stat().st_mtime_ns for path in staged.glob("*.npz")}
    assert len(caches) == 6
    (folder / "photos/cat.txt").write_text("tinyfoto, another caption", encoding="utf-8")
    (folder / "photos/dahlia.jpg").unlink()
    (folder / "photos/dahlia.txt").unlink()
    shutil.rmtree(folder / "ws/outputs/journey")
    first_run = _train(folder, "--epochs", 1)
    assert first_run.returncode == 0, first_run.stdout + first_run.stderr
    now = {path.name: path.stat().st_mtime_ns for path in staged.glob("*.npz")}
    assert {name for name in now if now[name] != caches[name]} == {"cat_flux_te.npz"}
    assert not any(name.startswith("dahlia") for name in now)
    assert not list(staged.glob("dahlia*"))


def test_a_killed_supervisor_is_replaced_and_the_run_ends_well(folder: Path) -> None:
    assert _train(folder, "--epochs", 20, "--detach").returncode == 0
    run = RunDirectory(folder / "ws/outputs/journey")
    _wait(lambda: _step(folder) >= 2)
    holder = holder_of(run.lock)
    assert holder is not None
    os.kill(holder.pid, signal.SIGKILL)
    followed = _cli("follow", "journey", "--json", folder=folder)
    assert followed.returncode == 0, followed.stderr
    steps = [event["step"] for event in map(json.loads, followed.stdout.splitlines()) if event.get("kind") == "step"]
    assert steps == list(range(1, 61))
    assert _state(folder)["state"] == "finished"


def test_a_killed_trainer_is_told_as_failed_with_its_signal(folder: Path) -> None:
    assert _train(folder, "--epochs", 200, "--detach").returncode == 0
    _wait(lambda: _step(folder) >= 1)
    trainer = Identity.from_json(read_json(folder / "ws/outputs/journey/run/process-001.json")["child"])
    assert trainer is not None
    os.kill(trainer.pid, signal.SIGKILL)
    _wait(lambda: _state(folder)["state"] == "failed")
    assert "SIGKILL" in _state(folder)["reason"]


def test_a_stop_is_polite_and_told(folder: Path) -> None:
    assert _train(folder, "--epochs", 200, "--detach").returncode == 0
    _wait(lambda: _step(folder) >= 1)
    assert _cli("stop", "journey", folder=folder).returncode == 0
    _wait(lambda: _state(folder)["state"] == "stopped")
    followed = _cli("follow", "journey", folder=folder)
    assert followed.returncode == 7
    assert "stopped" in followed.stdout


@pytest.mark.parametrize(("content", "says"), [(None, "no picture"), (b"\x89PNG\r\n\x1a\n", "cat.jpg")])
def test_a_folder_with_nothing_to_train_ends_in_a_clear_word(folder: Path, content: bytes | None, says: str) -> None:
    for path in (folder / "photos").iterdir():
        path.unlink()
    if content is not None:
        (folder / "photos/cat.jpg").write_bytes(content)
    done = _train(folder)
    assert done.returncode == 3
    assert says in done.stderr
    assert not (folder / "ws/outputs/journey").exists()


def test_one_picture_is_warned_of_and_trains(folder: Path) -> None:
    for name in ("cat", "officer"):
        (folder / f"photos/{name}.jpg").unlink()
        (folder / f"photos/{name}.txt").unlink()
    done = _train(folder, "--epochs", 1)
    assert done.returncode == 0, done.stderr
    assert "one picture" in done.stderr
