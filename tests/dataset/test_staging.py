"""The staging folder: an exact mirror, made once, of folders that are never touched."""

import hashlib
import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.dataset import mirror, pixels
from fluxgym_tui.dataset.scan import scan
from fluxgym_tui.dataset.scanned import ScannedImage
from fluxgym_tui.dataset.staged_names import staged_stems
from fluxgym_tui.dataset.staging import StagedDataset, StageSource, stage, staging_folder
from tests.dataset.picture_files import encoded, gradient, save


def fingerprint(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Every file and folder below `folder`: its time of change, mode and content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        found[str(path.relative_to(folder))] = (status.st_mtime_ns, status.st_mode, content)
    return found


def names(dataset: StagedDataset) -> list[str]:
    """The staged pictures, relative to the staging folder."""
    return [str(item.path.relative_to(dataset.folder)) for subset in dataset.subsets for item in subset.pictures]


def inodes(folder: Path) -> dict[str, int]:
    """The very files in `folder`, but for the manifest, which is written anew each time."""
    return {path.name: path.lstat().st_ino for path in folder.iterdir() if path.name != mirror.MANIFEST}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of pictures of the usual kinds."""
    folder = tmp_path / "photos"
    save(folder / "a.png", caption="a cat")
    save(folder / "B.JPG", caption="first line\nsecond line")
    save(folder / "turned.jpg", orientation=6)
    save(folder / "sub" / "a.png", caption="hidden below")
    return folder


def of(folder: Path, trigger: str | None = "hrld person") -> Sequence[StageSource]:
    return [StageSource(folder, trigger)]


def test_a_mirror_of_links_and_copies(photos: Path, tmp_path: Path) -> None:
    before = fingerprint(photos)
    target = tmp_path / "datasets" / "hrld"
    seen: list[tuple[int, int]] = []
    staged = stage(of(photos), target, progress=lambda done, total: seen.append((done, total)))
    assert names(staged) == ["B.jpg", "a.png", "turned.jpg", "sub-a.png"]
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert {path.name for path in target.iterdir()} == {
        "B.jpg", "B.txt", "a.png", "a.txt", "turned.jpg", "turned.txt", "sub-a.png", "sub-a.txt", mirror.MANIFEST,
    }  # fmt: skip
    assert (target / "a.png").readlink() == photos / "a.png"
    assert (target / "B.txt").read_bytes() == b"first line\n"
    assert (target / "turned.txt").read_bytes() == b"hrld person\n"
    assert not (target / "turned.jpg").is_symlink()
    with Image.open(target / "turned.jpg") as upright:
        assert upright.size == (30, 40)
    for subset in staged.subsets:
        assert subset.image_dir == target
        for picture in subset.pictures:
            with Image.open(picture.path) as opened:
                assert opened.size == (picture.width, picture.height)
    assert fingerprint(photos) == before


def test_staging_again_touches_nothing(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "staged"
    first = stage(of(photos), target, resize=20)
    made = inodes(target)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("rendered again")

    monkeypatch.setattr(mirror, "render", refuse)
    assert stage(of(photos), target, resize=20).subsets == first.subsets
    assert inodes(target) == made


def test_what_was_removed_is_removed(photos: Path, tmp_path: Path) -> None:
    target = tmp_path / "staged"
    stage(of(photos), target)
    for name in ("a_0040x0030_flux.npz", "a_flux_te.npz", "turned_flux_te.npz", "B_flux_te.npz.fingerprint.json"):
        (target / name).touch()
    (photos / "turned.jpg").unlink()
    (photos / "B.JPG").unlink()
    staged = stage(of(photos), target)
    assert names(staged) == ["a.png", "sub-a.png"]
    assert set(inodes(target)) == {
        "a.png", "a.txt", "sub-a.png", "sub-a.txt", "a_0040x0030_flux.npz", "a_flux_te.npz",
    }  # fmt: skip


def test_a_change_drops_its_own_cache_and_no_other(photos: Path, tmp_path: Path) -> None:
    target = tmp_path / "staged"
    stage(of(photos), target)
    latents, text = target / "a_0040x0030_flux.npz", target / "a_flux_te.npz"
    others = [target / "B_0040x0030_flux.npz", target / "B_flux_te.npz"]
    for path in (latents, text, *others):
        path.touch()
    (photos / "a.txt").write_text("a dog", encoding="utf-8")
    stage(of(photos), target)
    assert (latents.exists(), text.exists()) == (True, False)
    assert (target / "a.txt").read_bytes() == b"a dog\n"
    text.touch()
    save(photos / "a.png", size=(50, 60))
    stage(of(photos), target)
    assert (latents.exists(), text.exists()) == (False, True)
    assert all(path.exists() for path in others)


def test_the_trigger_is_the_caption_of_pictures_without_one(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for name, caption in (("none", None), ("blank", "  \n"), ("own", "my words")):
        save(photos / f"{name}.png", caption=caption)
    target = tmp_path / "staged"
    captions = {item.path.stem: item.caption for item in stage(of(photos), target).subsets[0].pictures}
    assert captions == {"none": "hrld person", "blank": "hrld person", "own": "my words"}
    blank = stage(of(photos, trigger=" \n "), target)
    assert {item.path.stem: item.caption for item in blank.subsets[0].pictures}["none"] is None
    stage(of(photos), target)
    text = target / "none_flux_te.npz"
    text.touch()
    without = stage(of(photos, trigger=None), target)
    assert {item.path.stem: item.caption for item in without.subsets[0].pictures}["none"] is None
    assert not (target / "none.txt").exists()  # sd-scripts stops at an empty file
    assert not text.exists()


def test_resizing(photos: Path, tmp_path: Path) -> None:
    target = tmp_path / "staged"
    staged = stage(of(photos), target, resize=15)
    assert [(item.width, item.height) for item in staged.subsets[0].pictures] == [
        (20, 15), (20, 15), (15, 20), (20, 15),
    ]  # fmt: skip
    linked = stage(of(photos), target, resize=0)
    assert [item.path.is_symlink() for item in linked.subsets[0].pictures] == [True, True, False, True]
    larger = stage(of(photos), target, resize=60, downscale_only=False)
    assert {min(item.width, item.height) for item in larger.subsets[0].pictures} == {60}
    back = stage(of(photos), target, resize=60, downscale_only=True)
    assert {min(item.width, item.height) for item in back.subsets[0].pictures} == {30}


def test_several_sources_have_folders_of_their_own(photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "their dog"
    save(other / "a.png", caption="a dog")
    target = tmp_path / "staged"
    sources = [StageSource(photos, "hrld"), StageSource(other, "dog", num_repeats=3, is_reg=True)]
    staged = stage(sources, target)
    assert [subset.image_dir.name for subset in staged.subsets] == ["1_photos", "2_their dog"]
    assert [subset.source for subset in staged.subsets] == sources
    assert "2_their dog/a.png" in names(staged)
    alone = stage(of(photos), target)
    assert not (target / "2_their dog").exists()
    assert not (target / "1_photos").exists()
    assert len(names(alone)) == 4


def test_names_never_clash_and_are_safe(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for name in ("a.png", "a.jpg", "A.webp", "x/a.png", "x-a.png", "x/y/a.png", "..b.png", "c\n\x1b[31m.png"):
        save(photos / name, caption=name.replace("\n", " "))
    save(photos / os.fsdecode(b"caf\xe9.png"), caption="latin")
    save(photos / f"{'ü' * 120}.png", caption="long")
    images = scan(photos).images
    staged = stage(of(photos), tmp_path / "staged")
    stems = [item.path.stem.casefold() for item in staged.subsets[0].pictures]
    assert len(set(stems)) == len(stems) == len(images) >= 9
    for item, image in zip(staged.subsets[0].pictures, images, strict=True):
        assert item.source == image.path
        assert item.caption == image.caption
        assert item.path.name.isprintable()
        assert not item.path.name.startswith(".")
        assert len(item.path.name.encode()) < 200  # room for what caches append
    assert {"A.webp", "x-a.png", "x-y-a.png"} <= set(names(staged))
    assert stage(of(photos), tmp_path / "staged").subsets == staged.subsets


@given(st.sets(st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=8)))
def test_stems_are_unique_for_any_names(found: set[str]) -> None:
    paths = [f"/photos/{folder}/{name}.png" for name in sorted(found) for folder in ("x", ".")]
    stems = staged_stems(paths, root=Path("/photos"))
    assert len({normalize("NFC", stem).casefold() for stem in stems}) == len(paths)
    assert not any("/" in stem for stem in stems)
    assert staged_stems(paths[::-1], root=Path("/photos")) == stems[::-1]


def test_a_picture_that_cannot_be_decoded_is_left_out_and_told(photos: Path, tmp_path: Path) -> None:
    data = bytearray(encoded(gradient(64, 64, "RGBA"), "PNG"))
    data[len(data) // 2 : len(data) // 2 + 9] = b"\xff" * 9
    (photos / "bad.png").write_bytes(data)
    staged = stage(of(photos), tmp_path / "staged")
    assert "bad.png" not in names(staged)
    assert not (tmp_path / "staged" / "bad.txt").exists()
    assert [finding.path for finding in staged.findings if finding.code == "broken"] == [str(photos / "bad.png")]


def test_what_changes_in_copies_is_told_once(photos: Path, tmp_path: Path) -> None:
    for number in range(5):
        (photos / f"clear{number}.png").write_bytes(encoded(Image.new("RGBA", (9, 9 + number)), "PNG"))
    notes = {finding.code: finding.detail or "" for finding in stage(of(photos), tmp_path / "staged").findings}
    assert notes["alpha_on_white"].startswith("5 pictures: ")
    assert notes["turned_upright"].startswith("1 picture: ")


def test_large_pictures_are_decoded_one_at_a_time(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "_LARGE_PIXELS", 0)
    at_once = []
    held = threading.Lock()
    real = pixels.render

    def note(image: ScannedImage, **options: bool) -> tuple[bytes, tuple[int, int]]:
        at_once.append(held.acquire(blocking=False))
        made = real(image, **options)
        held.release()
        return made

    monkeypatch.setattr(mirror, "render", note)
    assert len(names(stage(of(photos), tmp_path / "staged", resize=20))) == 4
    assert at_once == [True] * 4


def test_copies_where_links_fail(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    staged = stage(of(photos), tmp_path / "staged")
    assert len(names(staged)) == 4
    assert not any(item.path.is_symlink() for item in staged.subsets[0].pictures)
    assert (tmp_path / "staged" / "a.png").read_bytes() == (photos / "a.png").read_bytes()


def test_an_interrupted_staging_goes_on(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "staged"

    def interrupt(done: int, _: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage(of(photos), target, resize=20, progress=interrupt)
    known = json.loads((target / mirror.MANIFEST).read_text(encoding="utf-8"))["files"]
    assert {"B.jpg", "a.png"} <= set(known)
    rendered = []
    real = pixels.render

    def note(image: object, **options: object) -> object:
        rendered.append(image)
        return real(image, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(mirror, "render", note)
    staged = stage(of(photos), target, resize=20)
    assert len(names(staged)) == 4
    assert len(rendered) == 4 - len(known)
    rendered.clear()
    with pytest.raises(KeyboardInterrupt):
        stage(of(photos), target, resize=20, progress=interrupt)
    stage(of(photos), target, resize=20)
    assert rendered == []


def test_a_damaged_manifest_is_made_anew(photos: Path, tmp_path: Path) -> None:
    target = tmp_path / "staged"
    first = stage(of(photos), target)
    for text in ("{", "[]", '{"schema": 99, "files": {}}'):
        (target / mirror.MANIFEST).write_text(text, encoding="utf-8")
        assert stage(of(photos), target).subsets == first.subsets


def test_folders_of_the_users_are_not_taken(photos: Path, tmp_path: Path) -> None:
    datasets = tmp_path / "datasets"
    theirs = save(datasets / "hrld" / "mine.png", caption="mine").parent
    before = fingerprint(theirs)
    with pytest.raises(FluxgymError, match="not staged by fluxgym-tui"):
        stage(of(photos), theirs)
    for source, target in ((photos, photos), (photos, photos / "below"), (photos / "sub", photos)):
        with pytest.raises(FluxgymError, match="lie in each other"):
            stage(of(source), target)
    assert fingerprint(theirs) == before
    assert staging_folder(datasets, "new", sources=[photos]) == datasets / "new"
    assert staging_folder(datasets, "hrld", sources=[theirs]) == datasets / "hrld-staged"
    stage(of(theirs), datasets / "hrld-staged")
    assert staging_folder(datasets, "hrld", sources=[theirs]) == datasets / "hrld-staged"
    assert staging_folder(datasets, "hrld", sources=[datasets / "hrld-staged"]) == datasets / "hrld-staged-2"
    with pytest.raises(FluxgymError, match="holds the workspace's own folder"):
        staging_folder(datasets, "hrld", sources=[tmp_path])
    assert fingerprint(theirs) == before
