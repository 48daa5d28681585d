"""Access is asked for before anything starts: three different refusals, and what else may come back."""

import os
import re
import subprocess
import sys
import threading

import pytest

from fluxgym_tui.base.errors import ExitCode
from fluxgym_tui.hub import library
from fluxgym_tui.hub.access import check_access
from fluxgym_tui.hub.auth import Token, whoami
from fluxgym_tui.hub.library import HubError
from fluxgym_tui.hub.remote import look_up
from tests.hub import standin

FLUX = "black-forest-labs/FLUX.1-dev"


@pytest.fixture(autouse=True)
def repos(hub: standin.StandIn) -> None:
    hub.repos[FLUX] = standin.Repo(gated=True)
    hub.repos["open/model"] = standin.Repo()
    hub.repos["ada/secret"] = standin.Repo(private=True)


def refused(repo: str) -> HubError:
    with pytest.raises(HubError) as caught:
        check_access(repo)
    return caught.value


def logged_in(monkeypatch: pytest.MonkeyPatch, hub: standin.StandIn, token: standin.Token) -> None:
    hub.tokens["hf_x"] = token
    monkeypatch.setenv("HF_TOKEN", "hf_x")


def test_an_open_repository_needs_no_token(hub: standin.StandIn) -> None:
    check_access("open/model")
    assert hub.paths() == ["/api/models/open/model/auth-check"]
    assert "authorization" not in hub.requests[0].headers


def test_three_refusals_that_differ(hub: standin.StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = refused(FLUX)
    assert nobody.reason == "no_token"
    assert "nobody is logged in" in nobody.message
    assert "https://huggingface.co/black-forest-labs/FLUX.1-dev" in str(nobody.hint)

    logged_in(monkeypatch, hub, standin.Token())
    licence = refused(FLUX)
    assert licence.reason == "licence"
    assert "licence of black-forest-labs/FLUX.1-dev is not accepted" in licence.message
    assert "Accept it at https://huggingface.co/black-forest-labs/FLUX.1-dev" in str(licence.hint)

    logged_in(monkeypatch, hub, standin.Token(role="fineGrained", reads_gated=False, accepted=frozenset({FLUX})))
    scope = refused(FLUX)
    assert scope.reason == "token_scope"
    assert "not allowed to read gated repositories" in scope.message
    assert "https://huggingface.co/settings/tokens" in str(scope.hint)
    assert len({error.message for error in (nobody, licence, scope)}) == 3

    logged_in(monkeypatch, hub, standin.Token(accepted=frozenset({FLUX})))
    check_access(FLUX)
    assert hub.leaks("hf_x") == []


def test_a_repository_that_is_not_there_or_private(hub: standin.StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused("nobody/nothing").reason == "no_repo"
    assert "fluxgym-tui login" in str(refused("ada/secret").hint)
    logged_in(monkeypatch, hub, standin.Token(name="eve"))
    assert refused("ada/secret").reason == "no_repo"
    logged_in(monkeypatch, hub, standin.Token(name="ada"))
    check_access("ada/secret")


def test_a_token_the_hub_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_deleted")
    error = refused(FLUX)
    assert error.reason == "bad_token"
    assert "hf_deleted" not in str(error)


def test_offline_asks_nobody(hub: standin.StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library.load().constants, "HF_HUB_OFFLINE", True)
    error = refused("open/model")
    assert error.reason == "offline"
    assert "HF_HUB_OFFLINE" in error.message
    assert hub.requests == []


def test_no_answer_names_the_endpoint(hub: standin.StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.stop()
    error = refused("open/model")
    assert error.reason == "unreachable"
    assert hub.url in error.message


def test_the_password_in_a_mirrors_address_is_shown_to_nobody(
    hub: standin.StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url.replace("//", "//ada:pass-word@"))
    missing = refused("no/model")
    hub.stop()
    library.load().close_session()
    error = refused("open/model")
    assert error.reason == "unreachable"
    assert hub.url in error.message
    assert "pass-word" not in f"{missing} {error}"


def test_a_variable_of_the_library_that_makes_no_sense_is_told() -> None:
    env = {**os.environ, "HF_HUB_DOWNLOAD_TIMEOUT": "soon"}
    argv = [sys.executable, "-m", "fluxgym_tui", "whoami"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == ExitCode.USAGE
    assert "'soon'" in done.stderr
    assert "HF_HUB_DOWNLOAD_TIMEOUT" in done.stderr


def test_a_proxy_is_used_and_named(hub: standin.StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # nobody listens there
    library.load().close_session()
    error = refused("open/model")
    assert error.reason == "unreachable"
    assert "through HTTP_PROXY" in error.message
    assert hub.requests == []


def test_a_mirror_that_does_not_know_the_question_is_no_refusal(hub: standin.StandIn) -> None:
    hub.on("GET", "/api/models/open/model/auth-check")(lambda exchange, _: exchange.reply(404, b"not here"))
    check_access("open/model")


def test_too_many_requests_and_broken_servers(hub: standin.StandIn) -> None:
    route = "/api/models/open/model/auth-check"
    hub.on("GET", route)(lambda exchange, _: exchange.reply(429, b"", headers={"Retry-After": "90"}))
    assert refused("open/model").reason == "busy"
    assert "1m 30s" in str(refused("open/model").hint)
    hub.on("GET", route)(lambda exchange, _: exchange.refuse(503, "down for repairs"))
    assert refused("open/model").reason == "server"
    assert "503: down for repairs" in refused("open/model").message


def test_what_goes_through_a_proxy(hub: standin.StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("HTTP_PROXY", hub.url)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://hub.invalid")
    library.load().close_session()
    check_access("open/model")
    assert hub.paths() == ["http://hub.invalid/api/models/open/model/auth-check"]


def test_names_that_no_repository_has() -> None:
    error = refused("open/model--copy")
    assert error.reason == "no_repo"
    assert "open/model--copy" in error.message


def test_a_login_page_of_the_network_is_not_the_hub(hub: standin.StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    page = b"<html>Welcome to the hotel</html>"
    hub.on("GET", "/api/whoami-v2")(lambda exchange, _: exchange.reply(200, page))
    hub.on("HEAD", "/open/model/resolve/main/a.bin")(lambda exchange, _: exchange.reply(200, page))
    for ask in (lambda: whoami(Token("hf_x")), lambda: look_up("open/model", "a.bin")):
        with pytest.raises(HubError) as caught:
            ask()
        assert caught.value.reason == "server"
        assert "is not Hugging Face" in caught.value.message


def test_a_hub_that_never_answers_is_not_waited_for(hub: standin.StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    silent = threading.Event()

    @hub.on("GET", "/api/models/open/model/auth-check")
    def never(_: standin.Exchange, __: re.Match[str]) -> None:
        silent.wait(10)

    assert refused("open/model").reason == "unreachable"
    silent.set()
