"""What is known of m and s from theory alone: bounds that follow from the number of classes and of dimensions."""

from __future__ import annotations

import math

__all__ = ["adacos_scale", "cosface_scale", "largest_cosine_margin", "theory_sentences"]

PROBABILITY = 0.9


def adacos_scale(classes: int) -> float:
    """Return the fixed scale of AdaCos, ``√2 · ln(C − 1)`` (Zhang et al. 2019, arXiv:1905.00292); 0 below 3 classes.

    >>> [round(adacos_scale(classes), 1) for classes in (2, 10, 1000, 85_000)]
    [0.0, 3.1, 9.8, 16.1]
    """
    return math.sqrt(2) * math.log(classes - 1) if classes > 2 else 0.0


def cosface_scale(classes: int, probability: float = PROBABILITY) -> float:
    """Return the least scale at which a class of its own direction can reach a probability P.

    ``(C − 1)/C · ln((C − 1) P / (1 − P))`` (Wang et al. 2018, arXiv:1801.09414); 0 below 2 classes.

    >>> [round(cosface_scale(classes), 1) for classes in (10, 1000, 85_000)]
    [4.0, 9.1, 13.5]
    """
    if classes < 2:
        return 0.0
    return (classes - 1) / classes * math.log((classes - 1) * probability / (1 - probability))


def largest_cosine_margin(classes: int, dimensions: int) -> float:
    """Return the largest cosine margin m that class directions can all keep (Wang et al. 2018, arXiv:1801.09414).

    ``1 − cos(2π/C)`` in two dimensions, ``C/(C − 1)`` where ``C ≤ D + 1``; with more classes than that the directions
    can't all be that far apart, and C/(C − 1) is only an upper bound.

    >>> [round(largest_cosine_margin(*case), 3) for case in ((10, 2), (10, 64), (1000, 64))]
    [0.191, 1.111, 1.001]
    """
    if classes < 2:
        return 0.0
    if dimensions == 2:
        return 1 - math.cos(2 * math.pi / classes)
    return classes / (classes - 1)


def theory_sentences(classes: int, dimensions: int) -> list[str]:
    """Return what C and D say about s and m, in words.

    >>> theory_sentences(100, 64)[1]
    "m: 100 directions in 64 dimensions can't all be 1.01 apart in cosine; margins that can be learned lie well below."
    """
    adacos, cosface = adacos_scale(classes), cosface_scale(classes)
    margin = largest_cosine_margin(classes, dimensions)
    directions = f"{classes} directions in {dimensions} dimensions"
    of_m = f"m: {directions} can't all be {margin:.2f} apart in cosine; margins that can be learned lie well below."
    if dimensions == 2 or classes <= dimensions + 1:
        of_m = f"m: {directions} can be {margin:.2f} apart in cosine at most; no larger cosine margin can be kept."
    of_s = f"s: with {classes} classes AdaCos would fix {adacos:.1f}, and a softmax over cosines needs {cosface:.1f}"
    return [f"{of_s} to reach a probability of {PROBABILITY:g}; tuned scales are usually larger.", of_m]
