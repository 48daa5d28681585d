"""Cache names as sd-scripts has them, fingerprints, and digests that are remembered."""

import os
from pathlib import Path

import pytest

from fluxgym_tui.dataset import caches
from fluxgym_tui.dataset.caches import DigestCache, LatentKey, TextKey

LATENT = LatentKey(picture_digest="a", bucket=(64, 128), resized=(70, 128), crop=(3, 0, 67, 128), vae_digest="v")
TEXT = TextKey(caption="a cat", clip_digest="c", t5_digest="t", max_tokens=512)


def test_names_are_those_of_sd_scripts() -> None:
    picture = Path("d/china.v2.png")
    latents = caches.latent_cache_path(picture, width=320, height=214)
    text = caches.text_cache_path(picture)
    assert latents == Path("d/china.v2_0320x0214_flux.npz")
    assert text == Path("d/china.v2_flux_te.npz")
    for path in (latents, text):
        assert caches.cache_owner(path.name) == "china.v2"
        assert caches.cache_owner(caches.fingerprint_path(path).name) == "china.v2"
    assert caches.is_text_cache(caches.fingerprint_path(text))
    assert not caches.is_text_cache(latents)
    assert caches.cache_owner("a_flux.npz") is None
    assert caches.cache_owner("a.txt") is None


@pytest.mark.parametrize(
    "changed",
    [
        LatentKey(picture_digest="b", bucket=(64, 128), resized=(70, 128), crop=(3, 0, 67, 128), vae_digest="v"),
        LatentKey(picture_digest="a", bucket=(64, 64), resized=(70, 128), crop=(3, 0, 67, 128), vae_digest="v"),
        LatentKey(picture_digest="a", bucket=(64, 128), resized=(71, 128), crop=(3, 0, 67, 128), vae_digest="v"),
        LatentKey(picture_digest="a", bucket=(64, 128), resized=(70, 128), crop=(2, 0, 66, 128), vae_digest="v"),
        LatentKey(picture_digest="a", bucket=(64, 128), resized=(70, 128), crop=(3, 0, 67, 128), vae_digest="w"),
        TEXT,
    ],
)
def test_any_change_of_the_key_makes_a_cache_stale(tmp_path: Path, changed: LatentKey | TextKey) -> None:
    cache = tmp_path / "a_0320x0214_flux.npz"
    assert not caches.is_fresh(cache, LATENT)
    cache.write_bytes(b"latents")
    assert not caches.is_fresh(cache, LATENT)
    caches.record(cache, LATENT)
    assert caches.is_fresh(cache, LATENT)
    assert not caches.is_fresh(cache, changed)


@pytest.mark.parametrize("field", ["caption", "clip_digest", "t5_digest", "max_tokens"])
def test_any_change_of_a_text_key_makes_a_cache_stale(tmp_path: Path, field: str) -> None:
    cache = tmp_path / "a_flux_te.npz"
    cache.write_bytes(b"text")
    caches.record(cache, TEXT)
    values = {"caption": "a cat", "clip_digest": "c", "t5_digest": "t", "max_tokens": 512}
    assert caches.is_fresh(cache, TextKey(**values))  # type: ignore[arg-type]  # of mixed kinds by design
    values[field] = 77 if field == "max_tokens" else "other"
    assert not caches.is_fresh(cache, TextKey(**values))  # type: ignore[arg-type]


def test_a_cache_that_somebody_else_wrote_is_stale(tmp_path: Path) -> None:
    cache = tmp_path / "a_flux_te.npz"
    cache.write_bytes(b"ours")
    caches.record(cache, TEXT)
    os.utime(cache, ns=(1, 1))
    assert not caches.is_fresh(cache, TEXT)
    caches.record(cache, TEXT)
    caches.fingerprint_path(cache).write_text("{", encoding="utf-8")
    assert not caches.is_fresh(cache, TEXT)


def test_caches_by_owner(tmp_path: Path) -> None:
    for name in ("a_0040x0030_flux.npz", "a_flux_te.npz", "a_flux_te.npz.fingerprint.json", "b_flux_te.npz", "a.png"):
        (tmp_path / name).touch()
    owned = caches.caches_by_owner(tmp_path)
    assert {owner: len(paths) for owner, paths in owned.items()} == {"a": 3, "b": 1}


def test_digests_are_remembered_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = tmp_path / "t5.safetensors"
    model.write_bytes(b"weights")
    first = DigestCache.default()
    digest = first.digest(model)
    assert digest == caches.file_digest(model)
    assert first.knows(model)
    first.save()
    again = DigestCache.default()
    assert again.knows(model)
    model.write_bytes(b"weighty")
    os.utime(model, ns=(5, 5))
    assert not again.knows(model)
    assert again.digest(model) != digest


def test_two_caches_add_to_one_file_and_damage_is_an_empty_one(tmp_path: Path) -> None:
    store = tmp_path / "digests.json"
    files = [tmp_path / name for name in ("a", "b")]
    for path in files:
        path.write_bytes(path.name.encode())
    one, two = DigestCache(store), DigestCache(store)
    one.digest(files[0])
    two.digest(files[1])
    one.save()
    two.save()
    assert all(DigestCache(store).knows(path) for path in files)
    store.write_text("[1", encoding="utf-8")
    assert not DigestCache(store).knows(files[0])
    unwritable = DigestCache(store / "below" / "a-file.json")
    unwritable.digest(files[0])
    unwritable.save()  # says nothing: it is only a cache
    assert unwritable.knows(files[0])
