"""Frozen encoders: embed a dataset once, keep the features, and train heads on them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mlcompare.data import Dataset
from mlcompare.encoders import create_encoder
from mlcompare.files import user_cache, whole_file
from mlcompare.training.prepare import Standardizer
from mlcompare.training.pretrained import Statistics, load_weights
from mlcompare.training.record import torch_threads
from mlcompare.training.scoring import embed

__all__ = ["EmbedAll", "body_of", "embed_all", "frozen_encoder", "frozen_features"]

EmbedAll = Callable[..., np.ndarray]  # dataset, body, standardize, device, threads → features (N, F)
FORMAT = 1  # raise it when the features of the same weights change


def frozen_features(
    dataset: Dataset, name: str, options: Mapping[str, Any], rows: np.ndarray, *, weights: str | None = None,
    statistics: Statistics | None = None, device: str = "cpu", threads: int = 1, cache: Path | None = None,
    embedder: EmbedAll | None = None,
) -> Dataset:  # fmt: skip
    """Return the dataset with features ``(N, F)`` of a frozen encoder in the place of its samples.

    The features are what enters the encoder's last linear layer (its output, where it ends with none). They are
    cached by content: the dataset's fingerprint, the encoder's weights and how its input is standardised.

    Args:
        name, options: the registered encoder.
        rows: ``(R,)`` samples that the input's mean and deviation are measured on, where the weights don't bring
            their own: those that are not sealed.
        weights: a state dict (``.pt``), or a folder that ``mlcompare export`` wrote; else the encoder's own:
            pretrained where an option says so, drawn from seed 0 where none does.
        statistics: mean and deviation of each channel that the input is normalised by, in place of theirs.
        cache: the folder of cached features; by default in the user's cache.
        embedder: what embeds the dataset where no features are cached; :func:`embed_all` by default.

    Raises:
        DataError: the weights can't be read, don't fit the encoder, or give features that are not finite.
    """
    body, standardize = frozen_encoder(dataset, name, options, rows, weights=weights, statistics=statistics)
    identity = _identity(dataset, name, options, body, standardize)
    file = (cache or user_cache() / "features") / f"{identity[:32]}-{_machine(device, threads)}.npy"
    features = _read(file, len(dataset))
    if features is None:
        features = (embedder or embed_all)(dataset, body, standardize, device, threads)
        _write(file, features)
    return replace(dataset, samples=features, fingerprint=identity, columns=None)


def embed_all(
    dataset: Dataset, body: nn.Module, standardize: Standardizer, device: str = "cpu", threads: int = 1
) -> np.ndarray:
    """Return features ``(N, F)`` of a dataset's samples, in float32."""
    there = Standardizer(standardize.mean.to(device), standardize.inverse.to(device))
    with torch_threads(threads):
        features: np.ndarray = embed(body.to(device), there, dataset.samples).flatten(1).cpu().numpy()
    return features


def frozen_encoder(
    dataset: Dataset, name: str, options: Mapping[str, Any], rows: np.ndarray, *, weights: str | None = None,
    statistics: Statistics | None = None, device: str = "cpu",
) -> tuple[nn.Sequential, Standardizer]:  # fmt: skip
    """Return what makes the features of :func:`frozen_features`: the encoder's body, and how its input is standardised.

    Raises:
        DataError: the weights can't be read, or don't fit the encoder.
    """
    encoder = create_encoder(name, input_shape=dataset.sample_shape, embedding_dim=1, **options)
    load_weights(encoder, weights, statistics)
    standardize = Standardizer.of(encoder, dataset, rows, device)
    return body_of(encoder).to(device).eval(), standardize


def body_of(encoder: nn.Module) -> nn.Sequential:
    """Return the encoder without its last linear layer, where it ends with one."""
    layers = list(encoder) if isinstance(encoder, nn.Sequential) else [encoder]
    return nn.Sequential(*(layers[:-1] if isinstance(layers[-1], nn.Linear) and len(layers) > 1 else layers))


def _identity(
    dataset: Dataset, name: str, options: Mapping[str, Any], body: nn.Module, standardize: Standardizer
) -> str:
    """Return the hash of all that decides the features, but for the machine's rounding."""
    digest = hashlib.sha256(f"{FORMAT} {dataset.fingerprint} {name} {sorted(options.items())!r}".encode())
    tensors: dict[str, Tensor] = {**body.state_dict(), "mean": standardize.mean, "inverse": standardize.inverse}
    for key, tensor in tensors.items():
        digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _machine(device: str, threads: int) -> str:
    """Return what rounding depends on, fit for a file's name."""
    return f"{torch.device(device).type}-{threads}-torch{torch.__version__.replace('+', '-')}"


def _read(file: Path, count: int) -> np.ndarray | None:
    """Return cached features, or None where there are none or the file is damaged."""
    try:
        features = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    whole = features.dtype == np.float32 and features.ndim == 2 and len(features) == count
    return features if whole else None


def _write(file: Path, features: np.ndarray) -> None:
    """Cache the features, whole or not at all; where nothing can be written, they are computed again next time."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as out:
            np.save(out, features)
    except OSError:
        pass
