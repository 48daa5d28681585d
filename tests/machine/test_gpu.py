"""Reading nvidia-smi's answer, and CUDA_VISIBLE_DEVICES."""

from pathlib import Path

import pytest

from fluxgym_tui.machine.gpu import gpus, parse, visible

ANSWER = """\
0, NVIDIA GeForce RTX 4090, 24564, 1021, 97, 402.31, 66, GPU-aaaa1111
1, NVIDIA GeForce RTX 3060, 12288, 0, [N/A], [Not Supported], 35, GPU-bbbb2222
garbage
"""


def test_cards_are_read_and_what_the_driver_does_not_say_is_none() -> None:
    big, small = parse(ANSWER)
    assert (big.name, big.total_mib, big.power_w, big.temperature_c) == ("NVIDIA GeForce RTX 4090", 24564, 402.31, 66)
    assert small.utilisation_percent is None
    assert small.power_w is None


@pytest.mark.parametrize(
    ("devices", "left"),
    [(None, [0, 1]), ("", []), ("-1", []), ("1", [1]), ("1,0", [1, 0]), ("GPU-bbbb", [1]), ("0,7,1", [0])],
)
def test_visible_devices_choose_and_order_the_cards(devices: str | None, left: list[int]) -> None:
    assert [card.index for card in visible(parse(ANSWER), devices)] == left


def test_the_driver_is_asked_and_its_absence_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus(env={}) == []
    stand_in = tmp_path / "nvidia-smi"
    stand_in.write_text(f"#!/bin/sh\necho '{ANSWER.splitlines()[0]}'\n", encoding="utf-8")
    stand_in.chmod(0o755)
    assert [card.index for card in gpus(env={})] == [0]
    assert gpus(env={"CUDA_VISIBLE_DEVICES": ""}) == []
