"""Specs as files: read with every error at its line, written so that reading gives the same spec."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.config.flag_rules import SAID_ELSEWHERE
from fluxgym_tui.config.sd_flags import FLAG_KINDS
from fluxgym_tui.config.spec import (
    DECIDED_BY_MODEL,
    AfterSpec,
    DatasetSpec,
    SamplesSpec,
    SubsetSpec,
    TrainingSpec,
    TrainSpec,
)
from fluxgym_tui.config.values import NULL_WORDS, Plain
from fluxgym_tui.config.yaml_text import Route, Tree, decode, read_tree

_KEYS_OF_OTHERS = ('"advanced_parameters"', '"lora_name"', '"LoRA_type"')  # of fluxgym and the kohya_ss GUI
_MOST_ERRORS = 8  # more at once help nobody


def load_spec(path: Path) -> TrainSpec:
    """The spec in the YAML file at `path`; relative paths in it are relative to its folder, `~` is the home folder.

    Raises:
        FluxgymError: the file cannot be read, is no YAML, or asks for something unknown; each error is named with
            file, line, column and key.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise FluxgymError(
            f"cannot read {path}: {error.strerror}",
            hint="Check the path. `fluxgym-tui new DIR -o spec.yaml` writes a new spec.",
            code=ExitCode.USAGE,
        ) from error
    text = decode(raw, origin=str(path))
    if _is_of_others(path, text):
        raise FluxgymError(
            f"{path} is no spec, but settings of another program",
            hint=f"fluxgym-tui import {path} -o spec.yaml   makes a spec of it.",
        )
    return parse_spec(text, folder=path.absolute().parent, origin=str(path))


def _is_of_others(path: Path, text: str) -> bool:
    """Whether the file is what `import` reads: a spec may be JSON, which is YAML, but has none of those keys."""
    ending = path.suffix.lower()
    return ending in (".toml", ".sh", ".bat") or (ending == ".json" and any(key in text for key in _KEYS_OF_OTHERS))


def parse_spec(text: str, *, folder: Path, origin: str) -> TrainSpec:
    """The spec in the YAML `text`; relative paths are relative to `folder`, and messages name `origin`.

    Raises:
        FluxgymError: as `load_spec`.
    """
    tree = read_tree(text, origin=origin)
    if tree.value is None or (isinstance(tree.value, Plain) and tree.value in NULL_WORDS):
        raise FluxgymError(
            f"{origin}:1:1: the file is empty", hint="`fluxgym-tui new DIR -o spec.yaml` writes a spec to start from."
        )
    if not isinstance(tree.value, dict):
        kind = "a list" if isinstance(tree.value, list) else "a single value"
        raise FluxgymError(
            f"{origin}:1:1: a spec is keys with values, as name: My LoRA; this file is {kind}",
            hint="`fluxgym-tui new DIR -o spec.yaml` writes a spec to start from.",
        )
    return _validated(tree.value, tree, folder=folder, origin=origin)


def build_spec(data: Mapping[str, Any], *, folder: Path | None = None, origin: str = "command line") -> TrainSpec:
    """The spec that `data` describes: a spec's keys in nested dicts, with Python values.

    Values that came as words, from a command line say, may be given as `values.Plain`. Relative paths are relative to
    `folder` (default: the current one).

    Raises:
        FluxgymError: as `load_spec`, with the key in place of a line.
    """
    return _validated(dict(data), None, folder=folder or Path.cwd(), origin=origin)


def change_spec(spec: TrainSpec, changes: Mapping[str, Any], *, origin: str = "command line") -> TrainSpec:
    """`spec` with `changes`: dotted keys, as `training.learning_rate`, to values (text as `values.Plain` if unquoted).

    Raises:
        FluxgymError: a key is unknown or a value does not fit.
    """
    data = spec_data(spec)
    for key, value in changes.items():
        part = data
        *groups, last = key.split(".")
        for group in groups:
            part = part.setdefault(group, {})
            if not isinstance(part, dict):
                raise FluxgymError(f"{origin}: unknown key {key}", hint=f"{group} holds no keys.")
        part[last] = value
        if last == "max_train_steps":
            part.pop("max_train_epochs", None)
    return build_spec(data, origin=origin)


def spec_data(spec: TrainSpec) -> dict[str, Any]:
    """`spec` as nested dicts of plain Python values by its file's keys: what `build_spec` takes.

    Keys that say nothing are left out: null by default, or not said and the base model's to decide.
    """
    return _data(spec)


def _data(part: BaseModel) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for name, info in type(part).model_fields.items():
        value = getattr(part, name)
        if value is None and info.default is None:
            continue
        if name in DECIDED_BY_MODEL and isinstance(part, TrainingSpec) and name not in part.model_fields_set:
            continue
        if isinstance(value, BaseModel):
            value = _data(value)
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            value = [_data(item) for item in value]
        elif isinstance(value, tuple):
            value = list(value)
        elif isinstance(value, dict):
            value = dict(value)
        data[info.alias or name] = value
    if isinstance(part, DatasetSpec) and part.resolution[0] == part.resolution[1]:
        data["resolution"] = part.resolution[0]
    return data


def _validated(data: dict[str, Any], tree: Tree | None, *, folder: Path, origin: str) -> TrainSpec:
    try:
        spec = TrainSpec.model_validate(data)
    except ValidationError as error:
        lines, hints = _messages(error, tree, origin)
        raise FluxgymError(lines, hint=hints) from error
    return with_absolute_paths(spec, folder=folder)


def with_absolute_paths(spec: TrainSpec, *, folder: Path) -> TrainSpec:
    """`spec` with every path absolute: `~` expanded, relative ones from `folder`."""

    def absolute(path: Path) -> Path:
        try:
            return folder.absolute() / path.expanduser()
        except RuntimeError as error:
            raise FluxgymError(f"no home folder for {path}", hint="Write the path out in full.") from error

    dataset = spec.dataset
    subsets = tuple(subset.model_copy(update={"path": absolute(subset.path)}) for subset in dataset.subsets)
    changed = dataset.model_copy(update={"path": absolute(dataset.path), "subsets": subsets})
    return spec.model_copy(update={"dataset": changed})


def _messages(error: ValidationError, tree: Tree | None, origin: str) -> tuple[list[str], list[str]]:
    """One line for each error, in the order of the file, and the hints there are."""
    found: list[tuple[tuple[int, int], str]] = []
    hints: list[str] = []
    for item in error.errors(include_url=False):
        context: Mapping[str, Any] = item.get("ctx", {})
        hint: str | None
        route: Route = tuple(context["place"]) if item["type"] == "refused" else _route(item["loc"], tree)
        key = ".".join(str(part) for part in route)
        if item["type"] == "extra_forbidden":
            message, hint = _unknown_key(route)
            mark = tree.keys.get(route) if tree else None
        else:
            message, hint = f"{key} {_sentence(item)}", context.get("hint")
            mark = tree.mark(route) if tree else None
        if hint and hint not in hints:
            hints.append(hint)
        place = f"{origin}:{mark.line}:{mark.column}" if mark else origin
        found.append(((mark.line, mark.column) if mark else (0, 0), f"{place}: {message}"))
    found.sort(key=lambda entry: entry[0])
    lines = [line for _, line in found[:_MOST_ERRORS]]
    if len(found) > _MOST_ERRORS:
        lines.append(f"... and {len(found) - _MOST_ERRORS} more")
    return lines, hints


def _route(loc: tuple[int | str, ...], tree: Tree | None) -> Route:
    """pydantic's place without the parts it adds for unions and validators."""
    route: Route = ()
    for part in loc:
        longer = (*route, part)
        if tree is not None and longer not in tree.values and not _is_key(route, part):
            break
        route = longer
    return route


def _is_key(group: Route, part: int | str) -> bool:
    return part in _known_keys(group)


def _known_keys(group: Route) -> tuple[str, ...]:
    """The keys that may stand in the group at `group`."""
    model: type[BaseModel] = TrainSpec
    for part in group:
        if part == "subsets":
            model = SubsetSpec
        elif isinstance(part, str):
            annotation = model.model_fields[part].annotation if part in model.model_fields else None
            if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
                return ()
            model = annotation
    return tuple(info.alias or name for name, info in model.model_fields.items())


def _unknown_key(route: Route) -> tuple[str, str]:
    """The message about a key that is not known where it stands, and the nearest that is."""
    key = str(route[-1])
    where = ".".join(str(part) for part in route[:-1])
    known = _known_keys(route[:-1])
    message = f"unknown key {key}" + (f" in {where}" if where else "")
    for group, model in (("training", TrainingSpec), ("dataset", DatasetSpec)):
        if group != where and key in model.model_fields:
            return message, f"{key} belongs under {group}."
    if key in SAID_ELSEWHERE:
        return message, f"Set {SAID_ELSEWHERE[key]} instead of {key}."
    if key in FLAG_KINDS:
        return message, f"{key} belongs under flags, as every option of sd-scripts that training has no key for."
    if near := get_close_matches(key, known, n=1):
        return message, f"Did you mean {near[0]} instead of {key}?"
    # Written at the wrong level and misspelt, too.
    elsewhere = {
        name: f"{group}.{name}"
        for group, model in (("dataset", DatasetSpec), ("training", TrainingSpec), ("samples", SamplesSpec))
        for name in model.model_fields
    }
    if near := get_close_matches(key, elsewhere, n=1, cutoff=0.75):
        return message, f"Did you mean {elsewhere[near[0]]}?"
    return message, f"Known keys {'in ' + where if where else 'here'}: {', '.join(known)}."


def _sentence(item: Any) -> str:
    """What is wrong with a value, to follow its key."""
    context = item.get("ctx", {})
    match item["type"]:
        case "missing":
            return "is missing"
        case "refused":
            return str(context["message"])
        case "value_error":
            return str(context["error"])
        case "greater_than_equal":
            return f"must be at least {context['ge']}, not {item['input']}"
        case "greater_than":
            return f"must be more than {context['gt']}, not {item['input']}"
        case "less_than":
            return f"must be less than {context['lt']}, not {item['input']}"
        case "literal_error":
            return f"must be one of {str(context['expected']).replace(' or ', ', ')}, not '{item['input']}'"
        case "model_type" | "model_attributes_type":
            return "must be a group of keys, each on its own line below and indented"
        case "tuple_type":
            return "must be a list"
        case _:
            return str(item["msg"])


def dump_spec(spec: TrainSpec, *, comments: bool = False) -> str:
    """`spec` as YAML that `parse_spec` reads back as an equal one; `comments` explains each key, as `new` does."""
    # Imported here: reading a spec does not need its writer.
    from fluxgym_tui.config.spec_text import write_spec

    return write_spec(spec_data(spec), comments=comments)


def new_spec_text(
    dataset: Path,
    *,
    name: str | None = None,
    trigger: str | None = None,
    base_model: str = "flux-dev",
    changes: Mapping[str, Any] | None = None,
    relative_to: Path | None = None,
) -> str:
    """The commented file of a new spec for the pictures in `dataset`; `name` is the folder's where not given.

    `changes` are dotted keys as in `change_spec`. With `relative_to`, the folder the file goes to, a dataset inside it
    is written relative, so that both can move together.

    Raises:
        FluxgymError: the name makes no file name, or a change does not fit.
    """
    folder = Path(dataset).expanduser().absolute()
    data: dict[str, Any] = {"name": name or folder.name, "base_model": base_model, "dataset": {"path": folder}}
    if trigger is not None:
        data["trigger"] = trigger
    spec = change_spec(build_spec(data), dict(changes or {}))
    written = spec_data(spec)
    if spec.trigger is None:  # most need one, so its line stands ready
        head = {key: written.pop(key) for key in ("schema", "name")}
        written = {**head, "trigger": None, **written}
    if spec.after == AfterSpec():
        del written["after"]  # most of it is not done yet, so a new spec does not offer it
    if relative_to is not None and folder.is_relative_to(Path(relative_to).absolute()):
        written["dataset"]["path"] = folder.relative_to(Path(relative_to).absolute())
    from fluxgym_tui.config.spec_text import write_spec

    return write_spec(written, comments=True)
