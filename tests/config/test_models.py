"""models.yaml: what is packaged, what a user adds, and where files lie."""

from dataclasses import replace
from pathlib import Path

import pytest

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.config.models import (
    MissingFile,
    ModelEntry,
    ModelFiles,
    find_model,
    load_models,
    local_files,
    model_folders,
)
from fluxgym_tui.config.resources import bundled
from tests.hub.model_files import put_model


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def missing(found: ModelFiles | tuple[MissingFile, ...]) -> dict[str, MissingFile]:
    assert isinstance(found, tuple)
    return {item.role: item for item in found}


def test_the_packaged_models_are_there() -> None:
    models = load_models()
    assert {"flux-dev", "flux-dev-official", "flux-schnell", "dev2pro", "krea-dev", "flex1-alpha"} <= set(models)
    assert {"chroma1-base", "chroma1-hd", "flux-dev-fp8", "tiny-flux"} <= set(models)
    assert [key for key, entry in models.items() if entry.gated] == ["flux-dev-official", "flux-schnell", "krea-dev"]
    for entry in models.values():
        assert entry.license
        assert entry.base
        assert (entry.license_name is not None) == (entry.license == "other")
    assert models["chroma1-hd"].roles == ("transformer", "t5xxl", "ae")
    assert models["chroma1-hd"].flags["model_type"] == "chroma"


@pytest.mark.parametrize("name", ["flux-dev", "DEV", "FLUX.1-dev", "dev2pro", "bdsqlsz/flux1-dev2pro-single", "Chroma"])
def test_a_model_is_found_by_key_or_alias_in_any_case(name: str) -> None:
    assert find_model(name, load_models()).key in ("flux-dev", "dev2pro", "chroma1-hd")


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(FluxgymError) as caught:
        find_model("flux-shnell", load_models())
    assert "no base model is called flux-shnell" in caught.value.message
    assert "Did you mean flux-schnell?" in str(caught.value.hint)


def test_no_key_or_alias_means_two_models() -> None:
    words = [word.lower() for entry in load_models().values() for word in (entry.key, *entry.aliases)]
    assert len(words) == len(set(words))


def test_missing_files_say_where_they_belong_and_come_from(tmp_path: Path) -> None:
    lacking = missing(local_files(load_models()["flux-dev"], workspace=tmp_path))
    assert lacking["transformer"].path == tmp_path / "models/unet/flux1-dev.sft"
    assert str(lacking["transformer"].source) == "cocktailpeanut/xulf-dev/flux1-dev.sft"
    assert lacking["clip_l"].path == tmp_path / "models/clip/clip_l.safetensors"
    assert lacking["t5xxl"].path == tmp_path / "models/clip/t5xxl_fp16.safetensors"
    assert lacking["ae"].path == tmp_path / "models/vae/ae.sft"
    small = missing(local_files(load_models()["flux-dev"], workspace=tmp_path, small_t5=True))
    assert small["t5xxl"].source.size_gb == 4.9
    other = missing(local_files(load_models()["dev2pro"], workspace=tmp_path))
    assert other["transformer"].path == tmp_path / "models/unet/bdsqlsz/flux1-dev2pro-single/flux1-dev2pro.safetensors"


def test_files_that_are_there_are_found_under_every_usual_name(tmp_path: Path) -> None:
    models = tmp_path / "models"
    unet = put(models / "unet/flux1-dev2pro.safetensors")
    clip = put(models / "clip/clip_l.safetensors")
    fp8 = put(models / "clip/t5xxl_fp8_e4m3fn.safetensors")
    ae = put(models / "vae/ae.safetensors")
    entry = load_models()["dev2pro"]
    assert local_files(entry, workspace=tmp_path) == ModelFiles(transformer=unet, clip_l=clip, t5xxl=fp8, ae=ae)
    fp16 = put(models / "clip/t5xxl_fp16.safetensors")
    (models / "tokenizers").mkdir()
    found = local_files(entry, workspace=tmp_path)
    assert isinstance(found, ModelFiles)
    assert (found.t5xxl, found.tokenizer_cache_dir) == (fp16, models / "tokenizers")
    small = local_files(entry, workspace=tmp_path, small_t5=True)
    assert isinstance(small, ModelFiles)
    assert small.t5xxl == fp8


def test_the_tiny_base_lies_in_the_examples(tmp_path: Path) -> None:
    entry = load_models()["tiny-flux"]
    folder = bundled("models.yaml").parent / "examples/tiny-flux"
    assert {source.path.parent for source in entry.sources.values() if source.path} == {folder}
    assert entry.bundled


FLUXGYM = """\
# Add your own model here
flux-dev:
    repo: me/my-dev
    base: black-forest-labs/FLUX.1-dev
    license: other
    license_name: flux-1-dev-non-commercial-license
    license_link: https://example.org/LICENSE.md
    file: my-dev.safetensors
me/other:
    repo: me/other
    base: me/other
    license: apache-2.0
    file: other.safetensors
"""


def test_fluxgyms_own_file_is_read_over_the_packaged_one(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(FLUXGYM, encoding="utf-8")
    models = load_models(workspace=tmp_path)
    assert models["flux-dev"].sources["transformer"].repo == "me/my-dev"
    assert models["flux-schnell"].gated
    lacking = missing(local_files(models["me/other"], workspace=tmp_path))
    assert lacking["transformer"].path == tmp_path / "models/unet/me/other/other.safetensors"
    assert lacking["t5xxl"].source.file == "t5xxl_fp16.safetensors"


def test_fluxgyms_keys_are_no_second_model(tmp_path: Path) -> None:
    """fluxgym's own models.yaml, whose keys are a key and two aliases of ours, beside what it says of its own."""
    (tmp_path / "models.yaml").write_text(
        "flux-dev:\n    repo: cocktailpeanut/xulf-dev\n    base: black-forest-labs/FLUX.1-dev\n    license: other\n"
        "    license_name: theirs\n    file: flux1-dev.sft\n"
        "bdsqlsz/flux1-dev2pro-single:\n    repo: bdsqlsz/flux1-dev2pro-single\n"
        "    base: black-forest-labs/FLUX.1-dev\n    license: other\n    file: flux1-dev2pro.safetensors\n"
        "krea:\n    repo: me/krea\n    license: mit\n    file: mine.safetensors\n",
        encoding="utf-8",
    )
    packaged, models = load_models(), load_models(workspace=tmp_path)
    assert [key for key in models if key not in packaged] == ["krea"]
    flux = models["flux-dev"]
    assert (flux.license_name, flux.title, flux.aliases) == ("theirs", *_said(packaged["flux-dev"]))
    assert flux.sources["transformer"] == packaged["flux-dev"].sources["transformer"]
    assert find_model("bdsqlsz/flux1-dev2pro-single", models).key == "dev2pro"
    assert find_model("krea", models).sources["transformer"].repo == "me/krea"
    assert find_model("flux-krea-dev", models).key == "krea-dev"
    assert "krea" not in models["krea-dev"].aliases


def _said(entry: ModelEntry) -> tuple[str, tuple[str, ...]]:
    return entry.title, entry.aliases


def test_schnell_is_not_recommended() -> None:
    assert str(load_models()["flux-schnell"].note).startswith("not recommended")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("FLUX.2", "FLUX.2 is another architecture"),
        ("flux2-dev", "FLUX.2 is another architecture"),
        ("black-forest-labs/FLUX.2-klein-4B", "FLUX.2 is another architecture"),
        ("FLUX.1-Kontext-dev", "Kontext learns from pairs"),
        ("flux1-fill-dev", "Fill has inputs for a mask"),
        ("FLUX.1-Redux-dev", "takes a picture as input"),
        ("flux-canny-dev", "takes a picture as input"),
    ],
)
def test_what_cannot_be_trained_is_refused_by_name(name: str, reason: str) -> None:
    with pytest.raises(FluxgymError) as caught:
        find_model(name, load_models())
    assert f"{name} cannot be the base model" in caught.value.message
    assert reason in caught.value.message


@pytest.mark.parametrize("name", ["flux-klien", "my-model", "philippa"])
def test_other_words_are_not_taken_for_them(name: str) -> None:
    with pytest.raises(FluxgymError, match="no base model is called"):
        find_model(name, load_models())


def test_folders_are_named_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert model_folders(workspace=tmp_path) == ()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "models.yaml").write_text("folders: [/data/ComfyUI, ~/weights, here]\n", encoding="utf-8")
    assert model_folders(workspace=tmp_path) == (
        Path("/data/ComfyUI"),
        tmp_path / "home/weights",
        tmp_path / "here",
    )
    assert load_models(workspace=tmp_path) == load_models()


def test_sizes_are_known_exactly_or_about() -> None:
    models = load_models()
    dev = models["flux-dev-official"].sources["transformer"]
    assert (dev.size_bytes, dev.size_gb, dev.about_bytes) == (23_802_932_552, 23.8, 23_802_932_552)
    assert models["flux-dev"].sources["transformer"].about_bytes == 23_800_000_000
    assert models["tiny-flux"].sources["transformer"].about_bytes is None
    for entry in models.values():
        for source in entry.sources.values():
            assert (source.size_bytes is None) == (source.sha256 is None)


def test_a_file_of_ones_own_is_named_by_path(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(
        "mine:\n  path: weights/mine.safetensors\n  base: me/mine\n  license: mit\n", encoding="utf-8"
    )
    entry = load_models(workspace=tmp_path)["mine"]
    assert entry.sources["transformer"].path == tmp_path / "weights/mine.safetensors"
    assert "transformer" in missing(local_files(entry, workspace=tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("m:\n  repo: a/b\n", ":1:1: m needs repo and file, or path"),
        ("m:\n  repo: a/b\n  file: c\n  gatd: true\n", ":4:3: m.gatd is not known here"),
        ("m:\n  repo: a/b\n  file: c\n  gated: maybe\n", ":4:3: m.gated must be true or false"),
        ("m:\n  repo: a/b\n  file: c\n  arch: sdxl\n", ":4:3: m.arch must be flux or chroma, not sdxl"),
        ("m:\n  repo: a/b\n  file: c\n  flags: {sdpaa: true}\n", ":4:11: m.flags.sdpaa is not known here"),
        ("m:\n  repo: a\n  file: c\n", ":2:3: m.repo must be owner/name, not 'a'"),
        ("m:\n  repo: ../..\n  file: c\n", ":2:3: m.repo must be owner/name, not '../..'"),
        ("m:\n  repo: a/b\n  file: ../c\n", ":3:3: m.file must be the name of a file in the repository"),
        ("m:\n  repo: a/b\n  file: c\n  sha256: 12ab\n", ":4:3: m.sha256 must be 64 hexadecimal digits, not '12ab'"),
        ("m:\n  repo: a/b\n  file: c\n  bytes: 0\n", ":4:3: m.bytes must be above 0"),
        ("m:\n  repo: a/b\n  file: c\n  bytes: 1.5\n", ":4:3: m.bytes must be a whole number"),
        ("m:\n  repo: a/b\n  file: c\n  names: {a: b}\n", ":4:3: m.names must be a list of texts"),
        ("m:\n  repo: black-forest-labs/FLUX.2-dev\n  file: flux2-dev.safetensors\n", ":2:3: m.repo cannot be trained"),
        ("m:\n  path: models/flux1-kontext-dev.safetensors\n", ":2:3: m.path cannot be trained: Kontext"),
        ("m:\n  repo: a/b\n  file: flux1_fill_dev.safetensors\n", ":3:3: m.file cannot be trained: Fill"),
        ("m:\n  repo: a/b\n  file: flux1-dev_fp8_scaled.safetensors\n", ":3:3: m.file cannot be trained: a *_fp8"),
        ("folders: {a: b}\n", ":1:1: folders must be a list of texts"),
        ("m: a/b\n", ":1:1: m must be keys with values"),
        ("- m\n", ":1:1: the file must be keys with values"),
        ("m:\n  repo: a\n  repo: b\n", ":3:3: repo is written twice"),
    ],
)
def test_a_broken_file_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "models.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(FluxgymError) as caught:
        load_models(workspace=tmp_path)
    assert caught.value.message.startswith(f"{tmp_path / 'models.yaml'}{message}")


def test_an_empty_file_adds_nothing(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text("# none yet\n", encoding="utf-8")
    assert load_models(workspace=tmp_path) == load_models()


def test_a_base_model_may_be_named_by_the_path_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = load_models()
    mine = put_model(tmp_path / "home/mine.safetensors", "flux")
    entry = find_model(str(mine), models)
    assert (entry.key, entry.title, entry.license, entry.base) == (str(mine), "mine.safetensors", None, None)
    assert entry.sources["transformer"].path == mine
    assert entry.sources["t5xxl"] == models["flux-dev"].sources["t5xxl"]
    assert find_model(entry.key, models) == entry
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert find_model("~/mine.safetensors", models).key == str(mine)
    chroma = find_model(str(put_model(tmp_path / "c.safetensors", "chroma")), models)
    assert (chroma.arch, chroma.roles, chroma.flags) == (
        "chroma",
        ("transformer", "t5xxl", "ae"),
        models["chroma1-hd"].flags,
    )


def test_a_path_to_the_very_file_of_a_known_model_has_its_licence(tmp_path: Path) -> None:
    models = load_models()
    file = put_model(tmp_path / "flux1-schnell.safetensors", "flux")
    schnell = models["flux-schnell"]
    exact = replace(schnell.sources["transformer"], size_bytes=file.stat().st_size)
    models["flux-schnell"] = replace(schnell, sources={**schnell.sources, "transformer": exact})
    entry = find_model(str(file), models)
    assert (entry.title, entry.license, entry.base, entry.note) == (
        "FLUX.1-schnell",
        "apache-2.0",
        "black-forest-labs/FLUX.1-schnell",
        schnell.note,
    )


def test_a_path_that_will_not_do_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put_model(tmp_path / "t5.safetensors", "t5")
    put_model(tmp_path / "scaled.safetensors", "scaled")
    put_model(tmp_path / "flux1-kontext-dev.safetensors", "flux")
    (tmp_path / "page.safetensors").write_text("<html>", encoding="utf-8")
    for name, message in (
        ("./t5.safetensors", "is no whole path"),
        (f"{tmp_path}/none.safetensors", "there is no"),
        (f"{tmp_path}/t5.safetensors", "it is a T5 text encoder"),
        (f"{tmp_path}/scaled.safetensors", "trains to noise"),
        (f"{tmp_path}/flux1-kontext-dev.safetensors", "Kontext learns from pairs"),
        (f"{tmp_path}/page.safetensors", "is not a safetensors file"),
    ):
        with pytest.raises(FluxgymError) as caught:
            find_model(name, load_models())
        assert message in caught.value.message
