"""How an ended training is judged: exit codes, LoRA files, the words of its log."""

import math
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.events import RunEvent, StepEvent
from fluxgym_tui.runs.commands import ChildCommand, CommandPlan, read_plan, write_plan
from fluxgym_tui.runs.directory import ChildFiles, create
from fluxgym_tui.runs.journal import Entry
from fluxgym_tui.runs.outcome import Facts, judge, last_words
from fluxgym_tui.runs.sources import Both, EventsFile, ParsedLog, source_for
from fluxgym_tui.runs.verify import LoraVerdict, verify_lora
from tests.runs.fake_trainer import write_safetensors


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples of a property."""
    return tmp_path_factory.mktemp("verdicts")


GOOD = LoraVerdict(Path("a.safetensors"))
BAD = LoraVerdict(Path("a.safetensors"), "a.safetensors was not written")


@pytest.mark.parametrize(
    ("facts", "outcome", "says"),
    [
        (Facts(phase="train", exit_code=0, lora=GOOD), "finished", "None"),
        (Facts(phase="train", exit_code=0, lora=BAD), "failed", "ended without an error, but a.safetensors was not"),
        (Facts(phase="prepare", exit_code=1), "failed", "the command for prepare ended with exit code 1"),
        (Facts(phase="train", exit_code=None), "interrupted", "both killed"),
        (Facts(phase="train", exit_code=None, other_boot=True), "interrupted", "the machine was restarted"),
        (Facts(phase="train", exit_code=None, stop_requested=True), "stopped", "on request"),
        (Facts(phase="train", exit_code=-2, stop_requested=True), "stopped", "on request"),
        (Facts(phase="train", exit_code=0, lora=GOOD, stop_requested=True, step=9, total=9), "finished", "None"),
        (Facts(phase="train", exit_code=0, lora=GOOD, stop_requested=True, step=8, total=9), "stopped", "on request"),
        (Facts(phase="train", exit_code=-15), "interrupted", "SIGTERM from outside"),
        (Facts(phase="train", exit_code=-11), "failed", "SIGSEGV"),
        (Facts(phase="train", exit_code=-9, killed_for_memory=True), "failed", "by the kernel: out of memory"),
        (Facts(phase="train", exit_code=137, killed_for_memory=True), "failed", "out of memory (exit code 137)"),
        (Facts(phase="train", exit_code=-9), "failed", "most often the machine ran out of memory"),
        (Facts(phase="train", exit_code=-9, killed_for_memory=False), "failed", "SIGKILL (exit code 137) from outside"),
        (Facts(phase="train", exit_code=143), "failed", "SIGTERM"),
        (Facts(phase="train", exit_code=255), "failed", "exit code 255"),
    ],
)
def test_a_verdict_says_how_it_ended_and_why(facts: Facts, outcome: str, says: str) -> None:
    verdict = judge(facts)
    assert verdict.outcome == outcome
    assert says in str(verdict.reason)
    assert (verdict.code is not None) == (outcome == "failed")


FORMATS = {"F16": "<e", "F32": "<f", "F64": "<d"}


def _raw(dtype: str, value: float) -> bytes:
    """One number in `dtype`, little-endian; bfloat16 is the upper half of float32."""
    return struct.pack("<f", value)[2:] if dtype == "BF16" else struct.pack(FORMATS[dtype], value)


@given(
    dtype=st.sampled_from([*FORMATS, "BF16"]),
    numbers=st.lists(st.floats(-60000, 60000, width=16), min_size=1, max_size=20),
    bad=st.sampled_from([math.nan, math.inf, -math.inf, None]),
    where=st.integers(0, 19),
)
def test_one_bad_number_is_found_in_every_format(
    folder: Path, dtype: str, numbers: list[float], bad: float | None, where: int
) -> None:
    values = list(numbers)
    if bad is not None:
        values[where % len(values)] = bad
    file = folder / "a.safetensors"
    write_safetensors(file, {"up": (dtype, [len(values)], b"".join(_raw(dtype, value) for value in values))})
    verdict = verify_lora(file)
    assert verdict.good is (bad is None)
    if bad is not None:
        assert "up holds NaN or infinity" in str(verdict.problem)


@pytest.mark.parametrize("dtype", [*FORMATS, "BF16"])
def test_the_largest_and_smallest_numbers_are_numbers(tmp_path: Path, dtype: str) -> None:
    largest = {"F16": 65504.0, "F32": 3.4028234e38, "F64": 1.7976931348623157e308, "BF16": 3.38e38}[dtype]
    raw = b"".join(_raw(dtype, value) for value in (largest, -largest, 0.0, -0.0))
    write_safetensors(tmp_path / "a.safetensors", {"up": (dtype, [4], raw)})
    assert verify_lora(tmp_path / "a.safetensors").good


def test_a_bad_number_far_into_a_large_tensor_is_found(tmp_path: Path) -> None:
    raw = bytearray(3 << 20)
    raw[-2:] = _raw("BF16", math.nan)
    write_safetensors(tmp_path / "a.safetensors", {"up": ("BF16", [len(raw) // 2], bytes(raw))})
    assert not verify_lora(tmp_path / "a.safetensors").good
    write_safetensors(tmp_path / "a.safetensors", {"up": ("BF16", [len(raw) // 2], bytes(len(raw)))})
    assert verify_lora(tmp_path / "a.safetensors").good


def test_a_file_that_is_no_lora_is_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    assert "was not written" in str(verify_lora(file).problem)
    file.write_bytes(b"<html>")
    assert "not a safetensors file" in str(verify_lora(file).problem)
    write_safetensors(file, {})
    assert "no tensors" in str(verify_lora(file).problem)
    write_safetensors(file, {"up": ("F32", [1], _raw("F32", 1.0))})
    assert verify_lora(file, not_before_ns=file.stat().st_mtime_ns).good
    assert "from before" in str(verify_lora(file, not_before_ns=file.stat().st_mtime_ns + 10**10).problem)
    file.unlink()
    file.mkdir()
    assert "is a folder" in str(verify_lora(file).problem)


def test_last_words_are_the_lines_people_would_look_at(tmp_path: Path) -> None:
    log = tmp_path / "train-001.log"
    assert last_words(log) is None
    log.write_bytes(b"")
    assert last_words(log) is None
    bars = b"\r".join(b"steps: %d/9" % step for step in range(9))
    log.write_bytes(
        b"old\n" * 9000 + bars + b"\nTraceback (most recent call last):\n  File x\nOSError: \xff disk\nbye\n"
    )
    words = last_words(log)
    assert words is not None
    assert words.error == "OSError: \ufffd disk"
    assert words.text.splitlines()[-5:] == [
        "steps: 8/9",
        "Traceback (most recent call last):",
        "  File x",
        "OSError: \ufffd disk",
        "bye",
    ]
    assert log.read_bytes()[words.offset :].startswith(b"old\n")


def test_the_first_traceback_is_the_cause(tmp_path: Path) -> None:
    log = tmp_path / "train-001.log"
    launcher = b"Traceback (most recent call last):\n  File 'launch'\nCalledProcessError: exit status 2\n"
    log.write_bytes(b"Traceback (most recent call last):\n  File 'a'\nValueError: the cause\n" + launcher)
    words = last_words(log)
    assert words is not None
    assert words.error == "ValueError: the cause"
    log.write_bytes(b"fine\nerror: unrecognized arguments: --lr\n")
    words = last_words(log)
    assert words is not None
    assert words.error == "error: unrecognized arguments: --lr"
    log.write_bytes(b"error: no answer\n  HF_ENDPOINT names a mirror.\n")
    words = last_words(log)
    assert words is not None
    assert words.error == "error: no answer"
    log.write_bytes(b"Killed\n")
    words = last_words(log)
    assert words is not None
    assert words.error is None


def test_a_plan_comes_back_as_it_was_written(tmp_path: Path) -> None:
    run = create(tmp_path, "a")
    child = ChildCommand(phase="train", argv=("python", "\udcff ü"), cwd=tmp_path, env={"A": "1"}, log_format="kohya")
    plan = CommandPlan(children=(child,), attempt=2, first_step=40, lora="a.safetensors")
    run.stop.touch()  # meant for the attempt before
    write_plan(run, plan)
    assert read_plan(run) == plan
    assert not run.stop.exists()


@pytest.mark.parametrize(
    ("children", "says"),
    [
        ([ChildCommand(phase="train", argv=(), cwd=Path("/"))], "is empty"),
        ([ChildCommand(phase="../x", argv=("a",), cwd=Path("/"))], "no phase"),
        ([ChildCommand(phase="train", argv=("a",), cwd=Path("/"))] * 2, "no phase of its own"),
        ([ChildCommand(phase="train", argv=("a",), cwd=Path("/"), env={"HF_TOKEN": "x"})], "HF_TOKEN would be written"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(tmp_path: Path, children: list[ChildCommand], says: str) -> None:
    with pytest.raises(FluxgymError, match=says):
        write_plan(create(tmp_path, "a"), CommandPlan(children=tuple(children)))


@pytest.mark.parametrize("text", [None, "{", "{}", '{"children": [{}], "attempt": 1, "first_step": 0, "lora": null}'])
def test_a_plan_that_is_lost_or_broken_is_told(tmp_path: Path, text: str | None) -> None:
    run = create(tmp_path, "a")
    if text is not None:
        run.command.write_text(text, encoding="ascii")
    with pytest.raises(FluxgymError, match=r"command\.json"):
        read_plan(run)


class TwoBytesAStep:
    """A toy parser: every "s" is a step, counted over the log; the close makes one more event."""

    def __init__(self) -> None:
        self._steps = 0

    def feed(self, chunk: bytes) -> list[RunEvent]:
        events: list[RunEvent] = []
        for _ in range(chunk.count(b"s")):
            self._steps += 1
            events.append(StepEvent(time=0.0, step=self._steps))
        return events

    def close(self) -> list[RunEvent]:
        return [StepEvent(time=5.0, step=self._steps, avg_loss=1.0)]


@given(counts=st.lists(st.integers(0, 5), min_size=1, max_size=6), restarts=st.sets(st.integers(0, 5)))
def test_a_parsed_log_gives_each_event_once_over_any_restarts(
    folder: Path, counts: list[int], restarts: set[int]
) -> None:
    log = folder / "train-001.log"
    log.write_bytes(b"")
    entries: list[Entry] = []
    source = ParsedLog(log, TwoBytesAStep(), clock=lambda: 7.0)
    for number, count in enumerate(counts):
        with log.open("ab") as file:
            file.write(b"x" + b"s" * count)
        if number in restarts:
            position = entries[-1].position if entries else 0
            source = ParsedLog(log, TwoBytesAStep(), position=position, clock=lambda: 7.0)
        while pulled := source.pull():
            entries += pulled
    entries += source.finish()
    steps = [entry.event.step for entry in entries if isinstance(entry.event, StepEvent)]
    assert steps == [*range(1, sum(counts) + 1), sum(counts)]
    assert [entry.event.time for entry in entries] == [7.0] * sum(counts) + [5.0]
    assert [entry.position for entry in entries] == list(range(1, sum(counts) + 2))


def test_each_backend_has_its_source(tmp_path: Path) -> None:
    files = ChildFiles(tmp_path, "train", 1)
    child = ChildCommand(phase="train", argv=("x",), cwd=tmp_path)
    assert isinstance(source_for(child, files, {}), EventsFile)
    kohya = source_for(replace(child, log_format="kohya"), files, {})
    assert isinstance(kohya, Both)
    assert kohya.pull() == []


def test_two_sources_of_one_child_keep_their_own_order_and_place(tmp_path: Path) -> None:
    names = ("a.jsonl", "b.jsonl")
    for name in names:
        steps = [StepEvent(time=1.0, step=step).to_line() for step in (1, 2)]
        (tmp_path / name).write_text("".join(steps), encoding="ascii")
    both = Both(*(EventsFile(tmp_path / name) for name in names))
    entries = both.pull()
    assert [entry.origin for entry in entries] == ["a.jsonl"] * 2 + ["b.jsonl"] * 2
    assert [entry.position for entry in entries[:2]] == [entry.position for entry in entries[2:]]
    assert both.pull() == both.finish() == []
