"""Which build of PyTorch is chosen for a driver and its cards."""

import re
from pathlib import Path

import pytest

from fluxgym_tui.backends.kohya.torch_builds import TORCH_BUILDS, named_build, torch_build
from fluxgym_tui.base.errors import FluxgymError

T4, A100, RTX_3090, RTX_4090, H100 = (7, 5), (8, 0), (8, 6), (8, 9), (9, 0)
B200, RTX_5090 = (10, 0), (12, 0)


@pytest.mark.parametrize(
    ("nvidia", "capabilities", "machine", "expected"),
    [
        (550, [RTX_4090], "x86_64", "cu124 2.6.0"),
        (560, [H100], "x86_64", "cu124 2.6.0"),
        (580, [A100], "x86_64", "cu124 2.6.0"),  # a driver for CUDA 13 runs it
        (535, [RTX_3090], "x86_64", "cu118 2.6.0"),
        (525, [T4], "x86_64", "cu118 2.6.0"),
        (570, [RTX_5090], "x86_64", "cu128 2.8.0"),
        (580, [RTX_5090], "x86_64", "cu128 2.8.0"),
        (575, [B200], "x86_64", "cu128 2.8.0"),
        (570, [RTX_3090, RTX_5090], "x86_64", "cu128 2.8.0"),  # one build for both
        (570, [(6, 1), RTX_5090], "x86_64", "cu128 2.8.0"),  # there is none for both: the newer counts
        (570, [H100], "aarch64", "cu128 2.9.1"),
        (580, [H100], "aarch64", "cu130 2.9.1"),
        (550, [], "x86_64", "cu124 2.6.0"),  # a driver that does not tell its cards
    ],
)
def test_the_build_goes_by_driver_and_card(
    nvidia: int, capabilities: list[tuple[int, int]], machine: str, expected: str
) -> None:
    build = torch_build(nvidia=nvidia, capabilities=capabilities, machine=machine)
    assert f"{build.name} {build.torch}" == expected
    assert build.driver is not None
    assert build.driver <= nvidia


def test_without_nvidia_it_is_rocm_or_the_processor() -> None:
    assert torch_build(nvidia=None, amd=True).name == "rocm6.4"
    assert torch_build(nvidia=None).name == "cpu"
    assert torch_build(nvidia=None, machine="aarch64").name == "cpu"
    with pytest.raises(FluxgymError, match="no rocm6"):
        torch_build(nvidia=None, amd=True, machine="aarch64")


@pytest.mark.parametrize(
    ("nvidia", "capabilities", "hint"),
    [(550, [RTX_5090], "driver 570"), (470, [RTX_3090], "driver 520"), (470, [(3, 5)], "--python")],
)
def test_a_driver_too_old_is_told_what_it_takes(nvidia: int, capabilities: list[tuple[int, int]], hint: str) -> None:
    with pytest.raises(FluxgymError, match=f"NVIDIA driver {nvidia}") as caught:
        torch_build(nvidia=nvidia, capabilities=capabilities)
    assert hint in str(caught.value.hint)


def test_a_build_can_be_named() -> None:
    assert named_build("cu130", machine="x86_64").torch == "2.9.1"
    with pytest.raises(FluxgymError, match="no build of PyTorch cu999") as caught:
        named_build("cu999", machine="x86_64")
    assert "cu124" in str(caught.value.hint)


def test_the_table_of_the_documents_is_the_table() -> None:
    page = (Path(__file__).parents[3] / "docs/kohya.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\S+)` \| (\S+) \| ([^|]*) \| ([^|]*) \| ([^|]*) \|$", page, re.MULTILINE)
    assert [tuple(cell.strip() for cell in row) for row in rows] == [
        (
            build.name,
            build.torch,
            "-" if build.driver is None else f"{build.driver}",
            " ".join(build.machines),
            build.words,
        )
        for build in TORCH_BUILDS
    ]
