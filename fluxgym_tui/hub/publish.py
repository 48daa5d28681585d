"""Files to a repository of Hugging Face: its name checked, the right to write asked first, progress, one commit."""

import io
import re
import shutil
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.files import write_atomic
from fluxgym_tui.hub.auth import Account, TokenSource, token_source, whoami
from fluxgym_tui.hub.library import TOKENS_LINK, HubError, is_offline, load, offline, shown_endpoint, told

_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?")
_LONGEST = 96
_MADE_BY_THE_HUB = {".gitattributes"}
_WRITE_LINK = f"{TOKENS_LINK}/new?tokenType=write"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that goes up: its path in the repository, and where its bytes are: in the file `source`, or `data`.

    `size_bytes` is its length when this was made. OSError where there is no such file.
    """

    path_in_repo: str
    source: Path | None = None
    data: bytes = b""
    size_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        size_bytes = len(self.data) if self.source is None else self.source.stat().st_size
        object.__setattr__(self, "size_bytes", size_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadProgress:
    """Where an upload stands: bytes of all files that were sent or need not be, and what is being done."""

    done_bytes: int
    total_bytes: int
    doing: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What became of it: the repository's page, the commit (None: nothing had changed), whether it is private."""

    repo_id: str
    url: str
    commit: str | None
    private: bool


class PublishCancelledError(FluxgymError):
    """The user broke the upload off."""


class RepoTakenError(FluxgymError):
    """The repository is there with files of something else."""


def why_no_repo_name(name: str) -> str | None:
    """Why `name` cannot be a repository, OWNER/NAME by Hugging Face's rules; None where it can."""
    owner, slash, last = name.partition("/")
    if not slash or not owner or not last:
        return "write it as OWNER/NAME"
    if "/" in last:
        return "there is one / in OWNER/NAME"
    for word, part in (("owner", owner), ("name", last)):
        if len(part) > _LONGEST:
            return f"the {word} is {len(part)} characters long, {_LONGEST} are possible"
        if bad := sorted(set(re.findall(r"[^A-Za-z0-9._-]", part))):
            shown = " ".join("space" if sign.isspace() else sign for sign in bad)
            return f"the {word} may have letters, digits, - _ and . only: not {shown}"
        if not _NAME.fullmatch(part):
            return f"the {word} begins and ends with a letter or digit"
        if "--" in part or ".." in part:
            return f"the {word} may not have -- or .."
    if last.endswith((".git", ".ipynb")):
        return "the name may not end in .git or .ipynb"
    return None


def checked_repo_name(name: str) -> str:
    """`name`, where it can be a repository.

    Raises:
        FluxgymError: it cannot.
    """
    reason = why_no_repo_name(name)
    if reason is not None:
        raise FluxgymError(f"{name!r} is no name for a repository: {reason}", hint="As in: --repo ada/hrld-person")
    return name


def writer(repo_id: str | None = None) -> tuple[TokenSource, Account]:
    """The token of this machine and its account, which may write to `repo_id` (to some repository where it is None).

    Raises:
        HubError: nobody is logged in, the token only reads, or the owner is not the account's own; or no answer came.
    """
    if is_offline():
        raise offline("publish")
    source = token_source()
    if source is None:
        raise HubError(
            "no_token",
            "nobody is logged in to Hugging Face, and publishing needs a token that may write",
            hint=f"Make one at {_WRITE_LINK}, then: fluxgym-tui login. HF_TOKEN works as well.",
        )
    account = whoami(source.token)
    reason = why_not_writable(account, repo_id)
    if reason is not None:
        raise reason
    return source, account


def why_not_writable(account: Account, repo_id: str | None = None) -> HubError | None:
    """Why the token of `account` cannot publish as `repo_id`, or at all; None where it can, or only a try can tell."""
    if account.role == "read":
        return HubError(
            "forbidden",
            f"the token of {account.name} may only read",
            hint=f"Make one with the role write at {_WRITE_LINK}, then: fluxgym-tui login.",
        )
    if account.role == "fine-grained" and not account.writes_to:
        return HubError(
            "token_scope",
            f"the fine-grained token of {account.name} may not write to any repository",
            hint=f'Tick "Write access to contents/settings of all repos" for it at {TOKENS_LINK}.',
        )
    if repo_id is None:
        return None
    owner, _, name = repo_id.partition("/")
    if account.may_write(owner, name) is not False:
        return None
    if owner not in account.owners:
        return HubError(
            "forbidden",
            f"{owner} is neither {account.name} nor an organisation of that account",
            hint=f"Publish as one of: {', '.join(account.owners)}.",
        )
    if account.role == "fine-grained":
        return HubError(
            "token_scope",
            f"the fine-grained token of {account.name} may not write to {repo_id}",
            hint=f"It may write to: {', '.join(account.writes_to)}. Change that at {TOKENS_LINK}.",
        )
    return HubError("forbidden", f"{account.name} may only read in {owner}", hint=f"Ask an admin of {owner}.")


def write_files(files: Sequence[Upload], folder: Path) -> None:
    """Write what would go up under `folder`, which must be new or empty.

    Raises:
        FluxgymError: there is something in it, or it cannot be written.
    """
    try:
        if folder.exists() and any(folder.iterdir()):
            raise FluxgymError(f"{folder} is not empty", hint="Name a new folder: it then holds what would go up.")
        for file in files:
            target = folder / file.path_in_repo
            target.parent.mkdir(parents=True, exist_ok=True)
            if file.source is None:
                write_atomic(target, file.data)
            else:
                shutil.copyfile(file.source, target)
    except OSError as error:
        raise FluxgymError(
            f"cannot write {error.filename or folder}: {error.strerror}", hint="Check the folder and the disk's room."
        ) from error


def publish(
    files: Sequence[Upload],
    *,
    repo_id: str,
    private: bool = True,
    ours: Collection[str] = (),
    replace: bool = False,
    stale: Sequence[str] = (),
    message: str = "Publish with fluxgym-tui",
    progress: Callable[[UploadProgress], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Published:
    """Upload `files` to `repo_id` in one commit, making the repository where there is none; again, it updates.

    What went up before a failure is not sent again. `stale` files are removed where they are there. A public repository
    is never filled where `private` was asked for; one that is private becomes public only after the commit.
    A repository with files, none of them one of `ours`, is other work: its card is only overwritten with `replace`.

    Raises:
        HubError: Hugging Face refused, or did not answer.
        RepoTakenError: the repository holds something else.
        FluxgymError: the name cannot be a repository, it is public already, or a file cannot be read.
        PublishCancelledError: `cancelled` said so.
    """
    checked_repo_name(repo_id)
    source, _ = writer(repo_id)
    library = load()
    library.utils.disable_progress_bars()  # ours is told by `progress`
    # What the Hub would like in a card beyond what it needs: stderr is no place for it.
    warnings.filterwarnings("ignore", message="Warnings while validating metadata", category=UserWarning)
    api = library.HfApi(token=source.token.reveal())
    what = f"publish {repo_id}"
    with _publishing(what), _opened(files, tell := _Teller(files, progress, cancelled)) as operations:
        tell.doing(f"looking at {repo_id}")
        was_private, there = _make_repository(api, repo_id, private=private)
        if not replace and there and there.isdisjoint(ours):
            raise _taken(repo_id, there)
        for operation, file in zip(operations, files, strict=True):
            tell.file(file)
            api.preupload_lfs_files(repo_id, [operation], num_threads=1, free_memory=False)
            tell.sent(file)
        tell.doing("committing")
        commit = _commit(api, library, repo_id, operations, stale=stale, message=message)
        if was_private and not private:
            api.update_repo_settings(repo_id, private=False)
    tell.doing("done")
    return Published(repo_id=repo_id, url=f"{shown_endpoint()}/{repo_id}", commit=commit, private=private)


def _make_repository(api: Any, repo_id: str, *, private: bool) -> tuple[bool, set[str]]:
    """Make the repository, private, if it is not there; whether it is private now, and the files in it."""
    api.create_repo(repo_id, private=True, exist_ok=True)
    info = api.repo_info(repo_id)
    if private and not info.private:
        raise FluxgymError(
            f"{repo_id} exists and everybody can see it",
            hint="Say public if that is right (--public; in the app: t), or choose another name.",
            code=ExitCode.FAILED,
        )
    return bool(info.private), {sibling.rfilename for sibling in info.siblings or ()} - _MADE_BY_THE_HUB


def _taken(repo_id: str, there: set[str]) -> RepoTakenError:
    names = sorted(there)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return RepoTakenError(
        f"{repo_id} exists with other files: {', '.join(names[:3])}{more}",
        hint="Choose another name. To put it there all the same, over the card that is there: --replace.",
        code=ExitCode.BUSY,
    )


def _commit(
    api: Any, library: Any, repo_id: str, operations: list[Any], *, stale: Sequence[str], message: str
) -> str | None:
    """One commit of everything; its id, or None where the repository has all of it already."""
    info = api.repo_info(repo_id)
    there = {sibling.rfilename for sibling in info.siblings or ()}
    removed = [library.CommitOperationDelete(path_in_repo=path) for path in stale if path in there]
    made = api.create_commit(repo_id, operations=[*operations, *removed], commit_message=message)
    return None if made.oid == info.sha else str(made.oid)


@contextmanager
def _publishing(what: str) -> Iterator[None]:
    """The library's errors in our words; those of a file's upload come wrapped in another."""
    try:
        with told(what):
            try:
                yield
            except RuntimeError as error:
                if error.__cause__ is None:
                    raise
                raise error.__cause__ from None
    except HubError as error:
        again = f"Then the same again: fluxgym-tui goes on, and sends nothing twice. {error.hint or ''}".strip()
        raise HubError(error.reason, error.message, hint=again) from error
    except OSError as error:
        raise FluxgymError(
            f"cannot {what}: {error.filename or 'a file'} cannot be read: {error.strerror or error}",
            hint="Check the run's files.",
            code=ExitCode.FAILED,
        ) from error
    except ValueError as error:  # what the library says of answers and cards that it does not take
        raise FluxgymError(
            f"cannot {what}: {str(error).splitlines()[0]}", hint="Try again in a moment.", code=ExitCode.FAILED
        ) from error


class _Teller:
    """Sums up what was sent, and tells it."""

    def __init__(
        self,
        files: Sequence[Upload],
        progress: Callable[[UploadProgress], None] | None,
        cancelled: Callable[[], bool],
    ) -> None:
        self._progress = progress
        self._cancelled = cancelled
        self._total = sum(file.size_bytes for file in files)
        self._done = 0
        self._of_file = 0
        self._doing = ""

    def doing(self, words: str) -> None:
        """What is done now."""
        self.check()
        self._doing = words
        self._tell()

    def file(self, file: Upload) -> None:
        """`file` is about to be sent."""
        self._of_file = 0
        self.doing(file.path_in_repo)

    def at(self, position: int) -> None:
        """The file that is sent was read up to `position`; a retry begins anew."""
        self.check()
        self._of_file = position
        self._tell()

    def sent(self, file: Upload) -> None:
        """`file` is up, or need not be sent before the commit."""
        self._done += file.size_bytes
        self._of_file = 0
        self._tell()

    def check(self) -> None:
        """Raise where the user has had enough."""
        if self._cancelled():
            raise PublishCancelledError(
                "publishing was broken off", hint="What went up is not sent again.", code=ExitCode.STOPPED
            )

    def _tell(self) -> None:
        if self._progress is not None:
            done = min(self._done + self._of_file, self._total)
            self._progress(UploadProgress(done_bytes=done, total_bytes=self._total, doing=self._doing))


class _CountedFile(io.BufferedReader):
    """A file that tells how far it was read once `counting` is set; the library reads it for its hash before."""

    def __init__(self, path: Path, tell: _Teller) -> None:
        super().__init__(io.FileIO(path))
        self._teller = tell
        self.counting = False

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if self.counting:
            self._teller.at(self.tell())
        else:
            self._teller.check()
        return data


@contextmanager
def _opened(files: Sequence[Upload], tell: _Teller) -> Iterator[list[Any]]:
    """The library's operations that add `files`; the files stay open meanwhile."""
    library = load()
    opened: list[_CountedFile] = []
    try:
        operations = []
        tell.doing("reading the files")
        for file in files:
            content: _CountedFile | bytes = file.data
            if file.source is not None:
                content = _CountedFile(file.source, tell)
                opened.append(content)
            operations.append(library.CommitOperationAdd(path_in_repo=file.path_in_repo, path_or_fileobj=content))
        for counted in opened:
            counted.counting = True
        yield operations
    finally:
        for counted in opened:
            with suppress(OSError):
                counted.close()
