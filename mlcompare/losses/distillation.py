"""Distillation: a loss, and the relations between the samples of a batch as a teacher's embeddings have them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mlcompare.errors import InvalidValueError
from mlcompare.geometry import euclidean_distances, masked_mean, normalize
from mlcompare.losses.citation import cite
from mlcompare.losses.wrapper import Inside, Wrapper
from mlcompare.registry import Hyperparameter, Option, register_wrapper

__all__ = ["Distillation", "angle_gap", "distance_gap"]


@register_wrapper(
    "distillation",
    reference="Park et al. 2019, arXiv:1904.05068 (RKD)",
    bibtex=cite(
        "park2019relational",
        "Park, Wonpyo and Kim, Dongju and Lu, Yan and Cho, Minsu",
        "Relational Knowledge Distillation",
        venue="Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
        year=2019,
        arxiv="1904.05068",
    ),
)
class Distillation(Wrapper):
    """Relational distillation (RKD): ``L + λ_D·mean_ij h(d_ij − d'_ij) + λ_A·mean_ijk h(cos ∠_ijk − cos ∠'_ijk)``.

    x are the student's embeddings ``(B, D)``, primes mark the teacher's ``(B, T)``, of any size: no embedding is
    compared with the teacher's, but distances with distances, and angles with angles. L is the wrapped loss, d are
    Euclidean distances over their mean in the batch, ``∠_ijk`` is the angle at sample i between j and k, h the Huber
    loss (δ = 1); means run over all pairs and triplets, those of a sample with itself included. The angles cost B³
    numbers; ``relations: distance`` leaves them out, ``angle`` the distances.

    ``teacher`` is a file with a row for each sample of the dataset, in its order: a .npy, or the .npz that ``mlcompare
    embed MODEL DATA --out FILE`` writes. In a loop of one's own, ``loss.set_teacher(rows)`` tells each batch's. A
    teacher that was trained on the sealed classes tells the student of them, and no check can see that.

    λ_D = 1 and λ_A = 2 are those of the authors' example, which leaves the student's embeddings unnormalised as here
    (``student: normalized`` compares them at length 1, as metrics do), and the teacher's at length 1. Value and
    gradient were compared with RkdDistance and RKdAngle of the authors' repository (lenscloth/RKD). It is neither their
    HardDarkRank nor attention transfer, and not FitNets, which fit the teacher's embeddings themselves.

    >>> from mlcompare.registry import create_loss
    >>> loss = Distillation(lambda dim: create_loss("triplet"), embedding_dim=2, distance_weight=1.0, angle_weight=0.0)
    >>> x, labels = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), torch.tensor([0, 0, 0])
    >>> loss.set_teacher(2 * x)
    >>> loss(x, labels).item()  # the same up to scale
    0.0
    >>> loss.set_teacher(torch.tensor([[0.0], [1.0], [1.0]]))
    >>> round(loss(x, labels).item(), 4)  # d 1, 1, √2 over 1.138, d' 1, 1, 0 over ⅔
    0.2508
    """

    teacher: str = Option("", description="a .npz or .npy with a teacher's embedding of each sample, in order")
    relations: str = Option("both", choices=("both", "distance", "angle"), description="what is kept as the teacher's")
    student: str = Option("raw", choices=("raw", "normalized"), description="the student's embeddings in this")
    distance_weight: float = Hyperparameter(
        1.0, low=0.01, high=10.0, log=True, minimum=0.0, description="λ_D, of distances"
    )
    angle_weight: float = Hyperparameter(2.0, low=0.02, high=20.0, log=True, minimum=0.0, description="λ_A, of angles")
    fixed = ("teacher",)

    told: Tensor

    def wrap(self, inside: Inside) -> None:
        self.losses.append(inside(self.embedding_dim))
        self.register_buffer("told", torch.empty(0, 0), persistent=False)  # (B, T): the teacher's, of the next batch

    @torch.no_grad()
    def set_teacher(self, embeddings: Tensor) -> None:
        """Write the teacher's embeddings ``(B, T)`` of the batch that comes next."""
        if self.told.shape == embeddings.shape:
            self.told.copy_(embeddings)
        else:
            self.told = embeddings.detach().clone()
        super().set_teacher(embeddings)

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        total: Tensor = self.losses[0](embeddings, labels, noise)
        if self.told.shape[0] != embeddings.shape[0]:
            cure = "call loss.set_teacher(rows) before each batch; in a study name a file, `teacher: FILE`"
            rule, value = (
                "a teacher's embeddings must be told",
                f"{len(self.told)} rows for {len(embeddings)} embeddings",
            )
            raise InvalidValueError(rule, value=value, cure=cure, place="distillation")
        student = embeddings if self.student == "raw" else normalize(embeddings)
        teacher = self.told.to(embeddings.dtype)
        of_student, of_teacher = euclidean_distances(student), euclidean_distances(teacher)  # (B, B)
        if self.relations != "angle":
            total = total + self.distance_weight * distance_gap(of_student, of_teacher)
        if self.relations != "distance":
            gap = angle_gap(student, of_student, teacher, of_teacher)
            total = total + self.angle_weight * gap
        return total


def _others(distances: Tensor) -> Tensor:
    return ~torch.eye(distances.shape[0], dtype=torch.bool, device=distances.device)


def distance_gap(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean Huber loss between distances ``(B, B)`` of both, each over its mean."""
    others = _others(student)
    ours, theirs = (torch.where(others, d / masked_mean(d, others).clamp_min(1e-6), 0.0) for d in (student, teacher))
    return F.smooth_l1_loss(ours, theirs)


def angle_gap(student: Tensor, of_student: Tensor, teacher: Tensor, of_teacher: Tensor) -> Tensor:
    """Return the mean Huber loss between the cosines of all angles, given embeddings and distances of both."""
    return F.smooth_l1_loss(_angles(student, of_student), _angles(teacher, of_teacher))


def _angles(embeddings: Tensor, distances: Tensor) -> Tensor:
    """Return the cosines of the angles at i between j and k, ``(B, B, B)``; 0 where two of them are one sample.

    Angles don't depend on scale: embeddings are scaled to a mean distance of 1 first, so that what is nearer than a
    thousandth of that has no direction rather than a wild gradient.
    """
    scale = masked_mean(distances, _others(distances)).detach().clamp_min(1e-6)
    rows = embeddings / scale
    directions = normalize(rows[None, :, :] - rows[:, None, :])  # (B, B, D): from i to j
    return directions @ directions.mT
