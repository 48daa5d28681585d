"""Latents and captions' encodings on disk, beside the pictures: made where stale, read while training.

The files are sd-scripts' own, so both backends share them; a fingerprint beside each says what it was made from.
Shapes: h, w the latent's size (an eighth of the bucket's), T text tokens.
"""

import hashlib
import io
import zipfile
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.files import write_atomic
from fluxgym_tui.dataset import caches
from fluxgym_tui.plan.buckets import stored_crop
from fluxgym_tui.trainer.autoencoder import Autoencoder
from fluxgym_tui.trainer.data import Picture, PictureBatch
from fluxgym_tui.trainer.pixels import load_pixels

Key = TypeVar("Key", caches.LatentKey, caches.TextKey)
Item = TypeVar("Item")
Arrays = Mapping[str, npt.NDArray[np.generic]]
Progress = Callable[[int, int], None]
"""Told after each piece of work: done, total. It may raise to stop the work there."""


def latent_path(picture: Picture) -> Path:
    """Where the picture's latents are cached."""
    return caches.latent_cache_path(picture.path, width=picture.size[0], height=picture.size[1])


def text_path(picture: Picture) -> Path:
    """Where the encoding of the picture's caption is cached."""
    return caches.text_cache_path(picture.path)


def latent_keys(
    pictures: Sequence[Picture], *, vae_digest: str, digests: caches.DigestCache
) -> dict[Path, caches.LatentKey]:
    """What each picture's latents depend on, by cache file.

    FluxgymError where two pictures or datasets want one file to hold different latents.
    """
    keys: dict[Path, caches.LatentKey] = {}
    for picture in pictures:
        try:
            picture_digest = digests.digest(picture.path)
        except OSError as error:
            raise FluxgymError(
                f"{picture.path}: the picture cannot be read: {error.strerror}",
                hint="Bring it back, or take it out of the dataset.",
            ) from error
        key = caches.LatentKey(
            picture_digest=picture_digest,
            bucket=picture.fit.bucket,
            resized=picture.fit.resized,
            crop=picture.fit.crop,
            vae_digest=f"{vae_digest} with alpha" if picture.subset.alpha_mask else vae_digest,
        )
        _put(keys, latent_path(picture), key, picture)
    return keys


def text_keys(pictures: Sequence[Picture], *, key_of: Callable[[str], caches.TextKey]) -> dict[Path, caches.TextKey]:
    """What the encoding of each caption depends on, by cache file. FluxgymError as `latent_keys`."""
    keys: dict[Path, caches.TextKey] = {}
    for picture in pictures:
        _put(keys, text_path(picture), key_of(picture.caption), picture)
    return keys


def stale(keys: Mapping[Path, caches.LatentKey] | Mapping[Path, caches.TextKey]) -> set[Path]:
    """The cache files that are not there, or were made from something else than their key says."""
    return {path for path, key in keys.items() if not caches.is_fresh(path, key)}


def make_latents(
    pictures: Sequence[Picture],
    keys: Mapping[Path, caches.LatentKey],
    *,
    autoencoder: Autoencoder,
    batch_size: int,
    progress: Progress,
) -> None:
    """Encode and cache the latents of `pictures`, `batch_size` of one bucket at once.

    The noise of the sampled latents follows from the picture and its cut alone: the same file comes out in any order.
    """
    device = next(autoencoder.parameters()).device
    buckets: defaultdict[tuple[int, int], list[Picture]] = defaultdict(list)
    for picture in {latent_path(picture): picture for picture in pictures}.values():
        buckets[picture.fit.bucket].append(picture)
    total, done = sum(map(len, buckets.values())), 0
    for (width, height), members in buckets.items():
        shape = (autoencoder.geometry.z_channels, height // 8, width // 8)
        for chunk in _chunks(members, batch_size):
            loaded = [load_pixels(picture.path, picture.fit, alpha=picture.subset.alpha_mask) for picture in chunk]
            images = torch.stack([pixels for pixels, _ in loaded]).to(device)
            noise = torch.stack([torch.randn(shape, generator=_generator(keys[latent_path(p)])) for p in chunk])
            with torch.no_grad():
                latents = autoencoder.encode(images, eps=noise.to(device)).float().cpu()
            for picture, latent, (_, mask) in zip(chunk, latents, loaded, strict=True):
                _write(latent_path(picture), _latent_arrays(picture, latent, mask), keys[latent_path(picture)])
            done += len(chunk)
            progress(done, total)


def make_texts(
    keys: Mapping[Path, caches.TextKey],
    *,
    encode: Callable[[list[str]], Mapping[str, Tensor]],
    apply_t5_attn_mask: bool,
    batch_size: int,
    progress: Progress,
) -> None:
    """Encode and cache the captions of `keys`; one that several files want is encoded once.

    `encode` gives for B captions l_pooled (B, vec), t5_out (B, T, context), txt_ids (B, T, 3), t5_attn_mask (B, T).
    """
    by_caption: defaultdict[str, list[Path]] = defaultdict(list)
    for path, key in keys.items():
        by_caption[key.caption].append(path)
    done = 0
    for captions in _chunks(list(by_caption), batch_size):
        encoded = {name: tensor.cpu() for name, tensor in encode(list(captions)).items()}
        for index, caption in enumerate(captions):
            arrays = _text_arrays({name: tensor[index] for name, tensor in encoded.items()}, apply_t5_attn_mask)
            for path in by_caption[caption]:
                _write(path, arrays, keys[path])
        done += len(captions)
        progress(done, len(by_caption))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBatch:
    """A batch as it was read: latents (B, 16, h, w), loss_weights (B,), masks (B, 1, h, w) or None, and captions.

    `texts` are the captions' encodings by name, None where they are not cached.
    """

    latents: Tensor
    loss_weights: Tensor
    masks: Tensor | None
    captions: tuple[str, ...]
    texts: Mapping[str, Tensor] | None


def read_batch(batch: PictureBatch) -> ReadBatch:
    """The caches of a batch's pictures, on the CPU in float32. FluxgymError where a file cannot be read."""
    width, height = batch.pictures[0].fit.bucket
    size = f"{height // 8}x{width // 8}"
    latents, masks = [], []
    for picture in batch.pictures:
        wanted = (f"latents_{size}", f"alpha_mask_{size}") if picture.subset.alpha_mask else (f"latents_{size}",)
        arrays = _read(latent_path(picture), wanted)
        latents.append(torch.from_numpy(arrays[f"latents_{size}"]))
        masks.append(_mask(picture, arrays.get(f"alpha_mask_{size}")))
    return ReadBatch(
        latents=torch.stack(latents),
        loss_weights=torch.tensor([picture.loss_weight for picture in batch.pictures]),
        masks=latent_masks(masks) if any(picture.masked for picture in batch.pictures) else None,
        captions=batch.captions,
        texts=_read_texts(batch.pictures) if batch.cached_text else None,
    )


def _mask(picture: Picture, alpha: npt.NDArray[Any] | None) -> Tensor:
    """How much each place of `picture` counts, (height, width) of its bucket; a mask of its own beats transparency."""
    if picture.mask is not None:
        pixels, _ = load_pixels(picture.mask, picture.fit)
        return pixels[0] / 2 + 0.5
    width, height = picture.fit.bucket
    return torch.ones(height, width) if alpha is None else torch.from_numpy(alpha)


def latent_masks(masks: Sequence[Tensor]) -> Tensor:
    """Masks of a picture's size as the means over each latent: (B, 1, h, w)."""
    return functional.avg_pool2d(torch.stack(list(masks))[:, None], 8)


def _read_texts(pictures: Sequence[Picture]) -> dict[str, Tensor]:
    texts = [read_text(text_path(picture)) for picture in pictures]
    return {name: torch.stack([text[name] for text in texts]) for name in texts[0]}


def read_text(path: Path) -> dict[str, Tensor]:
    """The encoding of one caption: l_pooled (vec), t5_out (T, context), txt_ids (T, 3), t5_attn_mask (T)."""
    arrays = _read(path, ("l_pooled", "t5_out", "txt_ids", "t5_attn_mask"))
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def read_ahead(batches: Iterable[PictureBatch], *, workers: int) -> Generator[ReadBatch, None, None]:
    """The caches of each of `batches`, in order; `workers` threads read on meanwhile, 0 reads only when asked.

    The threads live until the last batch is taken or the iterator is closed.
    """
    if workers == 0:
        yield from map(read_batch, batches)
        return
    remaining = iter(batches)
    with ThreadPoolExecutor(workers, thread_name_prefix="cache-reader") as readers:
        waiting = deque(readers.submit(read_batch, batch) for batch in islice(remaining, workers + 1))
        try:
            while waiting:
                ready = waiting.popleft().result()
                waiting.extend(readers.submit(read_batch, batch) for batch in islice(remaining, 1))
                yield ready
        finally:
            readers.shutdown(cancel_futures=True)


def _put(keys: dict[Path, Key], path: Path, key: Key, picture: Picture) -> None:
    if keys.setdefault(path, key) != key:
        raise FluxgymError(
            f"{picture.path} and another picture or dataset need different contents of one cache, {path.name}.",
            hint="Rename pictures that share a name, and give each resolution a folder of its own.",
        )


def _chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _generator(key: caches.LatentKey) -> torch.Generator:
    text = f"{key.picture_digest} {key.bucket} {key.resized} {key.crop}"
    seed = int.from_bytes(hashlib.sha256(text.encode("ascii")).digest()[:7], "big")
    return torch.Generator().manual_seed(seed)


def _latent_arrays(picture: Picture, latent: Tensor, mask: Tensor | None) -> Arrays:
    size = f"{latent.shape[1]}x{latent.shape[2]}"
    masks = {} if mask is None else {f"alpha_mask_{size}": mask.numpy()}
    return {
        f"latents_{size}": latent.numpy(),
        f"original_size_{size}": np.array(picture.size),
        f"crop_ltrb_{size}": np.array(stored_crop(*picture.size, picture.fit.bucket), dtype=np.float64),
        **masks,
    }


def _text_arrays(encoded: Mapping[str, Tensor], apply_t5_attn_mask: bool) -> Arrays:
    floats = {name: encoded[name].float().numpy() for name in ("l_pooled", "t5_out", "txt_ids")}
    mask = encoded["t5_attn_mask"].long().numpy()
    return {**floats, "t5_attn_mask": mask, "apply_t5_attn_mask": np.array(apply_t5_attn_mask)}


def _write(path: Path, arrays: Arrays, key: caches.LatentKey | caches.TextKey) -> None:
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]  # numpy types its own switch among the names
    try:
        write_atomic(path, content.getvalue())
        caches.record(path, key)
    except OSError as error:
        raise FluxgymError(
            f"{path}: the cache cannot be written: {error.strerror}",
            hint="Make room, or make the folder writable.",
            code=ExitCode.FAILED,
        ) from error


def _read(path: Path, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    try:
        with path.open("rb") as raw, np.load(raw) as file:
            return {name: file[name] for name in names}
    except FileNotFoundError as error:
        raise FluxgymError(
            f"{path}: the cache is gone.",
            hint="It is made again at the next start, if its picture is still there.",
            code=ExitCode.FAILED,
        ) from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise FluxgymError(
            f"{path}: the cache cannot be read: {error}",
            hint="Remove it: it is made again at the next start.",
            code=ExitCode.FAILED,
        ) from error
