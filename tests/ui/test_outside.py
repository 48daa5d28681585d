"""Clipboard and editor: what the app hands to the terminal and to the user's own program."""

import base64
import os
import sys

import pytest

from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.ui.app import FluxgymApp
from fluxgym_tui.ui.outside import copy_text, edit_file, editor_command
from tests.runs.fake_runs import until as wait_until
from tests.ui.terminal import Terminal
from tests.ui.written_runs import write_run


async def test_what_is_copied_is_told_and_bytes_of_names_are_escaped(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TMUX", raising=False)
    app = FluxgymApp(workspace=workspace, screen="runs")
    async with app.run_test():
        copy_text(app, os.fsdecode(b"caf\xe9"), "the name")
        assert app.clipboard == "caf\\udce9"
        assert app.told[-1].message.startswith("Copied the name")


def test_the_editor_is_visual_before_editor_if_it_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "no-such-editor-here -x")
    monkeypatch.setenv("EDITOR", f"{sys.executable} -c 'pass'")
    assert editor_command() == [sys.executable, "-c", "pass"]
    monkeypatch.setenv("EDITOR", "an 'open quote")
    assert editor_command() is None


async def test_without_an_editor_the_app_says_how_to_set_one(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.delenv("EDITOR", raising=False)
    app = FluxgymApp(workspace=workspace, screen="runs")
    async with app.run_test():
        assert not await edit_file(app, workspace.root / "a.txt")
        assert "EDITOR" in app.told[-1].message


def test_a_path_goes_to_the_clipboard_and_a_copy_of_the_log_to_the_editor(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TMUX", raising=False)
    run = write_run(workspace.outputs, "hrld", log="one\ntwo\n")
    home, seen = str(workspace.root), workspace.root / "seen"
    script = workspace.root / "editor.py"
    script.write_text(
        "import pathlib, sys\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "told = f'{path.name} {path.stat().st_mode & 0o777:o} {path.read_text()}'\n"
        f"pathlib.Path({str(seen)!r}).write_text(told)\n",
        encoding="utf-8",
    )
    env = {"FLUXGYM_HOME": home, "XDG_CONFIG_HOME": home, "EDITOR": f"{sys.executable} {script}", "VISUAL": ""}
    terminal = Terminal([sys.executable, "-P", "-m", "fluxgym_tui"], env=env)
    try:
        terminal.until("Train a FLUX LoRA")
        terminal.press("8")
        terminal.until("finished")
        terminal.press("y")
        terminal.until("Copied")
        path = base64.b64encode(str(run.output_dir).encode())
        assert b"\x1b]52;c;" + path + b"\x07" in terminal.raw
        terminal.press("e")
        wait_until(seen.exists, what="the editor")
        wait_until(lambda: seen.read_text(encoding="utf-8") == "train-001.log 400 one\ntwo\n", what="what it shows")
        terminal.press("q")
        assert terminal.wait() == 0
    finally:
        terminal.close()
    assert run.log(1).read_text(encoding="utf-8") == "one\ntwo\n"
