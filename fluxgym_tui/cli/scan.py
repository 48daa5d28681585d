"""`scan DIR`: what is in a folder of pictures."""

import argparse
import os
from pathlib import Path

from fluxgym_tui.base.errors import ExitCode
from fluxgym_tui.base.text import count
from fluxgym_tui.cli.diagnostics import narrate
from fluxgym_tui.cli.findings import finding_lines
from fluxgym_tui.cli.output import Column, Output
from fluxgym_tui.cli.parser import CommandParser, add_json
from fluxgym_tui.dataset.conversion import convert_captions
from fluxgym_tui.dataset.scan import scan, scan_json


def configure(parser: CommandParser) -> None:
    """Set the options of `scan`."""
    parser.show(
        description="Look at every file of a folder: which pictures would be trained, at what size and with what\n"
        "caption, and what is wrong with the others. Nothing is changed without --to-utf8. The exit code\n"
        "is 3 where there is no picture to train.",
        example="fluxgym-tui scan photos/",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder of pictures")
    parser.add_argument("--flat", action="store_true", help="leave out the folders inside it")
    parser.add_argument(
        "--to-utf8",
        action="store_true",
        help="first rewrite captions that are not UTF-8, each with its old bytes beside it in a .bak file",
    )
    add_json(parser)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Scan the folder and print every file."""
    if args.to_utf8:
        for converted in convert_captions(args.folder, recursive=not args.flat):
            narrate(f"{converted.path}: {converted.encoding} to UTF-8, the old bytes are in {converted.backup.name}")
    if args.json:
        seen = _Counted()
        out.json_pieces(map(seen, scan_json(args.folder, recursive=not args.flat)))
        return ExitCode.OK if seen.pictures else ExitCode.FINDINGS
    found = scan(args.folder, recursive=not args.flat)
    columns: list[str | Column] = [
        "picture",
        Column("width", "right"),
        Column("height", "right"),
        "turned",
        Column("caption", cut=True),
    ]
    out.table(
        columns,
        [
            (
                os.path.relpath(image.path, args.folder),
                image.width,
                image.height,
                "" if image.orientation == 1 else f"orientation {image.orientation}",
                image.caption,
            )
            for image in found.images
        ],
    )
    for title, files in (("rejected", found.rejected), ("ignored", found.ignored)):
        others = [file for file in files if not file.reason.startswith("the caption of ")]
        if others:
            out.line()
            out.line(f"{title}:")
            out.table(["file", "why"], [(os.path.relpath(file.path, args.folder), file.reason) for file in others])
    if found.problems:
        out.line()
        out.lines(finding_lines(found.problems))
    captioned = sum(image.caption is not None for image in found.images)
    out.line()
    out.line(
        f"{count(len(found.images), 'picture')}, {captioned:,} with a caption; "
        f"{len(found.rejected):,} rejected, {len(found.ignored):,} ignored"
    )
    return ExitCode.OK if found.images else ExitCode.FINDINGS


class _Counted:
    """Passes the pieces of a scan's JSON on and tells whether a picture was among them."""

    def __init__(self) -> None:
        self.pictures = False

    def __call__(self, piece: str) -> str:
        self.pictures = self.pictures or '"orientation": ' in piece
        return piece
