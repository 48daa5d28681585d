"""Argument parsing in our manner: errors with a hint and the nearest word, help with an example."""

import argparse
import difflib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.cli.output import Output


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Help at most 100 columns wide; wider lines are hard to read."""

    def __init__(self, prog: str) -> None:
        try:
            width = os.get_terminal_size().columns
        except OSError:
            width = 100
        super().__init__(prog, max_help_position=32, width=max(40, min(width, 100)))


class CommandParser(argparse.ArgumentParser):
    """The parser of one command. `example` is shown at the end of its help."""

    def __init__(self, name: str, *, summary: str) -> None:
        super().__init__(
            prog=f"fluxgym-tui {name}",
            description=summary[:1].upper() + summary[1:] + ".",
            formatter_class=HelpFormatter,
            allow_abbrev=False,
        )
        self.color = False  # from Python 3.14 on argparse would colour its help; ours goes through Output
        self.example = ""

    def show(self, *, description: str, example: str) -> None:
        """Set what the help says: the command in a few sentences, and command lines that can be copied."""
        self.description = description
        self.example = example
        self.epilog = "example:\n" + "".join(f"  {line}\n" for line in example.splitlines())

    def read(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parse `argv`. sd-scripts' spelling of an option, with underscores, is taken as well."""
        known = {name for action in self._actions for name in action.option_strings}
        words = list(argv)
        for index, word in enumerate(words):
            if word == "--":
                break
            name, equals, value = word.partition("=")
            if name.startswith("--") and name not in known and name.replace("_", "-") in known:
                words[index] = name.replace("_", "-") + equals + value
        return self.parse_args(words)

    def options(self) -> list[argparse.Action]:
        """Every positional and option, in the order of the help."""
        return [action for action in self._actions if not isinstance(action, argparse._HelpAction)]

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments; the nearest option is named where one was mistyped."""
        hint = f"See: {self.prog} --help"
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown != message:
            word = unknown.split()[0].partition("=")[0]
            near = nearest(word, (name for action in self.options() for name in action.option_strings))
            message = f"{self.prog} does not take {unknown}"
            hint = f"Did you mean {near}? {hint}" if near else hint
        raise FluxgymError(message, hint=hint)

    def _print_message(self, message: str, file: IO[str] | None = None) -> None:  # type: ignore[override]
        out = Output()
        out.lines(message.rstrip("\n").split("\n"))
        out.flush()


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was probably meant to be."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)), None)


def add_json(parser: argparse.ArgumentParser, *, lines: bool = False) -> None:
    """The option `--json`; `lines`: one JSON document a line, as things happen."""
    text = "print JSON Lines, one event a line" if lines else "print one JSON document"
    parser.add_argument("--json", action="store_true", help=text)


def add_workspace(parser: argparse.ArgumentParser) -> None:
    """The option `--workspace`."""
    parser.add_argument(
        "--workspace",
        type=Path,
        metavar="DIR",
        help="the folder with models/, datasets/ and outputs/ (default: $FLUXGYM_HOME, else the folder here or above "
        "that looks like one, else $WORKSPACE, else /workspace, else ~/fluxgym)",
    )


def add_run(parser: argparse.ArgumentParser) -> None:
    """The positional RUN and the workspace it is looked up in."""
    parser.add_argument("run", metavar="RUN", help="the name of a run, as `runs` lists it, or its folder")
    add_workspace(parser)


def whole_number(least: int = 1) -> Any:
    """An argparse type: a whole number of at least `least`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        return value

    return parse
