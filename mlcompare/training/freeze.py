"""Parts of an encoder that stay as they are: weights by pattern, and batch norms in evaluation mode."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mlcompare.errors import InvalidValueError

__all__ = ["freeze", "training_mode"]

SHOWN = 8  # parts named in an error


def freeze(encoder: nn.Module, patterns: Sequence[str]) -> None:
    """Have the weights that a pattern matches not learn.

    A pattern is matched, as a file's name is (``*``, ``?``, ``[…]``), with whole names of parameters and of the parts
    they are in: ``0.layer1`` is everything in that part, ``*.bias`` every bias.

    Raises:
        InvalidValueError: a pattern matches nothing.

    >>> layer = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    >>> freeze(layer, ["0", "*.bias"])
    >>> [name for name, weight in layer.named_parameters() if weight.requires_grad]
    ['1.weight']
    """
    names = dict(encoder.named_parameters())
    for pattern in patterns:
        found = [weight for name, weight in names.items() if _matches(name, pattern)]
        if not found:
            parts = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
            more = f" and {len(parts) - SHOWN} more" if len(parts) > SHOWN else ""
            cure = f"its parts with weights are {', '.join(parts[:SHOWN])}{more}"
            raise InvalidValueError("`freeze` must match weights of the encoder", value=repr(pattern), cure=cure)
        for weight in found:
            weight.requires_grad_(False)


def training_mode(encoder: nn.Module, patterns: Sequence[str], batch_norm: str) -> nn.Module:
    """Put an encoder into training mode but for the batch norms that are to stay as they are, and return it.

    These are all of them where ``batch_norm`` is ``eval``, else those that a pattern of :func:`freeze` matches: what
    does not learn does not move, running statistics included. They normalise by those statistics, not by the batch's.

    >>> layer = training_mode(nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2)), ["0"], "train")
    >>> [part.training for part in layer]
    [False, True]
    """
    encoder.train()
    for name, part in encoder.named_modules():
        if isinstance(part, _BatchNorm):
            still = any(_matches(f"{name}.weight", pattern) for pattern in patterns)
            part.train(batch_norm == "train" and not still)
    return encoder


def _matches(name: str, pattern: str) -> bool:
    """Whether a parameter's name, or that of a part it is in, fits a pattern."""
    parts = name.split(".")
    return any(fnmatchcase(".".join(parts[:length]), pattern) for length in range(1, len(parts) + 1))
