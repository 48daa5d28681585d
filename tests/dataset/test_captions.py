"""Captions in any encoding, what of them is trained, and converting them with a backup."""

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.dataset.captions import (
    convert_to_utf8,
    decode_caption,
    plain_caption,
    read_caption,
    trained_caption,
    untrained_text,
    write_caption,
)

JAPANESE = "公園にいる女の子、微笑み"
KANJI = "東京駅前 写真"
FRENCH = "café terrace, l’été à Nîmes"


@pytest.mark.parametrize(
    ("text", "encoding", "found", "problem"),
    [
        ("a cat, on a mat\n", "utf-8", "utf-8", None),
        (JAPANESE, "utf-8", "utf-8", None),
        (FRENCH, "utf-8-sig", "utf-8-sig", "bom"),
        (FRENCH, "utf-16", "utf-16", "not_utf8"),
        (FRENCH, "utf-16-le", "utf-16-le", "not_utf8"),
        ("a cat on a mat", "utf-16-be", "utf-16-be", "not_utf8"),
        (JAPANESE, "utf-16", "utf-16", "not_utf8"),
        ("a cat", "utf-32", "utf-32", "not_utf8"),
        (JAPANESE, "cp932", "cp932", "not_utf8"),
        (KANJI, "cp932", "cp932", "not_utf8"),
        ("1girl, カメラ目線, smile", "cp932", "cp932", "not_utf8"),
        (FRENCH, "cp1252", "cp1252", "not_utf8"),
        ("it’s a “quoted” cat – nice", "cp1252", "cp1252", "not_utf8"),
        ("Grüße aus Köln, über Straße", "latin-1", "cp1252", "not_utf8"),
        ("mémés et bébés", "latin-1", "cp1252", "not_utf8"),
    ],
)
def test_encodings(text: str, encoding: str, found: str, problem: str | None) -> None:
    caption = decode_caption(text.encode(encoding))
    assert (caption.text, caption.encoding, caption.problem) == (text, found, problem)


def test_bytes_that_are_no_text() -> None:
    assert decode_caption(b"PK\x03\x04\0\0\0\x80\xff" + bytes(range(256))).problem == "binary"
    assert decode_caption(b"\x81").encoding == "latin-1"  # undefined in cp1252, and still text to show
    assert decode_caption(b"").text == ""


@given(st.text())
def test_what_is_trained_is_the_first_line_as_sd_scripts_reads_it(text: str) -> None:
    lines = io.StringIO(text, newline=None).readlines()
    assert trained_caption(text) == (lines[0].strip() if lines else "")
    raw = text.encode("utf-8", "surrogatepass")
    assert plain_caption(raw) in {None, trained_caption(text)}
    if plain_caption(raw) is not None:
        assert decode_caption(raw).problem is None
        assert untrained_text(text) == ""


@given(st.binary(max_size=60))
def test_every_bytes_are_read(raw: bytes) -> None:
    assert isinstance(decode_caption(raw).text, str)


def test_untrained_lines_are_shown() -> None:
    text = "hrld person\r\n riding a bike \n\nin a park\n"
    assert trained_caption(text) == "hrld person"
    assert untrained_text(text) == "riding a bike / in a park"


def test_writing(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_caption(path, "a cat  \n\n")
    assert path.read_bytes() == b"a cat\n"
    assert read_caption(path).text == "a cat\n"


def test_converting_keeps_a_backup_and_never_loses_one(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    raw = JAPANESE.encode("cp932")
    path.write_bytes(raw)
    first = convert_to_utf8(path)
    assert first is not None
    assert path.read_text(encoding="utf-8") == JAPANESE
    assert first.read_bytes() == raw
    assert convert_to_utf8(path) is None
    path.write_bytes("別".encode("cp932") * 3)
    second = convert_to_utf8(path)
    assert second not in {None, first}
    assert first.read_bytes() == raw
    path.write_bytes(bytes(range(256)))
    with pytest.raises(FluxgymError, match="not text"):
        convert_to_utf8(path)
    assert path.read_bytes() == bytes(range(256))
