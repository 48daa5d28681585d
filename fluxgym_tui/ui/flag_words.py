"""An option of the trainer in words: what it takes, and how what was typed is read."""

from fluxgym_tui.backends.kohya.options import ParserOption
from fluxgym_tui.base.text import terminal_safe
from fluxgym_tui.config.sd_flags import FLAG_KINDS, FlagValue, read_flag
from fluxgym_tui.config.values import Plain, read_words
from fluxgym_tui.ui.flag_rows import FlagRow, flag_words

_KINDS = {
    "switch": "on or off",
    "whole": "a whole number",
    "number": "a number",
    "whole_or_number": "a whole number, or a share below 1",
    "texts": "words, as on a command line",
    "numbers": "numbers with spaces between",
    "text": "a text",
}


def kind_words(row: FlagRow) -> str:
    """What the option takes, and what it is where it is not set."""
    what = (
        f"one of {', '.join(row.choices)}" if row.choices else "a file or folder" if row.is_path else _KINDS[row.kind]
    )
    default = flag_words(row.default)
    if default:
        return f"{what}; by default {terminal_safe(default)}"
    own = (
        ""
        if row.own_default in (None, False, "")
        else f", the trainer takes {terminal_safe(str(row.own_default))} then"
    )
    return f"{what}; not given by default{own}"


def read_typed(row: FlagRow, text: str) -> FlagValue:
    """What was typed, as the option takes it; ValueError where it does not."""
    if not text.strip():
        return False
    if row.kind in ("texts", "numbers"):
        return read_flag(row.name, tuple(Plain(word) for word in read_words(Plain(text))))
    value = read_flag(row.name, Plain(text.strip()))
    if row.name not in FLAG_KINDS:  # of another version of sd-scripts: its parser has told what it takes
        option = ParserOption(name=row.name, kind=row.kind, choices=row.choices or None)
        value = value if row.kind in ("whole", "number", "whole_or_number", "switch") else text.strip()
        if (refusal := option.refusal(value)) is not None:
            raise ValueError(refusal)
    return value
