"""The container's scripts, run here without an engine: in folders of their own, with a stand-in for the program."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
_ROOT_USER = os.geteuid() == 0


@pytest.fixture
def bin_folder(tmp_path: Path) -> Path:
    """The commands of the image; `fluxgym-tui` is a stand-in that notes how it was called, as whom, and with what."""
    folder = tmp_path / "bin"
    folder.mkdir()
    tmp_path.chmod(0o755)
    for above in tmp_path.parents:
        if above.name.startswith("pytest-"):
            above.chmod(0o755)  # others than its owner have to come through
    for name in ("as-user", "app"):
        shutil.copy(DOCKER / name, folder / name)
    program = folder / "program"
    program.write_text(
        '#!/bin/sh\nprintf "%s|%s|%s|%s|%s|" "$*" "$(id -u):$(id -g)" "$HOME" "$HF_HOME" "${HF_TOKEN-unset}"\n'
        '[ -t 0 ] && printf tty; [ -n "$TMUX" ] && printf tmux; echo\n',
        encoding="utf-8",
    )
    wrapper = folder / "fluxgym-tui"
    wrapper.write_text(f'#!/bin/sh\nexec "{folder}/as-user" "{program}" "$@"\n', encoding="utf-8")
    for path in folder.iterdir():
        path.chmod(0o755)
    return folder


def environment(tmp_path: Path, bin_folder: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in {"HF_TOKEN", "HF_HOME", "TMUX"}}
    return {**kept, "BIN": str(bin_folder), "FLUXGYM_HOME": str(tmp_path / "workspace"), "PUID": "12345"} | more


def output_of(words: list[Any], env: dict[str, str]) -> str:
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_commands_run_as_the_users_with_a_home_that_lasts(tmp_path: Path, bin_folder: Path) -> None:
    env = environment(tmp_path, bin_folder, PGID="23456", HF_TOKEN="")
    said = output_of([DOCKER / "entrypoint.sh", bin_folder / "program", "a b", "c"], env)
    who = "12345:23456" if _ROOT_USER else f"{os.geteuid()}:{os.getegid()}"
    workspace = tmp_path / "workspace"
    assert said.split("|")[:5] == ["a b c", who, f"{workspace}/.home", f"{workspace}/huggingface", "unset"]
    folders = sorted(path.name for path in workspace.iterdir())
    assert folders == [".home", "configs", "datasets", "huggingface", "models", "outputs"]
    owners = {f"{path.stat().st_uid}:{path.stat().st_gid}" for path in (workspace, *workspace.iterdir())}
    assert owners == {who}


def test_a_token_reaches_the_program_by_its_environment(tmp_path: Path, bin_folder: Path) -> None:
    env = environment(tmp_path, bin_folder, HF_TOKEN="hf_secret", PUID="0")
    assert output_of([bin_folder / "fluxgym-tui", "whoami"], env).split("|")[4] == "hf_secret"


def test_files_that_were_there_keep_their_owner(tmp_path: Path, bin_folder: Path) -> None:
    model = tmp_path / "workspace" / "models" / "unet" / "flux.safetensors"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"x")
    before = model.stat().st_uid
    output_of([DOCKER / "entrypoint.sh", "true"], environment(tmp_path, bin_folder))
    assert model.stat().st_uid == before


def test_stopping_the_container_stops_runs_first(tmp_path: Path, bin_folder: Path) -> None:
    noted = tmp_path / "noted"
    noted.mkdir(mode=0o777)
    noted.chmod(0o777)
    program = bin_folder / "program"
    program.write_text(f'#!/bin/sh\necho "$*" > "{noted}/calls"\n', encoding="utf-8")
    process = subprocess.Popen(
        [DOCKER / "entrypoint.sh"], env=environment(tmp_path, bin_folder), stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            assert process.stdout is not None
            assert "docker exec -it" in process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()
    assert (noted / "calls").read_text(encoding="utf-8") == "stop --all --wait 150\n"


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_the_build_puts_the_commands_where_they_are_found(tmp_path: Path) -> None:
    """build.sh as the Dockerfile runs it; a stand-in for install.sh makes the environment."""
    source, target = tmp_path / "source", tmp_path / "bin"
    shutil.copytree(DOCKER, source / "docker")
    (source / "fluxgym_tui").mkdir()
    executable(
        source / "scripts" / "install.sh",
        f'echo "$*" > "{tmp_path}/installed"\nmkdir -p "$2/bin"\nln -s {sys.executable} "$2/bin/python"\n'
        f'printf \'#!/bin/sh\\necho "$*|$HOME" >> "{tmp_path}/calls"\\n\' > "$2/bin/fluxgym-tui"\n'
        'chmod +x "$2/bin/fluxgym-tui"',
    )
    env = {**os.environ, "EXTRAS": "train,caption", "KOHYA": "1", "KOHYA_TORCH": "cu128", "PUID": "0"}
    output_of([source / "docker" / "build.sh", source, target], env)
    assert (tmp_path / "installed").read_text(encoding="utf-8") == f"python3 {source}/.venv train,caption\n"
    output_of([target / "fluxgym-tui", "runs"], {**env, "FLUXGYM_HOME": str(tmp_path / "volume")})
    calls = [line.partition("|") for line in (tmp_path / "calls").read_text(encoding="utf-8").splitlines()]
    assert [words for words, _, _ in calls] == [
        f"setup kohya --workspace {source} --torch cu128", "--version", "runs"
    ]  # fmt: skip
    assert calls[-1][2] == f"{tmp_path}/volume/.home"
    assert all(os.access(target / name, os.X_OK) for name in ("app", "as-user"))


def test_a_foreign_image_gets_the_program_installed_once_and_whole(tmp_path: Path) -> None:
    """rental.sh where nothing is installed; a stand-in for Python notes what pip is asked for, and breaks off once."""
    volume = tmp_path / "volume"
    volume.mkdir()
    pip = executable(
        tmp_path / "pip",
        f'echo "$*" >> "{tmp_path}/pip-calls"\nbin=$(dirname "$0")\n'
        f'printf \'#!/bin/sh\\necho "program $*|$HF_HOME"\\n\' > "$bin/fluxgym-tui"\nchmod +x "$bin/fluxgym-tui"\n'
        f'[ -e "{tmp_path}/broken" ] || {{ touch "{tmp_path}/broken"; exit 1; }}',
    )
    python = executable(
        tmp_path / "python", f'for last; do :; done\nmkdir -p "$last/bin"\ncp "{pip}" "$last/bin/python"'
    )
    kept = {name: value for name, value in os.environ.items() if name not in {"FLUXGYM_HOME", "HF_HOME", "PUBLIC_KEY"}}
    env = {
        **kept, "ROOT": str(tmp_path / "machine"), "WORKSPACE": str(volume), "PYTHON": str(python),
        "PATH": "/usr/bin:/bin",
    }  # fmt: skip
    script: list[str | Path] = [DOCKER / "rental.sh", "--no-wait"]
    assert subprocess.run(script, env=env, capture_output=True, check=False, timeout=60).returncode != 0
    for _ in range(2):
        output_of(script, env)
    calls = (tmp_path / "pip-calls").read_text(encoding="utf-8").splitlines()
    assert len(calls) == 2  # the one that broke off, and the one that did not
    assert calls[1].endswith(f"{ROOT}[train,caption,optimizers]")
    profile = tmp_path / "machine" / "etc/profile.d/fluxgym-tui.sh"
    said = output_of(["bash", "-c", f". '{profile}'; fluxgym-tui runs"], {"PATH": "/usr/bin:/bin", "HOME": "/"})
    assert said == f"program runs|{volume}/huggingface\n"


def test_a_rental_with_our_image_gets_commands_in_every_shell(tmp_path: Path, bin_folder: Path) -> None:
    home = tmp_path / "machine"
    env = environment(
        tmp_path,
        bin_folder,
        ROOT=str(home),
        WORKSPACE=str(tmp_path / "volume"),
        PUBLIC_KEY="ssh-ed25519 AAAA me@home",
        HF_TOKEN="hf_secret",
        PATH=f"{bin_folder}:{os.environ['PATH']}",
    )
    del env["FLUXGYM_HOME"]
    (tmp_path / "volume").mkdir()
    for _ in range(2):  # a pod is started again and again
        assert "type  app" in output_of([DOCKER / "rental.sh", "--no-wait"], env)
    assert (home / "root/.ssh/authorized_keys").read_text(encoding="utf-8") == "ssh-ed25519 AAAA me@home\n"
    assert (home / "root/.bashrc").read_text(encoding="utf-8").count("fluxgym-tui.sh") == 1
    profile = home / "etc/profile.d/fluxgym-tui.sh"
    login = f". '{profile}'; echo \"$FLUXGYM_HOME $HF_HOME\"; command -v app"
    said = output_of(["bash", "-c", login], {"PATH": "/usr/bin:/bin", "HOME": str(home)})
    volume = tmp_path / "volume"
    assert said.splitlines() == [f"{volume} {volume}/huggingface", str(bin_folder / "app")]
    assert not any(b"hf_secret" in path.read_bytes() for path in home.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("index", "asked"),
    [("https://example.org/cu126", ["--index-url https://example.org/cu126"]), ("pypi", ["", ""])],
)
def test_the_pytorch_that_was_named_comes_or_nothing(tmp_path: Path, index: str, asked: list[str]) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    # No torch here yet; pip can reach nothing but the usual index.
    python.write_text(
        f'#!/bin/sh\n[ "$1" = -c ] && exit 1\necho "$*" >> "{tmp_path}/calls"\n'
        'case "$*" in *--index-url*) exit 1 ;; esac\n',
        encoding="utf-8",
    )
    python.chmod(0o755)
    env = {**os.environ, "TORCH_INDEX": index}
    script: list[str | Path] = [ROOT / "scripts" / "install.sh", sys.executable, tmp_path / "venv", "train"]
    done = subprocess.run(script, env=env, capture_output=True, check=False, timeout=60)
    calls = (tmp_path / "calls").read_text(encoding="utf-8").splitlines()
    assert [" ".join(re.findall(r"--index-url \S+", call)) for call in calls] == asked
    assert (done.returncode == 0) == (index == "pypi")


def test_the_scripts_are_executable_and_parse() -> None:
    for path in sorted(DOCKER.iterdir()):
        assert os.access(path, os.X_OK), path.name
        assert subprocess.run(["bash", "-n", path], check=False).returncode == 0


def test_the_compose_file_asks_for_the_card_and_one_volume() -> None:
    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]["fluxgym-tui"]
    assert service["deploy"]["resources"]["reservations"]["devices"] == [
        {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    ]
    assert [volume.rpartition(":")[2] for volume in service["volumes"]] == ["/workspace"]
    assert {"PUID", "PGID", "HF_TOKEN"} <= service["environment"].keys()
    assert "ports" not in service


def test_the_dockerfile_names_files_and_arguments_that_there_are() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    for word in text.replace('"', " ").replace(",", " ").split():
        if word.startswith("/opt/fluxgym/docker/"):
            assert (DOCKER / Path(word).name).is_file(), word
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    declared = {line.split()[1].partition("=")[0] for line in text.splitlines() if line.startswith("ARG ")}
    assert compose["services"]["fluxgym-tui"]["build"]["args"].keys() <= declared
