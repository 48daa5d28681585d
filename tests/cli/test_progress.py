"""Events in, lines out."""

import math

import pytest

from fluxgym_tui.base import events
from fluxgym_tui.cli.progress import Progress, end_line, event_line, tenths

NOW = 30.0  # no event of these tests is older than a minute


def _step(number: int, *, time: float, seconds: float | None = None, loss: float | None = 0.5) -> events.StepEvent:
    return events.StepEvent(time=time, step=number, total=100, epoch=1, loss=loss, seconds=seconds)


def test_a_run_from_start_to_end() -> None:
    progress = Progress()
    assert progress.status(now=NOW) == "starting"
    assert progress.feed(events.AttemptEvent(time=0, number=1, command=["x"])) == []
    assert progress.feed(events.PhaseEvent(time=0, name="cache_latents")) == ["caching the pictures' latents"]
    assert progress.feed(events.ProgressEvent(time=1, phase="cache_latents", done=3, total=12)) == []
    assert progress.status(now=NOW) == "caching the pictures' latents · 3/12"
    assert progress.feed(events.PhaseEvent(time=2, name="train")) == ["training"]
    progress.feed(events.EpochEvent(time=2, epoch=1, epochs=4))
    for number in range(1, 11):
        assert progress.feed(_step(number, time=2 + number * 2)) == []
    assert progress.status(now=NOW) == "training · step 10/100 · epoch 1/4 · loss 0.5000 · 2.00 s/step · 3m 00s left"
    saved = events.CheckpointEvent(time=9, path="/out/a-000001.safetensors", step=10, epoch=1)
    assert progress.feed(saved) == ["saved a-000001.safetensors at step 10, epoch 1"]
    end = events.EndEvent(time=9, outcome="failed", exit_code=137, reason="killed for memory")
    assert progress.feed(end) == [
        "step 10/100 · epoch 1/4 · loss 0.5000 · 2.00 s/step",
        "failed (exit code 137): killed for memory",
    ]


@pytest.mark.parametrize(("code", "line"), [(-9, "failed (exit code 137)"), (2, "failed (exit code 2)"), (0, "failed")])
def test_a_signal_has_one_exit_code_wherever_it_is_named(code: int, line: str) -> None:
    assert end_line(events.EndEvent(time=9, outcome="failed", exit_code=code)) == line


def test_phases_between_steps_are_not_announced_each_time() -> None:
    progress = Progress()
    progress.feed(events.PhaseEvent(time=0, name="train"))
    progress.feed(_step(1, time=1, seconds=0.05))
    assert progress.feed(events.PhaseEvent(time=2, name="sample")) == []
    assert progress.status(now=NOW).startswith("drawing samples · step 1/100")
    assert progress.feed(events.PhaseEvent(time=3, name="train")) == []
    assert "0.050 s/step" in progress.status(now=NOW)


def test_silence_is_told_by_the_minute() -> None:
    progress = Progress()
    progress.feed(events.PhaseEvent(time=100, name="load"))
    assert progress.status(now=159) == "loading the model"
    assert progress.status(now=285) == "loading the model · no sign of life for 3m"


def test_a_slow_step_does_not_bend_the_rate_and_an_amendment_is_no_step() -> None:
    progress = Progress()
    for number in range(1, 6):
        progress.feed(_step(number, time=number, seconds=60.0 if number == 3 else 1.0))
    progress.feed(_step(5, time=5.1, loss=0.25))
    assert progress.seconds_per_step() == 1.0
    assert progress.seconds_left() == 95.0
    progress.feed(events.PhaseEvent(time=6, name="train"))
    assert "loss 0.2500" in progress.status(now=NOW)
    progress.feed(events.StepEvent(time=5.2, step=3, loss=9.0))  # a tracker may tell a step when later ones are told
    assert "step 5/100 · epoch 1 · loss 0.2500" in progress.status(now=NOW)
    assert progress.seconds_per_step() == 1.0


def test_facts_that_are_absent_are_left_out() -> None:
    progress = Progress()
    progress.feed(events.PhaseEvent(time=0, name="train"))
    progress.feed(events.StepEvent(time=1, step=1, avg_loss=math.nan))
    assert progress.status(now=NOW) == "training · step 1 · average loss nan"
    assert progress.seconds_left() is None


def test_a_problem_keeps_its_detail_and_its_mend() -> None:
    problem = events.ProblemEvent(time=0, code="oom", title="out of memory", detail="a\nb", fix="use vram: 12G")
    assert Progress().feed(problem) == ["problem: out of memory", "  a", "  b", "  use vram: 12G"]


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (_step(1, time=0, seconds=1.5), "step 1/100 · loss 0.5000 · 1.50 s"),
        (events.PhaseEvent(time=0, name="load", detail="tiny"), "phase load: tiny"),
        (events.ProgressEvent(time=0, phase="prepare", done=1), "progress prepare 1"),
        (events.EpochEvent(time=0, epoch=2, epochs=3), "epoch 2/3"),
        (events.AttemptEvent(time=0, number=2, command=[], pid=9), "attempt 2 · pid 9"),
        (events.EndEvent(time=0, outcome="finished", exit_code=0), "end: finished"),
        (events.SampleEvent(time=0, path="s/a.png", prompt_index=0, step=0), "sample a.png at step 0"),
        (events.WarningEvent(time=0, code="w", title="t", fix="f"), "warning: t · f"),
        (
            events.ProbeEvent(time=0, when="after", loss=0.25, step=9, pictures=2),
            "probe loss after training: 0.2500 (2 pictures, fixed noise)",
        ),
        (events.UnknownEvent(time=0, data={"kind": "later"}), "unknown event 'later'"),
    ],
)
def test_every_event_has_a_line(event: events.RunEvent, line: str) -> None:
    assert event_line(event) == line


def test_bytes_are_told_by_file_and_in_all() -> None:
    progress = Progress()
    assert progress.feed(events.PhaseEvent(time=0, name="download", detail="4 files")) == ["downloading: 4 files"]
    progress.feed(
        events.ProgressEvent(
            time=1, phase="download", done=14_100_000_000, total=34_200_000_000, unit="bytes",
            item="flux1-dev.sft", item_done=12_300_000_000, item_total=23_800_000_000, rate=98e6, left_s=205,
        )
    )  # fmt: skip
    assert progress.status(now=NOW) == (
        "downloading · 14.1 GB of 34.2 GB (41%) · 98.0 MB/s · 3m 25s left · flux1-dev.sft 51%"
    )
    progress.feed(events.ProgressEvent(time=1, phase="download", done=10, total=None, unit="bytes"))
    assert progress.status(now=NOW) == "downloading · 10 B"


def test_tenths() -> None:
    assert tenths([1.0] * 9) is None
    assert tenths([4.0, 2.0, *[1.0] * 16, 0.5, 0.25]) == (3.0, 0.375)
