"""Each import contract is seen to fail: a copy of the package with one forbidden import must break it, and only it."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# The module that gets a forbidden import, the import, and the contract that must notice, by the start of its name.
VIOLATIONS = [
    ("plan/buckets.py", "import fluxgym_tui.dataset.scan", "Doors open one way", False),
    ("plan/buckets.py", "import fluxgym_tui.runs.start", "Doors open one way", True),
    ("trainer/loop.py", "import fluxgym_tui.dataset.staging", "The trainer stands beside", True),
    ("runs/launch.py", "import fluxgym_tui.trainer.loop", "Only the built-in backend looks", True),
    ("checks/preflight.py", "import torch", "Only the trainer and the captioner import torch", True),
    ("trainer/flags.py", "import torch", "The flags of the trainer", True),
    ("cli/main.py", "import textual", "No room below the app imports textual", True),
    ("base/errors.py", "import pydantic", "base uses the standard library", True),
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contracts")
    shutil.copytree(ROOT / "fluxgym_tui", folder / "fluxgym_tui", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def _broken(folder: Path) -> list[str]:
    """The names of the contracts that do not hold in `folder`."""
    lint = Path(sys.executable).with_name("lint-imports")
    environment = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "500", "NO_COLOR": "1"}
    done = subprocess.run(
        [lint, "--no-cache", "--config", "pyproject.toml"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Contracts:" in done.stdout, done.stdout + done.stderr
    return [line.partition(" BROKEN")[0] for line in done.stdout.splitlines() if " BROKEN" in line]


@pytest.mark.parametrize(("module", "line", "contract", "breaks"), VIOLATIONS)
def test_a_forbidden_import_is_noticed(copy: Path, module: str, line: str, contract: str, breaks: bool) -> None:
    file = copy / "fluxgym_tui" / module
    original = file.read_text(encoding="utf-8")
    try:
        file.write_text(original + f"\n{line}\n", encoding="utf-8")
        broken = _broken(copy)
    finally:
        file.write_text(original, encoding="utf-8")
    assert any(name.startswith(contract) for name in broken) is breaks


def test_every_contract_has_a_violation_here() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    names = [contract["name"] for contract in config["tool"]["importlinter"]["contracts"]]
    proven = [contract for _, _, contract, breaks in VIOLATIONS if breaks]
    assert all(any(name.startswith(start) for start in proven) for name in names)
