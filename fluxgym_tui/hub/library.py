"""huggingface_hub, loaded where it is used, and its errors in our words."""

# huggingface_hub takes a third of a second to import and most commands never need it: every import is in a function.

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal
from urllib.parse import urlsplit

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.text import human_time

Reason = Literal[
    "no_token",
    "bad_token",
    "licence",
    "token_scope",
    "forbidden",
    "no_repo",
    "no_file",
    "offline",
    "unreachable",
    "busy",
    "server",
]

SITE = "https://huggingface.co"
NEW_TOKEN_LINK = f"{SITE}/settings/tokens/new?canReadGatedRepos=true&tokenType=fineGrained"
TOKENS_LINK = f"{SITE}/settings/tokens"
_GATED_SCOPE_WORDS = "enable access to public gated repositories"  # how the Hub says that a token's scope is too small


class HubError(FluxgymError):
    """Hugging Face said no, or could not be asked; `reason` says which of the ways it was."""

    def __init__(self, reason: Reason, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint, code=ExitCode.FAILED)
        self.reason: Reason = reason


def load() -> Any:
    """The module huggingface_hub, with its telemetry off unless the user turned it on.

    Raises:
        FluxgymError: a variable of its own has a value that it does not take.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read when the library is loaded
    try:
        library: Any = importlib.import_module("huggingface_hub")
        # Its warnings go to stderr in its own words, among ours; what matters of them reaches people as our errors.
        importlib.import_module("huggingface_hub.utils").logging.set_verbosity_error()
    except ValueError as error:
        names = ", ".join(sorted(name for name in os.environ if name.startswith("HF_HUB_")))
        raise FluxgymError(
            f"huggingface_hub does not take one of its variables: {error}", hint=f"Set here: {names}."
        ) from error
    return library


def transport_errors() -> tuple[type[Exception], ...]:
    """What the library's HTTP client raises where no answer comes: connection, proxy, timeout, a broken stream."""
    # The library changed from httpx to httpx2 between its versions: whichever its session is of.
    client = importlib.import_module(type(load().get_session()).__module__.partition(".")[0])
    errors: tuple[type[Exception], ...] = (client.RequestError, client.StreamError)
    return errors


def endpoint() -> str:
    """Where the Hub is: HF_ENDPOINT, else huggingface.co."""
    address: str = load().constants.ENDPOINT
    return address


def shown_endpoint() -> str:
    """`endpoint` as people and files may see it: without the user and password that a mirror's address may carry."""
    parts = urlsplit(endpoint())
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def ask(path: str, *, token: str | None) -> Any:
    """The Hub's answer to a GET of `path`, as a response of its HTTP client; errors as the library raises them.

    The library's own calls wait for ever where nobody answers; this one gives up after HF_HUB_DOWNLOAD_TIMEOUT seconds.
    """
    library = load()
    headers = library.utils.build_hf_headers(token=False if token is None else token)
    timeout = library.constants.HF_HUB_DOWNLOAD_TIMEOUT
    answer = library.get_session().get(f"{endpoint()}{path}", headers=headers, timeout=timeout)
    library.utils.hf_raise_for_status(answer)
    return answer


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids every request; told without loading the library for it."""
    loaded = sys.modules.get("huggingface_hub.constants")
    if loaded is not None:  # what it read when it was loaded is what it goes by
        return bool(loaded.HF_HUB_OFFLINE)
    asked = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return asked.upper() in ("1", "ON", "YES", "TRUE")


def repo_link(repo: str) -> str:
    """The page of a model, where its licence is accepted; never a mirror's."""
    return f"{SITE}/{repo}"


@contextmanager
def told(what: str, *, repo: str | None = None, logged_in: bool = True) -> Iterator[None]:
    """The library's errors while `what` was tried, as `HubError`.

    `repo` is the repository that was asked for; `logged_in` whether a token went with the request.
    """
    load()
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    try:
        yield
    except OfflineModeIsEnabled as error:
        raise offline(what) from error
    except HFValidationError as error:
        said = str(error).splitlines()[0]
        raise HubError("no_repo", f"cannot {what}: {said}", hint="Check the name of the repository.") from error
    except HfHubHTTPError as error:
        raise _refusal(error, what, repo=repo, logged_in=logged_in) from error
    except transport_errors() as error:
        raise unreachable(what, error) from error
    except ValueError as error:  # JSON was promised
        raise not_the_hub(what) from error


def not_the_hub(what: str) -> HubError:
    """The error of an answer that the Hub would not give: a login page of the network, a proxy's, no mirror at all."""
    return HubError(
        "server",
        f"cannot {what}: what answers at {shown_endpoint()} is not Hugging Face",
        hint="Check HF_ENDPOINT and the network: a hotel's login page or a proxy answers like this.",
    )


def offline(what: str) -> HubError:
    """The error of a request that HF_HUB_OFFLINE forbids."""
    return HubError(
        "offline",
        f"cannot {what}: HF_HUB_OFFLINE is set",
        hint="Unset it; files that are here are used without asking.",
    )


def unreachable(what: str, error: Exception) -> HubError:
    """The error of a request that got no answer."""
    said = str(error) or type(error).__name__
    proxies = [name for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY") if os.environ.get(name)]
    through = f" through {proxies[0]}" if proxies else ""
    return HubError(
        "unreachable",
        f"cannot {what}: no answer from {shown_endpoint()}{through} ({said})",
        hint="Check the network; HF_ENDPOINT names a mirror, HTTPS_PROXY a proxy.",
    )


def no_token(repo: str) -> HubError:
    """The error of a gated repository that was asked for without a token."""
    return HubError(
        "no_token",
        f"{repo} asks who you are, and nobody is logged in",
        hint=f"Accept its licence at {repo_link(repo)}, make a token at {NEW_TOKEN_LINK}, then: fluxgym-tui login",
    )


def _refusal(error: Any, what: str, *, repo: str | None, logged_in: bool) -> HubError:
    """What an HTTP status means. GatedRepoError is a RepositoryNotFoundError: it is looked for first."""
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, RepositoryNotFoundError

    status: int = error.response.status_code
    said = str(error.server_message or error).strip().splitlines()[0].replace(endpoint(), shown_endpoint())
    if status == 401 and "invalid" in said.lower() and logged_in:
        return HubError(
            "bad_token",
            f"cannot {what}: Hugging Face does not know the token that was sent (expired, deleted or mistyped?)",
            hint="fluxgym-tui login takes a new one; a token in HF_TOKEN comes before it.",
        )
    if repo is not None and _GATED_SCOPE_WORDS in f"{said} {error}":
        return HubError(
            "token_scope",
            f"{repo} is gated, and the token is not allowed to read gated repositories",
            hint='Tick "Read access to contents of all public gated repos you can access" for it at '
            f"{TOKENS_LINK}, or log in with a token that has it.",
        )
    if repo is not None and isinstance(error, GatedRepoError):
        if not logged_in:
            return no_token(repo)
        return HubError(
            "licence",
            f"the licence of {repo} is not accepted yet by the account of this token",
            hint=f"Accept it at {repo_link(repo)} with the account of the token, then try again. Hugging Face: {said}",
        )
    if isinstance(error, EntryNotFoundError):
        return HubError("no_file", f"cannot {what}: there is no such file", hint="Check repo and file in models.yaml.")
    if repo is not None and (isinstance(error, RepositoryNotFoundError) or status in (401, 404)):
        who = "" if logged_in else " Where it is private: fluxgym-tui login."
        return HubError(
            "no_repo",
            f"cannot {what}: there is no {repo}, or it is private",
            hint=f"Check its name in models.yaml and at {repo_link(repo)}.{who}",
        )
    if status == 401:
        return HubError("no_token", f"cannot {what}: {said}", hint="fluxgym-tui login takes a token.")
    if status == 403:
        return HubError("forbidden", f"cannot {what}: {said}", hint=f"Check what the token may do at {TOKENS_LINK}.")
    if status == 429:
        wait = error.response.headers.get("Retry-After", "")
        after = f" in {human_time(float(wait))}" if wait.isdecimal() else " in a few minutes"
        return HubError("busy", f"cannot {what}: Hugging Face says these were too many requests", hint=f"Try{after}.")
    return HubError(
        "server", f"cannot {what}: {shown_endpoint()} answered {status}: {said}", hint="Try again in a moment."
    )
