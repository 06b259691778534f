"""Learning rates that differ within an encoder: lower from layer to layer towards the input, another for its neck."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from torch import nn

from mlcompare.training.config import TrainingConfig

__all__ = ["layers_of", "rate_groups"]


def rate_groups(encoder: nn.Module, config: TrainingConfig) -> list[tuple[list[nn.Parameter], float]]:
    """Return the encoder's weights that learn, each group with what it multiplies ``lr`` by.

    Layer i of L (0 is the input's) learns at ``layer_decay^(L − 1 − i)``; the neck, the linear layer that the encoder
    ends with, which is the last layer, at ``neck_lr_ratio``.

    >>> encoder = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> [ratio for _, ratio in rate_groups(encoder, TrainingConfig(layer_decay=0.5, neck_lr_ratio=10))]
    [0.25, 0.5, 10.0]
    """
    if config.layer_decay == 1 and config.neck_lr_ratio == 1:
        body = [weight for weight in encoder.parameters() if weight.requires_grad]
        return [(body, 1.0)] if body else []
    layers = layers_of(encoder)
    ratios = [config.layer_decay ** (len(layers) - 1 - number) for number in range(len(layers))]
    parts = list(encoder.children()) if isinstance(encoder, nn.Sequential) else []
    if len(parts) > 1 and isinstance(parts[-1], nn.Linear):
        ratios[-1] *= config.neck_lr_ratio
    weights, groups = dict(encoder.named_parameters()), []
    for names, ratio in zip(layers, ratios):
        learning = [weights[name] for name in names if weights[name].requires_grad]
        if learning:
            groups.append((learning, ratio))
    return groups


def layers_of(encoder: nn.Module) -> list[list[str]]:
    """Return the names of an encoder's parameters layer by layer, from the input to the output.

    A layer is a block where blocks of a kind repeat (of a ResNet, a vision transformer, BERT), else a part with a
    weight matrix; a part without one, such as a norm, belongs to the layer before it, and a parameter that is in no
    part (a class token) to the first. The order is that in which the encoder's parts were made.

    >>> layers_of(nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2), nn.Linear(2, 2, bias=False)))
    [['0.weight', '1.weight', '1.bias'], ['2.weight']]
    """
    weights = dict(encoder.named_parameters())
    layers: list[list[str]] = []
    loose = set(weights)
    for part in _parts(encoder, ""):
        names = [name for name in weights if name.startswith(f"{part}.") and name in loose]
        loose -= set(names)
        if layers and all(weights[name].ndim < 2 for name in names):
            layers[-1] += names
        elif names:
            layers.append(names)
    first = [name for name in weights if name in loose]
    return [first + layers[0], *layers[1:]] if layers else [first]


def _parts(module: nn.Module, name: str) -> Iterator[str]:
    """Yield the names of the parts that are layers."""
    children = [(n, child) for n, child in module.named_children() if any(True for _ in child.parameters())]
    body_and_neck = not name and len(children) <= 2
    for n, child in children:
        inner = any(True for _ in child.children())
        if inner and (body_and_neck or any(_repeats(part) for part in child.modules())):
            yield from _parts(child, f"{name}{n}.")
        else:
            yield f"{name}{n}"


def _repeats(module: nn.Module) -> bool:
    """Whether a sequence holds several blocks of a kind."""
    kinds = Counter(type(child) for child in module.children() if any(True for _ in child.children()))
    return isinstance(module, nn.Sequential | nn.ModuleList) and max(kinds.values(), default=0) > 1
