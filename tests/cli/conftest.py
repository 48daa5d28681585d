"""The command line called in this process, and runs of a fake trainer for it to watch."""

import json
from pathlib import Path
from typing import Any

import pytest

from fluxgym_tui.cli.main import main
from tests.cli.calls import Run, RunJson
from tests.hub.conftest import hub
from tests.runs.conftest import fake, quick_patience

__all__ = ["fake", "hub", "quick_patience"]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command in this process: its exit code, stdout and stderr. The workspace is the test's folder."""
    monkeypatch.setenv("FLUXGYM_HOME", str(tmp_path))

    def call(*argv: object) -> tuple[int, str, str]:
        code = main([str(word) for word in argv])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def run_json(run: Run) -> RunJson:
    """The command with --json: its exit code and its document."""

    def call(*argv: object) -> tuple[int, Any]:
        code, out, err = run(*argv, "--json")
        assert err == ""
        assert out.isascii()
        return code, json.loads(out)

    return call
