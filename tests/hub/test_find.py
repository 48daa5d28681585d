"""Files that are here already are used where they lie; files that will not do are named with the reason."""

from dataclasses import replace
from pathlib import Path

import pytest

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.config.model_entry import FileSource, ModelEntry
from fluxgym_tui.config.models import load_models
from fluxgym_tui.hub.download import needed
from fluxgym_tui.hub.find import ModelState, model_state
from fluxgym_tui.hub.needs import fetch_words, state_words
from fluxgym_tui.hub.partial import partial_path
from fluxgym_tui.hub.places import hub_cache
from fluxgym_tui.hub.tokenizers import TOKENIZERS
from tests.hub.model_files import put_model


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "work/fluxgym"


@pytest.fixture
def flux() -> ModelEntry:
    """flux-dev with files of no particular size, so that small ones will do."""
    entry = load_models()["flux-dev"]
    sources = {
        role: replace(source, size_bytes=None, size_gb=None, sha256=None) for role, source in entry.sources.items()
    }
    return replace(entry, sources=sources)


def look(entry: ModelEntry, workspace: Path, *folders: Path, **env: str) -> ModelState:
    home = str(workspace.parent.parent / "home")
    return model_state(entry, workspace, folders=folders, env={"HOME": home, **env})


def put_all(models: Path) -> None:
    put_model(models / "unet/flux1-dev.sft", "flux")
    put_model(models / "clip/clip_l.safetensors", "clip")
    put_model(models / "clip/t5xxl_fp16.safetensors", "t5")
    put_model(models / "vae/ae.safetensors", "ae")


def put_tokenizers(home: Path) -> None:
    for tokenizer in TOKENIZERS:
        for file in tokenizer.files:
            tokenizer.folder(home).mkdir(parents=True, exist_ok=True)
            (tokenizer.folder(home) / file).write_text("{}", encoding="utf-8")


def test_nothing_is_here(flux: ModelEntry, workspace: Path) -> None:
    state = look(flux, workspace)
    assert (state.state, state.files, state.partial_bytes) == ("missing", None, 0)
    assert [file.role for file in state.missing] == ["transformer", "clip_l", "t5xxl", "ae"]
    assert state.expected.transformer == workspace / "models/unet/flux1-dev.sft"
    assert state.expected.tokenizer_cache_dir == workspace / "models/tokenizers"
    assert look(load_models()["dev2pro"], workspace).bytes_to_fetch == 23_800_000_000 + 246_144_152 + 9_787_841_024 + (
        340_000_000
    )
    assert look(flux, workspace).bytes_to_fetch is None


def test_fluxgyms_layout_is_used_as_it_is(flux: ModelEntry, workspace: Path) -> None:
    put_all(workspace / "models")
    put_tokenizers(workspace / "models/tokenizers")
    state = look(flux, workspace)
    assert state.state == "here"
    assert state.files == state.expected
    assert {file.owner for file in state.found.values()} == {"workspace"}
    assert state.expected.ae == workspace / "models/vae/ae.safetensors"
    assert needed(state) == ()


def test_a_line_of_facts_says_whether_it_is_here(flux: ModelEntry, workspace: Path) -> None:
    state = look(load_models()["flux-dev"], workspace)
    assert state_words(state, needed(state)) == "34.2 GB to download"
    assert state_words(state, ()) == "not here"
    unknown = look(flux, workspace)
    assert state_words(unknown, needed(unknown)) == "12 files to download"
    assert fetch_words(unknown, needed(unknown)) == "12 files of flux-dev to download"
    put_all(workspace / "models")
    put_tokenizers(workspace / "models/tokenizers")
    assert state_words(look(flux, workspace), ()) == "here"


def test_what_is_to_fetch_names_its_place_and_its_proof(workspace: Path) -> None:
    put_model(workspace / "models/unet/flux1-dev.sft", "flux")
    put_model(workspace / "models/vae/ae.sft", "ae")
    put_tokenizers(workspace / "models/tokenizers")
    state = look(load_models()["flux-dev"], workspace)
    assert state.state == "partly"
    clip, t5 = needed(state)
    assert (clip.repo, clip.target) == (
        "comfyanonymous/flux_text_encoders",
        workspace / "models/clip/clip_l.safetensors",
    )
    assert (t5.size_bytes, str(t5.sha256)[:8]) == (9_787_841_024, "6e480b09")
    small = model_state(load_models()["flux-dev"], workspace, small_t5=True, folders=(), env={"HOME": "/nowhere"})
    assert needed(small)[1].file == "t5xxl_fp8_e4m3fn.safetensors"


def test_what_a_broken_download_left_is_half_here(flux: ModelEntry, workspace: Path) -> None:
    target = workspace / "models/unet/flux1-dev.sft"
    target.parent.mkdir(parents=True)
    partial_path(target).write_bytes(bytes(1000))
    state = look(flux, workspace)
    assert (state.state, state.partial_bytes) == ("partly", 1000)
    assert "transformer" not in state.found


@pytest.mark.parametrize(
    ("top", "folders"),
    [
        ("home/ComfyUI", ("diffusion_models", "text_encoders", "vae/FLUX1")),
        ("home/comfy/ComfyUI", ("unet", "clip", "vae")),
        ("work/ComfyUI", ("unet/flux", "clip", "vae")),
        ("home/stable-diffusion-webui-forge", ("Stable-diffusion/Flux", "text_encoder", "VAE")),
        ("work/stable-diffusion-webui", ("Stable-diffusion", "text_encoder", "VAE")),
    ],
)
def test_other_programs_files_are_used_in_place(
    flux: ModelEntry, workspace: Path, tmp_path: Path, top: str, folders: tuple[str, str, str]
) -> None:
    models, (unet, text, vae) = tmp_path / top / "models", folders
    transformer = put_model(models / unet / "flux1-dev.safetensors", "flux")
    clip = put_model(models / text / "clip_l.safetensors", "clip")
    t5 = put_model(models / text / "t5xxl_fp16.safetensors", "t5")
    ae = put_model(models / vae / "ae.safetensors", "ae")
    state = look(flux, workspace)
    files = state.files
    assert files is not None
    assert (files.transformer, files.clip_l, files.t5xxl, files.ae) == (transformer, clip, t5, ae)
    assert str(tmp_path / top) in state.found["transformer"].owner
    assert not workspace.exists()


def test_folders_the_user_names_come_first(flux: ModelEntry, workspace: Path, tmp_path: Path) -> None:
    plain = put_model(tmp_path / "weights/flux1-dev.sft", "flux")
    put_model(tmp_path / "home/ComfyUI/models/unet/flux1-dev.sft", "flux")
    comfy = put_model(tmp_path / "far/models/vae/ae.safetensors", "ae")
    named = put_model(tmp_path / "named/models/clip/clip_l.safetensors", "clip")
    state = look(flux, workspace, tmp_path / "weights", tmp_path / "far", COMFYUI_PATH=str(tmp_path / "named"))
    assert state.found["transformer"].path == plain
    assert state.found["ae"].path == comfy
    assert state.found["clip_l"].path == named
    workspace.mkdir(parents=True)
    (workspace / "models.yaml").write_text(f"folders: [{tmp_path / 'weights'}]\n", encoding="utf-8")
    assert model_state(flux, workspace, env={"HOME": "/nowhere"}).found["transformer"].path == plain


def test_the_t5_that_is_wanted_anywhere_comes_before_the_other(
    flux: ModelEntry, workspace: Path, tmp_path: Path
) -> None:
    fp8 = put_model(workspace / "models/clip/t5xxl_fp8_e4m3fn.safetensors", "t5")
    assert look(flux, workspace).found["t5xxl"].path == fp8
    fp16 = put_model(tmp_path / "home/ComfyUI/models/clip/t5xxl_fp16.safetensors", "t5")
    assert look(flux, workspace).found["t5xxl"].path == fp16
    small = model_state(flux, workspace, small_t5=True, folders=(), env={"HOME": str(tmp_path / "home")})
    assert small.found["t5xxl"].path == fp8


def test_comfyuis_extra_paths_are_followed(flux: ModelEntry, workspace: Path, tmp_path: Path) -> None:
    comfy = tmp_path / "home/ComfyUI"
    comfy.mkdir(parents=True)
    (comfy / "extra_model_paths.yaml").write_text(
        f"here:\n  base_path: {tmp_path}/store\n  diffusion_models: |\n    unet\n    big\n  vae: vae\nodd: 5\n",
        encoding="utf-8",
    )
    flux_file = put_model(tmp_path / "store/big/flux1-dev.safetensors", "flux")
    ae = put_model(tmp_path / "store/vae/ae.safetensors", "ae")
    state = look(flux, workspace)
    assert (state.found["transformer"].path, state.found["ae"].path) == (flux_file, ae)
    (comfy / "extra_model_paths.yaml").write_text(": {broken", encoding="utf-8")
    assert look(flux, workspace).state == "missing"


def test_the_hubs_cache_is_used_newest_revision_first(flux: ModelEntry, workspace: Path, tmp_path: Path) -> None:
    repo = tmp_path / "home/.cache/huggingface/hub/models--cocktailpeanut--xulf-dev"
    put_model(repo / "snapshots/aaa/flux1-dev.sft", "flux")
    newest = put_model(repo / "snapshots/bbb/flux1-dev.sft", "flux")
    (repo / "refs").mkdir()
    (repo / "refs/main").write_text("bbb", encoding="ascii")
    state = look(flux, workspace)
    assert state.found["transformer"].path == newest
    assert state.found["transformer"].owner == "Hugging Face's cache"
    assert look(flux, workspace, HF_HUB_CACHE=str(tmp_path)).state == "missing"


def test_the_cache_is_found_as_its_library_finds_it() -> None:
    assert hub_cache({"HOME": "/h"}) == Path("/h/.cache/huggingface/hub")
    assert hub_cache({"HOME": "/h", "XDG_CACHE_HOME": "/c"}) == Path("/c/huggingface/hub")
    assert hub_cache({"HF_HOME": "/data/hf"}) == Path("/data/hf/hub")
    assert hub_cache({"HF_HOME": "/data/hf", "HF_HUB_CACHE": "/cache"}) == Path("/cache")


def test_tokenizers_in_the_cache_need_no_folder(flux: ModelEntry, workspace: Path, tmp_path: Path) -> None:
    put_all(workspace / "models")
    for tokenizer in TOKENIZERS:
        snapshot = tmp_path / f"home/.cache/huggingface/hub/models--{tokenizer.repo.replace('/', '--')}/snapshots/aaa"
        snapshot.mkdir(parents=True)
        (snapshot / tokenizer.vocabulary[-1]).write_text("{}", encoding="utf-8")
    state = look(flux, workspace)
    assert (state.tokenizers, state.expected.tokenizer_cache_dir) == ((), None)
    # A folder that is there is what trainers use: then it has to be whole.
    (workspace / "models/tokenizers").mkdir()
    assert len(look(flux, workspace).tokenizers) == 2


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("t5", "is not what it should be, but: T5 text encoder"),
        ("chroma", "is not what it should be, but: Chroma checkpoint"),
        ("fill", "takes 384 inputs, not 64"),
        ("flux2", "is not what it should be, but: FLUX.2 checkpoint"),
        ("scaled", "has scaled fp8 weights"),
    ],
)
def test_a_file_that_will_not_do_is_named_and_left_alone(
    flux: ModelEntry, workspace: Path, tmp_path: Path, kind: str, why: str
) -> None:
    put_model(tmp_path / "home/ComfyUI/models/unet/flux1-dev.safetensors", kind)
    state = look(flux, workspace)
    assert "transformer" not in state.found
    assert state.rejected[0].why.startswith(why)
    assert len(needed(state)) == 4 + 8  # what lies elsewhere stops nothing
    mine = put_model(workspace / "models/unet/flux1-dev.sft", kind)
    with pytest.raises(FluxgymError) as caught:
        needed(look(flux, workspace))
    assert caught.value.message.startswith(f"{mine} {why}")


def test_a_truncated_file_is_not_taken_for_whole(flux: ModelEntry, workspace: Path) -> None:
    whole = put_model(workspace / "models/unet/flux1-dev.sft", "flux")
    assert "transformer" in look(flux, workspace).found
    with whole.open("r+b") as file:
        file.truncate(5000)
    state = look(flux, workspace)
    assert state.rejected[0].why.startswith("is incomplete: 5,000 of at least")
    assert state.state == "missing"


def test_elsewhere_a_known_size_must_fit(workspace: Path, tmp_path: Path) -> None:
    put_model(tmp_path / "home/ComfyUI/models/clip/clip_l.safetensors", "clip")
    state = look(load_models()["flux-dev"], workspace)
    assert "clip_l" not in state.found
    assert "not the 246,144,152 of comfyanonymous/flux_text_encoders/clip_l.safetensors" in state.rejected[0].why
    mine = put_model(workspace / "models/clip/clip_l.safetensors", "clip")  # what the user put here is meant
    assert look(load_models()["flux-dev"], workspace).found["clip_l"].path == mine


def test_elsewhere_a_size_known_about_must_nearly_fit(flux: ModelEntry, workspace: Path, tmp_path: Path) -> None:
    path = put_model(tmp_path / "home/ComfyUI/models/unet/flux1-dev.safetensors", "flux")
    size_gb = path.stat().st_size / 1e9

    def about(size_gb: float) -> ModelEntry:
        return replace(
            flux,
            sources={**flux.sources, "transformer": replace(flux.sources["transformer"], size_gb=size_gb)},
        )

    assert "transformer" in look(about(size_gb * 1.03), workspace).found
    state = look(about(size_gb * 2), workspace)  # as an fp8 copy of the same name
    assert "transformer" not in state.found
    assert state.rejected[0].why.startswith("has 12.8 MB, not about 25.6 MB")


def test_a_path_the_user_names_is_taken_or_missed_as_such(flux: ModelEntry, workspace: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.safetensors"
    entry = replace(flux, sources={**flux.sources, "transformer": FileSource(path=mine)})
    with pytest.raises(FluxgymError, match=r"mine\.safetensors is not there"):
        needed(look(entry, workspace))
    put_model(mine, "flux")
    assert look(entry, workspace).found["transformer"].path == mine


def test_chroma_needs_its_own_kind_and_no_clip(workspace: Path, tmp_path: Path) -> None:
    entry = load_models()["chroma1-hd"]
    put_model(workspace / "models/unet/lodestones/Chroma1-HD/Chroma1-HD.safetensors", "chroma")
    state = look(entry, workspace)
    assert "transformer" in state.found
    assert [file.role for file in state.missing] == ["t5xxl", "ae"]
    assert state.expected.clip_l is None


def test_the_tiny_base_is_whole_as_it_comes(tmp_path: Path) -> None:
    state = model_state(load_models()["tiny-flux"], tmp_path, env={"HOME": str(tmp_path)})
    assert state.state == "here"
    assert needed(state) == ()
    assert state.expected.tokenizer_cache_dir is not None
