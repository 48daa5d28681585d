"""What a scan says about each file: a picture to train, one that cannot be, or something else."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fluxgym_tui.base.findings import Finding


@dataclass(frozen=True, slots=True)
class ScannedImage:
    """A picture that would be trained. `width` and `height` are pixels as stored, before `orientation` (1 to 8).

    `caption` is what would be trained of its caption file, None where there is none or it says nothing; `traits` are
    those of `PictureHeader`; `mtime_ns`, `size_bytes` and `inode` tell whether the file is still the same. Paths are
    kept as text, because making `Path`s of ten thousand names is a fifth of a whole scan.
    """

    file: str
    width: int
    height: int
    orientation: int
    caption: str | None
    caption_file: str | None
    format: str
    size_bytes: int
    mtime_ns: int
    inode: int = 0
    traits: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Where the picture is."""
        return Path(self.file)

    @property
    def caption_path(self) -> Path | None:
        """Where its caption is, None where it has no caption file."""
        return None if self.caption_file is None else Path(self.caption_file)

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height in pixels as a person sees the picture, with the orientation applied."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)

    def to_json(self) -> dict[str, Any]:
        """The picture as `scan --json` has it."""
        return {
            "path": self.file,
            "width": self.width,
            "height": self.height,
            "orientation": self.orientation,
            "caption": self.caption,
        }


@dataclass(frozen=True, slots=True)
class Rejected:
    """A file that is meant as a picture and cannot be trained: `code` for programs, `reason` for people.

    `width` and `height` are pixels as stored, None where the file does not tell.
    """

    file: str
    code: str
    reason: str
    width: int | None = None
    height: int | None = None

    @property
    def path(self) -> Path:
        """Where the file is."""
        return Path(self.file)

    def to_json(self) -> dict[str, Any]:
        """The file as `scan --json` has it."""
        return {
            "path": self.file,
            "code": self.code,
            "reason": self.reason,
            "width": self.width,
            "height": self.height,
        }


@dataclass(frozen=True, slots=True)
class Ignored:
    """A file that is no picture, and `reason`: what it is taken for."""

    file: str
    reason: str

    @property
    def path(self) -> Path:
        """Where the file is."""
        return Path(self.file)

    def to_json(self) -> dict[str, Any]:
        """The file as `scan --json` has it."""
        return {"path": self.file, "reason": self.reason}


ScanItem = ScannedImage | Rejected | Ignored | Finding


@dataclass(frozen=True, slots=True)
class ScanResult:
    """A whole folder: every file is in exactly one of `images`, `rejected` and `ignored`; `problems` speak of them."""

    images: list[ScannedImage] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    ignored: list[Ignored] = field(default_factory=list)
    problems: list[Finding] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The result as `scan --json` prints it."""
        return {
            "images": [image.to_json() for image in self.images],
            "rejected": [rejected.to_json() for rejected in self.rejected],
            "ignored": [ignored.to_json() for ignored in self.ignored],
            "problems": [problem.to_json() for problem in self.problems],
        }
