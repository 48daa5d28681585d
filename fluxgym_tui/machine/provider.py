"""Whose machine this is, where it is rented: told by variables that the provider sets, wherever they may be found."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Provider:
    """A rented machine: the provider's `name`, the `instance` where it says, and the folder that outlives it."""

    name: str
    instance: str | None = None
    lasting_folder: Path | None = None


def provider(environment: Mapping[str, str], root: Path = Path("/")) -> Provider | None:
    """The provider of this machine, or None.

    Logins over SSH often lack the variables that the container was started with: those are looked up where providers
    write them down (/etc/rp_environment, /etc/environment) and in the first process' own.
    """
    known = {
        **_first_process(root),
        **_assignments(root / "etc/environment"),
        **_assignments(root / "etc/rp_environment"),
    }
    known.update(environment)
    if pod := known.get("RUNPOD_POD_ID"):
        return Provider("runpod", pod, Path("/workspace"))
    if "VAST_CONTAINERLABEL" in known or ("CONTAINER_ID" in known and "CONTAINER_API_KEY" in known):
        label = known.get("CONTAINER_ID") or known.get("VAST_CONTAINERLABEL", "").removeprefix("C.")
        return Provider("vast", label or None, None)
    return None


def _assignments(file: Path) -> dict[str, str]:
    """`NAME=value` lines, with or without `export` and quotes."""
    found = {}
    for line in _text(file).splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and name.isidentifier():
            found[name] = value.strip().strip("\"'")
    return found


def _first_process(root: Path) -> dict[str, str]:
    pairs = (entry.partition("=") for entry in _text(root / "proc/1/environ").split("\0"))
    return {name: value for name, equals, value in pairs if equals}


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
