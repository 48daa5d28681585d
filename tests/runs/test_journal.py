"""The journal: whole lines or none, whatever tears them; every copied event once."""

import errno
import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxgym_tui.base.events import (
    AttemptEvent,
    CheckpointEvent,
    EndEvent,
    EpochEvent,
    PhaseEvent,
    ProgressEvent,
    RunEvent,
    StepEvent,
    WarningEvent,
)
from fluxgym_tui.runs.directory import RunDirectory, create
from fluxgym_tui.runs.fold import RunFold, event_after, load_fold, save_fold
from fluxgym_tui.runs.journal import Entry, JournalWriter, LineReader, read_entries
from fluxgym_tui.runs.recorder import Recorder

NUMBERS = st.floats(allow_nan=False) | st.none()
EVENTS: st.SearchStrategy[RunEvent] = st.one_of(
    st.builds(StepEvent, time=st.floats(0, 2e9), step=st.integers(0, 10**6), loss=NUMBERS, seconds=NUMBERS),
    st.builds(PhaseEvent, time=st.floats(0, 2e9), name=st.just("load"), detail=st.text()),
    st.builds(ProgressEvent, time=st.floats(0, 2e9), phase=st.just("prepare"), done=st.integers(0, 99)),
    st.builds(CheckpointEvent, time=st.floats(0, 2e9), path=st.text()),
    st.builds(WarningEvent, time=st.floats(0, 2e9), code=st.text(), title=st.text()),
    st.builds(EndEvent, time=st.floats(0, 2e9), outcome=st.just("failed"), reason=st.text()),
)
ENTRIES = st.lists(
    st.builds(Entry, event=EVENTS)
    | st.builds(Entry, event=EVENTS, origin=st.just("trainer-001.jsonl"), position=st.integers(0, 10**9)),
    max_size=8,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples of a property; each clears what it needs."""
    return tmp_path_factory.mktemp("journal")


def _write(path: Path, entries: list[Entry]) -> None:
    writer = JournalWriter(path)
    writer.append(entries)
    writer.close()


def _read(path: Path) -> list[Entry]:
    return [entry for entry, _ in read_entries(path)]


@given(first=ENTRIES, second=ENTRIES, cut=st.integers(0, 10**6))
def test_a_journal_torn_anywhere_goes_on_with_whole_lines(
    folder: Path, first: list[Entry], second: list[Entry], cut: int
) -> None:
    path = folder / "events.jsonl"
    path.unlink(missing_ok=True)
    _write(path, first)
    raw = path.read_bytes()
    torn = raw[: cut % (len(raw) + 1)]
    path.write_bytes(torn)
    kept = first[: torn.count(b"\n")]
    assert _read(path) == kept  # a reader skips the torn line
    _write(path, second)
    assert _read(path) == kept + second  # the next writer leaves no trace of it
    assert path.read_bytes().count(b"\n") == len(kept + second)


@given(garbage=st.binary(max_size=60), entries=ENTRIES)
def test_what_is_no_event_is_skipped(folder: Path, garbage: bytes, entries: list[Entry]) -> None:
    path = folder / "garbage.jsonl"
    path.write_bytes(garbage.replace(b"{", b"[") + b"\n" + b"".join(entry.to_line() for entry in entries) + b'{"kin')
    assert _read(path) == entries


@given(entries=ENTRIES, pieces=st.lists(st.integers(1, 400), max_size=12))
def test_a_reader_gets_every_line_once_however_the_file_grows(
    folder: Path, entries: list[Entry], pieces: list[int]
) -> None:
    path = folder / "growing.jsonl"
    path.write_bytes(b"")
    raw = b"".join(entry.to_line() for entry in entries)
    reader = LineReader(path)
    lines: list[bytes] = []
    for size in [*pieces, len(raw)]:
        with path.open("ab") as file:
            file.write(raw[:size])
        raw = raw[size:]
        lines += [line for line, _ in reader.read(at_most_bytes=64)]
    while more := reader.read(at_most_bytes=64):
        lines += [line for line, _ in more]
    assert [Entry.from_line(line) for line in lines] == entries
    assert reader.offset == path.stat().st_size


@given(entries=ENTRIES, split=st.integers(0, 8))
def test_a_sum_goes_on_where_state_json_left_off(folder: Path, entries: list[Entry], split: int) -> None:
    run = RunDirectory(folder)
    run.run_dir.mkdir(exist_ok=True)
    run.events.unlink(missing_ok=True)
    run.state.unlink(missing_ok=True)
    _write(run.events, entries[:split])
    save_fold(run, load_fold(run))
    assert "NaN" not in run.state.read_text(encoding="ascii")
    _write(run.events, entries[split:])
    continued = load_fold(run)
    run.state.unlink()
    assert continued.to_json() == load_fold(run).to_json()


def test_a_state_that_is_ahead_of_its_journal_is_not_believed(tmp_path: Path) -> None:
    run = create(tmp_path, "a")
    steps = [Entry(StepEvent(time=float(step), step=step)) for step in range(1, 9)]
    _write(run.events, steps)
    save_fold(run, load_fold(run))
    raw = run.events.read_bytes()
    run.events.write_bytes(
        raw[: len(raw) // 2]
    )  # the machine lost power: state.json made it to the disk, these did not
    assert load_fold(run).step == raw[: len(raw) // 2].count(b"\n")
    for nonsense in ("", "[]", "{}", '{"schema": 1}'):
        run.state.write_text(nonsense, encoding="ascii")
        assert load_fold(run).step == raw[: len(raw) // 2].count(b"\n")


def test_the_sum_says_what_the_events_said(tmp_path: Path) -> None:
    run = create(tmp_path, "a")
    events: list[RunEvent] = [
        AttemptEvent(time=1, number=1, command=["t"]),
        PhaseEvent(time=2, name="cache_latents"),
        ProgressEvent(time=3, phase="cache_latents", done=3, total=12),
        EpochEvent(time=4, epoch=1, epochs=2),
        StepEvent(time=5, step=1, total=9, loss=0.5, seconds=2.0),
        StepEvent(time=6, step=1, avg_loss=0.4, seconds=50.0),  # amends the step: its time is not another step's
        StepEvent(time=7, step=2, seconds=4.0),
        CheckpointEvent(time=8, path="a.safetensors", step=2),
    ]
    _write(run.events, [Entry(event) for event in events])
    fold = load_fold(run)
    assert (fold.started, fold.updated, fold.attempts, fold.phase) == (1, 8, 1, "cache_latents")
    assert (fold.done, fold.todo, fold.epoch, fold.epochs) == (3, 12, 1, 2)
    assert (fold.step, fold.total, fold.loss, fold.avg_loss) == (2, 9, 0.5, 0.4)
    assert fold.seconds_per_step == pytest.approx(2.2)
    assert (fold.checkpoint, fold.checkpoint_time, fold.outcome) == ("a.safetensors", 8, None)
    again = RunFold.from_json(json.loads(json.dumps(fold.to_json())))
    assert again == fold


def test_steps_of_a_later_attempt_count_on() -> None:
    step = StepEvent(time=0, step=3, total=10)
    assert event_after(step, first_step=0) is step
    assert event_after(step, first_step=20) == StepEvent(time=0, step=23, total=30)
    checkpoint = CheckpointEvent(time=0, path="a", step=3)
    assert event_after(checkpoint, first_step=20) == CheckpointEvent(time=0, path="a", step=23)
    assert event_after(PhaseEvent(time=0, name="load"), first_step=20) == PhaseEvent(time=0, name="load")


def test_a_full_disk_takes_all_of_an_append_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIMULATED: `os.pwrite` writes part of what it is given and then finds no room, as a full disk does."""
    path = tmp_path / "events.jsonl"
    writer = JournalWriter(path)
    before = [Entry(StepEvent(time=1.0, step=1))]
    writer.append(before)
    real = os.pwrite

    def nearly_full(handle: int, data: memoryview, offset: int) -> int:
        if len(data) < 40:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(handle, data[:40], offset)

    monkeypatch.setattr(os, "pwrite", nearly_full)
    with pytest.raises(OSError, match="No space left"):
        writer.append([Entry(StepEvent(time=2.0, step=2))])
    assert path.stat().st_size == writer.size
    assert _read(path) == before
    monkeypatch.undo()
    writer.append([Entry(StepEvent(time=2.0, step=2))])
    writer.close()
    assert [entry.event.step for entry in _read(path) if isinstance(entry.event, StepEvent)] == [1, 2]


def test_a_recorder_keeps_what_a_full_disk_refuses_until_it_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIMULATED: `os.pwrite` and `os.replace` refuse, as a full disk does."""
    run = create(tmp_path, "a")
    recorder = Recorder(run, first_step=0)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    assert recorder.note(PhaseEvent(time=1.0, name="load"))
    monkeypatch.setattr(os, "pwrite", full)
    assert not recorder.copy([Entry(StepEvent(time=2.0, step=1), "trainer-001.jsonl", 50)])
    assert not recorder.copy([Entry(StepEvent(time=3.0, step=2), "trainer-001.jsonl", 99)])
    assert recorder.fold.step == 0
    recorder.save_state(force=True)
    monkeypatch.undo()
    assert recorder.retry()
    recorder.save_state(force=True)
    recorder.close()
    assert [entry.position for entry in _read(run.events)] == [0, 50, 99]
    assert load_fold(run).positions == {"trainer-001.jsonl": 99}
    assert capsys.readouterr().err.count("No space left") == 1


def test_how_a_run_starts_and_ends_is_not_a_childs_to_say(tmp_path: Path) -> None:
    run = create(tmp_path, "a")
    recorder = Recorder(run, first_step=10)
    recorder.copy(
        [
            Entry(AttemptEvent(time=1.0, number=7, command=[]), "trainer-001.jsonl", 10),
            Entry(StepEvent(time=2.0, step=1), "trainer-001.jsonl", 20),
            Entry(EndEvent(time=3.0, outcome="finished"), "trainer-001.jsonl", 30),
        ]
    )
    recorder.close()
    assert _read(run.events) == [Entry(StepEvent(time=2.0, step=11), "trainer-001.jsonl", 20)]


def test_a_log_on_the_full_disk_too_is_no_reason_to_die(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIMULATED: whatever is written to refuses, standard error with it."""
    run = create(tmp_path, "a")
    recorder = Recorder(run, first_step=0)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    monkeypatch.setattr(sys.stderr, "write", full)
    assert not recorder.note(PhaseEvent(time=1.0, name="load"))
    monkeypatch.undo()
    assert recorder.retry()
    recorder.close()
    assert load_fold(run).phase == "load"


def test_an_amendment_is_no_step_however_late(tmp_path: Path) -> None:
    def step(number: int, *, loss: float | None = None, avg_loss: float | None = None) -> Entry:
        return Entry(StepEvent(time=float(number), step=number, loss=loss, avg_loss=avg_loss))

    fold = RunFold()
    for entry in (Entry(AttemptEvent(time=0.0, number=1, command=[])), step(1), step(2), step(3, avg_loss=0.5)):
        fold.add(entry)
    fold.add(step(2, loss=0.25))
    assert (fold.step, fold.loss, fold.avg_loss) == (3, 0.25, 0.5)
    # A resumed attempt goes back to its state, and its steps count.
    for entry in (Entry(AttemptEvent(time=4.0, number=2, command=[])), step(2), step(1, loss=0.125)):
        fold.add(entry)
    assert (fold.step, fold.loss) == (2, 0.125)
    one = StepEvent(time=1.0, step=1, total=8, avg_loss=0.5)
    amended = one.amended(StepEvent(time=9.0, step=1, loss=0.25, lr=1e-3))
    assert amended == StepEvent(time=1.0, step=1, total=8, avg_loss=0.5, loss=0.25, lr=1e-3)
