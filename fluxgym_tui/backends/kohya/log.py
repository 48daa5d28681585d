"""Reads the log of sd-scripts' flux_train_network.py: bytes in, cut anywhere; events out, the same for every cut.

The log is what two streams and several libraries wrote into one file: bars of tqdm that are redrawn after a carriage
return and end without a newline, records of `logging` as rich lays them out (wrapped to the width of a terminal that is
not there), prints, warnings, tracebacks. On a terminal there are colours and links besides. Nothing here knows the time
or a file: events have time 0, and whoever reads the log sets it.
"""

import math
import re
from pathlib import PurePath

from fluxgym_tui.backends.kohya.problems import Traceback, explain, usage_problem, warning_for
from fluxgym_tui.base.events import (
    CheckpointEvent,
    EpochEvent,
    Phase,
    PhaseEvent,
    ProblemEvent,
    ProgressEvent,
    RunEvent,
    StepEvent,
    WarningEvent,
)

_NO_TIME = 0.0
_LONGEST_LINE = 1 << 20  # bytes; what goes on longer without an end is taken for a line

# `steps:  25%|##    | 6/24 [00:01<00:05,  3.53it/s, avr_loss=2.22]`; at first without avr_loss.
_STEP_BAR = re.compile(rb"steps: +\d+%\|[^|\r\n]*\| *(\d+)/(\d+) \[(?:[^\]]*avr_loss=([^\],]+))?[^\]]*\]")
_ANY_BAR = re.compile(r"(?P<name>[^|\[\]]*?:)? *(?:\d+%\|[^|]*\| *(?P<done>\d+)/(?P<total>\d+)|\d+it) \[[^\]]*\]")
_ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_RECORD = re.compile(r"(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d| {19}) (DEBUG|INFO|WARNING|ERROR|CRITICAL) +(.*)")
_RECORD_GOES_ON = " " * 29  # the columns of time and level
_SOURCE = re.compile(r" *(?P<gap> )\S+\.py:\d+$")
_EPOCH = re.compile(r"epoch (\d+)/(\d+)$")
_SAVING = "saving checkpoint: "
_TRACEBACKS = ("Traceback (most recent call last):", "Original Traceback (most recent call last):")
_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(?:: |$)")
_CHAINED = ("During handling of the above exception", "The above exception was the direct cause")
_OF_EPOCH = re.compile(r"-(\d{6})$")
_OF_STEP = re.compile(r"-step(\d{8})$")

_MORE_LINES = 20  # of an exception's message

# Beginnings of records, without spaces: rich may have broken them anywhere.
_PHASES: tuple[tuple[str, Phase], ...] = (
    ("Loadingdatasetconfig", "prepare"),
    ("preparingaccelerator", "load"),
    ("cachinglatents", "cache_latents"),
    ("cachingTextEncoderoutputs", "cache_text"),
    ("savingstate", "save"),
)
# Bars that count pictures come after these records; others in the same phase count something else.
_COUNTED = ("cachinglatents...", "cachingTextEncoderoutputs...")


class KohyaLog:
    """The state between chunks. `feed` the bytes as they come, `close` once at the end.

    Each step gives one `step` event, with the running mean that the bar shows after it; `close` gives what only the end
    brings to light. A checkpoint is told when something came after it, for its line is printed before it is written.
    """

    def __init__(self) -> None:
        self._tail = b""
        self._at = 0  # where in the log `_tail` begins
        self._events: list[RunEvent] = []
        self._phase: Phase | None = None
        self._epoch: int | None = None
        self._epochs: int | None = None
        self._step = 0
        self._total: int | None = None
        self._mean: bytes | None = None  # as printed
        self._told_mean: bytes | None = None  # of the step before
        self._step_waits = False
        self._not_a_number = False
        self._record: list[str] = []  # level, then the lines of the message
        self._record_at = 0
        self._record_width = 0  # of the column of messages
        self._warned: set[str] = set()
        self._counting = False
        self._counted: ProgressEvent | None = None
        self._pictures = 0
        self._saving: str | None = None
        self._saved = False
        self._traceback: Traceback | None = None
        self._context: list[str] = []  # messages of ERROR records, which say what the traceback is about
        self._failed = False

    def feed(self, chunk: bytes) -> list[RunEvent]:
        """The events that `chunk` completes, in the order of the log."""
        data = self._tail + chunk
        parts = data.replace(b"\r", b"\n").split(b"\n")
        at = self._at
        tail = parts.pop()
        if len(tail) > _LONGEST_LINE:
            parts.append(tail)
            tail = b""
        match_step = _STEP_BAR.match
        for part in parts:
            if part.startswith(b"steps:") and (bar := match_step(part)):
                self._step_bar(bar)
                if bar.end() < len(part):
                    self._line(part[bar.end() :], at + bar.end())
            elif part:
                self._line(part, at)
            at += len(part) + 1
        at = self._at + len(data) - len(tail)
        # tqdm ends a bar with nothing, and the next one may be long in coming.
        if tail.startswith(b"steps:") and (bar := match_step(tail)):
            self._step_bar(bar)
            at += bar.end()
            tail = tail[bar.end() :]
        self._tail = tail
        self._at = at
        return self._taken()

    def close(self) -> list[RunEvent]:
        """What the end of the log brings: the last line, the last step, the problem it ended with."""
        if self._tail.strip():
            self._line(self._tail, self._at)
        self._at += len(self._tail)
        self._tail = b""
        self._end_record()
        if self._step_waits:
            # Only its first redraw came, which may still show the mean of the step before.
            self._tell_step(self._mean if self._mean != self._told_mean else None)
        if self._saved:
            self._tell_checkpoint()
        if not self._saved:
            self._tell_problem()
        return self._taken()

    def _taken(self) -> list[RunEvent]:
        events, self._events = self._events, []
        return events

    # The bar of steps

    def _step_bar(self, bar: re.Match[bytes]) -> None:
        if self._record:
            self._end_record()
        done, total, mean = bar.groups()
        step = int(done)
        if self._phase != "train" and not self._saved:  # the bar is redrawn once more at the very end
            if self._saving is not None:
                self._tell_checkpoint()
            self._enter("train")
        if step == self._step:
            if self._step_waits:
                self._mean = mean
                self._tell_step(mean)
            return
        if self._step_waits:
            self._tell_step(self._mean)
        if self._traceback is not None:
            self._traceback = None  # it went on: whatever that was, it was caught
            self._context.clear()
        self._step = step
        self._total = int(total)
        self._mean = mean
        self._step_waits = step > 0

    def _tell_step(self, mean: bytes | None) -> None:
        """One event for the step that waits; `mean` is the mean that holds after it."""
        self._step_waits = False
        average = None
        if mean is not None:
            try:
                average = float(mean)
            except ValueError:
                average = None
        self._told_mean = mean
        self._events.append(
            StepEvent(time=_NO_TIME, step=self._step, total=self._total, epoch=self._epoch, avg_loss=average)
        )
        if average is not None and not self._not_a_number and not math.isfinite(average):
            self._not_a_number = True
            self._events.append(
                WarningEvent(
                    time=_NO_TIME,
                    code="loss_not_a_number",
                    title=f"the loss is {mean.decode('ascii', 'replace') if mean else 'nan'} since step {self._step}",
                    detail="sd-scripts goes on and saves a LoRA that is not a number either",
                    fix="Stop the run. A lower learning_rate, or bf16 in place of fp16, usually mends it.",
                    log_offset=self._at,
                )
            )

    # Lines

    def _line(self, raw: bytes, at: int) -> None:
        """One line, or one redraw of a bar, without its end; `at` is its place in the log."""
        if b"\x1b" in raw:
            raw = _ESCAPES.sub(b"", raw)
        text = raw.decode("utf-8", "replace").rstrip()
        if not text:
            return
        if self._record and text.startswith(_RECORD_GOES_ON):
            self._record.append(text[len(_RECORD_GOES_ON) :])
            return
        self._end_record()
        if self._phase is None:
            self._enter("prepare")
        if step_bar := _STEP_BAR.match(raw):
            self._step_bar(step_bar)
            self._line(raw[step_bar.end() :], at)
        elif bar := _ANY_BAR.match(text):
            self._bar(bar)
            self._line(text[bar.end() :].encode("utf-8"), at)
        elif record := _RECORD.match(text):
            source = _SOURCE.search(text)
            self._record = [record[1], text[record.start(2) : source.start() if source else None]]
            self._record_at = at
            self._record_width = source.start("gap") - record.start(2) if source else 0
        else:
            self._print(text, at)

    def _bar(self, bar: re.Match[str]) -> None:
        """A bar other than that of the steps: pictures being cached are progress, the rest is passed by."""
        if self._counting and not bar["name"] and bar["total"] and self._phase in ("cache_latents", "cache_text"):
            done, total = int(bar["done"]), int(bar["total"])
            event = ProgressEvent(time=_NO_TIME, phase=self._phase, done=done, total=total, unit="pictures")
            if event != self._counted:  # a bar is redrawn without news too, at its end for one
                self._counted = event
                self._events.append(event)

    def _print(self, text: str, at: int) -> None:
        """A line that is neither a bar nor a record."""
        if self._traceback is not None and self._in_traceback(text):
            return
        if text in _TRACEBACKS:
            self._begin_traceback(text, at)
        elif epoch := _EPOCH.match(text):
            self._tell_checkpoint()
            self._epoch, self._epochs = int(epoch[1]), int(epoch[2])
            self._events.append(EpochEvent(time=_NO_TIME, epoch=self._epoch, epochs=self._epochs))
        elif text.startswith(_SAVING):
            self._tell_checkpoint()
            self._enter("save")
            self._saving = text[len(_SAVING) :]
        elif text.startswith("running training") and self._step == 0:
            self._enter("train")
        elif ": error: " in text and text.partition(": error: ")[0].endswith(".py"):
            self._failed = True
            self._events.append(usage_problem(text, at))

    def _enter(self, phase: Phase, detail: str | None = None) -> None:
        if phase != self._phase or detail is not None:
            self._tell_pictures()
            self._pictures = 0
            self._phase = phase
            self._counting = False
            self._events.append(PhaseEvent(time=_NO_TIME, name=phase, detail=detail))

    # Records of logging

    def _end_record(self) -> None:
        """Act on the record whose last line was read."""
        if not self._record:
            return
        level, *lines = self._record
        self._record = []
        message = self._unwrapped(lines)
        compact = "".join(message.split())
        if level in ("WARNING", "ERROR", "CRITICAL"):
            self._told(level, message, compact)
            return
        if compact.startswith("epochisincremented"):
            return  # comes from other processes, at any time
        if compact.startswith("modelsaved"):
            self._saved = True
        self._tell_checkpoint_if_over(compact)
        if compact.startswith("generatingsampleimagesat"):
            self._begin_samples(compact)
        elif compact.startswith("prompt:") and self._phase == "sample":
            self._tell_pictures()
            self._pictures += 1
        for beginning, phase in _PHASES:
            if compact.startswith(beginning):
                self._enter(phase)
                self._counting = compact.startswith(_COUNTED)

    def _unwrapped(self, lines: list[str]) -> str:
        """The message that rich laid out in `lines`: a word longer than its column was cut at the column's end."""
        message = ""
        full = False
        for line in lines:
            text = line.strip()
            if not text:
                continue
            cut = full and len(message.rsplit(" ", 1)[-1]) + len(text.split(" ", 1)[0]) > self._record_width
            message += text if cut or not message else f" {text}"
            full = len(line.rstrip()) == self._record_width and not text.endswith((",", ":", ";", "."))
        return message

    def _told(self, level: str, message: str, compact: str) -> None:
        """A record that somebody thought worth a warning, or an error."""
        if compact in self._warned:
            return
        self._warned.add(compact)
        if level == "WARNING":
            if (event := warning_for(message, compact, self._record_at)) is not None:
                self._events.append(event)
        elif compact.startswith("Nodatafound"):
            # sd-scripts ends with status 0 after this.
            self._failed = True
            self._events.append(
                ProblemEvent(
                    time=_NO_TIME,
                    code="no_pictures",
                    title="sd-scripts found no picture to train",
                    detail=message.partition(" / ")[0],
                    fix="Check the folder: `fluxgym-tui scan` says what is in it and what is wrong with it.",
                    log_offset=self._record_at,
                )
            )
        else:
            self._context.append(message)

    def _begin_samples(self, compact: str) -> None:
        number = re.search(r"(\d+)$", compact)
        word = "epoch" if compact.startswith("generatingsampleimagesatepoch") else "step"
        self._enter("sample", None if number is None else f"{word} {int(number[1])}")

    def _tell_pictures(self) -> None:
        """How many sample pictures of this round are done: those whose next has begun, or whose round is over."""
        if self._pictures:
            self._events.append(ProgressEvent(time=_NO_TIME, phase="sample", done=self._pictures, unit="pictures"))

    # Checkpoints

    def _tell_checkpoint_if_over(self, compact: str) -> None:
        if compact.startswith(("modelsaved", "savingstate", "generatingsampleimages", "removingold")):
            self._tell_checkpoint()

    def _tell_checkpoint(self) -> None:
        """The checkpoint that was being saved is whole, for something came after it."""
        if self._saving is None:
            return
        path, self._saving = self._saving, None
        stem = PurePath(path).stem
        epoch: int | None = self._epoch
        step: int | None = self._step or None
        if of_epoch := _OF_EPOCH.search(stem):
            epoch = int(of_epoch[1])
            if self._total and self._epochs and self._step > math.ceil(self._total * epoch / self._epochs):
                step = None  # stdout came late: the bar is far ahead of this line
        elif of_step := _OF_STEP.search(stem):
            step = int(of_step[1])
        self._events.append(CheckpointEvent(time=_NO_TIME, path=path, step=step, epoch=epoch))

    # Tracebacks

    def _begin_traceback(self, text: str, at: int) -> None:
        goes_on = self._traceback is not None and (self._traceback.chained or text.startswith("Original"))
        earlier = self._traceback if goes_on else None
        if self._traceback is not None and self._traceback.exception and earlier is None:
            # accelerate's own, about the child that failed: the child's says why.
            self._traceback.followed = True
            return
        self._traceback = Traceback(at=earlier.at if earlier else at, cause=earlier)

    def _in_traceback(self, text: str) -> bool:
        """Whether `text` belongs to the traceback that is being read."""
        traceback = self._traceback
        assert traceback is not None
        if traceback.followed:
            if text.startswith("subprocess.CalledProcessError"):
                self._tell_problem()
            return True
        if text in _TRACEBACKS:
            return False
        if text.startswith(_CHAINED):
            traceback.chained = True
        elif text.startswith(" "):
            traceback.frames.append(text)
        elif not traceback.exception and _EXCEPTION.match(text):
            traceback.exception = text
        elif text.startswith((_SAVING, "epoch ")):
            return False
        elif traceback.exception and len(traceback.more) < _MORE_LINES:
            traceback.more.append(text)
        return True

    def _tell_problem(self) -> None:
        traceback, self._traceback = self._traceback, None
        if traceback is None or not traceback.exception or self._failed:
            return
        problem = explain(traceback, self._context)
        if problem is not None:
            self._failed = True
            self._events.append(problem)
