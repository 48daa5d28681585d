"""A captioning job of the app: it goes on while other screens are looked at, and ends with the app."""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from textual.signal import Signal

from fluxgym_tui.base.text import count
from fluxgym_tui.captioner.job import METHODS, CaptionJob
from fluxgym_tui.captioner.process import CaptionProcess
from fluxgym_tui.config.settings import EndpointSettings

if TYPE_CHECKING:
    from textual.app import App

KEY_VARIABLE: Final = "OPENAI_API_KEY"
_KEPT_FAILURES: Final = 200
_TELL_EVERY_S: Final = 0.25


@dataclass(slots=True)
class CaptionWish:
    """What the user chose; kept as typed until the app ends. `maker` is a method, or the name of an endpoint."""

    maker: str = METHODS[0]
    model: str = ""
    url: str = ""
    command: str = ""
    prompt: str = ""
    style: str = "detailed"
    existing: str = "keep"


@dataclass(slots=True)
class CaptionProgress:
    """How far a job is, over all its folders. `ended` says how, in words, once it has."""

    total: int = 0
    done: int = 0
    written: int = 0
    kept: int = 0
    failed: int = 0
    phase: str = "starting"
    failures: list[tuple[str, str]] = field(default_factory=list)
    ended: str | None = None
    fix: str | None = None

    def take(self, event: dict[str, Any]) -> None:
        """Take in one event of the captioner."""
        kind = event.get("kind")
        if kind == "start":
            self.total += event["total"]
        elif kind == "phase":
            self.phase = {"load": "getting ready", "caption": "captioning"}.get(event["name"], event["name"])
            if event["detail"]:
                self.phase += f" ({event['detail']})"
        elif kind == "picture":
            outcome = event["outcome"]
            setattr(self, outcome, getattr(self, outcome) + 1)
            if "done" in event:
                self.done += 1
            if outcome == "failed" and len(self.failures) < _KEPT_FAILURES:
                self.failures.append((event["path"], event["reason"]))

    def line(self) -> str:
        """The job in one line."""
        if self.ended is not None:
            return self.ended
        tail = f", {self.failed:,} without" if self.failed else ""
        return f"{self.phase}: {self.done:,} of {self.total:,}{tail}" if self.total else self.phase


class Captioning:
    """The one captioning job of the app; `changed` is sent with its progress."""

    def __init__(self, app: "App[None]") -> None:
        self._app = app
        self._process: CaptionProcess | None = None
        self._cancelled = False
        self.wish = CaptionWish()
        self.progress: CaptionProgress | None = None
        self.changed: Signal[CaptionProgress] = Signal(app, "captioning")

    @property
    def running(self) -> bool:
        """Whether a job is under way."""
        return self.progress is not None and self.progress.ended is None

    def start(self, jobs: Sequence[CaptionJob], *, key: str | None) -> None:
        """Do `jobs`, one folder after the other."""
        self._cancelled = False
        self.progress = CaptionProgress()
        self._app.run_worker(self._run(tuple(jobs), key), group="captioning", exit_on_error=False)

    def cancel(self) -> None:
        """Let what is under way end, and begin no more."""
        self._cancelled = True
        if self._process is not None:
            self._process.cancel()

    async def _run(self, jobs: tuple[CaptionJob, ...], key: str | None) -> None:
        progress = self.progress
        assert progress is not None
        last: dict[str, Any] = {}
        due = 0.0
        for job in jobs:
            if self._cancelled:
                break
            self._process = await CaptionProcess.start(job, key=key)
            try:
                async for event in self._process.events():
                    last = event
                    progress.take(event)
                    if time.monotonic() >= due:
                        due = time.monotonic() + _TELL_EVERY_S
                        self.changed.publish(progress)
            finally:  # the app ends: so does the captioner, and what it wrote is whole
                self._process.cancel()
            if last.get("outcome") == "failed":
                break
        self._process = None
        self._end(progress, last)

    def _end(self, progress: CaptionProgress, last: dict[str, Any]) -> None:
        told = f"{count(progress.written, 'caption')} written"
        if progress.failed:
            told += f", {count(progress.failed, 'picture')} without"
        if last.get("outcome") == "failed":
            progress.ended, progress.fix = f"{told}; then: {last['reason']}", last.get("fix")
        elif self._cancelled:
            progress.ended, progress.fix = f"{told}; cancelled", "Start again: it goes on where it ended."
        else:
            progress.ended = told
        with suppress(RuntimeError):  # nobody is there any more to be told
            self.changed.publish(progress)


def key_of(endpoint: EndpointSettings | None) -> str | None:
    """The secret of an endpoint: its own in the settings, else the variable's."""
    return (endpoint.api_key if endpoint is not None else "") or os.environ.get(KEY_VARIABLE) or None
