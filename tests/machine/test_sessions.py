"""Whether a logout ends what was started, decided from facts and read from drawn-up systems."""

import itertools
from pathlib import Path

import pytest

from fluxgym_tui.machine.sessions import Detachment, SessionFacts, decide, detachment, session_facts

PROGRAM = Path("/usr/bin/systemd-run")


def _facts(**changes: object) -> SessionFacts:
    values = {
        "user": "ada",
        "systemd": True,
        "kill_user_processes": True,
        "session": True,
        "linger": True,
        "systemd_run": PROGRAM,
    }
    return SessionFacts(**{**values, **changes})  # type: ignore[arg-type]


def test_where_a_logout_kills_a_scope_of_the_users_own_systemd_is_taken() -> None:
    way = decide(_facts())
    assert way.prefix[:3] == (str(PROGRAM), "--user", "--scope")
    assert way.prefix[-1] == "--"
    assert way.finding is None


def test_a_scope_that_does_not_linger_is_taken_and_told() -> None:
    way = decide(_facts(linger=False))
    assert way.prefix
    assert way.finding is not None
    assert "lingering is off for ada" in str(way.finding.detail)
    assert "enable-linger" in str(way.finding.fix)


def test_where_there_is_no_way_out_it_is_told() -> None:
    way = decide(_facts(systemd_run=None))
    assert way.prefix == ()
    assert way.finding is not None
    assert way.finding.code == "logout_ends_run"


@pytest.mark.parametrize("safe", ["systemd", "kill_user_processes", "session"])
@pytest.mark.parametrize(("linger", "program"), list(itertools.product((True, False), (PROGRAM, None))))
def test_elsewhere_nothing_is_needed(safe: str, linger: bool, program: Path | None) -> None:
    assert decide(_facts(**{safe: False, "linger": linger, "systemd_run": program})) == Detachment()


def _system(root: Path, *, conf: dict[str, str], cgroup: str = "0::/user.slice/session-3.scope\n") -> Path:
    files = {"proc/self/cgroup": cgroup, "proc/1/comm": "systemd\n", **conf}
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("conf", "kills"),
    [
        ({}, False),
        ({"etc/systemd/logind.conf": "[Login]\n#KillUserProcesses=yes\n"}, False),
        ({"etc/systemd/logind.conf": "[Login]\nKillUserProcesses=yes\nKillExcludeUsers=\n"}, True),
        ({"usr/lib/systemd/logind.conf": "[Login]\nKillUserProcesses = Yes\nKillExcludeUsers=nobody\n"}, True),
        (
            {
                "etc/systemd/logind.conf": "[Login]\nKillUserProcesses=no\nKillExcludeUsers=\n",
                "etc/systemd/logind.conf.d/50-site.conf": "[Login]\nKillUserProcesses=yes\n",
            },
            True,
        ),
        (
            {
                "usr/lib/systemd/logind.conf.d/50-site.conf": "[Login]\nKillUserProcesses=yes\nKillExcludeUsers=\n",
                "etc/systemd/logind.conf.d/50-site.conf": "# masked\n",
            },
            False,
        ),
        (
            {
                "etc/systemd/logind.conf": (
                    "[Login]\nKillUserProcesses=yes\nKillExcludeUsers=\nKillOnlyUsers=somebody-else\n"
                )
            },
            False,
        ),
    ],
)
def test_logind_is_read_as_it_reads_itself(tmp_path: Path, conf: dict[str, str], kills: bool) -> None:
    facts = session_facts(_system(tmp_path, conf=conf), {"PATH": ""})
    assert facts.kill_user_processes is kills
    assert (facts.systemd, facts.session, facts.systemd_run) == (True, True, None)


def test_the_users_manager_and_lingering_are_found(tmp_path: Path) -> None:
    conf = {"bin/systemd-run": "", "run/me/bus": ""}
    root = _system(tmp_path, conf=conf, cgroup="0::/user.slice/user@0.service/app.slice/a.scope\n")
    (root / "bin/systemd-run").chmod(0o755)
    facts = session_facts(root, {"PATH": str(root / "bin"), "XDG_RUNTIME_DIR": str(root / "run/me")})
    assert facts.systemd_run == root / "bin/systemd-run"
    assert not facts.session
    assert not facts.linger
    linger = root / "var/lib/systemd/linger" / facts.user
    linger.parent.mkdir(parents=True)
    linger.touch()
    assert session_facts(root, {"PATH": ""}).linger


def test_here_and_now_there_is_an_answer() -> None:
    assert isinstance(detachment(), Detachment)
