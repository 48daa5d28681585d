"""The model card of a LoRA: YAML head and Markdown text from plain facts; a run's README says some of the same."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fluxgym_tui.base.text import count

TAGS = ("text-to-image", "flux", "lora", "diffusers", "template:sd-lora")

# The settings that people compare, in the order they think of them.
SHOWN_SETTINGS = (
    "resolution",
    "num_repeats",
    "batch_size",
    "learning_rate",
    "network_dim",
    "network_alpha",
    "optimizer_type",
    "lr_scheduler",
    "max_train_epochs",
    "max_train_steps",
    "gradient_accumulation_steps",
    "mixed_precision",
    "timestep_sampling",
    "discrete_flow_shift",
    "model_prediction_type",
    "guidance_scale",
    "seed",
)

# What stands in the example where the LoRA's own base cannot be loaded from the hub.
_SOME_BASE = "black-forest-labs/FLUX.1-dev"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
# What begins markup in the middle of a line.
_MARKUP = re.compile(r"([\\`*_\[\]<>|#~])")
_UNWRITABLE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class CardBase:
    """The base model as a card names it: `hub_name` is OWNER/NAME or another id, None where the hub has none."""

    title: str
    hub_name: str | None = None
    license: str | None = None
    license_name: str | None = None
    license_link: str | None = None
    bundled: bool = False
    arch: str = "flux"

    @property
    def loadable(self) -> bool:
        """Whether a program can load it from the hub."""
        return self.hub_name is not None and not self.bundled and _HUB_NAME.fullmatch(self.hub_name) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class CardSample:
    """A sample picture: where it lies in the repository, and its prompt without flags."""

    file: str
    prompt: str
    negative: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """All that a card says. `weights` is the LoRA's file name in the repository `repo_id`; `when` how far it was
    trained, in words; `sample_note` what is to be said of the samples; unknown facts are None.
    """

    title: str
    repo_id: str
    weights: str
    base: CardBase
    trigger: str | None = None
    samples: Sequence[CardSample] = ()
    sample_note: str | None = None
    pictures: int | None = None
    when: str | None = None
    made_with: str | None = None
    has_spec: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


def card_text(facts: CardFacts) -> str:
    """The card: README.md of the repository."""
    import yaml  # the card is written once; those who read its parts do without

    class Dumper(yaml.SafeDumper):
        """PyYAML's own, but for texts with the line breaks of Unicode, which it writes so that they are lost."""

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        quoted = re.search("[\x85\u2028\u2029]", value) is not None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style='"' if quoted else None)

    Dumper.add_representer(str, text)
    head: str = yaml.dump(
        card_head(facts), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=1 << 30, default_flow_style=False
    )
    blocks = [f"# {one_line_markdown(facts.title)}"]
    if facts.samples:
        blocks.append("<Gallery />")
    blocks.append(intro(pictures=facts.pictures, base=_base_words(facts.base)))
    blocks += [facts.sample_note] if facts.sample_note else []
    blocks.append(f"## Trigger words\n\n{_trigger_words(facts.trigger)}")
    blocks.append(f"## The file\n\n{_file_words(facts)}")
    blocks.append(_usage(facts))
    blocks.append("## Training settings\n\n" + settings_table(facts.settings))
    blocks.append(f"## Licence\n\n{_license_words(facts.base)}")
    return f"---\n{_writable(head)}---\n\n" + _writable("\n\n".join(blocks)) + "\n"


def card_head(facts: CardFacts) -> dict[str, Any]:
    """The metadata of the card, in the order it is written; what is not known is left out."""
    base = facts.base
    tags = [*TAGS[:-1], *([base.arch] if base.arch not in TAGS else []), TAGS[-1]]
    head: dict[str, Any] = {"tags": tags}
    if base.loadable:  # the hub refuses a card whose base model can be none of its own
        head |= {"base_model": base.hub_name, "base_model_relation": "adapter"}
    for key in ("license", "license_name", "license_link"):
        if (value := getattr(base, key)) is not None:
            head[key] = value
    head |= {"pipeline_tag": "text-to-image", "library_name": "diffusers"}
    if facts.trigger:
        head["instance_prompt"] = facts.trigger
    if facts.samples:
        head["widget"] = [_widget(sample) for sample in facts.samples]
    return head


def _widget(sample: CardSample) -> dict[str, Any]:
    # An empty text would make the hub leave the picture out.
    entry: dict[str, Any] = {"text": sample.prompt or "-"}
    if sample.negative:
        entry["parameters"] = {"negative_prompt": sample.negative}
    return entry | {"output": {"url": sample.file}}


def intro(*, pictures: int | None, base: str) -> str:
    """The sentence that says what it is; `base` is Markdown."""
    trained = f" trained on {count(pictures, 'picture')}" if pictures else ""
    return f"A FLUX LoRA{trained}, base model {base}."


def settings_table(settings: Mapping[str, Any]) -> str:
    """The settings that people compare, as a Markdown table."""
    rows = [
        f"| {name} | {markdown_cell(settings[name])} |" for name in SHOWN_SETTINGS if settings.get(name) is not None
    ]
    if not rows:
        return "Not known."
    return "\n".join(["| setting | value |", "|---|---|", *rows])


def markdown_cell(value: Any) -> str:
    """`value` on one line, harmless in Markdown and tables, its marks as they are."""
    return " ".join(str(value).split()).replace("|", "\\|").replace("`", "'").replace("<", "&lt;")


def one_line_markdown(text: str) -> str:
    """`text` on one line, shown by Markdown just as it is written."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))


def code(text: str) -> str:
    """`text` on one line as inline code, whatever backquotes it has."""
    line = " ".join(text.split())
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    space = " " if "`" in line else ""
    return f"{fence}{space}{line}{space}{fence}"


def trigger_line(trigger: str) -> str:
    """How a person is told the trigger."""
    return f"Trigger: {code(trigger)}"


def _trigger_words(trigger: str | None) -> str:
    if trigger:
        return f"{trigger_line(trigger)}. Write it in the prompt."
    return "None: it was trained without a trigger."


def _base_words(base: CardBase) -> str:
    if base.loadable:
        return f"[{base.hub_name}](https://huggingface.co/{base.hub_name})"
    return one_line_markdown(base.title)


def _file_words(facts: CardFacts) -> str:
    when = f", trained for {facts.when}" if facts.when else ""
    made = f" Made with {one_line_markdown(facts.made_with)}." if facts.made_with else ""
    spec = " `spec.yaml` has all settings, as fluxgym-tui reads them." if facts.has_spec else ""
    return f"{code(facts.weights)}{when}. It is in kohya's format, which diffusers, ComfyUI and Forge read.{made}{spec}"


def _usage(facts: CardFacts) -> str:
    base = facts.base
    prompt = next((sample.prompt for sample in facts.samples if sample.prompt), facts.trigger or "a photograph")
    blocks = ["## How to use it"]
    if not base.loadable:
        blocks.append(
            f"{one_line_markdown(base.title)} is not on the hub, and a LoRA works only on a base of its own shape. "
            "With a base that is on the hub, it goes like this:"
        )
    blocks.append("### diffusers\n\n```py\n" + _diffusers_code(facts, prompt) + "\n```")
    blocks.append(
        f"### ComfyUI\n\nPut {code(facts.weights)} into `ComfyUI/models/loras/` and add the node *Load LoRA* "
        "(`LoraLoader`) between the model's loader and the sampler, strength 1.0. "
        f"Then write {code(prompt)} as the prompt."
    )
    return "\n\n".join(blocks)


def _diffusers_code(facts: CardFacts, prompt: str) -> str:
    """Python that loads base and LoRA; every text from outside is a literal of its own."""
    base = facts.base.hub_name if facts.base.loadable else _SOME_BASE
    lines = (
        "import torch",
        "from diffusers import AutoPipelineForText2Image",
        "",
        f"pipeline = AutoPipelineForText2Image.from_pretrained({_literal(str(base))}, torch_dtype=torch.bfloat16)",
        f"pipeline.load_lora_weights({_literal(facts.repo_id)}, weight_name={_literal(facts.weights)})",
        'pipeline.to("cuda")',
        f"image = pipeline({_literal(prompt)}).images[0]",
        'image.save("picture.png")',
    )
    return "\n".join(lines)


def _license_words(base: CardBase) -> str:
    name = base.license_name or base.license
    if name is None:
        return "That of the base model, which is not known here."
    shown = one_line_markdown(name)
    link = f"[{shown}]({base.license_link})" if base.license_link else shown
    return f"That of the base model: {link}."


def _literal(text: str) -> str:
    """`text` as a Python literal between double quotes: of JSON's escapes only those appear that are Python's, too."""
    return json.dumps(" ".join(text.split()), ensure_ascii=False)


def _writable(text: str) -> str:
    """`text` without what UTF-8 cannot write: bytes of a name that was no UTF-8."""
    return _UNWRITABLE.sub("�", text)
