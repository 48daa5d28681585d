"""The tracker's event file: each step's own loss and rate, however the bytes come."""

import itertools
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxgym_tui.backends.kohya.tracker import (
    TrackerEvents,
    TrackerPlace,
    learning_rate,
    masked_crc32c,
    tracker_place,
)
from fluxgym_tui.base.events import RunEvent, StepEvent, WarningEvent
from tests.backends.kohya.event_files import begin, of_step, record, scalar, write_event_file

DATA = Path(__file__).parents[2] / "data" / "kohya-tracker"
# As TensorBoard's own reader tells them of the same file.
PLAIN = [0.696621, 0.867993, 0.803393, 1.166578, 0.46794, 1.08931, 1.04636, 0.922813, 0.653947, 0.979092]


def read(data: bytes) -> list[RunEvent]:
    return TrackerEvents().feed(data)


def steps(events: list[RunEvent]) -> list[StepEvent]:
    return [event for event in events if isinstance(event, StepEvent)]


def test_a_file_of_sd_scripts_is_read_as_tensorboard_reads_it() -> None:
    told = steps(read((DATA / "plain.tfevents").read_bytes()))
    assert [event.step for event in told] == list(range(1, 11))
    assert [round(event.loss or 0, 6) for event in told] == PLAIN
    # sd-scripts logs a rate after its schedule has moved on: the first step's is told nowhere.
    assert [event.lr for event in told] == [None] + [0.002] * 9
    assert told[0].time == pytest.approx(1795415720.4133546)


def test_with_accumulation_a_step_has_the_mean_of_its_batches() -> None:
    told = read((DATA / "accumulated.tfevents").read_bytes())
    assert [event.step for event in steps(told)] == [1, 2, 3, 4]
    assert [event.loss for event in steps(told)][:2] == [0.375, 0.75]
    assert math.isnan(steps(told)[2].loss or 0)
    assert steps(told)[3].loss == 0.25  # a NaN does not stick, as it does in the bar's mean
    assert [event.lr for event in steps(told)] == [0.001, 0.0009, 0.0008, 0.0007]
    (warning,) = [event for event in told if isinstance(event, WarningEvent)]
    assert (warning.code, warning.title) == ("loss_not_a_number", "the loss of step 3 is nan")


@given(st.lists(st.integers(1, 400), min_size=1, max_size=20))
def test_where_the_bytes_are_cut_makes_no_difference(sizes: list[int]) -> None:
    data = (DATA / "accumulated.tfevents").read_bytes()
    reader, told, at = TrackerEvents(), list[RunEvent](), 0
    for size in itertools.cycle(sizes):
        told += reader.feed(data[at : at + size])
        at += size
        if at >= len(data):
            break
    told += reader.close()
    assert [event.to_line() for event in told] == [event.to_line() for event in read(data)]


def test_a_torn_end_waits_for_its_rest() -> None:
    data = begin() + of_step(1, 0.5) + of_step(2, 0.25)
    reader = TrackerEvents()
    assert [event.step for event in steps(reader.feed(data[:-200]))] == [1]
    assert [event.step for event in steps(reader.feed(data[-200:]))] == [2]


@given(at=st.integers(0, 10_000), flipped=st.integers(1, 255))
def test_damage_never_gives_a_wrong_loss(at: int, flipped: int) -> None:
    losses = {step: 1 / (step + 1) for step in range(1, 6)}
    data = bytearray(begin() + b"".join(of_step(step, loss) for step, loss in losses.items()))
    data[at % len(data)] ^= flipped
    for event in steps(read(bytes(data))):
        assert event.loss == pytest.approx(losses[event.step])


def test_other_records_are_passed_by() -> None:
    unknown = record(b"\x1a\x03abc" + b"\x2a\x04" + b"\x0a\x02\x08\x01")
    text = record(scalar("loss/validation/step_average", 9.0, step=1))
    data = begin() + unknown + of_step(1, 0.5) + text + record(b"") + record(b"\xff" * 9) + of_step(2, 0.25)
    assert [event.loss for event in steps(read(data))] == [0.5, 0.25]


def test_the_checksum_is_the_published_one() -> None:
    # RFC 3720, appendix B.4: 32 bytes of zeros, and of ones.
    for data, crc in ((bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43)):
        assert masked_crc32c(data) == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_the_rate_is_that_of_the_trained_model() -> None:
    assert learning_rate({"lr/textencoder": 1.0, "lr/group1": 2.0, "lr/unet": 3.0}) == 3.0
    assert learning_rate({"lr/unet": 1.0, "lr/d*lr/unet": 2e-4}) == 2e-4  # Prodigy's own factor is in it
    assert learning_rate({"lr/textencoder": 1.0, "lr/group1": 2.0}) == 2.0
    assert learning_rate({}) is None


class TestPlace:
    """Where the file is looked for."""

    def test_it_follows_from_the_command(self, tmp_path: Path) -> None:
        own = ["--log_with", "tensorboard", "--logging_dir", "/gym/logs", "--log_prefix", "x-"]
        assert tracker_place(own, cwd=tmp_path) == TrackerPlace(Path("/gym/logs"), "x-", "network_train")
        assert tracker_place(["--logging_dir=a b", "--log_tracker_name", "n"], cwd=tmp_path) == TrackerPlace(
            tmp_path / "a b", "", "n"
        )
        assert tracker_place([*own, "--log_with", "wandb"], cwd=tmp_path) is None
        assert tracker_place([*own, "--log_with", "all"], cwd=tmp_path) is not None
        assert tracker_place(["--seed", "1", "--logging_dir"], cwd=tmp_path) is None
        assert tracker_place([], cwd=tmp_path) is None

    def test_the_file_of_this_attempt_is_the_first_since_its_start(self, tmp_path: Path) -> None:
        place = TrackerPlace(tmp_path, "x-", "network_train")
        assert place.event_file(since=100.0) is None
        write_event_file(tmp_path, [1.0], begun=50, prefix="x-")
        write_event_file(tmp_path, [1.0], begun=150, prefix="x-2-")  # another run's, into the same folder
        assert place.event_file(since=100.0) is None
        earlier = tmp_path / "x-20261123063415/network_train"
        mine = earlier.parents[1] / "x-20261123070000/network_train" / "events.out.tfevents.120.host.9.0"
        mine.parent.mkdir(parents=True)
        mine.touch()
        assert place.event_file(since=120.9) == mine
        assert place.event_file(since=200.0) is None
