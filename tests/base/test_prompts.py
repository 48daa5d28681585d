"""Prompt lines, as sd-scripts reads them for FLUX."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxgym_tui.base.prompts import PromptProblem, SamplePrompt, parse_prompt, prompt_lines


def test_every_flag() -> None:
    prompt = parse_prompt("a cat, 1 -- 2 --w 770 --H 512 --d 9007199254740993 --s 8 --g 4.5 --l 2 --n blurry, dark\n")
    assert prompt == SamplePrompt(
        text="a cat, 1",
        width=770,
        height=512,
        steps=8,
        guidance_scale=4.5,
        cfg_scale=2.0,
        seed=9007199254740993,
        negative="blurry, dark",
        problems=(PromptProblem("unknown_flag", "-- 2"),),
    )
    assert prompt.size == (768, 512)


def test_a_bare_prompt_has_the_defaults() -> None:
    assert parse_prompt("  a dog  ") == SamplePrompt(text="a dog", width=512, height=512, steps=20, guidance_scale=3.5)


@pytest.mark.parametrize(
    ("part", "code"),
    [
        ("--ar 16:9", "unknown_flag"),
        ("--w=512", "unknown_flag"),
        ("--ss euler_a", "no_effect"),
        ("--fs 3.1", "no_effect"),
        ("--d -1", "unreadable_value"),
        ("--w", "unreadable_value"),
        ("--g 1.2.3", "unreadable_value"),
        ("--n", "unreadable_value"),
        ("--s 20 in the rain", "trailing_text"),
        ("--g 3,5", "trailing_text"),
    ],
)
def test_what_does_not_do_what_it_says_is_named(part: str, code: str) -> None:
    assert [(problem.code, problem.part) for problem in parse_prompt(f"a cat {part}").problems] == [(code, part)]


def test_limits_of_steps_and_sides() -> None:
    assert parse_prompt("x --s 0").steps == 1
    assert parse_prompt("x --s 5000").steps == 1000
    assert parse_prompt("x --w 10 --h 79").size == (64, 64)


def test_the_lines_of_a_file() -> None:
    assert prompt_lines("# mine\n\n a cat --w 64 \r\n  \n#b\ndog") == ["a cat --w 64", "dog"]


@given(st.text())
def test_any_line_is_read(line: str) -> None:
    prompt = parse_prompt(line)
    assert 1 <= prompt.steps <= 1000
    assert all(side % 16 == 0 and side >= 64 for side in prompt.size)
