"""Finding a base model's files before fetching any: in the workspace, where other programs keep theirs, by header."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.modelfiles import describe
from fluxgym_tui.base.safetensors import read_header
from fluxgym_tui.base.text import human_size
from fluxgym_tui.config.model_entry import FileSource, MissingFile, ModelEntry, ModelFiles, Role
from fluxgym_tui.config.models import expected_files, model_folders
from fluxgym_tui.hub.partial import partial_bytes
from fluxgym_tui.hub.places import cached_files, files_named, places
from fluxgym_tui.hub.tokenizers import Tokenizer, tokenizers_missing

_KINDS: Mapping[Role, tuple[str, ...]] = {"clip_l": ("clip",), "t5xxl": ("t5",), "ae": ("autoencoder",)}
_PREFIX = "model.diffusion_model."
_FLUX_CHANNELS = 64  # a picture's latent, packed 2 x 2; Fill and its kin have more inputs
_ABOUT = 0.05  # sizes in models.yaml are rounded
_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file of a base model: where it lies, and whose folder that is in words (`workspace` for ours)."""

    path: Path
    owner: str


@dataclass(frozen=True, slots=True)
class RejectedFile:
    """A file of the right name that cannot be used, and why; `blocks` where it lies in the place of the right one."""

    role: Role
    path: Path
    why: str
    blocks: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelState:
    """What of a base model is on this machine: files found, files missing, files that will not do.

    `expected` names every file where it is or will be. `tokenizers` are those that are missing; `partial_bytes` is
    what downloads that broke off left of the missing files.
    """

    entry: ModelEntry
    expected: ModelFiles
    found: Mapping[Role, FoundFile] = field(default_factory=dict)
    missing: tuple[MissingFile, ...] = ()
    rejected: tuple[RejectedFile, ...] = ()
    tokenizers: tuple[Tokenizer, ...] = ()
    partial_bytes: int = 0

    @property
    def state(self) -> Literal["here", "partly", "missing"]:
        """Whether it can be trained from as it is, has some of its files, or none."""
        if not self.missing:
            return "here"
        own = "transformer" in self.found
        return "partly" if own or self.partial_bytes or len(self.found) > 0 else "missing"

    @property
    def files(self) -> ModelFiles | None:
        """Its files, where all are here."""
        return None if self.missing else self.expected

    @property
    def blocking(self) -> tuple[RejectedFile, ...]:
        """Files that lie in the place of a missing one: nothing of the user's is written over."""
        lacking = {file.role for file in self.missing}
        return tuple(file for file in self.rejected if file.blocks and file.role in lacking)

    @property
    def bytes_to_fetch(self) -> int | None:
        """How much is still to be downloaded, about; None where a size is not known."""
        sizes = [file.source.about_bytes for file in self.missing]
        if any(size is None for size in sizes):
            return None
        return max(0, sum(size or 0 for size in sizes) - self.partial_bytes)


def model_state(
    entry: ModelEntry,
    workspace: Path,
    *,
    small_t5: bool = False,
    folders: Sequence[Path] | None = None,
    env: Mapping[str, str] | None = None,
) -> ModelState:
    """Look for the files of `entry`: in `workspace`, in `folders`, in ComfyUI's, Forge's, A1111's, in the Hub's cache.

    A file is judged by its header, its length and, outside the workspace, its size as well as that is known.
    `folders` are by default those of `workspace`/models.yaml. Fetches nothing; takes milliseconds.

    Raises:
        FluxgymError: `workspace`/models.yaml is broken.
    """
    extra = model_folders(workspace=workspace) if folders is None else folders
    found: dict[Role, FoundFile] = {}
    missing: list[MissingFile] = []
    rejected: list[RejectedFile] = []
    paths: dict[str, Path | None] = {"clip_l": None}
    for role in entry.roles:
        file, refused = _look(entry, role, workspace, small_t5=small_t5, folders=extra, env=env)
        rejected += refused
        if file is not None:
            found[role] = file
            paths[role] = file.path
        else:
            path, source = entry.places(role, workspace / "models", small_t5=small_t5)[0]
            missing.append(MissingFile(role=role, path=path, source=source))
            paths[role] = path
    home = workspace / "models/tokenizers"
    lacking = () if entry.bundled else tokenizers_missing(home, env=env)
    tokenizer_dir = expected_files(entry, workspace=workspace).tokenizer_cache_dir
    transformer, t5xxl, ae = paths["transformer"], paths["t5xxl"], paths["ae"]
    assert transformer is not None
    assert t5xxl is not None
    assert ae is not None
    return ModelState(
        entry=entry,
        expected=ModelFiles(
            transformer=transformer,
            clip_l=paths["clip_l"],
            t5xxl=t5xxl,
            ae=ae,
            tokenizer_cache_dir=home if lacking else tokenizer_dir,
        ),
        found=found,
        missing=tuple(missing),
        rejected=tuple(rejected),
        tokenizers=lacking,
        partial_bytes=sum(partial_bytes(file.path) for file in missing),
    )


def _look(
    entry: ModelEntry,
    role: Role,
    workspace: Path,
    *,
    small_t5: bool,
    folders: Sequence[Path],
    env: Mapping[str, str] | None,
) -> tuple[FoundFile | None, list[RejectedFile]]:
    """The file of `role`, and those of its names that will not do. The preferred T5 anywhere comes before the other."""
    rejected: list[RejectedFile] = []
    own = entry.places(role, workspace / "models", small_t5=small_t5)
    belongs = own[0][0]
    # By identity: two sources may be equal, and each is looked for once.
    for source in {id(one): one for _, one in own}.values():
        for path in (path for path, of in own if of is source and path.is_file()):
            if (why := why_not(path, role, entry)) is None:
                return FoundFile(path, "workspace"), rejected
            rejected.append(RejectedFile(role, path, why, blocks=path == belongs))
        if source.repo is None:
            continue
        for path, owner in _elsewhere(source, role, workspace, folders, env):
            why = _other_size(path, source) or why_not(path, role, entry)
            if why is None:
                return FoundFile(path, owner), rejected
            rejected.append(RejectedFile(role, path, why, blocks=False))
    return None, rejected


def _elsewhere(
    source: FileSource, role: Role, workspace: Path, folders: Sequence[Path], env: Mapping[str, str] | None
) -> list[tuple[Path, str]]:
    found = [
        (path, place.owner)
        for place in places(role, workspace=workspace, folders=folders, env=env)
        for path in files_named(source.file_names, place)
    ]
    assert source.repo is not None
    assert source.file is not None
    found += [(path, "Hugging Face's cache") for path in cached_files(source.repo, source.file, env=env)]
    return list(dict.fromkeys(found))


def _other_size(path: Path, source: FileSource) -> str | None:
    """Why a file of another program is another file of the same name: an fp8 copy, say, has half the size."""
    size = path.stat().st_size
    if source.size_bytes is not None:
        return None if size == source.size_bytes else f"has {size:,} bytes, not the {source.size_bytes:,} of {source}"
    about = source.about_bytes
    if about is None or abs(size - about) <= _ABOUT * about:
        return None
    return f"has {human_size(size)}, not about {human_size(about)} as {source}"


def why_not(path: Path, role: Role, entry: ModelEntry) -> str | None:
    """Why the file at `path` cannot be the `role` of `entry`, by its header; None where it can."""
    try:
        stat = path.stat()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return _why_not(os.fspath(path), role, entry.arch, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=_REMEMBERED)
def _why_not(path: str, role: Role, arch: str, _size: int, _mtime_ns: int) -> str | None:
    """`why_not`, remembered as long as the file stays as it is: a header on a network disk takes a while."""
    try:
        header = read_header(Path(path))
    except FluxgymError as error:
        return error.message.removeprefix(f"{path} ")
    file = describe(header)
    wanted = _KINDS.get(role, (arch,))
    if file.kind not in wanted:
        return f"is not what it should be, but: {file.title}"
    if role != "transformer":
        return None
    if file.facts.get("fp8_scaled"):
        return "has scaled fp8 weights, which train to noise; use flux-dev-fp8"
    tensors = {name.removeprefix(_PREFIX): tensor for name, tensor in header.tensors.items()}
    shape = tensors["img_in.weight"].shape if "img_in.weight" in tensors else ()
    if arch == "flux" and file.facts.get("hidden_size") == 3072 and len(shape) == 2 and shape[1] != _FLUX_CHANNELS:
        return f"takes {shape[1]} inputs, not {_FLUX_CHANNELS}: a Fill, Canny or Depth model, which cannot be trained"
    return None
