"""The names in one folder, sorted out by what they are, before any file is opened."""

import os
import stat
from typing import Final

from fluxgym_tui.dataset.captions import CAPTION_EXTENSIONS

# Names that are read as pictures, in any case of letters: sd-scripts' own, JPEG's other names, and plugins' formats.
PICTURE_EXTENSIONS: Final = frozenset(
    (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".jfif", ".jpe", ".avif", ".heic", ".heif", ".jxl")
)
# Pictures that are not trained, and are told: nobody should wonder where they went.
UNTRAINED_EXTENSIONS: Final = frozenset(
    (
        *(".gif", ".apng", ".tif", ".tiff", ".psd", ".psb", ".xcf", ".svg", ".eps", ".ico", ".icns", ".cur", ".dib"),
        *(".jp2", ".j2k", ".jpf", ".jpx", ".mpo", ".avifs", ".tga", ".ppm", ".pgm", ".pbm", ".pnm", ".pcx", ".qoi"),
        *(".exr", ".hdr", ".dds", ".sgi", ".raw", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf"),
    )
)


def is_hidden(name: str) -> bool:
    """Whether a folder of this name is none of the user's own: hidden, or what macOS puts into zip files."""
    return name.startswith(".") or name == "__MACOSX"


class Listing:
    """What is in one folder, by name. `captions` maps a stem to its caption file, `spare_captions` are passed over."""

    __slots__ = (
        "captions",
        "dead_links",
        "folders",
        "linked_folders",
        "other",
        "pictures",
        "spare_captions",
        "special",
        "untrained",
    )

    def __init__(self) -> None:
        self.pictures: list[str] = []
        self.untrained: list[str] = []  # pictures of formats that are not trained
        self.special: list[str] = []  # named like pictures, but pipes, devices, folders of a kind
        self.dead_links: list[str] = []  # named like pictures
        self.captions: dict[str, str] = {}
        self.spare_captions: dict[str, str] = {}  # file: its stem
        self.folders: list[str] = []
        self.linked_folders: list[str] = []
        self.other: list[tuple[str, str]] = []  # name, what it is taken for

    def files(self) -> list[str]:
        """Every name that is no folder, in order."""
        names = [*self.pictures, *self.untrained, *self.special, *self.dead_links, *self.linked_folders]
        names += [*self.captions.values(), *self.spare_captions, *(name for name, _ in self.other)]
        return sorted(names)

    def _add_file(self, name: str, extension: str) -> None:
        if extension in PICTURE_EXTENSIONS:
            self.pictures.append(name)
        elif extension in CAPTION_EXTENSIONS:
            self._add_caption(name, name[: -len(extension)], extension)
        elif extension in UNTRAINED_EXTENSIONS:
            self.untrained.append(name)
        else:
            self.other.append((name, "not a picture by its name"))

    def _add_caption(self, name: str, stem: str, extension: str) -> None:
        present = self.captions.setdefault(stem, name)
        if present is not name:
            # The order of the extensions decides, then the order of names, so that no order of listing matters.
            first, second = sorted((present, name), key=_caption_order)
            self.captions[stem] = first
            self.spare_captions[second] = stem


def _caption_order(name: str) -> tuple[int, str]:
    return CAPTION_EXTENSIONS.index(name[name.rfind(".") :].lower()), name


def list_folder(handle: int) -> Listing:
    """The names in the open folder `handle`. OSError as the system raises it."""
    listing = Listing()
    with os.scandir(handle) as entries:
        for entry in entries:
            name = entry.name
            extension = name[name.rfind(".") :].lower()
            if name.startswith("."):
                if entry.is_dir(follow_symlinks=False):
                    listing.folders.append(name)
                else:
                    listing.other.append((name, "a hidden file"))
            elif entry.is_file(follow_symlinks=False):
                listing._add_file(name, extension)
            elif entry.is_dir(follow_symlinks=False):
                listing.folders.append(name)
            else:
                _add_special(listing, handle, name, extension)
    return listing


def _add_special(listing: Listing, handle: int, name: str, extension: str) -> None:
    """Sort out what is neither a file nor a folder: links by where they lead, pipes, devices, sockets."""
    try:
        mode = os.stat(name, dir_fd=handle).st_mode
    except OSError:  # no target, or links that lead in a circle
        if extension in PICTURE_EXTENSIONS:
            listing.dead_links.append(name)
        else:
            listing.other.append((name, "a link that leads nowhere"))
        return
    if stat.S_ISDIR(mode):
        listing.linked_folders.append(name)
    elif stat.S_ISREG(mode):
        listing._add_file(name, extension)
    elif extension in PICTURE_EXTENSIONS:
        listing.special.append(name)
    else:
        listing.other.append((name, "not a regular file"))
