"""A stand-in for the Hugging Face Hub: its HTTP API as huggingface_hub calls it, on 127.0.0.1, with faults on demand.

Nothing here is the Hub itself: tests point HF_ENDPOINT at `StandIn.url`. Large files are answered as the Hub does it,
by a redirect to a second server (`cdn_url`), which must never see a token. Every request is kept in `requests`.

More of the API is added by `StandIn.on(method, pattern)`, from any module of the tests; routes added later win.
"""

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34
_CHUNK_BYTES = 16_384


@dataclass(kw_only=True)
class Repo:
    """A repository: `files` by name. `gated` needs a token whose account has accepted the licence."""

    files: dict[str, bytes] = field(default_factory=dict)
    gated: bool = False
    private: bool = False
    commit: str = COMMIT


@dataclass(kw_only=True)
class Token:
    """A token the stand-in knows. `role` is read, write or fineGrained; `accepted` are the licences of its account."""

    name: str = "ada"
    role: str = "read"
    orgs: tuple[str, ...] = ()
    accepted: frozenset[str] = frozenset()
    reads_gated: bool = True  # a fine-grained token may lack it
    write_to: tuple[str, ...] = ()  # owners a fine-grained token may write to


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request as it came over the wire; `server` is hub or cdn."""

    server: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(kw_only=True)
class Fault:
    """What goes wrong while a file is sent: once for each entry of `cut_after`, then never again.

    `cut_after`: break the connection after that many bytes of an answer. `stall_s`: before breaking it, keep quiet for
    so long. `pause_s`: wait before every piece, always. `corrupt`: send wrong bytes of the right length, always.
    `status`: answer with these instead, one by one.
    """

    cut_after: list[int] = field(default_factory=list)
    stall_s: float = 0.0
    pause_s: float = 0.0
    corrupt: bool = False
    status: list[int] = field(default_factory=list)


class Exchange:
    """One request and the means to answer it."""

    def __init__(self, handler: BaseHTTPRequestHandler, request: Request) -> None:
        self._handler = handler
        self.request = request

    @property
    def token(self) -> str | None:
        """The bearer token that came with the request."""
        scheme, _, token = self.request.headers.get("authorization", "").partition(" ")
        return token if scheme == "Bearer" and token else None

    def json(self) -> Any:
        """The request's body as JSON."""
        return json.loads(self.request.body)

    def reply(self, status: int, body: bytes | Any = b"", *, headers: dict[str, str] | None = None) -> None:
        """Answer with bytes, or with anything else as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.start(status, length=len(data), headers=headers)
        if self.request.method != "HEAD":
            self._handler.wfile.write(data)

    def refuse(self, status: int, message: str, *, code: str | None = None) -> None:
        """Answer as the Hub refuses: the reason in the headers and in the body."""
        headers = {"X-Error-Message": message, "Content-Type": "application/json"}
        if code is not None:
            headers["X-Error-Code"] = code
        self.reply(status, {"error": message}, headers=headers)

    def start(self, status: int, *, length: int, headers: dict[str, str] | None = None) -> None:
        """Send status and headers; the caller sends the body."""
        self._handler.send_response(status)
        for name, value in {"Content-Length": str(length), **(headers or {})}.items():
            self._handler.send_header(name, value)
        self._handler.end_headers()

    def send(self, piece: bytes) -> None:
        """Send a part of the body."""
        self._handler.wfile.write(piece)
        self._handler.wfile.flush()

    def hang_up(self) -> None:
        """Break the connection."""
        self._handler.close_connection = True
        self._handler.connection.close()


Answer = Callable[[Exchange, re.Match[str]], None]


class StandIn:
    """The two servers, their repositories, tokens, faults, and all that was asked of them."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.tokens: dict[str, Token] = {}
        self.faults: dict[str, Fault] = {}  # by file name
        self.xet: dict[str, str] = {}  # Xet's hash of a file that is stored by it, by file name
        self.large_bytes = 1  # files at least as large are answered by redirect, as LFS files are
        self.requests: list[Request] = []
        self._routes: list[tuple[str, re.Pattern[str], Answer]] = []
        self._lock = threading.Lock()
        self._servers = [_Server(self, name) for name in ("hub", "cdn")]
        self.url, self.cdn_url = (f"http://127.0.0.1:{server.server_address[1]}" for server in self._servers)
        self._add_reading()

    def on(self, method: str, pattern: str) -> Callable[[Answer], Answer]:
        """Decorator: answer `method` requests whose path (query left out) matches the whole of `pattern`."""

        def add(answer: Answer) -> Answer:
            self._routes.append((method, re.compile(pattern), answer))
            return answer

        return add

    def paths(self, *, method: str | None = None, server: str | None = None) -> list[str]:
        """The paths that were asked for, in order."""
        return [
            request.path
            for request in self.requests
            if method in (None, request.method) and server in (None, request.server)
        ]

    def leaks(self, secret: str) -> list[str]:
        """Where `secret` came over the wire outside the Hub's own Authorization header."""
        found = []
        for request in self.requests:
            headers = {
                name: value
                for name, value in request.headers.items()
                if not (request.server == "hub" and name == "authorization")
            }
            wire = f"{request.path}\n{headers}".encode() + request.body
            if secret.encode() in wire:
                found.append(f"{request.server} {request.method} {request.path}")
        return found

    def start(self) -> None:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def answer(self, exchange: Exchange) -> None:
        """Keep the request and let the newest route that fits answer it."""
        with self._lock:
            self.requests.append(exchange.request)
            routes = list(reversed(self._routes))
        path = unquote(urlsplit(exchange.request.path).path)
        for method, pattern, answer in routes:
            if method == exchange.request.method and (match := pattern.fullmatch(path)):
                answer(exchange, match)
                return
        exchange.refuse(404, "Sorry, we can't find the page you are looking for.")

    def readable(self, exchange: Exchange, name: str) -> Repo | None:
        """The repository, or None where the refusal was sent."""
        repo = self.repos.get(name)
        if exchange.token is not None and exchange.token not in self.tokens:
            exchange.refuse(401, "Invalid credentials in Authorization header")
            return None
        known = self.tokens.get(exchange.token or "")
        owner = name.partition("/")[0]
        if repo is None or (repo.private and (known is None or owner not in (known.name, *known.orgs))):
            if known is None:
                exchange.refuse(401, "Invalid username or password.", code="RepoNotFound")
            else:
                exchange.refuse(404, "Repository not found", code="RepoNotFound")
            return None
        if not repo.gated:
            return repo
        if known is None:
            message = f"Access to model {name} is restricted. You must have access to it and be authenticated."
            exchange.refuse(401, message, code="GatedRepo")
        elif not known.reads_gated:
            message = (
                "Please enable access to public gated repositories in your fine-grained token settings to view this "
                "repository."
            )
            exchange.refuse(403, message)
        elif name not in known.accepted:
            message = f"Access to model {name} is restricted and you are not in the authorized list."
            exchange.refuse(403, message, code="GatedRepo")
        else:
            return repo
        return None

    def _add_reading(self) -> None:
        name = r"([^/]+/[^/]+)"

        @self.on("GET", "/api/whoami-v2")
        def whoami(exchange: Exchange, _: re.Match[str]) -> None:
            known = self.tokens.get(exchange.token or "")
            if known is None:
                exchange.refuse(401, "Invalid username or password.")
                return
            exchange.reply(200, account_json(known))

        @self.on("GET", rf"/api/models/{name}/auth-check")
        def auth_check(exchange: Exchange, match: re.Match[str]) -> None:
            if self.readable(exchange, match[1]) is not None:
                exchange.reply(200, {})

        @self.on("GET", rf"/api/models/{name}(?:/revision/.+)?")
        def model_info(exchange: Exchange, match: re.Match[str]) -> None:
            repo = self.readable(exchange, match[1])
            if repo is not None:
                exchange.reply(200, model_json(match[1], repo))

        @self.on("HEAD", rf"/{name}/resolve/[^/]+/(.+)")
        def head(exchange: Exchange, match: re.Match[str]) -> None:
            self._resolve(exchange, match[1], match[2])

        @self.on("GET", rf"/{name}/resolve/[^/]+/(.+)")
        def get(exchange: Exchange, match: re.Match[str]) -> None:
            self._resolve(exchange, match[1], match[2])

        @self.on("GET", rf"/cdn/{name}/(.+)")
        def cdn(exchange: Exchange, match: re.Match[str]) -> None:
            self._send_file(exchange, match[2], self.repos[match[1]].files[match[2]], {})

    def _resolve(self, exchange: Exchange, name: str, file: str) -> None:
        repo = self.readable(exchange, name)
        if repo is None:
            return
        if file not in repo.files:
            exchange.refuse(404, "Entry not found", code="EntryNotFound")
            return
        data = repo.files[file]
        headers = {"X-Repo-Commit": repo.commit, "Accept-Ranges": "bytes"}
        if len(data) >= self.large_bytes:
            headers |= {
                "X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"',
                "X-Linked-Size": str(len(data)),
                "ETag": '"of-the-redirect"',
                "Location": f"{self.cdn_url}/cdn/{name}/{file}",
            }
            if file in self.xet:
                route = f"{self.url}/api/models/{name}/xet-read-token/main"
                headers |= {"X-Xet-Hash": self.xet[file], "X-Xet-Refresh-Route": route}
            exchange.reply(302, b"", headers=headers)
            return
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()  # git's own name of a small file
        headers["ETag"] = f'"{blob}"'
        if exchange.request.method == "HEAD":
            exchange.start(200, length=len(data), headers=headers)
        else:
            self._send_file(exchange, file, data, headers)

    def _send_file(self, exchange: Exchange, file: str, data: bytes, headers: dict[str, str]) -> None:
        """Send `data`, or the range that was asked for, with the fault that waits for `file`."""
        fault = self.faults.get(file, Fault())
        if fault.status:
            exchange.refuse(fault.status.pop(0), "a fault on demand")
            return
        total = len(data)
        if fault.corrupt:
            data = bytes(byte ^ 0xFF for byte in data)
        begin, status = 0, 200
        if asked := re.fullmatch(r"bytes=(\d+)-", exchange.request.headers.get("range", "")):
            begin, status = int(asked[1]), 206
            if begin >= total:
                exchange.reply(416, b"", headers={"Content-Range": f"bytes */{total}"})
                return
            headers = {**headers, "Content-Range": f"bytes {begin}-{total - 1}/{total}"}
        exchange.start(status, length=total - begin, headers=headers)
        cut = fault.cut_after.pop(0) if fault.cut_after else None
        end = total if cut is None else min(total, begin + cut)
        for offset in range(begin, end, _CHUNK_BYTES):
            if fault.pause_s:
                time.sleep(fault.pause_s)
            exchange.send(data[offset : min(offset + _CHUNK_BYTES, end)])
        if cut is not None:
            time.sleep(fault.stall_s)
            exchange.hang_up()


def account_json(token: Token) -> dict[str, Any]:
    """What whoami-v2 says of a token."""
    access: dict[str, Any] = {"displayName": f"{token.name}-token", "role": token.role}
    if token.role == "fineGrained":
        scoped = [
            {"entity": {"type": "user", "name": owner}, "permissions": ["repo.content.read", "repo.write"]}
            for owner in token.write_to
        ]
        access["fineGrained"] = {
            "canReadGatedRepos": token.reads_gated,
            "global": [],
            "scoped": scoped,
        }
    return {
        "type": "user",
        "id": "0123456789abcdef01234567",
        "name": token.name,
        "fullname": token.name.title(),
        "orgs": [{"type": "org", "name": org, "fullname": org, "roleInOrg": "write"} for org in token.orgs],
        "auth": {"type": "access_token", "accessToken": access},
    }


def model_json(name: str, repo: Repo) -> dict[str, Any]:
    """What the API says of a model repository."""
    return {
        "_id": "0123456789abcdef01234567",
        "id": name,
        "modelId": name,
        "author": name.partition("/")[0],
        "sha": repo.commit,
        "private": repo.private,
        "gated": "auto" if repo.gated else False,
        "disabled": False,
        "tags": [],
        "downloads": 0,
        "likes": 0,
        "siblings": [{"rfilename": file} for file in sorted(repo.files)],
    }


@contextmanager
def running() -> Iterator[StandIn]:
    """A stand-in that answers until the block ends."""
    hub = StandIn()
    hub.start()
    try:
        yield hub
    finally:
        hub.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: StandIn, name: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub
        self.name = name

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        request = Request(
            server=self.server.name,
            method=self.command,
            path=self.path,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(length) if length else b"",
        )
        self.server.hub.answer(Exchange(self, request))

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815 - http.server's own names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's own name
        """Says nothing: the requests are kept."""
