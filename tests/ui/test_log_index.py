"""Log lines by byte offset: what a terminal would show, found and filtered without reading the whole."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from fluxgym_tui.ui.log_index import LogIndex


def index_of(path: Path, *, at_most_bytes: int = 1 << 22) -> LogIndex:
    index = LogIndex(path)
    while index.grow(at_most_bytes=at_most_bytes):
        pass
    return index


def test_a_bar_that_redraws_itself_is_one_line_with_its_newest_state(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"begin\n" + b"".join(b"\rsteps: %d%%" % percent for percent in range(101)) + b"\r\nend\n")
    index = index_of(log)
    assert [index.line(number) for number in range(index.lines)] == ["begin", "steps: 100%", "end"]


def test_an_hour_of_redraws_is_read_from_its_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"\r".join(b"step %07d" % step for step in range(100_000)))
    assert index_of(log).line(0) == "step 0099999"


def test_a_very_long_line_is_cut_and_says_so(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 100_000)
    line = index_of(log).line(0)
    assert line.endswith("x…")
    assert len(line) < 20_000


@given(st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\r", b"").replace(b"\n", b"")), max_size=30),
       st.integers(1, 40), st.booleans())  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_lines_are_the_same_however_the_file_is_read(
    tmp_path_factory: object, lines: list[bytes], chunk: int, ended: bool
) -> None:
    log = tmp_path_factory.mktemp("log") / "log"  # type: ignore[attr-defined]
    raw = b"\n".join(lines) + (b"\n" if ended else b"")
    log.write_bytes(raw)
    index = index_of(log, at_most_bytes=chunk)
    expected = raw.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    assert [index.raw_line(number) for number in range(index.lines)] == expected


def test_errors_and_warnings_are_found_as_the_file_grows(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"fine\nWARNING odd\nfine\nRuntimeError: CUDA out of memory\nfine")
    index = index_of(log)
    assert list(index.bad) == [1, 3]
    with log.open("ab") as file:
        file.write(b" still\nloss=nan\nbanana\n")
    assert index.grow()
    assert [index.line(number) for number in index.bad] == [
        "WARNING odd",
        "RuntimeError: CUDA out of memory",
        "loss=nan",
    ]


def test_a_word_cut_in_two_between_readings_is_seen(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"fine\nRuntimeError: odd\nfine\nfine\n")
    for chunk in range(1, 30):
        assert list(index_of(log, at_most_bytes=chunk).bad) == [1]


def test_search_ignores_case_and_hits_each_line_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("Saved A saved\nnothing\nSAVED\nSavéd", encoding="utf-8")
    index = index_of(log)
    assert list(index.find("saved")) == [0, 2]
    assert list(index.find("savéd")) == [3]
    assert list(index.find("")) == []


def test_a_byte_offset_leads_to_its_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\ntwo\nthree\n")
    index = index_of(log)
    assert [index.line_at(offset) for offset in (0, 3, 4, 8, 12)] == [0, 0, 1, 2, 2]


def test_an_emptied_log_is_read_anew(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\ntwo\nthree\n")
    index = index_of(log)
    log.write_bytes(b"new\n")
    assert index.grow()
    assert [index.line(number) for number in range(index.lines)] == ["new"]
    index.close()
