"""Small-loss selection: samples whose loss is large are left out, for their labels may be wrong."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcompare.geometry import scalar
from mlcompare.losses.base import Loss
from mlcompare.losses.citation import cite
from mlcompare.losses.head import Head
from mlcompare.losses.wrapper import Inside, Wrapper, refuse_to_wrap
from mlcompare.registry import Hyperparameter, register_wrapper

__all__ = ["SmallLoss"]

ROUNDING = 1e-6  # (1 − τ)·B is a whole number where it is one but for rounding


@register_wrapper(
    "small_loss",
    reference="Han et al. 2018, arXiv:1804.06872 (the selection of its algorithm 1, with one network)",
    bibtex=cite(
        "han2018coteaching",
        "Han, Bo and Yao, Quanming and Yu, Xingrui and Niu, Gang and Xu, Miao and Hu, Weihua and Tsang, Ivor and "
        "Sugiyama, Masashi",
        "Co-teaching: Robust Training of Deep Neural Networks with Extremely Noisy Labels",
        venue="Advances in Neural Information Processing Systems (NeurIPS)",
        year=2018,
        arxiv="1804.06872",
    ),
)
class SmallLoss(Wrapper):
    """Small-loss selection: the mean of the ``⌊(1 − τ_t)·B⌋`` smallest of the batch's B losses, the others left out.

    Networks learn what most samples agree on first, so that wrong labels have large losses for a while. The share τ_t
    that is left out grows evenly from 0 to τ over the share ``ramp`` of the training and stays there; τ is the share
    of labels thought to be wrong. At least one sample stays. A hard sample is left out like a wrong one. τ = 0 is the
    wrapped loss.

    It goes around a loss that is a mean over the samples of a batch, each with a loss of its own that neither depends
    on the others nor moves a running state (``Head.each``): softmax, its normalisations and margins, proxies that are
    no anchors; others are refused. Co-teaching
    is two networks, each of which chooses the samples of the other, which keeps their errors apart; this is one network
    that chooses for itself. Value and gradient are those of ``loss_coteaching`` in the authors' code
    (bhanML/Co-teaching), given the same network twice, but for a factor: that divides the mean once more by the number
    of samples that stay. Its ramp is 10 of 200 epochs, as here; its τ is the noise rate, which a study searches.

    >>> from mlcompare.losses import Softmax
    >>> loss = SmallLoss(lambda dim: Softmax(num_classes=2, embedding_dim=dim), embedding_dim=1, forget=0.5)
    >>> _ = loss.losses[0].class_weights.data.copy_(torch.tensor([[1.0], [0.0]]))
    >>> x = torch.tensor([[3.0], [3.0]])
    >>> round(loss(x, torch.tensor([0, 1])).item(), 4)  # log(1 + e^{−3}) alone; the second sample would cost 3.0486
    0.0486
    """

    forget: float = Hyperparameter(
        0.2, low=0.02, high=0.5, minimum=0.0, maximum=1.0, symbol="τ", unit="share of a batch",
        description="samples that are left out in the end",
    )  # fmt: skip
    ramp: float = Hyperparameter(
        0.05, minimum=0.0, maximum=1.0, unit="share of the training", description="in which the share left out grows"
    )

    def wrap(self, inside: Inside) -> None:
        loss = inside(self.embedding_dim)
        if not of_single_samples(loss):
            rule = "a small-loss selection goes around a loss that each sample has for itself"
            refuse_to_wrap("small_loss", loss, rule, choose="softmax, normface, cosface, arcface", example="arcface")
        self.losses.append(loss)

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        each = self.losses[0].each(embeddings, labels)  # (B,)
        ranks = each.detach().argsort().argsort()  # (B,): 0 for the smallest
        grown = (self.progress / scalar(self.ramp).clamp_min(ROUNDING)).clamp_max(1.0)  # of τ
        staying = ((1 - grown * self.forget) * len(labels) + ROUNDING).floor().clamp_min(1.0)  # ()
        return torch.where(ranks < staying, each, 0.0).sum() / staying


def of_single_samples(loss: Loss) -> bool:
    """Whether a loss is the mean of what each sample of the batch costs by itself, and remembers none of them.

    >>> from mlcompare.registry import create_loss
    >>> sizes = {"num_classes": 2, "embedding_dim": 2}
    >>> [of_single_samples(create_loss(name, **sizes)) for name in ("arcface", "curricularface", "triplet")]
    [True, False, False]
    """
    declared = {*loss.hyperparameters, "progress"}
    state = [name for name, _ in loss.named_buffers() if name not in declared]
    return isinstance(loss, Head) and type(loss).compute is Head.compute and not state
