"""The options of the user's own sd-scripts: asked of its parser once for each version, else read in its sources."""

import contextlib
import functools
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fluxgym_tui.backends.kohya.checkout import Checkout, missing_reason
from fluxgym_tui.backends.kohya.source_options import source_options
from fluxgym_tui.backends.kohya.words import english
from fluxgym_tui.base.files import read_json, write_json

_ASK = Path(__file__).with_name("ask_parser.py")
_ASK_S = 300.0  # it imports torch, on a cold and slow disk perhaps
_KINDS = {"int": "whole", "float": "number", "int_or_float": "whole_or_number"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ParserOption:
    """One option: `--name`.

    `kind` is switch, whole, number, whole_or_number, text, texts or numbers; `default` as the parser has it; `help` is
    sd-scripts' own, without its Japanese half.
    """

    name: str
    kind: str
    default: Any = None
    choices: tuple[str, ...] | None = None
    help: str | None = None

    @classmethod
    def from_parser(cls, data: Mapping[str, Any]) -> "ParserOption":
        """The option that `ask_parser` and `source_options` describe. KeyError or TypeError where it is none."""
        kind = "switch" if data["switch"] else _KINDS.get(data["type"] or "str", "text")
        if data["many"]:
            kind = "numbers" if kind in ("whole", "number") else "texts"
        choices, words = data["choices"], data["help"]
        return cls(
            name=str(data["name"]),
            kind=kind,
            default=data["default"],
            choices=None if choices is None else tuple(str(choice) for choice in choices if choice is not None),
            help=None if words is None else english(str(words)).replace("%(default)s", str(data["default"])),
        )

    def refusal(self, value: object) -> str | None:
        """Why the parser would not take `value`; None where it would."""
        values = value if isinstance(value, tuple) else (value,)
        if self.kind == "switch":
            return None if isinstance(value, bool) else "is a switch and takes no value"
        if isinstance(value, bool):
            return "needs a value"
        if isinstance(value, tuple) and self.kind not in ("texts", "numbers"):
            return "takes one value, not several"
        readers = {"whole": int, "number": float, "whole_or_number": float, "numbers": float}
        for one in values:
            try:
                readers.get(self.kind, str)(str(one))
            except ValueError:
                return f"does not take {one}"
            if self.choices is not None and str(one) not in self.choices:
                return f"is one of {', '.join(self.choices)}, not {one}"
        return None


def options_of(checkout: Checkout, *, cache: Path | None = None) -> dict[str, ParserOption]:
    """The options that `checkout` takes, by name; empty where its parser cannot be found at all.

    Its own parser is asked, in its own Python: that takes seconds, so the answer is kept under `cache` (default: the
    user's cache folder) for as long as the scripts stay as they are. Where its Python is not ready, the sources tell.
    """
    digest = scripts_digest(checkout)
    folder = cache_folder() if cache is None else cache
    try:
        return dict(_kept(folder / f"{digest}.json"))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    asked = ask(checkout)
    if asked is None:
        return dict(_of_sources(checkout.root, digest))
    with contextlib.suppress(OSError):  # a cache that cannot be kept is asked again
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / f"{digest}.json", asked)
    return {option.name: option for option in map(ParserOption.from_parser, asked)}


def options_in_sources(checkout: Checkout) -> dict[str, ParserOption]:
    """The options as the sources of `checkout` have them, without asking its Python; empty where there are none."""
    return dict(_of_sources(checkout.root, scripts_digest(checkout)))


@functools.lru_cache(maxsize=4)
def _of_sources(root: Path, digest: str) -> Mapping[str, ParserOption]:
    """What the sources at `root` say; `digest` is their version, for which the answer is kept."""
    command = [sys.executable, "-P", "-m", source_options.__module__, str(root)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_ASK_S, check=True)
        found = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        found = source_options(root)
    return {option.name: option for option in map(ParserOption.from_parser, found)}


@functools.lru_cache(maxsize=4)
def _kept(path: Path) -> Mapping[str, ParserOption]:
    return {option.name: option for option in map(ParserOption.from_parser, read_json(path))}


def ask(checkout: Checkout) -> list[dict[str, Any]] | None:
    """The options as the checkout's own parser has them; None where its Python cannot tell."""
    if missing_reason(checkout) is not None:
        return None
    try:
        done = subprocess.run(
            [str(checkout.python), str(_ASK), str(checkout.root)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=checkout.root,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONIOENCODING": "utf-8"},
            timeout=_ASK_S,
            check=True,
        )
        answer = json.loads(done.stdout)
        names = [ParserOption.from_parser(option).name for option in answer]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None
    return answer if names else None


def scripts_digest(checkout: Checkout) -> str:
    """A hash of every source file that has a part in the parser."""
    digest = hashlib.sha256()
    for path in sorted([*checkout.root.glob("*train_network.py"), *(checkout.root / "library").glob("*.py")]):
        with contextlib.suppress(OSError):
            digest.update(f"{path.name}\0".encode("utf-8", "surrogateescape"))
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def cache_folder() -> Path:
    """Where answers are kept: `$XDG_CACHE_HOME/fluxgym-tui/sd-scripts`."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - Path's raises
    return Path(home) / "fluxgym-tui" / "sd-scripts"
