"""The user's own settings, colours and keys, which are about no training: `settings.yaml` in the config folder."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.files import write_atomic

_MODE = 0o600  # it may come to hold what only its owner should read


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSettings:
    """A chat endpoint that makes captions: its address, its model, and its key, which no repr shows."""

    url: str
    model: str = ""
    api_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`theme` is a theme's name, None for the app's own; `keys` gives actions (`live.stop`) other keys (`ctrl+s`).

    `endpoints` are the captioning endpoints, by the user's names for them.
    """

    theme: str | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    endpoints: Mapping[str, EndpointSettings] = field(default_factory=dict)


def settings_path(env: Mapping[str, str] | None = None) -> Path:
    """Where the settings lie: `$XDG_CONFIG_HOME/fluxgym-tui/settings.yaml`, by default under `~/.config`."""
    variables = os.environ if env is None else env
    folder = variables.get("XDG_CONFIG_HOME") or str(Path(variables.get("HOME") or Path.home()) / ".config")
    return Path(folder) / "fluxgym-tui" / "settings.yaml"


def load_settings(path: Path) -> Settings:
    """The settings in `path`; those of nobody where there is no such file.

    Raises:
        FluxgymError: the file cannot be read, or has something that is no theme or no key.
    """
    data = _read(path)
    theme, keys = data.get("theme"), data.get("keys") or {}
    if theme is not None and not isinstance(theme, str):
        raise FluxgymError(f"{path}: theme: {theme!r} is no name", hint="theme: fluxgym-dark, say.")
    if not isinstance(keys, dict) or not all(isinstance(word, str) for pair in keys.items() for word in pair):
        raise FluxgymError(f"{path}: keys: has something that is no key", hint='keys: {live.stop: "ctrl+s"}, say.')
    return Settings(theme=theme, keys=keys, endpoints=_endpoints(path, data.get("endpoints") or {}))


def save_theme(path: Path, theme: str) -> None:
    """Note that `theme` is the user's; everything else in the file stays, but for its comments.

    Raises:
        FluxgymError: the file cannot be read or written.
    """
    import yaml  # most calls find no file, and need no YAML

    data = {**_read(path), "theme": theme}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, yaml.safe_dump(data, sort_keys=False, allow_unicode=True), mode=_MODE)
    except OSError as error:
        raise FluxgymError(f"cannot write {path}: {error.strerror}", hint="Check whose folder it is.") from error


def _endpoints(path: Path, data: Any) -> dict[str, EndpointSettings]:
    hint = "endpoints: {qwen: {url: http://127.0.0.1:8000/v1, model: Qwen3-VL, api_key: ...}}, say."
    if not isinstance(data, dict):
        raise FluxgymError(f"{path}: endpoints: is no list of endpoints by name", hint=hint)
    found = {}
    for name, facts in data.items():
        if not isinstance(facts, dict) or not isinstance(facts.get("url"), str):
            raise FluxgymError(f"{path}: endpoints: {name} has no url", hint=hint)
        unknown = sorted(map(str, facts.keys() - {"url", "model", "api_key"}))
        if unknown or not all(isinstance(value, str) for value in facts.values()):
            what = f"there is no {unknown[0]}" if unknown else "something is no text"
            raise FluxgymError(f"{path}: endpoints: {name}: {what}", hint=hint)
        found[str(name)] = EndpointSettings(**facts)
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise FluxgymError(f"cannot read {path}: {error}", hint="Mend or delete it.") from error
    import yaml

    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise FluxgymError(f"{path} is no YAML: {error}", hint="Mend or delete it.") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise FluxgymError(f"{path} holds no settings", hint="It has lines like `theme: fluxgym-dark`.")
    return data
