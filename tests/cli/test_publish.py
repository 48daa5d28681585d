"""`publish`: to a folder, to the stand-in for the Hub, and every way it refuses."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.publication import published_before
from tests.cli.calls import Run
from tests.hub.publishing import Publishing, accept_publishing
from tests.hub.standin import Repo, StandIn, Token
from tests.runs.publishable import publishable_run

SECRET = "hf_cliSECRETtoken0123456789"


@pytest.fixture
def hrld(tmp_path: Path) -> RunDirectory:
    return publishable_run(tmp_path / "outputs")


@pytest.fixture
def state(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> Publishing:
    hub.tokens[SECRET] = Token(name="ada", role="write")
    monkeypatch.setenv("HF_TOKEN", SECRET)
    return accept_publishing(hub)


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_a_dry_run_writes_is_what_goes_up(run: Run, hrld: RunDirectory, state: Publishing, tmp_path: Path) -> None:
    code, out, err = run("publish", hrld.name, "--dry-run", "--to", tmp_path / "look")
    assert code == 0
    assert "nothing was uploaded" in out
    assert not state.hub.repos
    code, out, err = run("publish", hrld.name)
    assert code == 0
    assert f"published (private): {state.hub.url}/ada/hrld-person" in out
    up = state.hub.repos["ada/hrld-person"]
    assert up.private
    del up.files[".gitattributes"]
    assert files_in(tmp_path / "look") == up.files
    assert sorted(up.files) == [
        "README.md",
        "hrld-person.safetensors",
        "sample/hrld-person_e000008_00_20261122120000_42.png",
        "sample/hrld-person_e000008_01_20261122120000.png",
        "sample/hrld-person_e000008_02_20261122120000.png",
        "spec.yaml",
    ]
    assert SECRET not in out + err
    assert state.hub.leaks(SECRET) == []
    for content in files_in(tmp_path).values():
        assert SECRET.encode() not in content


def test_a_look_needs_no_login(run: Run, hrld: RunDirectory, hub: StandIn, tmp_path: Path) -> None:
    code, _, err = run("publish", hrld.name, "--dry-run", "--to", tmp_path / "look")
    assert code == 0
    assert "your-name/hrld-person" in err
    assert hub.requests == []
    code, _, err = run("publish", hrld.name, "--dry-run", "--to", tmp_path / "again", "--repo", "ada/x", "--public")
    assert "your-name" not in err
    assert "--public has no effect here" in err
    assert 'load_lora_weights("ada/x"' in (tmp_path / "again/README.md").read_text(encoding="utf-8")


def test_the_card_is_printed_as_it_will_be(run: Run, hrld: RunDirectory, hub: StandIn, tmp_path: Path) -> None:
    code, out, _ = run("publish", hrld.name, "--card", "--repo", "ada/x")
    assert code == 0
    run("publish", hrld.name, "--dry-run", "--to", tmp_path / "look", "--repo", "ada/x")
    assert out == (tmp_path / "look/README.md").read_text(encoding="utf-8")
    assert run("publish", hrld.name, "--card", "--json")[0] == 2


def test_json_is_one_document(run: Run, hrld: RunDirectory, state: Publishing) -> None:
    code, out, err = run("publish", hrld.name, "--checkpoint", "4", "--repo", "ada/four", "--public", "--json")
    assert code == 0
    told = json.loads(out)
    assert (told["repo"], told["private"], told["checkpoint"]) == ("ada/four", False, "hrld-person-000004.safetensors")
    assert told["url"] == f"{state.hub.url}/ada/four"
    assert told["commit"] == state.hub.repos["ada/four"].commit
    assert {file["path"]: file["bytes"] for file in told["files"]} == {
        name: len(data) for name, data in state.hub.repos["ada/four"].files.items() if name != ".gitattributes"
    }
    assert "publishing 6 files as ada/four" in err


def test_again_updates_with_another_checkpoint_and_leaves_no_stale_samples(
    run: Run, hrld: RunDirectory, state: Publishing
) -> None:
    assert run("publish", hrld.name, "--checkpoint", "4", "--repo", "ada/mine")[0] == 0
    assert published_before(hrld)["repo_id"] == "ada/mine"
    assert run("publish", hrld.name)[0] == 0, "the same repository is the default now"
    files = state.hub.repos["ada/mine"].files
    assert [name for name in files if name.startswith("sample/") and "e000004" in name] == []
    assert sum(name.startswith("sample/") for name in files) == 3
    assert {"hrld-person-000004.safetensors", "hrld-person.safetensors"} <= set(files)
    code, out, _ = run("publish", hrld.name)
    assert code == 0
    assert "nothing had changed" in out


def test_a_repository_of_something_else_needs_a_word(run: Run, hrld: RunDirectory, state: Publishing) -> None:
    state.hub.repos["ada/mine"] = Repo(private=True, files={"README.md": b"mine"})
    code, _, err = run("publish", hrld.name, "--repo", "ada/mine")
    assert code == 5
    assert "--replace" in err
    assert run("publish", hrld.name, "--repo", "ada/mine", "--replace")[0] == 0
    assert run("publish", hrld.name, "--repo", "ada/mine", "--checkpoint", "4")[0] == 0, "it is this run's now"


def test_half_way_and_again(run: Run, hrld: RunDirectory, state: Publishing) -> None:
    state.fail_commits = 1
    code, _, err = run("publish", hrld.name)
    assert code == 1
    assert "sends nothing twice" in err
    assert published_before(hrld) == {}
    sent = len(state.uploads)
    assert run("publish", hrld.name)[0] == 0
    assert len(state.uploads) == sent


def test_killed_half_way_and_again(run: Run, hrld: RunDirectory, state: Publishing) -> None:
    state.hold()
    command = [sys.executable, "-m", "fluxgym_tui", "publish", hrld.name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as publishing:
        try:
            assert state.held.wait(60), "the LoRA is up, a picture is on its way"
        finally:
            publishing.kill()
    assert state.released is not None
    state.released.set()
    assert state.commits == []
    lora = hashlib.sha256((hrld.output_dir / "hrld-person.safetensors").read_bytes()).hexdigest()
    assert run("publish", hrld.name)[0] == 0
    assert state.uploads.count(lora) == 1
    assert "hrld-person.safetensors" in state.hub.repos["ada/hrld-person"].files


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--dry-run",), "--dry-run and --to DIR go together"),
        (("--to", "look"), "--dry-run and --to DIR go together"),
        (("--repo", "hrld"), "write it as OWNER/NAME"),
        (("--repo", "babbage/x"), "neither ada nor an organisation"),
        (("--checkpoint", "99"), "no LoRA file '99'"),
        (("--chekpoint", "4"), "Did you mean --checkpoint"),
    ],
)
def test_wrong_words_are_told(
    run: Run, hrld: RunDirectory, state: Publishing, words: tuple[str, ...], told: str
) -> None:
    code, out, err = run("publish", hrld.name, *words)
    assert code != 0
    assert out == ""
    assert told in err
    assert state.commits == []


def test_nobody_logged_in_and_no_such_run(run: Run, hrld: RunDirectory, hub: StandIn) -> None:
    code, _, err = run("publish", hrld.name)
    assert code == 1
    assert "nobody is logged in" in err
    assert "fluxgym-tui login" in err
    code, _, err = run("publish", "hrlt")
    assert code == 4
    assert "hrld-person" in err


def test_the_last_child_of_a_run_publishes_and_tells(hrld: RunDirectory, state: Publishing, tmp_path: Path) -> None:
    """As the supervisor starts it: events in a file, the reason of a failure in its log."""
    events = tmp_path / "events.jsonl"
    command = [sys.executable, "-P", "-m", "fluxgym_tui.runs.publishing", str(hrld.output_dir)]
    environment = {**os.environ, "FLUXGYM_EVENTS": str(events), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"published at {state.hub.url}/ada/hrld-person\n"
    assert state.hub.repos["ada/hrld-person"].private
    told = events.read_text(encoding="utf-8")
    assert f'"name":"publish","detail":"{state.hub.url}/ada/hrld-person"' in told.replace(" ", "")
    assert SECRET not in told
    del environment["HF_TOKEN"]
    failed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: nobody is logged in to Hugging Face")
