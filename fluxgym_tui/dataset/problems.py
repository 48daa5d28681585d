"""The words of every finding a scan can make: what is wrong and what to do about it."""

from pathlib import Path
from typing import Final

from fluxgym_tui.base.findings import Finding, Severity

_E, _W, _A = Severity.ERROR, Severity.WARNING, Severity.ADVICE
_COPIED: Final = "Nothing to do: copies are trained, your files stay as they are."

# code: severity, title, fix. docs/datasets.md has them all.
PROBLEMS: Final[dict[str, tuple[Severity, str, str]]] = {
    # The folder as a whole.
    "no_pictures": (_E, "no picture to train", "Put png, jpg, webp or bmp pictures into the folder, or name another."),
    "one_picture": (_W, "only one picture", "It trains, but learns that one picture by heart; 10 to 30 work better."),
    "folder_unreadable": (_W, "folder cannot be read", "Allow reading it (chmod u+rx), then scan again."),
    # Pictures that are not trained.
    "zero_bytes": (_W, "empty file", "Copy the picture here again, or remove the file."),
    "truncated": (_W, "picture is cut off", "Copy or download it again; trainers stop at such a file."),
    "not_a_picture": (_W, "not a picture", "Remove it, or rename it to what it is."),
    "broken": (_W, "picture cannot be opened", "Open it in a picture editor and save it again, or remove it."),
    "too_large": (_W, "picture is too large", "Make it smaller: sides of 2,000 pixels are plenty for training."),
    "needs_plugin": (_W, "picture needs a plugin", "Install the named package, or save the picture as jpg or png."),
    "untrained_format": (_W, "format is not trained", "Save it as png or jpg."),
    "vanished": (_W, "file vanished while it was read", "Scan again once nothing changes the folder."),
    "unreadable": (_W, "file cannot be read", "Allow reading it (chmod u+r), then scan again."),
    "broken_link": (_W, "link leads nowhere", "Remove the link, or put its target back."),
    "not_a_file": (_W, "not a regular file", "Remove it from the folder."),
    # Pictures that are trained in another way than one might think.
    "animated": (_A, "only the first frame is trained", "Save other frames as pictures of their own to train them."),
    "wrong_extension": (_A, "name does not fit the format", "Nothing to do: it is read by its content."),
    "duplicate": (_W, "same picture twice", "Remove one; raise num_repeats where a picture should count more."),
    "stem_clash": (_W, "pictures of one name share a caption", "Rename one of them and give it a caption of its own."),
    "turned_upright": (_A, "pictures are turned upright", _COPIED),
    "alpha_on_white": (_A, "transparency is put on white", "Save the picture on another ground if white is wrong."),
    "colours_converted": (_A, "colours are converted to sRGB", _COPIED),
    "bits_reduced": (_A, "16 bits a channel become 8", _COPIED),
    # Captions.
    "no_caption": (_A, "no caption", "Write one; else the trigger is its caption, and without a trigger it has none."),
    "empty_caption": (_W, "caption says nothing", "Write one in its first line; else the trigger is the caption."),
    "multiline_caption": (_W, "only the first line of the caption is trained", "Join its lines into one."),
    "caption_bom": (
        _A,
        "caption starts with a byte order mark",
        "Nothing to do, it is trained without; `scan --to-utf8` removes it.",
    ),
    "caption_not_utf8": (
        _W,
        "caption is not UTF-8",
        "It is trained as it is shown here; `scan --to-utf8` rewrites the file.",
    ),
    "caption_binary": (_W, "caption is not text", "Remove the file, or write the caption anew."),
    "caption_unreadable": (_W, "caption cannot be read", "Allow reading it (chmod u+r), then scan again."),
    "caption_too_long": (_W, "caption is far too long", "Shorten it: no text encoder reads more than 512 tokens."),
    "two_captions": (_A, "two captions for one picture", "Remove the one that is not meant; the .txt is used."),
    "orphan_caption": (_A, "caption without a picture", "Name it like its picture, or remove it."),
    "no_trigger": (_W, "caption lacks the trigger", "Put the trigger into the caption, at its start."),
}


def problem(code: str, *, path: str | Path | None = None, detail: str | None = None) -> Finding:
    """The finding named `code` about `path`, with the facts of this case in `detail`."""
    severity, title, fix = PROBLEMS[code]
    return Finding(
        code=code, severity=severity, title=title, fix=fix, detail=detail, path=path if path is None else str(path)
    )
