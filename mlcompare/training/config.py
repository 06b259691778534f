"""How every loss of a study is trained alike: the section ``training:`` of a study file, and of every job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

__all__ = ["DEFAULT_LR", "PRECISIONS", "TrainingConfig"]

DEFAULT_LR = 1e-3
PRECISIONS = ("float32", "bfloat16", "float16")


def registered(kind: str) -> dict[str, Any]:
    """Return what a schema notes of a text that names something registered: of which kind."""
    return {"registered": kind}


def as_tuple(value: Any) -> Any:
    """Return a list as a tuple, anything else as it is."""
    return tuple(value) if isinstance(value, list) else value


def _as_preset(value: Any) -> Any:
    return {"preset": value} if isinstance(value, str) else value


class TrainingConfig(BaseModel):
    """Numbers and names of a training; what a study searches (``lr``) overrides them trial by trial.

    The fields' descriptions say what each is (``mlcompare keys``).

    >>> TrainingConfig(steps=10).optimizer
    'adamw'
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    steps: int = Field(
        100, ge=1, le=1_000_000, description="optimiser steps of each training", json_schema_extra={"unit": "steps"}
    )
    classes_per_batch: int = Field(
        8, ge=1, le=1_000_000, description="P, classes in a batch", json_schema_extra={"unit": "classes"}
    )
    samples_per_class: int = Field(
        4,
        ge=1,
        le=1_000_000,
        description="K, samples of each; a study searches K at the size P × K unless told not to",
        json_schema_extra={"unit": "samples"},
    )
    sampler: str = Field("pk", description="how batches are drawn", json_schema_extra=registered("samplers"))
    optimizer: str = Field("adamw", description="of all weights", json_schema_extra=registered("optimizers"))
    lr: float | None = Field(
        None, gt=0, description="the encoder's learning rate; left out: searched by a study, 1e-3 elsewhere"
    )
    weight_decay: float = Field(1e-4, ge=0, description="of the encoder's weights")
    momentum: float = Field(0.9, ge=0, lt=1, description="of optimisers that have one")
    head_lr_ratio: float | None = Field(
        None,
        gt=0,
        description="multiplies lr for the loss's own weights (class weights, proxies, β); left out: searched by a "
        "study for every loss that has such weights, 1 elsewhere",
        json_schema_extra={"unit": "factor"},
    )
    head_weight_decay: float | None = Field(
        None, ge=0,
        description="weight decay of the loss's own weights; left out: searched likewise, weight_decay elsewhere",
    )  # fmt: skip
    schedule: str = Field(
        "constant",
        description="of the learning rate over the training, all stages together",
        json_schema_extra=registered("schedules"),
    )
    milestones: Annotated[tuple[float, ...], BeforeValidator(as_tuple)] = Field(
        (0.6, 0.8),
        description="shares of the training at which the schedule step multiplies the rate",
        json_schema_extra={"unit": "shares of the training"},
    )
    step_factor: float = Field(
        0.1, gt=0, le=1, description="by what it multiplies it", json_schema_extra={"unit": "factor"}
    )
    warmup: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="the share of the training over which the rate rises from 0",
        json_schema_extra={"unit": "share of the training"},
    )
    augment: Annotated[
        Mapping[str, Any], BeforeValidator(_as_preset, json_schema_input_type=str | Mapping[str, Any])
    ] = Field(default_factory=dict, description="augmentations and their strengths, or the name of a preset")
    evaluations: int = Field(
        5,
        ge=0,
        le=1000,
        description="at how many steps validation is measured, evenly spread to the end; 0: at the end alone",
        json_schema_extra={"unit": "points"},
    )
    select: Literal["last", "best"] = Field(
        "last", description="whose weights count: the last step's, or those of the step best on validation (of the "
        "last stage; the first of equals)",
    )  # fmt: skip
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32",
        description="the others train the encoder under autocast, float16 with a scaled loss; losses and evaluation "
        "stay in float32",
    )
    class_sample: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of the classes that a loss with class weights sees in a step, those of the batch among them",
        json_schema_extra={"unit": "share of the classes"},
    )
    clip_norm: float | None = Field(
        None, gt=0, description="the most that the norm of the gradient of all weights together may be; left out: any"
    )
    ema: float | None = Field(
        None, gt=0, lt=1,
        description="decay of a moving average of the weights (0.999), which is measured and kept in place of the last "
        "ones; left out: none",
    )  # fmt: skip
    layer_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="multiplies lr from each layer of the encoder to the one below it",
        json_schema_extra={"unit": "factor"},
    )
    neck_lr_ratio: float = Field(
        1.0,
        gt=0,
        description="multiplies lr for the linear layer that the encoder ends with",
        json_schema_extra={"unit": "factor"},
    )
    microbatch: int | None = Field(
        None,
        ge=1,
        description="embed a batch in pieces of so many samples, in the memory of one piece: the loss and the gradient "
        "are the whole batch's (batch norm's statistics are a piece's); left out: at once",
        json_schema_extra={"unit": "samples"},
    )
    ranks: int = Field(
        1,
        ge=1,
        le=1024,
        description="processes that one training runs in, on the devices of one machine or of a Ray cluster: each "
        "embeds its share of a batch; the loss is the whole batch's, and so are batch norm's statistics (with "
        "microbatch, a piece's)",
        json_schema_extra={"unit": "processes"},
    )
    class_weights: Literal["replicated", "sharded"] = Field(
        "replicated",
        description="where ranks keep a loss's class weights: each has all of them, or the rows of its share of the "
        "classes, with their gradients and the optimiser's state",
    )
    checkpoint_minutes: float = Field(
        5.0,
        ge=0,
        allow_inf_nan=False,
        description="how often the state of a training is kept, so that a killed one goes on from there; 0: never",
        json_schema_extra={"unit": "minutes"},
    )

    @model_validator(mode="after")
    def _best_of_some(self) -> TrainingConfig:
        if self.select == "best" and self.evaluations < 2:
            raise ValueError("`select: best` chooses among steps: `evaluations` must be 2 or more")
        return self

    @model_validator(mode="after")
    def _shards_of_ranks(self) -> TrainingConfig:
        if self.class_weights == "sharded" and self.ranks == 1:
            raise ValueError("`class_weights: sharded` shares them out among `ranks`: 2 or more")
        if self.class_weights == "sharded" and self.class_sample != 1:
            raise ValueError("`class_weights: sharded` sees all classes: leave out `class_sample`")
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
