"""A base model as models.yaml describes it, and its files on this machine: plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fluxgym_tui.config.sd_flags import FlagValue

Role = Literal["transformer", "clip_l", "t5xxl", "ae"]
ROLES: tuple[Role, ...] = ("transformer", "clip_l", "t5xxl", "ae")
COMPANION_KEYS = ("clip_l", "t5xxl", "t5xxl_fp8", "ae")

# fluxgym keeps these two in models/unet itself, all others in a folder named after their repository.
_AT_THE_TOP = ("flux-dev", "flux-schnell")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSource:
    """Where a file comes from: `repo` and `file` on Hugging Face, or `path` on this machine.

    `size_gb` is decimal and rounded; `size_bytes` and `sha256` are exact, where they are known. `names` are others
    under which the same file is given away.
    """

    repo: str | None = None
    file: str | None = None
    path: Path | None = None
    size_gb: float | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        return str(self.path) if self.path is not None else f"{self.repo}/{self.file}"

    @property
    def file_names(self) -> tuple[str, ...]:
        """The names to look for, its own first."""
        own = self.path.name if self.path is not None else Path(self.file or "").name
        return tuple(dict.fromkeys((own, *self.names)))

    @property
    def about_bytes(self) -> int | None:
        """Its size as well as it is known."""
        if self.size_bytes is not None:
            return self.size_bytes
        return None if self.size_gb is None else round(self.size_gb * 1e9)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """One base model. `sources` has a file for each role (and `t5xxl_fp8`, the small T5); Chroma has no clip_l.

    `flags` is what the model needs of sd-scripts' options where a spec does not say otherwise; `base` is the model a
    card names; `note` is what people should know before they choose it; `most_swapped` the largest --blocks_to_swap
    that its depth allows, where that is less than recipes ask for.
    """

    key: str
    title: str
    sources: Mapping[str, FileSource]
    aliases: tuple[str, ...] = ()
    note: str | None = None
    arch: Literal["flux", "chroma"] = "flux"
    base: str | None = None
    license: str | None = None
    license_name: str | None = None
    license_link: str | None = None
    gated: bool = False
    bundled: bool = False
    flags: Mapping[str, FlagValue] = field(default_factory=dict)
    most_swapped: int | None = None

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles it has a file for."""
        return tuple(role for role in ROLES if role in self.sources)

    def places(self, role: Role, models: Path, *, small_t5: bool = False) -> list[tuple[Path, FileSource]]:
        """Where the file of `role` may lie under the folder `models`, as fluxgym has it; where it belongs first.

        Either T5 file serves; `small_t5` prefers the fp8 one.
        """
        names = ["t5xxl", "t5xxl_fp8"] if role == "t5xxl" else [str(role)]
        if small_t5:
            names.reverse()
        places: list[tuple[Path, FileSource]] = []
        for name in names:
            source = self.sources.get(name)
            if source is None:
                continue
            if source.path is not None:
                places.append((source.path, source))
            elif role == "transformer":
                at_the_top = [models / "unet" / file for file in source.file_names]
                own_folder = [models / "unet" / (source.repo or "") / file for file in source.file_names]
                paths = at_the_top if self.key in _AT_THE_TOP else own_folder + at_the_top
                places += [(path, source) for path in paths]
            else:
                folder = models / ("vae" if role == "ae" else "clip")
                places += [(folder / file, source) for file in source.file_names]
        return places


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
