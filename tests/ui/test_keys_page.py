"""docs/keys.md says what the app's own registry says."""

import runpy
from pathlib import Path

import pytest

from fluxgym_tui.ui.actions import all_actions

ROOT = Path(__file__).parents[2]


def test_keys_md_is_what_the_app_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    page = runpy.run_path(str(ROOT / "scripts" / "make_keys_doc.py"))["page"]()
    assert (ROOT / "docs" / "keys.md").read_text(encoding="utf-8") == page, "run: make docs"
    assert all(f"`{action.id}`" in page for _, actions in all_actions() for action in actions)
