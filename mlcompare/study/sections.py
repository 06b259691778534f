"""The sections of a study file as frozen, checked data; every key says here what it means."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    WithJsonSchema,
    model_validator,
)

from mlcompare.data.splits import ProtocolKind
from mlcompare.encoders import get_encoder_spec
from mlcompare.errors import UnknownNameError
from mlcompare.training import EncoderConfig
from mlcompare.training.config import as_tuple, registered
from mlcompare.training.pretrained import Statistics

__all__ = [
    "Baselines", "CorruptionSection", "Dataset", "Encoder", "EncoderSection", "FinalConfig", "ProtocolConfig",
    "SearchConfig", "Section", "Trainer",
]  # fmt: skip

DatasetName = Annotated[str, Field(json_schema_extra=registered("datasets"))]
EncoderName = Annotated[str, Field(json_schema_extra=registered("encoders"))]
TrainerName = Annotated[str, Field(json_schema_extra=registered("trainers"))]
BaselineName = Annotated[str, Field(json_schema_extra=registered("baselines"))]
MetricName = Annotated[str, Field(json_schema_extra=registered("metrics"))]
OPTIONS = "its options stand beside it"


class Section(BaseModel):
    """A section whose keys are all known."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _WithOptions(BaseModel):
    """A section with a ``name`` and, beside its own keys, the options of what is named."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


def _named(value: Any) -> Any:
    """Let a bare name stand for a section that says no more."""
    return {"name": value} if isinstance(value, str) else value


class DatasetSection(_WithOptions):
    """``dataset:`` a registered name and the reader's options."""

    name: DatasetName = Field(description=f"a registered dataset; {OPTIONS}")


Dataset = Annotated[DatasetSection, BeforeValidator(_named, json_schema_input_type=DatasetName | DatasetSection)]


class TrainerSection(_WithOptions):
    """``trainer:`` a registered training loop, and its options."""

    name: TrainerName = Field(description=f"a registered training loop; {OPTIONS}")


Trainer = Annotated[
    TrainerSection | None, BeforeValidator(_named, json_schema_input_type=TrainerName | TrainerSection | None)
]


class HeadSection(_WithOptions):
    """``encoder.head:`` what is trained on the features of a frozen encoder: a registered encoder of features."""

    name: EncoderName = Field("linear", description=f"a registered encoder of features; {OPTIONS}")


class EncoderSection(_WithOptions):
    """``encoder:`` a registered name, the embedding dimension, and the encoder's own options."""

    name: EncoderName = Field("conv4", description=f"a registered encoder, or timm:… or transformers:…; {OPTIONS}")
    embedding_dim: int = Field(
        64,
        ge=1,
        le=100_000,
        description="D, numbers in an embedding; without it the encoder's usual one; of a frozen encoder: the head's",
        json_schema_extra={"unit": "numbers"},
    )
    frozen: bool = Field(False, description="embed the dataset once, and train a head on the features")
    weights: str | None = Field(None, description="a state dict or an exported model that training starts from")
    input_mean: Annotated[tuple[float, ...] | None, BeforeValidator(as_tuple)] = Field(
        None, description="what the weights' input was normalised by: the mean of each channel (pixels from 0 to 255)"
    )
    input_std: Annotated[tuple[PositiveFloat, ...] | None, BeforeValidator(as_tuple)] = Field(
        None, description="its standard deviation; without both what the weights say, else that of the training data"
    )
    feature_scale: Literal["column", "whole"] = Field(
        "column",
        description="what features are divided by: each column by its own deviation (measurements in several units), "
        "or all by one (embeddings and descriptors, whose angles mean something)",
    )
    freeze: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = Field(
        (), description="patterns of names of weights, or of parts, that don't learn: `0.layer1`, `*.bias`"
    )
    batch_norm: Literal["train", "eval"] = Field(
        "train", description="eval: normalise by the running statistics that the weights came with, which stay"
    )
    head: Annotated[
        HeadSection | None, BeforeValidator(_named, json_schema_input_type=EncoderName | HeadSection | None)
    ] = Field(None, description="what is trained on a frozen encoder's features; linear unless given")

    @property
    def trained(self) -> EncoderConfig:
        """What is trained: the encoder, or the head on a frozen one."""
        if self.frozen:
            head = self.head or HeadSection()
            return EncoderConfig(head.name, self.embedding_dim, head.options)
        return EncoderConfig(
            self.name, self.embedding_dim, self.options, self.weights, self.freeze, self.batch_norm, self.statistics
        )  # fmt: skip

    @property
    def statistics(self) -> Statistics | None:
        """What the input is normalised by, where the study says it."""
        if self.input_mean is None or self.input_std is None:
            return None
        return list(self.input_mean), list(self.input_std)

    @model_validator(mode="after")
    def _mean_and_deviation(self) -> EncoderSection:
        if (self.input_mean is None) != (self.input_std is None):
            raise ValueError("`input_mean` and `input_std` go together")
        if self.input_mean is not None and self.input_std is not None and len(self.input_mean) != len(self.input_std):
            raise ValueError("`input_mean` and `input_std` have a number for each channel")
        return self

    @model_validator(mode="after")
    def _only_frozen_has_a_head(self) -> EncoderSection:
        if not self.frozen and self.head is not None:
            raise ValueError("`head` needs `frozen: true`")
        return self

    @model_validator(mode="after")
    def _all_or_some_is_frozen(self) -> EncoderSection:
        if self.frozen and (self.freeze or self.batch_norm != "train"):
            raise ValueError("`frozen: true` freezes all of the encoder: leave out `freeze` and `batch_norm`")
        return self

    @model_validator(mode="before")
    @classmethod
    def _usual_dimension(cls, value: Any) -> Any:
        if not isinstance(value, dict) or {"embedding_dim", "frozen"} & value.keys():
            return value
        if not isinstance(value.get("name"), str):
            return value
        with suppress(UnknownNameError):  # the plan names it
            return {**value, "embedding_dim": get_encoder_spec(value["name"]).embedding_dim}
        return value


Encoder = Annotated[EncoderSection, BeforeValidator(_named, json_schema_input_type=EncoderName | EncoderSection)]


def _test_classes(value: Any) -> float | str:
    if value != "official" and not (isinstance(value, float) and 0 < value < 1):
        raise ValueError("must be a share between 0 and 1, or official")
    return value


SHARE_OR_OFFICIAL = {"anyOf": [{"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, {"const": "official"}]}


class ProtocolConfig(Section):
    """``protocol:`` who trains, who validates, who is sealed."""

    kind: ProtocolKind = Field(
        "class_disjoint", description="test on classes never seen, on new samples of known classes, or on listed pairs"
    )
    test_classes: Annotated[Any, AfterValidator(_test_classes), WithJsonSchema(SHARE_OR_OFFICIAL)] = Field(
        0.5,
        description="the share of the classes that is sealed, or official: the published test classes",
        json_schema_extra={"unit": "share of the classes"},
    )
    test_share: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="of a closed set: the share of the samples that is sealed",
        json_schema_extra={"unit": "share of the samples"},
    )
    folds: int = Field(
        4,
        ge=2,
        le=100,
        description="ways to part the development classes into training and validation",
        json_schema_extra={"unit": "folds"},
    )
    outer_folds: int | None = Field(
        None,
        ge=2,
        le=5,
        description="nested: the classes in so many parts, each sealed once, with a search of its own; in place of "
        "test_classes",
        json_schema_extra={"unit": "parts"},
    )
    outer_fold: int | None = Field(None, ge=0, le=4, description="of a nested study: seal this part alone")
    pairs: str | None = Field(None, description="of verification_pairs: LFW's pairs.txt, or an insightface .bin")
    seed: int = Field(0, ge=0, description="draws the splits")


class CorruptionSection(Section):
    """``corruption:`` wrong labels and a long tail in the training samples of every fold, and nowhere else."""

    label_noise: float = Field(
        0.0, ge=0, lt=1, description="the share of wrong labels", json_schema_extra={"unit": "share of the labels"}
    )
    imbalance: float = Field(
        1.0,
        ge=1,
        allow_inf_nan=False,
        description="how many times larger the largest class is than the smallest",
        json_schema_extra={"unit": "factor"},
    )
    seed: int = Field(0, ge=0, description="draws them")


class SearchConfig(Section):
    """``search:`` the budget, the same for every loss."""

    trials: int = Field(
        20,
        ge=1,
        le=100_000,
        description="settings tried for each loss; the first is the paper's",
        json_schema_extra={"unit": "settings"},
    )
    parallel: int = Field(
        2, ge=1, le=10_000, description="settings asked for at a time", json_schema_extra={"unit": "settings"}
    )
    objective: MetricName = Field("map_at_r", description="the metric on validation samples that chooses a setting")
    startup_trials: int | None = Field(
        None,
        ge=0,
        description="settings drawn at random before the sampler learns; left out: a third of them",
        json_schema_extra={"unit": "settings"},
    )
    seed: int = Field(0, ge=0, description="draws the settings")
    start: Literal["priors", "published", "cold"] | None = Field(
        None,
        description="what a search goes by after the paper's setting: `published` optima, then its own trials; "
        "`priors`, trainings in situations of other data, as far as its own trials agree; `cold`, its own trials "
        "alone; left out: `priors` for a linear or mlp encoder or head, `published` for others",
    )
    racing: Literal[False, True, "early", "folds", "steps"] = Field(
        "early",
        description="stop settings that are behind: before further folds once they are unlikely to lead (`early`) or "
        "clearly behind (`folds`, or true), or along the `steps` of a population's trainings (single trainings race "
        "over folds)",
    )
    validation_samples: int = Field(
        5000,
        ge=2,
        description="the most validation samples of a fold that a training is scored on, drawn once",
        json_schema_extra={"unit": "samples"},
    )
    space: dict[str, Any] = Field(
        default_factory=dict, description="what of the training is searched beside the losses' own hyperparameters"
    )


class FinalConfig(Section):
    """``final:`` how often selected and default settings are retrained on each fold."""

    seeds: int = Field(
        2,
        ge=1,
        le=1000,
        description="repetitions on each fold with other random numbers",
        json_schema_extra={"unit": "trainings"},
    )
    metrics: Annotated[tuple[MetricName, ...], BeforeValidator(as_tuple)] = Field(
        (), description="metrics of final trainings and baselines, beside the objective and the usual ones"
    )


def _baselines(value: Any) -> Any:
    return () if value == "none" else as_tuple(value)


Baselines = Annotated[
    tuple[BaselineName, ...] | None,
    BeforeValidator(_baselines, json_schema_input_type=list[BaselineName] | Literal["none"] | None),
]
