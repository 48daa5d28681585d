"""Captions of a whole folder into UTF-8, when the user asks for it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fluxgym_tui.dataset.captions import convert_to_utf8, read_caption
from fluxgym_tui.dataset.scan import scan


@dataclass(frozen=True, slots=True)
class Converted:
    """A caption that is UTF-8 now: the encoding it was in, and where its old bytes are."""

    path: Path
    encoding: str
    backup: Path


def convert_captions(folder: Path, *, recursive: bool = True) -> Iterator[Converted]:
    """Rewrite the pictures' captions that are not plain UTF-8, each as it is handed out.

    Files that are no text are left alone; a scan tells of them. FluxgymError where `folder` cannot be read, OSError
    where a caption cannot be written.
    """
    paths = {image.caption_path: None for image in scan(folder, recursive=recursive).images}
    for path in paths:
        if path is None:
            continue
        caption = read_caption(path)
        backup = convert_to_utf8(path) if caption.problem in {"bom", "not_utf8"} else None
        if backup is not None:
            yield Converted(path, caption.encoding, backup)
