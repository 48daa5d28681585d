"""What the GPUs' driver is and can run, for choosing a build of PyTorch."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

_TIMEOUT_S = 10.0  # a driver that is being reset can take seconds to answer
_CAPABILITY = re.compile(r"(\d+)\.(\d+)")
_AMD_DEVICE = Path("/dev/kfd")  # what the kernel's driver opens for computing on AMD cards


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverFacts:
    """The driver of the cards: `nvidia` is its branch (570 of 570.86.15), `capabilities` the cards', `amd` an AMD one.

    None and empty where there is none.
    """

    nvidia: int | None = None
    capabilities: tuple[tuple[int, int], ...] = ()
    amd: bool = False


def driver_facts(*, amd_device: Path = _AMD_DEVICE) -> DriverFacts:
    """The drivers of this machine."""
    # Drivers before 510 do not know what a capability is, and answer such a question with an error.
    for fields in ("driver_version,compute_cap", "driver_version"):
        found = parse_driver(_ask(fields))
        if found.nvidia is not None:
            return found
    return DriverFacts(amd=amd_device.exists())


def _ask(fields: str) -> str:
    try:
        return subprocess.run(
            ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def parse_driver(text: str) -> DriverFacts:
    """The driver in nvidia-smi's CSV answer, one line a card: its version, and the card's compute capability."""
    nvidia: int | None = None
    capabilities: list[tuple[int, int]] = []
    for line in text.splitlines():
        version, _, capability = line.partition(",")
        branch = version.strip().partition(".")[0]
        if not branch.isdecimal():
            continue
        nvidia = int(branch)
        if match := _CAPABILITY.fullmatch(capability.strip()):
            capabilities.append((int(match[1]), int(match[2])))
    return DriverFacts(nvidia=nvidia, capabilities=tuple(capabilities))
