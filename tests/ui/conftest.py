"""Fixtures: a workspace with runs in it, written without starting anything, and the app on it."""

from pathlib import Path

import pytest
from huggingface_hub import constants

from fluxgym_tui.config.workspace import Workspace
from tests.hub.conftest import hub
from tests.runs.conftest import fake, quick_patience

__all__ = ["fake", "hub", "quick_patience", "workspace"]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """An empty workspace, and an environment without surprises."""
    for name in ("NO_COLOR", "SSH_CONNECTION", "FLUXGYM_HOME", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    # Whoever runs the tests may be logged in: the screen Publish would ask Hugging Face who that is.
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    return Workspace(tmp_path)
