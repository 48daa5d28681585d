"""What differs between runs: their settings, key by key."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.runs.adopted import is_adopted
from fluxgym_tui.runs.directory import RunDirectory


@dataclass(frozen=True, slots=True)
class Difference:
    """A key of the spec (`training.learning_rate`) and what each run has there, in the runs' order; None: not said."""

    key: str
    values: tuple[str | None, ...]


def differences(runs: Sequence[RunDirectory]) -> tuple[list[Difference], list[RunDirectory]]:
    """The settings that are not the same in all `runs`, in the spec's order, and those runs whose spec cannot be read.

    A run without a readable spec has None everywhere. Names are left out: runs always differ in them.
    """
    flat: list[dict[str, str]] = []
    unread: list[RunDirectory] = []
    for run in runs:
        try:
            flat.append(_settings(run))
        except FluxgymError:
            flat.append({})
            unread.append(run)
    keys = list(dict.fromkeys(key for settings in flat for key in settings))
    read = [settings for settings in flat if settings]
    found = []
    for key in keys:
        values = tuple(settings.get(key) for settings in flat)
        if key != "name" and len({settings.get(key) for settings in read}) > 1:
            found.append(Difference(key, values))
    return found, unread


def _settings(run: RunDirectory) -> dict[str, str]:
    from fluxgym_tui.config.importers import import_spec  # brings pydantic, which listing runs does without
    from fluxgym_tui.config.specfile import load_spec

    spec = import_spec(run.output_dir).spec if is_adopted(run) else load_spec(run.spec)
    return dict(_flattened("", spec.model_dump(mode="json")))


def _flattened(prefix: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [
            pair for key, inner in value.items() for pair in _flattened(f"{prefix}.{key}" if prefix else key, inner)
        ]
    if value is None or value == []:
        return []
    if isinstance(value, list):
        return [(prefix, ", ".join(str(part) for part in value))]
    return [(prefix, str(value))]
