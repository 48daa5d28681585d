"""What the trainer says: every step as an event, lines for people a few times a second at most."""

import io
import os
from pathlib import Path

import pytest

from fluxgym_tui.base.events import StepEvent, from_line
from fluxgym_tui.trainer.report import Reporter
from tests.trainer.trainer_options import kinds, read_events


def step(number: int, *, time: float, seconds: float = 0.1, total: int = 100) -> StepEvent:
    return StepEvent(time=time, step=number, total=total, epoch=1, loss=0.5, avg_loss=0.25, lr=1e-3, seconds=seconds)


def test_every_step_is_an_event_and_few_are_lines(tmp_path: Path) -> None:
    out = io.StringIO()
    report = Reporter(events_path=tmp_path / "events", out=out)
    for number in range(1, 101):
        report.step(step(number, time=1000 + number / 10), first=1)
    report.close()
    assert [event["step"] for event in kinds(read_events(tmp_path / "events"), "step")] == list(range(1, 101))
    lines = out.getvalue().splitlines()
    assert lines[0] == "steps:   1% 1/100 [0.1s<9.9s, 10.00it/s, loss=0.5000, avr_loss=0.2500]"
    assert lines[-1].startswith("steps: 100% 100/100 [10s<0.0s")
    assert len(lines) <= 2 + 10 / 0.5


def test_a_resumed_training_counts_its_own_time() -> None:
    out = io.StringIO()
    report = Reporter(out=out)
    report.step(step(51, time=1000.0, seconds=2.0), first=51)
    assert out.getvalue() == "steps:  51% 51/100 [2.0s<1m 38s, 2.00s/it, loss=0.5000, avr_loss=0.2500]\n"


def test_a_full_disk_is_told_once_and_tears_no_later_line() -> None:
    out = io.StringIO()
    report = Reporter(events_path=Path("/dev/full"), out=out)
    report.warning("odd", "first")
    report.warning("odd", "second")
    report.close()
    assert out.getvalue().count("events cannot be written: No space left on device") == 1


def test_a_line_after_a_torn_one_stands_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = Reporter(events_path=tmp_path / "events", out=io.StringIO())
    monkeypatch.setattr(report, "_torn", True)
    (tmp_path / "events").write_bytes(b'{"kind":"st')
    report.warning("odd", "whole")
    report.close()
    assert [from_line(line) is None for line in (tmp_path / "events").read_bytes().splitlines()] == [True, False]


def test_a_reader_that_left_does_not_end_the_training() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", encoding="utf-8") as out:
        Reporter(out=out).say("nobody reads this")
        with pytest.raises(BrokenPipeError):
            out.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)


def test_an_event_is_one_whole_line(tmp_path: Path) -> None:
    report = Reporter(events_path=tmp_path / "events", out=io.StringIO())
    report.warning("odd", "a title\nof two lines", fix="mend it")
    report.close()
    raw = (tmp_path / "events").read_bytes()
    assert raw.count(b"\n") == 1
    assert raw.endswith(b"\n")
