"""Publishing to the stand-in: what goes over the wire, who may, failure half way and again, updates."""

from pathlib import Path

import pytest

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.hub.library import HubError
from fluxgym_tui.hub.publish import (
    PublishCancelledError,
    RepoTakenError,
    Upload,
    UploadProgress,
    checked_repo_name,
    publish,
    why_no_repo_name,
    write_files,
)
from tests.hub.publishing import Publishing, accept_publishing
from tests.hub.standin import Repo, StandIn, Token

SECRET = "hf_publishSECRETtoken0123456789"
LORA = bytes(range(256)) * 4096
CARD = b"---\ntags: [lora]\n---\n\n# Hrld\n"
REPO = "ada/hrld"
OURS = {"hrld.safetensors"}


@pytest.fixture
def state(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> Publishing:
    hub.tokens[SECRET] = Token(name="ada", role="write", orgs=("lovelace",))
    monkeypatch.setenv("HF_TOKEN", SECRET)
    return accept_publishing(hub)


@pytest.fixture
def files(tmp_path: Path) -> list[Upload]:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "hrld.safetensors").write_bytes(LORA)
    (folder / "a.png").write_bytes(b"\x89PNG one")
    return [
        Upload(path_in_repo="hrld.safetensors", source=folder / "hrld.safetensors"),
        Upload(path_in_repo="README.md", data=CARD),
        Upload(path_in_repo="sample/a.png", source=folder / "a.png"),
    ]


def test_a_repository_is_made_private_and_holds_exactly_the_files(state: Publishing, files: list[Upload]) -> None:
    told: list[UploadProgress] = []
    done = publish(files, repo_id=REPO, progress=told.append)
    repo = state.hub.repos[REPO]
    assert repo.private
    assert done.private
    assert done.url == f"{state.hub.url}/{REPO}"
    assert done.commit == repo.commit
    del repo.files[".gitattributes"]
    assert repo.files == {"hrld.safetensors": LORA, "README.md": CARD, "sample/a.png": b"\x89PNG one"}
    assert state.commits == [(["README.md", "hrld.safetensors", "sample/a.png"], [])]
    total = len(LORA) + len(CARD) + 8
    assert {one.total_bytes for one in told} == {total}
    assert [one.done_bytes for one in told] == sorted(one.done_bytes for one in told)
    assert any(0 < one.done_bytes < len(LORA) for one in told), "the large file's progress is told while it goes"
    assert (told[-1].done_bytes, told[-1].doing) == (total, "done")


def test_the_token_is_in_the_header_alone(
    state: Publishing, files: list[Upload], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    state.warnings = [{"message": "the base model has no page"}]
    publish(files, repo_id=REPO)
    assert state.hub.leaks(SECRET) == []
    asked = [request for request in state.hub.requests if request.server == "hub"]
    assert any(request.headers.get("authorization") == f"Bearer {SECRET}" for request in asked)
    assert all("authorization" not in request.headers for request in state.hub.requests if request.server == "cdn")
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
    out, err = capfd.readouterr()
    assert out == err == "", "the library prints nothing of its own"


def test_again_updates_and_sends_only_what_changed(state: Publishing, files: list[Upload]) -> None:
    publish(files, repo_id=REPO)
    assert len(state.uploads) == 2
    changed = Upload(path_in_repo="README.md", data=CARD + b"more\n")
    second = publish([files[0], changed], repo_id=REPO, ours=OURS, stale=["sample/a.png", "sample/never-there.png"])
    assert len(state.uploads) == 2
    assert state.commits[1] == (["README.md"], ["sample/a.png"])
    assert second.commit == state.hub.repos[REPO].commit
    assert state.hub.repos[REPO].files["README.md"] == CARD + b"more\n"
    third = publish([files[0], changed], repo_id=REPO, ours=OURS)
    assert third.commit is None
    assert len(state.commits) == 2


def test_a_failure_half_way_sends_nothing_twice(state: Publishing, files: list[Upload]) -> None:
    state.expect_failure(b"\x89PNG one")
    with pytest.raises(HubError) as caught:
        publish(files, repo_id=REPO)
    assert "on demand" in caught.value.message
    assert "nothing twice" in str(caught.value.hint)
    assert state.commits == []
    assert len(state.uploads) == 1
    publish(files, repo_id=REPO)
    assert len(state.uploads) == 2, "the LoRA went up once"
    assert state.hub.repos[REPO].files["hrld.safetensors"] == LORA


def test_a_very_large_file_goes_up_in_parts(state: Publishing, files: list[Upload]) -> None:
    state.part_bytes = 300_000
    told: list[UploadProgress] = []
    publish(files, repo_id=REPO, progress=told.append)
    assert state.hub.repos[REPO].files["hrld.safetensors"] == LORA
    assert [len(part) for part in next(iter(state.parts.values())).values()] == [300_000, 300_000, 300_000, 148_576]
    assert [one.done_bytes for one in told] == sorted(one.done_bytes for one in told)
    assert told[-1].done_bytes == told[-1].total_bytes


def test_a_commit_that_fails_is_made_the_next_time(state: Publishing, files: list[Upload]) -> None:
    state.fail_commits = 1
    with pytest.raises(HubError, match="500"):
        publish(files, repo_id=REPO)
    assert "hrld.safetensors" not in state.hub.repos[REPO].files
    publish(files, repo_id=REPO)
    assert len(state.uploads) == 2
    assert state.hub.repos[REPO].files["hrld.safetensors"] == LORA


def test_breaking_off_stops_in_the_middle_of_a_file(state: Publishing, files: list[Upload]) -> None:
    told: list[UploadProgress] = []
    with pytest.raises(PublishCancelledError):
        publish(
            files, repo_id=REPO, progress=told.append, cancelled=lambda: bool(told and told[-1].done_bytes > 100_000)
        )
    assert state.uploads == []
    assert state.commits == []
    publish(files, repo_id=REPO)
    assert len(state.commits) == 1


def test_a_public_repository_is_not_filled_by_somebody_who_wants_a_private_one(
    state: Publishing, files: list[Upload]
) -> None:
    publish(files, repo_id=REPO, private=False)
    assert not state.hub.repos[REPO].private
    sent = len(state.commits)
    with pytest.raises(FluxgymError, match="everybody can see it"):
        publish(files, repo_id=REPO, private=True)
    assert len(state.commits) == sent


def test_other_work_in_a_repository_is_not_overwritten_unasked(state: Publishing, files: list[Upload]) -> None:
    state.hub.repos[REPO] = Repo(private=True, files={".gitattributes": b"", "README.md": b"mine", "model.bin": b"x"})
    with pytest.raises(RepoTakenError, match=r"README\.md, model\.bin"):
        publish(files, repo_id=REPO, ours=OURS)
    assert state.hub.repos[REPO].files["README.md"] == b"mine"
    assert state.uploads == []
    publish(files, repo_id=REPO, ours=OURS, replace=True)
    assert state.hub.repos[REPO].files["README.md"] == CARD
    assert state.hub.repos[REPO].files["model.bin"] == b"x"


def test_a_repository_becomes_public_only_when_all_is_up(state: Publishing, files: list[Upload]) -> None:
    state.fail_commits = 1
    with pytest.raises(HubError):
        publish(files, repo_id=REPO, private=False)
    assert state.hub.repos[REPO].private
    publish(files, repo_id=REPO, private=False)
    assert not state.hub.repos[REPO].private


@pytest.mark.parametrize(
    ("token", "refusal"),
    [
        (None, (REPO, "no_token", "nobody is logged in")),
        (Token(role="read"), (REPO, "forbidden", "may only read")),
        (Token(role="fineGrained"), (REPO, "token_scope", "may not write to any repository")),
        (Token(role="fineGrained", write_to=("lovelace",)), (REPO, "token_scope", "may not write to ada/hrld")),
        (Token(role="write"), ("babbage/hrld", "forbidden", "neither ada nor an organisation")),
    ],
)
def test_who_may_not_write_is_told_before_anything_is_sent(
    hub: StandIn,
    files: list[Upload],
    monkeypatch: pytest.MonkeyPatch,
    token: Token | None,
    refusal: tuple[str, str, str],
) -> None:
    repo, reason, words = refusal
    state = accept_publishing(hub)
    if token is not None:
        hub.tokens[SECRET] = token
        monkeypatch.setenv("HF_TOKEN", SECRET)
    with pytest.raises(HubError, match=words) as caught:
        publish(files, repo_id=repo)
    assert caught.value.reason == reason
    assert caught.value.hint
    assert repo not in hub.repos
    assert state.commits == []
    assert not hub.paths(method="POST")


def test_a_token_that_is_no_more_is_told(hub: StandIn, files: list[Upload], monkeypatch: pytest.MonkeyPatch) -> None:
    accept_publishing(hub)
    monkeypatch.setenv("HF_TOKEN", "hf_of_yesterday")
    with pytest.raises(HubError) as caught:
        publish(files, repo_id=REPO)
    assert caught.value.reason == "bad_token"


def test_an_organisation_and_a_fine_grained_token_that_fits(state: Publishing, files: list[Upload]) -> None:
    state.hub.tokens[SECRET] = Token(role="fineGrained", orgs=("lovelace",), write_to=("lovelace",))
    assert publish(files, repo_id="lovelace/hrld").repo_id == "lovelace/hrld"


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("ada/hrld-person_1.0", None),
        ("hrld", "OWNER/NAME"),
        ("/hrld", "OWNER/NAME"),
        ("ada/", "OWNER/NAME"),
        ("ada/a/b", "one /"),
        ("ada/hrld person", "not space"),
        ("ada/hrld!é", "not ! é"),
        ("ada/-hrld", "begins and ends"),
        ("ada/hrld.", "begins and ends"),
        ("ada/a--b", "-- or .."),
        ("ada/hrld.git", ".git"),
        ("ada/" + "x" * 97, "97 characters"),
    ],
)
def test_a_name_is_checked_by_the_hubs_rules(name: str, wrong: str | None) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    reason = why_no_repo_name(name)
    if wrong is None:
        assert reason is None
        assert checked_repo_name(name) == name
        validate_repo_id(name)
        return
    assert reason is not None
    assert wrong in reason
    with pytest.raises(FluxgymError):
        checked_repo_name(name)
    if name.count("/") == 1 and all(name.split("/")):
        with pytest.raises(HFValidationError):
            validate_repo_id(name)


def test_a_dry_run_is_what_goes_up_to_the_byte(state: Publishing, files: list[Upload], tmp_path: Path) -> None:
    dry = tmp_path / "dry"
    write_files(files, dry)
    publish(files, repo_id=REPO)
    written = {str(path.relative_to(dry)): path.read_bytes() for path in dry.rglob("*") if path.is_file()}
    up = {name: data for name, data in state.hub.repos[REPO].files.items() if name != ".gitattributes"}
    assert written == up
    with pytest.raises(FluxgymError, match="not empty"):
        write_files(files, dry)


def test_a_file_that_is_gone_is_told(state: Publishing, files: list[Upload]) -> None:
    gone = files[0].source
    assert gone is not None
    gone.unlink()
    with pytest.raises(FluxgymError, match=r"hrld\.safetensors cannot be read"):
        publish(files, repo_id=REPO)


def test_nothing_is_asked_where_the_hub_is_switched_off(
    state: Publishing, files: list[Upload], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError) as caught:
        publish(files, repo_id=REPO)
    assert caught.value.reason == "offline"
    assert state.hub.requests == []
