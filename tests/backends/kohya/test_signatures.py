"""Every error we know is told by its cause: from recorded logs where there is one, else from such a log made here."""

import re
import string

import pytest

from fluxgym_tui.backends.kohya.log import KohyaLog
from fluxgym_tui.backends.kohya.signatures import SIGNATURES, Signature
from fluxgym_tui.base.events import ProblemEvent
from tests.backends.kohya.recorded import NAMES, recorded

_LAUNCHER = """\
Traceback (most recent call last):
  File "/gym/sd-scripts/.venv/bin/accelerate", line 8, in <module>
    sys.exit(main())
  File "/gym/sd-scripts/.venv/lib/python3.11/site-packages/accelerate/commands/launch.py", line 763, in simple_launcher
    raise subprocess.CalledProcessError(returncode=process.returncode, cmd=cmd)
subprocess.CalledProcessError: Command '['python', '/gym/sd-scripts/flux_train_network.py']' {how}.
"""
_TRAINER = """\
Traceback (most recent call last):
  File "/gym/sd-scripts/flux_train_network.py", line 547, in <module>
    trainer.train(args)
{frames}{exception}
"""

# code, frames, exception with its message, and words of the title. As the libraries print them.
CASES: tuple[tuple[str, str, str, str], ...] = (
    ("out_of_memory", "", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has", "GPU"),
    (
        "out_of_memory",
        "",
        "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "",
    ),
    ("out_of_memory", "", "torch.AcceleratorError: CUDA error: out of memory", "GPU"),
    (
        "precision_unsupported",
        "",
        "ValueError: bf16 mixed precision requires PyTorch >= 1.10 and a supported device.",
        "cannot compute in bf16",
    ),
    (
        "torchvision_of_other_version",
        '  File "/gym/lib/torchvision/_meta_registrations.py", line 163, in <module>\n',
        "RuntimeError: operator torchvision::nms does not exist",
        "torchvision is not of PyTorch's version",
    ),
    (
        "shared_memory_full",
        "",
        "RuntimeError: DataLoader worker (pid 4242) is killed by signal: Bus error. It is possible that dataloader's "
        "workers are out of shared memory. Please try to raise your shared memory limit.",
        "/dev/shm",
    ),
    ("out_of_host_memory", "", "RuntimeError: DataLoader worker (pid 4242) is killed by signal: Killed. ", "memory"),
    ("out_of_host_memory", "", "MemoryError", "memory"),
    (
        "out_of_host_memory",
        "",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you",
        "memory",
    ),
    (
        "bitsandbytes_without_cuda",
        '  File "/gym/lib/bitsandbytes/cextension.py", line 85, in <module>\n',
        "RuntimeError: The installed version of bitsandbytes was compiled without GPU support. 8-bit optimizers, 8-bit "
        "multiplication, and GPU quantization are unavailable.",
        "8-bit optimiser cannot run",
    ),
    (
        "torch_lacks_this_gpu",
        "",
        "torch.AcceleratorError: CUDA error: no kernel image is available for execution on the device\n"
        "CUDA kernel errors might be asynchronously reported at some other API call.",
        "no code for this GPU",
    ),
    ("torch_without_cuda", "", "AssertionError: Torch not compiled with CUDA enabled", "no GPU"),
    (
        "driver_too_old",
        "",
        "RuntimeError: The NVIDIA driver on your system is too old (found version 11080). Please update your GPU",
        "too old",
    ),
    (
        "tokenizer_format",
        '  File "/gym/sd-scripts/library/strategy_flux.py", line 27, in __init__\n'
        '  File "/gym/lib/transformers/tokenization_utils_base.py", line 1432, in __init__\n'
        "    self.SPECIAL_TOKENS_ATTRIBUTES = self.SPECIAL_TOKENS_ATTRIBUTES + list(special_tokens.keys())\n",
        "AttributeError: 'list' object has no attribute 'keys'",
        "newer transformers",
    ),
    (
        "gated",
        "",
        "huggingface_hub.errors.GatedRepoError: 401 Client Error. (Request ID: Root=1-6)\n"
        "Cannot access gated repo for url https://huggingface.co/black-forest-labs/FLUX.1-dev/resolve/main/ae.st.\n"
        "Access to model black-forest-labs/FLUX.1-dev is restricted.",
        "accepted its licence",
    ),
    ("not_logged_in", "", "requests.exceptions.HTTPError: 401 Client Error: Unauthorized for url: https://hf.co/x", ""),
    (
        "disk_full",
        "",
        "OSError: [Errno 28] No space left on device: '/gym/outputs/hrld/hrld-000004.safetensors'",
        "full",
    ),
    (
        "disk_full",
        "",
        "safetensors_rust.SafetensorError: Error while serializing: IoError(Os { code: 28, kind: StorageFull, message: "
        '"No space left on device" })',
        "full",
    ),
    ("not_writable", "", "PermissionError: [Errno 13] Permission denied: '/gym/outputs/hrld'", "/gym/outputs/hrld"),
    (
        "model_broken",
        "",
        "safetensors_rust.SafetensorError: Error while deserializing header: MetadataIncompleteBuffer",
        "half there",
    ),
    (
        "model_of_other_kind",
        "",
        "RuntimeError: Error(s) in loading state_dict for Flux:\n\tsize mismatch for img_in.weight: copying a param",
        "another kind",
    ),
    (
        "model_of_other_kind",
        "",
        "NotImplementedError: Cannot copy out of meta tensor; no data! Please use torch.nn.Module.to_empty()",
        "another kind",
    ),
    (
        "resume_too_late",
        "",
        "AssertionError: max_train_steps should be greater than initial step / max_train_stepsは初期ステップより"
        "大きい必要があります: 24 vs 24",
        "24 vs 24",
    ),
    (
        "accelerate_config",
        "",
        "ValueError: The config file at /home/me/.cache/huggingface/accelerate/default_config.yaml had unknown keys "
        "(['fp8_config']), please try upgrading your `accelerate` version or fix (and potentially remove) these keys",
        "default_config.yaml",
    ),
    (
        "port_in_use",
        "",
        "torch.distributed.DistNetworkError: The server socket has failed to listen on any local network address. "
        "port: 29500, useIpv6: false, code: -98, name: EADDRINUSE, message: address already in use",
        "port",
    ),
    ("package_missing", "", "ModuleNotFoundError: No module named 'voluptuous'", "voluptuous"),
    (
        "package_of_other_version",
        "",
        "ImportError: cannot import name 'CLIPFeatureExtractor' from 'transformers' (/gym/lib/transformers/x.py)",
        "transformers",
    ),
    (
        "caption_encoding",
        "",
        "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xe4 in position 3: invalid continuation byte",
        "is not UTF-8",
    ),
)
# Told by the launcher alone: the trainer had no time for words.
DEATHS = (
    ("out_of_host_memory", "died with <Signals.SIGKILL: 9>"),
    ("shared_memory_full", "died with <Signals.SIGBUS: 7>"),
)
RECORDED_CODES = {
    "bitsandbytes_missing",
    "bucket_steps",
    "empty_caption",
    "file_missing",
    "tokenizer_missing",
    "dataset_toml",
    "broken_picture",
    "not_cropped",
    "too_many_blocks",
}


def problems(log: str | bytes) -> list[ProblemEvent]:
    parser = KohyaLog()
    events = [*parser.feed(log if isinstance(log, bytes) else log.encode()), *parser.close()]
    return [event for event in events if isinstance(event, ProblemEvent)]


def log_of(frames: str, exception: str) -> str:
    begin = recorded("ok_pipe")[:9000].decode("utf-8", "ignore")
    launcher = _LAUNCHER.format(how="returned non-zero exit status 1")
    return f"{begin}\n{_TRAINER.format(frames=frames, exception=exception)}{launcher}"


@pytest.mark.parametrize(("code", "frames", "exception", "said"), CASES)
def test_an_error_is_told_by_its_cause(code: str, frames: str, exception: str, said: str) -> None:
    log = log_of(frames, exception)
    (problem,) = problems(log)
    assert problem.code == code
    assert said in problem.title
    assert problem.fix
    assert exception.split("\n", maxsplit=1)[0][:60] in str(problem.detail)
    assert problem.log_offset is not None
    assert log.encode()[problem.log_offset :].startswith(b"Traceback")


@pytest.mark.parametrize(("code", "how"), DEATHS)
def test_a_trainer_that_was_killed_is_told_by_its_launcher(code: str, how: str) -> None:
    begin = recorded("ok_pipe")[:9000].decode("utf-8", "ignore")
    (problem,) = problems(f"{begin}\n{_LAUNCHER.format(how=how)}")
    assert problem.code == code


def test_a_caption_that_is_not_utf_8_is_named() -> None:
    record = "2026-11-22 21:42:54 ERROR    illegal char in file (not UTF-8) / ファイルに: /photos/ä b.txt"
    trace = log_of("", "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xe4 in position 3: invalid")
    begin, end = trace.split("Traceback", 1)
    (problem,) = problems(f"{begin}{record.ljust(190)} train_util.py:2049\nTraceback{end}")
    assert problem.code == "caption_encoding"
    assert problem.title == "/photos/ä b.txt is not UTF-8"


def test_every_signature_has_a_log() -> None:
    told = {code for code, *_ in CASES} | {code for code, _ in DEATHS} | RECORDED_CODES
    assert told == {signature.code for signature in SIGNATURES}
    of_records = {problem.code for name in NAMES for problem in problems(recorded(name))}
    assert of_records >= RECORDED_CODES


@pytest.mark.parametrize("signature", SIGNATURES, ids=lambda signature: signature.code)
def test_a_title_names_only_what_its_pattern_finds(signature: Signature) -> None:
    groups = set(re.compile(signature.pattern).groupindex)
    fields = {name for _, name, _, _ in string.Formatter().parse(signature.title) if name}
    assert fields <= groups
