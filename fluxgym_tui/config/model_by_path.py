"""A base model named by the path of its file, in place of a key of models.yaml."""

from collections.abc import Mapping
from pathlib import Path

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.modelfiles import ModelFile, read_model_file
from fluxgym_tui.config.model_entry import COMPANION_KEYS, FileSource, ModelEntry
from fluxgym_tui.config.model_refusals import refusal

_ENDINGS = (".safetensors", ".sft")


def looks_like_a_path(name: str) -> bool:
    """Whether `name` is meant as the path of a model file."""
    return name.endswith(_ENDINGS) and ("/" in name or name.startswith("~"))


def model_by_path(name: str, models: Mapping[str, ModelEntry]) -> ModelEntry:
    """The model whose file is at the path `name`, with the companions that models.yaml has for its kind.

    Licence and base are those of the model of `models` that has the very file, by its name and exact size.

    Raises:
        FluxgymError: the path is not whole, no file is there, or it holds nothing that can be trained here.
    """
    path = Path(name).expanduser()
    if not path.is_absolute():
        raise FluxgymError(f"{name} is no whole path", hint=f"Write it from the root: {Path.cwd() / path}")
    if not path.is_file():
        raise FluxgymError(f"there is no {path}", hint="Check the path of the base model.", code=ExitCode.NOT_FOUND)
    if (reason := refusal(path.name)) is not None:
        raise FluxgymError(f"{path} cannot be the base model: {reason}")
    file = read_model_file(path)
    if file.kind not in ("flux", "chroma"):
        raise FluxgymError(
            f"{path} cannot be the base model: it is a {file.title}",
            hint="A base model is a FLUX.1 or Chroma checkpoint in BFL's layout, one file.",
        )
    if file.facts.get("fp8_scaled"):
        raise FluxgymError(f"{path} cannot be the base model: {refusal('fp8_scaled')}")
    return _entry(path, file, models)


def _entry(path: Path, file: ModelFile, models: Mapping[str, ModelEntry]) -> ModelEntry:
    pattern = models["chroma1-hd" if file.kind == "chroma" else "flux-dev"]
    companions = {role: source for role, source in pattern.sources.items() if role in COMPANION_KEYS}
    known = _known(path, file, models)
    return ModelEntry(
        key=str(path),
        title=path.name if known is None else known.title,
        sources={"transformer": FileSource(path=path), **companions},
        note=None if known is None else known.note,
        arch=pattern.arch,
        base=None if known is None else known.base,
        license=None if known is None else known.license,
        license_name=None if known is None else known.license_name,
        license_link=None if known is None else known.license_link,
        flags=pattern.flags if known is None else known.flags,
    )


def _known(path: Path, file: ModelFile, models: Mapping[str, ModelEntry]) -> ModelEntry | None:
    """The entry that has this very file, as far as name and exact size can tell."""
    for entry in models.values():
        source = entry.sources["transformer"]
        if path.name in source.file_names and source.size_bytes == file.file_bytes:
            return entry
    return None
