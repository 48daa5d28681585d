"""Files edited by hand, from the spec to the run: planned, checked, trained from, and recorded."""

import json
from pathlib import Path

import pytest

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.files import read_json
from fluxgym_tui.checks.preflight import Preflight, preflight
from fluxgym_tui.cli.main import main
from fluxgym_tui.config.by_hand import DATASET_TOML, TRAIN_SH, HandEdits, edit_path, hand_edits, keep_edit
from fluxgym_tui.config.dataset_toml import load_dataset_toml
from fluxgym_tui.config.specfile import dump_spec
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.runs.commands import read_plan
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.follow import follow
from fluxgym_tui.runs.launch import launch, preview_files
from fluxgym_tui.runs.state import read_state
from tests.backends.kohya.test_run import gym, play, spec_in

__all__ = ["gym"]


def edit(gym: Workspace, spec_file: Path, name: str, *changes: tuple[str, str]) -> HandEdits:
    """Edit a file of the spec as the app does: `changes` are texts and what they become."""
    ready = preflight(spec_in(gym), workspace=gym)
    files, places = preview_files(ready, workspace=gym)
    text = files[name]
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    keep_edit(spec_file, name, text, made_from=files[name], places=places)
    return hand_edits(spec_file)


@pytest.fixture
def spec_file(gym: Workspace) -> Path:
    """The spec, saved in the workspace."""
    path = gym.configs / "hrld-person.yaml"
    path.write_text(dump_spec(spec_in(gym)), encoding="utf-8")
    return path


def checked(gym: Workspace, edits: HandEdits, **training: object) -> Preflight:
    return preflight(spec_in(gym, **training), workspace=gym, by_hand=edits)


def told(ready: Preflight, code: str) -> list[str]:
    return [f"{one.title} {one.detail or ''} {one.fix or ''}" for one in ready.findings if one.code == code]


def test_an_edited_dataset_toml_is_what_is_planned(gym: Workspace, spec_file: Path) -> None:
    edits = edit(gym, spec_file, DATASET_TOML, ("num_repeats = 6", "num_repeats = 9"), ("[768, 1024]", "[512, 512]"))
    ready = checked(gym, edits)
    assert ready.plan.plan.steps.total == 2 * 9 * 2
    assert {bucket.size for bucket in ready.plan.plan.buckets} == {(576, 384), (384, 576)}
    assert told(ready, "edited_by_hand") == [
        "dataset.toml is edited by hand the run trains from it; what the parameters say in its place has no effect "
        "Screen Flags, c, shows it; x there goes back to the parameters, as removing the file does."
    ]
    assert not ready.errors
    assert ready.findings[0].code == "edited_by_hand", "it is told before what is said of single pictures"
    assert main(["plan", str(spec_file), "--workspace", str(gym.root)]) == ExitCode.OK


def test_a_folder_of_ones_own_in_it_is_planned_as_the_trainer_lists_it(gym: Workspace, spec_file: Path) -> None:
    edits = edit(gym, spec_file, DATASET_TOML, (str(gym.root / "datasets/hrld-person"), str(gym.root / "photos")))
    assert checked(gym, edits).plan.plan.steps.total == 24


def test_an_edited_command_is_what_is_planned_and_checked(gym: Workspace, spec_file: Path) -> None:
    ready = checked(gym, edit(gym, spec_file, TRAIN_SH, ("--max_train_epochs 2", "--max_train_epochs 3")))
    assert ready.plan.plan.steps.total == 36
    assert ready.flags["max_train_epochs"] == 2, "the parameters stay what they are"
    assert ready.trained_flags["max_train_epochs"] == 3
    assert not ready.errors


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("--max_train_epochs 2", "--max_train_epoch 2"), "no such option Did you mean|max_train_epochs"),
        (("--max_train_epochs 2", "--max_train_epochs many"), "--max_train_epochs must be a whole number"),
        (("--max_train_epochs 2", "--max_train_epochs"), "--max_train_epochs has no value"),
        (("--max_train_epochs 2", "--max_train_epochs 2 3"), "3 belongs to no option"),
        (("--sdpa", "--sdpa yes"), "--sdpa is a switch"),
        (("--output_name hrld-person", "--output_name other"), "--output_name is other, and must be hrld-person"),
        (("flux_train_network.py", "sdxl_train_network.py"), "does not run flux_train_network.py"),
        (("flux_train_network.py", "x.py -m fluxgym_tui.trainer"), "it runs the trainer of backend builtin"),
        (("set -e", "python other.py"), "it has 2 commands beside the staging"),
        (("--max_train_epochs 2", "--max_train_epochs $N"), "is for a shell"),
    ],
)
def test_a_command_that_cannot_be_is_refused_by_name(
    gym: Workspace, spec_file: Path, change: tuple[str, str], words: str
) -> None:
    ready = checked(gym, edit(gym, spec_file, TRAIN_SH, change))
    assert ready.errors
    said = " ".join(f"{one.title} {one.fix}" for one in ready.errors)
    assert any(part in said for part in words.split("|")), said
    with pytest.raises(FluxgymError):
        launch(spec_in(gym), workspace=gym, by_hand=hand_edits(spec_file))
    assert not (gym.root / "outputs" / "hrld-person").exists()


def test_broken_toml_is_refused_with_its_place(gym: Workspace, spec_file: Path) -> None:
    ready = checked(gym, edit(gym, spec_file, DATASET_TOML, ("num_repeats = 6", "num_repeats = ")))
    assert "hrld-person.dataset.toml" in " ".join(told(ready, "edited_file_refused"))


def test_parameters_that_change_later_are_told_and_change_nothing(gym: Workspace, spec_file: Path) -> None:
    edits = edit(gym, spec_file, TRAIN_SH, ("--max_train_epochs 2", "--max_train_epochs 3"))
    assert "changed since" not in " ".join(told(checked(gym, edits), "edited_by_hand"))
    (gym.outputs / "hrld-person").mkdir()
    (gym.outputs / "hrld-person/kept.txt").touch()
    assert "changed since" not in " ".join(told(checked(gym, edits), "edited_by_hand")), "the next name is no change"
    ready = checked(gym, edits, learning_rate=1e-4)
    assert "differs from the parameters, which were changed since" in " ".join(told(ready, "edited_by_hand"))
    assert ready.trained_flags["learning_rate"] == 8e-4


def test_a_run_trains_from_the_edited_files_and_records_them(
    gym: Workspace, spec_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(gym, spec_file, TRAIN_SH, ("--max_train_epochs 2", "--max_train_epochs 2 \\\n  --training_comment 'by hand'"),
         ("export COLUMNS=200", "export COLUMNS=200 MY_OWN=1"))  # fmt: skip
    edit(gym, spec_file, DATASET_TOML, ("class_tokens = 'hrld'", "class_tokens = 'hrld'  # as ever\n  flip_aug = true"))
    play(monkeypatch, "ok_pipe", status=0, lora=True)
    for name in ("hrld-person", "hrld-person-2"):
        assert main(["train", str(spec_file), "--workspace", str(gym.root), "--json"]) == ExitCode.OK
        said = capsys.readouterr()
        assert "train.sh is edited by hand" in said.err
        assert json.loads(said.out.splitlines()[-1])["outcome"] == "finished"
        run = RunDirectory(gym.root / "outputs" / name)
        trainer = next(child for child in read_plan(run).children if child.phase == "train")
        assert trainer.argv[trainer.argv.index("--training_comment") + 1] == "by hand"
        assert trainer.argv[trainer.argv.index("--output_dir") + 1] == str(run.output_dir)
        assert trainer.argv[trainer.argv.index("--output_name") + 1] == name
        assert (trainer.env["MY_OWN"], trainer.log_format, trainer.cwd) == ("1", "kohya", run.output_dir)
        (dataset,) = load_dataset_toml(run.output_dir / "dataset.toml")
        assert dataset.subsets[0].image_dir == gym.root / "datasets" / name
        assert dataset.subsets[0].flip_aug
        assert "# as ever" in (run.output_dir / "dataset.toml").read_text(encoding="utf-8")
        assert "'by hand'" in (run.output_dir / "train.sh").read_text(encoding="utf-8")
        manifest = read_json(run.manifest)
        assert manifest["by_hand"] == ["train.sh", "dataset.toml"]
        assert manifest["settings"]["training_comment"] == "by hand"
    again = hand_edits(run.spec)
    assert again.train_sh is not None, "the run's own spec starts the same once more"
    third = launch(spec_in(gym), workspace=gym, by_hand=again)
    list(follow(third))
    assert read_state(third).state == "finished"
    assert str(third.output_dir) in (third.output_dir / "train.sh").read_text(encoding="utf-8")
    assert third.name == "hrld-person-3"


def test_the_command_shown_is_the_edited_one(
    gym: Workspace, spec_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(gym, spec_file, TRAIN_SH, ("--max_train_epochs 2", "--max_train_epochs 7"))
    assert main(["command", str(spec_file), "--workspace", str(gym.root), "--json"]) == ExitCode.OK
    argv = json.loads(capsys.readouterr().out)["argv"]
    assert argv[argv.index("--max_train_epochs") + 1] == "7"
    edit_path(spec_file, TRAIN_SH).unlink()
    assert main(["command", str(spec_file), "--workspace", str(gym.root), "--json"]) == ExitCode.OK
    argv = json.loads(capsys.readouterr().out)["argv"]
    assert argv[argv.index("--max_train_epochs") + 1] == "2"


def test_the_command_that_was_printed_can_be_the_file(
    gym: Workspace, spec_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (gym.outputs / "hrld-person").mkdir()
    (gym.outputs / "hrld-person/kept.txt").touch()
    edit_path(spec_file, TRAIN_SH).touch()  # as a shell makes it, before the command runs
    assert main(["command", str(spec_file), "--workspace", str(gym.root)]) == ExitCode.OK
    printed = capsys.readouterr().out
    assert "outputs/hrld-person-2" in printed
    edit_path(spec_file, TRAIN_SH).write_text(printed, encoding="utf-8")
    ready = checked(gym, hand_edits(spec_file))
    assert not ready.errors
    assert ready.flags.items() <= ready.trained_flags.items(), "the backend's own are in it, too"
