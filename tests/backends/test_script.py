"""train.sh: what is written is read back as it was, what is edited is read, and what only a shell can do is refused."""

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxgym_tui.backends.script import ScriptCommand, read_script, script_text
from fluxgym_tui.base.errors import FluxgymError

_WORD = st.text(alphabet=string.printable.replace("\r", "").replace("\x0b", "").replace("\x0c", ""), max_size=20)


@given(st.lists(st.one_of(_WORD, _WORD.map(lambda text: f"--{text}")), max_size=6), _WORD)
def test_what_is_written_is_read_back(words: list[str], value: str) -> None:
    argv = ("/bin/program", *words)
    text = script_text([(argv, {"NAME": value}, Path("/a folder/x"))])
    (found,) = read_script(text, origin="train.sh")
    assert (found.argv, found.env, found.cwd) == (argv, {"NAME": value}, Path("/a folder/x"))


def test_what_people_write_is_read() -> None:
    text = """\
#!/bin/sh
set -eu
cd /first   # where it's all
export A=1 B='two words'
C=3 exec python -m trainer \\
  --name "a b" \\
  --prompt 'it costs $5; (really)'

cd "/second"
python other
"""
    assert read_script(text, origin="x") == [
        ScriptCommand(
            argv=("python", "-m", "trainer", "--name", "a b", "--prompt", "it costs $5; (really)"),
            env={"A": "1", "B": "two words", "C": "3"},
            cwd=Path("/first"),
            line=5,
        ),
        ScriptCommand(argv=("python", "other"), env={"A": "1", "B": "two words"}, cwd=Path("/second"), line=10),
    ]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("python a | tee log", r"\|"),
        ("python a && python b", "&"),
        ("python a > log", ">"),
        ('python "$HOME/a"', r"\$"),
        ("python ~/a", "~"),
        ("python a*.py", r"\*"),
        ("python `which x`", "`"),
        ("if true", "if"),
        ("export A", "NAME=VALUE"),
        ("python 'open", "does not end"),
    ],
)
def test_what_only_a_shell_does_is_refused_with_its_line(line: str, named: str) -> None:
    with pytest.raises(FluxgymError, match=rf"train\.sh, line 2: .*{named}") as caught:
        read_script(f"#!/bin/sh\n{line}\n", origin="train.sh")
    assert caught.value.hint
