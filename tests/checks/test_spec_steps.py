"""The steps of a spec are sd-scripts' own: the cases of data/steps.json, written as specs, scanned and planned."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fluxgym_tui.base.findings import Severity
from fluxgym_tui.checks.spec_plan import plan_spec
from fluxgym_tui.config.settings_flags import effective_flags
from fluxgym_tui.config.specfile import build_spec
from fluxgym_tui.plan.planning import TrainPlan

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "steps.json").read_text(encoding="utf-8")
)["cases"]
# What a spec cannot say, by the case: tests/plan/test_steps.py has these as a dataset.toml says them.
NO_SPEC = {
    "several datasets": {
        *("s11c0", "s11c1", "s11c5", "s11c10", "s11c11", "s11c12", "s11c14", "s11c17", "s11c18", "s11c21", "s11c30")
    },
    "num_repeats 0": {"s11c4", "s11c6"},
    "what sd-scripts refuses and a spec mends": {"s11c3"},
    "one folder twice": {"s11c15", "s11c28"},
    "no length: a spec then trains 16 epochs, as fluxgym": {"s11c29", "s11c33"},
}
WITH_SPEC = [case for case in CASES if case["id"] not in set().union(*NO_SPEC.values())]


def plan_of(case: dict[str, Any], folder: Path) -> TrainPlan:
    """The plan of the case as a spec, whose pictures lie under `folder`."""
    given = case["input"]
    (dataset,) = given["datasets"]
    parts = [_subset(subset, folder) for subset in dataset["subsets"]]
    first, *more = parts
    assert not first.pop("is_reg")
    spec = build_spec(
        {
            "name": case["id"],
            "trigger": "zzz",
            "backend": "builtin",
            "dataset": {
                "enable_bucket": False,
                "bucket_no_upscale": False,
                **{key: value for key, value in dataset.items() if key != "subsets"},
                **first,
                "subsets": more,
            },
            "training": {
                key: given.get(key)
                for key in ("max_train_epochs", "max_train_steps", "gradient_accumulation_steps", "save_every_n_epochs")
            },
            "flags": {key: given[key] for key in ("save_n_epoch_ratio",) if key in given},
        }
    )
    return plan_spec(spec, flags=effective_flags(spec, backend="builtin", vram="cpu")).plan


def _subset(subset: dict[str, Any], folder: Path) -> dict[str, Any]:
    target = folder / Path(subset["image_dir"]).name
    target.mkdir()
    for name, width, height in subset["images"]:
        Image.new("1", (width, height)).save(target / name, compress_level=1)
    return {"path": target, "num_repeats": subset["num_repeats"], "is_reg": subset.get("is_reg", False)}


@pytest.mark.parametrize("case", WITH_SPEC, ids=[case["id"] for case in WITH_SPEC])
def test_a_spec_is_counted_as_sd_scripts_counts(case: dict[str, Any], tmp_path: Path) -> None:
    plan, output = plan_of(case, tmp_path), case["output"]
    if output["result"] != "ok":
        assert plan.steps.total is None
        assert any(finding.severity is Severity.ERROR for finding in plan.findings)
        return
    assert plan.to_json()["steps"] == {
        "batches_per_epoch": output["batches_per_epoch"],
        "steps_per_epoch": output["num_update_steps_per_epoch"],
        "epochs": output["num_train_epochs"],
        "total": output["optimizer_steps"],
    }
    saves = range(0, output["num_train_epochs"], output["save_every_n_epochs"] or output["num_train_epochs"])
    assert [moment.epoch for moment in plan.checkpoints] == list(saves[1:])
    (dataset,) = output["datasets"]
    assert sum(bucket.batches for bucket in plan.buckets) == dataset["batches"]
    if "buckets" in dataset:
        assert [[list(bucket.size), bucket.repeated] for bucket in plan.buckets] == dataset["buckets"]


def test_each_case_that_is_left_out_has_its_reason() -> None:
    assert len(WITH_SPEC) + sum(map(len, NO_SPEC.values())) == len(CASES) == 34
    for case in CASES:
        given = case["input"]
        subsets = [subset for dataset in given["datasets"] for subset in dataset["subsets"]]
        folders = [subset["image_dir"] for subset in subsets]
        holds = {
            "several datasets": len(given["datasets"]) > 1,
            "num_repeats 0": any(subset["num_repeats"] == 0 for subset in subsets),
            "what sd-scripts refuses and a spec mends": any(
                dataset.get("bucket_reso_steps", 64) % 64 for dataset in given["datasets"]
            ),
            "one folder twice": len(folders) > len(set(folders)),
            "no length: a spec then trains 16 epochs, as fluxgym": not {"max_train_epochs", "max_train_steps"}
            & {*given},
        }
        reasons = [reason for reason, cases in NO_SPEC.items() if case["id"] in cases]
        assert len(reasons) <= 1
        assert any(holds.values()) is bool(reasons)
        assert all(holds[reason] for reason in reasons)
