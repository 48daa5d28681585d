"""`train` while it starts: Ctrl+C at any moment, and what a start that failed leaves behind."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.config.resources import bundled
from fluxgym_tui.runs import launch
from fluxgym_tui.runs.control import request_stop
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.listing import list_runs
from fluxgym_tui.runs.start import start
from fluxgym_tui.runs.state import read_state
from tests.cli.calls import Run, RunJson
from tests.runs.fake_runs import until

pytestmark = pytest.mark.usefixtures("quick_patience")


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two pictures to train on; whatever training of them still goes on at the end is stopped."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("cat", "dahlia"):
        shutil.copy(bundled("examples/photos") / f"{name}.jpg", folder)
    yield folder
    for path in (tmp_path / "outputs").glob("*"):
        run = RunDirectory(path)
        if run.exists() and not read_state(run).state.ended:
            request_stop(run, at_checkpoint=False)
            until(lambda run=run: read_state(run).state.ended, what="the run to stop")  # type: ignore[misc]


def _words(photos: Path) -> list[str]:
    tiny = ["--base-model", "tiny-flux", "--backend", "builtin", "--vram", "cpu", "--resolution", "128"]
    return ["train", str(photos), "--trigger", "tinyfoto", *tiny, "--repeats", "1", "--steps", "5000"]


@pytest.mark.parametrize("moment", ["run/manifest.json", "dataset.toml", "run/command.json", "run/lock"])
def test_ctrl_c_while_a_run_starts_leaves_it_told_of_or_not_there(photos: Path, tmp_path: Path, moment: str) -> None:
    command = [sys.executable, "-m", "fluxgym_tui", *_words(photos), "--workspace", str(tmp_path)]
    run = RunDirectory(tmp_path / "outputs/photos")
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as child:
        try:
            until((run.output_dir / moment).exists, what=moment)
            child.send_signal(signal.SIGINT)
            _, said = child.communicate(timeout=60)
        finally:
            child.kill()
    assert child.returncode == ExitCode.INTERRUPTED
    assert not run.output_dir.exists() or read_state(run).supervised
    if run.output_dir.exists():
        assert f"fluxgym-tui follow photos --workspace {tmp_path}   watches it again" in said
        assert f"fluxgym-tui stop photos --workspace {tmp_path}   stops it" in said
    else:
        assert said.splitlines()[-1] == "interrupted"
        assert moment != "run/lock"


def test_ctrl_c_before_the_start_takes_the_new_run_away(
    photos: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def write(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(launch, "write_run", write)
    code, out, err = run(*_words(photos))
    assert (code, out) == (ExitCode.INTERRUPTED, "")
    assert err.splitlines()[-1] == "interrupted"
    assert list((tmp_path / "outputs").iterdir()) == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_during_the_start_waits_for_the_supervisor(
    photos: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(found: RunDirectory) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        return start(found)

    monkeypatch.setattr(launch, "start", interrupted)
    code, _, err = run(*_words(photos), "--workspace", tmp_path)
    assert code == ExitCode.INTERRUPTED
    assert f"fluxgym-tui stop photos --workspace {tmp_path}   stops it" in err
    assert read_state(RunDirectory(tmp_path / "outputs/photos")).supervised


@pytest.mark.parametrize("broken", ["write_run", "start"])
def test_a_start_that_fails_leaves_no_run_and_no_name_taken(
    photos: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, broken: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise FluxgymError("it cannot be", hint="Try again.", code=ExitCode.FAILED)

    monkeypatch.setattr(launch, broken, fail)
    code, _, err = run(*_words(photos))
    assert code == ExitCode.FAILED
    assert err.splitlines()[-2:] == ["error: it cannot be", "  Try again."]
    assert list_runs(tmp_path / "outputs") == []
    assert list((tmp_path / "outputs").iterdir()) == []


def test_a_run_that_came_up_after_all_is_not_taken_away(
    photos: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def late(found: RunDirectory) -> int:
        start(found)
        raise FluxgymError("it did not come up in time")

    monkeypatch.setattr(launch, "start", late)
    assert run(*_words(photos))[0] == ExitCode.USAGE
    assert read_state(RunDirectory(tmp_path / "outputs/photos")).supervised


def test_pictures_that_hold_the_workspace_are_refused_before_anything_is_written(
    photos: Path, run: Run, run_json: RunJson, tmp_path: Path
) -> None:
    code, out, err = run(*_words(photos), "--workspace", photos)
    assert (code, out) == (ExitCode.FINDINGS, "")
    assert f"{photos} holds the workspace's own folder {photos / 'datasets'}" in err
    assert "Name the folder that holds the pictures alone" in err
    assert sorted(path.name for path in photos.iterdir()) == ["cat.jpg", "dahlia.jpg"]
    code, found = run_json("check", photos, "--trigger", "x", "--base-model", "tiny-flux", "--workspace", photos)
    assert code == ExitCode.FINDINGS
    assert [finding["code"] for finding in found["findings"] if finding["severity"] == "error"] == ["holds_workspace"]
