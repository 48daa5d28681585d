"""Plans straight from kohya's dataset.toml: nothing mended, pictures as stored."""

import json
import random
import struct
import zlib
from pathlib import Path

from fluxgym_tui.base.findings import Severity
from fluxgym_tui.config.dataset_toml import DatasetConfig, SubsetConfig, load_dataset_toml
from fluxgym_tui.dataset.headers import read_header
from fluxgym_tui.plan.from_toml import plan_from_toml
from fluxgym_tui.plan.planning import PlanImage, TrainPlan

STEPS = Path(__file__).parents[1] / "data" / "steps.json"


def plan_of(dataset: DatasetConfig, pictures: dict[str, list[PlanImage]]) -> TrainPlan:
    return plan_from_toml([dataset], lambda folder: pictures.get(folder.name, []), max_train_epochs=1)


def pictures(count: int, *, width: int = 512) -> list[PlanImage]:
    return [PlanImage(f"/data/p/{index:02d}.png", width, 512 + 64 * (index % 4)) for index in reversed(range(count))]


def test_sd_scripts_defaults_are_not_a_specs() -> None:
    plan = plan_of(
        DatasetConfig(resolution=(512, 512), subsets=(SubsetConfig(image_dir=Path("p")),)), {"p": pictures(3)}
    )
    assert [bucket.size for bucket in plan.buckets] == [(512, 512)]
    assert plan.steps.total == 3


def test_nothing_is_mended() -> None:
    subsets = (SubsetConfig(image_dir=Path("p")),)
    for dataset in (
        DatasetConfig(resolution=(1536, 1536), enable_bucket=True, subsets=subsets),
        DatasetConfig(resolution=(512, 512), enable_bucket=True, bucket_reso_steps=32, subsets=subsets),
    ):
        plan = plan_of(dataset, {"p": pictures(3)})
        assert plan.steps.total is None
        assert [finding.code for finding in plan.findings if finding.severity is Severity.ERROR] == ["bucket_settings"]


def test_an_empty_folder_is_told_and_the_rest_trains() -> None:
    subsets = (SubsetConfig(image_dir=Path("gone")), SubsetConfig(image_dir=Path("p"), num_repeats=2))
    plan = plan_of(DatasetConfig(resolution=(512, 512), subsets=subsets), {"p": pictures(3)})
    assert plan.steps.total == 6
    assert [(finding.code, finding.path) for finding in plan.findings if finding.code == "folder_empty"] == [
        ("folder_empty", "gone")
    ]
    nothing = plan_of(DatasetConfig(resolution=(512, 512), subsets=subsets[:1]), {})
    assert nothing.steps.total is None


def test_pictures_held_back_for_validation_are_not_counted() -> None:
    dataset = DatasetConfig(
        resolution=(512, 704), enable_bucket=True, bucket_no_upscale=True, validation_split=0.25, validation_seed=7,
        subsets=(SubsetConfig(image_dir=Path("p")), SubsetConfig(image_dir=Path("r"), is_reg=True)),
    )  # fmt: skip
    given = {"p": pictures(10), "r": [PlanImage("/data/r/0.png", 448, 448)]}
    plan = plan_of(dataset, given)
    # sd-scripts shuffles the sorted pictures with the seed and trains the first ceil(10 x 0.75).
    drawn = sorted(image.path for image in given["p"])
    random.Random(7).shuffle(drawn)
    assert {planned.image.path for planned in plan.images if not planned.is_reg} == set(drawn[:8])
    assert sum(planned.repeats for planned in plan.images if planned.is_reg) == 8
    assert "validation_unseeded" not in [finding.code for finding in plan.findings]


def test_a_draw_without_a_seed_is_told() -> None:
    subsets = (SubsetConfig(image_dir=Path("p")),)
    plan = plan_of(DatasetConfig(resolution=(512, 512), validation_split=0.1, subsets=subsets), {"p": pictures(10)})
    assert plan.steps.total == 9
    assert "validation_unseeded" in [finding.code for finding in plan.findings]


def png(width: int, height: int) -> bytes:
    """A black picture of `width` x `height`, a bit a pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(bytes(1 + (width + 7) // 8) * height)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def stored_pictures(folder: Path) -> list[PlanImage]:
    headers = [(path, read_header(path)) for path in folder.glob("*.png")]
    return [PlanImage(str(path), header.width, header.height) for path, header in headers]


def test_pictures_on_disk_give_the_steps_of_sd_scripts(tmp_path: Path) -> None:
    cases = json.loads(STEPS.read_text(encoding="utf-8").replace("/pictures/", f"{tmp_path}/"))["cases"]
    chosen = [case for case in cases if case["id"] in ("s11c5", "s11c10", "s11c25", "s11c31")]
    totals = {}
    for case in chosen:
        for subset in [subset for dataset in case["input"]["datasets"] for subset in dataset["subsets"]]:
            folder = Path(subset["image_dir"])
            folder.mkdir(parents=True)
            for name, width, height in subset["images"]:
                (folder / name).write_bytes(png(width, height))
        lines = []
        for dataset in case["input"]["datasets"]:
            lines += ["[[datasets]]", *(f"{key} = {json.dumps(dataset[key])}" for key in dataset if key != "subsets")]
            for subset in dataset["subsets"]:
                keys = [key for key in subset if key != "images"]
                lines += ["[[datasets.subsets]]", *(f"{key} = {json.dumps(subset[key])}" for key in keys)]
        path = tmp_path / f"{case['id']}.toml"
        path.write_text("\n".join(lines), encoding="utf-8")
        plan = plan_from_toml(
            load_dataset_toml(path),
            stored_pictures,
            max_train_epochs=case["input"].get("max_train_epochs"),
            max_train_steps=case["input"].get("max_train_steps"),
            gradient_accumulation_steps=case["input"]["gradient_accumulation_steps"],
        )
        totals[case["id"]] = plan.steps.total
    assert totals == {case["id"]: case["output"].get("optimizer_steps") for case in chosen}
    assert sorted(totals) == ["s11c10", "s11c25", "s11c31", "s11c5"]
