"""`import FILE`: writes a spec that means what another program's settings mean."""

import argparse
from pathlib import Path

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.files import write_atomic
from fluxgym_tui.base.findings import Severity
from fluxgym_tui.cli import diagnostics
from fluxgym_tui.cli.findings import finding_lines
from fluxgym_tui.cli.output import Output
from fluxgym_tui.cli.parser import CommandParser, add_json, add_workspace
from fluxgym_tui.config.importers import PROGRAMS, import_spec
from fluxgym_tui.config.specfile import dump_spec


def configure(parser: CommandParser) -> None:
    """Set the options of `import`."""
    parser.show(
        description="Make a spec of another program's settings, with the meaning they have there: fluxgym's and\n"
        "fluxgym_bucket's configs/*.json and training_config.json, the kohya_ss GUI's JSON, sd-scripts'\n"
        "config file (.toml), and train.sh of a fluxgym run. What comes out otherwise, or cannot be\n"
        "carried over, is said on stderr.",
        example="fluxgym-tui import ~/fluxgym/configs/hrld.json -o hrld.yaml\n"
        "fluxgym-tui import ~/fluxgym/outputs/hrld/train.sh -o hrld-again.yaml",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the settings, or the folder of a fluxgym run")
    parser.add_argument("-o", "--output", type=Path, metavar="SPEC", help="the file to write (default, or -: print it)")
    parser.add_argument("--force", action="store_true", help="replace SPEC if it is there")
    parser.add_argument(
        "--dataset", type=Path, metavar="DIR", help="the folder of pictures, in place of the one that FILE means"
    )
    add_workspace(parser)
    add_json(parser)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Write the spec, or print it."""
    target: Path | None = None if args.output == Path("-") else args.output
    if target is None and args.json:
        raise FluxgymError("--json tells what was written: it needs -o SPEC", hint="Add -o spec.yaml.")
    if target is not None and target.exists() and not args.force:
        raise FluxgymError(f"{target} is there already", hint="Choose another name, or add --force to replace it.")
    workspace = None if args.workspace is None else args.workspace.expanduser().absolute()
    found = import_spec(args.file, workspace=workspace, dataset=args.dataset)
    text = dump_spec(found.spec, comments=True)
    if target is None:
        out.lines(text.splitlines())
    else:
        try:
            write_atomic(target, text)
        except OSError as error:
            raise FluxgymError(f"cannot write {target}: {error.strerror}", hint="Check the folder.") from error
    if args.json:
        out.json(
            {
                "spec": str(target),
                "name": found.spec.name,
                "output_name": found.spec.output_name,
                "kind": found.kind,
                "notes": [note.to_json() for note in found.notes],
            }
        )
        return ExitCode.OK
    if found.notes:
        differs = any(note.severity is Severity.WARNING for note in found.notes)
        head = "not all of it could be carried over" if differs else "all of it is carried over"
        diagnostics.narrate(f"{PROGRAMS[found.kind]}: {head}", *finding_lines(found.notes))
    if target is not None:
        out.line(f"wrote {target}; next: fluxgym-tui plan {target}")
    return ExitCode.OK
