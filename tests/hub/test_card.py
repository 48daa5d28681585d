"""The model card: what stands in it, read back by huggingface_hub's own classes."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard, ModelCardData
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxgym_tui.config.models import load_models
from fluxgym_tui.hub.card import TAGS, CardBase, CardFacts, CardSample, card_text, code
from tests.hub.publishing import accept_publishing
from tests.hub.standin import StandIn

DEV = CardBase(
    title="FLUX.1-dev",
    hub_name="black-forest-labs/FLUX.1-dev",
    license="other",
    license_name="flux-1-dev-non-commercial-license",
    license_link="https://huggingface.co/black-forest-labs/FLUX.1-dev/blob/main/LICENSE.md",
)


def facts(**changes: Any) -> CardFacts:
    told: dict[str, Any] = {
        "title": "Hrld Person",
        "repo_id": "ada/hrld-person",
        "weights": "hrld-person-000004.safetensors",
        "base": DEV,
        "trigger": "hrld person",
        "samples": (CardSample(file="sample/a.png", prompt="hrld person riding a bike"),),
        "pictures": 12,
        "when": "320 steps (epoch 4)",
        "settings": {"learning_rate": 8e-4, "network_dim": 4},
    }
    return CardFacts(**(told | changes))


def data_of(text: str) -> Any:
    data = ModelCard(text).data
    assert isinstance(data, ModelCardData)
    return data  # its fields are those of the card, which no type knows


def test_a_card_says_all_that_people_expect() -> None:
    text = card_text(facts())
    data = data_of(text)
    assert data.tags == list(TAGS) == ["text-to-image", "flux", "lora", "diffusers", "template:sd-lora"]
    assert data.base_model == "black-forest-labs/FLUX.1-dev"
    assert (data.license, data.license_name) == ("other", "flux-1-dev-non-commercial-license")
    assert str(data.license_link).endswith("LICENSE.md")
    assert data.instance_prompt == "hrld person"
    assert data.widget == [{"text": "hrld person riding a bike", "output": {"url": "sample/a.png"}}]
    body = ModelCard(text).text
    assert "<Gallery />" in body
    assert "Trigger: `hrld person`" in body
    assert "trained on 12 pictures" in body
    assert "trained for 320 steps (epoch 4)" in body
    assert "| learning_rate | 0.0008 |" in body
    assert 'load_lora_weights("ada/hrld-person", weight_name="hrld-person-000004.safetensors")' in body
    assert "`ComfyUI/models/loras/`" in body
    assert "[flux-1-dev-non-commercial-license](https://huggingface.co/black-forest-labs" in body


def test_the_librarys_own_validation_takes_it(hub: StandIn) -> None:
    """`ModelCard.validate` asks the Hub; here its stand-in answers."""
    accept_publishing(hub)
    for card in (facts(), facts(trigger="no", title="1e3"), facts(base=CardBase(title="mine"), samples=())):
        ModelCard(card_text(card)).validate()
    assert len(hub.paths(method="POST")) == 3
    broken = card_text(facts()).replace("license_name:", "license_nme:")
    with pytest.raises(ValueError, match="license_name"):
        ModelCard(broken).validate()


def test_what_is_not_known_is_left_out() -> None:
    bare = facts(trigger=None, samples=(), pictures=None, when=None, base=CardBase(title="my own"), settings={})
    text = card_text(bare)
    data = data_of(text).to_dict()
    assert {"widget", "instance_prompt", "base_model", "license"}.isdisjoint(data)
    assert "<Gallery" not in text
    assert "without a trigger" in text
    assert "my own is not on the hub" in text
    assert "A FLUX LoRA, base model my own." in text
    assert "None" not in text.replace("None: it was", "")


def test_the_licence_is_that_of_every_base_model() -> None:
    for entry in load_models().values():
        base = CardBase(
            title=entry.title,
            hub_name=entry.base,
            license=entry.license,
            license_name=entry.license_name,
            license_link=entry.license_link,
            bundled=entry.bundled,
            arch=entry.arch,
        )
        data = data_of(card_text(facts(base=base)))
        assert data.license == entry.license
        assert (data.license_name, data.license_link) == (entry.license_name, entry.license_link)
        assert data.base_model == (None if entry.bundled else entry.base)


def test_a_prompt_of_nothing_and_a_negative_one() -> None:
    samples = (CardSample(file="sample/0.png", prompt="", negative="blurry"),)
    assert data_of(card_text(facts(samples=samples))).widget == [
        {"text": "-", "parameters": {"negative_prompt": "blurry"}, "output": {"url": "sample/0.png"}}
    ]


words = st.text(st.characters(exclude_categories=()), min_size=1, max_size=40)


@settings(max_examples=150, deadline=None)
@given(title=words, trigger=words, prompt=words)
def test_any_text_comes_back_as_it_was(title: str, trigger: str, prompt: str) -> None:
    """Colons, quotes, `---`, line breaks, emoji, bytes that were no UTF-8: the head reads back, the code parses."""
    text = card_text(facts(title=title, trigger=trigger, samples=(CardSample(file="sample/0.png", prompt=prompt),)))
    encoded = text.encode("utf-8")
    data = data_of(encoded.decode("utf-8"))
    assert data.instance_prompt == _readable(trigger)
    assert data.widget[0]["text"] == _readable(prompt)
    fenced = re.search(r"```py\n(.*?)\n```\n\n### ComfyUI", text, re.DOTALL)
    assert fenced is not None
    ast.parse(fenced[1])


def _readable(text: str) -> str:
    return re.sub("[\ud800-\udfff]", "�", text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("hrld", "`hrld`"), ("a`b", "`` a`b ``"), ("``", "``` `` ```"), ("two\nlines", "`two lines`")],
)
def test_code_survives_its_own_quotes(text: str, shown: str) -> None:
    assert code(text) == shown


def test_the_card_is_written_the_same_every_time(tmp_path: Path) -> None:
    assert card_text(facts()) == card_text(facts())
    (tmp_path / "README.md").write_text(card_text(facts()), encoding="utf-8")
    assert ModelCard.load(tmp_path / "README.md").content == card_text(facts())
