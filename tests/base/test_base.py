"""Errors, events, files, text and safetensors headers."""

import json
import math
import os
import struct
from pathlib import Path

import pytest

from fluxgym_tui.base import events
from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.files import read_json, write_atomic, write_json
from fluxgym_tui.base.safetensors import read_header
from fluxgym_tui.base.text import count, human_size, human_time, terminal_safe


def test_every_kind_of_event_survives_a_json_line() -> None:
    samples: list[events.RunEvent] = [
        events.AttemptEvent(time=1.0, number=1, command=["a", "b c"], pid=7),
        events.PhaseEvent(time=2.0, name="cache_latents"),
        events.ProgressEvent(time=2.5, phase="cache_latents", done=3, total=12),
        events.StepEvent(time=3.0, step=4, total=9, loss=0.5, lr=8e-4),
        events.EpochEvent(time=3.0, epoch=1, epochs=2),
        events.CheckpointEvent(time=4.0, path="a-\udcff.safetensors", step=4, epoch=1),
        events.SampleEvent(time=5.0, path="ä.png", prompt_index=0, seed=42),
        events.ProbeEvent(time=5.0, when="before", loss=0.6, step=0, pictures=12),
        events.WarningEvent(time=6.0, code="w", title="t"),
        events.ProblemEvent(time=6.0, code="p", title="t", fix="f", log_offset=99),
        events.EndEvent(time=7.0, outcome="finished", exit_code=0),
    ]
    for event in samples:
        line = event.to_line()
        assert line.isascii()
        assert line.count("\n") == 1
        assert events.from_line(line) == event
        assert json.loads(line)["schema"] == events.SCHEMA


def test_a_loss_that_is_not_a_number_is_named_and_comes_back() -> None:
    line = events.StepEvent(time=0.0, step=1, loss=math.nan, avg_loss=math.inf).to_line()
    assert json.loads(line)["loss"] == "nan"
    back = events.from_line(line)
    assert isinstance(back, events.StepEvent)
    assert back.loss is not None
    assert math.isnan(back.loss)
    assert back.avg_loss == math.inf


def test_unknown_kinds_are_kept_and_torn_lines_are_none() -> None:
    unknown = events.from_line('{"kind":"later","time":1,"x":2}')
    assert isinstance(unknown, events.UnknownEvent)
    assert unknown.to_json()["x"] == 2
    assert events.from_line('{"kind":"step","ti') is None
    assert events.from_line("[1]") is None
    assert events.from_line('{"kind":"step"}') is None
    assert isinstance(events.from_line('{"kind":"step","time":1}'), events.UnknownEvent)
    assert events.from_line('{"kind":"epoch","time":1,"epoch":2,"new_field":3}') == events.EpochEvent(time=1, epoch=2)


def test_write_atomic_replaces_whole_and_leaves_no_temporary(tmp_path: Path) -> None:
    target = tmp_path / "state.json"
    write_json(target, {"name": "\udcff"})
    target.chmod(0o640)
    write_json(target, {"name": "b"})
    assert read_json(target) == {"name": "b"}
    assert target.stat().st_mode & 0o777 == 0o640
    write_atomic(target, "secret", mode=0o600, durable=True)
    assert target.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_write_atomic_keeps_the_old_file_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a"
    target.write_text("old")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        write_atomic(target, "new", durable=True)
    assert target.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_nothing_that_steers_a_terminal_gets_through() -> None:
    assert terminal_safe("a\x1b[31mred\x07\r\n\u202etxt\udcfe") == "a\\x1b[31mred\\x07\\x0d\\x0a\\u202etxt\\xfe"
    assert terminal_safe("one\ntwo\t", keep="\n") == "one\ntwo\\x09"
    assert terminal_safe("größe 写真") == "größe 写真"


def test_sizes_times_and_counts_read_plainly() -> None:
    assert [human_size(n) for n in (812, 9_400_000, 23_800_000_000, 999_600)] == [
        "812 B",
        "9.4 MB",
        "23.8 GB",
        "1.0 MB",
    ]
    assert [human_time(s) for s in (4.2, 42, 65, 7620, 360000)] == ["4.2s", "42s", "1m 05s", "2h 07m", "4d 04h"]
    assert [count(1, "step"), count(1200, "step"), count(2, "entry", "entries")] == [
        "1 step",
        "1,200 steps",
        "2 entries",
    ]


def _safetensors(header: object, data: bytes) -> bytes:
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def test_a_header_is_read_with_shapes_offsets_and_metadata(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    entry = {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}
    file.write_bytes(_safetensors({"__metadata__": {"ss_steps": "3"}, "w": entry}, b"\0" * 12))
    header = read_header(file)
    assert header.metadata == {"ss_steps": "3"}
    assert header.tensors["w"].shape == (2, 3)
    assert header.tensors["w"].end == header.file_bytes == file.stat().st_size


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "not a safetensors file"),
        (b"<!DOCTYPE html>", "not a safetensors file"),
        (struct.pack("<Q", 50) + b"{", "incomplete: 9 of at least 58 bytes"),
        (struct.pack("<Q", 4) + b"abcd", "no JSON"),
        (_safetensors([], b""), "no object"),
        (_safetensors({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, b"\0" * 8), "incomplete"),
        (_safetensors({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 8]}}, b"\0" * 8), "'w' makes no sense"),
        (_safetensors({"w": 3}, b""), "'w' makes no sense"),
    ],
)
def test_what_is_no_whole_safetensors_file_is_told_apart(tmp_path: Path, raw: bytes, says: str) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(raw)
    with pytest.raises(FluxgymError, match=says):
        read_header(file)


def test_a_missing_file_is_an_error_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(FluxgymError, match=r"cannot read .*nothing\.safetensors: No such file"):
        read_header(tmp_path / "nothing.safetensors")


def test_only_lines_given_apart_are_lines_of_an_error() -> None:
    assert FluxgymError("no a\nerror: b", hint="see\u2028c").message == "no a\\x0aerror: b"
    several = FluxgymError(["two:", "x\ny"], hint=["1", "2"])
    assert (several.message, several.hint) == ("two:\nx\\x0ay", "1\n2")
    assert FluxgymError("plain", hint=[]).hint is None
