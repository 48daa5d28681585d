"""`clean` and `samples` by the front door."""

import sys
from pathlib import Path

import pytest

from tests.cli.calls import Run, RunJson
from tests.runs.fluxgym_folder import finish, write_folder
from tests.runs.test_rubbish import ended_run


def test_a_dry_run_lists_and_removes_nothing(run: Run, tmp_path: Path) -> None:
    found = ended_run(tmp_path, "hrld")
    code, out, _ = run("clean", "--dry-run")
    assert code == 0
    assert [line.split()[:3] for line in out.splitlines()[1:4]] == [
        ["caches", "hrld", "3"],
        ["checkpoints", "hrld", "2"],
        ["states", "hrld", "1"],
    ]
    assert (found.output_dir / "hrld-000004.safetensors").is_file()


def test_nothing_goes_without_a_yes(run: Run, tmp_path: Path) -> None:
    found = ended_run(tmp_path, "hrld")
    code, _, err = run("clean")
    assert (code, "there is nobody to ask" in err) == (2, True)
    assert (found.output_dir / "hrld-000004.safetensors").is_file()
    code, out, _ = run("clean", "--checkpoints", "--yes")
    assert (code, out.splitlines()[-1].startswith("removed ")) == (0, True)
    assert not (found.output_dir / "hrld-000004.safetensors").exists()
    assert (found.output_dir / "hrld-000008-state").is_dir()


@pytest.mark.parametrize(("answer", "stays"), [("y\n", False), ("\n", True), ("no\n", True)])
def test_it_asks_who_sits_at_the_terminal(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, stays: bool
) -> None:
    found = ended_run(tmp_path, "hrld")
    monkeypatch.setattr(sys, "stdin", _Terminal(answer))
    code, _, err = run("clean", "hrld", "--states")
    assert (code, "There is no way back. [y/N]" in err) == (0, True)
    assert (found.output_dir / "hrld-000008-state").exists() is stays


class _Terminal:
    """Stands in for a person at a terminal."""

    def __init__(self, answer: str) -> None:
        self._answer = answer

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        return self._answer


def test_programs_are_told_each_path(run_json: RunJson, tmp_path: Path) -> None:
    found = ended_run(tmp_path, "hrld")
    code, document = run_json("clean", "--states", "--yes")
    assert code == 0
    assert document == {
        "found": [
            {
                "kind": "states",
                "of": "hrld",
                "paths": [str(found.output_dir / "hrld-000008-state")],
                "size": 100,
                "removed": True,
            }
        ],
        "size": 100,
    }


def test_a_clean_workspace_is_said_to_be_so(run: Run) -> None:
    assert run("clean") == (0, "nothing to clean\n", "")


def test_the_samples_of_a_run_with_their_loras(run: Run, run_json: RunJson, tmp_path: Path) -> None:
    root = write_folder(tmp_path, "hrld", "other")
    finish(root, "hrld")
    code, document = run_json("samples", "hrld")
    out = root / "outputs" / "hrld"
    assert code == 0
    assert document["samples"] == [
        {
            "path": str(out / "sample" / "hrld_000040_00_20261122214300_42.png"),
            "prompt_index": 0,
            "prompt": "hrld riding a bike",
            "step": 40,
            "epoch": None,
            "seed": 42,
            "lora": str(out / "hrld-000004.safetensors"),
        }
    ]
    assert [lora["step"] for lora in document["loras"]] == [40, 80, 120, 160]
    lines = run("samples", "hrld")[1].splitlines()
    assert "hrld riding a bike" in lines[1]
    assert lines[1].endswith("hrld-000004.safetensors")
    assert "has drawn no samples" in run("samples", "other")[1]
    assert run("samples", "nothing")[0] == 4


def test_stopping_all_runs_leaves_other_programs_alone(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path, "hrld")
    monkeypatch.setattr("fluxgym_tui.runs.adopted.training_into", lambda _: 4242)  # as where its trainer lives
    assert "running" in run("runs")[1]
    assert run("stop", "--all") == (0, "no run is running\n", "")
    assert "trained by another program" in run("stop", "hrld")[2]
