"""Sample prompts: the lines of `sample_prompts.txt`, read as sd-scripts reads them for FLUX."""

import re
from dataclasses import dataclass
from typing import Literal

SIDE_STEP_PX = 16
SMALLEST_SIDE_PX = 64
MOST_STEPS = 1000

ProblemCode = Literal["unknown_flag", "unreadable_value", "no_effect", "trailing_text"]

_WHOLE = re.compile(r"\d+")
_DECIMAL = re.compile(r"[\d.]+")
_NUMBERS = {"w": _WHOLE, "h": _WHOLE, "d": _WHOLE, "s": _WHOLE, "g": _DECIMAL, "l": _DECIMAL}
# sd-scripts reads these too, for other models or ControlNet; its FLUX sampling never looks at them.
_OF_OTHER_MODELS = frozenset({"ss", "cn", "ctr", "rcfg", "fs"})


@dataclass(frozen=True, slots=True)
class PromptProblem:
    """A part of a prompt line that does not do what it says; `part` is that part, as `--ar 16:9`."""

    code: ProblemCode
    part: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplePrompt:
    """One prompt: its text without flags, and what the flags say; defaults are sd-scripts' for FLUX.

    `guidance_scale` is what FLUX.1-dev is told (`--g`); `cfg_scale` (`--l`) above or below 1 runs the model twice,
    and only then `negative` is used. `seed` None means a new one each time.
    """

    text: str
    width: int = 512
    height: int = 512
    steps: int = 20
    guidance_scale: float = 3.5
    cfg_scale: float = 1.0
    seed: int | None = None
    negative: str | None = None
    problems: tuple[PromptProblem, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the picture that is made: sides on multiples of 16, at least 64."""
        return _side(self.width), _side(self.height)


def parse_prompt(line: str) -> SamplePrompt:
    """The prompt on one line: `a cat --w 768 --h 512 --d 42 --s 20 --g 3.5 --l 1 --n blurry`.

    Nothing is refused: sd-scripts goes on without what it cannot read, and `problems` lists just that.
    """
    text, *parts = line.strip().split(" --")
    numbers: dict[str, float] = {}
    negative: str | None = None
    problems: list[PromptProblem] = []
    for part in parts:
        name, _, value = part.partition(" ")
        flag = name.lower()
        if flag in _NUMBERS:
            number, code = _number(value, _NUMBERS[flag])
            if number is not None:
                numbers[flag] = number
            if code is not None:
                problems.append(PromptProblem(code, f"--{part}"))
        elif flag == "n":
            negative = value or negative
            if not value:
                problems.append(PromptProblem("unreadable_value", f"--{part}"))
        else:
            problems.append(PromptProblem("no_effect" if flag in _OF_OTHER_MODELS else "unknown_flag", f"--{part}"))
    return SamplePrompt(
        text=text,
        width=int(numbers.get("w", 512)),
        height=int(numbers.get("h", 512)),
        steps=max(1, min(MOST_STEPS, int(numbers.get("s", 20)))),
        guidance_scale=numbers.get("g", 3.5),
        cfg_scale=numbers.get("l", 1.0),
        seed=int(numbers["d"]) if "d" in numbers else None,
        negative=negative,
        problems=tuple(problems),
    )


def prompt_lines(text: str) -> list[str]:
    """The prompts in the text of a `sample_prompts.txt`: its lines without empty ones and those that begin with #."""
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def _number(value: str, pattern: re.Pattern[str]) -> tuple[float | None, ProblemCode | None]:
    """The number that `value` begins with, and what is wrong with it or with what follows it."""
    match = pattern.match(value)
    if match is None:
        return None, "unreadable_value"
    try:
        # A seed is exact only as an int: floats lose whole numbers above 2**53.
        number = int(match.group()) if pattern is _WHOLE else float(match.group())
    except ValueError:
        return None, "unreadable_value"
    return number, "trailing_text" if value[match.end() :].strip() else None


def _side(pixels: int) -> int:
    return max(SMALLEST_SIDE_PX, pixels - pixels % SIDE_STEP_PX)
