"""`scan`, `new`, `plan`, `models` and `info`: what they print, as data and for people, and their exit codes."""

import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from fluxgym_tui.config.spec_edit import update_spec_text
from fluxgym_tui.config.specfile import load_spec
from fluxgym_tui.machine.disk import DiskFacts
from tests.cli.calls import Run, RunJson


def _png(width: int, height: int) -> bytes:
    """A grey PNG of that size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress((b"\0" + b"\x80" * width) * height, 1)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, size in (("a.png", (768, 1024)), ("b.png", (1024, 768)), ("c.png", (896, 896))):
        (folder / name).write_bytes(_png(*size))
    (folder / "a.txt").write_text("a man on a chair\n", encoding="utf-8")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (folder / "notes.md").write_text("x", encoding="utf-8")
    return folder


def test_scan_puts_each_file_in_exactly_one_list(run_json: RunJson, photos: Path) -> None:
    code, found = run_json("scan", photos)
    assert code == 0
    assert list(found) == ["images", "rejected", "ignored", "problems"]
    assert [image["path"] for image in found["images"]] == [str(photos / f"{name}.png") for name in "abc"]
    assert found["images"][0] == {
        "path": str(photos / "a.png"),
        "width": 768,
        "height": 1024,
        "orientation": 1,
        "caption": "a man on a chair",
    }
    assert [Path(file["path"]).name for file in found["rejected"]] == ["broken.jpg"]
    assert {Path(file["path"]).name for file in found["ignored"]} == {"a.txt", "notes.md"}
    assert {"path", "code", "severity", "title", "fix"} <= found["problems"][0].keys()


def test_scan_for_people_names_files_problems_and_the_sum(run: Run, photos: Path) -> None:
    code, out, err = run("scan", photos)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["picture", "width", "height", "turned", "caption"]
    assert "a.png      768    1024          a man on a chair" in lines
    assert any(line.startswith("broken.jpg  ") for line in lines)
    assert any(line.startswith("advice: no caption (2 files)") for line in lines)
    assert lines[-1] == "3 pictures, 1 with a caption; 1 rejected, 2 ignored"


def test_a_scan_without_a_picture_exits_3_in_both_forms(run: Run, run_json: RunJson, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    code, found = run_json("scan", empty)
    assert (code, found["images"]) == (3, [])
    code, out, _ = run("scan", empty)
    assert code == 3
    assert "error: no picture to train" in out


def test_file_names_that_are_not_utf8_survive_json(run_json: RunJson, tmp_path: Path) -> None:
    name = b"\xff\x1b.png"
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / os.fsdecode(name)).write_bytes(_png(64, 64))
    _, found = run_json("scan", folder)
    assert os.fsencode(found["images"][0]["path"]).endswith(b"/" + name)


def test_captions_are_rewritten_in_utf8_only_when_asked(run: Run, photos: Path) -> None:
    old = "caf\xe9 terrace".encode("latin-1")
    (photos / "b.txt").write_bytes(old)
    code, out, err = run("scan", photos)
    assert (code, err, (photos / "b.txt").read_bytes()) == (0, "", old)
    assert "caption is not UTF-8" in out
    code, out, err = run("scan", photos, "--to-utf8")
    assert code == 0
    assert err.count("to UTF-8") == 1
    assert "caption is not UTF-8" not in out
    assert (photos / "b.txt").read_text(encoding="utf-8") == "caf\xe9 terrace"
    assert [path.read_bytes() for path in photos.glob("b.txt.*.bak")] == [old]


def test_scan_of_no_folder_says_so(run: Run, tmp_path: Path) -> None:
    code, out, err = run("scan", tmp_path / "nothing", "--json")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: there is no folder {tmp_path}/nothing")


def test_new_writes_a_commented_spec_that_plans(run: Run, run_json: RunJson, photos: Path, tmp_path: Path) -> None:
    spec = tmp_path / "s.yaml"
    options = ["--trigger", "hrld man", "--resolution", "768x1024", "--epochs", "2", "--set", "flags.min_snr_gamma=5"]
    code, out, _ = run("new", photos, "-o", spec, "--name", "My LoRA", *options)
    assert code == 0
    assert str(spec) in out
    text = spec.read_text(encoding="utf-8")
    assert "trigger: hrld man " in text
    assert "path: photos " in text
    assert "# " in text
    assert "min_snr_gamma: 5" in text
    code, plan = run_json("plan", spec)
    assert code == 0
    assert plan["steps"] == {"batches_per_epoch": 30, "steps_per_epoch": 30, "epochs": 2, "total": 60}
    assert {(bucket["width"], bucket["height"]) for bucket in plan["buckets"]} == {(768, 1024), (1024, 768), (832, 832)}
    code, written = run_json("new", photos, "-o", spec, "--force")
    assert written == {"spec": str(spec), "name": "photos", "output_name": "photos"}


def test_new_never_replaces_a_file_unasked(run: Run, photos: Path, tmp_path: Path) -> None:
    spec = tmp_path / "s.yaml"
    spec.write_text("mine", encoding="utf-8")
    code, _, err = run("new", photos, "-o", spec)
    assert code == 2
    assert "--force" in err
    assert spec.read_text(encoding="utf-8") == "mine"
    code, out, _ = run("new", photos)
    assert code == 0
    assert out.startswith("schema: 1 ")


def test_a_plan_for_people_has_buckets_steps_and_the_rest(run: Run, photos: Path) -> None:
    code, out, _ = run("plan", photos, "--resolution", "768,1024", "--images", "--trigger", "x")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == ["bucket", "pictures", "with", "repeats", "batches", "an", "epoch"]
    assert ["c.png", "896x896", "832x832", "832x832", "0.0%"] in [line.split() for line in lines]
    assert any(line.startswith("480 steps: ") for line in lines)
    assert any(
        line.startswith("LoRA files at the end of epochs 4, 8 and 12, and at the end: 4 files") for line in lines
    )


def test_options_change_a_spec_and_its_length_by_epochs_or_steps(
    run: Run, run_json: RunJson, photos: Path, tmp_path: Path
) -> None:
    spec = tmp_path / "s.yaml"
    assert run("new", photos, "-o", spec, "--steps", "7")[0] == 0
    assert run_json("plan", spec)[1]["steps"]["total"] == 7
    assert run_json("plan", spec, "--max_train_epochs", "3")[1]["steps"]["total"] == 90
    options = ["--set", "dataset.resolution=768,1024", "--repeats", "1", "--steps", "9"]
    steps = {"batches_per_epoch": 3, "steps_per_epoch": 3, "epochs": 3, "total": 9}
    assert run_json("plan", spec, *options)[1]["steps"] == steps


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--learning-rate", "fast"], "training.learning_rate must be a number"),
        (["--resolution", "12"], "at least 64 pixels"),
        (["--set", "training.foo=1"], "unknown key foo in training"),
        (["--set", "foo"], "--set takes KEY=VALUE, not 'foo'"),
        (["--epochs", "1", "--steps", "1"], "not allowed with argument"),
        (["--num-processes", "2"], "--num-processes is for a dataset.toml"),
        (["--base-model", "flux-def"], "no base model is called flux-def"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(run: Run, photos: Path, options: list[str], says: str) -> None:
    code, out, err = run("plan", photos, *options)
    assert code in (2, 4)
    assert out == ""
    assert says in err


def test_a_missing_spec_says_how_to_make_one(run: Run, tmp_path: Path) -> None:
    code, _, err = run("plan", tmp_path / "none.yaml")
    assert code == 2
    assert "fluxgym-tui new DIR -o spec.yaml" in err


def test_a_plan_that_trains_nothing_exits_3(run_json: RunJson, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    code, plan = run_json("plan", empty)
    assert code == 3
    assert plan["steps"]["total"] is None
    assert any(finding["severity"] == "error" for finding in plan["findings"])


def _toml(tmp_path: Path, folder: Path, text: str = "") -> Path:
    path = tmp_path / "dataset.toml"
    path.write_text(
        f"[[datasets]]\n{text}\n[[datasets.subsets]]\nimage_dir = '{folder}'\nnum_repeats = 2\n", encoding="utf-8"
    )
    return path


def test_a_dataset_toml_is_planned_as_sd_scripts_takes_it(run_json: RunJson, photos: Path, tmp_path: Path) -> None:
    (photos / "broken.jpg").unlink()
    (photos / "deeper").mkdir()
    (photos / "deeper" / "d.png").write_bytes(_png(64, 64))
    (photos / "e.Png").write_bytes(_png(64, 64))
    path = _toml(tmp_path, photos, "resolution = 512\nbatch_size = 4")
    code, plan = run_json("plan", path, "--max_train_epochs", "3", "--gradient_accumulation_steps", "2")
    assert code == 0
    assert plan["buckets"] == [
        {"dataset": 0, "width": 512, "height": 512, "images": 3, "repeated": 6, "batches": 2},
    ]
    assert plan["steps"] == {"batches_per_epoch": 2, "steps_per_epoch": 1, "epochs": 3, "total": 3}
    assert run_json("plan", path)[1]["steps"]["total"] == 1600


def test_the_command_line_fills_what_a_dataset_toml_lacks(
    run: Run, run_json: RunJson, photos: Path, tmp_path: Path
) -> None:
    (photos / "broken.jpg").unlink()
    path = _toml(tmp_path, photos)
    code, _, err = run("plan", path)
    assert code == 2
    assert "no resolution" in err
    options = ["--resolution", "768,1024", "--batch-size", "2", "--enable_bucket", "--max-train-steps", "6"]
    code, plan = run_json("plan", path, *options, "--num_processes", "3")
    assert code == 0
    assert plan["steps"] == {"batches_per_epoch": 3, "steps_per_epoch": 1, "epochs": 6, "total": 6}


def test_what_a_dataset_toml_cannot_take_is_refused(run: Run, photos: Path, tmp_path: Path) -> None:
    path = _toml(tmp_path, photos, "resolution = 512")
    for options, says in (
        (["--trigger", "x"], "--trigger has no meaning for a dataset.toml"),
        (["--set", "name=x"], "--set has no meaning for a dataset.toml"),
        (["--epochs", "many"], "--max-train-epochs takes a whole number"),
        (["--resolution", "big"], "--resolution takes W,H"),
    ):
        code, _, err = run("plan", path, *options)
        assert code == 2
        assert says in err


def test_a_picture_that_stops_sd_scripts_stops_the_plan(run_json: RunJson, photos: Path, tmp_path: Path) -> None:
    code, plan = run_json("plan", _toml(tmp_path, photos, "resolution = 512"))
    assert code == 3
    assert plan["steps"]["total"] is None
    assert "picture_unreadable" in {finding["code"] for finding in plan["findings"]}


def test_command_prints_what_would_run_and_what_is_missing(run: Run, photos: Path, tmp_path: Path) -> None:
    code, out, err = run("command", photos, "--backend", "kohya", "--vram", "24G", "--json")
    assert code == 0
    command = json.loads(out)
    argv = command["argv"]
    assert argv[1] == "launch"
    assert Path(argv[argv.index("--dataset_config") + 1]) == tmp_path / "outputs/photos/dataset.toml"
    assert argv[argv.index("--pretrained_model_name_or_path") + 1] == str(tmp_path / "models/unet/flux1-dev.sft")
    assert "--fp8_base" in argv
    assert command["cwd"] == str(tmp_path / "outputs/photos")
    assert "train would not start it now" in err
    assert "flux-dev: 12 files to download before the training" in err
    assert not (tmp_path / "outputs").exists()
    code, out, _ = run("command", photos, "--backend", "builtin", "--name", "a b")
    assert code == 0
    assert out.startswith(f"cd {tmp_path}/outputs/a-b\n")
    assert "  --network_dim 4 \\\n" in out


def test_command_keeps_clear_of_the_runs_there_are(run: Run, photos: Path, tmp_path: Path) -> None:
    for name in ("photos", "photos-2"):
        (tmp_path / "outputs" / name).mkdir(parents=True)
        (tmp_path / "outputs" / name / f"{name}.safetensors").write_bytes(b"trained for days")
    (tmp_path / "outputs/photos-3").mkdir()  # empty: free
    for backend in ("kohya", "builtin"):
        code, out, _ = run("command", photos, "--backend", backend, "--json")
        assert code == 0
        argv = json.loads(out)["argv"]
        assert argv[argv.index("--output_name") + 1] == "photos-3"
        assert argv[argv.index("--output_dir") + 1] == str(tmp_path / "outputs/photos-3")
        assert argv[argv.index("--dataset_config") + 1] == str(tmp_path / "outputs/photos-3/dataset.toml")


def test_check_says_what_would_stop_the_training(
    run: Run, run_json: RunJson, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    room = DiskFacts(total=1, free=0, mount=Path("/"), kind="x")
    monkeypatch.setattr("fluxgym_tui.checks.model_files.disk_facts", lambda _: room)
    code, found = run_json("check", photos, "--trigger", "x", "--backend", "builtin")
    assert code == 3
    assert (found["ready"], found["backend"], found["base_model"], found["pictures"]) == (
        False,
        "builtin",
        "flux-dev",
        3,
    )
    assert {finding["code"] for finding in found["findings"] if finding["severity"] == "error"} == {"model_room"}
    code, out, _ = run("check", photos, "--backend", "kohya", "--sd-scripts", tmp_path / "none")
    assert (code, out) == (4, "")
    assert run("check", photos, "--backend", "builtin")[1].splitlines()[-1].startswith("would not start: 1 error")


def test_info_reads_a_lora_from_its_header(run: Run, run_json: RunJson, tmp_path: Path) -> None:
    shapes = {"lora_unet_single_blocks_0_linear1.lora_down.weight": [4, 8], "x.alpha": []}
    header: dict[str, Any] = {"__metadata__": {"ss_network_alpha": "2.0", "ss_base_model_version": "flux1"}}
    offset = 0
    for name, shape in shapes.items():
        size = 2 * (shape[0] * shape[1] if shape else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    raw = json.dumps(header).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + b"\0" * offset)
    code, found = run_json("info", path)
    assert code == 0
    assert (found["kind"], found["parameters"], found["facts"]["network_dim"]) == ("flux-lora", 33, [4])
    code, out, _ = run("info", path, "--metadata")
    assert out.startswith("a.safetensors: FLUX LoRA, kohya's layout\n")
    assert "effective scale     0.5 (alpha / rank)" in out
    assert "ss_base_model_version  flux1" in out


@pytest.mark.parametrize("mark", ["\n", "\r", "\x0b", "\x85", "\u2028"])
def test_a_line_break_in_a_file_name_forges_no_line(run: Run, tmp_path: Path, mark: str) -> None:
    folder = tmp_path / f"evil\x1b[2J{mark}error: fake"
    folder.mkdir()
    (folder / f"a{mark}error: fake{mark}  -> run evil.jpg").write_bytes(b"\xff\xd8\xff")
    (folder / f"b{mark}error: fake.png").write_bytes(_png(512, 512))
    calls = [
        ("scan", folder),
        ("plan", folder, "--images"),
        ("check", folder),
        ("train", folder, "--workspace", folder),
        ("scan", folder / "none"),
        ("plan", folder / "none.yaml"),
    ]
    for words in calls:
        _, out, err = run(*words)
        assert "error: fake" in out + err, words
        assert "\x1b" not in out + err, words
        lines = (out + err).splitlines()
        assert not [line for line in lines if line.strip().startswith(("error: fake", "-> run evil"))], words


@pytest.mark.parametrize("command", ["command", "train", "check"])
def test_a_checkout_that_is_named_is_used_or_refused(run: Run, photos: Path, tmp_path: Path, command: str) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "venv/bin").mkdir(parents=True)
    (checkout / "venv/bin/python").symlink_to("/bin/false")
    (checkout / "flux_train_network.py").touch()
    for backend in ("auto", "builtin", "kohya"):
        code, out, err = run(command, photos, "--backend", backend, "--sd-scripts", tmp_path / "none")
        assert (code, out) == (4, "")
        assert "is no checkout of sd-scripts" in err
    for options, says in (
        (["--backend", "builtin"], "backend builtin does not run it"),
        (["--base-model", "tiny-flux"], "the bundled base tiny-flux is trained by backend builtin"),
    ):
        code, out, err = run(command, photos, *options, "--sd-scripts", checkout)
        assert (code, out) == (2, "")
        assert f"--sd-scripts {checkout} has no use here: {says}" in err


def test_a_checkout_that_is_named_makes_auto_kohya_even_where_it_lacks_something(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    checkout = tmp_path / "checkout"
    (checkout / "venv/bin").mkdir(parents=True)
    (checkout / "venv/bin/python").symlink_to("/bin/false")
    (checkout / "flux_train_network.py").touch()
    code, out, err = run("command", photos, "--sd-scripts", checkout)
    assert code == 0
    assert str(checkout / "flux_train_network.py") in out
    assert "kohya cannot train: sd-scripts needs accelerate" in err
    code, out, err = run("train", photos, "--sd-scripts", checkout)
    assert (code, out) == (6, "")
    assert "kohya cannot train: sd-scripts needs accelerate" in err


def test_the_plan_counts_the_samples_that_will_be_made(run: Run, photos: Path) -> None:
    prompts = [word for text in ("# 1 girl", "a cat", "a dog") for word in ("--sample-prompt", text)]
    code, out, _ = run("plan", photos, "--trigger", "x", "--sample-every-n-steps", "100", *prompts)
    assert code == 0
    assert "each of 2 prompts" in out
    assert "warning: prompt 1 begins with #" in out


@pytest.mark.parametrize(("rate", "written"), [("8e-4", "8e-4"), ("0.002", "2e-3"), ("0.01", "0.01"), ("1e-5", "1e-5")])
def test_a_new_spec_has_a_line_for_the_trigger_and_rates_as_people_write_them(
    run: Run, photos: Path, tmp_path: Path, rate: str, written: str
) -> None:
    path = tmp_path / "s.yaml"
    assert run("new", photos, "-o", path, "--learning-rate", rate)[0] == 0
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    assert lines[2].startswith("trigger: null  ")
    assert "# caption of pictures that have none" in lines[2]
    assert f"  learning_rate: {written} " in text
    spec = load_spec(path)
    assert (spec.trigger, spec.training.learning_rate) == (None, float(rate))
    named = update_spec_text(text, spec.model_copy(update={"trigger": "hrld"}), folder=tmp_path, origin="s.yaml")
    assert named == text.replace("trigger: null", "trigger: hrld", 1)


def test_new_prints_to_a_dash(run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("new", photos, "-o", "-")
    assert code == 0
    assert out.startswith("schema: 1 ")
    assert not (tmp_path / "-").exists()
