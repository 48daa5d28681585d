"""TensorBoard's event files, as far as scalars go: written without TensorBoard, which is needed only to look at them.

A file is a row of records: length (8 bytes) and its checksum, then a protocol buffer `Event` and its checksum, all
little-endian. The checksum is CRC-32C, rotated by 15 bits with a constant added, as TensorFlow masks it.
"""

import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path

_CASTAGNOLI = 0x82F63B78  # reflected
_MASK_DELTA = 0xA282EAD8
_VERSION = "brain.Event:2"
# Keys of the fields of `Event`, `Summary` and `Summary.Value`: number << 3 | wire type.
_WALL_TIME, _STEP, _FILE_VERSION, _SUMMARY = b"\x09", b"\x10", b"\x1a", b"\x2a"
_VALUE, _TAG, _SIMPLE_VALUE = b"\x0a", b"\x0a", b"\x15"


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (_CASTAGNOLI if byte & 1 else 0)  # noqa: PLW2901 - shifted in place, as in the textbook
        table.append(byte)
    return tuple(table)


_CRC_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    """The CRC-32C of `data`."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


class ScalarFile:
    """An event file in `folder`, made with its folder; each call of `write` appends one whole record.

    OSError as the system raises it.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        now = time.time()
        name = f"events.out.tfevents.{int(now):010d}.{socket.gethostname()}.{os.getpid()}.0"
        self._file = (folder / name).open("ab", buffering=0)
        self._append(_WALL_TIME + struct.pack("<d", now) + _text(_FILE_VERSION, _VERSION.encode("ascii")))

    def write(self, values: Mapping[str, float], *, step: int) -> None:
        """One record with the scalars `values` by their tags."""
        summary = b"".join(
            _text(_VALUE, _text(_TAG, tag.encode("utf-8")) + _SIMPLE_VALUE + struct.pack("<f", value))
            for tag, value in values.items()
        )
        self._append(_WALL_TIME + struct.pack("<d", time.time()) + _STEP + _varint(step) + _text(_SUMMARY, summary))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, event: bytes) -> None:
        length = struct.pack("<Q", len(event))
        self._file.write(length + _masked(length) + event + _masked(event))


def _masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF)


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the highest bit says that more follow."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def _text(key: bytes, content: bytes) -> bytes:
    return key + _varint(len(content)) + content
