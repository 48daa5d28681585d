"""The pages about the command line say what the commands do."""

import re
import runpy
from pathlib import Path

import pytest

from fluxgym_tui.base import events
from fluxgym_tui.base.errors import ExitCode
from fluxgym_tui.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]


def test_cli_md_is_what_the_commands_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    page = runpy.run_path(str(ROOT / "scripts" / "make_docs.py"))["cli_page"]()
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == page, "run: make docs"
    assert all(f"\n### {name}\n" in page for name in COMMANDS)


def test_api_md_has_every_exit_code_event_and_command() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", page, re.MULTILINE) == [
        (str(code.value), code.name) for code in ExitCode
    ]
    kinds = {cls.kind for cls in events.RunEvent.__subclasses__()} - {"unknown"}
    assert all(f"`{kind}`" in page for kind in kinds)
    assert all(f"`{name}" in page for name in COMMANDS)
