"""A file on the Hub as its server describes it, and its bytes from any offset on: by Xet, else by HTTP range."""

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fluxgym_tui.hub.auth import token_source
from fluxgym_tui.hub.library import SITE, is_offline, load, not_the_hub, offline, told

_SHA256 = re.compile(r"[0-9a-f]{64}")
_GIT_SHA1 = re.compile(r"[0-9a-f]{40}")


class AgainError(Exception):
    """The answer was of no use now and may be later; `wait_s` where the server says when."""

    def __init__(self, reason: str, *, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class RestartError(Exception):
    """The server does not go on in the middle: the file must be fetched from its beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """One file of one repository: its entity tag, its size in bytes (None: not told), and where its bytes are."""

    repo: str
    file: str
    etag: str
    size: int | None
    location: str
    xet: Any = None

    @property
    def sha256(self) -> str | None:
        """The SHA-256 of the content, where the entity tag is that: large files."""
        return self.etag if _SHA256.fullmatch(self.etag) else None

    @property
    def git_sha1(self) -> str | None:
        """Git's name of the content, where the entity tag is that: small files."""
        return self.etag if _GIT_SHA1.fullmatch(self.etag) else None


def look_up(repo: str, file: str) -> RemoteFile:
    """Ask for `file` of `repo`. HubError where it may not be read, is not there, or nobody answers."""
    what = f"download {file} of {repo}"
    if is_offline():
        raise offline(what)
    library = load()
    token = _token()
    with told(what, repo=repo, logged_in=token is not False):
        said = library.get_hf_file_metadata(library.hf_hub_url(repo, file), token=token)
    if said.commit_hash is None or not said.etag:
        raise not_the_hub(what)
    return RemoteFile(
        repo=repo, file=file, etag=said.etag, size=said.size, location=said.location, xet=said.xet_file_data
    )


def pieces(remote: RemoteFile, offset: int, *, by_xet: bool) -> Iterator[bytes]:
    """The bytes of `remote` from `offset` on, as they come.

    Raises:
        AgainError, RestartError: see there; and what `library.transport_errors` names.
        XetError (any error of that library): Xet does not work here.
    """
    return _xet_pieces(remote, offset) if by_xet else _http_pieces(remote, offset)


def xet_works(remote: RemoteFile) -> bool:
    """Whether the file is stored by Xet and the library for that can go on from an offset."""
    if remote.xet is None or remote.size is None or load().constants.HF_HUB_DISABLE_XET:
        return False
    try:
        hf_xet = importlib.import_module("hf_xet")
    except ImportError:
        return False
    return hasattr(getattr(hf_xet, "XetSession", None), "new_download_stream_group")


def _token() -> str | bool:
    source = token_source()
    return False if source is None else source.token.reveal()


def _headers() -> dict[str, str]:
    headers: dict[str, str] = load().utils.build_hf_headers(token=_token())
    return headers


def _http_pieces(remote: RemoteFile, offset: int) -> Iterator[bytes]:
    library = load()
    # Compressed on the way, offsets would mean something else.
    headers = {"Accept-Encoding": "identity"}
    if _origin(remote.location) in (_origin(library.constants.ENDPOINT), SITE):
        headers |= (
            _headers()
        )  # the token goes to the Hub alone (a mirror may send us there), never to who has the bytes
    if offset:
        headers["Range"] = f"bytes={offset}-"
    timeout = library.constants.HF_HUB_DOWNLOAD_TIMEOUT
    with library.get_session().stream("GET", remote.location, headers=headers, timeout=timeout) as answer:
        if answer.status_code >= 400:  # a link that has run out is refused, too: whoever asks anew gets another
            wait = answer.headers.get("Retry-After", "")
            raise AgainError(
                f"{_origin(remote.location)} answered {answer.status_code}",
                wait_s=float(wait) if wait.isdecimal() else None,
            )
        if offset and (answer.status_code != 206 or not _goes_on(answer.headers.get("Content-Range", ""), offset)):
            raise RestartError
        yield from answer.iter_bytes()


def _goes_on(content_range: str, offset: int) -> bool:
    return content_range.startswith(f"bytes {offset}-")


def _xet_pieces(remote: RemoteFile, offset: int) -> Iterator[bytes]:
    """The same through hf_xet's ordered stream, which can begin anywhere; its parts come from many servers at once."""
    hf_xet: Any = importlib.import_module("hf_xet")
    xet: Any = importlib.import_module("huggingface_hub.utils._xet")
    headers = _headers()
    connection = xet.refresh_xet_connection_info(file_data=remote.xet, headers=headers)
    group = hf_xet.XetSession().new_download_stream_group(
        endpoint=connection.endpoint,
        token=connection.access_token,
        token_expiry_unix_secs=connection.expiration_unix_epoch,
        token_refresh_url=remote.xet.refresh_route,
        token_refresh_headers=headers,
        custom_headers={name: value for name, value in headers.items() if name.lower() != "authorization"},
    )
    stream = group.download_stream(hf_xet.XetFileInfo(remote.xet.file_hash, remote.size), start=offset)
    try:
        yield from stream
    finally:
        stream.cancel()  # nothing goes on fetching behind a disk that is full or a download that was stopped


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
