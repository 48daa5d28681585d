"""The plan of kohya's own dataset.toml: its folders listed as sd-scripts lists them, pictures as they are stored."""

from collections.abc import Mapping
from pathlib import Path

from fluxgym_tui.base.findings import Finding, Severity
from fluxgym_tui.config.dataset_toml import load_dataset_toml
from fluxgym_tui.dataset.header import PictureError
from fluxgym_tui.dataset.headers import read_header
from fluxgym_tui.plan.from_toml import plan_from_toml
from fluxgym_tui.plan.planning import PlanImage, TrainPlan

# As sd-scripts spells them: all small or all capital, never mixed.
_EXTENSIONS = tuple(
    spelling for extension in (".png", ".jpg", ".jpeg", ".webp", ".bmp") for spelling in (extension, extension.upper())
)


def plan_of_dataset_toml(
    path: Path,
    *,
    fallback: Mapping[str, object] | None = None,
    max_train_epochs: int | None = None,
    max_train_steps: int | None = None,
    gradient_accumulation_steps: int = 1,
    num_processes: int = 1,
) -> TrainPlan:
    """What sd-scripts would train from the dataset.toml at `path`; the arguments have its names, nothing is mended.

    `fallback` holds command-line settings for keys that the file lacks. FluxgymError where the file is no such TOML.
    """
    datasets = load_dataset_toml(path, fallback=fallback)
    folders = {subset.image_dir for dataset in datasets for subset in dataset.subsets}
    listed: dict[Path, list[PlanImage]] = {}
    findings: list[Finding] = []
    for folder in sorted(folders):
        listed[folder] = kohya_pictures(folder, findings)
    return plan_from_toml(
        datasets,
        lambda folder: listed[folder],
        max_train_epochs=max_train_epochs,
        max_train_steps=max_train_steps,
        gradient_accumulation_steps=gradient_accumulation_steps,
        num_processes=num_processes,
        findings=findings,
    )


def kohya_pictures(folder: Path, findings: list[Finding]) -> list[PlanImage]:
    """The pictures right in `folder`, with stored sizes; what sd-scripts would stop at goes to `findings`."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.name.endswith(_EXTENSIONS) and path.name[0] != ".")
    except OSError:
        return []  # sd-scripts takes such a folder for an empty one, and the plan says so
    images = []
    for path in paths:
        try:
            header = read_header(path)
        except (PictureError, OSError) as error:
            why = error.reason if isinstance(error, PictureError) else str(error.strerror)
            findings.append(
                Finding(
                    code="picture_unreadable",
                    severity=Severity.ERROR,
                    title="sd-scripts stops at a picture that cannot be read",
                    detail=why,
                    fix="Take it out of the folder, or mend it.",
                    path=str(path),
                )
            )
            continue
        images.append(PlanImage(str(path), header.width, header.height))
    return images
