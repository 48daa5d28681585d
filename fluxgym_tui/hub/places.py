"""Where other programs keep model files: ComfyUI, Forge, A1111, Hugging Face's cache, a plain folder."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from fluxgym_tui.config.model_entry import Role

# Folders of each program that hold a role's files, relative to its models/ folder.
_COMFYUI: Mapping[Role, tuple[str, ...]] = {
    "transformer": ("diffusion_models", "unet"),
    "clip_l": ("text_encoders", "clip"),
    "t5xxl": ("text_encoders", "clip"),
    "ae": ("vae",),
}
_FORGE: Mapping[Role, tuple[str, ...]] = {
    "transformer": ("Stable-diffusion", "diffusion_models"),
    "clip_l": ("text_encoder",),
    "t5xxl": ("text_encoder",),
    "ae": ("VAE",),
}
_COMFYUI_NAMES = ("ComfyUI", "comfyui", "comfy/ComfyUI")
_FORGE_NAMES = ("stable-diffusion-webui-forge", "stable-diffusion-webui", "forge", "sd-webui-forge")
_COMFYUI_VARIABLE = "COMFYUI_PATH"

Program = Literal["comfyui", "a1111"]


@dataclass(frozen=True, slots=True)
class Place:
    """A folder in which a role's files may lie, and whose it is, in words."""

    folder: Path
    owner: str


def places(
    role: Role, *, workspace: Path, folders: Sequence[Path] = (), env: Mapping[str, str] | None = None
) -> Iterator[Place]:
    """The folders to look into for the file of `role`, those the user named first. They need not exist.

    `folders` may be the top of a ComfyUI, of a Forge or A1111, or hold files themselves.
    """
    variables = os.environ if env is None else env
    for folder in folders:
        yield Place(folder, str(folder))
        yield from _of_comfyui(folder, role)
        yield from _of_forge(folder, role)
    for top in program_tops("comfyui", workspace=workspace, env=variables):
        yield from _of_comfyui(top, role)
    for top in program_tops("a1111", workspace=workspace, env=variables):
        yield from _of_forge(top, role)


def program_tops(program: Program, *, workspace: Path, env: Mapping[str, str] | None = None) -> Iterator[Path]:
    """The folders in which a ComfyUI, or a Forge or A1111, may be installed. They need not exist."""
    variables = os.environ if env is None else env
    if program == "comfyui" and (named := variables.get(_COMFYUI_VARIABLE)):
        yield Path(named).expanduser()
    home = Path(variables.get("HOME") or Path.home())
    for parent in dict.fromkeys((workspace, workspace.parent, home, Path("/workspace"), Path("/opt"))):
        for name in _COMFYUI_NAMES if program == "comfyui" else _FORGE_NAMES:
            yield parent / name


def files_named(names: Sequence[str], place: Place) -> Iterator[Path]:
    """The files of those names in the folder of `place` and in the folders right in it."""
    try:
        inner = sorted(Path(entry.path) for entry in os.scandir(place.folder) if entry.is_dir())
    except OSError:
        return  # not there, or not ours to read
    for folder in (place.folder, *inner):
        for name in names:
            if (path := folder / name).is_file():
                yield path


def cached_files(repo: str, file: str, *, env: Mapping[str, str] | None = None) -> Iterator[Path]:
    """`file` of `repo` in Hugging Face's cache: of the newest known revision first, then of any other."""
    home = hub_cache(env) / f"models--{repo.replace('/', '--')}"
    try:
        newest = (home / "refs/main").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        newest = ""
    try:
        revisions = sorted(entry.name for entry in os.scandir(home / "snapshots"))
    except OSError:
        return
    for revision in sorted(revisions, key=lambda name: name != newest):
        if (path := home / "snapshots" / revision / file).is_file():
            yield path


def hub_cache(env: Mapping[str, str] | None = None) -> Path:
    """Hugging Face's cache of repositories, as its library finds it; told without importing that."""
    variables = os.environ if env is None else env
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if named := variables.get(name):
            return Path(os.path.expandvars(named)).expanduser()
    if named := variables.get("HF_HOME"):
        return Path(os.path.expandvars(named)).expanduser() / "hub"
    cache = variables.get("XDG_CACHE_HOME") or Path(variables.get("HOME") or Path.home()) / ".cache"
    return Path(cache) / "huggingface/hub"


def _of_comfyui(top: Path, role: Role) -> Iterator[Place]:
    if not top.is_dir():
        return
    for name in _COMFYUI[role]:
        yield Place(top / "models" / name, f"ComfyUI in {top}")
    for folder in _extra_folders(top / "extra_model_paths.yaml", role):
        yield Place(folder, f"ComfyUI in {top}")


def _of_forge(top: Path, role: Role) -> Iterator[Place]:
    if top.is_dir():
        for name in _FORGE[role]:
            yield Place(top / "models" / name, f"Forge or A1111 in {top}")


def _extra_folders(path: Path, role: Role) -> Iterator[Path]:
    """The folders of ComfyUI's extra_model_paths.yaml for `role`; a file that makes no sense names none."""
    try:
        sections = yaml.safe_load(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, yaml.YAMLError):
        return
    for section in sections.values() if isinstance(sections, dict) else ():
        if not isinstance(section, dict):
            continue
        base = path.parent / Path(str(section.get("base_path") or "")).expanduser()
        for name in _COMFYUI[role]:
            for line in str(section.get(name) or "").splitlines():
                if line.strip():
                    yield base / line.strip()
