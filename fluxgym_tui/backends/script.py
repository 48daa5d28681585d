"""Commands as a shell script that people can read and run: one option a line, as fluxgym's train.sh has it."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

_HEAD = """\
#!/bin/sh
# What this run executes, one after the other. Started by hand it writes to the same folder.
set -e
"""


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
