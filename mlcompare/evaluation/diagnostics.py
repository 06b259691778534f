"""The geometry of an embedding: angles within and between classes, alignment, uniformity, spectrum and norms."""

from __future__ import annotations

import math

import numpy as np
import torch

from mlcompare.errors import InvalidValueError
from mlcompare.evaluation.inputs import Samples, Values, normalized_samples

__all__ = ["class_angles", "class_weight_norms", "embedding_geometry", "norm_statistics", "spectrum"]

CHUNK_ELEMENTS = 2**21


def embedding_geometry(embeddings: Values, labels: Values) -> dict[str, float]:
    """Summarise the geometry of ``embeddings (N, D)`` with ``labels (N,)``.

    Returns:
        the angles of :func:`class_angles` (rad), ``alignment`` and ``uniformity`` (Wang & Isola, arXiv:2005.10242),
        ``effective_rank`` and ``leading_variance`` (:func:`spectrum`) and the norms of :func:`norm_statistics`.

    >>> scores = embedding_geometry([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], [0, 0, 1, 1])
    >>> round(scores["inter_class_angle"], 4), scores["alignment"]
    (1.5708, 0.0)
    """
    samples = normalized_samples(embeddings, labels, place="embedding_geometry")
    return (
        class_angles(samples)
        | _alignment_uniformity(samples)
        | {key: value for key, value in spectrum(samples.vectors).items() if key != "eigenvalues"}
        | norm_statistics(embeddings)
    )


def class_angles(samples: Samples) -> dict[str, float]:
    """Angles in rad: samples to their class mean (mean over samples), and each class mean to the nearest other one.

    ``intra_class_angle`` is the mean angle of a sample to its class's mean direction; ``inter_class_angle`` the mean
    over pairs of class means; ``nearest_class_angle`` the mean over classes of the angle to the nearest other class.
    """
    count = len(samples.classes)
    sums = torch.zeros(count, samples.vectors.shape[1], dtype=torch.float64, device=samples.vectors.device)
    sums.index_add_(0, samples.codes, samples.vectors)
    means = sums / sums.norm(dim=1, keepdim=True).clamp_min(1e-12)  # (C, D)
    own = (samples.vectors * means[samples.codes]).sum(dim=1)  # (N,)
    between = torch.acos((means @ means.T).clamp(-1.0, 1.0))  # (C, C)
    off = ~torch.eye(count, dtype=torch.bool, device=between.device)
    nearest = between.masked_fill(~off, torch.inf).amin(dim=1)
    return {
        "intra_class_angle": float(torch.acos(own.clamp(-1.0, 1.0)).mean()),
        "inter_class_angle": float(between[off].mean()),
        "nearest_class_angle": float(nearest.mean()),
    }


def _alignment_uniformity(samples: Samples) -> dict[str, float]:
    """Wang & Isola 2020, eqs. 5 and 6: ``E‖x-y‖²`` over same-class pairs and ``log E exp(-2‖x-y‖²)`` over all pairs."""
    n, step = len(samples), max(1, CHUNK_ELEMENTS // len(samples))
    align = pairs = spread = 0.0
    for start in range(0, n, step):
        rows = samples.take(slice(start, start + step))
        squared = 2.0 - 2.0 * (rows.vectors @ samples.vectors.T)  # (b, N)
        other = torch.ones_like(squared, dtype=torch.bool)
        index = torch.arange(len(rows), device=other.device)
        other[index, start + index] = False
        squared = squared.clamp_min_(0.0)
        same = (rows.codes[:, None] == samples.codes) & other
        align += float(squared[same].sum())
        pairs += float(same.sum())
        spread += float(squared.mul_(-2.0).exp_()[other].sum())
    return {
        "alignment": align / pairs if pairs else math.nan,
        "uniformity": math.log(spread / (n * (n - 1))),
    }


def spectrum(vectors: torch.Tensor) -> dict:
    """Spectral decay of the covariance of ``vectors (N, D)``: how many directions the embedding really uses.

    Returns:
        ``eigenvalues (D,)``, descending, as shares of the variance; ``effective_rank = exp(-Σ p log p)`` (Roy &
        Vetterli 2007), from 1 to D; ``leading_variance``, the largest share. A collapsed embedding gives zeros.
    """
    vectors = torch.as_tensor(vectors).detach().double()
    centred = vectors - vectors.mean(dim=0)  # (N, D)
    values = torch.linalg.eigvalsh(centred.T @ centred / len(centred)).flip(0).clamp_min(0.0)  # (D,)
    total = float(values.sum())
    if total < 1e-14:
        return {"eigenvalues": np.zeros(len(values)), "effective_rank": 0.0, "leading_variance": 0.0}
    share = values / total
    entropy = -(share * share.clamp_min(1e-300).log()).sum()
    return {
        "eigenvalues": share.cpu().numpy(),
        "effective_rank": float(entropy.exp()),
        "leading_variance": float(share[0]),
    }


def norm_statistics(embeddings: Values) -> dict[str, float]:
    """Mean, standard deviation, extremes and coefficient of variation of the norms of ``embeddings (N, D)``.

    >>> norm_statistics([[3.0, 4.0], [0.0, 5.0]])["norm_mean"]
    5.0
    """
    norms = torch.linalg.vector_norm(torch.as_tensor(embeddings).detach().double(), dim=1)  # (N,)
    mean, deviation = float(norms.mean()), float(norms.std(unbiased=False))
    return {
        "norm_mean": mean,
        "norm_std": deviation,
        "norm_min": float(norms.min()),
        "norm_max": float(norms.max()),
        "norm_variation": deviation / mean if mean > 0 else math.nan,
    }


def class_weight_norms(class_weights: Values, class_counts: Values) -> dict[str, float]:
    """Norms of a head's ``class_weights (C, D)`` against its training ``class_counts (C,)``.

    Unnormalised heads give frequent classes longer weights and so a prior (Kang et al. 2020, arXiv:1910.09217).

    Returns:
        The norm statistics of the weights and ``norm_count_correlation``, Spearman's ρ of norm and count (NaN when
        either is constant).

    Raises:
        InvalidValueError: not one count for each class.
    """
    from scipy.stats import spearmanr  # here: it takes a second to load

    weights = torch.as_tensor(class_weights).detach().double()
    counts = np.asarray(torch.as_tensor(class_counts).cpu(), dtype=np.float64)
    if weights.ndim != 2 or counts.shape != (len(weights),):
        raise InvalidValueError(
            "class_weights (C, D) and class_counts (C,) must agree", value=f"{tuple(weights.shape)} and {counts.shape}"
        )
    norms = torch.linalg.vector_norm(weights, dim=1).cpu().numpy()
    varied = np.ptp(norms) > 1e-9 * max(norms.max(), 1e-300) and np.ptp(counts) > 0
    correlation = float(spearmanr(norms, counts).statistic) if varied else math.nan
    return norm_statistics(weights) | {"norm_count_correlation": correlation}
