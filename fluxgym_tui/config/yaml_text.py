"""YAML as people write it: read with the place of every value, and scalars written so that every reader agrees."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import yaml

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.config.values import Plain

Route = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file; line and column count from 1."""

    line: int
    column: int


@dataclass(slots=True)
class Tree:
    """A YAML file as dicts, lists, `str` (quoted) and `Plain` (unquoted) scalars, with the place of keys and values."""

    value: Any = None
    keys: dict[Route, Mark] = field(default_factory=dict)
    values: dict[Route, Mark] = field(default_factory=dict)

    def mark(self, route: Route) -> Mark:
        """The place of the value at `route`, or of the nearest thing around it."""
        while route and route not in self.values:
            route = route[:-1]
        return self.values.get(route, Mark(1, 1))


def decode(raw: bytes, *, origin: str) -> str:
    """The text of a file: UTF-8 with or without a byte order mark, or UTF-16 with one.

    Raises:
        FluxgymError: the bytes are something else; with line and column.
    """
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line = before.count(b"\n") + 1
        column = len(before) - (before.rfind(b"\n") + 1) + 1
        raise FluxgymError(
            f"{origin}:{line}:{column}: not UTF-8 text (byte 0x{raw[error.start]:02x})", hint="Save the file as UTF-8."
        ) from error


def read_tree(text: str, *, origin: str) -> Tree:
    """The YAML in `text`. Numbers and words are not yet interpreted: what a scalar means depends on its key.

    Raises:
        FluxgymError: no YAML, a key written twice, or a feature that would be read differently by others (tags,
            aliases); the message begins with `origin`:line:column.
    """
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        line, column = _line_and_column(text, error.position)
        character = error.character if isinstance(error.character, int) else ord(error.character)
        raise FluxgymError(
            f"{origin}:{line}:{column}: the character U+{character:04X} may not stand in a YAML file",
            hint="Delete it; it is invisible in most editors.",
        ) from error
    except _AliasError as error:
        raise FluxgymError(
            f"{origin}:{error.mark.line}:{error.mark.column}: an alias (*name) is not read here",
            hint="Write the value out where it is used.",
        ) from error
    except yaml.MarkedYAMLError as error:
        raise _syntax(error, text, origin) from error
    except RecursionError as error:
        raise FluxgymError(f"{origin}:1:1: nested too deep to be a spec", hint="Check the brackets.") from error
    tree = Tree()
    if node is not None:
        tree.value = _Walk(tree, origin).convert(node, ())
    return tree


class _AliasError(Exception):
    """An alias was met at `mark`."""

    def __init__(self, mark: Mark) -> None:
        super().__init__(mark)
        self.mark = mark


class _Loader(yaml.BaseLoader):
    """A loader that composes nodes without interpreting scalars, and stops at aliases.

    They could make a small file endless, and a value that is changed far from its key.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            peek: Callable[[], Any] = self.peek_event  # has no types
            start = peek().start_mark
            raise _AliasError(Mark(start.line + 1, start.column + 1))
        return super().compose_node(parent, index)


class _Walk:
    """Converts nodes to plain data while noting their places."""

    def __init__(self, tree: Tree, origin: str) -> None:
        self.tree = tree
        self.origin = origin

    def convert(self, node: yaml.Node, route: Route) -> Any:
        self.tree.values[route] = _mark(node)
        if node.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"):
            raise self._refuse(node, f"the tag {node.tag} is not read here", "Write the value without it.")
        if isinstance(node, yaml.ScalarNode):
            return Plain(node.value) if node.style is None else str(node.value)
        if isinstance(node, yaml.SequenceNode):
            return [self.convert(item, (*route, index)) for index, item in enumerate(node.value)]
        return self._mapping(node, route)

    def _mapping(self, node: yaml.Node, route: Route) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._refuse(key_node, "a key must be a word", "Check the brackets and colons of this line.")
            key = str(key_node.value)
            place = (*route, key)
            if key in result:
                first = self.tree.keys[place]
                raise self._refuse(
                    key_node, f"{key} is written twice; the first is on line {first.line}", "Keep one of the two."
                )
            self.tree.keys[place] = _mark(key_node)
            result[key] = self.convert(value_node, place)
        return result

    def _refuse(self, node: yaml.Node, what: str, hint: str) -> FluxgymError:
        mark = _mark(node)
        return FluxgymError(f"{self.origin}:{mark.line}:{mark.column}: {what}", hint=hint)


def _mark(node: yaml.Node) -> Mark:
    return Mark(node.start_mark.line + 1, node.start_mark.column + 1)


def _line_and_column(text: str, position: int) -> tuple[int, int]:
    before = text[:position]
    return before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1


def _syntax(error: yaml.MarkedYAMLError, text: str, origin: str) -> FluxgymError:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    problem = error.problem or "this is no YAML"
    lines = text.splitlines()
    if "'\\t'" in problem or (line <= len(lines) and lines[line - 1][:column].strip(" ").startswith("\t")):
        what, hint = "a tab stands where YAML wants spaces", "Indent with spaces only."
    elif "expected a single document" in (error.context or ""):
        what, hint = "a second document begins here (---)", "Put one spec in a file."
    elif "mapping values are not allowed" in problem:
        what, hint = "a second colon on one line", 'Put a value that has ": " in it in quotes.'
    elif "expected <block end>" in problem or "could not find expected ':'" in problem:
        what, hint = "this line does not fit those above it", "Check the indentation, and that each key has its colon."
    else:
        what = problem if error.context is None else f"{problem} ({error.context})"
        hint = "Mend this line: it is not YAML."
    return FluxgymError(f"{origin}:{line}:{column}: {what}", hint=hint)


_PLAIN_TEXT = re.compile(r"[A-Za-z_/][A-Za-z0-9_./ +()-]*")
# Words that YAML 1.1 or 1.2 readers take for something else than text.
_BENT = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})


def write_scalar(value: bool | float | str | None) -> str:
    """`value` as a YAML scalar that YAML 1.1 and 1.2 readers, and ours, read alike; always on one line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        text = repr(value)
        # YAML 1.1 wants a point before the exponent: 1e-05 would be a text to it.
        return text.replace("e", ".0e") if "e" in text and "." not in text else text
    if _PLAIN_TEXT.fullmatch(value) and value.strip() == value and value.lower() not in _BENT and "  " not in value:
        return value
    return '"' + "".join(_escaped(char) for char in value) + '"'


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    code = ord(char)
    if code > 0xFFFF:
        return char if char.isprintable() else f"\\U{code:08x}"
    # Surrogates are bytes of a file name that is not UTF-8; an escape carries them through.
    return char if char.isprintable() and not 0xD800 <= code <= 0xDFFF else f"\\u{code:04x}"
