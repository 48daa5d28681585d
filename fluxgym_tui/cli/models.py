"""`models`: the base models, and which of their files are here."""

import argparse
from typing import Any

from fluxgym_tui.base.errors import ExitCode
from fluxgym_tui.cli.output import Column, Output
from fluxgym_tui.cli.parser import CommandParser, add_json, add_workspace
from fluxgym_tui.cli.workspaces import workspace_of
from fluxgym_tui.config.models import MissingFile, ModelEntry, ModelFiles, load_models, local_files


def configure(parser: CommandParser) -> None:
    """Set the options of `models`."""
    parser.show(
        description="List the base models of models.yaml, and which of their files are on this machine. The key is\n"
        "the word for base_model in a spec and for --base-model.",
        example="fluxgym-tui models",
    )
    parser.add_argument("--files", action="store_true", help="list every missing file, and where it belongs")
    add_workspace(parser)
    add_json(parser)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Print every base model."""
    root = workspace_of(args).root
    models = load_models(workspace=root)
    found = {key: local_files(entry, workspace=root) for key, entry in models.items()}
    if args.json:
        out.json({"models": [_json(entry, found[key]) for key, entry in models.items()]})
        return ExitCode.OK
    columns: list[str | Column] = ["model", "what", Column("size", "right"), "licence", "login", "here"]
    out.table(columns, [_row(entry, found[key]) for key, entry in models.items()])
    if args.files:
        for key, files in found.items():
            if not isinstance(files, ModelFiles):
                out.line()
                out.line(f"{key} lacks:")
                out.table(["file", "belongs to"], [(missing.source, missing.path) for missing in files])
    return ExitCode.OK


def _row(entry: ModelEntry, files: ModelFiles | tuple[MissingFile, ...]) -> tuple[object, ...]:
    size = entry.sources["transformer"].size_gb
    if isinstance(files, ModelFiles):
        here = "yes"
    else:
        lacking = [missing.role for missing in files]
        here = "no" if len(lacking) == len(entry.roles) else f"lacks {', '.join(lacking)}"
    return (
        entry.key,
        entry.title,
        None if size is None else f"{size:g} GB",
        entry.license_name or entry.license,
        "needed" if entry.gated else None,
        here,
    )


def _json(entry: ModelEntry, files: ModelFiles | tuple[MissingFile, ...]) -> dict[str, Any]:
    here = files if isinstance(files, ModelFiles) else None
    return {
        "key": entry.key,
        "title": entry.title,
        "aliases": list(entry.aliases),
        "arch": entry.arch,
        "license": entry.license_name or entry.license,
        "gated": entry.gated,
        "bundled": entry.bundled,
        "here": here is not None,
        "files": None
        if here is None
        else {role: str(path) for role in entry.roles if (path := getattr(here, role)) is not None},
        "missing": []
        if isinstance(files, ModelFiles)
        else [
            {
                "role": missing.role,
                "path": str(missing.path),
                "repo": missing.source.repo,
                "file": missing.source.file,
                "size_gb": missing.source.size_gb,
            }
            for missing in files
        ],
    }
