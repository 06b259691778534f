"""The contract of wrappers: losses that go around a loss, as an entry of a study writes it, ``{memory: {loss: …}}``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from torch import Tensor, nn

from mlcompare.errors import InvalidValueError
from mlcompare.losses.base import Loss
from mlcompare.losses.label_forms import form_of

__all__ = ["Wrapper", "refuse_to_wrap"]

Inside = Callable[[int], Loss]  # the size D of embeddings → the wrapped loss for them


class Wrapper(Loss):
    """Base class of wrappers: a loss that calls another, which it builds in :meth:`wrap`, once or several times.

    A subclass declares hyperparameters and options as every loss does, fills :attr:`losses` in :meth:`wrap`, and
    computes a scalar in :meth:`compute`. What is asked of a loss with class weights (``logits``, ``class_weights``) is
    answered by the first of :attr:`losses`, which sees the whole embedding.

    Args:
        inside: ``inside(D)`` builds the wrapped loss for embeddings of size D.
        num_classes, embedding_dim, class_counts: as for every loss; ``embedding_dim`` is needed.
        **values: the wrapper's own hyperparameters and options.

    Raises:
        UnknownNameError, InvalidValueError: as for every loss, and where the wrapped loss can't be wrapped so.
    """

    needs = ("embedding_dim",)
    group = "wrapper"
    embedding_dim: int  # `needs` demands it
    losses: Any  # an nn.ModuleList, whose items are losses

    def __init__(
        self,
        inside: Inside,
        *,
        num_classes: int | None = None,
        embedding_dim: int | None = None,
        class_counts: Tensor | None = None,
        **values: Any,
    ) -> None:
        super().__init__(num_classes=num_classes, embedding_dim=embedding_dim, class_counts=class_counts, **values)
        self.losses = nn.ModuleList()
        self.wrap(inside)
        self.label_form = form_of((loss.label_form for loss in self.losses), place=type(self).__name__)

    def wrap(self, inside: Inside) -> None:
        """Build the wrapped loss into :attr:`losses`."""
        raise NotImplementedError

    @property
    def stochastic(self) -> bool:
        return any(loss.stochastic for loss in self.losses)

    def references(self, batch_size: int) -> int:
        return max(loss.references(batch_size) for loss in self.losses)

    @property
    def class_weights(self) -> Tensor | None:
        """Those of the wrapped loss, ``(C, D)``, where it has some."""
        return getattr(self.losses[0], "class_weights", None)

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return the class scores ``(B, C)`` of the wrapped loss."""
        scores: Tensor = self.losses[0].logits(embeddings)
        return scores

    def set_progress(self, progress: Tensor | float) -> None:
        super().set_progress(progress)
        for loss in self.losses:
            loss.set_progress(progress)

    def set_teacher(self, embeddings: Tensor) -> None:
        for loss in self.losses:
            loss.set_teacher(embeddings)


def refuse_to_wrap(wrapper: str, loss: Loss, rule: str, *, choose: str, example: str) -> NoReturn:
    """Say that ``wrapper`` doesn't go around ``loss``: by which ``rule``, and what it goes around."""
    name = "a sum" if hasattr(loss, "terms") else loss.spec.name if loss.spec else type(loss).__name__
    cure = f"choose {choose}, …; in a sum, wrap the term: {{sum: [{{{wrapper}: {{loss: {example}}}}}, …]}}"
    raise InvalidValueError(rule, value=name, cure=cure, place=wrapper)
