"""Which files of the base model are here, which are fetched before the training, and what speaks against that."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.findings import Finding, Severity
from fluxgym_tui.base.text import count, human_size, one_line
from fluxgym_tui.config.model_entry import ModelEntry
from fluxgym_tui.hub.auth import token_source
from fluxgym_tui.hub.download import Wanted, needed
from fluxgym_tui.hub.find import ModelState, model_state
from fluxgym_tui.hub.library import NEW_TOKEN_LINK, is_offline, repo_link
from fluxgym_tui.machine.disk import disk_facts


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """What of the model is where (`state`), what is fetched first (`wanted`), and what there is to say about it."""

    state: ModelState
    wanted: tuple[Wanted, ...]
    findings: tuple[Finding, ...]


def check_model(
    model: ModelEntry, workspace: Path, *, small_t5: bool, used: Collection[Path] | None = None
) -> ModelCheck:
    """Look for the files of `model`. Asks no server; whether a repository may be read is asked when a run starts.

    `used` are the files that a command edited by hand names: of the missing ones only those are fetched.
    """
    state = model_state(model, workspace, small_t5=small_t5)
    findings = [_note(model)] if model.note is not None else []
    try:
        wanted = needed(state)
    except FluxgymError:
        return ModelCheck(state, (), (*findings, *_hopeless(state)))
    if used is not None:
        folders = {path for path in used if path.name == "tokenizers"}
        wanted = tuple(one for one in wanted if one.target in used or folders & set(one.target.parents))
    if wanted:
        findings += _fetching(state, wanted)
    return ModelCheck(state, wanted, tuple(findings))


def _note(model: ModelEntry) -> Finding:
    return Finding(code="model_note", severity=Severity.ADVICE, title=f"{model.key}: {model.note}")


def _hopeless(state: ModelState) -> list[Finding]:
    """Errors about files that nothing fetches: they have no repository, or another file lies in their place."""
    blocked = [
        Finding(
            code="model_blocked",
            severity=Severity.ERROR,
            title=f"{state.entry.key}: {rejected.path.name} {rejected.why}",
            fix="It lies where the right file belongs: move it away or delete it, and the right one is fetched.",
            path=str(rejected.path),
        )
        for rejected in state.blocking
    ]
    return blocked + [
        Finding(
            code="model_missing",
            severity=Severity.ERROR,
            title=f"{state.entry.key}: {missing.path.name} is not here",
            detail=f"from {missing.source}",
            fix=f"put it at {one_line(str(missing.path))}, or correct its path in models.yaml",
            path=str(missing.path),
        )
        for missing in state.missing
        if missing.source.repo is None
    ]


def _fetching(state: ModelState, wanted: tuple[Wanted, ...]) -> list[Finding]:
    """What is fetched first, and what would stop that."""
    key, size = state.entry.key, state.bytes_to_fetch
    about = f", about {human_size(size)}" if size else ""
    findings = [
        Finding(
            code="model_download",
            severity=Severity.ADVICE,
            title=f"{key}: {count(len(wanted), 'file')} to download before the training{about}",
            detail=", ".join(dict.fromkeys(one.repo for one in wanted)),
            fix=f"fluxgym-tui download {key}   does it before. Files you have: name their folder in models.yaml.",
        )
    ]
    if is_offline():
        what = f"{key} is not here" if state.missing else f"the tokenizers of {key} are not here"
        findings.append(
            Finding(
                code="model_offline",
                severity=Severity.ERROR,
                title=f"{what}, and HF_HUB_OFFLINE is set",
                fix="Unset it, or put the files there by hand; `fluxgym-tui models --files` says where.",
            )
        )
    gated = state.entry.gated and any(one.repo == state.entry.sources["transformer"].repo for one in wanted)
    if gated and token_source() is None:
        repo = state.entry.sources["transformer"].repo
        findings.append(
            Finding(
                code="model_login",
                severity=Severity.ERROR,
                title=f"{key} asks who you are, and nobody is logged in to Hugging Face",
                fix=f"Accept its licence at {repo_link(str(repo))}, make a token at {NEW_TOKEN_LINK}, then: "
                "fluxgym-tui login",
            )
        )
    return [*findings, *_room(state, size or 0)]


def _room(state: ModelState, size: int) -> list[Finding]:
    """What there is to say about the disk that `size` bytes more are to go to."""
    folders = [missing.path.parent for missing in state.missing]
    if not folders:
        return []
    try:
        disk = disk_facts(folders[0])
    except OSError:
        return []  # a disk that does not tell is found full when it is
    if disk.free < size:
        return [
            Finding(
                code="model_room",
                severity=Severity.ERROR,
                title=f"{human_size(size)} of {state.entry.key} are to be downloaded, and the disk has "
                f"{human_size(disk.free)}",
                fix="Make room, or choose a workspace on a larger disk: --workspace DIR or FLUXGYM_HOME.",
                path=str(folders[0]),
            )
        ]
    if disk.lasting:
        return []
    return [
        Finding(
            code="model_disk_passes",
            severity=Severity.WARNING,
            title=f"{folders[0]} is on the container's own disk, and what is downloaded ends with the container",
            fix="Choose a workspace on a volume that lasts (/workspace on RunPod): --workspace DIR or FLUXGYM_HOME.",
            path=str(folders[0]),
        )
    ]
