"""Commands as a shell script that people can read and run: one option a line, as fluxgym's train.sh has it."""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fluxgym_tui.base.errors import FluxgymError

_HEAD = """\
#!/bin/sh
# What this run executes, one after the other. Started by hand it writes to the same folder.
set -e
"""
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_UNFINISHED = re.compile(r"(?<!\\)(?:\\\\)*\\\Z")  # an odd number of backslashes
_SHELL_WORDS = frozenset(
    {
        "if", "then", "else", "fi", "for", "while", "until", "do", "done", "case", "esac", "function", "source", ".",
        "eval", "trap", "alias", "{", "}",
    }
)  # fmt: skip


def script_text(commands: Iterable[tuple[Sequence[str], Mapping[str, str], Path]]) -> str:
    """A script that runs `commands`, each its arguments, what it adds to the environment, and its folder."""
    return _HEAD + "".join(f"\n{command_text(argv, env=env, cwd=cwd)}" for argv, env, cwd in commands)


def command_text(argv: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> str:
    """The lines that run `argv` in `cwd`: an option and its values on each line, joined by backslashes."""
    lines: list[str] = []
    for word in argv:
        quoted = shlex.quote(word)
        if not lines or word.startswith("--") or word.endswith(".py"):
            lines.append(quoted)
        else:
            lines[-1] += f" {quoted}"
    variables = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in env.items())
    return f"cd {shlex.quote(str(cwd))}\n{variables}" + " \\\n  ".join(lines) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptCommand:
    """One command of a script: its arguments, what was exported for it, its folder (None: not said), and its line."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path | None
    line: int


def read_script(text: str, *, origin: str) -> list[ScriptCommand]:
    """The commands of a script that people have edited: what `script_text` writes, with other words in it.

    It is read, not run by a shell: only commands, `cd`, `export` and `set -e`, each on a line of its own.

    Raises:
        FluxgymError: something else is in it; with its line.
    """
    commands: list[ScriptCommand] = []
    env: dict[str, str] = {}
    cwd: Path | None = None
    for number, line in _logical_lines(text, origin):
        words = _words(line, f"{origin}, line {number}")
        own: dict[str, str] = {}
        while words and (found := _ASSIGNMENT.fullmatch(words[0])):
            own[found[1]] = found[2]
            words = words[1:]
        if not words:
            env |= own
        elif words[0] == "set":
            continue
        elif words[0] == "export":
            env |= _exported(words[1:], f"{origin}, line {number}")
        elif words[0] == "cd" and len(words) == 2 and Path(words[1]).is_absolute():
            cwd = Path(words[1])
        elif words[0] in _SHELL_WORDS:
            raise _no_shell(f"{origin}, line {number}", words[0])
        else:
            argv = words[1:] if words[0] == "exec" else words
            commands.append(ScriptCommand(argv=tuple(argv), env={**env, **own}, cwd=cwd, line=number))
    return commands


def _logical_lines(text: str, origin: str) -> Iterator[tuple[int, str]]:
    """Lines with those that they go on in, by a backslash or an open quote; with the number of the first."""
    begun, begun_at = "", 0
    for number, line in enumerate(text.split("\n"), 1):
        begun_at = begun_at if begun else number
        joined = begun + line
        if _UNFINISHED.search(joined) and not line.lstrip().startswith("#"):
            begun = joined[:-1]
        elif _open_quote(joined):
            begun = joined + "\n"
        else:
            begun = ""
            if joined.strip() and not joined.lstrip().startswith("#"):
                yield begun_at, joined
    if begun:
        raise FluxgymError(
            f"{origin}, line {begun_at}: the command does not end",
            hint="A quote or a backslash at the end is left open.",
        )


def _open_quote(line: str) -> bool:
    try:
        shlex.split(line, comments=True)
    except ValueError:
        return True
    return False


def _words(line: str, where: str) -> list[str]:
    """The words of a command; FluxgymError where a shell would make something else of them."""
    quote = ""
    escaped = False
    before = " "
    for letter in line:
        if escaped:
            escaped = False
        elif letter == "\\" and quote != "'":
            escaped = True
        elif quote:
            if letter == quote:
                quote = ""
            elif quote == '"' and letter in "$`":
                raise _no_shell(where, letter)
        elif letter in "'\"":
            quote = letter
        elif letter == "#" and before.isspace():
            break
        elif letter in "|&;<>()$`*?[" or (letter == "~" and before.isspace()):
            raise _no_shell(where, letter)
        before = letter
    return shlex.split(line, comments=True)


def _exported(words: Sequence[str], where: str) -> dict[str, str]:
    values = [_ASSIGNMENT.fullmatch(word) for word in words]
    if not all(values):
        raise FluxgymError(f"{where}: export takes NAME=VALUE", hint="As in: export OMP_NUM_THREADS=4")
    return {found[1]: found[2] for found in values if found is not None}


def _no_shell(where: str, what: str) -> FluxgymError:
    return FluxgymError(
        f"{where}: {what} is for a shell, and this script is read without one",
        hint="Write plain commands, cd /FOLDER and export NAME=VALUE; put other signs into single quotes.",
    )
