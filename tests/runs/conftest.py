"""Fixtures: a fresh run of the fake trainer, and supervisors that are quick to act."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxgym_tui.runs.directory import create
from tests.hub.conftest import hub
from tests.runs.fake_runs import FakeRun

__all__ = ["fake", "hub", "quick_patience"]


@pytest.fixture
def quick_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Supervisors that look often and lose patience soon."""
    monkeypatch.setenv("FLUXGYM_TICK_S", "0.02")
    monkeypatch.setenv("FLUXGYM_STOP_INTERRUPT_S", "0.3")
    monkeypatch.setenv("FLUXGYM_STOP_TERMINATE_S", "0.3")


@pytest.fixture
def fake(tmp_path: Path, quick_patience: None) -> Iterator[FakeRun]:
    """A fresh run, whose processes are ended after the test whatever happened."""
    run = FakeRun(create(tmp_path / "outputs", "hrld"), gate=tmp_path / "gate", starts=tmp_path / "starts")
    yield run
    run.open_gate()
    run.clean_up()
