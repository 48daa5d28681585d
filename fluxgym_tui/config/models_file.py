"""One models.yaml, fluxgym's or ours: read strictly, every error with its line."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.config import values
from fluxgym_tui.config.model_entry import COMPANION_KEYS, FileSource, ModelEntry
from fluxgym_tui.config.model_refusals import refusal
from fluxgym_tui.config.resources import bundled
from fluxgym_tui.config.sd_flags import FLAG_KINDS, FlagValue, read_flag
from fluxgym_tui.config.yaml_text import Tree, decode, read_tree

_SOURCE_KEYS = ("repo", "file", "path", "size_gb", "bytes", "sha256", "names")
_ENTRY_KEYS = (
    *("title", "aliases", "note", "bundled", "base", "license", "license_name", "license_link"),
    *("gated", "arch", "flags", "most_swapped", *_SOURCE_KEYS, *COMPANION_KEYS),
)
_NOT_MODELS = ("companions", "folders")
_REPO = re.compile(r"\w[\w.-]*/\w[\w.-]*")  # never "..": it names a folder here, too
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ModelsFile:
    """What one models.yaml says: its entries by key, and the folders it names for files that are there already."""

    models: dict[str, ModelEntry]
    folders: tuple[Path, ...] = ()


def read_models_file(path: Path, companions: dict[str, FileSource]) -> ModelsFile:
    """Read the models.yaml at `path`; its entries have `companions` where they name none of their own.

    Raises:
        FluxgymError: it cannot be read, is broken, has an unknown key or a model that cannot be trained here.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise FluxgymError(f"cannot read {path}: {error.strerror}", hint="Check its permissions.") from error
    tree = read_tree(decode(raw, origin=str(path)), origin=str(path))
    if tree.value is None:
        return ModelsFile({})
    return _Reader(path, tree, companions).read()


class _Reader:
    """Turns a models.yaml into entries; every error has its line."""

    def __init__(self, path: Path, tree: Tree, companions: dict[str, FileSource]) -> None:
        self.path = path
        self.tree = tree
        self.companions = companions

    def read(self) -> ModelsFile:
        data = self._group(self.tree.value, ())
        shared = self._group(data.get("companions", {}), ("companions",), COMPANION_KEYS)
        self.companions = self.companions | {
            key: self._source(self._group(value, ("companions", key), _SOURCE_KEYS), ("companions", key))
            for key, value in shared.items()
        }
        folders = self._value(values.read_texts, data.get("folders"), ("folders",))
        return ModelsFile(
            {key: self._entry(key, value) for key, value in data.items() if key not in _NOT_MODELS},
            tuple(self.path.parent / Path(folder).expanduser() for folder in folders),
        )

    def _entry(self, key: str, value: Any) -> ModelEntry:
        data = self._group(value, (key,), _ENTRY_KEYS)
        arch = str(data.get("arch", "flux"))
        if arch not in ("flux", "chroma"):
            raise self._error((key, "arch"), f"must be flux or chroma, not {arch}")
        self._refuse(key, data)
        home = bundled("models.yaml").parent / str(data["bundled"]) if "bundled" in data else None
        sources = {
            "transformer": self._source({name: data[name] for name in _SOURCE_KEYS if name in data}, (key,), home)
        }
        sources |= {role: source for role, source in self.companions.items() if home is None}
        for role in COMPANION_KEYS:
            if role in data:
                place = (key, role)
                sources[role] = self._source(self._group(data[role], place, _SOURCE_KEYS), place, home)
                if role == "t5xxl" and "t5xxl_fp8" not in data:
                    sources.pop("t5xxl_fp8", None)
        if arch == "chroma":
            sources.pop("clip_l", None)
        return ModelEntry(
            key=key,
            title=str(data.get("title", key)),
            sources=sources,
            aliases=self._value(values.read_texts, data.get("aliases"), (key, "aliases")),
            note=self._text(data, "note"),
            arch="chroma" if arch == "chroma" else "flux",
            base=self._text(data, "base"),
            license=self._text(data, "license"),
            license_name=self._text(data, "license_name"),
            license_link=self._text(data, "license_link"),
            gated=self._value(values.read_switch, data.get("gated", False), (key, "gated")),
            bundled=home is not None,
            flags=self._flags(data.get("flags"), (key, "flags")),
            most_swapped=self._whole(data, (key,), "most_swapped"),
        )

    def _refuse(self, key: str, data: Mapping[str, Any]) -> None:
        """A model that cannot be trained is refused where it is written, not when its file has come."""
        for name in ("repo", "file", "path", "base"):
            text = str(data.get(name, ""))
            reason = refusal(Path(text).name if name == "path" else text)
            if reason is not None:
                raise self._error((key, name), f"cannot be trained: {reason}", "Take this entry out.")

    def _source(self, data: Mapping[str, Any], place: tuple[str, ...], home: Path | None = None) -> FileSource:
        size, size_bytes = data.get("size_gb"), self._whole(data, place, "bytes")
        known = FileSource(
            size_gb=_rounded_gb(size_bytes)
            if size is None
            else self._value(values.read_number, size, (*place, "size_gb")),
            size_bytes=size_bytes,
            sha256=self._sha256(data, place),
            names=self._value(values.read_texts, data.get("names"), (*place, "names")),
        )
        if home is not None:
            return replace(known, path=home / str(data.get("file", "")))
        if "path" in data:
            return replace(known, path=self.path.parent / Path(str(data["path"])).expanduser())
        if "repo" not in data or "file" not in data:
            raise self._error(place, "needs repo and file, or path")
        repo, file = str(data["repo"]), str(data["file"])
        if not _REPO.fullmatch(repo):
            raise self._error((*place, "repo"), f"must be owner/name, not {values.shown(data['repo'])}")
        # The name becomes a path under models/: it must not lead out of it.
        if not file or file.startswith("/") or ".." in Path(file).parts:
            raise self._error((*place, "file"), f"must be the name of a file in the repository, not {file!r}")
        return replace(known, repo=repo, file=file)

    def _whole(self, data: Mapping[str, Any], place: tuple[str, ...], key: str) -> int | None:
        if values.is_null(data.get(key)):
            return None
        number: int = self._value(values.read_whole, data[key], (*place, key))
        if number <= 0:
            raise self._error((*place, key), f"must be above 0, not {values.shown(data[key])}")
        return number

    def _sha256(self, data: Mapping[str, Any], place: tuple[str, ...]) -> str | None:
        if values.is_null(data.get("sha256")):
            return None
        digest = str(data["sha256"]).lower()
        if not _SHA256.fullmatch(digest):
            raise self._error((*place, "sha256"), f"must be 64 hexadecimal digits, not {values.shown(data['sha256'])}")
        return digest

    def _flags(self, value: Any, place: tuple[str, ...]) -> dict[str, FlagValue]:
        if values.is_null(value):
            return {}
        data = self._group(value, place, tuple(FLAG_KINDS))
        return {
            name: self._value(lambda raw, name=name: read_flag(name, raw), item, (*place, name))
            for name, item in data.items()
        }

    def _text(self, data: Mapping[str, Any], key: str) -> str | None:
        value = data.get(key)
        return None if values.is_null(value) else str(value)

    def _value(self, reader: Any, value: Any, place: tuple[str, ...]) -> Any:
        try:
            return reader(value)
        except ValueError as error:
            raise self._error(place, str(error)) from error

    def _group(self, value: Any, place: tuple[str, ...], known: tuple[str, ...] | None = None) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self._error(place, f"must be keys with values, not {values.shown(value)}")
        for key in value:
            if known is not None and key not in known:
                near = get_close_matches(key, known, n=1)
                hint = f"Did you mean {near[0]}?" if near else f"Known keys: {', '.join(known)}."
                raise self._error((*place, key), "is not known here", hint)
        return value

    def _error(self, place: tuple[str, ...], what: str, hint: str | None = None) -> FluxgymError:
        mark = self.tree.keys.get(place) or self.tree.mark(place)
        where = ".".join(place) or "the file"
        return FluxgymError(
            f"{self.path}:{mark.line}:{mark.column}: {where} {what}",
            hint=hint or "The head of the packaged models.yaml describes each key.",
        )


def _rounded_gb(size_bytes: int | None) -> float | None:
    if size_bytes is None:
        return None
    return round(size_bytes / 1e9, 1 if size_bytes >= 1e9 else 2)
