"""How every loss of a study is trained alike: the section ``training:`` of a study file, and of every job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

__all__ = ["DEFAULT_LR", "PRECISIONS", "TrainingConfig"]

DEFAULT_LR = 1e-3
PRECISIONS = ("float32", "bfloat16")
Count = Annotated[int, Field(ge=1, le=1_000_000)]


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _as_preset(value: Any) -> Any:
    return {"preset": value} if isinstance(value, str) else value


class TrainingConfig(BaseModel):
    """Numbers and names of a training; what a study searches (``lr``) overrides them trial by trial.

    Args:
        lr: the encoder's learning rate; ``None`` is 1e-3, and in a study file: searched.
        head_lr_ratio: multiplies the learning rate for the loss's own weights (class weights, proxies, β); ``None`` is
            1, and in a study file: searched for every loss that has such weights.
        head_weight_decay: the weight decay of the loss's own weights; ``None`` is ``weight_decay``, and in a study
            file: searched likewise.
        schedule: a registered schedule; ``step`` multiplies by ``step_factor`` at each of ``milestones``, shares of
            the training. The rate rises linearly over the share ``warmup`` first. Both run over all steps, not over
            each stage of a staged loss.
        augment: augmentations and their strengths, or the name of a preset.
        evaluations: how often validation is measured along the way: at so many steps, evenly spread, the last one the
            end. 0 leaves it at the end of a search's trainings.
        select: which weights are scored and kept: ``last``, or those of the measured step with the ``best`` validation
            value (of the last stage, where a loss has stages; the first of equals).
        precision: with ``bfloat16`` the encoder trains under autocast: faster where the processor has such units
            (GPUs, AMX), slower elsewhere; losses, weights and evaluation stay in float32.

    >>> TrainingConfig(steps=10).optimizer
    'adamw'
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    steps: Count = 100
    classes_per_batch: Count = 8
    samples_per_class: Count = 4
    sampler: str = "pk"
    optimizer: str = "adamw"
    lr: Annotated[float | None, Field(gt=0)] = None
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    head_lr_ratio: Annotated[float | None, Field(gt=0)] = None
    head_weight_decay: Annotated[float | None, Field(ge=0)] = None
    schedule: str = "constant"
    milestones: Annotated[tuple[float, ...], BeforeValidator(_as_tuple)] = (0.6, 0.8)
    step_factor: Annotated[float, Field(gt=0, le=1)] = 0.1
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0
    augment: Annotated[Mapping[str, Any], BeforeValidator(_as_preset)] = Field(default_factory=dict)
    evaluations: Annotated[int, Field(ge=0, le=1000)] = 5
    select: Literal["last", "best"] = "last"
    precision: Literal["float32", "bfloat16"] = "float32"

    @model_validator(mode="after")
    def _best_of_some(self) -> TrainingConfig:
        if self.select == "best" and self.evaluations < 2:
            raise ValueError("`select: best` chooses among steps: `evaluations` must be 2 or more")
        return self

    def replaced(self, **changes: Any) -> TrainingConfig:
        """Return the same training with other values, checked.

        >>> TrainingConfig().replaced(steps=3).steps
        3
        """
        return type(self)(**{**dict(self), **changes})

    @property
    def learning_rate(self) -> float:
        """The encoder's learning rate, whether given or not."""
        return DEFAULT_LR if self.lr is None else self.lr

    @property
    def resolved(self) -> TrainingConfig:
        """The same training with a number for whatever was left open.

        >>> TrainingConfig().resolved.head_lr_ratio, TrainingConfig().resolved.head_weight_decay
        (1.0, 0.0001)
        """
        ratio = 1.0 if self.head_lr_ratio is None else self.head_lr_ratio
        return self.replaced(lr=self.learning_rate, head_lr_ratio=ratio, head_weight_decay=self.head_decay)

    @property
    def head_rate(self) -> float:
        """The learning rate of the loss's own weights."""
        return self.learning_rate * (1.0 if self.head_lr_ratio is None else self.head_lr_ratio)

    @property
    def head_decay(self) -> float:
        """The weight decay of the loss's own weights."""
        return self.weight_decay if self.head_weight_decay is None else self.head_weight_decay
