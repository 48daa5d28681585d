"""What a plan is made of: pictures, subsets and datasets in; planned pictures and buckets out."""

from dataclasses import dataclass
from pathlib import PurePath

from fluxgym_tui.plan.buckets import BucketFit, BucketSettings, Size


@dataclass(frozen=True, slots=True)
class PlanImage:
    """A picture as the trainer will find it: upright and resized where staging does that; sides in pixels."""

    path: str
    width: int
    height: int

    @property
    def size(self) -> Size:
        """(width, height)."""
        return self.width, self.height

    @property
    def name(self) -> str:
        """The file's name without its folders."""
        return PurePath(self.path).name


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSubset:
    """Pictures of one folder, in the order of their names, and how often each is trained in an epoch."""

    images: tuple[PlanImage, ...]
    num_repeats: int = 1
    is_reg: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDataset:
    """Subsets that share settings and batch size."""

    settings: BucketSettings
    batch_size: int = 1
    subsets: tuple[PlanSubset, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedImage:
    """A picture and what becomes of it; `fit` is None where it has no bucket. `dataset` counts from 0."""

    dataset: int
    image: PlanImage
    repeats: int
    is_reg: bool
    fit: BucketFit | None

    @property
    def enlarged(self) -> float:
        """By what factor the picture is scaled up; 1.0 or less where it is not."""
        if self.fit is None:
            return 0.0
        return max(self.fit.resized[0] / self.image.width, self.fit.resized[1] / self.image.height)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedBucket:
    """One bucket of a dataset: how many pictures it holds, how many with repeats, and its batches in an epoch."""

    dataset: int
    size: Size
    images: int
    repeated: int
    batches: int
