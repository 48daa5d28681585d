"""What a run publishes: the right checkpoint, its own samples and prompts, a spec that tells nothing of the machine."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.files import read_json, write_json
from fluxgym_tui.config.specfile import load_spec
from fluxgym_tui.runs.checkpoints import RunFiles
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.picked import pick
from fluxgym_tui.runs.publication import (
    Publication,
    note_published,
    prepare_publication,
    published_before,
    stale_samples,
)
from fluxgym_tui.runs.scrub import scrubbed_spec
from tests.runs.publishable import add_sample, publishable_run, sample_name, write_lora


def paths(publication: Publication) -> list[str]:
    return [file.path_in_repo for file in publication.files]


def widget(publication: Publication) -> list[tuple[str, str]]:
    data: Any = ModelCard(publication.card).data
    return [(entry["text"], entry["output"]["url"]) for entry in getattr(data, "widget", None) or []]


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    return tmp_path / "outputs"


def test_only_the_lora_its_card_its_samples_and_a_spec_go_up(outputs: Path) -> None:
    run = publishable_run(outputs)
    publication = prepare_publication(run, repo_id="ada/hrld-person")
    assert paths(publication) == [
        "hrld-person.safetensors",
        "README.md",
        "sample/hrld-person_e000008_00_20261122120000_42.png",
        "sample/hrld-person_e000008_01_20261122120000.png",
        "sample/hrld-person_e000008_02_20261122120000.png",
        "spec.yaml",
    ]
    assert widget(publication) == [
        ("hrld person riding a bike", "sample/hrld-person_e000008_00_20261122120000_42.png"),
        ('hrld person says: "cheese"', "sample/hrld-person_e000008_01_20261122120000.png"),
        ("hrld person in the rain", "sample/hrld-person_e000008_02_20261122120000.png"),
    ]
    data: Any = ModelCard(publication.card).data
    assert data.instance_prompt == "hrld person"
    assert data.base_model == "black-forest-labs/FLUX.1-dev"
    assert data.license_name == "flux-1-dev-non-commercial-license"
    for words in ("trained on 12 pictures", "640 steps (epoch 8)", "| resolution | 768x1024 |", "| num_repeats | 10 |"):
        assert words in publication.card
    assert publication.size_bytes == sum(file.size_bytes for file in publication.files)


@pytest.mark.parametrize("wanted", ["4", "hrld-person-000004.safetensors", "hrld-person-000004", "PATH"])
def test_a_checkpoint_goes_with_the_samples_of_its_own_moment(outputs: Path, wanted: str) -> None:
    run = publishable_run(outputs)
    file = run.output_dir / "hrld-person-000004.safetensors"
    publication = prepare_publication(run, repo_id="ada/x", checkpoint=str(file) if wanted == "PATH" else wanted)
    assert publication.checkpoint.path == file
    assert [url for _, url in widget(publication)] == [
        f"sample/{sample_name(run, 4, index, seed=42 if index == 0 else None)}" for index in range(3)
    ]
    assert "320 steps (epoch 4)" in publication.card


def test_the_picked_file_is_the_default(outputs: Path) -> None:
    run = publishable_run(outputs)
    assert RunFiles(run).choose().path.name == "hrld-person.safetensors"
    pick(run, run.output_dir / "hrld-person-000004.safetensors")
    assert RunFiles(run).choose().epoch == 4


def test_an_unknown_checkpoint_names_those_there_are(outputs: Path) -> None:
    run = publishable_run(outputs)
    with pytest.raises(FluxgymError, match="no LoRA file '5'") as caught:
        RunFiles(run).choose("5")
    assert "hrld-person-000004.safetensors (epoch 4)" in str(caught.value.hint)
    with pytest.raises(FluxgymError):
        RunFiles(run).choose("/elsewhere/hrld-person.safetensors")
    for file in run.output_dir.glob("*.safetensors"):
        file.unlink()
    with pytest.raises(FluxgymError, match="no LoRA file yet"):
        RunFiles(run).choose()


@pytest.mark.parametrize("name", ["hrld-000012", "2024_000100_00_20240101000000", "e000004", "run-step00000010"])
@pytest.mark.parametrize("journaled", [True, False])
def test_names_with_digits_are_read_right(outputs: Path, name: str, journaled: bool) -> None:
    run = publishable_run(outputs, name, journaled=journaled)
    files = RunFiles(run)
    assert [(one.path.name, one.step, one.epoch, one.last) for one in files.checkpoints] == [
        (f"{name}-000004.safetensors", 320, 4, False),
        (f"{name}.safetensors", 640, 8, True),
    ]
    for one in files.checkpoints:
        samples = files.samples_of(one)
        assert samples.exact
        assert [(picture.index, picture.epoch) for picture in samples.pictures] == [(i, one.epoch) for i in range(3)]
    assert files.choose("8").last


def test_fewer_samples_than_prompts_keep_their_own_prompts(outputs: Path) -> None:
    run = publishable_run(outputs)
    (run.samples / sample_name(run, 8, 0)).unlink()
    assert [text for text, _ in widget(prepare_publication(run, repo_id="ada/x"))] == [
        'hrld person says: "cheese"',
        "hrld person in the rain",
    ]
    shutil.rmtree(run.samples)
    publication = prepare_publication(run, repo_id="ada/x")
    assert widget(publication) == []
    assert "no pictures" in " ".join(publication.notes)
    assert paths(publication) == ["hrld-person.safetensors", "README.md", "spec.yaml"]


def test_a_sample_without_a_known_prompt_and_a_torn_one(outputs: Path) -> None:
    run = publishable_run(outputs)
    (run.output_dir / "sample_prompts.txt").write_text("# one\n\nonly this\n", encoding="utf-8")
    torn = run.samples / sample_name(run, 8, 2, seed=None)
    torn.write_bytes(torn.read_bytes()[:-4])
    assert [text for text, _ in widget(prepare_publication(run, repo_id="ada/x"))] == ["only this", "-"]


def test_of_two_pictures_of_one_prompt_the_newer_counts(outputs: Path) -> None:
    run = publishable_run(outputs)
    newer = add_sample(run, sample_name(run, 8, 0, second=59))
    assert widget(prepare_publication(run, repo_id="ada/x"))[0][1] == f"sample/{newer.name}"


def test_samples_counted_in_steps_belong_to_the_epoch_that_ends_there(outputs: Path) -> None:
    run = publishable_run(outputs, journaled=False)
    shutil.rmtree(run.samples)
    for step in (0, 320, 600):
        add_sample(run, f"{run.name}_{step:06d}_00_20261122120000_1.png")
    files = RunFiles(run)
    first = files.samples_of(files.choose("4"))
    assert (first.exact, first.step, len(first.pictures)) == (True, 320, 1)
    last = files.samples_of(files.choose())
    assert (last.exact, last.step) == (False, 600)
    publication = prepare_publication(run, repo_id="ada/x")
    assert "drawn at step 600, 40 steps before this file was saved" in publication.card


def test_the_base_models_own_samples_are_never_shown(outputs: Path) -> None:
    run = publishable_run(outputs)
    for path in run.samples.glob("*_e00000[48]_*"):
        path.unlink()
    assert widget(prepare_publication(run, repo_id="ada/x")) == []


def test_a_lora_of_no_numbers_is_not_published(outputs: Path) -> None:
    run = publishable_run(outputs)
    lora = run.output_dir / "hrld-person.safetensors"
    data = bytearray(lora.read_bytes())
    data[-4:] = b"\x00\x00\xc0\x7f"
    lora.write_bytes(data)
    with pytest.raises(FluxgymError, match="NaN"):
        prepare_publication(run, repo_id="ada/x")
    lora.write_bytes(data[:-40])
    with pytest.raises(FluxgymError, match="incomplete"):
        prepare_publication(run, repo_id="ada/x")


def test_the_spec_that_goes_up_names_nothing_of_this_machine(outputs: Path, tmp_path: Path) -> None:
    run = publishable_run(outputs)
    publication = prepare_publication(run, repo_id="ada/x")
    text = next(file.data for file in publication.files if file.path_in_repo == "spec.yaml").decode()
    for word in ("/home", "secret photos", "/mnt", "~", "ssh", "old.safetensors", "ae.sft", str(tmp_path), "logs"):
        assert word not in text
        assert word not in publication.card
    again = tmp_path / "spec.yaml"
    again.write_text(text, encoding="utf-8")
    spec, before = load_spec(again), load_spec(run.spec)
    assert spec.dataset.path == tmp_path / "photos"
    assert spec.training == before.training
    assert spec.training.lr_scheduler == "cosine"
    assert spec.flags == {}
    assert spec.extra_args == ("--noise_offset", "0.05", "--wandb_run_name=mine")
    assert spec.samples.prompts == (*before.samples.prompts[:3], "a cat")
    _, left_out = scrubbed_spec(run.spec)
    assert set(left_out) == {
        "after", "flags.logging_dir", "flags.network_weights", "samples.prompts", "extra_args --vae",
    }  # fmt: skip
    assert any("flags.logging_dir" in note for note in publication.notes)


def test_own_words_with_slashes_are_no_paths(outputs: Path, tmp_path: Path) -> None:
    run = publishable_run(outputs)
    raw = yaml.safe_load(run.spec.read_text(encoding="utf-8"))
    prompts = ["a cat and/or a dog, 1/2 profile, 3:4, f/2.8", "he said ~ hello"]
    raw["samples"]["prompts"] = prompts
    run.spec.write_text(yaml.safe_dump(raw), encoding="utf-8")
    text, _ = scrubbed_spec(run.spec)
    assert yaml.safe_load(text)["samples"]["prompts"] == prompts


def test_a_folder_without_facts_of_ours_is_published_by_its_files(outputs: Path) -> None:
    """As fluxgym leaves it: no manifest, no journal, no spec."""
    run = publishable_run(outputs, journaled=False)
    shutil.rmtree(run.run_dir)
    write_lora(
        run.output_dir / "hrld-person.safetensors",
        metadata={"ss_epoch": "8", "ss_steps": "640", "ss_sd_model_name": "mine.sft", "ss_learning_rate": "0.0008"},
    )
    publication = prepare_publication(run, repo_id="ada/x")
    assert [url for _, url in widget(publication)] == [
        f"sample/{sample_name(run, 8, index, seed=42 if index == 0 else None)}" for index in range(3)
    ]
    assert "mine.sft" in publication.card
    assert "| learning_rate | 0.0008 |" in publication.card
    assert "spec.yaml" not in paths(publication)
    assert not run.run_dir.exists()


def test_names_of_any_bytes_become_names_that_a_card_can_link(outputs: Path) -> None:
    run = publishable_run(outputs)
    old = run.output_dir
    odd = old.with_name("my lora \udcff")
    old.rename(odd)
    shutil.rmtree(odd / "run")
    for path in [*odd.glob("*.safetensors"), *(odd / "sample").iterdir()]:
        path.rename(path.with_name(path.name.replace("hrld-person", "my lora \udcff")))
    publication = prepare_publication(RunDirectory(odd), repo_id="a/b")
    assert paths(publication)[0] == "my lora _.safetensors"
    assert widget(publication)[0][1] == "sample/my_lora___e000008_00_20261122120000_42.png"
    assert "".join(paths(publication)).encode("utf-8")


def test_the_same_run_gives_the_same_bytes(outputs: Path) -> None:
    run = publishable_run(outputs)
    assert prepare_publication(run, repo_id="a/b") == prepare_publication(run, repo_id="a/b")


def test_the_run_remembers_where_it_was_published(outputs: Path) -> None:
    run = publishable_run(outputs)
    assert published_before(run) == {}
    first = prepare_publication(run, repo_id="ada/x", checkpoint="4")
    note_published(first, url="https://huggingface.co/ada/x", time=5.0)
    assert published_before(run)["repo_id"] == "ada/x"
    second = prepare_publication(run, repo_id="ada/x")
    assert stale_samples(second) == tuple(path for path in paths(first) if path.startswith("sample/"))
    assert stale_samples(prepare_publication(run, repo_id="ada/other")) == ()
    (run.run_dir / "published.json").write_text("[]", encoding="utf-8")
    assert published_before(run) == {}


def test_a_base_of_the_users_own_is_looked_up_in_the_workspace(outputs: Path) -> None:
    run = publishable_run(outputs, facts={"base_model": "mine"})
    workspace = outputs.parent
    assert "not in models.yaml" in " ".join(prepare_publication(run, repo_id="a/b", workspace=workspace).notes)
    (workspace / "models.yaml").write_text(
        "mine: {repo: ada/flux-mine, file: mine.safetensors, license: apache-2.0}\n", encoding="utf-8"
    )
    data: Any = ModelCard(prepare_publication(run, repo_id="a/b", workspace=workspace).card).data
    assert (data.base_model, data.license) == ("ada/flux-mine", "apache-2.0")


def test_of_a_base_model_that_is_a_path_only_the_files_name_goes_up(outputs: Path, tmp_path: Path) -> None:
    run = publishable_run(outputs, facts={"base_model": "/home/ada/models/mine.safetensors"})
    raw = yaml.safe_load(run.spec.read_text(encoding="utf-8"))
    raw["base_model"] = "/home/ada/models/mine.safetensors"
    run.spec.write_text(yaml.safe_dump(raw), encoding="utf-8")
    publication = prepare_publication(run, repo_id="a/b")
    assert "base model mine.safetensors" in publication.card
    for file in publication.files:
        assert b"/home" not in file.data
    assert not any("/home" in note for note in publication.notes)


def test_a_manifest_of_another_shape_does_no_harm(outputs: Path) -> None:
    run = publishable_run(outputs)
    write_json(run.manifest, {**read_json(run.manifest), "pictures": "many", "settings": None, "trigger": None})
    publication = prepare_publication(run, repo_id="a/b")
    assert "without a trigger" in publication.card
