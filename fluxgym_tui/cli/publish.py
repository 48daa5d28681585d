"""`publish RUN`: a run's LoRA, card and samples to Hugging Face, or to a folder to look at first."""

import argparse
import time
from pathlib import Path
from typing import Any

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.text import count, human_size, human_time
from fluxgym_tui.cli.diagnostics import narrate
from fluxgym_tui.cli.output import Column, Output
from fluxgym_tui.cli.parser import CommandParser, add_json, add_run
from fluxgym_tui.cli.workspaces import workspace_of
from fluxgym_tui.hub.publish import UploadProgress, checked_repo_name, write_files, writer
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.listing import find_run
from fluxgym_tui.runs.publication import Publication, prepare_publication
from fluxgym_tui.runs.publishing import NOBODY, default_repo, publish_run

_LINES_EVERY_S = 10.0  # where there is no terminal to redraw


def configure(parser: CommandParser) -> None:
    """Set the options of `publish`."""
    parser.show(
        description="Publish a LoRA of RUN to Hugging Face, with a model card and the samples of that checkpoint:\n"
        "private unless --public is given; again, it updates. Only the LoRA, the card, the samples used and\n"
        "the settings without local paths go up. The token comes from HF_TOKEN or `fluxgym-tui login`.",
        example="fluxgym-tui publish hrld-person\n"
        "fluxgym-tui publish hrld-person --checkpoint 8 --repo ada/hrld --public\n"
        "fluxgym-tui publish hrld-person --dry-run --to look/",
    )
    add_run(parser)
    parser.add_argument(
        "--checkpoint",
        metavar="FILE|EPOCH",
        help="the LoRA file (default: the one picked on the screen Samples, else the last)",
    )
    parser.add_argument(
        "--repo",
        metavar="OWNER/NAME",
        help="the repository (default: where it went before, else your name and the run's)",
    )
    parser.add_argument("--public", action="store_true", help="let everybody see it (default: private)")
    parser.add_argument(
        "--replace", action="store_true", help="publish into a repository with other files, over the card that is there"
    )
    parser.add_argument("--dry-run", action="store_true", help="upload nothing; write what would go up to --to DIR")
    parser.add_argument("--to", type=Path, metavar="DIR", help="with --dry-run: a new or empty folder")
    parser.add_argument("--card", action="store_true", help="print the model card, and upload nothing")
    add_json(parser)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Publish, or write what would be."""
    if args.card and (args.dry_run or args.json):
        raise FluxgymError("--card prints the card alone", hint="--dry-run --to DIR writes it with all other files.")
    if args.dry_run != (args.to is not None):
        raise FluxgymError(
            "--dry-run and --to DIR go together", hint="--dry-run --to DIR writes to DIR what would go up."
        )
    if args.dry_run or args.card:
        for name in ("public", "replace"):
            if getattr(args, name):
                narrate(f"--{name} has no effect here: nothing is uploaded.")
    workspace = workspace_of(args)
    found = find_run(workspace.root / "outputs", args.run)
    repo_id = _dry_repo(found, args.repo) if args.dry_run or args.card else _repo(found, args.repo)
    publication = prepare_publication(found, repo_id=repo_id, checkpoint=args.checkpoint, workspace=workspace.root)
    for note in publication.notes:
        narrate(note)
    if args.card:
        out.lines(publication.card.splitlines())
        return ExitCode.OK
    if args.dry_run:
        write_files(publication.files, args.to)
        _tell(out, args, publication, {"dry_run": str(args.to.absolute()), "url": None, "commit": None})
        return ExitCode.OK
    done = publish_run(
        publication,
        private=not args.public,
        replace=args.replace,
        progress=_Line(out, publication, quiet=args.json),
    )
    _tell(out, args, publication, {"dry_run": None, "url": done.url, "commit": done.commit})
    return ExitCode.OK


def _repo(run: RunDirectory, asked: str | None) -> str:
    """The repository, once it is clear that it may be written to."""
    if asked is not None:
        checked_repo_name(asked)
    _, account = writer(asked)
    return asked or default_repo(run, account)


def _dry_repo(run: RunDirectory, asked: str | None) -> str:
    """The repository as the card names it; nobody needs to be logged in for a look."""
    if asked is not None:
        return checked_repo_name(asked)
    try:
        _, account = writer()
    except FluxgymError as error:
        repo_id = default_repo(run, None)
        if repo_id.startswith(f"{NOBODY}/"):
            narrate(f"The card says {repo_id}: {error.message}. With --repo OWNER/NAME it is exact.")
        return repo_id
    return default_repo(run, account)


class _Line:
    """Progress as the one live line of a terminal, else as a line now and then on stderr."""

    def __init__(self, out: Output, publication: Publication, *, quiet: bool) -> None:
        self._out = out
        self._quiet = quiet
        self._began_s = self._told_s = time.monotonic()
        narrate(f"publishing {count(len(publication.files), 'file')} as {publication.repo_id}")

    def __call__(self, at: UploadProgress) -> None:
        now_s = time.monotonic()
        line = f"{at.doing} · {human_size(at.done_bytes)} of {human_size(at.total_bytes)}"
        if 0 < at.done_bytes < at.total_bytes and now_s > self._began_s + 1:
            rate = at.done_bytes / (now_s - self._began_s)
            line += f" · {human_size(rate)}/s · {human_time((at.total_bytes - at.done_bytes) / rate)} left"
        shown = not self._quiet and at.doing != "done" and self._out.live(line)
        if not shown and now_s - self._told_s >= _LINES_EVERY_S:
            self._told_s = now_s
            narrate(line)


def _tell(out: Output, args: argparse.Namespace, publication: Publication, outcome: dict[str, Any]) -> None:
    if args.json:
        out.json(
            {
                "run": str(publication.run.output_dir),
                "checkpoint": publication.checkpoint.path.name,
                "repo": publication.repo_id,
                "private": not args.public,
                **outcome,
                "files": [{"path": file.path_in_repo, "bytes": file.size_bytes} for file in publication.files],
                "notes": list(publication.notes),
            }
        )
        return
    out.table(
        ["file", Column("size", "right")],
        [(file.path_in_repo, human_size(file.size_bytes)) for file in publication.files],
    )
    if outcome["dry_run"]:
        out.line(f"written to {args.to}; nothing was uploaded")
    else:
        what = "nothing had changed" if outcome["commit"] is None else "published"
        out.line(f"{what} ({'everybody can see it' if args.public else 'private'}): {outcome['url']}")
