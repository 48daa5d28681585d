"""From what a captioner says to a caption: one line, no opening phrase, the trigger first and never twice. Pure."""

import re
from typing import Final

_THINKING: Final = re.compile(r"<think>.*?</think>|^.*?</think>", re.DOTALL | re.IGNORECASE)
_SPECIAL: Final = re.compile(r"</?s>|<pad>|<unk>|<\|[^|>]*\|>")
_MARKUP: Final = re.compile(r"\*\*|__|^#+\s+|^[-*]\s+", re.MULTILINE)
_LABEL: Final = re.compile(r"^(?:the\s+)?(?:caption|description|prompt|answer)\s*:\s*", re.IGNORECASE)
_NOUN: Final = r"(?:image|picture|photo|photograph|scene|illustration|painting|drawing|video frame)"
_VERB: Final = (
    r"(?:shows?|depicts?|features?|displays?|presents?|portrays?|captures?|contains?|illustrates?|is\s+of|"
    r"is\s+showing|is\s+depicting|is(?=\s+an?\s)|appears\s+to\s+(?:show|be|depict)|seems\s+to\s+(?:show|be|depict))"
)
_OPENING: Final = re.compile(
    rf"^(?:sure[,.!]?\s+|certainly[,.!]?\s+|here\s+is\s+(?:a|the)\s+(?:caption|description)[^:\n]*:\s*)*"
    rf"(?:in\s+(?:the|this)\s+{_NOUN},?\s+(?:we\s+(?:can\s+)?see\s+|there\s+(?:is|are)\s+)?"
    rf"|(?:the|this|an?)\s+{_NOUN}\s+{_VERB}\s+(?:that\s+)?)",
    re.IGNORECASE,
)
_CHATTER: Final = re.compile(
    r"^(?:(?:sure|certainly|absolutely|of course|okay|ok)[,.!]?\s+)?"
    r"here(?:'s|\s+is)\s+(?:a|an|the|your)\s+[^:\n]{0,60}:\s*",
    re.IGNORECASE,
)


def clean_caption(answer: str) -> str:
    """The caption in a captioner's `answer`: its text on one line, without marks, quotes and "The image shows".

    Empty where the answer says nothing.
    """
    text = _SPECIAL.sub(" ", _THINKING.sub(" ", answer))
    text = "".join(letter if letter.isprintable() else " " for letter in _MARKUP.sub("", text.strip()))
    text = _unquoted(" ".join(text.split()))
    while True:
        shorter = _unquoted(_LABEL.sub("", _CHATTER.sub("", _OPENING.sub("", _MARKUP.sub("", text))))).strip()
        if shorter == text:
            break
        text = shorter
    return text


def with_trigger(caption: str, trigger: str) -> str:
    """`caption` with `trigger` first; where the caption has it already, it is moved to the front, and stands once."""
    words = " ".join(trigger.split())
    if not words:
        return caption
    spaced = r"\s+".join(map(re.escape, words.split()))
    pattern = re.compile(rf"(?<!\w){spaced}(?!\w)", re.IGNORECASE)
    if first := pattern.match(caption):
        return (words + _without(pattern, caption[first.end() :])).strip()
    rest = _without(pattern, caption).strip(" ,")
    return f"{words}, {rest}" if rest else words


def says_only(caption: str, trigger: str) -> bool:
    """Whether `caption` says nothing, or nothing but `trigger`: such a one counts as missing."""
    return " ".join(caption.split()).strip(" ,.").casefold() in ("", " ".join(trigger.split()).casefold())


def _without(pattern: re.Pattern[str], text: str) -> str:
    """`text` without the words of `pattern`, and without the double blanks and commas that this leaves."""
    if not pattern.search(text):
        return text
    text = pattern.sub("", text)
    text = re.sub(r"\s+(?=[,.;:!?])", "", re.sub(r"\s{2,}", " ", text))
    return re.sub(r",(?:\s*,)+", ",", text)


def _unquoted(text: str) -> str:
    for left, right in (('"', '"'), ("“", "”"), ("'", "'"), ("`", "`")):
        if len(text) > 1 and text.startswith(left) and text.endswith(right) and left not in text[1:-1]:
            return text[1:-1].strip()
    return text
