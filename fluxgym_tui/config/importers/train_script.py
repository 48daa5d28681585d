"""train.sh of a fluxgym run: the command that trained it, with dataset.toml and sample_prompts.txt beside it."""

from pathlib import Path

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.config.importers.draft import Draft
from fluxgym_tui.config.importers.option_words import options_of, split_words

_PROGRAM = "flux_train_network.py"
_BESIDE = {"dataset_config": "dataset.toml", "sample_prompts": "sample_prompts.txt"}


def read_train_script(text: str, draft: Draft) -> None:
    """Fill `draft` with the options of the command in `text`.

    Files that the command names and that are gone, as after a move to another machine, are looked for beside the
    script, and the pictures in datasets/NAME of the workspace.

    Raises:
        FluxgymError: no command for sd-scripts' FLUX trainer is in it.
    """
    if draft.origin.suffix.lower() == ".bat":
        text = text.replace("\\", "/")
    words = split_words(text)
    program = next((index for index, word in enumerate(words) if word.endswith(_PROGRAM)), None)
    if program is None:
        raise FluxgymError(
            f"{draft.origin} starts no {_PROGRAM}",
            hint="A run of fluxgym-tui's own has its spec in run/spec.yaml.",
        )
    options, draft.extra_args, problems = options_of(words[program + 1 :])
    for problem in problems:
        draft.warn("not_read", f"{problem}; left out")
    for name, file in _BESIDE.items():
        if name in options and not Path(str(options[name])).is_file():
            options[name] = str(draft.origin.absolute().parent / file)
    draft.options = options
    draft.name = str(options.get("output_name", "")) or None
    draft.find_pictures()
    found = draft.workspace / "datasets" / (draft.name or "")
    path = Path(str(draft.dataset.get("path", found)))
    if not path.is_dir() and found.is_dir():
        draft.dataset["path"] = found
        draft.tell("moved", f"the pictures are taken from {found}: {path} is not here")
