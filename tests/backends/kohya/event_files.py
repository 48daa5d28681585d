"""Event files as sd-scripts' tracker writes them, byte for byte, for tests that make their own."""

import struct
from collections.abc import Iterable
from pathlib import Path

from fluxgym_tui.backends.kohya.tracker import masked_crc32c


def record(data: bytes) -> bytes:
    """`data` framed as a record of an event file."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc32c(length)) + data + struct.pack("<I", masked_crc32c(data))


def scalar(tag: str, value: float, *, step: int, time: float = 1.7e9) -> bytes:
    """The event of one scalar, as a protocol buffer."""
    inner = _field(1, tag.encode("utf-8")) + b"\x15" + struct.pack("<f", value)
    return b"\x09" + struct.pack("<d", time) + b"\x10" + _varint(step) + _field(5, _field(1, inner))


def of_step(step: int, loss: float, *, rate: float = 8e-4, time: float = 1.7e9) -> bytes:
    """What sd-scripts logs after a batch, when `step` steps are made."""
    told = {"loss/current": loss, "loss/average": loss, "lr/unet": rate}
    return b"".join(record(scalar(tag, value, step=step, time=time)) for tag, value in told.items())


def begin() -> bytes:
    """The record that every event file begins with."""
    return record(b"\x09" + struct.pack("<d", 1.7e9) + _field(3, b"brain.Event:2"))


def write_event_file(folder: Path, losses: Iterable[float], *, begun: int, prefix: str) -> Path:
    """An event file of steps with these losses under the logging folder `folder`, begun at `begun` (seconds)."""
    path = folder / f"{prefix}20261123063415/network_train/events.out.tfevents.{begun}.host.7.0"
    path.parent.mkdir(parents=True)
    path.write_bytes(begin() + b"".join(of_step(step, loss) for step, loss in enumerate(losses, start=1)))
    return path


def _field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
