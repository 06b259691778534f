"""Matryoshka: a loss on nested prefixes of the embedding, so that its first coordinates serve alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from mlcompare.errors import InvalidValueError
from mlcompare.losses.base import Loss
from mlcompare.losses.citation import cite
from mlcompare.losses.wrapper import Inside, Wrapper
from mlcompare.registry import Option, register_wrapper

__all__ = ["Matryoshka", "nested_sizes", "prefix_sizes"]

HALVES, SMALLEST = "halves", 8


def prefix_sizes(embedding_dim: int, prefixes: str = HALVES) -> tuple[int, ...]:
    """Return the sizes of the nested prefixes, the whole embedding first.

    Args:
        embedding_dim: D.
        prefixes: ``halves`` (D, D/2, D/4, … down to 8), or sizes as text, ``"4, 8"``; D itself is always among them.

    Raises:
        InvalidValueError: no smaller size than D is among them, or one is none.

    >>> prefix_sizes(64), prefix_sizes(100), prefix_sizes(6, "2, 4")
    ((64, 32, 16, 8), (100, 50, 25, 12), (6, 4, 2))
    """
    if prefixes == HALVES:
        sizes, cure = (
            [embedding_dim],
            f'write the sizes, `prefixes: "4"`, or an embedding_dim of {2 * SMALLEST} or more',
        )
        while sizes[-1] // 2 >= SMALLEST:
            sizes.append(sizes[-1] // 2)
        if len(sizes) == 1:
            rule = f"halves of the embedding must hold a prefix of {SMALLEST} or more"
            cure = f'write the sizes, `prefixes: "4"`, or an embedding_dim of {2 * SMALLEST} or more'
            raise InvalidValueError(rule, value=f"embedding_dim={embedding_dim}", cure=cure, place="prefixes")
        return tuple(sizes)
    texts = [text.strip() for text in prefixes.split(",")]
    if not all(text.isdecimal() and 0 < int(text) <= embedding_dim for text in texts):
        rule = f"`prefixes` must be {HALVES}, or whole numbers of 1 to the embedding's {embedding_dim}"
        cure = 'write `prefixes: "8, 16"`'
        raise InvalidValueError(rule, value=f"prefixes={prefixes!r}", cure=cure, place="prefixes")
    found = tuple(sorted({embedding_dim, *map(int, texts)}, reverse=True))
    if len(found) == 1:
        rule = f"`prefixes` must hold a size below the embedding's {embedding_dim}"
        raise InvalidValueError(rule, value=f"prefixes={prefixes!r}", place="prefixes")
    return found


@register_wrapper(
    "matryoshka",
    reference="Kusupati et al. 2022, arXiv:2205.13147, eq. 1",
    bibtex=cite(
        "kusupati2022matryoshka",
        "Kusupati, Aditya and Bhatt, Gantavya and Rege, Aniket and Wallingford, Matthew and Sinha, Aditya and "
        "Ramanujan, Vivek and Howard-Snyder, William and Chen, Kaifeng and Kakade, Sham and Jain, Prateek and "
        "Farhadi, Ali",
        "Matryoshka Representation Learning",
        venue="Advances in Neural Information Processing Systems (NeurIPS)",
        year=2022,
        arxiv="2205.13147",
    ),
)
class Matryoshka(Wrapper):
    """Matryoshka: ``Σ_d L(x[:d], y)`` over nested prefixes of the embedding, d = D, D/2, D/4, … down to 8.

    Each prefix ``(B, d)`` is an embedding of its own: a loss that normalises, normalises it again. An embedding trained
    so can be cut to its first d coordinates, for less memory and faster search, at little loss; without it nothing says
    which coordinates matter. All prefixes weigh alike, as in the paper. ``heads: own`` gives a loss with weights
    (class weights, proxies) a set for each prefix (MRL); ``shared`` gives a prefix the first d columns of the whole
    embedding's weights, and those without columns (biases) as they are (MRL-E): fewer weights for many classes. Running
    state (class centers, moments) is each prefix's own. Where class scores are asked for, those of the whole embedding
    are given. The losses of a study with such an entry are all scored on its prefixes, by metrics such as
    ``map_at_r_in_16``.

    Value and gradient were compared, for softmax and both heads, with Matryoshka_CE_Loss and MRL_Linear_Layer of the
    authors' repository (RAIVNLab/MRL); sizes halved down to 8 are the paper's.

    >>> from mlcompare.registry import create_loss
    >>> nested = Matryoshka(lambda dim: create_loss("triplet", margin=0.2), embedding_dim=4, prefixes="2")
    >>> x, y = torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0]]), torch.tensor([0, 0, 1])
    >>> parts = [create_loss("triplet", margin=0.2)(x[:, :d], y) for d in (4, 2)]
    >>> nested(x, y) == sum(parts)
    tensor(True)
    """

    prefixes: str = Option(HALVES, description='halves (D, D/2, … down to 8), or sizes, "8, 16"')
    heads: str = Option("own", choices=("own", "shared"), description="weights for each prefix, or columns of one set")
    fixed = ("prefixes", "heads")

    def wrap(self, inside: Inside) -> None:
        self.sizes = prefix_sizes(self.embedding_dim, self.prefixes)
        self.losses.extend(inside(size) for size in self.sizes)
        whole = dict(self.losses[0].named_parameters())
        self._columns: list[dict[str, int | None]] = [{} for _ in self.sizes]  # of each shared weight that a prefix has
        if self.heads == "shared":
            for number, loss in enumerate(self.losses):
                if number > 0:
                    names = [name for name, _ in loss.named_parameters()]
                    self._columns[number] = {name: _share(loss, name, whole[name]) for name in names}

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        total = torch.zeros((), dtype=embeddings.dtype, device=embeddings.device)
        whole = dict(self.losses[0].named_parameters()) if self.heads == "shared" else {}
        for size, loss, columns in zip(self.sizes, self.losses, self._columns):
            given = (embeddings[:, :size], labels, noise if loss.stochastic else None)
            shared = {n: whole[n] if width is None else whole[n][..., :width] for n, width in columns.items()}
            total = total + (functional_call(loss, shared, given) if shared else loss(*given))
        return total


def _share(loss: Loss, name: str, whole: Tensor) -> int | None:
    """Take a weight out of a prefix's loss, and return how many columns of ``whole`` stand for it (None: all).

    Raises:
        InvalidValueError: the prefix's weight is neither the whole one nor columns of it.
    """
    part, _, last = name.rpartition(".")
    owner: Any = loss.get_submodule(part)
    own = owner._parameters[last]
    assert own is not None
    if own.shape != whole.shape and own.shape[:-1] != whole.shape[:-1]:
        value = f"{name} of shape {tuple(own.shape)}, {tuple(whole.shape)} of the whole embedding"
        rule = "heads can be shared where a prefix's weights are columns of the whole embedding's"
        raise InvalidValueError(rule, value=value, cure="write `heads: own`", place="heads")
    del owner._parameters[last]
    owner.register_buffer(last, own.new_empty(0), persistent=False)  # its place, which is taken in each call
    return None if own.shape == whole.shape else own.shape[-1]


def nested_sizes(loss: Loss) -> set[int]:
    """Return the sizes of the prefixes that a loss, or any part of it, is nested in.

    >>> from mlcompare.registry import create_loss
    >>> sorted(nested_sizes(Matryoshka(lambda dim: create_loss("triplet"), embedding_dim=16)))
    [8, 16]
    """
    return {size for part in loss.modules() if isinstance(part, Matryoshka) for size in part.sizes}
