"""The base models there are, and where their files lie in a workspace."""

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.config.model_by_path import looks_like_a_path, model_by_path
from fluxgym_tui.config.model_entry import (
    COMPANION_KEYS,
    ROLES,
    FileSource,
    MissingFile,
    ModelEntry,
    ModelFiles,
    Role,
)
from fluxgym_tui.config.model_refusals import refusal
from fluxgym_tui.config.models_file import ModelsFile, read_models_file
from fluxgym_tui.config.resources import bundled

__all__ = [
    "ROLES",
    "FileSource",
    "MissingFile",
    "ModelEntry",
    "ModelFiles",
    "Role",
    "expected_files",
    "find_model",
    "load_models",
    "local_files",
    "model_folders",
]

FILE_NAME = "models.yaml"


def load_models(*, workspace: Path | None = None) -> dict[str, ModelEntry]:
    """The base models by key: those that come with the program, then those of `workspace`/models.yaml over them.

    Raises:
        FluxgymError: a models.yaml is broken, has an unknown key or a model that cannot be trained; with file and line.
    """
    models = read_models_file(bundled(FILE_NAME), {}).models
    own = _own_file(workspace, _companions_of(models))
    return models if own is None else _merged(models, own.models)


def model_folders(*, workspace: Path) -> tuple[Path, ...]:
    """The folders that `workspace`/models.yaml names for model files that are there already.

    Raises:
        FluxgymError: that file is broken.
    """
    own = _own_file(workspace, _companions_of(read_models_file(bundled(FILE_NAME), {}).models))
    return () if own is None else own.folders


def find_model(name: str, models: Mapping[str, ModelEntry]) -> ModelEntry:
    """The entry whose key or alias is `name`, in any case; or the model file that `name` is the path of.

    Raises:
        FluxgymError: there is none (the nearest is named), or the model cannot be trained here.
    """
    if looks_like_a_path(name.strip()):
        return model_by_path(name.strip(), models)
    wanted = name.strip().lower()
    words = {word.lower(): entry for entry in models.values() for word in entry.aliases}
    words.update({key.lower(): entry for key, entry in models.items()})
    if (entry := words.get(wanted)) is not None:
        return entry
    if (reason := refusal(name)) is not None:
        raise FluxgymError(f"{name} cannot be the base model: {reason}", hint=_there_are(models))
    near = get_close_matches(wanted, list(words), n=1)
    raise FluxgymError(
        f"no base model is called {name}",
        hint=(f"Did you mean {near[0]}? " if near else "") + _there_are(models),
        code=ExitCode.NOT_FOUND,
    )


def local_files(entry: ModelEntry, *, workspace: Path, small_t5: bool = False) -> ModelFiles | tuple[MissingFile, ...]:
    """The files of `entry` in `workspace`, or those that are missing there. Only looks; loads and fetches nothing.

    The layout under `workspace`/models is fluxgym's: unet/, clip/, vae/. Either T5 file serves; `small_t5` prefers the
    fp8 one, and names it where both are missing. `hub.find` looks in other places as well.
    """
    home = Path(workspace) / "models"
    missing: list[MissingFile] = []
    for role in entry.roles:
        places = entry.places(role, home, small_t5=small_t5)
        if not any(path.is_file() for path, _ in places):
            path, source = places[0]
            missing.append(MissingFile(role=role, path=path, source=source))
    return tuple(missing) or expected_files(entry, workspace=workspace, small_t5=small_t5)


def expected_files(entry: ModelEntry, *, workspace: Path, small_t5: bool = False) -> ModelFiles:
    """The files of `entry` where they are, or else where they belong; for showing a command before they are fetched."""
    home = Path(workspace) / "models"
    paths: dict[str, Path] = {}
    for role in entry.roles:
        places = [path for path, _ in entry.places(role, home, small_t5=small_t5)]
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


def _own_file(workspace: Path | None, companions: dict[str, FileSource]) -> ModelsFile | None:
    """The models.yaml of a workspace; None where it has none, or where the workspace is our own checkout."""
    if workspace is None:
        return None
    path = Path(workspace) / FILE_NAME
    if not path.is_file() or path.samefile(bundled(FILE_NAME)):
        return None
    return read_models_file(path, companions)


def _companions_of(models: Mapping[str, ModelEntry]) -> dict[str, FileSource]:
    """The text encoders and autoencoder that entries share, as `flux-dev` of the packaged file has them."""
    return {key: source for key, source in models["flux-dev"].sources.items() if key in COMPANION_KEYS}


def _merged(packaged: Mapping[str, ModelEntry], own: Mapping[str, ModelEntry]) -> dict[str, ModelEntry]:
    """`own` over `packaged`: a word of theirs means theirs. What we know of the very same file is kept.

    fluxgym's own file names as keys what are aliases here: that is no second model, but the first under that word.
    """
    merged = dict(packaged)
    for key, entry in own.items():
        known = next((one for one in merged.values() if key.lower() in map(str.lower, (one.key, *one.aliases))), None)
        if known is None:
            merged[key] = entry
        elif _same_file(entry, known):
            merged[known.key] = _completed(entry, known)
        elif known.key == key:
            merged[key] = replace(entry, aliases=entry.aliases or known.aliases)
        else:
            left = tuple(alias for alias in known.aliases if alias.lower() != key.lower())
            merged[known.key] = replace(known, aliases=left)
            merged[key] = entry
    return merged


def _same_file(first: ModelEntry, second: ModelEntry) -> bool:
    one, other = first.sources["transformer"], second.sources["transformer"]
    return one.repo is not None and (one.repo, one.file) == (other.repo, other.file)


def _completed(entry: ModelEntry, known: ModelEntry) -> ModelEntry:
    """`entry` with what it leaves open taken from `known`, which has the same file."""
    mine, theirs = entry.sources["transformer"], known.sources["transformer"]
    transformer = replace(
        mine,
        size_gb=mine.size_gb or theirs.size_gb,
        size_bytes=mine.size_bytes or theirs.size_bytes,
        sha256=mine.sha256 or theirs.sha256,
        names=mine.names or theirs.names,
    )
    return replace(
        entry,
        key=known.key,
        title=known.title if entry.title == entry.key else entry.title,
        sources={**known.sources, **entry.sources, "transformer": transformer},
        aliases=tuple(dict.fromkeys((*entry.aliases, *known.aliases))),
        note=entry.note or known.note,
        arch=known.arch,
        gated=entry.gated or known.gated,
        flags={**known.flags, **entry.flags},
        most_swapped=entry.most_swapped or known.most_swapped,
    )


def _there_are(models: Mapping[str, ModelEntry]) -> str:
    return f"There are: {', '.join(models)}. models.yaml takes more."
