"""Whether the end of a login would end what it started, and how to start something that outlives it."""

import os
import pwd
import shutil
from dataclasses import dataclass
from pathlib import Path

from fluxgym_tui.base.findings import Finding, Severity

_LINGER_HINT = "Run `loginctl enable-linger` once, or start the training from a machine that you stay logged in to."


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFacts:
    """What decides whether processes survive a logout.

    `kill_user_processes` is logind's setting as it applies to `user`; `session` whether we run inside a login session's
    scope or under the user's own systemd; `linger` whether that stays when the last login ends; `systemd_run` the
    program, where a user manager answers.
    """

    user: str
    systemd: bool
    kill_user_processes: bool
    session: bool
    linger: bool
    systemd_run: Path | None


@dataclass(frozen=True, slots=True)
class Detachment:
    """How to start what must survive: put `prefix` before its command. `finding` says what may still end it."""

    prefix: tuple[str, ...] = ()
    finding: Finding | None = None


def decide(facts: SessionFacts) -> Detachment:
    """The way to start a process that survives the login, from facts alone.

    A session of its own (setsid) survives everywhere but under systemd with KillUserProcesses=yes, which ends whatever
    the login's scope holds. There a scope of the user's own systemd is the way out, if that lingers after the logout.
    """
    if not (facts.systemd and facts.session and facts.kill_user_processes):
        return Detachment()
    if facts.systemd_run is None:
        return Detachment(finding=_finding("systemd-run is missing or no user manager answers"))
    prefix = (str(facts.systemd_run), "--user", "--scope", "--quiet", "--collect", "--")
    if not facts.linger:
        return Detachment(prefix, _finding(f"lingering is off for {facts.user}"))
    return Detachment(prefix)


def detachment() -> Detachment:
    """`decide` for this process, here and now."""
    return decide(session_facts())


def session_facts(root: Path = Path("/"), environment: dict[str, str] | None = None) -> SessionFacts:
    """Read the facts below `root`: logind's configuration, our control group, who lingers."""
    env = dict(os.environ) if environment is None else environment
    user = _user_name()
    groups = _text(root / "proc/self/cgroup")
    runtime = Path(env.get("XDG_RUNTIME_DIR") or root / f"run/user/{os.getuid()}")
    program = shutil.which("systemd-run", path=env.get("PATH"))
    manager = (runtime / "systemd/private").exists() or (runtime / "bus").exists()
    return SessionFacts(
        user=user,
        systemd=_text(root / "proc/1/comm").strip() == "systemd",
        kill_user_processes=_kills(root, user),
        session="/session-" in groups,
        linger=(root / "var/lib/systemd/linger" / user).exists(),
        systemd_run=Path(program) if program is not None and manager else None,
    )


def _finding(cause: str) -> Finding:
    return Finding(
        code="logout_ends_run",
        severity=Severity.WARNING,
        title="This machine may end the training when you log out",
        detail=f"systemd-logind is set to KillUserProcesses=yes, and {cause}.",
        fix=_LINGER_HINT,
    )


def _kills(root: Path, user: str) -> bool:
    """logind's KillUserProcesses as it applies to `user`. systemd's own default is no, and root is excluded."""
    settings = {"KillUserProcesses": "no", "KillOnlyUsers": "", "KillExcludeUsers": "root"}
    for file in _logind_files(root):
        for line in _text(file).splitlines():
            name, equals, value = line.partition("=")
            if equals and name.strip() in settings:
                settings[name.strip()] = value.strip()
    if settings["KillUserProcesses"].lower() not in ("yes", "true", "on", "1", "y", "t"):
        return False
    if user in settings["KillExcludeUsers"].split():
        return False
    only = settings["KillOnlyUsers"].split()
    return not only or user in only


def _logind_files(root: Path) -> list[Path]:
    """logind.conf and its drop-ins in the order in which later ones win."""
    folders = [root / name / "systemd" for name in ("usr/lib", "run", "etc")]
    main = next((folder / "logind.conf" for folder in reversed(folders) if (folder / "logind.conf").is_file()), None)
    drops: dict[str, Path] = {}
    for folder in folders:  # one of the same name in /etc hides the others
        for file in sorted((folder / "logind.conf.d").glob("*.conf")):
            drops[file.name] = file
    return ([] if main is None else [main]) + [drops[name] for name in sorted(drops)]


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # containers run under numbers that have no name
        return str(os.getuid())


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
