"""The NVIDIA cards of this machine, as nvidia-smi tells them."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

_QUERY = ("index", "name", "memory.total", "memory.used", "utilization.gpu", "power.draw", "temperature.gpu", "uuid")
_TIMEOUT_S = 10.0  # a driver that is being reset can take seconds to answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One card. Sizes in MiB, power in watts, temperature in degrees Celsius; None where the driver does not say."""

    index: int
    name: str
    total_mib: int
    used_mib: int | None
    utilisation_percent: int | None
    power_w: float | None
    temperature_c: int | None
    uuid: str


def gpus(*, env: Mapping[str, str] | None = None) -> list[Gpu]:
    """The cards a process with `env` (default: os.environ) may use, in its order; empty where there is no driver.

    `CUDA_VISIBLE_DEVICES` is respected: by index or by UUID, and empty or -1 hides all.
    """
    try:
        answer = subprocess.run(
            ["nvidia-smi", f"--query-gpu={','.join(_QUERY)}", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return visible(parse(answer.stdout), (os.environ if env is None else env).get("CUDA_VISIBLE_DEVICES"))


def parse(text: str) -> list[Gpu]:
    """The cards in nvidia-smi's CSV answer, in PCI order; lines that do not fit are left out."""
    cards = []
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != len(_QUERY) or not fields[0].isdecimal() or (total := _number(fields[2])) is None:
            continue
        used, utilisation, temperature = (_number(fields[index]) for index in (3, 4, 6))
        cards.append(
            Gpu(
                index=int(fields[0]),
                name=fields[1],
                total_mib=int(total),
                used_mib=None if used is None else int(used),
                utilisation_percent=None if utilisation is None else int(utilisation),
                power_w=_number(fields[5]),
                temperature_c=None if temperature is None else int(temperature),
                uuid=fields[7],
            )
        )
    return cards


def visible(cards: list[Gpu], devices: str | None) -> list[Gpu]:
    """The cards that `CUDA_VISIBLE_DEVICES=devices` leaves, in that order; the first unknown word ends the list."""
    if devices is None:
        return cards
    chosen: list[Gpu] = []
    for word in (part.strip() for part in devices.split(",")):
        found = next((card for card in cards if word == str(card.index) or (word and card.uuid.startswith(word))), None)
        if found is None or found in chosen:
            break
        chosen.append(found)
    return chosen


def _number(text: str) -> float | None:
    """The number nvidia-smi wrote, or None for its `[N/A]` and kin."""
    try:
        return float(text)
    except ValueError:
        return None
