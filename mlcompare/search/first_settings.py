"""What is tried first: after the paper's setting, what is known to suit a loss of this kind, then published optima."""

from __future__ import annotations

from typing import Any

from mlcompare.losses.compose import LossEntry
from mlcompare.search.needs import K, needs_pairs
from mlcompare.search.proposals import Start
from mlcompare.search.space import Choice, Range, Space

__all__ = ["first_settings", "known_good"]


def known_good(entry: LossEntry, space: Space) -> dict[str, Any]:
    """Return what Berton et al. 2025 (arXiv:2503.13045) found best for a loss's head and batch, where that is searched.

    Class weights learn far faster than the encoder, margin losses with one sample a class, pairs with two. A ratio of
    100 stands for their 1e6, which belongs to an encoder that was pretrained.

    >>> from mlcompare.losses.compose import Term
    >>> from mlcompare.search.needs import fitted
    >>> from mlcompare.training.config import TrainingConfig
    >>> arcface = LossEntry("arcface", "single", (Term("arcface"),))
    >>> known_good(arcface, fitted(arcface, {}, TrainingConfig(), 100, 1000))
    {'head_lr_ratio': 100.0, 'samples_per_class': 1}
    """
    pairs = needs_pairs(entry)
    found: dict[str, Any] = {} if pairs else {"head_lr_ratio": 100.0}
    if pairs or entry.family == "margin":  # of proxies the work says nothing
        found[K] = 2 if pairs else 1
    searched = {key: space[key] for key in found if isinstance(space.get(key), Range | Choice)}
    return {key: value for key, value in found.items() if key in searched and searched[key].contains(value)}


def first_settings(entry: LossEntry, space: Space, start: str = "published") -> tuple[Start, ...]:
    """Return what is tried before any sampling, after the paper's setting.

    With ``published``: published optima, with what suits the head. They were found with tuned rates of class weights;
    at the encoder's rate they would be other settings. With ``priors`` and ``cold``: nothing.
    """
    if start != "published":
        return ()
    known = known_good(entry, space)
    settings = (*([known] if known else []), *({**known, **setting} for setting in entry.published))
    return tuple(Start(values, "published") for values in settings)
