"""Which base model of models.yaml the files of an imported training are."""

from collections.abc import Mapping
from pathlib import Path

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.findings import Finding, Severity
from fluxgym_tui.config.models import ModelEntry, ModelFiles, expected_files, find_model


def model_key(name: str, models: Mapping[str, ModelEntry]) -> tuple[str, list[Finding]]:
    """The key of the model that is called `name`; `name` itself, with a finding, where models.yaml has none."""
    try:
        return find_model(name, models).key, []
    except FluxgymError as error:
        return name, [_unknown(error)]


def model_of_file(path: Path, models: Mapping[str, ModelEntry], *, workspace: Path) -> tuple[str, list[Finding]]:
    """The base model whose transformer is at `path`: the key of the entry that has it there, or the path of the file.

    Where no such file is here, as with settings from another machine, the entry that has a file of this name, or the
    path with a finding.
    """
    for entry in models.values():
        if expected_files(entry, workspace=workspace).transformer == path:
            return entry.key, []
    if not path.is_file():
        named = [entry for entry in models.values() if not entry.bundled and _file_name(entry) == path.name]
        in_folder = [
            entry for entry in named if (repo := entry.sources["transformer"].repo) and str(path.parent).endswith(repo)
        ]
        if named:
            return (in_folder or named)[0].key, []
    try:
        return find_model(str(path), models).key, []
    except FluxgymError as error:
        return str(path), [_unknown(error)]


def other_files(options: Mapping[str, Path], entry: ModelEntry, *, workspace: Path, small_t5: bool) -> list[Finding]:
    """A finding for each text encoder or autoencoder in `options` that is another file than `entry` has."""
    files: ModelFiles = expected_files(entry, workspace=workspace, small_t5=small_t5)
    known = {"clip_l": files.clip_l, "t5xxl": files.t5xxl, "ae": files.ae}
    same_ae = {"ae.sft", "ae.safetensors"}
    found = []
    for role, path in options.items():
        own = known.get(role)
        if own is None or own == path or own.name == path.name or {own.name, path.name} <= same_ae:
            continue
        found.append(
            Finding(
                code="other_model_file",
                severity=Severity.WARNING,
                title=f"{role} will be {own.name}, not {path.name}",
                fix=f"An entry in models.yaml with {role}: {{path: {path}}} takes yours.",
                path=str(path),
            )
        )
    return found


def _file_name(entry: ModelEntry) -> str:
    source = entry.sources["transformer"]
    return source.path.name if source.path is not None else Path(source.file or "").name


def _unknown(error: FluxgymError) -> Finding:
    return Finding(code="unknown_base_model", severity=Severity.WARNING, title=error.message, fix=error.hint)
