"""The errors of sd-scripts that we know: what gives each away in the log, what it means, what mends it. Data only."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """An error we know.

    `pattern` is looked for in the errors logged last and the exception with its message, or with `anywhere` in all of
    that and the whole traceback, frames and causes included. `title` may name its groups; `unnamed` stands for one that
    found nothing.
    """

    code: str
    pattern: str
    title: str
    fix: str
    anywhere: bool = False
    unnamed: str = ""


_MORE_MEMORY = (
    "Rent a machine with more memory (the T5 alone loads 10 GB), use the fp8 T5 file, or take fewer workers "
    "(training.max_data_loader_n_workers)."
)

# The first that fits is told, so what is more special stands before what is more general.
SIGNATURES: tuple[Signature, ...] = (
    Signature(
        code="out_of_memory",
        pattern=r"OutOfMemoryError|CUDA out of memory|CUDA error: out of memory|HIP out of memory"
        r"|CUBLAS_STATUS_ALLOC_FAILED",
        title="the GPU ran out of memory",
        fix="Take the next smaller recipe of training.vram, or lower dataset.batch_size or dataset.resolution.",
    ),
    Signature(
        code="shared_memory_full",
        pattern=r"insufficient shared memory|DataLoader worker .* is killed by signal: Bus error|"
        r"unable to (?:open|write to|allocate) (?:shared memory|file).*shm|died with <Signals\.SIGBUS",
        title="the shared memory of this container (/dev/shm) is full",
        fix="Set training.max_data_loader_n_workers: 1, or start the container with more (docker: --shm-size 8g).",
        anywhere=True,
    ),
    Signature(
        code="out_of_host_memory",
        pattern=r"DefaultCPUAllocator: (?:can't|not enough)|(?:^|\n)MemoryError",
        title="the machine ran out of memory",
        fix=_MORE_MEMORY,
        anywhere=True,
    ),
    Signature(
        code="out_of_host_memory",
        pattern=r"died with <Signals\.SIGKILL|DataLoader worker .* is killed by signal: Killed",
        title="the training was killed, most often because the machine ran out of memory",
        fix=_MORE_MEMORY,
        anywhere=True,
    ),
    Signature(
        code="bitsandbytes_missing",
        pattern=r"No module named 'bitsandbytes'|No bitsandbytes",
        title="the 8-bit optimiser needs bitsandbytes, which is not installed",
        fix="Install it where sd-scripts runs (pip install bitsandbytes), or set training.optimizer_type: adamw.",
        anywhere=True,
    ),
    Signature(
        code="bitsandbytes_without_cuda",
        pattern=r"bitsandbytes[\s\S]*(?:compiled without GPU support|CUDA [Ss]etup failed|libcudart|libbitsandbytes_cpu"
        r"|undefined symbol: cget_managed_ptr|'NoneType' object has no attribute 'cget_managed_ptr')",
        title="bitsandbytes has no build for this machine's CUDA, so the 8-bit optimiser cannot run",
        fix="Install a newer one where sd-scripts runs (pip install -U bitsandbytes), or set "
        "training.optimizer_type: adamw.",
        anywhere=True,
    ),
    Signature(
        code="torch_lacks_this_gpu",
        pattern=r"no kernel image is available for execution on the device|(?P<name>sm_\d+) is not compatible with the "
        r"current PyTorch",
        title="this PyTorch has no code for {name}",
        fix="`fluxgym-tui setup kohya` installs the build that fits the card; an RTX 50 needs CUDA 12.8 or later.",
        anywhere=True,
        unnamed="this GPU",
    ),
    Signature(
        code="torch_without_cuda",
        pattern=r"Torch not compiled with CUDA enabled|No CUDA GPUs are available|Found no NVIDIA driver",
        title="PyTorch sees no GPU: it is a build without CUDA, or there is no driver",
        fix="See what nvidia-smi says; `fluxgym-tui setup kohya` installs the PyTorch that fits.",
        anywhere=True,
    ),
    Signature(
        code="precision_unsupported",
        pattern=r"(?P<name>bf16|fp16) mixed precision requires",
        title="this GPU, or this PyTorch, cannot compute in {name}",
        fix="bf16 takes an RTX 30, A100 or newer. Set training.mixed_precision: fp16 on older cards, or rent another.",
    ),
    Signature(
        code="driver_too_old",
        pattern=r"NVIDIA driver on your system is too old|CUDA driver version is insufficient",
        title="the NVIDIA driver is too old for this PyTorch",
        fix="Take a machine with a newer driver, or a PyTorch for an older CUDA: fluxgym-tui setup kohya --torch cu118",
        anywhere=True,
    ),
    Signature(
        code="tokenizer_format",
        pattern=r"tokenization_utils_base[\s\S]*'list' object has no attribute 'keys'",
        title="the tokenizers' files were written by a newer transformers than sd-scripts has",
        fix="Delete the folder models/tokenizers of the workspace: it is filled again from Hugging Face.",
        anywhere=True,
    ),
    Signature(
        code="tokenizer_missing",
        pattern=r"TokenizeStrategy[\s\S]*"
        r"(?:NoneType|Can't load tokenizer|couldn't connect|LocalEntryNotFound|OfflineMode)",
        title="the tokenizers could not be had: they come from Hugging Face at every start",
        fix="Go online once, or put them into models/tokenizers of the workspace.",
        anywhere=True,
    ),
    Signature(
        code="gated",
        pattern=r"GatedRepoError|Access to model (?P<name>\S+) is restricted|You are trying to access a gated repo",
        title="{name} is given only to those who logged in and accepted its licence",
        fix="Accept the licence on the model's page, then set HF_TOKEN.",
        anywhere=True,
        unnamed="the model",
    ),
    Signature(
        code="not_logged_in",
        pattern=r"401 Client Error|Invalid user token|RepositoryNotFoundError",
        title="Hugging Face knows neither this repository nor this login",
        fix="Check the repository's name and the token in HF_TOKEN.",
        anywhere=True,
    ),
    Signature(
        code="disk_full",
        pattern=r"No space left on device|\[Errno 28\]|code: 28, kind: StorageFull",
        title="the disk is full",
        fix="Free some room, or save fewer checkpoints (training.save_every_n_epochs).",
    ),
    Signature(
        code="not_writable",
        pattern=r"PermissionError: \[Errno 13\][^:]*: (?P<name>.*)|\[Errno 30\] Read-only file system: (?P<other>.*)",
        title="{name}{other} cannot be read or written",
        fix="Make that folder yours, or choose another workspace with --workspace.",
    ),
    Signature(
        code="model_broken",
        pattern=r"(?:SafetensorError|HeaderTooLarge|HeaderTooSmall|MetadataIncompleteBuffer|InvalidHeader)[^\n]*"
        r"|PytorchStreamReader failed",
        title="a model file is broken or only half there",
        fix="Compare its size with the one that `fluxgym-tui models` shows, and fetch it again.",
    ),
    Signature(
        code="model_of_other_kind",
        pattern=r"Cannot copy out of meta tensor|Error\(s\) in loading state_dict|scaled_fp8|scale_weight",
        title="a model file is of another kind than sd-scripts expects",
        fix="Use the plain files that `fluxgym-tui models` names: no *_fp8_scaled, no GGUF, no Diffusers folder.",
        anywhere=True,
    ),
    Signature(
        code="resume_too_late",
        pattern=r"max_train_steps should be greater than initial step[^\n]*?: (?P<name>\d+ vs \d+)",
        title="the training that is resumed has made all its steps ({name})",
        fix="Ask for more: fluxgym-tui resume RUN --epochs 4",
    ),
    Signature(
        code="accelerate_config",
        pattern=r"config file at (?P<name>\S+) had unknown keys",
        title="accelerate's own settings do not fit: {name}",
        fix="Move ~/.cache/huggingface/accelerate/default_config.yaml out of the way; no training here needs it.",
        anywhere=True,
        unnamed="default_config.yaml",
    ),
    Signature(
        code="port_in_use",
        pattern=r"EADDRINUSE|Address already in use|errno: 98",
        title="the port that accelerate wants is taken, most often by another training",
        fix="Wait for the other training's end, or set MASTER_PORT to a free one before the start.",
        anywhere=True,
    ),
    Signature(
        code="package_missing",
        pattern=r"ModuleNotFoundError: No module named '(?P<name>[^']+)'",
        title="sd-scripts needs the package {name}, which is not installed",
        fix="`fluxgym-tui setup kohya` makes it an environment with all that it needs.",
    ),
    Signature(
        code="torchvision_of_other_version",
        pattern=r"operator torchvision::\w+ does not exist|Couldn't load custom C\+\+ ops",
        title="torchvision is not of PyTorch's version, most often after one of them was updated alone",
        fix="`fluxgym-tui setup kohya` makes sd-scripts an environment with both of one version.",
        anywhere=True,
    ),
    Signature(
        code="package_of_other_version",
        pattern=r"ImportError: cannot import name '(?P<name>[^']+)' from '(?P<other>[^']+)'",
        title="the package {other} is of a version that sd-scripts does not fit: it has no {name}",
        fix="`fluxgym-tui setup kohya` makes it an environment with the versions that it asks for.",
    ),
    Signature(
        code="empty_caption",
        pattern=r"caption file is empty.*?: (?P<name>/.*)$",
        title="the caption file {name} is empty",
        fix="Write a caption into it, or delete it: without one the trigger is trained.",
    ),
    Signature(
        code="caption_encoding",
        pattern=r"illegal char in file \(not UTF-8\)[^:]*: (?P<name>.*)|UnicodeDecodeError: 'utf-?8' codec",
        title="{name} is not UTF-8",
        fix="`fluxgym-tui scan DIR --to-utf8` rewrites such captions and keeps their old bytes.",
        unnamed="a caption",
    ),
    Signature(
        code="dataset_toml",
        pattern=r"MultipleInvalid: (?P<name>.*)",
        title="sd-scripts does not take the dataset.toml: {name}",
        fix="Mend that key of the dataset.toml; `fluxgym-tui plan dataset.toml` names it with its place.",
    ),
    Signature(
        code="dataset_toml",
        pattern=r"TomlDecodeError: (?P<name>.*)",
        title="the dataset.toml is no TOML: {name}",
        fix="Mend that line of the dataset.toml.",
    ),
    Signature(
        code="bucket_steps",
        pattern=r"bucket_reso_steps is (?P<name>\d+)",
        title="bucket_reso_steps is {name}; FLUX needs a multiple of 64",
        fix="Set dataset.bucket_reso_steps: 64.",
    ),
    Signature(
        code="too_many_blocks",
        pattern=r"Cannot swap more than (?P<name>\d+ double blocks and \d+ single blocks)",
        title="the base model has fewer blocks than are to be swapped: at most {name}",
        fix="Lower training.blocks_to_swap, or take a larger recipe of training.vram.",
    ),
    Signature(
        code="not_cropped",
        pattern=r"image too large, but cropping and bucketing are disabled",
        title="a picture is not of the dataset's resolution, and neither buckets nor a latent cache are on",
        fix="Set dataset.enable_bucket: true, or add --cache_latents_to_disk.",
    ),
    Signature(
        code="broken_picture",
        pattern=r"(?:Error loading file: (?P<name>.*)\n[\s\S]*)?"
        r"(?:image file is truncated|UnidentifiedImageError|cannot identify image file)",
        title="{name} is broken",
        fix="Replace or remove it; `fluxgym-tui scan` finds such files.",
        unnamed="a picture",
    ),
    Signature(
        code="file_missing",
        pattern=r"FileNotFoundError: .*?(?P<name>[\"'/].*)",
        title="a file is not there: {name}",
        fix="Check the path; `fluxgym-tui models` lists what is here and what is missing.",
    ),
)
