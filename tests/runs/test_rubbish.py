"""What `clean` finds, what it must never find, and that it is gone afterwards."""

import json
from pathlib import Path

import pytest

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.events import AttemptEvent, EndEvent
from fluxgym_tui.base.files import write_json
from fluxgym_tui.dataset.staging import StageSource, stage
from fluxgym_tui.runs import rubbish
from fluxgym_tui.runs.commands import ChildCommand, CommandPlan, write_plan
from fluxgym_tui.runs.directory import RunDirectory, create
from fluxgym_tui.runs.journal import Entry, JournalWriter
from fluxgym_tui.runs.picked import pick
from fluxgym_tui.runs.rubbish import find_rubbish, remove_rubbish
from tests.dataset.picture_files import save
from tests.runs.fluxgym_folder import finish, write_folder, write_lora


def ended_run(root: Path, name: str, *, outcome: str | None = "finished") -> RunDirectory:
    """A run with staged pictures, their caches, saves on the way, states and a LoRA; None: it was not started yet."""
    save(root / "photos" / "a.png")
    run = create(root / "outputs", name)
    staged = root / "datasets" / name
    stage([StageSource(root / "photos")], staged)
    for cache in ("a_0040x0030_flux.npz", "a_flux_te.npz", "a_flux_te.npz.fingerprint.json"):
        (staged / cache).write_bytes(b"12345")
    facts = json.loads(run.manifest.read_text(encoding="utf-8"))
    write_json(run.manifest, {**facts, "staged": str(staged), "steps_per_epoch": 10})
    write_plan(
        run, CommandPlan(children=(ChildCommand(phase="train", argv=("x",), cwd=root),), lora=f"{name}.safetensors")
    )
    for ending in ("-000004", "-000008", ""):
        write_lora(run.output_dir / f"{name}{ending}.safetensors")
    (run.output_dir / f"{name}-000008-state").mkdir()
    (run.output_dir / f"{name}-000008-state" / "model.bin").write_bytes(b"x" * 100)
    if outcome is not None:
        writer = JournalWriter(run.events)
        writer.append(
            [
                Entry(AttemptEvent(time=1.0, number=1, command=["x"], pid=1)),
                Entry(EndEvent(time=2.0, outcome=outcome, exit_code=0)),  # type: ignore[arg-type]
            ]
        )
        writer.close()
    return run


def names(found: list[rubbish.Rubbish]) -> list[tuple[str, str, list[str]]]:
    return [(one.kind, one.of, sorted(path.name for path in one.paths)) for one in found]


CACHES = ["a_0040x0030_flux.npz", "a_flux_te.npz", "a_flux_te.npz.fingerprint.json"]


def test_caches_saves_and_states_of_a_finished_run(tmp_path: Path) -> None:
    run = ended_run(tmp_path, "hrld")
    found = find_rubbish(tmp_path)
    assert names(found) == [
        ("caches", "hrld", CACHES),
        ("checkpoints", "hrld", ["hrld-000004.safetensors", "hrld-000008.safetensors"]),
        ("states", "hrld", ["hrld-000008-state"]),
    ]
    assert [one.size_bytes for one in (found[0], found[2])] == [15, 100]
    for one in found:
        remove_rubbish(one, root=tmp_path)
    assert find_rubbish(tmp_path) == []
    assert sorted(path.name for path in run.output_dir.glob("hrld*")) == ["hrld.safetensors"]
    assert sorted(path.name for path in (tmp_path / "datasets" / "hrld").glob("*")) == [".fluxgym-staged.json", "a.png"]
    assert (tmp_path / "photos" / "a.png").is_file()


def test_what_was_picked_stays(tmp_path: Path) -> None:
    run = ended_run(tmp_path, "hrld")
    pick(run, run.output_dir / "hrld-000004.safetensors")
    found = find_rubbish(tmp_path, kinds=["checkpoints"])
    assert names(found) == [("checkpoints", "hrld", ["hrld-000008.safetensors"])]


@pytest.mark.parametrize("outcome", ["failed", "stopped", "interrupted"])
def test_a_run_that_has_not_finished_keeps_what_it_can_go_on_from(tmp_path: Path, outcome: str) -> None:
    ended_run(tmp_path, "hrld", outcome=outcome)
    assert names(find_rubbish(tmp_path)) == [("caches", "hrld", CACHES)]


def test_nothing_of_a_run_that_lives_is_touched(tmp_path: Path) -> None:
    run = ended_run(tmp_path, "hrld", outcome=None)
    assert find_rubbish(tmp_path) == []
    found = rubbish.Rubbish(
        kind="caches", of="hrld", folder=tmp_path / "datasets" / "hrld", paths=(run.manifest,), size_bytes=1
    )
    with pytest.raises(FluxgymError, match="is in use again"):
        remove_rubbish(found, root=tmp_path)
    assert run.manifest.is_file()


def test_only_the_runs_that_are_named(tmp_path: Path) -> None:
    one = ended_run(tmp_path, "one")
    ended_run(tmp_path, "two")
    assert {found.of for found in find_rubbish(tmp_path)} == {"one", "two"}
    assert {found.of for found in find_rubbish(tmp_path, runs=[one])} == {"one"}


def test_trainings_of_fluxgym_only_where_they_are_named(tmp_path: Path) -> None:
    root = write_folder(tmp_path, "hrld")
    finish(root, "hrld")
    (root / "datasets" / "hrld" / "a_flux_te.npz").write_bytes(b"x")
    assert find_rubbish(root) == []
    named = find_rubbish(root, runs=[RunDirectory(root / "outputs" / "hrld")])
    assert names(named) == [
        ("checkpoints", "hrld", ["hrld-000004.safetensors", "hrld-000008.safetensors", "hrld-000012.safetensors"])
    ]
