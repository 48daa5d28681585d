"""A run of backend kohya from the spec to its end, under the real supervisor; sd-scripts itself is a stand-in."""

import gzip
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.events import CheckpointEvent, ProblemEvent, SampleEvent, StepEvent, WarningEvent
from fluxgym_tui.checks.preflight import preflight
from fluxgym_tui.cli.main import main
from fluxgym_tui.config.spec import TrainSpec
from fluxgym_tui.config.specfile import build_spec, load_spec
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.runs.commands import read_plan
from fluxgym_tui.runs.follow import follow
from fluxgym_tui.runs.launch import launch, next_job
from fluxgym_tui.runs.state import read_state
from tests.backends.kohya.event_files import write_event_file
from tests.backends.kohya.fake_models import write_models
from tests.backends.kohya.recorded import FOLDER


@pytest.fixture
def gym(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace with pictures, files that look like FLUX.1-dev by their headers, and the stand-in at sd-scripts/."""
    return make_gym(tmp_path, monkeypatch)


def make_gym(root: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Make such a workspace of `root`."""
    monkeypatch.setenv("FLUXGYM_TICK_S", "0.02")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("FLUXGYM_SD_SCRIPTS", raising=False)
    photos = root / "photos"
    photos.mkdir()
    for number, size in enumerate([(600, 400), (400, 600)]):
        Image.new("RGB", size, (60 * number, 90, 120)).save(photos / f"{number}.png")
    write_models(root / "models")
    checkout = root / "sd-scripts"
    (checkout / ".venv/bin").mkdir(parents=True)
    (checkout / "flux_train_network.py").touch()
    (checkout / ".venv/bin/python").symlink_to(sys.executable)
    program = checkout / ".venv/bin/accelerate"
    stand_in = Path(__file__).with_name("fake_sd_scripts.py").read_text(encoding="utf-8")
    program.write_text(f"#!{sys.executable}\n{stand_in}", encoding="utf-8")
    program.chmod(0o755)
    return Workspace(root)


def play(monkeypatch: pytest.MonkeyPatch, log: str, *, status: int, lora: bool) -> None:
    """Have the stand-in print the recorded `log` and end with `status`, with or without having saved a LoRA."""
    monkeypatch.setenv("FAKE_LOG", str(FOLDER / f"{log}.raw.gz"))
    monkeypatch.setenv("FAKE_EXIT", str(status))
    if lora:
        monkeypatch.setenv("FAKE_LORA", "1")


def spec_in(gym: Workspace, **training: object) -> TrainSpec:
    return build_spec(
        {
            "name": "Hrld Person",
            "trigger": "hrld",
            "backend": "auto",
            "dataset": {"path": gym.root / "photos", "resolution": [768, 1024], "num_repeats": 6},
            "training": {"max_train_epochs": 2, "vram": "24G", **training},
            "samples": {"prompts": ["hrld on a bike --d 42"], "every_n_steps": 6},
        }
    )


def test_a_run_of_sd_scripts_is_followed_to_its_lora(gym: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, "ok_pipe", status=0, lora=True)
    run = launch(spec_in(gym), workspace=gym)
    events = list(follow(run))
    state = read_state(run)
    assert (state.state, state.step, state.total) == ("finished", 24, 24)
    assert state.lora == run.output_dir / "hrld-person.safetensors"
    steps = [event for event in events if isinstance(event, StepEvent)]
    assert [event.step for event in steps] == list(range(1, 25))
    assert all(event.time > 0 for event in steps)
    assert [event.step for event in events if isinstance(event, CheckpointEvent)] == [12, 24]
    samples = [event for event in events if isinstance(event, SampleEvent)]
    assert [(event.prompt_index, event.step, event.seed) for event in samples] == [(0, 12, 7), (1, 12, 7)]
    assert all(Path(event.path).is_file() for event in samples)
    saved = load_spec(run.spec)
    assert (saved.backend, saved.training.optimizer_type, saved.training.fp8_base) == ("kohya", "adamw8bit", True)


def test_the_files_are_those_that_users_of_fluxgym_know(gym: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, "ok_pipe", status=0, lora=True)
    run = launch(spec_in(gym), workspace=gym)
    list(follow(run))
    staged = gym.root / "datasets/hrld-person"
    assert (run.output_dir / "dataset.toml").read_text(encoding="utf-8") == (
        "[general]\nshuffle_caption = false\ncaption_extension = '.txt'\nkeep_tokens = 1\n\n"
        "[[datasets]]\nresolution = [768, 1024]\nbatch_size = 1\nkeep_tokens = 1\nenable_bucket = true\n"
        "min_bucket_reso = 256\nmax_bucket_reso = 1024\nbucket_reso_steps = 64\nbucket_no_upscale = true\n\n"
        f"  [[datasets.subsets]]\n  image_dir = '{staged}'\n  class_tokens = 'hrld'\n  num_repeats = 6\n"
    )
    prompts = (run.output_dir / "sample_prompts.txt").read_text(encoding="utf-8")
    assert prompts == "hrld on a bike --d 42\n"
    script = (run.output_dir / "train.sh").read_text(encoding="utf-8")
    assert f"{gym.root / 'sd-scripts/.venv/bin/accelerate'} launch \\\n  --config_file " in script
    assert " \\\n  --mixed_precision bf16 \\\n" in script
    assert "\n  --sample_every_n_steps 6 \\\n" in script
    assert (run.output_dir / "train.sh").stat().st_mode & 0o100


def test_a_failure_ends_the_run_with_its_cause(gym: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, "fail_oom_simulated_pipe", status=1, lora=False)
    run = launch(spec_in(gym), workspace=gym)
    events = list(follow(run))
    state = read_state(run)
    assert (state.state, state.step, state.lora) == ("failed", 11, None)
    assert [event.code for event in events if isinstance(event, ProblemEvent)] == ["out_of_memory"]
    assert "GPU ran out of memory" in str(state.reason)


def test_out_of_memory_offers_the_next_smaller_recipe(
    gym: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    play(monkeypatch, "fail_oom_simulated_pipe", status=1, lora=False)
    photos = str(gym.root / "photos")
    wanted = ["--name", "x", "--backend", "kohya", "--vram", "24G", "--workspace", str(gym.root)]
    assert main(["train", photos, *wanted]) == ExitCode.FAILED
    path = gym.root / "outputs/x/x-16G.yaml"
    assert f"fluxgym-tui train {path} --workspace {gym.root}" in capsys.readouterr().err
    offered = load_spec(path)
    assert (offered.training.vram, offered.training.optimizer_type) == ("16G", None)
    assert not preflight(offered, workspace=gym).errors


def test_status_0_without_a_lora_is_no_success(gym: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, "fail_empty_dataset_pipe", status=0, lora=False)
    run = launch(spec_in(gym), workspace=gym)
    events = list(follow(run))
    state = read_state(run)
    assert (state.state, state.outcome, state.lora) == ("failed", "failed", None)
    assert next(event.code for event in events if isinstance(event, ProblemEvent)) == "no_pictures"


class TestAuto:
    """`backend: auto` takes kohya where it can train, builtin where not."""

    def test_kohya_where_it_is_installed(self, gym: Workspace) -> None:
        assert preflight(spec_in(gym), workspace=gym).backend.name == "kohya"

    def test_builtin_where_it_is_not(self, gym: Workspace) -> None:
        shutil.rmtree(gym.root / "sd-scripts")
        assert preflight(spec_in(gym), workspace=gym).backend.name == "builtin"

    def test_chroma_needs_kohya(self, gym: Workspace) -> None:
        shutil.rmtree(gym.root / "sd-scripts")
        spec = spec_in(gym).model_copy(update={"base_model": "chroma1-hd"})
        ready = preflight(spec, workspace=gym)
        assert ready.backend.name == "kohya"
        assert "sd-scripts is not here" in next(f.title for f in ready.errors if f.code == "backend_missing")

    def test_the_bundled_base_needs_builtin(self, gym: Workspace) -> None:
        spec = spec_in(gym).model_copy(update={"base_model": "tiny-flux"})
        assert preflight(spec, workspace=gym).backend.name == "builtin"

    def test_a_checkout_that_was_named_must_be_one(self, gym: Workspace) -> None:
        with pytest.raises(FluxgymError, match="no checkout"):
            preflight(spec_in(gym), workspace=gym, sd_scripts=gym.root / "photos")


@pytest.mark.parametrize(("every", "warned"), [(6, True), (7, False), (0, False)])
def test_samples_on_the_last_step_are_warned_of(gym: Workspace, every: int, warned: bool) -> None:
    spec = spec_in(gym)
    samples = spec.samples.model_copy(update={"every_n_steps": every})
    ready = preflight(spec.model_copy(update={"samples": samples}), workspace=gym)
    assert ready.plan.plan.steps.total == 24
    assert ("sample_before_last_save" in [finding.code for finding in ready.findings]) is warned


def test_a_flag_of_nobody_stops_the_start(gym: Workspace) -> None:
    spec = spec_in(gym).model_copy(update={"flags": {"sigmod_scale": 1.0}})
    (error,) = preflight(spec, workspace=gym).errors
    assert "--sigmod_scale" in error.title
    assert error.fix == "Did you mean sigmoid_scale?"


class TestTracker:
    """The losses of single steps come from the tracker's file, later than the bar and under the same numbers."""

    def test_they_amend_what_the_bar_told(self, gym: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        losses = [1 / step for step in range(1, 25)]
        file = write_event_file(gym.root / "tb", losses, begun=1, prefix="")
        monkeypatch.setenv("FAKE_TRACKER", str(file))
        play(monkeypatch, "ok_pipe", status=0, lora=True)
        run = launch(spec_in(gym), workspace=gym)
        events = [event for event in follow(run) if isinstance(event, StepEvent)]
        told = {event.step: event for event in events if event.loss is not None}
        assert [round(told[step].loss or 0, 6) for step in range(1, 25)] == [round(loss, 6) for loss in losses]
        assert told[2].lr == 8e-4
        assert [event.step for event in events if event.avg_loss is not None] == list(range(1, 25))
        state = read_state(run)
        assert (state.state, state.step, state.total) == ("finished", 24, 24)
        assert state.loss == pytest.approx(1 / 24)
        assert state.lr == 8e-4
        assert state.avg_loss is not None

    def test_a_nan_is_told_of_the_true_loss(self, gym: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        losses = [math.nan if step == 7 else 0.5 for step in range(1, 25)]
        file = write_event_file(gym.root / "tb", losses, begun=1, prefix="")
        monkeypatch.setenv("FAKE_TRACKER", str(file))
        play(monkeypatch, "ok_pipe", status=0, lora=True)
        change_log(gym, monkeypatch, lambda raw: re.sub(rb"avr_loss=[\d.]+", b"avr_loss=nan", raw))
        run = launch(spec_in(gym), workspace=gym)
        events = list(follow(run))
        warnings = [event.title for event in events if isinstance(event, WarningEvent)]
        assert [title for title in warnings if "nan" in title] == ["the loss of step 7 is nan"]
        assert read_state(run).loss == 0.5

    @pytest.mark.parametrize(
        ("flags", "expected"),
        [
            ({}, {"log_with": "tensorboard", "logging_dir": "OUT/logs", "log_prefix": "hrld-person-"}),
            ({"log_prefix": "mine"}, {"log_with": "tensorboard", "logging_dir": "OUT/logs", "log_prefix": "mine"}),
            ({"log_with": "wandb"}, {"log_with": "wandb"}),
            ({"logging_dir": "/tb"}, {"logging_dir": "/tb"}),
        ],
    )
    def test_ones_own_tracker_is_kept(self, gym: Workspace, flags: dict[str, str], expected: dict[str, str]) -> None:
        ready = preflight(spec_in(gym).model_copy(update={"flags": flags}), workspace=gym)
        job = next_job(ready, workspace=gym)
        argv = ready.backend.would_run(job).argv
        said = {word[2:]: argv[at + 1] for at, word in enumerate(argv) if word.startswith("--log")}
        assert {name: value.replace(str(job.output_dir), "OUT") for name, value in said.items()} == expected


def change_log(gym: Workspace, monkeypatch: pytest.MonkeyPatch, change: Callable[[bytes], bytes]) -> None:
    """Have a changed form of the recorded log played."""
    path = gym.root / "changed.raw.gz"
    path.write_bytes(gzip.compress(change(gzip.decompress(Path(os.environ["FAKE_LOG"]).read_bytes()))))
    monkeypatch.setenv("FAKE_LOG", str(path))


def test_names_that_shells_and_toml_trip_over_survive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blanks, quotes, umlauts and line breaks in folders, trigger and prompts; train.sh is run from another folder."""
    place = tmp_path / 'Größe\'s "gym"\n$HOME;'
    place.mkdir()
    workspace = make_gym(place, monkeypatch)
    play(monkeypatch, "ok_pipe", status=0, lora=True)
    monkeypatch.setenv("FAKE_ARGV", str(tmp_path / "argv.json"))
    trigger = 'hrld\'s "Größe"\\n `x` $y'
    spec = spec_in(workspace).model_dump(exclude_unset=True)
    run = launch(build_spec({**spec, "trigger": trigger.replace(" `", "\n`")}), workspace=workspace)
    list(follow(run))
    assert read_state(run).state == "finished"
    told = json.loads((tmp_path / "argv.json").read_text(encoding="utf-8"))
    planned = read_plan(run).children[-1].argv
    assert told == list(planned[1:])
    dataset = tomllib.loads((run.output_dir / "dataset.toml").read_text(encoding="utf-8"))
    (subset,) = dataset["datasets"][0]["subsets"]
    assert (subset["class_tokens"], subset["image_dir"]) == (trigger, str(place / "datasets/hrld-person"))
    (tmp_path / "argv.json").unlink()
    script = run.output_dir / "train.sh"
    done = subprocess.run(["sh", str(script)], cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads((tmp_path / "argv.json").read_text(encoding="utf-8")) == list(planned[1:])


def test_caches_of_an_earlier_run_of_that_name_are_not_trained_from(
    gym: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, "ok_pipe", status=0, lora=True)
    run = launch(spec_in(gym), workspace=gym)
    list(follow(run))
    caches = [gym.root / "datasets/hrld-person" / name for name in ("0_0600x0400_flux.npz", "0_flux_te.npz")]
    for cache in caches:
        cache.touch()  # as sd-scripts makes them
    for length, expected in ((None, [True, True]), (256, [True, False])):
        shutil.rmtree(run.output_dir)  # the user deletes the run, and trains again under its name
        flags = {} if length is None else {"t5xxl_max_token_length": length}
        run = launch(spec_in(gym).model_copy(update={"flags": flags}), workspace=gym)
        list(follow(run))
        assert run.name == "hrld-person"
        assert [cache.exists() for cache in caches] == expected
