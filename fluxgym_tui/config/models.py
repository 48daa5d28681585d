"""models.yaml: the base models there are, and where their files lie on this machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.config import values
from fluxgym_tui.config.resources import bundled
from fluxgym_tui.config.sd_flags import FLAG_KINDS, FlagValue, read_flag
from fluxgym_tui.config.yaml_text import Tree, decode, read_tree

Role = Literal["transformer", "clip_l", "t5xxl", "ae"]
ROLES: tuple[Role, ...] = ("transformer", "clip_l", "t5xxl", "ae")

# fluxgym keeps these two in models/unet itself, all others in a folder named after their repository.
_AT_THE_TOP = ("flux-dev", "flux-schnell")
_COMPANION_KEYS = ("clip_l", "t5xxl", "t5xxl_fp8", "ae")
_SOURCE_KEYS = ("repo", "file", "path", "size_gb")
_ENTRY_KEYS = (
    *("title", "aliases", "repo", "file", "path", "bundled", "base", "license", "license_name", "license_link"),
    *("gated", "size_gb", "arch", "flags", *_COMPANION_KEYS),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSource:
    """Where a file comes from: `repo` and `file` on Hugging Face, or `path` on this machine. `size_gb` is decimal."""

    repo: str | None = None
    file: str | None = None
    path: Path | None = None
    size_gb: float | None = None

    def __str__(self) -> str:
        return str(self.path) if self.path is not None else f"{self.repo}/{self.file}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """One base model. `sources` has a file for each role (and `t5xxl_fp8`, the small T5); Chroma has no clip_l.

    `flags` is what the model needs of sd-scripts' options where a spec does not say otherwise; `base` is the model a
    card names.
    """

    key: str
    title: str
    sources: Mapping[str, FileSource]
    aliases: tuple[str, ...] = ()
    arch: Literal["flux", "chroma"] = "flux"
    base: str | None = None
    license: str | None = None
    license_name: str | None = None
    license_link: str | None = None
    gated: bool = False
    bundled: bool = False
    flags: Mapping[str, FlagValue] = field(default_factory=dict)

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles it has a file for."""
        return tuple(role for role in ROLES if role in self.sources)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """A base model's files on this machine. `clip_l` is None for Chroma, which has none.

    `tokenizer_cache_dir` is a folder as sd-scripts' flag of that name takes it; None: tokenizers come from the hub.
    """

    transformer: Path
    clip_l: Path | None
    t5xxl: Path
    ae: Path
    tokenizer_cache_dir: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingFile:
    """A file of a base model that is not here: `path` is where it belongs, `source` where it comes from."""

    role: Role
    path: Path
    source: FileSource


def load_models(*, workspace: Path | None = None) -> dict[str, ModelEntry]:
    """The base models by key: those that come with the program, then those of `workspace`/models.yaml over them.

    Raises:
        FluxgymError: a models.yaml is broken or has an unknown key; with file and line.
    """
    packaged = bundled("models.yaml")
    models = _read(packaged, {})
    if workspace is not None:
        own = Path(workspace) / "models.yaml"
        if own.is_file() and not own.samefile(packaged):
            models.update(_read(own, _companions_of(models)))
    return models


def find_model(name: str, models: Mapping[str, ModelEntry]) -> ModelEntry:
    """The entry whose key or alias is `name`, in any case.

    Raises:
        FluxgymError: there is none; the nearest is named.
    """
    wanted = name.strip().lower()
    words = {word.lower(): entry for entry in models.values() for word in entry.aliases}
    words.update({key.lower(): entry for key, entry in models.items()})
    if (entry := words.get(wanted)) is not None:
        return entry
    near = get_close_matches(wanted, list(words), n=1)
    raise FluxgymError(
        f"no base model is called {name}",
        hint=(f"Did you mean {near[0]}? " if near else "") + f"There are: {', '.join(models)}. models.yaml takes more.",
        code=ExitCode.NOT_FOUND,
    )


def local_files(entry: ModelEntry, *, workspace: Path, small_t5: bool = False) -> ModelFiles | tuple[MissingFile, ...]:
    """The files of `entry` on this machine, or those that are missing. Only looks; loads and fetches nothing.

    The layout under `workspace`/models is fluxgym's: unet/, clip/, vae/. Either T5 file serves; `small_t5` prefers the
    fp8 one, and names it where both are missing.
    """
    found: dict[str, Path] = {}
    missing: list[MissingFile] = []
    for role in entry.roles:
        candidates = _candidates(entry, role, Path(workspace) / "models", small_t5=small_t5)
        present = next((path for path, _ in candidates if path.is_file()), None)
        if present is None:
            path, source = candidates[0]
            missing.append(MissingFile(role=role, path=path, source=source))
        else:
            found[role] = present
    if missing:
        return tuple(missing)
    return ModelFiles(
        transformer=found["transformer"],
        clip_l=found.get("clip_l"),
        t5xxl=found["t5xxl"],
        ae=found["ae"],
        tokenizer_cache_dir=_tokenizers(entry, found["transformer"], Path(workspace) / "models"),
    )


def expected_files(entry: ModelEntry, *, workspace: Path, small_t5: bool = False) -> ModelFiles:
    """The files of `entry` where they are, or else where they belong; for showing a command before they are fetched."""
    home = Path(workspace) / "models"
    paths: dict[str, Path] = {}
    for role in entry.roles:
        places = [path for path, _ in _candidates(entry, role, home, small_t5=small_t5)]
        paths[role] = next((path for path in places if path.is_file()), places[0])
    return ModelFiles(
        transformer=paths["transformer"],
        clip_l=paths.get("clip_l"),
        t5xxl=paths["t5xxl"],
        ae=paths["ae"],
        tokenizer_cache_dir=_tokenizers(entry, paths["transformer"], home),
    )


def _tokenizers(entry: ModelEntry, transformer: Path, home: Path) -> Path | None:
    folder = transformer.parent / "tokenizers" if entry.bundled else home / "tokenizers"
    return folder if folder.is_dir() else None


def _candidates(entry: ModelEntry, role: Role, folder: Path, *, small_t5: bool) -> list[tuple[Path, FileSource]]:
    """Where the file of `role` may lie, the place it belongs to first."""
    names = ["t5xxl", "t5xxl_fp8"] if role == "t5xxl" else [str(role)]
    if role == "t5xxl" and small_t5:
        names.reverse()
    candidates: list[tuple[Path, FileSource]] = []
    for name in names:
        source = entry.sources.get(name)
        if source is None:
            continue
        if source.path is not None:
            candidates.append((source.path, source))
            continue
        file = Path(source.file or "").name
        if role == "transformer":
            at_the_top = folder / "unet" / file
            own_folder = folder / "unet" / (source.repo or "") / file
            paths = [at_the_top] if entry.key in _AT_THE_TOP else [own_folder, at_the_top]
        elif role == "ae":
            # The same autoencoder under the names it is given away with.
            names_of_ae = dict.fromkeys((file, "ae.sft", "ae.safetensors"))
            paths = [folder / "vae" / other for other in names_of_ae]
        else:
            paths = [folder / "clip" / file]
        candidates += [(path, source) for path in paths]
    return candidates


def _companions_of(models: Mapping[str, ModelEntry]) -> dict[str, FileSource]:
    """The text encoders and autoencoder that entries share, as `flux-dev` of the packaged file has them."""
    return {key: source for key, source in models["flux-dev"].sources.items() if key in _COMPANION_KEYS}


def _read(path: Path, companions: dict[str, FileSource]) -> dict[str, ModelEntry]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise FluxgymError(f"cannot read {path}: {error.strerror}", hint="Check its permissions.") from error
    tree = read_tree(decode(raw, origin=str(path)), origin=str(path))
    if tree.value is None:
        return {}
    return _Reader(path, tree, companions).models()


class _Reader:
    """Turns a models.yaml into entries; every error has its line."""

    def __init__(self, path: Path, tree: Tree, companions: dict[str, FileSource]) -> None:
        self.path = path
        self.tree = tree
        self.companions = companions

    def models(self) -> dict[str, ModelEntry]:
        data = self._group(self.tree.value, ())
        shared = self._group(data.get("companions", {}), ("companions",), _COMPANION_KEYS)
        self.companions = self.companions | {
            key: self._source(self._group(value, ("companions", key), _SOURCE_KEYS), ("companions", key))
            for key, value in shared.items()
        }
        return {key: self._entry(key, value) for key, value in data.items() if key != "companions"}

    def _entry(self, key: str, value: Any) -> ModelEntry:
        data = self._group(value, (key,), _ENTRY_KEYS)
        arch = str(data.get("arch", "flux"))
        if arch not in ("flux", "chroma"):
            raise self._error((key, "arch"), f"must be flux or chroma, not {arch}")
        home = bundled("models.yaml").parent / str(data["bundled"]) if "bundled" in data else None
        sources = {
            "transformer": self._source({name: data[name] for name in _SOURCE_KEYS if name in data}, (key,), home)
        }
        sources |= {role: source for role, source in self.companions.items() if home is None}
        for role in _COMPANION_KEYS:
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
            arch="chroma" if arch == "chroma" else "flux",
            base=self._text(data, "base"),
            license=self._text(data, "license"),
            license_name=self._text(data, "license_name"),
            license_link=self._text(data, "license_link"),
            gated=self._value(values.read_switch, data.get("gated", False), (key, "gated")),
            bundled=home is not None,
            flags=self._flags(data.get("flags"), (key, "flags")),
        )

    def _source(self, data: Mapping[str, Any], place: tuple[str, ...], home: Path | None = None) -> FileSource:
        size = data.get("size_gb")
        size_gb = None if size is None else self._value(values.read_number, size, (*place, "size_gb"))
        if home is not None:
            return FileSource(path=home / str(data.get("file", "")), size_gb=size_gb)
        if "path" in data:
            return FileSource(path=self.path.parent / Path(str(data["path"])).expanduser(), size_gb=size_gb)
        if "repo" not in data or "file" not in data:
            raise self._error(place, "needs repo and file, or path")
        return FileSource(repo=str(data["repo"]), file=str(data["file"]), size_gb=size_gb)

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
