"""Who a process is, so that a recycled pid is never taken for it, and who else runs in its session."""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fluxgym_tui.base.errors import FluxgymError

_PROC = Path("/proc")
_DEAD_STATES = "ZXx"  # a zombie has ended, though nobody may ever reap it: many containers have no init


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, for good: the same pid later, after a reboot or in another container is somebody else.

    `start_ticks` is field 22 of /proc/PID/stat, in clock ticks since boot.
    """

    host: str
    boot_id: str
    pid: int
    start_ticks: int

    def to_json(self) -> dict[str, Any]:
        """The identity as the run directory's files carry it."""
        return {"host": self.host, "boot_id": self.boot_id, "pid": self.pid, "start_ticks": self.start_ticks}

    @classmethod
    def from_json(cls, data: Any) -> "Identity | None":
        """The identity that `to_json` wrote, or None where `data` is none."""
        try:
            return cls(str(data["host"]), str(data["boot_id"]), int(data["pid"]), int(data["start_ticks"]))
        except (KeyError, TypeError, ValueError):
            return None


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """What /proc/PID/stat says: state (a letter), group, session, start and CPU time used, both in clock ticks."""

    state: str
    group: int
    session: int
    start_ticks: int
    cpu_ticks: int


def read_stat(pid: int) -> ProcessStat | None:
    """The process table's line of `pid`, or None where there is no such process."""
    try:
        raw = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    # The name stands in brackets and may itself hold brackets and blanks: the fields begin after the last one.
    fields = raw[raw.rfind(b")") + 2 :].split()
    if len(fields) < 20:
        return None
    return ProcessStat(
        state=fields[0].decode("ascii", "replace"),
        group=int(fields[2]),
        session=int(fields[3]),
        start_ticks=int(fields[19]),
        cpu_ticks=int(fields[11]) + int(fields[12]),
    )


@cache  # it cannot change while this process lives
def boot_id() -> str:
    """The kernel's name for this boot.

    Raises:
        FluxgymError: there is no /proc as Linux has it.
    """
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError as error:
        raise FluxgymError(
            "runs need Linux: /proc/sys/kernel/random/boot_id cannot be read",
            hint="Train on Linux (WSL2 on Windows). Scanning and planning work elsewhere.",
        ) from error


def identify(pid: int | None = None) -> Identity | None:
    """The identity of `pid` (by default this process), or None where it does not live.

    Raises:
        FluxgymError: there is no /proc as Linux has it.
    """
    boot = boot_id()
    wanted = os.getpid() if pid is None else pid
    stat = read_stat(wanted)
    if stat is None or stat.state in _DEAD_STATES:
        return None
    return Identity(host=os.uname().nodename, boot_id=boot, pid=wanted, start_ticks=stat.start_ticks)


def is_alive(identity: Identity | None) -> bool:
    """Whether that very process runs here and now: host, boot, pid and start all match, and it is no zombie."""
    return identity is not None and identify(identity.pid) == identity


def session_members(leader: Identity) -> list[Identity]:
    """The living processes of the session that `leader` began, itself included where it lives.

    Empty where the session cannot be `leader`'s any more: another boot or host, or its pid has a new owner.
    """
    if (leader.host, leader.boot_id) != (os.uname().nodename, boot_id()):
        return []
    owner = read_stat(leader.pid)
    if owner is not None and owner.start_ticks != leader.start_ticks:
        return []
    members = []
    for entry in os.scandir(_PROC):
        if not entry.name.isdigit():
            continue
        stat = read_stat(int(entry.name))
        if stat is None or stat.session != leader.pid or stat.state in _DEAD_STATES:
            continue
        if stat.start_ticks >= leader.start_ticks:
            members.append(Identity(leader.host, leader.boot_id, int(entry.name), stat.start_ticks))
    return members


def cpu_seconds(pid: int) -> float | None:
    """CPU time that `pid` has used so far, user and system; None where it does not live."""
    stat = read_stat(pid)
    return None if stat is None else stat.cpu_ticks / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int | None:
    """Memory that `pid` holds resident; None where it does not live."""
    try:
        fields = (_PROC / str(pid) / "statm").read_bytes().split()
    except OSError:
        return None
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if len(fields) > 1 else None
