"""Captions by any OpenAI-compatible chat endpoint: vLLM, Ollama, llama.cpp, LM Studio, hosted ones."""

import base64
import http.client
import json
import os
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.text import one_line
from fluxgym_tui.captioner.answers import CANCELLED, Answer, in_threads
from fluxgym_tui.captioner.job import KEY_VARIABLE, CaptionJob
from fluxgym_tui.captioner.pictures import jpeg_bytes, why_unreadable
from fluxgym_tui.dataset.header import PictureError
from fluxgym_tui.dataset.scanned import ScannedImage

_TRY_AGAIN: Final = frozenset((408, 409, 425, 429, 500, 502, 503, 504))
_REFUSED: Final = frozenset((401, 403, 404))
_MAX_TOKENS: Final = 600
_MAX_ANSWER_BYTES: Final = 4 << 20
_FIRST_WAIT_S: Final = 1.0
_LONGEST_WAIT_S: Final = 30.0
_GIVE_UP_AFTER: Final = 5  # pictures; each was asked several times


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer like any other: following it would carry the key to somebody else."""

    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        return None


class _PassingError(Exception):
    """A failure that may pass: too many requests, a server that restarts. `wait_s` is what the server asked for."""

    def __init__(self, reason: str, *, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class Endpoint:
    """The endpoint at `job.url`. The key comes from the process's environment and goes to that address only."""

    def __init__(self, job: CaptionJob, *, first_wait_s: float = _FIRST_WAIT_S) -> None:
        self._job = job
        self._base = base_url(job.url)
        self._model = job.model
        self._key = os.environ.get(KEY_VARIABLE, "").strip()
        self._first_wait_s = first_wait_s
        self._open = urllib.request.build_opener(_NoRedirect).open
        self._stop = threading.Event()
        self._unanswered = 0  # pictures in a row to which nobody answered at all

    def prepare(self, *, say: Callable[[str], None]) -> None:
        """Ask the server for its models: it is there, and takes the key.

        Raises:
            FluxgymError: nobody answers, the key is refused, or no model is named and there is not exactly one.
        """
        if self._key and (set(self._key) - set(map(chr, range(0x21, 0x7F)))):
            raise FluxgymError(
                "the key of the endpoint holds a character that no key has",
                hint="Set its variable anew, without blanks or line breaks.",
            )
        try:
            models = self._models()
        except (_PassingError, OSError, http.client.HTTPException) as error:
            raise FluxgymError(
                f"no answer from {self._base}: {_reason(error)}",
                hint="Start the server, and check the address: it usually ends in /v1.",
                code=ExitCode.FAILED,
            ) from error
        if self._model:
            return
        if len(models) != 1:
            known = f"It has: {', '.join(models[:8])}." if models else "It does not list what it has."
            raise FluxgymError(f"{self._base}: name the model, with --model", hint=known)
        self._model = models[0]

    def answers(self, images: Sequence[ScannedImage], *, stop: threading.Event) -> Iterator[Answer]:
        """An answer for each picture, several asked at once; see `Captioner`."""
        self._stop = stop
        return in_threads(self._ask, images, concurrency=self._job.concurrency, stop=stop)

    def _models(self) -> list[str]:
        try:
            data = self._call("/models", None)
        except urllib.error.HTTPError as error:
            if error.code in (401, 403):
                raise self._refusal(error) from error
            return []  # not every server lists its models
        except ValueError:
            return []
        rows = data.get("data") if isinstance(data, dict) else None
        return [str(row["id"]) for row in rows or [] if isinstance(row, dict) and "id" in row]

    def _ask(self, image: ScannedImage) -> Answer:
        try:
            picture = jpeg_bytes(image)
        except (PictureError, OSError) as error:
            return Answer(image, None, why_unreadable(error))
        body = {
            "model": self._model,
            "max_tokens": _MAX_TOKENS,
            "temperature": 0.2,
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": self._job.question()},
                        {
                            "type": "image_url",
                            "image_url": {"url": f"data:image/jpeg;base64,{base64.b64encode(picture).decode('ascii')}"},
                        },
                    ],
                }
            ],
        }
        reason, silent = "it was not asked", False
        for attempt in range(self._job.retries + 1):
            try:
                data = self._call("/chat/completions", body)
                self._unanswered = 0
                return Answer(image, _text_of(data))
            except urllib.error.HTTPError as error:
                if error.code in _REFUSED:
                    raise self._refusal(error) from error
                return Answer(image, None, f"the endpoint refused it: {self._told(error)}")
            except (_PassingError, ValueError, OSError, http.client.HTTPException) as error:
                reason = _reason(error)
                asked_s = error.wait_s if isinstance(error, _PassingError) else None
                silent = isinstance(error, OSError)
            if attempt == self._job.retries:
                break
            if self._stop.wait(self._pause_s(attempt, asked_s)):
                return Answer(image, None, CANCELLED)
        self._unanswered = self._unanswered + 1 if silent else 0
        if self._unanswered > _GIVE_UP_AFTER:
            raise FluxgymError(
                f"{self._base} does not answer any more: {reason}",
                hint="See to the server, then start again: it goes on where it ended.",
                code=ExitCode.FAILED,
            )
        return Answer(image, None, f"{reason} (asked {attempt + 1} times)" if attempt else reason)

    def _pause_s(self, attempt: int, asked_s: float | None) -> float:
        """Doubling waits with chance in them, so that the threads do not all come back at once."""
        own_s = min(_LONGEST_WAIT_S, self._first_wait_s * 2.0**attempt) * (0.5 + random.random() / 2)
        return max(own_s, min(asked_s or 0.0, 2 * _LONGEST_WAIT_S))

    def _call(self, path: str, body: dict[str, Any] | None) -> Any:
        """The JSON of an answer. HTTPError where the server says no, `_PassingError` where it may say yes later."""
        headers = {"Accept": "application/json", "User-Agent": "fluxgym-tui"}
        data = None
        if body is not None:
            data = json.dumps(body).encode("utf-8")
            headers["Content-Type"] = "application/json"
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        request = urllib.request.Request(self._base + path, data=data, headers=headers)
        try:
            with self._open(request, timeout=self._job.timeout_s) as response:
                raw = self._read(response)
        except urllib.error.HTTPError as error:
            if error.code in _TRY_AGAIN:
                raise _PassingError(f"the endpoint said {self._told(error)}", wait_s=_retry_after_s(error)) from error
            raise
        if len(raw) > _MAX_ANSWER_BYTES:
            raise ValueError("the endpoint's answer has no end")
        try:
            return json.loads(raw)
        except ValueError:
            raise ValueError("the endpoint's answer is no JSON") from None

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        """The answer's body, until it is longer than one can be. TimeoutError where it only trickles in."""
        end = time.monotonic() + self._job.timeout_s
        raw = b""
        while len(raw) <= _MAX_ANSWER_BYTES and (chunk := response.read1(65536)):
            raw += chunk
            if time.monotonic() > end:
                raise TimeoutError
        return raw

    def _refusal(self, error: urllib.error.HTTPError) -> FluxgymError:
        if error.code == 404:
            hint = f"Check the address and the model's name ({self._model or 'none named'})."
        elif self._key:
            hint = "It does not take this key: check it, and what it is allowed."
        else:
            hint = "It wants a key: set OPENAI_API_KEY, or name another variable with --api-key-env."
        return FluxgymError(f"{self._base} refused: {self._told(error)}", hint=hint, code=ExitCode.FAILED)

    def _told(self, error: urllib.error.HTTPError) -> str:
        """`429 Too Many Requests: quota`, with what the body says, on one line.

        Some servers say the key that they do not take, and that is for nobody's screen or log.
        """
        try:
            raw = error.read(2000)
            data = json.loads(raw)
            inner = data.get("error", data) if isinstance(data, dict) else data
            said = str(inner.get("message", "") if isinstance(inner, dict) else inner)
        except (ValueError, OSError, http.client.HTTPException):
            said = ""
        if self._key:
            said = said.replace(self._key, "(the key)")
        return one_line(f"{error.code} {error.reason}" + (f": {said[:200]}" if said else ""))


def base_url(url: str) -> str:
    """The address up to `/v1`, however much of it was given.

    Raises:
        FluxgymError: it is no http address, or carries a password, which would end up in logs.
    """
    text = url.strip().rstrip("/")
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise FluxgymError(f"{url!r} is no address of an endpoint", hint="http://127.0.0.1:8000/v1, say.")
    if parts.username is not None or parts.password is not None:
        raise FluxgymError("the endpoint's address carries a password", hint="Give the key by --api-key-env NAME.")
    for ending in ("/chat/completions", "/models"):
        text = text.removesuffix(ending)
    return text if parts.path.strip("/") else f"{text}/v1"


def _text_of(data: Any) -> str:
    """The words of a chat answer. ValueError where it is none."""
    try:
        content = data["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        raise ValueError("the endpoint's answer holds no message") from None
    if isinstance(content, list):  # some servers answer in parts
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    if not isinstance(content, str) or not content.strip():
        raise ValueError("the endpoint answered with nothing")
    return content


def _retry_after_s(error: urllib.error.HTTPError) -> float | None:
    try:
        return float(error.headers.get("Retry-After", ""))
    except ValueError:
        return None


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.URLError):
        inner = error.reason
        return (
            "no answer in time" if isinstance(inner, TimeoutError) else str(getattr(inner, "strerror", None) or inner)
        )
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return one_line(str(error) or type(error).__name__)
