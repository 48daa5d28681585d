"""kill -9 of the real trainer while it writes: no half file is believed, and the next training ends well.

The whole set carries the marker `faults`; one of it, drawn with a fixed seed, always runs.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from fluxgym_tui.base.files import read_json
from fluxgym_tui.config.resources import bundled
from fluxgym_tui.dataset.caches import fingerprint_path
from fluxgym_tui.machine.processes import Identity
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.state import RunState, read_state
from fluxgym_tui.runs.verify import verify_lora
from tests.journey.commands import PATIENCE_S, cli

DYING = Path(__file__).with_name("dying")
# At a file that it writes, and at any time of a phase, as long as that takes here in seconds.
FILES = (
    *("_flux.npz:1", "_flux.npz:3", "_flux.npz.fingerprint.json:2"),
    *("_flux_te.npz:2", "_flux_te.npz.fingerprint.json:1"),
    *(".safetensors:1", ".safetensors:2"),
)
PHASES_S = {"cache_latents": 0.3, "cache_text": 1.0, "save": 0.03}
TIMES = [(phase, seed) for phase in PHASES_S for seed in range(2)]
ALWAYS = random.Random(5).choice(FILES)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace beside photos/ with three pictures."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("cat", "dahlia", "officer"):
        for extension in (".jpg", ".txt"):
            shutil.copy(bundled("examples/photos") / f"{name}{extension}", photos)
    return tmp_path / "ws"


def _train(workspace: Path, *options: object) -> "subprocess.CompletedProcess[str]":
    return cli(
        *("train", workspace.parent / "photos", "--name", "Killed", "--trigger", "tinyfoto"),
        *("--base-model", "tiny-flux", "--backend", "builtin", "--vram", "cpu", "--resolution", "192,128"),
        *("--batch-size", "2", "--repeats", "1", "--epochs", "2", "--set", "training.save_every_n_epochs=1"),
        *("--set", "dataset.min_bucket_reso=64", "--set", "flags.t5xxl_max_token_length=64", *options),
        workspace=workspace,
    )


def _wait(condition: Callable[[], object], *, every_s: float = 0.05) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(every_s)


@pytest.mark.parametrize(
    "file", [pytest.param(file, marks=() if file == ALWAYS else pytest.mark.faults) for file in FILES]
)
def test_killed_at_a_file_it_writes(workspace: Path, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as dying:
        dying.setenv("PYTHONPATH", str(DYING))
        dying.setenv("DIES_AT", file)
        killed = _train(workspace)
    assert killed.returncode == 1
    assert "SIGKILL" in killed.stdout + killed.stderr
    assert list(workspace.rglob("*.tmp"))  # the half of a file, under no name that anybody reads
    _nothing_torn_is_believed(workspace)
    _the_next_training_is_good(workspace)


@pytest.mark.faults
@pytest.mark.parametrize(("phase", "seed"), TIMES)
def test_killed_at_any_time_of_a_phase(workspace: Path, phase: str, seed: int) -> None:
    assert _train(workspace, "--detach").returncode == 0
    run = RunDirectory(workspace / "outputs/killed")
    told = run.child("train", 1).events
    _wait(lambda: told.exists() and f'"name":"{phase}"' in told.read_text(encoding="utf-8"), every_s=0.001)
    time.sleep(random.Random(seed).uniform(0.0, PHASES_S[phase]))  # no condition to wait for: any moment is meant
    trainer = Identity.from_json(read_json(run.child("train", 1).process)["child"])
    assert trainer is not None
    with suppress(ProcessLookupError):  # it was done already
        os.kill(trainer.pid, signal.SIGKILL)
    _wait(lambda: read_state(run).state.ended and not read_state(run).supervised)
    assert read_state(run).state is (RunState.FINISHED if read_state(run).lora else RunState.FAILED)
    _nothing_torn_is_believed(workspace)
    _the_next_training_is_good(workspace)


def _caches(workspace: Path) -> list[Path]:
    return sorted((workspace / "datasets/killed").glob("*.npz"))


def _nothing_torn_is_believed(workspace: Path) -> None:
    """Whatever has its name is whole; where a cache has no fingerprint, nobody takes it."""
    for cache in _caches(workspace):
        if fingerprint_path(cache).exists():
            with np.load(cache) as arrays:
                assert all(np.isfinite(arrays[name]).all() for name in arrays.files)
    for lora in (workspace / "outputs/killed").glob("*.safetensors"):
        assert verify_lora(lora).good


def _the_next_training_is_good(workspace: Path) -> None:
    """A training of the same pictures in the same staging folder, with what the killed one left there."""
    shutil.rmtree(workspace / "outputs/killed")
    done = _train(workspace, "--json")
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["outcome"] == "finished"
    assert verify_lora(Path(last["lora"])).good
    assert len(_caches(workspace)) == 6
    assert all(fingerprint_path(cache).exists() for cache in _caches(workspace))
    _nothing_torn_is_believed(workspace)
    assert not list(workspace.rglob("*.tmp"))
