"""P2SGrad: squared differences of cosines and labels, the loss whose gradient has no scale and no margin to tune."""

from __future__ import annotations

from torch import Tensor

from mlcompare.losses.citation import cite
from mlcompare.losses.head import Head
from mlcompare.losses.projection import cosines
from mlcompare.registry import register_loss

__all__ = ["P2SGrad"]


@register_loss(
    "p2sgrad",
    family="margin",
    reference="Zhang et al. 2019, arXiv:1905.02479, eq. 11",
    bibtex=cite(
        "zhang2019p2sgrad",
        "Zhang, Xiao and Zhao, Rui and Yan, Junjie and Gao, Mengya and Qiao, Yu and Wang, Xiaogang and Li, Hongsheng",
        "P2SGrad: Refined Gradients for Optimizing Deep Face Models",
        venue="Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
        year=2019,
        arxiv="1905.02479",
    ),
)
class P2SGrad(Head):
    """P2SGrad: the batch mean of ``½·Σ_j (cos θ_j − 1[j=y])²``; nothing to tune but the learning rate.

    The paper states a gradient, ``(cos θ_j − 1[j=y])·∇cos θ_j``, in place of softmax's ``s·(p_j − 1[j=y])·∇cos θ_j``:
    how hard a class pulls follows from the angle alone, and s is gone. This is the loss with that gradient. Embeddings
    ``(B, D)`` and class weights ``(C, D)`` are normalised.

    The authors' code was not found. Value and gradient were compared, up to the factor 2/C of a plain mean, with
    core_modules/p2sgrad.py of nii-yamagishilab/project-NN-Pytorch-scripts, which derives the same loss.

    >>> import torch
    >>> loss = P2SGrad(num_classes=2, embedding_dim=2)
    >>> _ = loss.class_weights.data.copy_(torch.eye(2))
    >>> round(loss(torch.tensor([[0.6, 0.8]]), torch.tensor([0])).item(), 4)  # ½·(.4² + .8²)
    0.4
    """

    def each(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        products, mine = cosines(embeddings, self.class_weights.to(embeddings.dtype), labels)
        return 0.5 * (products.square().sum(1) + (1 - 2 * mine.squeeze(1)))
