"""Who is logged in to Hugging Face: the token, the account behind it, login and logout."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.files import write_atomic
from fluxgym_tui.hub.library import TOKENS_LINK, HubError, ask, load, told

ENVIRONMENT = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_FLUXGYM_FILE = "HF_TOKEN"  # fluxgym keeps the token of its login in a file of this name in its own folder
_OFFERED = "fluxgym-token-offered"
_POSSIBLE = re.compile(r"[!-~]+")
_WRITES = ("repo.write", "repo.content.write")


class Token:
    """A secret that does not print itself: `reveal` is called where the request is built, and nowhere else."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value.strip()

    def reveal(self) -> str:
        """The token itself."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "Token(hidden)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Token) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str:
        raise TypeError("a token is not written anywhere")


@dataclass(frozen=True, slots=True)
class TokenSource:
    """The token that requests are sent with, and where it comes from: the environment or Hugging Face's own store."""

    token: Token
    kind: Literal["environment", "stored"]
    place: str  # the variable's name, or the file


@dataclass(frozen=True, slots=True)
class Organisation:
    """An organisation of the account; `role` is admin, write, contributor, read, or None where the Hub says none."""

    name: str
    role: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Whom a token belongs to and what it may do.

    `role` is read, write or fine-grained (None: the Hub does not say). For a fine-grained token `reads_gated` says
    whether it reads gated repositories, and `writes_to` names the owners and repositories it may write to.
    """

    name: str
    fullname: str | None = None
    organisations: tuple[Organisation, ...] = ()
    role: str | None = None
    token_name: str | None = None
    reads_gated: bool | None = None
    writes_to: tuple[str, ...] = ()

    @property
    def owners(self) -> tuple[str, ...]:
        """Names that a repository of this account may begin with, its own first."""
        return (self.name, *(organisation.name for organisation in self.organisations))

    def may_write(self, owner: str, repo: str | None = None) -> bool | None:
        """Whether the token may write to `owner`'s repositories, or `owner/repo`; None where only a try can tell."""
        if self.role == "read":
            return False
        if owner != self.name:
            organisation = next((one for one in self.organisations if one.name == owner), None)
            if organisation is None or organisation.role == "read":
                return False
        if self.role == "fine-grained":
            wanted = {owner} if repo is None else {owner, f"{owner}/{repo}"}
            return bool(wanted & set(self.writes_to))
        return True if self.role == "write" else None


def token_source() -> TokenSource | None:
    """The token of this machine: HF_TOKEN, else what Hugging Face's own login stored; None where there is none.

    Raises:
        HubError: what is there cannot be a token.
    """
    for name in ENVIRONMENT:
        if token := Token(os.environ.get(name, "")):
            return TokenSource(_checked(token, name), "environment", name)
    library = load()
    if stored := library.get_token():
        place = str(library.constants.HF_TOKEN_PATH)
        return TokenSource(_checked(Token(stored), place), "stored", place)
    return None


def _checked(token: Token, place: str) -> Token:
    """`token`, where it can stand in a header at all."""
    if not _POSSIBLE.fullmatch(token.reveal()):
        raise HubError(
            "bad_token",
            f"{place} holds no token: there are spaces in it, or characters that no token has",
            hint=f"Copy it whole from {TOKENS_LINK}.",
        )
    return token


def whoami(token: Token | None = None) -> Account:
    """The account of `token`, or of this machine's.

    Raises:
        HubError: there is no token, Hugging Face does not know it, or cannot be asked.
    """
    if token is None:
        source = token_source()
        if source is None:
            raise HubError("no_token", "nobody is logged in to Hugging Face", hint=_LOGIN_HINT)
        token = source.token
    with told("ask who the token belongs to"):
        return read_account(ask("/api/whoami-v2", token=token.reveal()).json())


def login(token: Token) -> Account:
    """Check `token`, and put it into Hugging Face's own store, where all programs that use the Hub find it.

    Raises:
        HubError: Hugging Face does not know the token, or cannot be asked; nothing is stored then.
        FluxgymError: the store cannot be written.
    """
    if not token:
        raise FluxgymError("the token is empty", hint=f"Copy it whole from {TOKENS_LINK}.")
    _checked(token, "what was given")
    if token.reveal().startswith("api_org"):
        raise FluxgymError("this is an organisation's token; a login needs a person's", hint=f"See {TOKENS_LINK}.")
    account = whoami(token)
    library = load()
    try:
        with told("store the token"):
            library.login(token=token.reveal(), add_to_git_credential=False)
    except OSError as error:
        raise FluxgymError(
            f"cannot write Hugging Face's token store {library.constants.HF_TOKEN_PATH}: {error.strerror or error}",
            hint="HF_HOME names another folder for it.",
        ) from error
    return account


def logout() -> bool:
    """Take the stored token away, as `hf auth logout` does; whether there was one. HF_TOKEN is not ours to unset."""
    library = load()
    stored = Path(library.constants.HF_TOKEN_PATH)
    had = stored.is_file() or Path(library.constants.HF_STORED_TOKENS_PATH).is_file()
    try:
        library.logout()
    except OSError as error:
        # The library complains of a token in the environment once the stored one is gone; that is told by us.
        if stored.exists():
            raise FluxgymError(
                f"cannot remove {stored}: {error.strerror or error}", hint="Check its permissions."
            ) from error
    return had


def offered_fluxgym_token(workspace: Path, *, state_home: Path | None = None) -> Path | None:
    """The file in which fluxgym left its token, the first time it is asked for; None ever after, or where none is.

    The file is neither read nor copied here. `state_home` is the user's folder for such notes.
    """
    file = workspace / _FLUXGYM_FILE
    if not file.is_file():
        return None
    state = state_home or Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    note = state / "fluxgym-tui" / _OFFERED
    try:
        known = note.read_text(encoding="utf-8", errors="surrogateescape").splitlines() if note.is_file() else []
        if str(file) in known:
            return None
        note.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(note, "".join(f"{line}\n" for line in (*known, str(file))))
    except OSError:
        return None  # where it cannot be remembered it would be offered for ever
    return file


def read_token_file(path: Path) -> Token:
    """The token in `path`, which the user said may be used. FluxgymError where it cannot be read."""
    try:
        return Token(path.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise FluxgymError(f"cannot read {path}: {error.strerror}", hint="Check its permissions.") from error


def read_account(said: Mapping[str, Any]) -> Account:
    """The account in whoami's answer; fields it has not are None or empty."""
    access = (said.get("auth") or {}).get("accessToken") or {}
    role = access.get("role")
    fine = access.get("fineGrained") or {}
    return Account(
        name=str(said.get("name", "")),
        fullname=said.get("fullname") or None,
        organisations=tuple(
            Organisation(str(one["name"]), one.get("roleInOrg")) for one in said.get("orgs") or () if one.get("name")
        ),
        role="fine-grained" if role == "fineGrained" else role,
        token_name=access.get("displayName"),
        reads_gated=bool(fine.get("canReadGatedRepos")) if role == "fineGrained" else None,
        writes_to=tuple(
            str(scope["entity"]["name"])
            for scope in fine.get("scoped") or ()
            if scope.get("entity", {}).get("name") and any(word in scope.get("permissions", ()) for word in _WRITES)
        ),
    )


_LOGIN_HINT = f"fluxgym-tui login takes a token from {TOKENS_LINK}; HF_TOKEN works as well."
