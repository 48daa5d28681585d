"""Stdout: tables, the live line, JSON, and names that are not text."""

import io
import json
import os
from pathlib import Path

import pytest

from fluxgym_tui.cli.output import Column, Output

ODD_NAME = "b\udcff\x1b[31m.png"


class _Screen(io.TextIOWrapper):
    """Stands in for a terminal: says it is one and keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", errors="surrogateescape")

    def isatty(self) -> bool:
        return True


def _pipe() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="surrogateescape")


def _sent(stream: io.TextIOWrapper) -> bytes:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue()


def test_in_a_pipe_a_table_is_aligned_plain_text_and_odd_bytes_go_through() -> None:
    stream = _pipe()
    Output(stream).table(["path", Column("width", "right")], [(ODD_NAME, 64), ("a.png", None), ("c", 1024)])
    assert _sent(stream) == (b"path            width\nb\xff\\x1b[31m.png     64\na.png\nc                1024\n")


def test_on_a_terminal_a_table_shows_its_cells_and_never_their_controls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = _Screen()
    Output(stream).table(["path", "[bold]"], [(ODD_NAME, "[red]x")])
    text = _sent(stream).decode()
    assert "b\\xff\\x1b[31m.png" in text
    assert "[red]x" in text
    assert "[bold]" in text


def test_no_rows_is_no_table() -> None:
    stream = _pipe()
    Output(stream).table(["path"], [])
    assert _sent(stream) == b""


def test_the_live_line_gives_way_to_lines_and_is_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = _Screen()
    out = Output(stream)
    assert out.live("step 1")
    assert out.live("step 1")
    out.line("saved")
    assert out.live("x" * 200)
    out.flush()
    text = _sent(stream).decode()
    clear = "\r\x1b[2K"
    assert text == f"{clear}step 1{clear}saved\n{clear}{'x' * 79}{clear}"


@pytest.mark.parametrize("term", ["dumb", None])
def test_there_is_no_live_line_where_it_cannot_be_redrawn(term: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TERM", raising=False)
    if term:
        monkeypatch.setenv("TERM", term)
    stream = _Screen()
    assert not Output(stream).live("step 1")
    assert _sent(stream) == b""
    monkeypatch.setenv("TERM", "xterm")
    assert not Output(_pipe()).live("step 1")


def test_json_is_ascii_and_brings_any_name_back() -> None:
    stream = _pipe()
    out = Output(stream)
    out.json_line({"path": ODD_NAME})
    out.json_line({"path": "größe"})
    raw = _sent(stream)
    assert raw.isascii()
    assert [json.loads(line)["path"] for line in raw.splitlines()] == [ODD_NAME, "größe"]
    assert os.fsencode(json.loads(raw.splitlines()[0])["path"]) == b"b\xff\x1b[31m.png"


def test_a_document_goes_out_in_pieces() -> None:
    stream = _pipe()
    Output(stream).json_pieces(iter(['{"images": [', "1", "]}\n"]))
    assert json.loads(_sent(stream)) == {"images": [1]}


def test_raw_bytes_stay_in_a_pipe_and_are_made_safe_on_a_terminal() -> None:
    data = b"\x1b]0;title\x07 10%\r20%\n\xff\n"
    stream, screen = _pipe(), _Screen()
    Output(stream).raw(data)
    Output(screen).raw(data)
    assert _sent(stream) == data
    assert _sent(screen).decode() == "\\x1b]0;title\\x07 10%\n20%\n\ufffd\n"


def test_a_closed_stdout_is_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    out = Output()
    out.line("nobody hears this")
    out.flush()
