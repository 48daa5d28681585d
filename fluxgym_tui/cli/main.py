"""Dispatch: finds the command, imports only its module, and turns every ending into an exit code."""

import importlib
import keyword
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from fluxgym_tui import __version__
from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.cli import diagnostics
from fluxgym_tui.cli.output import Output, OutputError, use_utf8


class Command(NamedTuple):
    """A command: the heading it stands under, and what it does in a few words."""

    group: str
    summary: str


# The module of a command is `fluxgym_tui.cli.<name>`: configure(parser) and run(args, out) -> ExitCode.
COMMANDS: dict[str, Command] = {
    "scan": Command("Look and plan", "look at a folder of pictures: sizes, captions, problems"),
    "caption": Command("Look and plan", "write captions by Florence-2, an endpoint or any program"),
    "new": Command("Look and plan", "write a commented spec for a folder of pictures"),
    "import": Command("Look and plan", "make a spec of settings of fluxgym, the kohya_ss GUI or sd-scripts"),
    "plan": Command("Look and plan", "show the buckets, crops and steps that a training will have"),
    "check": Command("Look and plan", "find what would stop or spoil a training, before it starts"),
    "command": Command("Look and plan", "print the trainer's command of a spec"),
    "flags": Command("Look and plan", "list the options of sd-scripts that a spec's flags may have"),
    "models": Command("Look and plan", "list the base models, and which of their files are here"),
    "download": Command("Look and plan", "fetch what is missing of a base model"),
    "info": Command("Look and plan", "say what is in a LoRA or checkpoint, from its header alone"),
    "setup": Command("Train", "make the trainer kohya ready: sd-scripts and its environment"),
    "doctor": Command("Train", "look at the machine: GPU, driver, memory, disks, trainers, login"),
    "demo": Command("Train", "train the bundled example on its tiny base model"),
    "train": Command("Train", "train a LoRA from a folder of pictures or a spec"),
    "resume": Command("Train", "go on with a run that ended, or make it longer"),
    "runs": Command("Watch", "list the runs and their state"),
    "follow": Command("Watch", "watch a run from any terminal"),
    "events": Command("Watch", "print the events of a run"),
    "log": Command("Watch", "print the trainer's own log of a run"),
    "samples": Command("Watch", "list the sample pictures of a run"),
    "stop": Command("Watch", "stop a run politely"),
    "clean": Command("Watch", "make room: remove caches, old checkpoints and states after asking"),
    "login": Command("Share", "log in to Hugging Face with a token"),
    "logout": Command("Share", "log out of Hugging Face on this machine"),
    "whoami": Command("Share", "say who is logged in to Hugging Face, and what the token may do"),
    "publish": Command("Share", "publish a run's LoRA to Hugging Face, with a model card and samples"),
    "export": Command("Share", "write a spec, a run or a LoRA as another program wants it"),
}

FIRST_STEPS = """\
fluxgym-tui trains FLUX LoRAs from a terminal.

First steps:
  fluxgym-tui demo                                the bundled example, start to end, in about two minutes
  fluxgym-tui scan photos/                        what is in a folder of pictures
  fluxgym-tui train photos/ --trigger "hrld man"  train on it; the run survives this terminal
  fluxgym-tui runs                                what runs, and what has run

fluxgym-tui --help lists every command; fluxgym-tui COMMAND --help explains one.
"""


def main(argv: Sequence[str]) -> int:
    """Run the command of `argv` (without the program's name); the exit code of the process."""
    if sys.stderr is not None:
        use_utf8(sys.stderr)
    out = Output()
    try:
        code = _dispatch(list(argv), out)
        out.flush()
    except OutputError as problem:
        _drop_stdout()
        code = problem.code
        diagnostics.error(problem)
    except FluxgymError as problem:
        code = problem.code
        if _flushed(out):
            diagnostics.error(problem)
    except BrokenPipeError:
        # The reader has seen enough (`| head`). Python would complain once more when it flushes at exit.
        _drop_stdout()
        code = ExitCode.OK
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
        with suppress(KeyboardInterrupt):  # a key held down, or `timeout`, which signals twice
            if _flushed(out):
                diagnostics.narrate("interrupted")
    except Exception as problem:  # noqa: BLE001 - the top handler: whatever is left is a bug of ours
        code = ExitCode.INTERNAL
        if _flushed(out):
            diagnostics.crash(problem)
    return int(code)


def load(name: str) -> Any:
    """The module of the command `name`."""
    # A module whose name is a word of Python could not be imported by others.
    module = f"{name}_" if keyword.iskeyword(name) else name
    return importlib.import_module(f"fluxgym_tui.cli.{module}")


def _dispatch(argv: list[str], out: Output) -> ExitCode:
    word = argv[0] if argv else ""
    if not word:
        out.lines(FIRST_STEPS.splitlines())
        return ExitCode.OK
    if word in ("--version", "-V"):
        out.line(f"fluxgym-tui {__version__}")
        return ExitCode.OK
    if word == "help" and len(argv) > 1:
        argv = [argv[1], "--help"]
        word = argv[0]
    if word in ("--help", "-h", "help"):
        out.lines(usage().splitlines())
        return ExitCode.OK
    if word not in COMMANDS:
        raise _unknown(word)
    # Every command parses with argparse; `--version` and the page of first steps do without.
    from fluxgym_tui.cli.parser import CommandParser

    module = load(word)
    parser = CommandParser(word, summary=COMMANDS[word].summary)
    module.configure(parser)
    try:
        args = parser.read(argv[1:])
    except SystemExit:  # argparse's way to end after --help; its errors are ours
        return ExitCode.OK
    code: ExitCode = module.run(args, out)
    return code


def usage() -> str:
    """The page of `--help`: every command under its heading."""
    width = max(map(len, COMMANDS))
    text = "usage: fluxgym-tui COMMAND [OPTIONS]\n\nTrain FLUX LoRAs from a terminal; a run survives the terminal.\n"
    group = None
    for name, command in COMMANDS.items():
        if command.group != group:
            group = command.group
            text += f"\n{group}:\n"
        text += f"  {name.ljust(width)}  {command.summary}\n"
    return text + (
        "\nfluxgym-tui [DIR|SPEC] [--trigger WORDS] [--workspace DIR] [--ascii] opens the app in a terminal.\n"
        "fluxgym-tui COMMAND --help explains a command, with an example.\n"
        "fluxgym-tui --version prints the version.\n"
        "Every command takes --json: data on stdout, narration on stderr. Exit codes: docs/api.md.\n"
    )


def _unknown(word: str) -> FluxgymError:
    if Path(word).exists():
        verb = "scan" if Path(word).is_dir() else "plan"
        return FluxgymError(
            f"{word} is a {'folder' if verb == 'scan' else 'file'}, not a command",
            hint=f"fluxgym-tui {verb} {word}   looks at it; fluxgym-tui train {word}   trains from it.",
        )
    from fluxgym_tui.cli.parser import nearest

    near = nearest(word, COMMANDS)
    hint = f"Did you mean {near}? " if near else ""
    return FluxgymError(f"there is no command {word!r}", hint=f"{hint}fluxgym-tui --help lists the commands.")


def _flushed(out: Output) -> bool:
    """Hand on what was written before the end came; False where nobody reads any more.

    An output that cannot be written is not told beside what ended the command.
    """
    try:
        out.flush()
    except BrokenPipeError:
        _drop_stdout()
        return False
    except OutputError:
        _drop_stdout()
    return True


def _drop_stdout() -> None:
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, sys.stdout.fileno())
    os.close(sink)
