"""How things look: themes, the glyph, word and colour of a state, and plain ASCII for terminals that have no more."""

from functools import lru_cache

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter
from textual.theme import Theme

from fluxgym_tui.base.text import terminal_safe
from fluxgym_tui.runs.state import RunState

DARK = Theme(
    name="fluxgym-dark",
    primary="#7aa2f7",
    secondary="#9aa5ce",
    accent="#e0af68",
    success="#73c991",
    warning="#e0af68",
    error="#f7768e",
    foreground="#d5d9e8",
    background="#16181f",
    surface="#1c1f28",
    panel="#262a36",
    dark=True,
)
LIGHT = Theme(
    name="fluxgym-light",
    primary="#2e5cb8",
    secondary="#51607d",
    accent="#8f5902",
    success="#2a7a3f",
    warning="#8f5902",
    error="#b3261e",
    foreground="#1f2430",
    background="#fafafa",
    surface="#f0f1f4",
    panel="#e1e4ea",
    dark=False,
)
# Okabe and Ito's colours, which the common kinds of colour blindness tell apart.
COLOUR_BLIND = Theme(
    name="fluxgym-colour-blind",
    primary="#56b4e9",
    secondary="#cc79a7",
    accent="#f0e442",
    success="#56b4e9",
    warning="#e69f00",
    error="#d55e00",
    foreground="#e6e6e6",
    background="#121212",
    surface="#1b1b1b",
    panel="#2a2a2a",
    dark=True,
)
THEMES = (DARK, LIGHT, COLOUR_BLIND)

MUTED = "$foreground 60%"

# A state is told three times: by glyph, by word, by colour.
STATE_GLYPHS: dict[RunState, str] = {
    RunState.QUEUED: "○",
    RunState.STARTING: "◔",
    RunState.RUNNING: "▶",
    RunState.STOPPING: "◑",
    RunState.FINISHED: "✓",
    RunState.FAILED: "✗",
    RunState.STOPPED: "■",
    RunState.INTERRUPTED: "!",
}
STATE_COLOURS: dict[RunState, str] = {
    RunState.QUEUED: MUTED,
    RunState.STARTING: "$primary",
    RunState.RUNNING: "$success",
    RunState.STOPPING: "$warning",
    RunState.FINISHED: "$success",
    RunState.FAILED: "$error",
    RunState.STOPPED: MUTED,
    RunState.INTERRUPTED: "$warning",
}

_ASCII = str.maketrans(
    {
        "○": "o",
        "◔": "o",
        "▶": ">",
        "◑": "~",
        "✓": "+",
        "✗": "x",
        "■": "#",
        "●": "*",
        "◆": "^",
        "·": "-",
        "°": " ",
        "…": "~",
        "×": "x",
        "–": "-",
        "—": "-",
        "→": ">",
        "←": "<",
        "↑": "^",
        "↓": "v",
        "▲": "^",
        "▼": "v",
        "▸": ">",
        "▾": "v",
        "█": "#",
        "▇": "#",
        "▆": "#",
        "▅": "=",
        "▄": "=",
        "▃": "-",
        "▂": "_",
        "▁": "_",
        "▀": "=",
        "▔": "-",
        "▌": "|",
        "▐": "|",
        "▊": "|",
        "▎": "|",
        "▏": "|",
        "░": ".",
        "▒": ":",
        "▓": "#",
        "⌕": "?",
        "⭘": "o",
    }
)


@lru_cache(8192)
def to_ascii(text: str) -> str:
    """`text` with symbols written in ASCII of the same width; letters of any script stay, they are the user's."""
    if text.isascii():
        return text
    return "".join(_ascii_of(character) for character in text.translate(_ASCII))


def _ascii_of(character: str) -> str:
    code = ord(character)
    if 0x2500 <= code < 0x2580:  # box drawing
        if character in "┄┅┈┉╌╍":
            return "."
        if character in "─━═╴╶╸╺":
            return "-"
        return "|" if character in "│┃┆┇┊┋╎╏║╵╷╹╻" else "+"
    if 0x2800 <= code < 0x2900:  # braille: by how many dots it has
        return " .:"[min((code - 0x2800).bit_count(), 2)] if code < 0x28FF else "#"
    if 0x2190 <= code < 0x2C00 or 0xE000 <= code < 0xF900 or 0x1FB00 <= code < 0x1FC00:
        return "*"
    return character


class AsciiFilter(LineFilter):
    """Writes every symbol of the app in ASCII, Textual's own borders and scroll bars included."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [Segment(to_ascii(text), style, control) for text, style, control in segments]


class SafeFilter(LineFilter):
    """Lets nothing through that could steer the terminal. What we draw is safe already; fields hold what was typed."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        if all(control or text.isprintable() for text, _, control in segments):
            return segments
        return [
            Segment(text if control or text.isprintable() else _inert(text), style, control)
            for text, style, control in segments
        ]


@lru_cache(1024)
def _inert(text: str) -> str:
    """`text` of the same width without what `terminal_safe` would write out."""
    if terminal_safe(text) == text:
        return text
    return "".join(
        character if terminal_safe(character) == character else "\ufffd" * cell_len(character) for character in text
    )
