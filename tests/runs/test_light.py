"""Importing what watches and supervises stays cheap: it is done for every `runs`, and resides beside every training."""

import subprocess
import sys

import pytest

HEAVY = {"pydantic", "PIL", "textual", "torch", "rich", "yaml", "numpy", "huggingface_hub"}


@pytest.mark.parametrize(
    ("module", "refused"),
    [
        ("fluxgym_tui.runs.listing", HEAVY | {"asyncio", "subprocess"}),
        ("fluxgym_tui.runs.follow", HEAVY | {"asyncio", "subprocess"}),
        ("fluxgym_tui.runs.wrapper", HEAVY | {"asyncio", "subprocess"}),
        ("fluxgym_tui.runs.control", HEAVY | {"asyncio"}),
        ("fluxgym_tui.runs.supervisor", HEAVY),
    ],
)
def test_a_module_brings_nothing_heavy(module: str, refused: set[str]) -> None:
    program = f"import sys, {module}; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "fluxgym_tui" in loaded
    assert not loaded & refused
