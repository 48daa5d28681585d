"""Captions by Florence-2 through transformers' own classes, in batches, on the GPU or the CPU. The room's torch."""

import importlib
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.captioner.answers import Answer
from fluxgym_tui.captioner.job import FLORENCE_MODELS, CaptionJob
from fluxgym_tui.captioner.pictures import load_picture, why_unreadable
from fluxgym_tui.dataset.header import PictureError
from fluxgym_tui.dataset.scanned import ScannedImage

if TYPE_CHECKING:
    from PIL import Image

# The model's own words for three lengths of caption.
_TASKS: Final = {"short": "<CAPTION>", "detailed": "<DETAILED_CAPTION>", "long": "<MORE_DETAILED_CAPTION>"}
_MAX_NEW_TOKENS: Final = 256
_BEAMS: Final = 3
_BATCH: Final = {"cuda": 8, "cpu": 1}
_SIDE_PX: Final = 1024  # it sees 768 x 768
_REPOSITORY: Final = re.compile(r"\w[\w.-]*/[\w.-]+", re.ASCII)


class Florence:
    """Florence-2 `base`, `large`, a repository of the hub or a folder, loaded by `prepare`."""

    def __init__(self, job: CaptionJob) -> None:
        self._job = job
        self._name = FLORENCE_MODELS.get(job.model or "base", job.model)
        self._device = "cpu"
        self._batch = 1
        self._model: Any = None
        self._processor: Any = None

    def prepare(self, *, say: Callable[[str], None]) -> None:
        """Load the model: a folder, or a repository from the hub's cache, else from the hub.

        Raises:
            FluxgymError: the optional part is not installed, there is no such model, or the hub is not reached.
        """
        try:
            import torch
            import transformers
        except ImportError as error:
            raise FluxgymError(
                f"Florence-2 needs what is not installed: {error.name or error}",
                hint="pip install 'fluxgym-tui[caption]', or caption by --with endpoint or --with command.",
                code=ExitCode.MISSING_EXTRA,
            ) from error
        library: Any = transformers  # its types are partial
        library.logging.set_verbosity_error()
        self._device = self._job.device if self._job.device != "auto" else _device(torch)
        if self._device == "cuda" and not torch.cuda.is_available():
            raise FluxgymError("there is no GPU that torch can use", hint="--device cpu, or see `fluxgym-tui doctor`.")
        self._batch = self._job.batch_size or _BATCH[self._device]
        dtype = torch.float16 if self._device == "cuda" else torch.float32
        self._model = self._loaded(library, dtype, say=say).to(self._device).eval()

    def _loaded(self, library: Any, dtype: Any, *, say: Callable[[str], None]) -> Any:
        """The model, its processor kept beside it."""
        if Path(self._name).is_dir():
            return self._from(library, dtype, local=True)
        if not _REPOSITORY.fullmatch(self._name):
            raise _unknown(self._name, "there is no such folder", code=ExitCode.NOT_FOUND)
        try:  # what is in the cache is taken as it is: asking whether it is the newest takes minutes without a network
            return self._from(library, dtype, local=True)
        except FluxgymError:
            _reach_hub(self._name)
        say(f"downloading {self._name}, once")
        return self._from(library, dtype, local=False)

    def _from(self, library: Any, dtype: Any, *, local: bool) -> Any:
        safetensors: Any = importlib.import_module("safetensors")
        try:
            self._processor = library.AutoProcessor.from_pretrained(self._name, local_files_only=local)
            return library.Florence2ForConditionalGeneration.from_pretrained(
                self._name, dtype=dtype, local_files_only=local
            )
        except ImportError as error:
            raise FluxgymError(
                f"{self._name} needs what is not installed: {_first_line(error)}",
                hint="pip install 'fluxgym-tui[caption]', or caption by --with endpoint or --with command.",
                code=ExitCode.MISSING_EXTRA,
            ) from error
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, safetensors.SafetensorError) as error:
            code = ExitCode.USAGE if Path(self._name).is_dir() else ExitCode.NOT_FOUND
            raise _unknown(self._name, _first_line(error), code=code) from error

    def answers(self, images: Sequence[ScannedImage], *, stop: threading.Event) -> Iterator[Answer]:
        """An answer for each picture, batch by batch; see `Captioner`."""
        start = 0
        while start < len(images) and not stop.is_set():
            batch = images[start : start + self._batch]
            start += len(batch)
            readable: list[tuple[ScannedImage, Image.Image]] = []
            for image in batch:
                try:
                    readable.append((image, load_picture(image, max_side_px=_SIDE_PX)))
                except (PictureError, OSError) as error:
                    yield Answer(image, None, why_unreadable(error))
            if readable:
                yield from self._batch_of(readable)

    def _batch_of(self, pictures: "list[tuple[ScannedImage, Image.Image]]") -> Iterator[Answer]:
        """Caption a batch; out of memory, in two halves, and from then on never as many at once."""
        texts = self._generated(pictures)
        if texts is None:
            half = len(pictures) // 2
            self._batch = min(self._batch, half)
            yield from self._batch_of(pictures[:half])
            yield from self._batch_of(pictures[half:])
            return
        for (image, _), text in zip(pictures, texts, strict=True):
            yield Answer(image, text)

    def _generated(self, pictures: "list[tuple[ScannedImage, Image.Image]]") -> list[str] | None:
        """What the model says of them; None where the memory is too small for so many at once."""
        import torch

        try:
            return self._generate([picture for _, picture in pictures])
        except torch.OutOfMemoryError as error:
            if len(pictures) == 1:
                raise FluxgymError(
                    "there is not enough GPU memory to caption one picture",
                    hint="Stop what else uses the card, take --model base, or --device cpu.",
                    code=ExitCode.FAILED,
                ) from error
        # Here the error is gone, and with it the tensors that its frames held.
        torch.cuda.empty_cache()
        return None

    def _generate(self, pictures: "list[Image.Image]") -> list[str]:
        import torch

        task = _TASKS[self._job.style]
        inputs = self._processor(images=pictures, text=[task] * len(pictures), return_tensors="pt", padding=True)
        inputs = inputs.to(self._device, self._model.dtype)
        with torch.inference_mode():
            tokens = self._model.generate(**inputs, max_new_tokens=_MAX_NEW_TOKENS, num_beams=_BEAMS, do_sample=False)
        return [str(text) for text in self._processor.batch_decode(tokens, skip_special_tokens=True)]


def _reach_hub(name: str) -> None:
    """See that the hub answers: transformers asks for each file again and again, for minutes.

    Raises:
        FluxgymError: it does not, or may not be asked.
    """
    hub: Any = importlib.import_module("huggingface_hub")
    session = hub.get_session()
    client: Any = importlib.import_module(type(session).__module__.partition(".")[0])
    address = hub.constants.ENDPOINT
    parts = urlsplit(address)
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()  # a mirror's may carry a password
    try:
        session.head(f"{address}/api/models/{name}", timeout=hub.constants.HF_HUB_DOWNLOAD_TIMEOUT)
    except (client.RequestError, OSError) as error:
        offline = hub.constants.HF_HUB_OFFLINE
        raise FluxgymError(
            f"cannot download {name}: "
            + ("HF_HUB_OFFLINE is set" if offline else f"no answer from {shown} ({_first_line(error)})"),
            hint="It is not in Hugging Face's cache. "
            + ("Unset it" if offline else "Check the network (HF_ENDPOINT names a mirror, HTTPS_PROXY a proxy)")
            + ", or name a folder that has it: --model DIR.",
            code=ExitCode.FAILED,
        ) from error


def _unknown(name: str, why: str, *, code: ExitCode) -> FluxgymError:
    return FluxgymError(
        f"cannot load {name}: {why}",
        hint="--model base, large, a repository with a Florence-2 for transformers, or a folder with one.",
        code=code,
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _device(torch: Any) -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
