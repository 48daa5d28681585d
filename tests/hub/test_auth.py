"""Login, logout and whoami against the stand-in; a token goes nowhere but into the Authorization header."""

import pickle
from pathlib import Path

import pytest

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.hub.auth import (
    Account,
    Organisation,
    Token,
    login,
    logout,
    offered_fluxgym_token,
    read_token_file,
    token_source,
    whoami,
)
from fluxgym_tui.hub.library import HubError
from tests.hub import standin

SECRET = "hf_abcdefghijklmnopqrstuvwxyz0123456789"


@pytest.fixture
def ada(hub: standin.StandIn) -> Token:
    hub.tokens[SECRET] = standin.Token(role="write", orgs=("atelier",))
    return Token(SECRET)


def files_with(secret: str, folder: Path) -> list[str]:
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and secret.encode() in path.read_bytes()
    ]


def test_a_token_never_shows_itself() -> None:
    token = Token(f"  {SECRET}\n")
    assert token.reveal() == SECRET
    assert SECRET not in f"{token!r} {token!s} {[token]} {vars(Token)}"
    with pytest.raises(TypeError, match="not written anywhere"):
        pickle.dumps(token)


def test_login_puts_the_token_into_hugging_faces_own_store(hub: standin.StandIn, ada: Token, tmp_path: Path) -> None:
    assert token_source() is None
    account = login(ada)
    assert (account.name, account.role, account.token_name) == ("ada", "write", "ada-token")
    source = token_source()
    assert source is not None
    assert (source.token, source.kind, source.place) == (ada, "stored", str(tmp_path / "hf/token"))
    assert (tmp_path / "hf/token").stat().st_mode & 0o777 == 0o600
    assert files_with(SECRET, tmp_path) == ["hf/stored_tokens", "hf/token"]
    assert whoami() == account
    assert hub.leaks(SECRET) == []
    assert {request.headers["authorization"] for request in hub.requests} == {f"Bearer {SECRET}"}
    assert logout()
    assert token_source() is None
    assert files_with(SECRET, tmp_path) == []
    assert not logout()


def test_a_token_the_hub_does_not_know_is_not_stored(hub: standin.StandIn, tmp_path: Path) -> None:
    with pytest.raises(HubError) as caught:
        login(Token("hf_mistyped"))
    assert caught.value.reason == "bad_token"
    assert "hf_mistyped" not in str(caught.value)
    assert files_with("hf_mistyped", tmp_path) == []
    with pytest.raises(FluxgymError, match="empty"):
        login(Token(" "))
    with pytest.raises(FluxgymError, match="organisation"):
        login(Token("api_org_x"))


@pytest.mark.parametrize("text", ["hf_two words", "hf_ümlaut", "hf_line\nbreak"])
def test_what_cannot_be_a_token_is_said_so(hub: standin.StandIn, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    with pytest.raises(HubError, match="what was given holds no token") as caught:
        login(Token(text))
    assert text not in str(caught.value)
    monkeypatch.setenv("HF_TOKEN", text)
    with pytest.raises(HubError, match="HF_TOKEN holds no token"):
        token_source()
    assert hub.requests == []


def test_the_environments_token_comes_first(
    hub: standin.StandIn, ada: Token, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    login(ada)
    hub.tokens["hf_other"] = standin.Token(name="bob")
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    source = token_source()
    assert source is not None
    assert (source.kind, source.place) == ("environment", "HF_TOKEN")
    assert whoami().name == "bob"
    assert logout()  # what was stored goes; the variable is the user's
    assert files_with(SECRET, tmp_path) == []
    assert token_source() == source


def test_nobody_logged_in_is_said_with_what_to_do(hub: standin.StandIn) -> None:
    with pytest.raises(HubError) as caught:
        whoami()
    assert caught.value.reason == "no_token"
    assert "fluxgym-tui login" in str(caught.value.hint)
    assert hub.requests == []


def test_what_a_token_may_write_to(hub: standin.StandIn) -> None:
    hub.tokens["hf_read"] = standin.Token(role="read", orgs=("atelier",))
    hub.tokens["hf_fine"] = standin.Token(role="fineGrained", orgs=("atelier",), write_to=("ada",), reads_gated=False)
    reader, fine = whoami(Token("hf_read")), whoami(Token("hf_fine"))
    assert reader.owners == ("ada", "atelier")
    assert reader.may_write("ada") is False
    assert (fine.role, fine.reads_gated, fine.writes_to) == ("fine-grained", False, ("ada",))
    assert (fine.may_write("ada"), fine.may_write("atelier"), fine.may_write("nobody")) == (True, False, False)
    only_one = Account(name="ada", role="fine-grained", writes_to=("ada/mine",))
    assert (only_one.may_write("ada", "mine"), only_one.may_write("ada", "other")) == (True, False)
    writer = Account(name="ada", role="write", organisations=(Organisation("read-only", "read"),))
    assert (writer.may_write("ada"), writer.may_write("read-only")) == (True, False)
    assert Account(name="ada").may_write("ada") is None


def test_fluxgyms_token_file_is_offered_once_and_never_copied(
    hub: standin.StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = tmp_path / "fluxgym"
    workspace.mkdir()
    assert offered_fluxgym_token(workspace) is None
    file = workspace / "HF_TOKEN"
    file.write_text(SECRET + "\n", encoding="utf-8")
    assert token_source() is None
    assert offered_fluxgym_token(workspace) == file
    assert offered_fluxgym_token(workspace) is None
    assert files_with(SECRET, tmp_path) == ["fluxgym/HF_TOKEN"]
    assert read_token_file(file) == Token(SECRET)
    monkeypatch.setenv("XDG_STATE_HOME", str(file))  # a place that takes no note
    assert offered_fluxgym_token(workspace) is None
