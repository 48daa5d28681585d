"""A checkpoint is in memory once: measured in a process of its own, by the kernel's own count."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

WIDTHS = Path(__file__).parents[2] / "scripts" / "bench" / "widths.py"
MB = 1_000_000
ALLOWED = 700 * MB


def measured(path: Path, *arguments: str) -> dict[str, Any]:
    """What scripts/bench/widths.py measures of a checkpoint of such sizes, at `path`."""
    result = subprocess.run(
        [sys.executable, str(WIDTHS), "--one", str(path), *arguments],
        check=True,
        capture_output=True,
        encoding="utf-8",
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize(
    ("stored", "precision", "more", "copies", "spare_mb"),
    [
        ("bf16", "bf16", (), 1.0, 60),  # the file's own pages
        ("bf16", "bf16", ("--fp8_base",), 0.5, 140),  # half of the file; tensors go through a buffer
        # the file's pages, and a matrix that is cast for its product
        pytest.param("fp8", "bf16", (), 1.0, 110, marks=pytest.mark.faults),
        # each number takes twice as much
        pytest.param("bf16", "fp32", (), 2.0, 110, marks=pytest.mark.faults),
    ],
)
def test_weights_are_there_once(
    tmp_path: Path, *, stored: str, precision: str, more: tuple[str, ...], copies: float, spare_mb: int
) -> None:
    found = measured(
        tmp_path / "flux1.safetensors", "--hidden", "1536", "--stored", stored, "--precision", precision, *more
    )
    taken = found["loaded_peak_bytes"] - found["before_bytes"]
    assert taken < 1.15 * copies * found["file_bytes"] + spare_mb * MB
    assert taken > 0.8 * copies * found["file_bytes"], "all of it was used"
    assert found["loaded_peak_bytes"] < 1.15 * max(1.0, copies) * found["file_bytes"] + ALLOWED


@pytest.mark.faults
def test_two_gigabytes_stay_within_what_is_allowed(tmp_path: Path) -> None:
    found = measured(tmp_path / "flux1.safetensors", "--hidden", "3072", "--depth", "2", "--single", "2",
                     "--stored", "bf16", "--precision", "bf16")  # fmt: skip
    assert found["file_bytes"] > 2_000 * MB
    assert found["loaded_peak_bytes"] < 1.15 * found["file_bytes"] + ALLOWED


@pytest.mark.faults
def test_one_step_at_flux1_s_widths(tmp_path: Path) -> None:
    found = measured(tmp_path / "flux1.safetensors", "--step")
    assert found["step_peak_bytes"] < 1.15 * found["file_bytes"] + 1_500 * MB
    assert found["step_s"] > 0
