"""Changing single options in a trainer's finished command line, as a resume does."""

from collections.abc import Mapping, Sequence


def with_options(argv: Sequence[str], changes: Mapping[str, str | None]) -> tuple[str, ...]:
    """`argv` with the options in `changes` said once, at its end, as changed there; None takes an option out."""
    kept: list[str] = []
    dropping = False
    for word in argv:
        if word.startswith("--"):
            dropping = word[2:].partition("=")[0] in changes
        if not dropping:
            kept.append(word)
    for name, value in changes.items():
        if value is not None:
            kept += [f"--{name}", value]
    return tuple(kept)


def has_option(argv: Sequence[str], name: str) -> bool:
    """Whether `argv` has the option `name`."""
    return any(word.partition("=")[0] == f"--{name}" for word in argv)


def whole_option(argv: Sequence[str], name: str) -> int | None:
    """The whole number that `argv` gives the option `name`; None where it gives none."""
    value = None
    for number, word in enumerate(argv):
        written, joined, after = word.partition("=")
        if written == f"--{name}":
            value = after if joined else next(iter(argv[number + 1 :]), None)
    return int(value) if value is not None and value.isdecimal() else None
