"""kohya's dataset.toml: read by its rules, written as fluxgym writes it."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.config.dataset_toml import DatasetConfig, SubsetConfig, dump_dataset_toml, load_dataset_toml

# What fluxgym's interface writes for a square resolution, with buckets as the command line has them.
FLUXGYM = """\
[general]
shuffle_caption = false
caption_extension = '.txt'
keep_tokens = 1

[[datasets]]
resolution = 512
batch_size = 1
keep_tokens = 1

  [[datasets.subsets]]
  image_dir = '/gym/datasets/hrld-person'
  class_tokens = 'hrld person'
  num_repeats = 10
"""
BUCKETS = """\
[general]
shuffle_caption = false
caption_extension = '.txt'
keep_tokens = 1

[[datasets]]
resolution = [768, 1024]
batch_size = 4
keep_tokens = 1
enable_bucket = true
min_bucket_reso = 256
max_bucket_reso = 1024
bucket_reso_steps = 64
bucket_no_upscale = true

  [[datasets.subsets]]
  image_dir = "/gym/it's"
  class_tokens = 'a "quoted" word'
  num_repeats = 3

  [[datasets.subsets]]
  image_dir = '/gym/reg'
  num_repeats = 1
  is_reg = true
"""


def fluxgym_subset(image_dir: str, class_tokens: str | None, num_repeats: int, *, is_reg: bool = False) -> SubsetConfig:
    return SubsetConfig(
        image_dir=Path(image_dir),
        class_tokens=class_tokens,
        num_repeats=num_repeats,
        caption_extension=".txt",
        keep_tokens=1,
        is_reg=is_reg,
    )


PLAIN = (
    DatasetConfig(resolution=(512, 512), subsets=(fluxgym_subset("/gym/datasets/hrld-person", "hrld person", 10),)),
)
BUCKETED = (
    DatasetConfig(
        resolution=(768, 1024),
        batch_size=4,
        enable_bucket=True,
        bucket_no_upscale=True,
        subsets=(
            fluxgym_subset("/gym/it's", 'a "quoted" word', 3),
            fluxgym_subset("/gym/reg", None, 1, is_reg=True),
        ),
    ),
)


def load(tmp_path: Path, text: str, **fallback: object) -> tuple[DatasetConfig, ...]:
    path = tmp_path / "dataset.toml"
    path.write_text(text, encoding="utf-8")
    return load_dataset_toml(path, fallback=fallback)


@pytest.mark.parametrize(("datasets", "text"), [(PLAIN, FLUXGYM), (BUCKETED, BUCKETS)])
def test_it_is_written_as_fluxgym_writes_it_and_read_back_equal(
    tmp_path: Path, datasets: tuple[DatasetConfig, ...], text: str
) -> None:
    assert dump_dataset_toml(datasets) == text
    assert load(tmp_path, text) == datasets


def test_a_subsets_key_comes_before_its_datasets_then_general_then_the_command_line(tmp_path: Path) -> None:
    (dataset,) = load(
        tmp_path,
        """
[general]
keep_tokens = 1
batch_size = 2
caption_extension = ".general"
[[datasets]]
resolution = [640, 512]
keep_tokens = 2
caption_extension = ".dataset"
[[datasets.subsets]]
image_dir = "a"
keep_tokens = 3
[[datasets.subsets]]
image_dir = "b"
""",
        train_batch_size=9,
        enable_bucket=True,
        dataset_repeats=5,
        min_bucket_reso=None,
        caption_dropout_rate=0.5,
    )
    assert dataset.resolution == (640, 512)
    assert (dataset.batch_size, dataset.enable_bucket, dataset.min_bucket_reso) == (2, True, 256)
    first, second = dataset.subsets
    assert (first.keep_tokens, first.caption_extension, first.num_repeats) == (3, ".dataset", 5)
    assert (second.keep_tokens, second.caption_dropout_rate) == (2, 0.5)


def test_sd_scripts_defaults_hold_where_nothing_is_said(tmp_path: Path) -> None:
    (dataset,) = load(tmp_path, "[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'a'\n", resolution="768,1024")
    assert dataset.resolution == (768, 1024)
    assert (dataset.batch_size, dataset.max_bucket_reso, dataset.bucket_reso_steps) == (1, 1024, 64)
    (subset,) = dataset.subsets
    assert (subset.num_repeats, subset.caption_extension, subset.class_tokens) == (1, ".caption", None)


def test_what_sd_scripts_leaves_out_is_left_out_and_said(tmp_path: Path) -> None:
    (dataset,) = load(
        tmp_path,
        """
[[datasets]]
resolution = 512
[[datasets.subsets]]
image_dir = "a"
num_repeats = 2
[[datasets.subsets]]
image_dir = "b"
num_repeats = 0
[[datasets.subsets]]
image_dir = "a"
num_repeats = 7
""",
    )
    assert [(str(subset.image_dir), subset.num_repeats) for subset in dataset.subsets] == [("a", 2)]
    assert [(finding.code, finding.path) for finding in dataset.findings] == [
        ("repeats_under_one", "b"),
        ("folder_twice", "a"),
    ]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[[datasets]]\nresolution = 512\nresolutoin = 3\n", "unknown key datasets[0].resolutoin"),
        ("[[datasets]]\nresolution = 512\n[[datasets.subsets]]\nimage_dir='a'\nnum_repeat = 1\n", "num_repeat"),
        ("[genral]\nkeep_tokens = 1\n", "unknown key genral"),
        ("[general]\nimage_dir = 'a'\n", "unknown key general.image_dir"),
        ("[[datasets]]\nresolution = '512'\n", "datasets[0].resolution must be a whole number, or two"),
        ("[[datasets]]\nresolution = [1, 2, 3]\n", "datasets[0].resolution must be"),
        (
            "[[datasets]]\nresolution = 512\nbatch_size = 1.0\n",
            "datasets[0].batch_size must be a whole number, not 1.0",
        ),
        ("[[datasets]]\nresolution = 512\nenable_bucket = 1\n", "enable_bucket must be true or false, not 1"),
        ("[[datasets]]\nresolution = 512\nnetwork_multiplier = 1\n", "must be a number with a point"),
        ("[[datasets]]\nresolution = 512\n[[datasets.subsets]]\nnum_repeats = 1\n", "subsets[0] has no image_dir"),
        ("[[datasets]]\nbatch_size = 1\n", "datasets[0] has no resolution"),
        ("[[datasets]]\nresolution = 5\n[[datasets.subsets]]\nmetadata_file = 'a'\n", "a fine-tuning dataset"),
        ("[datasets]\nresolution = 512\n", "[[datasets]]"),
        ("[[datasets]]\nresolution = 512\nsubsets = 'a'\n", "[[datasets.subsets]]"),
        ("resolution = = 5\n", "line 1"),
        ("a = 1\na = 2\n", "line 2"),
    ],
)
def test_what_sd_scripts_refuses_is_refused_with_its_place(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(FluxgymError) as caught:
        load(tmp_path, text)
    assert what in caught.value.message
    assert str(tmp_path / "dataset.toml") in caught.value.message


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(FluxgymError, match="cannot read"):
        load_dataset_toml(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9\n")
    with pytest.raises(FluxgymError, match="not UTF-8"):
        load_dataset_toml(tmp_path / "latin.toml")


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "dataset.toml"
    path.write_text(FLUXGYM, encoding="utf-8-sig")
    assert load_dataset_toml(path) == PLAIN


def test_a_path_that_toml_cannot_hold_is_refused() -> None:
    config = DatasetConfig(resolution=(512, 512), subsets=(SubsetConfig(image_dir=Path("/caf\udce9")),))
    with pytest.raises(FluxgymError, match="not UTF-8"):
        dump_dataset_toml([config])


toml_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
subsets = st.builds(
    SubsetConfig,
    image_dir=st.uuids().map(lambda name: Path(f"/p {name}'\"\\")),
    num_repeats=st.integers(1, 99),
    class_tokens=st.none() | toml_texts,
    is_reg=st.booleans(),
    caption_extension=st.sampled_from([".txt", ".caption"]),
    keep_tokens=st.integers(0, 3),
    shuffle_caption=st.booleans(),
    flip_aug=st.booleans(),
    caption_prefix=st.none() | toml_texts,
    caption_dropout_rate=st.floats(0, 1),
    face_crop_aug_range=st.none() | st.just((2.0, 4.0)),
    custom_attributes=st.dictionaries(
        st.text(st.characters(codec="ascii", categories=["L", "P"]), min_size=1), st.integers(0, 9), max_size=2
    ),
)
datasets_st = st.builds(
    DatasetConfig,
    resolution=st.tuples(st.integers(64, 4096), st.integers(64, 4096)),
    batch_size=st.integers(1, 16),
    enable_bucket=st.booleans(),
    min_bucket_reso=st.integers(64, 512),
    bucket_no_upscale=st.booleans(),
    network_multiplier=st.floats(0.1, 2),
    validation_split=st.floats(0, 1),
    validation_seed=st.none() | st.integers(0, 9),
    subsets=st.lists(subsets, max_size=3).map(tuple),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(datasets_st, max_size=3))
def test_what_was_written_is_read_back_equal(
    tmp_path_factory: pytest.TempPathFactory, datasets: list[DatasetConfig]
) -> None:
    path = tmp_path_factory.getbasetemp() / "written.toml"
    path.write_text(dump_dataset_toml(datasets), encoding="utf-8")
    assert load_dataset_toml(path) == tuple(datasets)
