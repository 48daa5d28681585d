"""A fluxgym folder as a workspace: its trainings are runs, told by their files, and nothing is written there."""

import subprocess
import sys
from pathlib import Path

import pytest

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.config.importers import import_spec
from fluxgym_tui.config.settings_flags import effective_flags
from fluxgym_tui.config.workspace import find_workspace
from fluxgym_tui.machine import other_trainers
from fluxgym_tui.runs.adopted import is_adopted
from fluxgym_tui.runs.checkpoints import RunFiles
from fluxgym_tui.runs.compare import differences
from fluxgym_tui.runs.control import request_stop
from fluxgym_tui.runs.directory import RunDirectory, create
from fluxgym_tui.runs.follow import follow
from fluxgym_tui.runs.listing import RunLister, find_run, list_runs
from fluxgym_tui.runs.picked import pick
from fluxgym_tui.runs.publication import prepare_publication
from fluxgym_tui.runs.remove import remove
from fluxgym_tui.runs.resume import prospects, resume
from fluxgym_tui.runs.state import RunState, read_state
from tests.runs.fluxgym_folder import finish, write_folder, write_lora


def all_files(root: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(root.rglob("*"))
    }


def test_a_finished_training_is_a_finished_run(tmp_path: Path) -> None:
    root = write_folder(tmp_path, "hrld", "other")
    final = finish(root, "hrld")
    before = all_files(root)
    assert find_workspace(root / "outputs" / "hrld", env={}).root == root
    runs = {summary.name: summary for summary in list_runs(root / "outputs")}
    assert sorted(runs) == ["hrld", "other"]
    hrld = runs["hrld"]
    assert (hrld.state, hrld.step, hrld.total, hrld.epoch, hrld.epochs) == (RunState.FINISHED, 160, 160, 16, 16)
    assert (hrld.lora, hrld.outcome) == (final, "finished")
    assert hrld.started == pytest.approx(1795383774.08)
    assert hrld.to_json()["path"] == str(root / "outputs" / "hrld")
    other = runs["other"]
    assert (other.state, other.step, other.total, other.lora) == (RunState.INTERRUPTED, 0, None, None)
    assert other.reason == "of another program: there is no other.safetensors, so it did not come to its end"
    assert all_files(root) == before


def test_an_interrupted_training_stands_where_its_last_save_was(tmp_path: Path) -> None:
    root = write_folder(tmp_path, "hrld")
    finish(root, "hrld").unlink()
    summary = read_state(RunDirectory(root / "outputs" / "hrld"))
    assert (summary.state, summary.step, summary.total, summary.epoch) == (RunState.INTERRUPTED, 120, 160, 12)
    assert summary.checkpoint == str(root / "outputs" / "hrld" / "hrld-000012.safetensors")


def test_a_lora_that_does_not_open_is_no_end(tmp_path: Path) -> None:
    root = write_folder(tmp_path, "hrld")
    final = finish(root, "hrld")
    final.write_bytes(final.read_bytes()[:-8])
    summary = read_state(RunDirectory(root / "outputs" / "hrld"))
    assert summary.state is RunState.INTERRUPTED
    assert "is incomplete" in (summary.reason or "")


def test_its_files_tell_its_events(tmp_path: Path) -> None:
    root = write_folder(tmp_path, "hrld")
    finish(root, "hrld")
    events = list(follow(RunDirectory(root / "outputs" / "hrld")))
    kinds = [event.kind for event in events]
    assert kinds == ["checkpoint", "sample", "checkpoint", "checkpoint", "checkpoint", "step", "end"]
    assert [event.to_json()["step"] for event in events[:-1]] == [40, 40, 80, 120, 160, 160]
    assert (events[-2].to_json()["total"], events[-2].to_json()["loss"]) == (160, None)
    assert events[-1].to_json()["outcome"] == "finished"


def test_it_can_be_published_as_any_run(tmp_path: Path) -> None:
    root = write_folder(tmp_path, "hrld")
    finish(root, "hrld")
    before = all_files(root)
    run = find_run(root / "outputs", "hrld")
    assert RunFiles(run).choose().path.name == "hrld.safetensors"
    ready = prepare_publication(run, repo_id="me/hrld", checkpoint="4", workspace=root)
    assert [file.path_in_repo for file in ready.files] == [
        "hrld-000004.safetensors",
        "README.md",
        "sample/hrld_000040_00_20261122214300_42.png",
    ]
    assert "hrld person" in ready.card
    assert "black-forest-labs/FLUX.1-dev" in ready.card
    assert all_files(root) == before


@pytest.mark.parametrize("vram", ["20G", "12G"])
def test_it_can_be_cloned_into_a_spec(tmp_path: Path, vram: str) -> None:
    root = write_folder(tmp_path, "hrld", vram=vram)
    found = import_spec(root / "outputs" / "hrld")
    spec = found.spec
    assert (found.kind, spec.name, spec.trigger, spec.base_model) == ("train.sh", "hrld", "hrld person", "flux-dev")
    assert (spec.dataset.path, spec.dataset.num_repeats) == (root / "datasets" / "hrld", 10)
    assert spec.dataset.enable_bucket is False
    assert (spec.samples.prompts, spec.samples.every_n_steps) == (("hrld riding a bike --d 42",), 10)
    assert spec.training.vram == vram
    assert spec.training.train_clip_l is True
    flags = effective_flags(spec, backend="kohya", vram=vram)
    assert flags.get("network_args") == (("train_blocks=single",) if vram == "12G" else None)
    assert flags.get("blocks_to_swap") == (18 if vram == "12G" else None)
    assert [note.title for note in found.notes if note.severity == "warning"] == []


def test_a_lora_of_it_can_be_picked(tmp_path: Path) -> None:
    root = write_folder(tmp_path, "hrld")
    finish(root, "hrld")
    run = find_run(root / "outputs", "hrld")
    pick(run, run.output_dir / "hrld-000008.safetensors")
    assert RunFiles(run).choose().path.name == "hrld-000008.safetensors"
    assert is_adopted(run)
    assert read_state(run).state is RunState.FINISHED


def test_it_is_found_where_it_was_moved_to(tmp_path: Path) -> None:
    write_folder(tmp_path / "there", "hrld")
    (tmp_path / "there").rename(tmp_path / "here")
    spec = import_spec(tmp_path / "here" / "outputs" / "hrld" / "train.sh").spec
    assert spec.dataset.path == tmp_path / "here" / "datasets" / "hrld"
    assert spec.samples.prompts == ("hrld riding a bike --d 42",)
    assert spec.base_model == "flux-dev"


def test_only_its_own_program_goes_on_with_it(tmp_path: Path) -> None:
    root = write_folder(tmp_path, "hrld")
    run = RunDirectory(root / "outputs" / "hrld")
    with pytest.raises(FluxgymError, match="trained by another program") as caught:
        resume(run)
    assert "fluxgym-tui import" in (caught.value.hint or "")
    with pytest.raises(FluxgymError, match="trained by another program"):
        prospects(run)
    with pytest.raises(FluxgymError, match="is not running"):
        request_stop(run)
    assert not run.run_dir.exists()


def test_its_living_trainer_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_folder(tmp_path, "hrld")
    finish(root, "hrld")  # of an earlier training
    run = RunDirectory(root / "outputs" / "hrld")
    monkeypatch.setattr(other_trainers, "_FRESH_S", 0.0)
    code = "import sys; print('up', flush=True); sys.stdin.read()"
    words = ["sd-scripts/flux_train_network.py", "--output_dir", str(run.output_dir)]
    lister = RunLister(root / "outputs")
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as trainer:
        assert trainer.stdout is not None
        assert trainer.stdout.readline() == b"up\n"
        summary = read_state(run)
        assert (summary.state, summary.trainer_pid) == (RunState.RUNNING, trainer.pid)
        assert lister.look()[0].state is RunState.RUNNING
        with pytest.raises(FluxgymError, match="trained by another program"):
            request_stop(run)
        with pytest.raises(FluxgymError, match="has not ended is not deleted"):
            remove(run)
        trainer.communicate()
    assert lister.look()[0].state is RunState.FINISHED


def test_the_list_sees_what_changed(tmp_path: Path) -> None:
    root = write_folder(tmp_path, "hrld")
    lister = RunLister(root / "outputs")
    assert lister.look()[0].state is RunState.INTERRUPTED
    write_lora(root / "outputs" / "hrld" / "hrld.safetensors", steps=7, max_train_steps=7)
    assert (lister.look()[0].state, lister.look()[0].step) == (RunState.FINISHED, 7)


def test_other_folders_are_no_runs(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    (outputs / "sample").mkdir(parents=True)
    (outputs / "notes").mkdir()
    (outputs / "notes" / "README.md").write_text("x", encoding="utf-8")
    (outputs / "file.txt").write_text("x", encoding="utf-8")
    assert list_runs(outputs) == []


def test_a_run_of_ours_is_ours(tmp_path: Path) -> None:
    run = create(tmp_path / "outputs", "hrld")
    (run.output_dir / "train.sh").write_text("x", encoding="utf-8")
    assert not is_adopted(run)
    assert read_state(run).state is RunState.QUEUED


def test_a_folder_that_was_renamed_keeps_its_lora(tmp_path: Path) -> None:
    root = write_folder(tmp_path, "hrld")
    finish(root, "hrld")
    (root / "outputs" / "hrld").rename(root / "outputs" / "renamed")
    summary = read_state(RunDirectory(root / "outputs" / "renamed"))
    assert (summary.state, summary.lora) == (
        RunState.FINISHED,
        root / "outputs" / "renamed" / "hrld.safetensors",
    )


def test_a_training_made_on_windows_keeps_its_settings(tmp_path: Path) -> None:
    root = write_folder(tmp_path, "hrld")
    out = root / "outputs" / "hrld"
    text = (out / "train.sh").read_text(encoding="utf-8").replace(" \\\n", " ^\n").replace(str(root), "D:\\fluxgym")
    (out / "train.bat").write_text(text.replace("/", "\\"), encoding="utf-8")
    (out / "train.sh").unlink()
    found = import_spec(out)
    assert (found.spec.name, found.spec.base_model, found.spec.training.learning_rate) == ("hrld", "flux-dev", 8e-4)
    assert found.spec.dataset.path == root / "datasets" / "hrld"
    assert found.spec.extra_args == ()


def test_it_is_compared_by_its_settings(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "a", "hrld", vram="12G")
    other = write_folder(tmp_path / "b", "hrld")
    found, unread = differences([RunDirectory(folder / "outputs" / "hrld") for folder in (root, other)])
    assert unread == []
    assert {one.key: one.values for one in found}["training.network_args"] == ("train_blocks=single", None)
