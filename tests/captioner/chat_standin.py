"""A stand-in for a chat endpoint on 127.0.0.1: speaks the OpenAI API as vLLM and its kin do, and fails on request."""

import base64
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

# What is answered to the n-th question: a caption, a status code, bytes as they are, or None: hold the answer back.
Script = Callable[[int], str | int | bytes | None]


@dataclass
class ChatStandin:
    """What the server was asked, and how it answers."""

    url: str = ""
    script: Script = lambda number: f"The image shows thing {number}"
    models: list[str] = field(default_factory=lambda: ["sees-all"])
    key: str | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    pictures: list[tuple[int, int]] = field(default_factory=list)
    most_at_once: int = 0
    now: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    release: threading.Event = field(default_factory=threading.Event)
    retry_after: str | None = None
    slow_s: float = 0.0
    trickle_s: float = 0.0  # answers to pictures come byte by byte, with such a pause


@contextmanager
def chat_standin(**settings: Any) -> Iterator[ChatStandin]:
    """A server that lives as long as the block."""
    state = ChatStandin(**settings)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Say nothing: tests print for themselves."""

        def do_GET(self) -> None:
            if not self._welcome():
                return
            self._answer(200, {"data": [{"id": name} for name in state.models]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not self._welcome():
                return
            with state.lock:
                number = len(state.asked)
                state.asked.append(body)
                state.headers.append(dict(self.headers.items()))
                state.now += 1
                state.most_at_once = max(state.most_at_once, state.now)
            url = body["messages"][0]["content"][1]["image_url"]["url"]
            picture = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
            state.pictures.append(picture.size)
            if state.slow_s:
                time.sleep(state.slow_s)  # lets requests overlap
            said = state.script(number)
            with state.lock:
                state.now -= 1
            if said is None:
                state.release.wait(20)
                self.close_connection = True
            elif isinstance(said, bytes):
                self._send(200, said)
            elif isinstance(said, int):
                self._answer(said, {"error": {"message": "as the test wants it"}})
            else:
                self._answer(200, {"choices": [{"message": {"role": "assistant", "content": said}}]})

        def _welcome(self) -> bool:
            given = self.headers.get("Authorization")
            if state.key is not None and given != f"Bearer {state.key}":
                # As OpenAI does, it says the key that it does not take.
                self._answer(401, {"error": {"message": f"no such key: {given}"}})
                return False
            return True

        def _answer(self, status: int, data: dict[str, Any]) -> None:
            self._send(status, json.dumps(data).encode("utf-8"))

        def _send(self, status: int, raw: bytes) -> None:
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                if state.retry_after is not None and status != 200:
                    self.send_header("Retry-After", state.retry_after)
                if 300 <= status < 400:
                    self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.end_headers()
                if state.trickle_s and self.command == "POST":
                    for byte in raw:
                        self.wfile.write(bytes([byte]))
                        time.sleep(state.trickle_s)
                else:
                    self.wfile.write(raw)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.release.set()
        server.shutdown()
        server.server_close()
        thread.join()
