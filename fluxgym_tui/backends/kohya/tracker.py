"""Reads the true loss and learning rate of each step from the event file that sd-scripts' tracker writes.

The file is TensorBoard's: records framed by their length and checksums, each a protocol buffer. Only the few fields
that matter here are read, so that a supervisor needs no TensorBoard.
"""

import math
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fluxgym_tui.base.events import RunEvent, StepEvent, WarningEvent

_HEAD = struct.Struct("<QI")  # length of a record, checksum of that
_CHECK = struct.Struct("<I")
_LONGEST_RECORD = 1 << 26  # bytes; what claims more is no record of scalars
_LOSS = "loss/current"
# What multiplies the gradient, the best known first: adaptive optimisers scale the rate by a factor of their own.
_RATES = ("lr/d*lr/unet", "lr/d*lr", "lr/unet")
_RATE = "lr/"
_RUN_FOLDER = r"\d{14}"  # sd-scripts: the time of its start, as YYYYmmddHHMMSS
_FILE = re.compile(r"events\.out\.tfevents\.(\d+)\..*")
_FIRST_TRACKER = "network_train"


@dataclass(frozen=True, slots=True)
class TrackerPlace:
    """Where a command has its tracker write: `folder`/`prefix``time of start`/`name`/events.out.tfevents.*"""

    folder: Path
    prefix: str
    name: str

    def event_file(self, *, since: float) -> Path | None:
        """The first event file begun after `since` (seconds since 1970); None while there is none."""
        begun = re.compile(re.escape(self.prefix) + _RUN_FOLDER)
        found: list[tuple[int, str]] = []
        try:
            folders = [entry for entry in self.folder.iterdir() if begun.fullmatch(entry.name)]
            for folder in folders:
                for path in (folder / self.name).glob("events.out.tfevents.*"):
                    match = _FILE.fullmatch(path.name)
                    if match and int(match[1]) >= int(since):  # the name has whole seconds
                        found.append((int(match[1]), str(path)))
        except OSError:  # not there yet, or being written just now: the next look will tell
            return None
        return Path(min(found)[1]) if found else None


def tracker_place(argv: Sequence[str], *, cwd: Path) -> TrackerPlace | None:
    """Where the command `argv`, run in `cwd`, writes TensorBoard's files; None where it writes none."""
    said = {"logging_dir": "", "log_with": "tensorboard", "log_prefix": "", "log_tracker_name": _FIRST_TRACKER}
    for number, word in enumerate(argv):
        name, joined, value = word.removeprefix("--").partition("=")
        if word.startswith("--") and name in said:
            said[name] = value if joined else next(iter(argv[number + 1 :]), "")
    if not said["logging_dir"] or said["log_with"] == "wandb":
        return None
    return TrackerPlace(cwd / said["logging_dir"], said["log_prefix"], said["log_tracker_name"])


class TrackerEvents:
    """The state between chunks: `feed` the file's bytes as they come, cut anywhere.

    Each optimisation step gives a `step` event with `loss` and `lr`, counted from 1 as the process does. With gradient
    accumulation the loss is the mean over the step's batches. A torn record at the end waits for its rest; what stands
    behind a damaged length cannot be found and is left out.
    """

    def __init__(self) -> None:
        self._tail = b""
        self._broken = False
        self._step: int | None = None
        self._losses: list[float] = []  # of batches whose step is not made yet
        self._rates: dict[str, float] = {}
        self._told_time: float | None = None
        self._not_a_number = False

    def feed(self, chunk: bytes) -> list[RunEvent]:
        """The events of the records that `chunk` completes."""
        events: list[RunEvent] = []
        for record in self._records(chunk):
            for time, step, tag, value in _scalars(record):
                if tag == _LOSS:
                    events += self._batch(time, step, value)
                elif tag.startswith(_RATE):
                    self._rates[tag] = float(f"{value:.7g}")  # of single precision: 0.002 is 0.0020000000949949026
        return events

    def close(self) -> list[RunEvent]:
        """Nothing: what was not whole by the end never will be."""
        return []

    def _records(self, chunk: bytes) -> Iterator[bytes]:
        data = self._tail + chunk
        at = 0
        while not self._broken and len(data) - at >= _HEAD.size:
            length, check = _HEAD.unpack_from(data, at)
            if length > _LONGEST_RECORD or masked_crc32c(data[at : at + 8]) != check:
                self._broken = True
                break
            end = at + _HEAD.size + length
            if len(data) < end + _CHECK.size:
                break
            record = data[at + _HEAD.size : end]
            # Most records are of no interest: their sums are not worth the time.
            if (b"loss/current" in record or b"lr/" in record) and _CHECK.unpack_from(data, end)[0] == masked_crc32c(
                record
            ):
                yield record
            at = end + _CHECK.size
        self._tail = b"" if self._broken else data[at:]

    def _batch(self, time: float, step: int, loss: float) -> Iterator[RunEvent]:
        """A batch's loss, logged under the number of steps made by then: the first of a number made that step."""
        self._losses.append(loss)
        before, self._step = self._step, step
        if step < 1 or (before is not None and step <= before):
            return
        mean = sum(self._losses) / len(self._losses)
        # The rates logged with a step are those of the next one: the schedule has moved on by then.
        rate = learning_rate(self._rates)
        self._losses = []
        yield StepEvent(time=time, step=step, loss=mean, lr=rate)
        if not math.isfinite(mean) and not self._not_a_number:
            self._not_a_number = True
            yield WarningEvent(
                time=time,
                code="loss_not_a_number",
                title=f"the loss of step {step} is {mean}",
                detail="sd-scripts goes on; where the loss stays so, it saves a LoRA that is not a number either",
                fix="Stop the run if the loss does not come back. A lower learning_rate, or bf16 in place of fp16, "
                "usually mends it.",
            )


def learning_rate(rates: dict[str, float]) -> float | None:
    """The rate of the trained model among the tracker's `rates` by tag; None where none is told."""
    for tag in _RATES:
        if tag in rates:
            return rates[tag]
    return next((rate for tag, rate in rates.items() if "textencoder" not in tag), None)


def _scalars(record: bytes) -> Iterator[tuple[float, int, str, float]]:
    """The scalars of one event: its time, step, tag and value.

    Fields by number, as in TensorBoard's event.proto and summary.proto: an event's wall_time 1, step 2, summary 5; a
    summary's value 1; a value's tag 1, simple_value 2.
    """
    time, step, summaries = 0.0, 0, []
    for field, value in _fields(record):
        if field == 1 and isinstance(value, bytes) and len(value) == 8:
            (time,) = struct.unpack("<d", value)
        elif field == 2 and isinstance(value, int):
            step = value
        elif field == 5 and isinstance(value, bytes):
            summaries.append(value)
    for summary in summaries:
        for field, value in _fields(summary):
            if field != 1 or not isinstance(value, bytes):
                continue
            inner = dict(_fields(value))
            tag, number = inner.get(1), inner.get(2)
            if isinstance(tag, bytes) and isinstance(number, bytes) and len(number) == 4:
                yield time, step, tag.decode("utf-8", "replace").strip(), struct.unpack("<f", number)[0]


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protocol buffer: number, and an integer or the raw bytes. Ends where it makes no sense."""
    at, size = 0, len(message)
    while at < size:
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if kind == 2:
            length, at = _varint(message, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            return
        if at + length > size:
            return
        yield key >> 3, message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The integer that begins at `at`, seven bits a byte, the lowest first; and where it ends."""
    value = shift = 0
    while at < len(message):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    return value, at


def _crc_table() -> tuple[int, ...]:
    """CRC-32C by bytes: the Castagnoli polynomial, its bits reversed (RFC 3720, appendix B.4)."""
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_TABLE = _crc_table()


def masked_crc32c(data: bytes) -> int:
    """The checksum of records: CRC-32C, rotated and shifted so that sums of data with sums in it stay sound."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[crc & 0xFF ^ byte]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
