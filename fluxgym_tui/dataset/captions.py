"""Captions: reading them whatever their encoding, what of them is trained, writing and converting them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.files import write_atomic

# In the order in which they are looked for beside a picture.
CAPTION_EXTENSIONS: Final = (".txt", ".caption")
# No caption is longer: T5 reads 512 tokens. A larger file is something else that is named like one.
MAX_CAPTION_BYTES: Final = 1 << 20

_MARKS: Final = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


@dataclass(frozen=True, slots=True)
class CaptionText:
    """A caption file's text, the encoding it is in, and `problem`: None or why it is not plain UTF-8.

    Problems: `bom` (a byte order mark that a trainer would take for a letter), `not_utf8` (another encoding, which
    `encoding` names), `binary` (no text at all; `text` is empty).
    """

    text: str
    encoding: str
    problem: str | None = None


def plain_caption(raw: bytes) -> str | None:
    """The caption in `raw` where there is nothing to say about it: one line of UTF-8. None for all others."""
    try:
        caption = raw.decode().rstrip()
    except UnicodeDecodeError:
        return None
    if not caption or "\n" in caption or "\r" in caption or "\0" in caption or caption[0] == "\ufeff":
        return None
    return caption.lstrip()


def decode_caption(raw: bytes) -> CaptionText:
    """The text of a caption file's bytes: UTF-8, else by its byte order mark, else by what it most looks like.

    Tells UTF-16 and UTF-32, Shift-JIS (as Windows writes it, cp932) and Western European (cp1252, Latin-1) apart.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    if text is not None and not text.startswith("\ufeff") and "\0" not in text:
        return CaptionText(text, "utf-8")
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            try:
                text = raw.decode(encoding)
            except UnicodeDecodeError:
                continue
            return CaptionText(text, encoding, "bom" if encoding == "utf-8-sig" else "not_utf8")
    wide = _wide_encoding(raw)
    if wide is not None:
        return CaptionText(raw.decode(wide), wide, "not_utf8")
    if b"\0" in raw:
        return CaptionText("", "binary", "binary")
    for encoding in ("cp932",) if _looks_japanese(raw) else ("cp1252", "latin-1"):
        try:
            return CaptionText(raw.decode(encoding), encoding, "not_utf8")
        except UnicodeDecodeError:
            continue
    raise AssertionError("latin-1 decodes every byte")


def read_caption(path: Path) -> CaptionText:
    """The caption file at `path`. OSError as the system raises it."""
    with path.open("rb") as file:
        return decode_caption(file.read(MAX_CAPTION_BYTES))


def trained_caption(text: str) -> str:
    """What is trained of a caption: its first line, without the blanks around it (as sd-scripts reads it)."""
    line = text.partition("\n")[0]
    if "\r" in line:
        line = line.partition("\r")[0]
    return line.strip()


def untrained_text(text: str) -> str:
    """What is not trained of a caption: the lines after the first, as one line without blanks around them."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[1:]
    return " / ".join(line.strip() for line in lines if line.strip())


def write_caption(path: Path, text: str) -> None:
    """Write a caption as UTF-8 with one newline at its end, atomically. OSError as the system raises it."""
    write_atomic(path, text.rstrip() + "\n")


def convert_to_utf8(path: Path) -> Path | None:
    """Rewrite the caption at `path` as UTF-8 and keep its old bytes beside it; the backup's path.

    None where it already is plain UTF-8 and nothing was done. FluxgymError where the file is no text. An older backup
    is never overwritten.
    """
    raw = path.read_bytes()
    caption = decode_caption(raw)
    if caption.problem is None:
        return None
    if caption.problem == "binary":
        raise FluxgymError(
            f"{path} is not text",
            hint="Remove it, or write the caption anew in the Captions screen or a text editor.",
            code=ExitCode.USAGE,
        )
    number = 0
    while True:
        backup = path.with_name(f"{path.name}.{caption.encoding}{f'-{number}' if number else ''}.bak")
        try:
            with backup.open("xb") as file:
                file.write(raw)
        except FileExistsError:
            number += 1
            continue
        break
    write_atomic(path, caption.text)
    return backup


def _wide_encoding(raw: bytes) -> str | None:
    """UTF-16 without a mark: nearly every second byte of text in it is zero."""
    if len(raw) < 4 or len(raw) % 2:
        return None
    half = len(raw) // 2
    for encoding, zeros, others in (("utf-16-le", raw[1::2], raw[0::2]), ("utf-16-be", raw[0::2], raw[1::2])):
        if zeros.count(0) * 10 >= half * 4 and others.count(0) == 0:
            try:
                raw.decode(encoding)
            except UnicodeDecodeError:
                continue
            return encoding
    return None


def _looks_japanese(raw: bytes) -> bool:
    """Whether bytes that are not UTF-8 read as Shift-JIS: kana, or runs of common kanji.

    Western text decodes by accident too, one odd character at a time, so single ones do not count.
    """
    try:
        text = raw.decode("cp932")
    except UnicodeDecodeError:
        return False
    if any("\u3041" <= letter <= "\u30fe" for letter in text):
        return True
    single = in_runs = run = 0
    for letter in text + " ":
        # The common kanji (JIS level 1) and full-width signs have lead bytes that are no letters in Western text.
        if letter > "\u00ff" and letter.encode("cp932")[0] <= 0x9F:
            run += 1
            continue
        if run == 1:
            single += 1
        in_runs += run if run > 1 else 0
        run = 0
    return in_runs > single
