"""UP softmax: lift the class weights of under-represented persons to the norm of the others."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcompare.errors import InvalidValueError
from mlcompare.losses.base import Loss
from mlcompare.losses.citation import cite
from mlcompare.losses.softmax import Softmax
from mlcompare.losses.sums import register_sum
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["UPTerm"]

REFERENCE = "Guo & Zhang 2017, arXiv:1707.05574"
BIBTEX = cite(
    "guo2017oneshot",
    "Guo, Yandong and Zhang, Lei",
    "One-shot Face Recognition by Promoting Underrepresented Classes",
    year=2017,
    arxiv="1707.05574",
)


@register_loss("up_term", family="margin", group="term", reference=REFERENCE, term=True, bibtex=BIBTEX)
class UPTerm(Loss):
    """UP term: ``(λ/|C_l|) · Σ_{k∈C_l} (‖w_k‖² − ᾱ)²`` on the class weights of the head that stands beside it.

    C_l are the under-represented classes: those with fewer than half the median of ``class_counts``. ᾱ is the mean
    ``‖w‖²`` over the other classes, held constant. Each class's own difference is squared; some texts square the
    difference of the two means instead, which lets single classes stay short. Not checked against the paper. Without
    ``class_counts`` (uniform) the term is 0. It only means something in a sum, whose first head gives it
    ``class_weights (C, D)``.

    >>> term = UPTerm(num_classes=3, class_counts=[10, 10, 2], weight=1.0)
    >>> weights = torch.tensor([[2.0, 0.0], [0.0, 2.0], [1.0, 0.0]])
    >>> term(torch.eye(2), torch.tensor([0, 1]), class_weights=weights).item()  # (1 − 4)²
    9.0
    """

    needs = ("num_classes",)
    num_classes: int  # `needs` demands it
    group = "term"
    class_rows = ("few",)
    uses_class_weights = True
    weight: float = Hyperparameter(1.0, low=0.01, high=10.0, log=True, minimum=0.0, symbol="λ")

    few: Tensor

    def setup(self, generator: torch.Generator | None) -> None:
        counts = torch.ones(self.num_classes) if self.class_counts is None else self.class_counts.double()
        self.register_buffer("few", counts < 0.5 * counts.quantile(0.5))  # (C,)

    def forward(
        self, embeddings: Tensor, labels: Tensor, noise: Tensor | None = None, class_weights: Tensor | None = None
    ) -> Tensor:
        """Return the term; ``class_weights (C, D)`` are passed by the sum."""
        self._checked_labels(embeddings, labels)
        if class_weights is None:
            cure = "put it in a sum after a head, such as {sum: [{loss: softmax}, {loss: up_term}]}"
            raise InvalidValueError("`up_term` needs the class weights of a head", cure=cure, place="up_term")
        squares = class_weights.to(embeddings.dtype).square().flatten(1).sum(1)  # (C,): ‖w_k‖²
        many = ~self.few
        level = (torch.where(many, squares, 0.0).sum() / many.sum().clamp_min(1)).detach()  # ᾱ
        penalty = torch.where(self.few, (squares - level).square(), 0.0).sum() / self.few.sum().clamp_min(1)
        return (self.weight * penalty + embeddings.sum() * 0).to(embeddings.dtype)


register_sum(
    "up_softmax",
    (Softmax, UPTerm),
    family="margin",
    reference=REFERENCE,
    bibtex=BIBTEX,
    doc="""UP softmax: softmax plus ``(λ/|C_l|) · Σ_{k∈C_l} (‖w_k‖² − ᾱ)²``, which promotes under-represented classes.

    See ``up_term``; without ``class_counts`` it is plain softmax.
    """,
)
