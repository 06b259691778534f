"""An optimiser: groups with their rates in, a torch optimiser out."""

from __future__ import annotations

import torch

from mlcompare import register_optimizer


@register_optimizer("zoo_optimizer")
def zoo_optimizer(groups: list[dict], config: object) -> torch.optim.Optimizer:
    """NAdam."""
    return torch.optim.NAdam(groups)
