"""`download MODEL`: fetch what is missing of a base model, resumed where it broke off."""

import argparse
import time
from collections.abc import Sequence

from fluxgym_tui.base.errors import ExitCode
from fluxgym_tui.base.text import human_size, transfer_words
from fluxgym_tui.cli.diagnostics import narrate
from fluxgym_tui.cli.output import Column, Output
from fluxgym_tui.cli.parser import CommandParser, add_json, add_workspace
from fluxgym_tui.cli.workspaces import workspace_of
from fluxgym_tui.config.models import find_model, load_models
from fluxgym_tui.hub.download import DownloadProgress, Wanted, download, needed
from fluxgym_tui.hub.find import ModelState, model_state
from fluxgym_tui.hub.needs import check_all_access, fetch_words, progress_json

_LINES_EVERY_S = 5.0  # where there is no terminal to redraw
_DOING = {
    "downloading": "",
    "waiting": " · another process fetches it, waiting",
    "checking": " · checking what is here",
}


def configure(parser: CommandParser) -> None:
    """Set the options of `download`."""
    parser.show(
        description="Download what is missing of a base model: the model, its text encoders, autoencoder and\n"
        "tokenizers. Files that are on this machine already (the workspace, ComfyUI, Forge, A1111, Hugging\n"
        "Face's cache, folders of models.yaml) are used where they lie. What broke off is gone on with.",
        example="fluxgym-tui download flux-dev\nfluxgym-tui download flux-dev --fp8-t5 --dry-run",
    )
    parser.add_argument("model", metavar="MODEL", help="a key or alias of models.yaml; `fluxgym-tui models` lists them")
    parser.add_argument("--fp8-t5", action="store_true", help="the fp8 T5 in place of the fp16 one: half its size")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be downloaded")
    add_workspace(parser)
    add_json(parser, lines=True)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Fetch, or say what would be."""
    root = workspace_of(args).root
    entry = find_model(args.model, load_models(workspace=root))
    state = model_state(entry, root, small_t5=args.fp8_t5)
    wanted = needed(state)
    for rejected in state.rejected:
        narrate(f"not used: {rejected.path} {rejected.why}")
    if entry.note is not None:
        narrate(f"{entry.key}: {entry.note}")
    if wanted:
        narrate(fetch_words(state, wanted))
        if args.dry_run:
            _show(state, wanted, out, json=args.json)
        else:
            check_all_access(wanted, asked=lambda repo: narrate(f"asking for access to {repo}"))
            try:
                download(wanted, tell=_Line(out, json=args.json))
            except KeyboardInterrupt:
                out.flush()
                narrate("what has come is kept; the same command goes on from there")
                raise
            state = model_state(entry, root, small_t5=args.fp8_t5)
    _end(state, wanted, out, args)
    return ExitCode.OK


def _show(state: ModelState, wanted: Sequence[Wanted], out: Output, *, json: bool) -> None:
    about = {missing.path: missing.source.about_bytes for missing in state.missing}
    if json:
        for one in wanted:
            out.json_line({"kind": "wanted", **one.to_json()})
    else:
        out.table(
            ["file", "from", Column("size", "right"), "to"],
            [
                (one.file, one.repo, None if (size := about.get(one.target)) is None else human_size(size), one.target)
                for one in wanted
            ],
        )


def _end(state: ModelState, wanted: Sequence[Wanted], out: Output, args: argparse.Namespace) -> None:
    """Where each file is now."""
    files = {role: str(file.path) for role, file in state.found.items()}
    if args.json:
        out.json_line({"kind": "end", "model": state.entry.key, "state": state.state, "files": files})
    elif not (args.dry_run and wanted):
        out.line(f"{state.entry.key} is here" + ("" if wanted else " already"))
        out.lines(f"  {path}" for path in files.values())


class _Line:
    """A live line for the whole; a line that stays for each file that is done."""

    def __init__(self, out: Output, *, json: bool) -> None:
        self._out = out
        self._json = json
        self._shown_at = time.monotonic()
        self._kept: set[int] = set()

    def __call__(self, at: DownloadProgress) -> None:
        whole = at.total is not None and at.done >= at.total and at.doing == "downloading"
        if self._json:
            if whole or self._due():
                self._out.json_line(progress_json(at))
            return
        if whole and at.number not in self._kept:
            self._kept.add(at.number)
            self._out.line(f"{at.name}  {human_size(at.done)}")
        words = transfer_words(at.all_done, at.all_total, rate=at.rate, left_s=at.left_s)
        share = f" {at.done * 100 // at.total}%" if at.total else ""
        text = f"{words} · {at.number}/{at.files} {at.name}{share}{_DOING[at.doing]}"
        if not self._out.live(text) and not whole and self._due():
            self._out.line(text)
            self._out.flush_lines()

    def _due(self) -> bool:
        if time.monotonic() - self._shown_at < _LINES_EVERY_S:
            return False
        self._shown_at = time.monotonic()
        return True
