"""Words of a command line as sd-scripts' options: what a shell script or a field for more parameters says."""

import shlex
from collections.abc import Sequence

from fluxgym_tui.config.sd_flags import FLAG_KINDS, FlagValue, read_flag


def split_words(text: str) -> list[str]:
    """`text` as a shell would see it, lines continued by `\\` or `^` joined; by spaces alone where a quote is open."""
    lines = [line.rstrip().removesuffix("\\").removesuffix("^") for line in text.splitlines()]
    joined = " ".join(line for line in lines if not line.lstrip().startswith("#"))
    try:
        return shlex.split(joined)
    except ValueError:
        return joined.split()


def options_of(words: Sequence[str]) -> tuple[dict[str, FlagValue], list[str], list[str]]:
    """The options of sd-scripts in `words`, options of others with their values, and what is wrong with words left out.

    As argparse has it: `--name value` and `--name=value`, unambiguous beginnings of a name, the last one of two.
    """
    options: dict[str, FlagValue] = {}
    others: list[str] = []
    problems: list[str] = []
    of_others = False
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        written, equals, after = word[2:].partition("=")
        name = _full_name(written) if word.startswith("--") else None
        if name is None and (word.startswith("--") or of_others):
            others.append(word)
            of_others = True
            continue
        if name is None:
            problems.append(f"{word} belongs to no option")
            continue
        of_others = False
        values = [after] if equals else []
        if FLAG_KINDS[name] != "switch" and not equals:
            while position < len(words) and not words[position].startswith("--"):
                values.append(words[position])
                position += 1
                if FLAG_KINDS[name] not in ("texts", "numbers"):
                    break
        try:
            options[name] = option_value(name, values)
        except ValueError as error:
            problems.append(f"--{name} {error}")
    return options, others, problems


def option_value(name: str, values: Sequence[str]) -> FlagValue:
    """The value of the option `name` that was given with the words `values`.

    Raises:
        ValueError: there is none, or it is of another kind.
    """
    kind = FLAG_KINDS[name]
    if kind == "switch":
        return True
    if kind in ("texts", "numbers"):
        return read_flag(name, tuple(values))
    if not values:
        raise ValueError("has no value")
    return read_flag(name, values[0])


def _full_name(written: str) -> str | None:
    """The option that `written` names or begins; None where there is none or more than one."""
    if written in FLAG_KINDS:
        return written
    fitting = [name for name in FLAG_KINDS if written and name.startswith(written)]
    return fitting[0] if len(fitting) == 1 else None
