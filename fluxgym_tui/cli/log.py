"""`log RUN`: what the trainer itself printed."""

import argparse
import re
import time
from collections.abc import Iterator
from pathlib import Path

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.cli.output import Output
from fluxgym_tui.cli.parser import CommandParser, add_json, add_run, whole_number
from fluxgym_tui.cli.workspaces import workspace_of
from fluxgym_tui.runs.adopted import is_adopted
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.listing import find_run
from fluxgym_tui.runs.state import read_state

_CHUNK_BYTES = 1 << 16
_POLL_S = 0.25
_LINE_END = re.compile(rb"\r\n|\r|\n")


def configure(parser: CommandParser) -> None:
    """Set the options of `log`."""
    parser.show(
        description="Print the log of a run's trainer: in a pipe its bytes as they are, on a terminal with control\n"
        "characters written out.",
        example="fluxgym-tui log hrld-person -f",
    )
    add_run(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the run ends")
    parser.add_argument(
        "--attempt", type=whole_number(), metavar="N", help="the attempt whose log is meant (default: the last)"
    )
    parser.add_argument(
        "--phase", default="train", metavar="PHASE", help="whose log is meant: train (default), prepare, download"
    )
    add_json(parser, lines=True)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Print the log."""
    found = find_run(workspace_of(args).root / "outputs", args.run)
    if is_adopted(found):
        raise FluxgymError(
            f"{found.name} was trained by another program, which kept no log",
            hint=f"fluxgym-tui events {found.name}   tells what its files say.",
            code=ExitCode.NOT_FOUND,
        )
    path = log_path(found, phase=args.phase, attempt=args.attempt)
    chunks = _growing(path, found) if args.follow else _chunks(path, offset=0)
    if not args.json:
        for chunk in chunks:
            out.raw(chunk)
        return ExitCode.OK
    for offset, line in split_lines(chunks):
        out.json_line({"offset": offset, "text": line.decode("utf-8", "surrogateescape")})
    return ExitCode.OK


def log_path(run: RunDirectory, *, phase: str, attempt: int | None) -> Path:
    """The log of `phase` in `attempt`, None meaning the last one that has a log.

    Raises:
        FluxgymError: there is none; the hint names the logs there are.
    """
    logs = sorted(path.name for path in run.run_dir.glob("*-[0-9][0-9][0-9].log"))
    name = max((log for log in logs if log.rpartition("-")[0] == phase), default=None)
    if attempt is not None:
        name = run.child(phase, attempt).log.name
    if name not in logs or name is None:
        which = f"attempt {attempt} of {phase}" if attempt is not None else phase
        have = ", ".join(name.removesuffix(".log") for name in logs)
        raise FluxgymError(
            f"{run.name} has no log of {which}",
            hint=f"It has logs of: {have}" if have else f"Nothing was started yet: fluxgym-tui events {run.name}",
            code=ExitCode.NOT_FOUND,
        )
    return run.run_dir / name


def split_lines(chunks: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """Lines with the byte offset each begins at; a bar redrawn with a carriage return is a line of its own."""
    rest = b""
    offset = 0
    for chunk in chunks:
        rest += chunk
        begin = 0
        for match in _LINE_END.finditer(rest):
            if match.group() == b"\r" and match.end() == len(rest):
                break  # perhaps the first half of CR LF
            yield offset + begin, rest[begin : match.start()]
            begin = match.end()
        offset += begin
        rest = rest[begin:]
    if rest:
        yield offset, rest.removesuffix(b"\r")


def _chunks(path: Path, *, offset: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(offset)
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _growing(path: Path, run: RunDirectory) -> Iterator[bytes]:
    """What is in the log and what comes, until the run is over and its last byte was read."""
    offset = 0
    while True:
        over = read_state(run).state.ended  # asked first: what was printed before the end is still read below
        for chunk in _chunks(path, offset=offset):
            offset += len(chunk)
            yield chunk
        if over:
            return
        time.sleep(_POLL_S)
