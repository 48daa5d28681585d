"""Changes a spec's file in place: what changed is rewritten, and the user's comments and order stay."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.config.spec import TrainingSpec, TrainSpec
from fluxgym_tui.config.spec_text import GROUPS, inline
from fluxgym_tui.config.specfile import dump_spec, parse_spec, spec_data

_Entries = dict[str, tuple[yaml.ScalarNode, yaml.Node]]
_Removed = object()


def update_spec_text(text: str, spec: TrainSpec, *, folder: Path, origin: str) -> str:
    """`text`, a spec's file in `folder`, changed so that it says `spec`; comments, order and untouched values stay.

    Where the file is built so oddly that this does not succeed, the whole spec is written anew.

    Raises:
        FluxgymError: `text` is no spec; it begins with `origin` and the line.
    """
    old, new = spec_data(parse_spec(text, folder=folder, origin=origin)), spec_data(spec)
    changed = text if text.endswith("\n") else text + "\n"
    for route, value in _changes(old, new):
        changed = _changed(changed, route, value, new)
    try:
        if parse_spec(changed, folder=folder, origin=origin) == spec:
            return changed
    except FluxgymError:
        pass  # the edit made no spec of it
    return dump_spec(spec)


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[tuple[str, ...], Any]]:
    """What differs, as routes with their new values; keys of groups one by one, removals first."""
    changes: list[tuple[tuple[str, ...], Any]] = []
    for key in (*old, *(key for key in new if key not in old)):
        before, after = old.get(key, _Removed), new.get(key, _Removed)
        if key in GROUPS or key == "flags":
            changes += [((key, *route), value) for route, value in _changes_in(before, after)]
        elif before != after:
            changes.append(((key,), after))
    return sorted(changes, key=lambda change: change[1] is not _Removed)


def _changes_in(before: Any, after: Any) -> list[tuple[tuple[str, ...], Any]]:
    return [
        ((key,), after.get(key, _Removed))
        for key in (*before, *(key for key in after if key not in before))
        if before.get(key, _Removed) != after.get(key, _Removed)
    ]


def _changed(text: str, route: tuple[str, ...], value: Any, new: Mapping[str, Any]) -> str:
    """`text` with the key at `route` set to `value`, or taken out."""
    root = _entries(_root(text))
    if len(route) == 2 and route[0] == "training" and _says(root, ("flags", route[1])):
        route = ("flags", route[1])  # the user says this option there
    if len(route) == 1:
        return _in_block(text, root, route[0], value, indent="")
    group, key = route
    if group not in root:
        return text if value is _Removed else f"{text}{group}:\n  {key}: {inline(value)}\n"
    node = root[group][1]
    entries = _entries(node)
    if not isinstance(node, yaml.MappingNode) or node.flow_style or (value is _Removed and len(entries) == 1):
        kept = {name: _wanted(new, group, name) for name in (*entries, key)}
        kept = {name: item for name, item in kept.items() if item is not _Removed}
        return _with_value(text, root[group], kept)
    first = next(iter(entries.values()))[0]
    return _in_block(text, entries, key, value, indent=" " * first.start_mark.column)


def _wanted(new: Mapping[str, Any], group: str, name: str) -> Any:
    """The new value of a key in a group; options under `flags` may be keys of `training`."""
    if group == "flags" and name in TrainingSpec.model_fields:
        group = "training"
    return new.get(group, {}).get(name, _Removed)


def _in_block(text: str, entries: _Entries, key: str, value: Any, *, indent: str) -> str:
    """`text` with `key` of a block of lines changed, taken out, or put behind the last entry."""
    if key in entries:
        return _without(text, entries[key]) if value is _Removed else _with_value(text, entries[key], value)
    if value is _Removed:
        return text
    last = max(_end(text, node) for _, node in entries.values())
    line_end = text.find("\n", last) + 1
    return f"{text[:line_end]}{indent}{key}: {inline(value)}\n{text[line_end:]}"


def _with_value(text: str, entry: tuple[yaml.ScalarNode, yaml.Node], value: Any) -> str:
    key, node = entry
    colon = text.index(":", _index(key.end_mark)) + 1
    start = _index(node.start_mark)
    on_its_line = "\n" not in text[colon:start] and start > colon
    begin = start if on_its_line and not _is_block(node) else colon
    return f"{text[:begin]}{'' if begin == start and start > colon else ' '}{inline(value)}{text[_end(text, node) :]}"


def _without(text: str, entry: tuple[yaml.ScalarNode, yaml.Node]) -> str:
    """`text` without the lines of `entry`, its comment on the same line included."""
    key, node = entry
    begin = text.rfind("\n", 0, _index(key.start_mark)) + 1
    return text[:begin] + text[text.find("\n", max(_end(text, node), _index(key.end_mark))) + 1 :]


def _is_block(node: yaml.Node) -> bool:
    """Whether `node` goes over lines of its own: a block of keys or items, or a literal text."""
    if isinstance(node, yaml.ScalarNode):
        return node.style in ("|", ">")
    return isinstance(node, yaml.CollectionNode) and not node.flow_style


def _end(text: str, node: yaml.Node) -> int:
    """Where the content of `node` ends: a block's own mark would lie behind the comments that follow it."""
    if isinstance(node, yaml.ScalarNode):
        end = _index(node.end_mark)
        return len(text[:end].rstrip("\n")) if _is_block(node) else end
    if not _is_block(node) or not node.value:
        return _index(node.end_mark)
    last = node.value[-1]
    return _end(text, last[1] if isinstance(last, tuple) else last)


def _root(text: str) -> yaml.Node | None:
    loader = yaml.BaseLoader(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


def _entries(node: yaml.Node | None) -> _Entries:
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {str(key.value): (key, value) for key, value in node.value}


def _says(root: _Entries, route: tuple[str, str]) -> bool:
    return route[0] in root and route[1] in _entries(root[route[0]][1])


def _index(mark: Any) -> int:
    """A mark's place in the text; yaml's types allow none, its composer always sets one."""
    return int(mark.index)
