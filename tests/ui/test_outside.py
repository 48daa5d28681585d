"""Clipboard and editor: what the app hands to the terminal and to the user's own program."""

import os
import sys

import pytest

from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.ui.app import FluxgymApp
from fluxgym_tui.ui.outside import copy_text, edit_file, editor_command


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
