"""Text that is safe on a terminal, and plain words for sizes and times."""

import re

# C0 and C1 controls, DEL, line separators, and the marks that reorder or hide text (bidi, BOM, zero width).
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")

# What `str.splitlines` breaks at.
_BREAKS = re.compile("[\n-\r\x1c-\x1e\x85\u2028\u2029]")


def _visible(match: re.Match[str]) -> str:
    code = ord(match.group())
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: a byte of a name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def terminal_safe(text: str, *, keep: str = "") -> str:
    """`text` with every character that could steer a terminal written out as an escape (`\\x1b`).

    Characters in `keep` (a newline, say) stay. Undecodable bytes of file names come out as `\\xNN`.
    """
    if not keep:
        return _UNSAFE.sub(_visible, text)
    return _UNSAFE.sub(lambda match: match.group() if match.group() in keep else _visible(match), text)


def one_line(text: str) -> str:
    """`text` with every line break written out as an escape: a file name with one must not begin a line of ours."""
    return _BREAKS.sub(_visible, text)


def human_size(size_bytes: float) -> str:
    """A size in the decimal units that model hosts show: `812 B`, `9.4 MB`, `23.8 GB`."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 999.5 or unit == "TB":
            return f"{size:.0f} {unit}" if unit == "B" or size >= 99.5 else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("unreachable")


def human_time(seconds: float) -> str:
    """A duration as people read it: `4.2s`, `1m 05s`, `2h 07m`, `3d 04h`."""
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600:02d}h"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 picture`, `2 pictures`, `1,200 steps`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def transfer_words(done: int, total: int | None, *, rate: float | None = None, left_s: float | None = None) -> str:
    """Bytes on their way: `1.2 GB of 23.8 GB (5%) · 98.1 MB/s · 3m 50s left`. What is not known is left out."""
    words = human_size(done)
    if total:
        words += f" of {human_size(total)} ({done * 100 // total}%)"
    if rate is not None:
        words += f" · {human_size(rate)}/s"
    if left_s is not None and total and done < total:
        words += f" · {human_time(left_s)} left"
    return words
