"""Everything that goes to stdout: data as JSON, tables and lines for people, raw bytes."""

import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TextIO

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.text import terminal_safe

# In a pipe, bytes of file names that are not UTF-8 go through as they are; on a terminal they are written out.
_UNDECODABLE = "".join(map(chr, range(0xDC80, 0xDD00)))
_CLEAR_LINE = "\r\x1b[2K"


class _Nowhere(io.StringIO):
    """Stands in for a stream that was closed before we started."""

    def write(self, text: str, /) -> int:
        return len(text)


def use_utf8(stream: TextIO | None) -> TextIO:
    """`stream` as UTF-8 whatever the locale says, keeping file names that are not UTF-8; a sink where it is closed."""
    if stream is None:
        return _Nowhere()
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(encoding="utf-8", errors="surrogateescape")
    return stream


class OutputError(FluxgymError):
    """Stdout takes nothing any more: a full disk, most likely."""


@contextmanager
def _told() -> Iterator[None]:
    """The system's errors while stdout is written, as errors for people."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(
            f"cannot write the output: {error.strerror or error}",
            hint="Check that the disk it goes to has room. Runs that were started go on.",
            code=ExitCode.FAILED,
        ) from error


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its heading, which side its cells lean to, and whether a terminal may cut them short."""

    title: str
    align: Literal["left", "right"] = "left"
    cut: bool = False


class Output:
    """Stdout of one command: tables and a live line on a terminal, plain aligned text in a pipe, JSON for programs.

    What writes raises `OutputError` where the output cannot be written, and BrokenPipeError where nobody reads it.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = use_utf8(sys.stdout) if stream is None else stream
        self.is_terminal = self._stream.isatty()
        self._can_redraw = self.is_terminal and os.environ.get("TERM", "dumb") != "dumb"
        self._live = ""

    def line(self, text: str = "") -> None:
        """One line for people; control characters are written out."""
        self._end_live()
        self._write(self._clean(text) + "\n")

    def lines(self, texts: Iterable[str]) -> None:
        """Several lines for people."""
        for text in texts:
            self.line(text)

    def table(self, columns: Sequence[str | Column], rows: Iterable[Sequence[object]]) -> None:
        """A table; None is an empty cell. Nothing where there are no rows."""
        heads = [column if isinstance(column, Column) else Column(column) for column in columns]
        cells = [["" if cell is None else self._clean(str(cell)) for cell in row] for row in rows]
        if not cells:
            return
        self._end_live()
        if self.is_terminal:
            self._rich_table(heads, cells)
        else:
            self._plain_table(heads, cells)

    def json(self, data: Any) -> None:
        """`data` as one indented JSON document, ASCII so that any file name survives."""
        with _told():
            json.dump(data, self._stream, indent=2, ensure_ascii=True, allow_nan=False)
        self._write("\n")

    def json_line(self, data: Any) -> None:
        """`data` as one line of JSON Lines, seen at once by whoever reads the pipe."""
        self._write(json.dumps(data, separators=(",", ":"), ensure_ascii=True, allow_nan=False) + "\n")
        self._flush()

    def json_pieces(self, pieces: Iterable[str]) -> None:
        """A JSON document in pieces, handed on as they are made: it is never held whole."""
        for piece in pieces:
            self._write(piece)

    def raw(self, data: bytes) -> None:
        """Bytes as they are in a pipe; on a terminal as text with its control characters written out."""
        if not self.is_terminal and isinstance(self._stream, io.TextIOWrapper):
            self._flush()
            with _told():
                self._stream.buffer.write(data)
        else:
            text = data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
            self._write(terminal_safe(text, keep="\n\t"))
        self._flush()

    def live(self, text: str) -> bool:
        """Redraw the one live line at the bottom of a terminal. False, and nothing written, where there is none."""
        if not self._can_redraw:
            return False
        width = _terminal_width(self._stream)
        shown = terminal_safe(text)[: width - 1]
        if shown != self._live:
            self._write(_CLEAR_LINE + shown)
            self._flush()
            self._live = shown
        return True

    def flush_lines(self) -> None:
        """Hand on what was written; the live line stays."""
        self._flush()

    def flush(self) -> None:
        """Hand everything on, and take the live line away."""
        self._end_live()
        self._flush()

    def _write(self, text: str) -> None:
        with _told():
            self._stream.write(text)

    def _flush(self) -> None:
        with _told():
            self._stream.flush()

    def _end_live(self) -> None:
        if self._live:
            self._write(_CLEAR_LINE)
            self._live = ""

    def _clean(self, text: str) -> str:
        return terminal_safe(text) if self.is_terminal else terminal_safe(text, keep=_UNDECODABLE)

    def _plain_table(self, heads: list[Column], cells: list[list[str]]) -> None:
        widths = [max(len(head.title), *(len(row[i]) for row in cells)) for i, head in enumerate(heads)]
        for row in [[head.title for head in heads], *cells]:
            padded = [
                cell.rjust(width) if head.align == "right" else cell.ljust(width)
                for cell, width, head in zip(row, widths, heads, strict=True)
            ]
            self._write("  ".join(padded).rstrip() + "\n")

    def _rich_table(self, heads: list[Column], cells: list[list[str]]) -> None:
        # Only tables on a terminal need rich: 50 ms that `events` in a pipe does not pay.
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for head in heads:
            table.add_column(
                Text(head.title), justify=head.align, overflow="ellipsis" if head.cut else "fold", no_wrap=head.cut
            )
        for row in cells:
            table.add_row(*(Text(cell) for cell in row))
        with _told():
            Console(file=self._stream, highlight=False).print(table)


def _terminal_width(stream: TextIO) -> int:
    try:
        return max(20, os.get_terminal_size(stream.fileno()).columns)
    except (OSError, ValueError):
        return 80
