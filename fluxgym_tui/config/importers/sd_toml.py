"""sd-scripts' own config file (`--config_file NAME.toml`): options by name, in tables or not."""

from collections.abc import Mapping
from typing import Any

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.config.importers.draft import Draft
from fluxgym_tui.config.sd_flags import FLAG_KINDS, read_flag

OWN_TABLE = "fluxgym_tui"
"""The table (JSON: the object) in which `export` keeps what sd-scripts has no option for."""


def read_sd_toml(data: Mapping[str, Any], draft: Draft) -> None:
    """Fill `draft` with the options in `data`; tables are only headings there, as for sd-scripts.

    Raises:
        FluxgymError: it is a dataset.toml, which has no options, or names one that sd-scripts refuses.
        ValueError: an option has a value of another kind; the message begins with its name.
    """
    if isinstance(data.get("datasets"), list):
        raise FluxgymError(
            f"{draft.origin} is a dataset.toml: it has folders of pictures and no settings of a training",
            hint=f"fluxgym-tui plan {draft.origin}   plans it; fluxgym-tui new DIR -o spec.yaml   writes a spec.",
        )
    for key, value in data.items():
        if key == OWN_TABLE and isinstance(value, dict):
            continue
        for name, item in value.items() if isinstance(value, dict) else ((key, value),):
            _take(draft, name, item)
    draft.find_pictures()
    take_own(data.get(OWN_TABLE), draft)


def take_own(own: Any, draft: Draft) -> None:
    """Take what `export` kept in its own table."""
    for key, value in own.items() if isinstance(own, dict) else ():
        if key in ("resize", "downscale_only"):
            draft.dataset[key] = value
        elif key == "backend":
            draft.backend = str(value)
        else:
            draft.warn("unknown_field", f"{OWN_TABLE}.{key} is left out: this version does not know it")


def _take(draft: Draft, name: str, value: Any) -> None:
    if value is False or value in ("", []):
        return
    if name not in FLAG_KINDS:
        draft.warn("unknown_field", f"{name} = {value!r} is left out: sd-scripts has no such option for FLUX")
        return
    if name == "resolution" and isinstance(value, (int, list)):
        value = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    try:
        read = read_flag(name, _loosely(name, value))
    except ValueError as error:
        raise ValueError(f"{name} {error}") from error
    if read is not False:
        draft.options[name] = read


def _loosely(name: str, value: Any) -> Any:
    """`value` as its option's kind takes it: sd-scripts hands on what the file has, whatever its type."""
    kind = FLAG_KINDS[name]
    if kind == "text" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if kind == "switch" and value in (0, 1):
        return bool(value)
    if kind in ("texts", "numbers") and not isinstance(value, list):
        return str(value).split() if isinstance(value, str) else [value]
    if kind == "texts":
        return [str(item) for item in value]
    return value
