"""Reads one value of a spec by what its key wants: a text, a number, a switch; plain YAML words are still text here."""

import math
import re
import shlex
from pathlib import Path
from typing import Any

NULL_WORDS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "yes", "on"})
_FALSE = frozenset({"false", "no", "off"})
_DIGITS = r"[0-9]+(?:_[0-9]+)*"
_WHOLE = re.compile(rf"[+-]?{_DIGITS}")
_HEX = re.compile(r"[+-]?0x[0-9a-fA-F]+")
_NUMBER = re.compile(rf"[+-]?(?:{_DIGITS}(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


class Plain(str):
    """A YAML scalar written without quotes: what it means depends on what its key wants."""

    __slots__ = ()


def shown(value: Any) -> str:
    """`value` as a message names it."""
    if isinstance(value, Plain):
        return f"'{value}'" if value else "nothing"
    if isinstance(value, str):
        return f'the text "{value}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "nothing"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, dict):
        return "a group of keys"
    return str(value)


def is_null(value: Any) -> bool:
    """Whether `value` says nothing: None, or one of YAML's words for it, unquoted."""
    return value is None or (isinstance(value, Plain) and value in NULL_WORDS)


def read_optional(value: Any) -> Any:
    """None where `value` says nothing, else `value`, for the reader of its kind."""
    return None if is_null(value) else value


def read_text(value: Any) -> str:
    """A text, quoted or not: `no`, `1_000` and `2024-01-01` stay as they were written."""
    if isinstance(value, str) and not is_null(value):
        return str(value)
    raise ValueError(f"must be a text, not {shown(value)}")


def read_switch(value: Any) -> bool:
    """true or false, also by YAML 1.1's words yes, no, on, off."""
    if isinstance(value, bool):
        return value
    if isinstance(value, Plain):
        word = value.lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
    raise ValueError(f"must be true or false, not {shown(value)}")


def read_whole(value: Any) -> int:
    """A whole number: `1_000`, `0x2a` and `1e3` are read, `010` is refused (8 to some readers, 10 to others)."""
    if isinstance(value, str):
        text = str(value).strip()
        if _HEX.fullmatch(text):
            return int(text, 16)
        if _WHOLE.fullmatch(text):
            if re.match(r"[+-]?0[0-9_]", text):
                raise ValueError(f"is {text}, which some read as octal: write it without the leading zero")
            return int(text)
        if _NUMBER.fullmatch(text) and float(text).is_integer():
            return int(float(text))
    elif isinstance(value, int) and not isinstance(value, bool):
        return value
    elif isinstance(value, float) and value.is_integer():
        return int(value)
    raise ValueError(f"must be a whole number, not {shown(value)}")


def read_number(value: Any) -> float:
    """A finite number; `8e-4`, which YAML 1.1 takes for a text, is one."""
    if isinstance(value, str):
        text = str(value).strip()
        if re.fullmatch(rf"[+-]?{_DIGITS},[0-9]+", text):
            raise ValueError(f"must be a number, not {shown(value)}: write a point for the comma")
        if _NUMBER.fullmatch(text):
            number = float(text)
            if math.isfinite(number):
                return number
        if _HEX.fullmatch(text):
            return float(read_whole(value))
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise ValueError(f"must be a number, not {shown(value)}")


def read_whole_or_number(value: Any) -> int | float:
    """A number that stays whole where it was written so."""
    number = read_number(value)
    whole_text = isinstance(value, str) and (_WHOLE.fullmatch(value.strip()) or _HEX.fullmatch(value.strip()))
    if whole_text or isinstance(value, int):
        return read_whole(value)
    return number


def read_texts(value: Any) -> tuple[str, ...]:
    """A list of texts; one text alone is a list of its lines, without the empty ones."""
    if is_null(value):
        return ()
    if isinstance(value, str):
        return tuple(line.strip() for line in str(value).splitlines() if line.strip())
    if isinstance(value, (list, tuple)):
        return tuple(read_text(item) for item in value)
    raise ValueError(f"must be a list of texts, not {shown(value)}")


def read_trigger(value: Any) -> str | None:
    """A trigger as one line, without space around it; None where it says nothing.

    A line break in it becomes a blank: to both encoders' tokenizers they are the same, but of a caption file sd-scripts
    reads the first line only.
    """
    lines = [] if is_null(value) else read_text(value).splitlines()
    return " ".join(line.strip() for line in lines if line.strip()) or None


def read_prompts(value: Any) -> tuple[str, ...]:
    """Prompts, one a line, for so their file has them; empty lines are left out."""
    return tuple(line.strip() for text in read_texts(value) for line in text.splitlines() if line.strip())


def read_words(value: Any) -> tuple[str, ...]:
    """Words of a command line: a list of them, or one text in which a shell would find them."""
    if isinstance(value, str) and not is_null(value):
        try:
            return tuple(shlex.split(str(value)))
        except ValueError as error:
            raise ValueError("has a quote that does not end") from error
    words = read_texts(value)
    for word in words:
        if re.match(r"--\w+\s", word):
            raise ValueError(f'has two words in one: write "{word}" as {", ".join(word.split())}')
    return words


def read_path(value: Any) -> Path:
    """A path, not empty."""
    if isinstance(value, Path):
        return value
    text = read_text(value)
    if not text.strip():
        raise ValueError("must be a path, not an empty text")
    return Path(text)


def read_any(value: Any) -> bool | int | float | str | tuple[Any, ...]:
    """A value whose key is not known: true and false, numbers, else text, by YAML 1.2's core rules."""
    if isinstance(value, (list, tuple)):
        return tuple(read_any(item) for item in value)
    if isinstance(value, Plain):
        if value in NULL_WORDS:
            raise ValueError("has no value")
        if value.lower() in ("true", "false"):
            return value.lower() == "true"
        if _WHOLE.fullmatch(value) or _HEX.fullmatch(value):
            return read_whole(value)
        return read_number(value) if _NUMBER.fullmatch(value) else str(value)
    if isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise ValueError(f"must be a text, a number, true or false, or a list of those, not {shown(value)}")
