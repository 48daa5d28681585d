"""What sd-scripts would stop at after minutes of loading, or do in silence: options and files, looked at before."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fluxgym_tui.backends.base import TrainJob
from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.findings import Finding, Severity
from fluxgym_tui.base.modelfiles import ModelFile, describe
from fluxgym_tui.base.safetensors import Header, read_header
from fluxgym_tui.config.sd_flags import FlagValue

_FLUX_WIDTH = 3072  # sd-scripts builds FLUX.1 and Chroma at their own width, whatever the file has
_CAPTION_CHANGES = (
    "caption_dropout_rate",
    "caption_dropout_every_n_epochs",
    "caption_tag_dropout_rate",
    "token_warmup_step",
)
_PICTURE_CHANGES = ("color_aug", "random_crop")
_BLOCKS_KEPT = 2  # of each kind, on the GPU

Flags = Mapping[str, FlagValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Options that cannot be together: `holds` where they are, and what to do about it."""

    holds: Callable[[Flags], bool]
    title: str
    fix: str


def _says(flags: Flags, name: str) -> str:
    """The value of an option as a word in lower case; empty where it is not given."""
    return str(flags.get(name, "") or "").lower()


def _lone_equals(flags: Flags) -> bool:
    values = flags.get("optimizer_args")
    return isinstance(values, tuple) and any(str(value).count("=") != 1 for value in values)


_RULES: tuple[Rule, ...] = (
    Rule(
        holds=lambda flags: bool(flags.get("blocks_to_swap") and flags.get("cpu_offload_checkpointing")),
        title="--blocks_to_swap and --cpu_offload_checkpointing exclude each other",
        fix="Take one of them out.",
    ),
    Rule(
        holds=lambda flags: _says(flags, "model_type") == "chroma" and not flags.get("apply_t5_attn_mask"),
        title="Chroma needs --apply_t5_attn_mask",
        fix="Take apply_t5_attn_mask: false out.",
    ),
    Rule(
        holds=lambda flags: (
            bool(flags.get("fp8_base") or flags.get("fp8_base_unet")) and _says(flags, "mixed_precision") in ("", "no")
        ),
        title="--fp8_base needs --mixed_precision bf16 or fp16",
        fix="Set training.mixed_precision: bf16, or take fp8_base out.",
    ),
    Rule(
        holds=lambda flags: bool(flags.get("full_bf16")) and _says(flags, "mixed_precision") != "bf16",
        title="--full_bf16 needs --mixed_precision bf16",
        fix="Set training.mixed_precision: bf16.",
    ),
    Rule(
        holds=lambda flags: bool(flags.get("full_fp16")) and _says(flags, "mixed_precision") != "fp16",
        title="--full_fp16 needs --mixed_precision fp16",
        fix="Set training.mixed_precision: fp16, or take full_fp16 out.",
    ),
    Rule(
        holds=lambda flags: (
            bool(flags.get("use_8bit_adam") or flags.get("use_lion_optimizer")) and bool(flags.get("optimizer_type"))
        ),
        title="--use_8bit_adam and --use_lion_optimizer cannot be beside --optimizer_type",
        fix="Say it with training.optimizer_type alone: adamw8bit or lion.",
    ),
    Rule(
        holds=lambda flags: bool(flags.get("fused_backward_pass")) and _says(flags, "optimizer_type") != "adafactor",
        title="--fused_backward_pass works with --optimizer_type adafactor alone",
        fix="Set training.optimizer_type: adafactor, or take fused_backward_pass out.",
    ),
    Rule(
        holds=lambda flags: (
            bool(flags.get("fused_backward_pass")) and flags.get("gradient_accumulation_steps", 1) not in (0, 1)
        ),
        title="--fused_backward_pass cannot accumulate gradients",
        fix="Set training.gradient_accumulation_steps: 1, or take fused_backward_pass out.",
    ),
    Rule(
        holds=_lone_equals,
        title="each of --optimizer_args is NAME=VALUE",
        fix="Mend training.optimizer_args.",
    ),
    Rule(
        holds=lambda flags: (
            _says(flags, "lr_scheduler") in ("", "constant")
            and not flags.get("lr_scheduler_type")
            and bool(flags.get("lr_warmup_steps"))
        ),
        title="--lr_scheduler constant takes no --lr_warmup_steps",
        fix="Set training.lr_scheduler: constant_with_warmup, or take lr_warmup_steps out.",
    ),
    Rule(
        holds=lambda flags: (
            _says(flags, "lr_scheduler").startswith("adafactor") and _says(flags, "optimizer_type") != "adafactor"
        ),
        title="--lr_scheduler adafactor goes with --optimizer_type adafactor alone",
        fix="Set training.lr_scheduler: constant, or the optimiser to adafactor.",
    ),
    Rule(
        holds=lambda flags: flags.get("adaptive_noise_scale") is not None and flags.get("noise_offset") is None,
        title="--adaptive_noise_scale needs --noise_offset",
        fix="Set noise_offset, or take adaptive_noise_scale out.",
    ),
    Rule(
        holds=lambda flags: (
            bool(flags.get("scale_v_pred_loss_like_noise_pred")) and not flags.get("v_parameterization")
        ),
        title="--scale_v_pred_loss_like_noise_pred needs --v_parameterization",
        fix="Take it out: FLUX has neither.",
    ),
    Rule(
        holds=lambda flags: bool(flags.get("v_pred_like_loss") and flags.get("v_parameterization")),
        title="--v_pred_like_loss and --v_parameterization exclude each other",
        fix="Take them out: FLUX has neither.",
    ),
)


def refused_options(flags: Flags) -> Iterator[Finding]:
    """Options that sd-scripts refuses together, or of which one undoes the other."""
    for rule in _RULES:
        if rule.holds(flags):
            yield _error("flags_exclude", rule.title, rule.fix)
    if flags.get("cache_text_encoder_outputs") or flags.get("cache_text_encoder_outputs_to_disk"):
        for name in _CAPTION_CHANGES:
            if flags.get(name):
                yield _error(
                    "flags_exclude",
                    f"--{name} cannot be with cached captions (--cache_text_encoder_outputs)",
                    "Take it out, or set flags.cache_text_encoder_outputs: false and its _to_disk.",
                )
        if "train_t5xxl=true" in "".join(map(str, _several(flags, "network_args"))).lower():
            yield _error(
                "flags_exclude",
                "T5-XXL cannot be trained with cached captions (--cache_text_encoder_outputs)",
                "Take train_t5xxl out of network_args, or set cache_text_encoder_outputs and its _to_disk: false.",
            )
    if flags.get("cache_latents") or flags.get("cache_latents_to_disk"):
        for name in _PICTURE_CHANGES:
            if flags.get(name):
                yield _error(
                    "flags_exclude",
                    f"--{name} cannot be with cached pictures (--cache_latents)",
                    "Take it out, or set flags.cache_latents_to_disk: false.",
                )
    for name in ("network_weights", "resume"):
        path = flags.get(name)
        if isinstance(path, str) and not Path(path).exists():
            yield _error("file_missing", f"--{name}: there is no {path}", "Check the path.")
    if flags.get("split_mode"):
        yield Finding(
            code="split_mode",
            severity=Severity.WARNING,
            title="--split_mode only sets --blocks_to_swap 18 nowadays",
            fix="Set training.blocks_to_swap in its place.",
        )


def refused_files(job: TrainJob) -> Iterator[Finding]:
    """Model files that are missing, or that are not what sd-scripts takes there."""
    models = job.models
    for path in (models.transformer, models.clip_l, models.t5xxl, models.ae):
        if path is not None and not path.is_file():
            yield Finding(
                code="model_missing", severity=Severity.ERROR, title=f"There is no {path.name}", path=str(path)
            )
    chroma = _says(job.flags, "model_type") == "chroma"
    wanted = (
        (models.transformer, ("chroma",) if chroma else ("flux", "flux-diffusers")),
        (models.clip_l, ("clip",)),
        (models.t5xxl, ("t5",)),
        (models.ae, ("autoencoder",)),
    )
    for path, kinds in wanted:
        header = None if path is None else _header(path)
        if header is None:
            continue
        found = describe(header)
        if found.kind not in (*kinds, "unknown"):  # of an unknown kind sd-scripts may know more than we do
            yield _of_file("model_of_other_kind", path, f"this is a {found.title}", "Choose another file.")
        elif found.facts.get("fp8_scaled"):
            yield _of_file(
                "model_of_other_kind",
                path,
                "its weights are scaled fp8 (*_fp8_scaled), which train to noise",
                "Take the plain file: flux-dev, or flux-dev-fp8; of the T5 t5xxl_fp8_e4m3fn.",
            )
        elif "F8_E5M2" in found.dtypes and job.flags.get("fp8_base"):
            yield _of_file(
                "model_of_other_kind",
                path,
                "its weights are fp8 of the kind e5m2, which sd-scripts does not train on",
                "Take the e4m3fn file, or the full one.",
            )
        if path is models.transformer:
            yield from _of_depth(job, found)
            if (width := _width(header)) not in (None, _FLUX_WIDTH):
                yield _of_file(
                    "model_of_other_size",
                    path,
                    f"sd-scripts trains models of FLUX.1's own size; this one is {width} wide",
                    "Use backend: builtin, which goes by the file's own shapes.",
                )


def most_swapped(double_blocks: int, single_blocks: int) -> int:
    """The largest `--blocks_to_swap` of a model with so many blocks: n // 2 double ones and twice the rest single."""
    most = 0
    for blocks in range(double_blocks + single_blocks):
        double = blocks // 2
        if double <= double_blocks - _BLOCKS_KEPT and 2 * (blocks - double) <= single_blocks - _BLOCKS_KEPT:
            most = blocks
    return most


def _of_depth(job: TrainJob, transformer: ModelFile) -> Iterator[Finding]:
    """More blocks to swap than the model has; Flex has fewer than FLUX.1."""
    wanted = job.flags.get("blocks_to_swap")
    double, single = transformer.facts.get("double_blocks"), transformer.facts.get("single_blocks")
    if not isinstance(wanted, int) or not double or not single:
        return
    most = most_swapped(double, single)
    if wanted > most:
        yield _of_file(
            "too_many_blocks",
            job.models.transformer,
            f"--blocks_to_swap {wanted}: with its {double} double and {single} single blocks at most {most} can be",
            f"Set training.blocks_to_swap: {most}, and a smaller dataset.resolution where that is too little.",
        )


def _header(path: Path) -> Header | None:
    """The header of a safetensors file; None where it has none."""
    try:
        return read_header(path)
    except FluxgymError:
        return None


def _width(header: Header) -> int | None:
    """How wide the model in the file is; None where that cannot be told."""
    for name in ("img_in.weight", "model.diffusion_model.img_in.weight"):
        if name in header.tensors and header.tensors[name].shape:
            return header.tensors[name].shape[0]
    return None


def _several(flags: Flags, name: str) -> tuple[object, ...]:
    value = flags.get(name, ())
    return value if isinstance(value, tuple) else (value,)


def _error(code: str, title: str, fix: str) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, title=title, fix=fix)


def _of_file(code: str, path: Path | None, title: str, fix: str) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, title=title, fix=fix, path=str(path))
