"""Processes, memory, cores, disks and providers, from real and drawn-up systems."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fluxgym_tui.machine.cpu import thread_count, usable_cores
from fluxgym_tui.machine.disk import disk_facts
from fluxgym_tui.machine.memory import memory_facts, oom_kills
from fluxgym_tui.machine.processes import (
    Identity,
    cpu_seconds,
    identify,
    is_alive,
    read_stat,
    resident_bytes,
    session_members,
)
from fluxgym_tui.machine.provider import Provider, provider

MEMINFO = "MemTotal:       16000 kB\nMemFree:         1000 kB\nMemAvailable:    8000 kB\nHugePages_Total:  0\n"


def write(root: Path, files: dict[str, str]) -> Path:
    """Write `files` (path below `root`: text) and return `root`."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def test_this_process_is_itself_and_nobody_else() -> None:
    me = identify()
    assert me is not None
    assert me.pid == os.getpid()
    assert is_alive(me)
    assert Identity.from_json(me.to_json()) == me
    assert Identity.from_json({"pid": 1}) is None
    for other in (
        replace(me, start_ticks=me.start_ticks + 1),
        replace(me, boot_id="before"),
        replace(me, host="elsewhere"),
    ):
        assert not is_alive(other)
    assert not is_alive(None)
    assert (cpu_seconds(me.pid) or 0) > 0
    assert (resident_bytes(me.pid) or 0) > 1_000_000


def test_a_zombie_is_dead_and_a_name_with_brackets_is_read_right(tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 (b"
    program.symlink_to(sys.executable)
    process = subprocess.Popen([program, "-S", "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    identity = identify(process.pid)
    assert identity is not None
    stat = read_stat(process.pid)
    assert stat is not None
    assert (stat.group, stat.session) == (process.pid, process.pid)
    assert session_members(identity) == [identity]
    assert session_members(replace(identity, start_ticks=identity.start_ticks - 1)) == []
    assert session_members(replace(identity, boot_id="before")) == []
    assert process.stdin is not None
    process.stdin.close()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, and not reaped
    assert read_stat(process.pid) is not None
    assert not is_alive(identity)
    assert session_members(identity) == []
    process.wait()
    assert read_stat(process.pid) is None
    assert (cpu_seconds(process.pid), resident_bytes(process.pid)) == (None, None)


def test_memory_is_the_machines_where_nothing_limits_it(tmp_path: Path) -> None:
    root = write(tmp_path, {"proc/meminfo": MEMINFO})
    facts = memory_facts(root)
    assert facts is not None
    assert (facts.total, facts.available, facts.limited_by) == (16_384_000, 8_192_000, "machine")
    assert oom_kills(root) is None
    assert memory_facts(tmp_path / "nothing") is None


def test_memory_is_the_containers_under_control_groups_of_version_2(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/meminfo": MEMINFO,
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/cgroup.controllers": "cpu memory",
            "sys/fs/cgroup/memory.max": "4096000\n",
            "sys/fs/cgroup/memory.current": "3000000\n",
            "sys/fs/cgroup/memory.stat": "anon 1\ninactive_file 500000\n",
            "sys/fs/cgroup/memory.events": "low 0\noom 4\noom_kill 3\n",
            "sys/fs/cgroup/cpu.max": "150000 100000\n",
        },
    )
    facts = memory_facts(root)
    assert facts is not None
    assert (facts.total, facts.available, facts.limited_by) == (4_096_000, 1_596_000, "cgroup")
    assert oom_kills(root) == 3
    assert usable_cores(root) == min(1.5, len(os.sched_getaffinity(0)))
    assert thread_count(root) == min(2, len(os.sched_getaffinity(0)))


def test_memory_is_the_containers_under_control_groups_of_version_1(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/meminfo": MEMINFO,
            "proc/self/cgroup": "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "4096000\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "4000000\n",
            "sys/fs/cgroup/memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        },
    )
    facts = memory_facts(root)
    assert facts is not None
    assert (facts.total, facts.available, facts.limited_by) == (4_096_000, 96_000, "cgroup")
    assert oom_kills(root) == 1
    assert usable_cores(root) == len(os.sched_getaffinity(0))
    write(root, {"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"})
    unlimited = memory_facts(root)
    assert unlimited is not None
    assert unlimited.limited_by == "machine"


def test_a_disk_is_asked_where_its_folder_is_not_there_yet(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    inner = tmp_path / "a b"
    inner.mkdir()
    escaped = str(inner).replace(" ", "\\040")
    mounts.write_text(f"overlay / overlay rw 0 0\n/dev/x {escaped} ext4 rw 0 0\n", encoding="utf-8")
    facts = disk_facts(inner / "models/deep", mounts=mounts)
    assert (facts.mount, facts.kind, facts.lasting) == (inner, "ext4", True)
    assert 0 < facts.free <= facts.total
    outer = disk_facts(tmp_path, mounts=mounts)
    assert (outer.kind, outer.lasting) == ("overlay", False)
    assert disk_facts(tmp_path, mounts=tmp_path / "none").kind == "unknown"
    assert disk_facts(tmp_path).kind != "unknown"


@pytest.mark.parametrize(
    ("environment", "files", "expected"),
    [
        ({"RUNPOD_POD_ID": "p1"}, {}, Provider("runpod", "p1", Path("/workspace"))),
        ({}, {"etc/rp_environment": 'export RUNPOD_POD_ID="p2"\n'}, Provider("runpod", "p2", Path("/workspace"))),
        ({}, {"proc/1/environ": "A=1\0VAST_CONTAINERLABEL=C.77\0"}, Provider("vast", "77")),
        ({"CONTAINER_ID": "9"}, {"etc/environment": "CONTAINER_API_KEY=x\n# no\n"}, Provider("vast", "9")),
        ({"HOME": "/root"}, {}, None),
    ],
)
def test_a_provider_is_known_by_its_variables(
    tmp_path: Path, environment: dict[str, str], files: dict[str, str], expected: Provider | None
) -> None:
    assert provider(environment, write(tmp_path, files)) == expected
