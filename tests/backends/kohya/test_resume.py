"""A run of sd-scripts that is resumed, twice: exactly the epochs asked for, numbered on, as one curve."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.events import CheckpointEvent, EndEvent, EpochEvent, SampleEvent, StepEvent
from fluxgym_tui.base.files import read_json
from fluxgym_tui.cli.main import main
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.runs import resume as runs_resume
from fluxgym_tui.runs.commands import read_plan
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.follow import follow
from fluxgym_tui.runs.launch import launch
from fluxgym_tui.runs.resume import resume
from fluxgym_tui.runs.start import start
from fluxgym_tui.runs.state import read_state
from tests.backends.kohya.event_files import write_event_file
from tests.backends.kohya.test_run import gym, play, spec_in
from tests.runs.fake_runs import until

__all__ = ["gym"]  # a fixture


def trained(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, *, state: int | None = 2) -> RunDirectory:
    """A run of two epochs, twelve steps each, that has finished, with a state after epoch `state`."""
    if state is not None:
        monkeypatch.setenv("FAKE_STATE", str(state))
    play(monkeypatch, "ok_pipe", status=0, lora=True)
    run = launch(spec_in(workspace), workspace=workspace)
    list(follow(run))
    return run


def options(run: RunDirectory) -> dict[str, str]:
    """The trainer's options in the newest attempt."""
    argv = read_plan(run).children[-1].argv
    given = {word: argv[at + 1] for at, word in enumerate(argv[:-1]) if word.startswith("--")}
    assert len([word for word in argv if word == "--max_train_epochs"]) == 1
    return given


def test_resumed_twice_it_trains_just_the_epochs_asked_for(gym: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(gym, monkeypatch)
    for more, first, last in ((2, 3, 4), (2, 5, 6)):
        monkeypatch.setenv("FAKE_STATE", str(last))
        play(monkeypatch, "state_resume_pipe", status=0, lora=True)  # its bar ends at 24/48, as bars of a resume do
        resume(run, more_epochs=more)
        given = options(run)
        assert given["--initial_epoch"] == str(first)
        assert given["--max_train_epochs"] == str(last)
        assert given["--resume"] == str(run.output_dir / "hrld-person-state")
        list(follow(run))
    events = list(follow(run))
    told = [event for event in events if isinstance(event, StepEvent)]
    assert [event.step for event in told] == list(range(1, 73))
    assert {event.total for event in told[:24]} == {24}
    assert {event.total for event in told[24:48]} == {48}
    assert {event.total for event in told[48:]} == {72}
    state = read_state(run)
    assert (state.state, state.step, state.total, state.attempt) == ("finished", 72, 72, 3)
    assert [event.step for event in events if isinstance(event, CheckpointEvent)] == [12, 24, 36, 48, 60, 72]
    assert [event.epoch for event in events if isinstance(event, EpochEvent)][:4] == [1, 2, 3, 4]
    assert [event.step for event in events if isinstance(event, SampleEvent)][:2] == [12, 12]
    assert len([event for event in events if isinstance(event, EndEvent)]) == 3
    # The ends before stay, under the names that sd-scripts would have given them.
    assert {path.name for path in run.output_dir.glob("*.safetensors")} == {
        "hrld-person-000002.safetensors",
        "hrld-person-000004.safetensors",
        "hrld-person.safetensors",
    }
    facts = read_json(run.manifest)
    assert (facts["epochs"], facts["total_steps"]) == (6, 72)
    assert [(one["step"], one["epoch"], one["total_steps"]) for one in facts["resumed"]] == [(24, 2, 48), (48, 4, 72)]
    assert "--initial_epoch 5" in (run.output_dir / "train.sh").read_text(encoding="utf-8")


def test_the_losses_of_all_attempts_are_one_curve(gym: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = [1 / step for step in range(1, 25)]
    file = write_event_file(gym.root / "tb", losses, begun=1, prefix="")
    monkeypatch.setenv("FAKE_TRACKER", str(file))
    run = trained(gym, monkeypatch)
    begun = int(next((run.output_dir / "logs").glob("*/*/events*")).name.split(".")[3])
    until(lambda: time.time() >= begun + 1, what="the next second: files of attempts are told apart by it")
    file = write_event_file(gym.root / "tb2", [loss + 1 for loss in losses], begun=1, prefix="")
    monkeypatch.setenv("FAKE_TRACKER", str(file))
    monkeypatch.setenv("FAKE_STATE", "4")
    play(monkeypatch, "state_resume_pipe", status=0, lora=True)
    resume(run, more_epochs=2)
    told = {event.step: event.loss for event in follow(run) if isinstance(event, StepEvent) and event.loss is not None}
    expected = [*losses, *(loss + 1 for loss in losses)]
    assert [round(told[step], 5) for step in range(1, 49)] == [round(loss, 5) for loss in expected]


def test_a_stopped_run_goes_on_to_its_planned_end(gym: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, "int_sigint_pipe", status=1, lora=False)
    run = launch(spec_in(gym, max_train_epochs=4), workspace=gym)
    list(follow(run))
    whole_state(run.output_dir / "hrld-person-000002-state", epoch=2)
    torn = run.output_dir / "hrld-person-000003-state"
    whole_state(torn, epoch=3)
    (torn / "random_states_0.pkl").unlink()
    play(monkeypatch, "state_resume_pipe", status=0, lora=True)
    resume(run)
    assert options(run)["--resume"].endswith("-000002-state")
    assert (options(run)["--initial_epoch"], options(run)["--max_train_epochs"]) == ("3", "4")
    events = list(follow(run))
    assert read_state(run).state == "finished"
    assert [event.step for event in events if isinstance(event, StepEvent)][-24:] == list(range(25, 49))


def test_from_weights_where_no_state_was_saved(gym: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(gym, monkeypatch, state=None)
    with pytest.raises(FluxgymError, match="left no whole state") as caught:
        resume(run, more_epochs=2)
    assert caught.value.code is ExitCode.NOT_FOUND
    assert "--weights" in str(caught.value.hint)
    play(monkeypatch, "state_resume_pipe", status=0, lora=True)
    resume(run, more_epochs=2, weights=True)
    given = options(run)
    assert given["--network_weights"] == str(run.output_dir / "hrld-person.safetensors")
    assert given["--initial_epoch"] == "3"
    assert "--resume" not in given
    list(follow(run))
    assert read_state(run).step == 48


def test_what_cannot_be_resumed_says_why(gym: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(gym, monkeypatch)
    with pytest.raises(FluxgymError, match="has finished") as caught:
        resume(run)
    assert "--epochs" in str(caught.value.hint)
    with pytest.raises(FluxgymError, match="nothing left to train"):
        resume(run, more_epochs=0)
    assert read_state(run).attempt == 1


def test_checkpoints_by_steps_are_not_overwritten(gym: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_STATE", "2")
    play(monkeypatch, "ok_pipe", status=0, lora=True)
    run = launch(spec_in(gym, save_every_n_steps=5, save_every_n_epochs=None), workspace=gym)
    list(follow(run))
    play(monkeypatch, "state_resume_pipe", status=0, lora=True)
    said: list[str] = []
    resume(run, more_epochs=2, narrate=said.append)
    assert "--save_every_n_steps" not in options(run)
    assert options(run)["--save_every_n_epochs"] == "1"
    assert "by epochs" in said[0]
    assert "fall on the last step" in said[1]  # every 6 steps, of 24 to make
    list(follow(run))


def test_a_resume_that_cannot_be_started_leaves_the_run_as_it_was(
    gym: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(gym, monkeypatch)
    before = {path: path.read_bytes() for path in run.output_dir.rglob("*") if path.is_file()}

    def refused(_: RunDirectory) -> int:
        raise FluxgymError("the supervisor did not come up", hint="Try again.")

    monkeypatch.setattr(runs_resume, "start", refused)
    with pytest.raises(FluxgymError, match="did not come up"):
        resume(run, more_epochs=2)
    assert {path: path.read_bytes() for path in run.output_dir.rglob("*") if path.is_file()} == before
    assert (read_state(run).state, read_state(run).attempt) == ("finished", 1)
    monkeypatch.setattr(runs_resume, "start", start)
    play(monkeypatch, "state_resume_pipe", status=0, lora=True)
    resume(run, more_epochs=2)
    list(follow(run))
    assert (read_state(run).state, read_state(run).step) == ("finished", 48)


def test_ctrl_c_while_it_is_resumed_waits_for_the_supervisor(
    gym: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = trained(gym, monkeypatch)
    play(monkeypatch, "state_resume_pipe", status=0, lora=True)
    gate = tmp_path / "gate"  # the stand-in waits there for what it is to print
    os.mkfifo(gate)
    recorded = Path(os.environ["FAKE_LOG"]).read_bytes()
    monkeypatch.setenv("FAKE_LOG", str(gate))

    def interrupted(found: RunDirectory) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        return start(found)

    monkeypatch.setattr(runs_resume, "start", interrupted)
    assert main(["resume", run.name, "--epochs", "2", "--workspace", str(gym.root)]) == ExitCode.INTERRUPTED
    assert f"fluxgym-tui stop {run.name} --workspace {gym.root}   stops it" in capsys.readouterr().err
    gate.write_bytes(recorded)
    list(follow(run))
    assert (read_state(run).state, read_state(run).attempt) == ("finished", 2)


def test_the_command_resumes_and_watches(
    gym: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(gym, monkeypatch)
    where = ["--workspace", str(gym.root)]
    assert main(["resume", run.name, *where]) == ExitCode.USAGE
    assert "--epochs 4" in capsys.readouterr().err
    play(monkeypatch, "state_resume_pipe", status=0, lora=True)
    assert main(["resume", run.name, "--epochs", "2", "--json", *where]) == ExitCode.OK
    said = capsys.readouterr()
    assert "goes on from hrld-person-state, step 24: 24 steps to 48" in said.err
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert [line["step"] for line in lines if line.get("kind") == "step"] == list(range(1, 49))
    lora = str(run.output_dir / "hrld-person.safetensors")
    assert lines[-1] == {"run": str(run.output_dir), "outcome": "finished", "lora": lora}


def whole_state(folder: Path, *, epoch: int) -> None:
    """A state as accelerate leaves it, by its files."""
    folder.mkdir()
    for file in ("optimizer.bin", "scheduler.bin", "random_states_0.pkl"):
        (folder / file).touch()
    header = json.dumps({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0")
    facts = {"current_epoch": epoch, "current_step": 12}
    (folder / "train_state.json").write_text(json.dumps(facts), encoding="utf-8")
