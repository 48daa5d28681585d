"""Specs as files: every trap of YAML read right or refused, every error at its line."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.config.spec import TrainSpec
from fluxgym_tui.config.specfile import build_spec, change_spec, dump_spec, load_spec, new_spec_text, parse_spec
from fluxgym_tui.config.values import Plain

HEAD = "name: x\ndataset: {path: a}\n"


def parse(text: str) -> TrainSpec:
    return parse_spec(text, folder=Path("/specs"), origin="s.yaml")


def refused(text: str) -> FluxgymError:
    with pytest.raises(FluxgymError) as caught:
        parse(text)
    return caught.value


def test_the_spec_of_the_design_is_read_as_it_says(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(
        """\
schema: 1
name: Hrld Person
trigger: hrld person
base_model: flux-dev
backend: auto
dataset:
  path: photos/hrld
  resolution: [768, 1024]
  resize: 0
  downscale_only: true
  enable_bucket: true
  bucket_no_upscale: true
  bucket_reso_steps: 64
  num_repeats: 10
  batch_size: 1
  subsets: []
training:
  vram: auto
  train_clip_l: false
  learning_rate: 8e-4
samples: {prompts: ["hrld person riding a bike --d 42"], every_n_steps: 100, every_n_epochs: 0, at_first: false}
flags: {lr_scheduler: cosine}
extra_args: []
after: {publish: false, notify: [phone], command: null}
""",
        encoding="utf-8",
    )
    spec = load_spec(path)
    assert spec.output_name == "hrld-person"
    assert spec.dataset.path == tmp_path / "photos/hrld"
    assert spec.dataset.resolution == (768, 1024)
    assert spec.training.learning_rate == 8e-4
    assert spec.training.lr_scheduler == "cosine"
    assert spec.samples.prompts == ("hrld person riding a bike --d 42",)
    assert spec.after.notify == ("phone",)
    assert spec.after.command is None


def test_a_short_spec_has_fluxgyms_defaults() -> None:
    spec = parse(HEAD)
    training, dataset = spec.training, spec.dataset
    assert (training.seed, training.max_data_loader_n_workers, training.learning_rate) == (42, 2, 8e-4)
    assert (training.network_dim, training.max_train_epochs, training.max_train_steps) == (4, 16, None)
    assert (training.save_every_n_epochs, training.guidance_scale, training.timestep_sampling) == (4, 1.0, "shift")
    assert (training.discrete_flow_shift, training.model_prediction_type, training.loss_type) == (3.1582, "raw", "l2")
    assert (dataset.resolution, dataset.num_repeats, dataset.batch_size, dataset.resize) == ((512, 512), 10, 1, 0)
    assert dataset.enable_bucket
    assert dataset.bucket_no_upscale
    assert not training.train_clip_l
    assert training.vram == "auto"
    assert spec.samples.prompts == ()
    assert not spec.after.publish


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("768", (768, 768)),
        ("[768, 0]", (768, 768)),
        ("[768]", (768, 768)),
        ("[768, 1024]", (768, 1024)),
        ("[1_024, 768]", (1024, 768)),
    ],
)
def test_resolution_as_people_write_it(written: str, read: tuple[int, int]) -> None:
    assert parse(f"name: x\ndataset: {{path: a, resolution: {written}}}\n").dataset.resolution == read


@pytest.mark.parametrize("written", ["[0, 768]", "[1, 2, 3]", "[]", "32", "big", "[768, x]", "768.5", "-512", "{w: 3}"])
def test_a_resolution_that_is_none_is_refused_with_its_place(written: str) -> None:
    assert refused(f"name: x\ndataset:\n  path: a\n  resolution: {written}\n").message.startswith(
        "s.yaml:4:15: dataset.resolution must be"
    )


@pytest.mark.parametrize("word", ["no", "on", "yes", "off", "NO", "1_000", "2024-01-01", "1e3", "8e-4", "0x10", "true"])
def test_words_that_yaml_bends_stay_text_where_text_is_wanted(word: str) -> None:
    spec = parse(f"name: {word}\ntrigger: {word}\ndataset: {{path: a}}\nsamples: {{prompts: [{word}]}}\n")
    assert spec.name == word
    assert spec.trigger == word
    assert spec.samples.prompts == (word,)


@pytest.mark.parametrize(("written", "read"), [("no", False), ("on", True), ("True", True), ("OFF", False)])
def test_words_that_yaml_bends_are_switches_where_a_switch_is_wanted(written: str, read: bool) -> None:
    assert parse(f"name: x\ndataset: {{path: a, enable_bucket: {written}}}\n").dataset.enable_bucket is read


@pytest.mark.parametrize(
    ("written", "read"), [("1_000", 1000), ("0x10", 16), ("1e3", 1000), ("16.0", 16), ('"16"', 16), ("+7", 7)]
)
def test_whole_numbers_as_people_write_them(written: str, read: int) -> None:
    assert parse(HEAD + f"training: {{network_dim: {written}}}\n").training.network_dim == read


@pytest.mark.parametrize(
    ("written", "read"), [("8e-4", 8e-4), ("8E-4", 8e-4), (".001", 1e-3), ('"8e-4"', 8e-4), ("1_0.5", 10.5), ("1", 1.0)]
)
def test_numbers_as_people_write_them(written: str, read: float) -> None:
    assert parse(HEAD + f"training: {{learning_rate: {written}}}\n").training.learning_rate == read


@pytest.mark.parametrize(
    ("key", "written", "what"),
    [
        ("network_dim", "010", "octal"),
        ("network_dim", "1.5", "must be a whole number, not '1.5'"),
        ("network_dim", "4:30", "must be a whole number"),
        ("network_dim", "true", "must be a whole number, not 'true'"),
        ("network_dim", "[4]", "must be a whole number, not a list"),
        ("network_dim", "0", "must be at least 1, not 0"),
        ("network_dim", "", "must be a whole number, not nothing"),
        ("learning_rate", "fast", "must be a number, not 'fast'"),
        ("learning_rate", '"0,0008"', "write a point for the comma"),
        ("learning_rate", ".inf", "must be a number"),
        ("learning_rate", "1e999", "must be a number"),
        ("learning_rate", "0", "must be more than 0"),
        ("learning_rate", "null", "must be a number, not 'null'"),
        ("train_clip_l", '"yes"', 'must be true or false, not the text "yes"'),
        ("train_clip_l", "1", "must be true or false, not '1'"),
        ("vram", "7G", "must be one of auto, cpu, 8G"),
        ("loss_type", "l3", "must be one of l1, l2, huber, smooth_l1, not 'l3'"),
        ("seed", "-1", "must be at least 0"),
    ],
)
def test_a_wrong_type_is_named_with_its_place(key: str, written: str, what: str) -> None:
    error = refused(HEAD + f"training:\n  {key}: {written}\n")
    assert error.message.startswith("s.yaml:4:")
    assert f"training.{key} " in error.message
    assert what in error.message


@pytest.mark.parametrize("written", ["24g", "24GB", "24", "24 GiB"])
def test_vram_in_any_spelling(written: str) -> None:
    assert parse(HEAD + f"training: {{vram: {written}}}\n").training.vram == "24G"


def test_a_key_written_twice_is_refused_with_both_lines() -> None:
    error = refused("name: a\ndataset:\n  path: x\n  num_repeats: 2\n  num_repeats: 3\n")
    assert error.message == "s.yaml:5:3: num_repeats is written twice; the first is on line 4"
    assert refused("name: a\nname: b\n").message.startswith("s.yaml:2:1: name is written twice; the first is on line 1")
    assert "written twice" in refused(HEAD + "flags: {sdpa: true, sdpa: true}\n").message


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (HEAD + "training:\n  netwrk_dim: 3\n", "s.yaml:4:3: unknown key netwrk_dim in training", "network_dim"),
        (HEAD + "learning_rate: 3\n", "s.yaml:3:1: unknown key learning_rate", "belongs under training"),
        (HEAD + "triger: t\n", "s.yaml:3:1: unknown key triger", "Did you mean trigger instead of triger?"),
        ("name: x\ndataset: {path: a, repeats: 3}\n", "s.yaml:2:20: unknown key repeats in dataset", "num_repeats"),
        (HEAD + "training: {sigmoid_scale: 1}\n", "s.yaml:3:12: unknown key sigmoid_scale in training", "under flags"),
        (
            "name: x\ndataset:\n  path: a\n  subsets:\n    - path: b\n      num_repeat: 2\n",
            "s.yaml:6:7: unknown key num_repeat in dataset.subsets.0",
            "num_repeats",
        ),
        (HEAD + "after: {publsh: true}\n", "s.yaml:3:9: unknown key publsh in after", "publish"),
    ],
)
def test_an_unknown_key_is_named_with_its_place_and_the_nearest(text: str, message: str, hint: str) -> None:
    error = refused(text)
    assert error.message == message
    assert error.hint is not None
    assert hint in error.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "s.yaml:1:1: the file is empty"),
        ("# nothing\n", "s.yaml:1:1: the file is empty"),
        ("~\n", "s.yaml:1:1: the file is empty"),
        ("- a\n- b\n", "s.yaml:1:1: a spec is keys with values, as name: My LoRA; this file is a list"),
        ("just words\n", "s.yaml:1:1: a spec is keys with values, as name: My LoRA; this file is a single value"),
        ("name: a\n\tdataset: b\n", "s.yaml:2:1: a tab stands where YAML wants spaces"),
        ("name: a\ndataset:\n\tpath: b\n", "s.yaml:3:1: a tab stands where YAML wants spaces"),
        ("name: a: b\n", "s.yaml:1:8: a second colon on one line"),
        ("name: a\n---\nname: b\n", "s.yaml:2:1: a second document begins here (---)"),
        ("name: &n a\ntrigger: *n\n", "s.yaml:2:10: an alias (*name) is not read here"),
        ("name: !!python/object:os.system a\n", "s.yaml:1:7: the tag tag:yaml.org,2002:python/object:os.system"),
        ("name: a\nb: \x07\n", "s.yaml:2:4: the character U+0007 may not stand in a YAML file"),
        ("name: 'a\n", "s.yaml:2:1: "),
        ("name: [a\n", "s.yaml:2:1: "),
        ("? [a, b]\n: c\n", "s.yaml:1:3: a key must be a word"),
        ("name: x\n", "s.yaml:1:1: dataset is missing"),
        ("dataset: {path: a}\n", "s.yaml:1:1: name is missing"),
        ("name: x\ndataset: photos\n", "s.yaml:2:10: dataset must be a group of keys"),
        ("name: x\ndataset: {path: a, subsets: b}\n", "s.yaml:2:29: dataset.subsets must be a list"),
        ("name: '--'\ndataset: {path: a}\n", "s.yaml:1:7: name must have a letter or a digit"),
        ("name:\ndataset: {path: a}\n", "s.yaml:1:6: name must be a text, not nothing"),
        (f"name: {'a' * 151}\ndataset: {{path: a}}\n", "s.yaml:1:7: name is too long for a file name"),
        (HEAD + "schema: 2\n", "s.yaml:3:9: schema is 2, and this version reads 1"),
        (HEAD + "backend: diffusers\n", "s.yaml:3:10: backend must be one of 'auto', 'kohya', 'builtin'"),
        (HEAD + "flags: [a]\n", "s.yaml:3:8: flags must be keys with values"),
        (HEAD + "flags: {--seed: 3}\n", "s.yaml:3:17: flags.--seed is no name of an option"),
        (HEAD + "extra_args: [--vae_batch_size 2]\n", "s.yaml:3:13: extra_args has two words in one"),
        (HEAD + 'extra_args: "--a \'b"\n', "s.yaml:3:13: extra_args has a quote that does not end"),
        ("name: x\ndataset: {path: ''}\n", "s.yaml:2:17: dataset.path must be a path, not an empty text"),
        (HEAD + "flags: {sdpa: maybe}\n", "s.yaml:3:15: flags.sdpa must be true or false"),
        (HEAD + "flags: {sigmoid_scale: wide}\n", "s.yaml:3:24: flags.sigmoid_scale must be a number"),
        (HEAD + "flags: {weighting_scheme: x}\n", "s.yaml:3:27: flags.weighting_scheme must be one of sigma_sqrt"),
        (HEAD + "samples: {prompts: {a: b}}\n", "s.yaml:3:20: samples.prompts must be a list of texts"),
        (
            HEAD + "samples: {every_n_steps: 5, every_n_epochs: 1}\n",
            "s.yaml:3:26: samples.every_n_steps would have no effect",
        ),
        (
            HEAD + "training: {max_train_epochs: 5, max_train_steps: 1}\n",
            "s.yaml:3:50: training.max_train_steps would have no effect",
        ),
    ],
)
def test_files_that_are_no_spec_are_refused_with_line_and_column(text: str, message: str) -> None:
    error = refused(text)
    assert error.message.startswith(message)
    assert "\n" not in error.message


def test_a_newer_schema_tells_to_update() -> None:
    error = refused(HEAD + "schema: 9\n")
    assert error.hint == "Update fluxgym-tui: pip install --upgrade fluxgym-tui"


def test_several_errors_come_together_in_the_order_of_the_file() -> None:
    error = refused("nme: x\ndataset: {path: a, resize: -1}\ntraining:\n  seed: s\n  netwrk_dim: 1\n")
    lines = error.message.split("\n")
    places = [tuple(int(part) for part in line.split(":")[1:3]) for line in lines]
    assert places == sorted(places)
    assert len(lines) == 5  # the missing name too
    many = refused(HEAD + "".join(f"key{number}: 1\n" for number in range(30)))
    assert many.message.endswith("... and 22 more")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"name: caf\xe9\n", ":1:10: not UTF-8 text (byte 0xe9)"),
        (b"name: x\ntrigger: \xff\n", ":2:10: not UTF-8 text (byte 0xff)"),
    ],
)
def test_a_file_that_is_not_utf8_is_refused_with_its_place(tmp_path: Path, raw: bytes, message: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(raw)
    with pytest.raises(FluxgymError) as caught:
        load_spec(path)
    assert caught.value.message == f"{path}{message}"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_and_windows_lines_are_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes("name: café\r\ndataset:\r\n  path: a\r\n".encode(encoding))
    assert load_spec(path).name == "café"


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(FluxgymError, match="cannot read"):
        load_spec(tmp_path / "none.yaml")


def test_paths_are_relative_to_the_file_and_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    spec = parse("name: x\ndataset: {path: ~/photos, subsets: [{path: ../more}, {path: /abs}]}\n")
    assert spec.dataset.path == Path("/home/ann/photos")
    assert [subset.path for subset in spec.dataset.subsets] == [Path("/specs/../more"), Path("/abs")]


def test_prompts_may_be_a_text_of_lines_and_arguments_a_text_of_words() -> None:
    text = (
        HEAD
        + 'samples:\n  prompts: |\n    a cat --d 1\n\n    a dog\nextra_args: --vae_batch_size 2 --log_prefix "a b"\n'
    )
    spec = parse(text)
    assert spec.samples.prompts == ("a cat --d 1", "a dog")
    assert spec.extra_args == ("--vae_batch_size", "2", "--log_prefix", "a b")


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    assert "nested too deep" in refused("name: " + "[" * 20_000).message


class TestOnePlaceForEachSetting:
    """A setting given differently in two places is refused by name."""

    @pytest.mark.parametrize(
        ("text", "what"),
        [
            ("training: {network_dim: 8}\nflags: {network_dim: 4}\n", "flags.network_dim is 4 here and 8 in training"),
            (
                "training: {seed: 1}\nextra_args: [--seed, '2']\n",
                "extra_args.0 --seed is 2 here and 1 in training or flags",
            ),
            ("flags: {seed: 1}\nextra_args: [--seed=2]\n", "seed is 2 here and 1 in training or flags"),
            ("flags: {sigmoid_scale: 1}\nextra_args: [--sigmoid_scale, '2']\n", "sigmoid_scale is 2.0 here and 1.0"),
            ("flags: {save_state: false}\nextra_args: [--save_state]\n", "save_state is true here and false in flags"),
            ("training: {seed: 1}\nextra_args: [--see, '2']\n", "seed is 2 here"),
            ("training: {max_train_epochs: 2}\nflags: {max_train_steps: 5}\n", "max_train_steps would have no effect"),
        ],
    )
    def test_two_values_are_refused(self, text: str, what: str) -> None:
        assert what in refused(HEAD + text).message

    @pytest.mark.parametrize(
        "name",
        [
            "train_batch_size",
            "resolution",
            "enable_bucket",
            "bucket_no_upscale",
            "min_bucket_reso",
            "bucket_reso_steps",
        ],
    )
    def test_a_dataset_key_is_no_flag(self, name: str) -> None:
        value = "true" if name in ("enable_bucket", "bucket_no_upscale") else "512"
        error = refused(HEAD + f"flags: {{{name}: {value}}}\n")
        assert f"flags.{name} is not taken here" in error.message
        assert "dataset." in str(error.hint)
        extra = refused(HEAD + f"extra_args: [--{name}, '512']\n")
        assert f"--{name} is not taken here" in extra.message

    @pytest.mark.parametrize("name", ["caption_extension", "keep_tokens", "shuffle_caption"])
    def test_what_dataset_toml_would_beat_is_no_flag(self, name: str) -> None:
        value = {"caption_extension": ".cap", "keep_tokens": "2", "shuffle_caption": "true"}[name]
        assert "would have no effect" in refused(HEAD + f"flags: {{{name}: {value}}}\n").message

    @pytest.mark.parametrize("name", ["huggingface_token", "wandb_api_key"])
    def test_a_secret_is_no_flag(self, name: str) -> None:
        error = refused(HEAD + f"flags: {{{name}: hf_secretvalue}}\n")
        assert "holds a secret" in error.message
        assert "hf_secretvalue" not in str(error)

    def test_the_same_value_twice_is_fine_and_a_flag_moves_to_its_key(self) -> None:
        spec = parse(HEAD + "training: {seed: 7}\nflags: {seed: 7, network_dim: 8, sigmoid_scale: 2}\n")
        assert spec.training.seed == 7
        assert spec.training.network_dim == 8
        assert spec.flags == {"sigmoid_scale": 2.0}

    def test_a_length_in_steps_from_flags_replaces_the_default_epochs(self) -> None:
        training = parse(HEAD + "flags: {max_train_steps: 300}\n").training
        assert (training.max_train_steps, training.max_train_epochs) == (300, None)

    def test_extra_args_are_kept_and_known_to_training(self) -> None:
        spec = parse(HEAD + "extra_args: [--max_train_steps=20, --network_dim, '8', --strange]\n")
        assert spec.extra_args == ("--max_train_steps=20", "--network_dim", "8", "--strange")
        assert spec.training.max_train_steps == 20
        assert spec.training.network_dim == 8

    def test_a_value_out_of_range_in_flags_is_named_there(self) -> None:
        assert refused(HEAD + "flags: {network_dim: -1}\n").message.startswith("s.yaml:3:22: flags.network_dim ")

    def test_an_option_without_its_value_is_named(self) -> None:
        assert "--seed has no value" in refused(HEAD + "extra_args: [--seed]\n").message


names = st.text(min_size=1, max_size=30).filter(lambda text: any(c.isascii() and c.isalnum() for c in text))
texts = st.text(min_size=1, max_size=40)
lines = texts.map(str.strip).filter(bool)
one_line = texts.filter(lambda text: len(text.strip().splitlines()) <= 1)
paths = st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=20).map(
    lambda text: Path("/p") / f"x{text}"
)
surrogates = st.sampled_from([Path("/p/caf\udce9"), Path("/p/😀 ' \" \\ #"), Path("/p/a: b")])


@st.composite
def specs(draw: st.DrawFn) -> TrainSpec:
    """Any spec that can be: odd texts and paths, every kind of value, defaults and said values mixed."""
    training: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "vram": st.sampled_from(["auto", "cpu", "8G", "24G"]),
                "train_clip_l": st.booleans(),
                "learning_rate": st.floats(min_value=1e-12, max_value=10),
                "network_dim": st.integers(1, 1024),
                "network_alpha": st.floats(min_value=1e-6, max_value=1e6),
                "save_every_n_epochs": st.none() | st.integers(1, 99),
                "seed": st.integers(0, 2**32 - 1),
                "optimizer_type": st.none() | texts.filter(lambda text: text.strip() != ""),
                "optimizer_args": st.lists(texts, max_size=3).map(tuple),
                "lr_warmup_steps": st.integers(0, 50) | st.floats(0, 1),
                "gradient_checkpointing": st.none() | st.booleans(),
                "mixed_precision": st.sampled_from(["no", "fp16", "bf16"]),
                "guidance_scale": st.floats(-10, 10),
                "timestep_sampling": st.sampled_from(["sigma", "shift", "flux_shift"]),
            },
        )
    )
    training |= draw(st.sampled_from([{}, {"max_train_epochs": 3}, {"max_train_steps": 77}]))
    return build_spec(
        {
            "name": draw(names),
            "trigger": draw(st.none() | one_line),
            "base_model": draw(lines),
            "backend": draw(st.sampled_from(["auto", "kohya", "builtin"])),
            "dataset": {
                "path": draw(paths | surrogates),
                "resolution": draw(st.tuples(st.integers(64, 4096), st.integers(64, 4096)) | st.integers(64, 4096)),
                "resize": draw(st.integers(0, 5000)),
                "enable_bucket": draw(st.booleans()),
                "num_repeats": draw(st.integers(1, 1000)),
                "subsets": draw(
                    st.lists(
                        st.fixed_dictionaries(
                            {"path": paths},
                            optional={"num_repeats": st.integers(1, 9), "trigger": one_line, "is_reg": st.booleans()},
                        ),
                        max_size=3,
                    )
                ),
            },
            "training": training,
            "samples": {
                "prompts": draw(st.lists(lines, max_size=4).map(tuple)),
                "every_n_steps": draw(st.integers(0, 9)),
            },
            "flags": draw(
                st.fixed_dictionaries(
                    {},
                    optional={
                        "sigmoid_scale": st.floats(-1e6, 1e6),
                        "vae_batch_size": st.integers(1, 64),
                        "save_state": st.booleans(),
                        "training_comment": texts,
                        "text_encoder_lr": st.lists(st.floats(0, 1), max_size=2).map(tuple),
                        "lr_scheduler_args": st.lists(texts, max_size=3).map(tuple),
                        "unknown_to_all": st.booleans() | st.integers() | st.floats(-1e9, 1e9) | texts,
                    },
                )
            ),
            "extra_args": draw(st.lists(texts.map(lambda text: f"x{text}"), max_size=2).map(tuple)),
            "after": {"publish": draw(st.booleans()), "command": draw(st.none() | texts)},
        }
    )


@settings(max_examples=40, deadline=None)
@given(specs(), st.booleans())
def test_a_spec_that_was_written_is_read_back_equal(spec: TrainSpec, comments: bool) -> None:
    text = dump_spec(spec, comments=comments)
    assert parse_spec(text, folder=Path("/elsewhere"), origin="written") == spec
    # What another YAML reader sees is the same file: no key is lost or doubled.
    assert set(yaml.safe_load(text)) >= {"schema", "name", "dataset", "training"}
    text.encode("utf-8")


def test_new_writes_a_commented_spec_that_is_read_back(tmp_path: Path) -> None:
    photos = tmp_path / "Hrld Person"
    photos.mkdir()
    text = new_spec_text(
        photos, trigger="hrld person", changes={"training.learning_rate": "1e-4"}, relative_to=tmp_path
    )
    assert "path: Hrld Person " in text
    assert text.isascii()
    (tmp_path / "spec.yaml").write_text(text, encoding="utf-8")
    spec = load_spec(tmp_path / "spec.yaml")
    assert (spec.name, spec.trigger, spec.dataset.path) == ("Hrld Person", "hrld person", photos)
    assert spec.training.learning_rate == 1e-4
    keys = [line for line in text.splitlines() if line.strip() and not line.strip().startswith(("#", "-"))]
    undescribed = [line for line in keys if "#" not in line and not line.endswith(":")]
    assert undescribed == []


def test_change_spec_takes_words_from_a_command_line() -> None:
    spec = build_spec({"name": "x", "dataset": {"path": "/a"}})
    changed = change_spec(
        spec,
        {
            "training.learning_rate": Plain("8e-4"),
            "dataset.resolution": [Plain("768"), Plain("0")],
            "training.max_train_steps": 9,
        },
    )
    assert changed.dataset.resolution == (768, 768)
    assert changed.training.max_train_steps == 9
    with pytest.raises(FluxgymError, match=r"command line: unknown key lerning_rate in training"):
        change_spec(spec, {"training.lerning_rate": 3})
    with pytest.raises(FluxgymError, match=r"unknown key name\.x"):
        change_spec(spec, {"name.x": 3})


def test_a_key_misspelt_at_the_wrong_level_is_named_with_its_group(tmp_path: Path) -> None:
    with pytest.raises(FluxgymError) as caught:
        parse_spec("name: x\nlerning_rate: 3\ndataset: {path: .}\n", folder=tmp_path, origin="a.yaml")
    assert "a.yaml:2:1: unknown key lerning_rate" in caught.value.message
    assert caught.value.hint == "Did you mean training.learning_rate?"


@pytest.mark.parametrize(
    ("name", "text"),
    [("x.json", '{"lora_name": "x"}'), ("x.json", '{"LoRA_type": "Flux1"}'), ("x.toml", "seed = 1"), ("train.sh", "x")],
)
def test_settings_of_other_programs_lead_to_import(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FluxgymError, match="is no spec, but settings of another program") as caught:
        load_spec(path)
    assert caught.value.hint == f"fluxgym-tui import {path} -o spec.yaml   makes a spec of it."


def test_a_spec_may_be_json(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"name": "x", "dataset": {"path": "photos"}}', encoding="utf-8")
    assert load_spec(path).dataset.path == tmp_path / "photos"
