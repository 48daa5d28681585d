"""What mends each problem of a picture or caption: an action of the Dataset screen and its key, in words."""

from dataclasses import dataclass
from typing import Final

from fluxgym_tui.base.findings import Finding


@dataclass(frozen=True, slots=True)
class Mending:
    """`action` is the one of the Dataset screen behind `key`; `words` go on from the key: what it does."""

    action: str
    key: str
    words: str

    def __str__(self) -> str:
        return f"{self.key} {self.words}"


_WRITE: Final = Mending("edit", "enter", "writes one")
_EDIT: Final = Mending("edit", "enter", "edits it")
_CONVERT: Final = Mending("convert", "c", "rewrites it as UTF-8; the old file is kept beside it as .bak")
_FOLDER: Final = Mending("choose_folder", "o", "chooses another folder")
_OUTSIDE: Final = Mending("look", "r", "then reads the folder again")
MENDINGS: Final[dict[str, Mending]] = {
    "no_caption": _WRITE,
    "empty_caption": _WRITE,
    "caption_binary": Mending("edit", "enter", "writes it anew"),
    "multiline_caption": _EDIT,
    "caption_too_long": _EDIT,
    "caption_bom": _CONVERT,
    "caption_not_utf8": _CONVERT,
    "no_trigger": Mending("trigger", "t", "puts it before the caption, in all that lack it; shows them first"),
    "no_pictures": _FOLDER,
    "one_picture": _FOLDER,
    **dict.fromkeys(
        (
            "folder_unreadable",
            "zero_bytes",
            "truncated",
            "not_a_picture",
            "broken",
            "too_large",
            "needs_plugin",
            "untrained_format",
            "vanished",
            "unreadable",
            "broken_link",
            "not_a_file",
            "duplicate",
            "stem_clash",
            "caption_unreadable",
            "two_captions",
            "orphan_caption",
        ),
        _OUTSIDE,
    ),
}


def mending_words(finding: Finding) -> str:
    """What to do about `finding`: the key, after what is to be done outside of this program."""
    mending = MENDINGS.get(finding.code)
    if mending is None:
        return finding.fix or ""
    return f"{finding.fix} {mending}" if mending is _OUTSIDE and finding.fix else str(mending)
