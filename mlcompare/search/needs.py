"""What each loss needs searched to be at its best, though a study says nothing: the published rankings turn on it.

- The learning rate and the weight decay of the loss's own weights (class weights, proxies, β): the tuned rates of class
  weights reported by Musgrave et al. 2020 (arXiv:2003.08505) go from 7e-6 to 7e-2 beside one encoder rate, and those of
  Berton et al. 2025 (arXiv:2503.13045) are a million times the encoder's.
- How a batch of fixed size is composed, P classes × K samples: in the same work margin losses are best with K = 1,
  metric losses with K = 2 to 4.
- A range of the scale s that knows the number of classes.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

import numpy as np

from mlcompare.losses.compose import LossEntry
from mlcompare.registry import HyperparameterSpec
from mlcompare.search.space import Choice, Range, Space, registered
from mlcompare.search.training_space import TRAINING_NUMBERS
from mlcompare.training.config import TrainingConfig

__all__ = ["HEAD_KEYS", "K", "compositions", "fitted", "lowest_scale", "needs_pairs", "owns_weights"]

HEAD_KEYS = frozenset({"head_lr_ratio", "head_weight_decay"})
K = "samples_per_class"
SAMPLES_PER_CLASS = (1, 2, 4, 8)
OF_ANY_SAMPLES = frozenset({"anti_collapse"})  # of the metric losses: it spreads them, whatever their classes
PROBABILITY = 0.9  # that a class of its own direction should reach, in CosFace's bound


def owns_weights(entry: LossEntry, space: Space | None = None) -> bool:
    """Whether a loss learns weights of its own: class weights, proxies, centers by gradient, β.

    With a ``space``, whether it does for any of the options that the space leaves it.

    >>> from mlcompare.losses.compose import Term
    >>> entries = {name: LossEntry(name, "single", (Term(name),)) for name in ("arcface", "margin_based", "triplet")}
    >>> [owns_weights(entry) for entry in entries.values()]
    [True, True, False]
    >>> owns_weights(entries["margin_based"], {"learn_beta": False})
    False
    """
    left = [(name, (space or {})[name]) for name in entry.options if name in (space or {})]
    choices = [[(name, one) for one in (of.values if isinstance(of, Choice) else (of,))] for name, of in left]
    return any(_learns(entry, options) for options in product(*choices))


@cache
def _learns(entry: LossEntry, options: tuple[tuple[str, Any], ...]) -> bool:
    try:
        losses = entry.build(dict(options), num_classes=4, embedding_dim=16, class_counts=np.full(4, 4))
    except Exception:  # a wrapper that asks for more, say: its own options decide
        return any("num_classes" in spec.needs for spec in entry.specs)
    return any(parameter.requires_grad for _, loss in losses for parameter in loss.parameters())


def needs_pairs(entry: LossEntry) -> bool:
    """Whether a loss learns nothing from a batch in which every sample is of another class.

    >>> from mlcompare.losses.compose import Term
    >>> [needs_pairs(LossEntry(name, "single", (Term(name),))) for name in ("arcface", "proxy_nca", "triplet")]
    [False, False, True]
    >>> needs_pairs(LossEntry("spread", "sum", (Term("arcface"), Term("anti_collapse"))))
    False
    """
    pairs = [spec for spec in entry.specs if spec.family == "metric" and spec.group != "proxy"]
    return any(spec.name not in OF_ANY_SAMPLES for spec in pairs)


def compositions(training: TrainingConfig, classes: int, rows: int, *, pairs: bool) -> tuple[int, ...]:
    """Return the numbers of samples a class K that a batch of the study's size can have, P·K fixed.

    With K = 1 and more places than ``classes``, random batches stand for it, where there are ``rows`` enough for one.
    The training's own K is always among them.

    >>> compositions(TrainingConfig(classes_per_batch=12, samples_per_class=4), 500, 5000, pairs=False)
    (1, 2, 4, 8)
    >>> compositions(TrainingConfig(classes_per_batch=8, samples_per_class=4), 15, 150, pairs=True)
    (4, 8)
    """
    batch, own = training.classes_per_batch * training.samples_per_class, training.samples_per_class
    found = {own}
    for samples in SAMPLES_PER_CLASS:
        places = batch // samples
        fits = 2 <= places <= classes or (samples == 1 and batch <= rows)
        if batch % samples == 0 and fits and samples >= (2 if pairs else 1):
            found.add(samples)
    return tuple(sorted(found))


def lowest_scale(classes: int) -> float:
    """Return the scale s below which a softmax over cosines of C classes can't work: the smaller of two guides.

    AdaCos's ``√2 · ln(C − 1)`` (Zhang et al. 2019) and CosFace's bound ``(C − 1)/C · ln((C − 1) P / (1 − P))`` at
    P = .9 (Wang et al. 2018).

    >>> [round(lowest_scale(classes), 1) for classes in (10, 100, 1000, 85_000)]
    [3.1, 6.5, 9.1, 13.5]
    """
    if classes < 3:
        return 0.0
    adacos = math.sqrt(2) * math.log(classes - 1)
    cosface = (classes - 1) / classes * math.log((classes - 1) * PROBABILITY / (1 - PROBABILITY))
    return min(adacos, cosface)


def fitted(
    entry: LossEntry,
    space: Space,
    training: TrainingConfig,
    classes: int,
    rows: int,
    *,
    said: Collection[str] = (),
    ranged: Collection[str] = (),
) -> Space:
    """Return the space with what the loss needs beside what a study file says.

    Args:
        entry, space: the loss, and what is searched or fixed so far.
        training: the study's; what it gives a number to (``head_lr_ratio: 10``) is not searched.
        classes, rows: how many classes and samples are trained on, in the fold with the fewest.
        said: dimensions that the study file itself names; they stay as they are.
        ranged: those among the loss's own.
    """
    own = {**entry.hyperparameters, **entry.options}
    learns = owns_weights(entry, space)
    found = {key: value for key, value in space.items() if key not in HEAD_KEYS or learns}
    extra: Space = {}
    if learns:
        for key, usual in (("head_lr_ratio", 1.0), ("head_weight_decay", training.weight_decay)):
            if getattr(training, key) is None and key not in found and key not in own:
                extra[key] = _around(TRAINING_NUMBERS[key], usual)
    free = not {K, "classes_per_batch", "sampler"} & {*said, *found, *own}
    choices: tuple[int, ...] = ()
    if free and training.sampler == "pk":
        choices = compositions(training, classes, rows, pairs=needs_pairs(entry))
    if len(choices) > 1:
        extra[K] = Choice(choices, training.samples_per_class)
    first = {key: value for key, value in found.items() if key not in own}  # of training, then the loss's own
    its = {key: value for key, value in found.items() if key in own}
    return {**first, **extra, **{k: v if k in ranged else _scaled(entry, k, v, classes) for k, v in its.items()}}


def _around(declaration: HyperparameterSpec, usual: float) -> Any:
    """The declared range, widened to what trial 0 has; 0 stands below any logarithmic range, so it stays fixed."""
    if usual <= 0 and declaration.log:
        return usual
    dimension = registered(replace(declaration, default=usual))
    return replace(dimension, low=min(dimension.low, usual), high=max(dimension.high, usual), default=usual)


def _scaled(entry: LossEntry, key: str, dimension: Any, classes: int) -> Any:
    """Raise the lower end of a scale's registered range where this many classes ask for it."""
    declaration: Any = entry.hyperparameters.get(key)
    if not isinstance(dimension, Range) or declaration is None or declaration.symbol != "s":
        return dimension
    if entry.family != "margin" or dimension != registered(declaration):
        return dimension  # squared distances have a scale too
    tried = [float(setting[key]) for setting in entry.published if key in setting]
    low = min(float(f"{lowest_scale(classes):.2g}"), dimension.default, *tried)
    return replace(dimension, low=max(dimension.low, low))
