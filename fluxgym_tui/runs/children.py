"""What the files of one child process say: who runs it, how it ended."""

from dataclasses import dataclass

from fluxgym_tui.base.files import read_json
from fluxgym_tui.machine.processes import Identity, boot_id, is_alive
from fluxgym_tui.runs.directory import ChildFiles


@dataclass(frozen=True, slots=True)
class ChildStatus:
    """One look at a child. `exit_code` is minus the signal's number where a signal ended it.

    `claimed` is whether its process file exists, even one that a crash of the machine left unreadable; `started_ns` is
    that file's time on the run's own file system; `oom_kills` what the kernel had counted then.
    """

    claimed: bool = False
    wrapper: Identity | None = None
    child: Identity | None = None
    exit_code: int | None = None
    started_ns: int | None = None
    oom_kills: int | None = None

    @property
    def started(self) -> bool:
        """Whether the child was ever started."""
        return self.claimed or self.exit_code is not None

    @property
    def over(self) -> bool:
        """Whether its exit code is known."""
        return self.exit_code is not None

    @property
    def alive(self) -> bool:
        """Whether the child's own process runs here and now."""
        return is_alive(self.child)

    @property
    def lost(self) -> bool:
        """Whether it was started, runs no more, and nobody is left to write its exit code."""
        return self.started and not self.over and not is_alive(self.child) and not is_alive(self.wrapper)

    @property
    def from_another_boot(self) -> bool:
        """Whether the machine was started anew (or is another) since the child was."""
        return self.child is not None and self.child.boot_id != boot_id()


def look(files: ChildFiles) -> ChildStatus:
    """Read a child's files. The exit code is read last, after who is alive can be asked: see `settled`."""
    wrapper = child = None
    started_ns = kills = None
    claimed = files.process.exists()
    try:
        data = read_json(files.process)
        started_ns = files.process.stat().st_mtime_ns
        wrapper, child = Identity.from_json(data.get("wrapper")), Identity.from_json(data.get("child"))
        kills = data.get("oom_kills")
    except (OSError, ValueError, AttributeError):
        pass
    return ChildStatus(
        claimed, wrapper, child, _exit_code(files), started_ns, kills if isinstance(kills, int) else None
    )


def settled(files: ChildFiles) -> ChildStatus:
    """`look`, and again where the child seems lost: its wrapper may have written the code between the two questions."""
    status = look(files)
    return look(files) if status.lost else status


def _exit_code(files: ChildFiles) -> int | None:
    try:
        return int(files.exit.read_bytes())
    except (OSError, ValueError):
        return None
