"""Reads sd-scripts' options out of its sources, for when no Python is there that could be asked."""

import ast
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_SCRIPT = "flux_train_network"
_ENTRY = "setup_parser"
_DEEPEST = 20  # calls; a parser that is put together deeper than that is none


class _Module:
    """One source file: its functions, what it imports under which name, and its constants."""

    def __init__(self, tree: ast.Module) -> None:
        self.functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        self.imports: dict[str, tuple[str, str | None]] = {}  # name here -> module, and the name in it
        self.constants: dict[str, ast.expr] = {}
        for node in tree.body:
            if isinstance(node, ast.Import):
                self.imports.update({name.asname or name.name: (name.name, None) for name in node.names})
            elif isinstance(node, ast.ImportFrom) and node.module:
                self.imports.update({name.asname or name.name: (node.module, name.name) for name in node.names})
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                self.constants[node.targets[0].id] = node.value


class _Reader:
    """Follows `setup_parser` through the files it calls, as Python would, and notes every `add_argument`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._modules: dict[str, _Module | None] = {}

    def read(self) -> Iterator[dict[str, Any]]:
        """The options in the order in which the parser is given them; nothing where there is no such function."""
        module = self._module(_SCRIPT)
        if module is not None and _ENTRY in module.functions:
            yield from self._function(module, module.functions[_ENTRY], {}, depth=0)

    def _module(self, name: str) -> _Module | None:
        if name not in self._modules:
            try:
                text = (self._root / f"{name.replace('.', '/')}.py").read_bytes()
                self._modules[name] = _Module(ast.parse(text))
            except (OSError, SyntaxError, ValueError):
                self._modules[name] = None
        return self._modules[name]

    def _function(
        self, module: _Module, function: ast.FunctionDef, given: Mapping[str, Any], *, depth: int
    ) -> Iterator[dict[str, Any]]:
        if depth < _DEEPEST:
            yield from self._block(module, function.body, given, depth=depth)

    def _block(
        self, module: _Module, body: Sequence[ast.stmt], known: Mapping[str, Any], *, depth: int
    ) -> Iterator[dict[str, Any]]:
        for statement in body:
            if isinstance(statement, ast.If):
                taken = _truth(statement.test, known)
                if taken is not False:
                    yield from self._block(module, statement.body, known, depth=depth)
                if taken is not True:
                    yield from self._block(module, statement.orelse, known, depth=depth)
            elif isinstance(statement, (ast.Expr, ast.Assign, ast.Return)) and isinstance(statement.value, ast.Call):
                yield from self._call(module, statement.value, known, depth=depth)

    def _call(
        self, module: _Module, call: ast.Call, known: Mapping[str, Any], *, depth: int
    ) -> Iterator[dict[str, Any]]:
        if isinstance(call.func, ast.Attribute) and call.func.attr == "add_argument":
            option = _option(module, call)
            if option is not None:
                yield option
            return
        target = self._resolve(module, call.func)
        if target is not None:
            where, function = target
            given = _arguments(function, call, known)
            yield from self._function(where, function, given, depth=depth + 1)

    def _resolve(self, module: _Module, func: ast.expr) -> tuple[_Module, ast.FunctionDef] | None:
        """The function of sd-scripts that is called, and the file it is in."""
        if isinstance(func, ast.Name):
            if func.id in module.functions:
                return module, module.functions[func.id]
            source, name = module.imports.get(func.id, ("", None))
        elif isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name):
            package, inner = module.imports.get(func.value.id, ("", None))
            source, name = package if inner is None else f"{package}.{inner}", func.attr
        else:
            return None
        found = self._module(source) if source else None
        return None if found is None or name not in found.functions else (found, found.functions[name])


def _arguments(function: ast.FunctionDef, call: ast.Call, known: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of the called function's parameters: those that are given, or default to, constants."""
    names = [argument.arg for argument in function.args.args]
    defaults = function.args.defaults
    values = dict(zip(names[len(names) - len(defaults) :], defaults, strict=True))
    values |= dict(zip(names, call.args, strict=False))
    values |= {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    given: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, ast.Constant):
            given[name] = value.value
        elif isinstance(value, ast.Name) and value.id in known:
            given[name] = known[value.id]
    return given


def _truth(test: ast.expr, known: Mapping[str, Any]) -> bool | None:
    """Whether a condition holds; None where that is not to be seen."""
    if isinstance(test, ast.Name) and test.id in known:
        return bool(known[test.id])
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = _truth(test.operand, known)
        return None if inner is None else not inner
    return None


def _option(module: _Module, call: ast.Call) -> dict[str, Any] | None:
    """One `add_argument` in the words of `ask_parser`; None for a positional."""
    names = [node.value for node in call.args if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    long = [name for name in names if name.startswith("--")]
    if not long:
        return None
    said = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    action = _value(module, said.get("action"))
    nargs = _value(module, said.get("nargs"))
    switch = action in ("store_true", "store_false")
    kind = said.get("type")
    return {
        "name": _value(module, said.get("dest")) or long[0].removeprefix("--").replace("-", "_"),
        "type": kind.id if isinstance(kind, ast.Name) else kind.attr if isinstance(kind, ast.Attribute) else None,
        "switch": switch,
        "many": nargs in ("*", "+"),
        "default": _value(module, said.get("default")) if "default" in said or not switch else action == "store_false",
        "choices": _value(module, said.get("choices")),
        "help": _value(module, said.get("help")),
    }


def _value(module: _Module, node: ast.expr | None) -> Any:
    """What a constant expression comes to; None where it is none."""
    if isinstance(node, ast.Name) and node.id in module.constants:
        node = module.constants[node.id]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _value(module, node.left), _value(module, node.right)
        return left + right if isinstance(left, type(right)) and isinstance(left, (str, list)) else None
    if isinstance(node, ast.JoinedStr):
        parts = [_value(module, part) for part in node.values]
        return "".join(parts) if all(isinstance(part, str) for part in parts) else None
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(module, item) for item in node.elts]
    try:
        return None if node is None else ast.literal_eval(node)
    except ValueError:
        return None


def source_options(root: Path) -> list[dict[str, Any]]:
    """The options of the checkout at `root` as `ask_parser` prints them; empty where its parser is not to be found."""
    return list(_Reader(root).read())


if __name__ == "__main__":  # a process of its own: parsing sd-scripts holds Python's lock for a tenth of a second
    json.dump(source_options(Path(sys.argv[1])), sys.stdout, default=str)
