"""The loss curve and its drawing: no peak is lost, amendments amend, nothing breaks on NaN."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from fluxgym_tui.base.events import AttemptEvent, EndEvent, PhaseEvent, ProgressEvent, RunEvent, StepEvent
from fluxgym_tui.ui.braille import Canvas, Window, bounds, draw, ticks
from fluxgym_tui.ui.run_history import Curve, RunHistory


def dots(canvas: Canvas) -> list[str]:
    return ["".join(text for text, _ in canvas.text(row)) for row in range(canvas.height)]


def test_a_rising_line_goes_from_corner_to_corner() -> None:
    canvas = Canvas(4, 2)
    draw(canvas, range(8), range(8), Window(0, 7, 0, 7), 1)
    assert dots(canvas) == ["  ⡠⠊", "⡠⠊  "]


def test_one_spike_among_ten_thousand_is_drawn() -> None:
    values = [0.0] * 10_000
    values[5_000] = 1.0
    canvas = Canvas(20, 5)
    draw(canvas, range(10_000), values, Window(0, 9_999, 0.0, 1.0), 1)
    assert dots(canvas)[0].strip() != ""


def test_points_far_apart_are_joined() -> None:
    canvas = Canvas(10, 1)
    draw(canvas, [0, 100], [0.5, 0.5], Window(0, 100, 0, 1), 1)
    assert " " not in dots(canvas)[0]


def test_any_number_of_steps_fits_any_width() -> None:
    for columns in (8, 13, 39):
        canvas = Canvas(columns, 4)
        for count in range(2, 200):
            draw(canvas, range(count), range(count), Window(0, count - 1, 0, count - 1), 1)
        assert all(len(row) == columns for row in dots(canvas))


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=1, max_size=60),
    st.integers(8, 40), st.integers(2, 10), st.booleans(),
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_any_losses_can_be_drawn(values: list[float], width: int, height: int, log: bool) -> None:
    steps = range(1, len(values) + 1)
    span = bounds(steps, values, 1, len(values))
    low, high = span if span is not None and span[1] > span[0] else (0.5, 1.5)
    window = Window(1, len(values) + 1, low, high, log and low > 0)
    canvas = Canvas(width, height)
    draw(canvas, steps, values, window, 1)
    assert all(len(row) == width for row in dots(canvas))
    assert len(ticks(window.low, window.high, height, log=window.log)) >= 2


def test_a_step_is_amended_and_a_resumed_run_goes_back() -> None:
    curve = Curve()
    for step in range(1, 6):
        curve.put(step, float(step))
    curve.put(5, 50.0)
    assert (list(curve.steps), curve.raw[-1]) == ([1, 2, 3, 4, 5], 50.0)
    curve.put(3, 30.0)
    assert (list(curve.steps), list(curve.raw)) == ([1, 2, 3], [1.0, 2.0, 30.0])
    assert len(curve.smooth) == 3


def test_true_losses_that_come_late_take_the_place_of_the_running_mean() -> None:
    history = RunHistory()
    history.feed([StepEvent(time=float(step), step=step, total=9, avg_loss=1.0) for step in (1, 2, 3)])
    assert (list(history.curve.raw), history.averaged) == ([1.0] * 3, True)
    history.feed([StepEvent(time=3.5, step=step, loss=step / 10) for step in (1, 2, 3)])
    assert (list(history.curve.raw), history.averaged) == ([0.1, 0.2, 0.3], False)
    history.feed([StepEvent(time=4.0, step=4, total=9, avg_loss=1.0)])  # its own loss comes next
    assert (list(history.curve.steps), history.averaged, history.seconds_per_step) == ([1, 2, 3], False, 1.0)
    history.feed([StepEvent(time=4.1, step=4, loss=0.4)])
    assert history.step == StepEvent(time=4.0, step=4, total=9, avg_loss=1.0, loss=0.4)


def test_a_loss_that_is_no_number_leaves_the_smoothed_one_alone() -> None:
    curve = Curve()
    for loss in (0.5, math.nan, 0.5):
        curve.put(len(curve) + 1, loss)
    assert math.isnan(curve.raw[1])
    assert all(abs(value - 0.5) < 1e-12 for value in curve.smooth)


def test_a_history_knows_pace_phase_and_time_left() -> None:
    history = RunHistory()
    told: list[RunEvent] = [
        AttemptEvent(time=0, number=1, command=[]),
        PhaseEvent(time=1, name="cache_latents"),
        ProgressEvent(time=2, phase="cache_latents", done=3, total=9),
    ]
    history.feed(told)
    assert (history.phase, history.counted and history.counted.done, history.seconds_left) == ("cache_latents", 3, None)
    history.feed([PhaseEvent(time=3, name="train")])
    history.feed(StepEvent(time=10.0 + step, step=step, total=100, avg_loss=0.5, seconds=2.0) for step in range(1, 11))
    assert (history.seconds_per_step, history.seconds_left, history.averaged) == (2.0, 180.0, True)
    history.feed([EndEvent(time=50, outcome="finished")])
    assert history.seconds_left is None
