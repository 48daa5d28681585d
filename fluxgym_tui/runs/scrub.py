"""A spec for others to read: the same settings without anything about the machine it was written on."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fluxgym_tui.config.specfile import load_spec, spec_data

HEAD = """\
# The settings of this LoRA, as fluxgym-tui reads them: fluxgym-tui train spec.yaml
# `dataset.path` is where your own pictures lie.
"""

# A word, or what follows a sign in one, that begins as a path of this machine does.
_LOCAL = re.compile(r"""(?:^|[\s"'=:,(\[])(?:~[\w.-]*/|\.{0,2}/(?=\S)|[A-Za-z]:[\\/]|file:|\\\\)""")
# Options whose values are files or folders, even where they are given relative.
_FILES = frozenset(
    {
        "base_weights", "config_file", "controlnet_model_name_or_path", "in_json", "log_tracker_config", "logging_dir",
        "network_weights", "output_config", "resume", "tokenizer_cache_dir", "vae", "conditioning_data_dir",
    }
)  # fmt: skip


def scrubbed_spec(path: Path) -> tuple[str, tuple[str, ...]]:
    """The spec in the file at `path` as YAML without local paths and wishes for after the run; the keys left out.

    Raises:
        FluxgymError: it is no spec that this version reads.
    """
    from fluxgym_tui.config.spec_text import write_spec

    data = spec_data(load_spec(path))
    left_out: list[str] = []
    if data.pop("after", None) not in (None, {"publish": False, "notify": []}):
        left_out.append("after")
    if _LOCAL.search(str(data["base_model"])):
        data["base_model"] = Path(str(data["base_model"])).name
    data["dataset"]["path"] = "photos"
    for number, subset in enumerate(data["dataset"].get("subsets", ()), 2):
        subset["path"] = f"photos-{number}"
    for group in ("training", "flags"):
        for name, value in list(data.get(group, {}).items()):
            if _is_local(name, value):
                del data[group][name]
                left_out.append(f"{group}.{name}")
    if prompts := data.get("samples", {}).get("prompts"):
        data["samples"]["prompts"] = [scrubbed for prompt in prompts if (scrubbed := _scrubbed_prompt(prompt))]
        if data["samples"]["prompts"] != prompts:
            left_out.append("samples.prompts")
    kept, dropped = _scrubbed_words(data.get("extra_args", ()))
    data["extra_args"] = kept
    left_out += [f"extra_args {name}" for name in dropped]
    return HEAD + write_spec(data, comments=False), tuple(left_out)


def _is_local(name: str, value: Any) -> bool:
    texts = value if isinstance(value, (list, tuple)) else [value]
    return name in _FILES or any(isinstance(text, str) and _LOCAL.search(text) for text in texts)


def _scrubbed_prompt(prompt: str) -> str:
    """`prompt` without the flags that name a file; nothing where its words do."""
    text, *flags = prompt.split(" --")
    if _LOCAL.search(text):
        return ""
    return " --".join([text, *(flag for flag in flags if not _LOCAL.search(flag))])


def _scrubbed_words(words: Iterable[str]) -> tuple[list[str], list[str]]:
    """The options among `words` that name no file of this machine, and the names of the others."""
    options: list[list[str]] = []
    for word in words:
        if word.startswith("--") or not options:
            options.append([])
        options[-1].append(word)
    kept: list[str] = []
    dropped: list[str] = []
    for option in options:
        name, _, value = option[0].lstrip("-").partition("=")
        if _is_local(name.replace("-", "_"), [value, *option[1:]]):
            dropped.append(f"--{name}")
        else:
            kept += option
    return kept, dropped
