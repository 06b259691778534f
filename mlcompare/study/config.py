"""The study file as frozen, checked data."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from mlcompare.data.splits import ProtocolKind
from mlcompare.encoders import get_encoder_spec
from mlcompare.errors import MLCompareError, StudyFileError, UnknownNameError, did_you_mean
from mlcompare.study.strict_yaml import read_yaml
from mlcompare.training import EncoderConfig, TrainingConfig

__all__ = ["FinalConfig", "ProtocolConfig", "SearchConfig", "StudyConfig", "read_study", "validated", "with_defaults"]

PATHS = (("dataset", "path"), ("protocol", "pairs"), ("encoder", "weights"))


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _test_classes(value: Any) -> float | str:
    if value != "official" and not (isinstance(value, float) and 0 < value < 1):
        raise ValueError("must be a share between 0 and 1, or official")
    return value


class ProtocolConfig(_Frozen):
    """``protocol:`` who trains, who validates, who is sealed."""

    kind: ProtocolKind = "class_disjoint"
    test_classes: Annotated[Any, AfterValidator(_test_classes)] = 0.5
    test_share: float = Field(0.2, gt=0, lt=1)
    folds: int = Field(4, ge=2, le=100)
    pairs: str | None = None
    seed: int = Field(0, ge=0)


class CorruptionSection(_Frozen):
    """``corruption:`` wrong labels and a long tail in the training samples of every fold, and nowhere else."""

    label_noise: float = Field(0.0, ge=0, lt=1)
    imbalance: float = Field(1.0, ge=1, allow_inf_nan=False)
    seed: int = Field(0, ge=0)


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _mapped(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError("must be a mapping: a line `arcface:` for each loss")
    return value


def _baselines(value: Any) -> Any:
    if value == "none":
        return ()
    return tuple(value) if isinstance(value, list) else value


class TrainerSection(_Frozen):
    """``trainer:`` a registered training loop, and its options."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    name: str

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class HeadSection(_Frozen):
    """``encoder.head:`` what is trained on the features of a frozen encoder: a registered encoder of features."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    name: str = "linear"

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class EncoderSection(_Frozen):
    """``encoder:`` a registered name, the embedding dimension, and the encoder's own options.

    Without ``embedding_dim``, the encoder's usual one. Training starts from ``weights`` where they are given.
    ``frozen`` encoders embed the dataset once, and a ``head`` is trained on their features; ``embedding_dim`` is the
    head's.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    name: str = "conv4"
    embedding_dim: int = Field(64, ge=1, le=100_000)
    frozen: bool = False
    weights: str | None = None
    head: Annotated[HeadSection | None, BeforeValidator(_named)] = None

    @property
    def trained(self) -> EncoderConfig:
        """What is trained: the encoder, or the head on a frozen one."""
        if self.frozen:
            head = self.head or HeadSection()
            return EncoderConfig(head.name, self.embedding_dim, head.options)
        return EncoderConfig(self.name, self.embedding_dim, self.options, self.weights)

    @model_validator(mode="after")
    def _only_frozen_has_a_head(self) -> EncoderSection:
        if not self.frozen and self.head is not None:
            raise ValueError("`head` needs `frozen: true`")
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

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class SearchConfig(_Frozen):
    """``search:`` the budget, the same for every loss.

    A training is scored on at most ``validation_samples`` rows of its fold
    (:func:`~mlcompare.data.validation_sample.sample_rows`), drawn once for the study. ``racing`` stops settings that
    are clearly behind: before further ``folds`` (or true), or along the ``steps`` of a population's trainings.
    """

    trials: int = Field(20, ge=1, le=100_000)
    parallel: int = Field(2, ge=1, le=10_000)
    objective: str = "map_at_r"
    startup_trials: int | None = Field(None, ge=0)
    seed: int = Field(0, ge=0)
    racing: Annotated[bool | Literal["folds", "steps"], Field(union_mode="left_to_right")] = False
    validation_samples: int = Field(5000, ge=2)
    space: dict[str, Any] = Field(default_factory=dict)


class FinalConfig(_Frozen):
    """``final:`` how often selected and default settings are retrained on each fold."""

    seeds: int = Field(2, ge=1, le=1000)
    metrics: Annotated[tuple[str, ...], BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v)] = ()


class DatasetSection(_Frozen):
    """``dataset:`` a registered name and the reader's options."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    name: str

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class StudyConfig(_Frozen):
    """A whole study file.

    ``baselines`` are those of :func:`~mlcompare.training.register_baseline`: a list of names, ``none``, or, where the
    key is left out, all that suit the dataset.

    >>> StudyConfig(name="tiny", dataset="digits", losses={"cosface": None}).search.trials
    20
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    question: str = ""
    decision_rule: str = ""
    dataset: Annotated[DatasetSection, BeforeValidator(_named)]
    protocol: ProtocolConfig = ProtocolConfig()
    corruption: CorruptionSection = CorruptionSection()
    encoder: Annotated[EncoderSection, BeforeValidator(_named)] = EncoderSection()
    training: TrainingConfig = TrainingConfig()
    trainer: Annotated[TrainerSection | None, BeforeValidator(_named)] = None
    search: SearchConfig = SearchConfig()
    final: FinalConfig = FinalConfig()
    baselines: Annotated[tuple[str, ...] | None, BeforeValidator(_baselines)] = None
    losses: Annotated[dict[str, Any], BeforeValidator(_mapped)]

    @model_validator(mode="after")
    def _some_losses(self) -> StudyConfig:
        if not self.losses:
            raise ValueError("at least one loss must be named")
        return self

    def replaced(self, *, trials: int | None = None, steps: int | None = None, seeds: int | None = None) -> StudyConfig:
        """Return the study with another budget; the arguments are those of the command line."""
        changes = {"search": ("trials", trials), "training": ("steps", steps), "final": ("seeds", seeds)}
        dump = self.model_dump()
        for section, (key, value) in changes.items():
            if value is not None:
                dump[section][key] = value
        return validated(dump, "command line")


def read_study(path: str | Path) -> StudyConfig:
    """Read and check a study file. A relative path in it that leads nowhere from here is taken from the file's folder.

    Raises:
        StudyFileError: with file and key, rule, value and cure.
    """
    path = Path(path).expanduser()
    raw = read_yaml(path)
    for section, key in PATHS:
        values = raw.get(section)
        if isinstance(values, dict) and isinstance(values.get(key), str) and not os.path.exists(values[key]):
            beside = os.path.join(os.path.dirname(os.path.abspath(path)), values[key])
            values[key] = beside if os.path.exists(beside) else values[key]
    return validated(raw, str(path))


def validated(raw: dict[str, Any], place: str) -> StudyConfig:
    try:
        return StudyConfig.model_validate(raw)
    except ValidationError as error:
        raise _study_error(error, place) from None
    except MLCompareError as error:
        raise StudyFileError(error.rule, value=error.value, cure=error.cure, place=place) from None


def with_defaults(study: Mapping[str, Any]) -> dict[str, Any]:
    """Return a study as a store keeps it, with the defaults of keys that didn't exist when it was stored.

    Nothing is checked: what else a version no longer knows stays as it is.

    >>> with_defaults({"name": "old", "search": {"trials": 6}})["search"]["racing"]
    False
    """
    filled = dict(study)
    for name, field in StudyConfig.model_fields.items():
        if not isinstance(field.default, BaseModel):
            if not field.is_required():
                filled.setdefault(name, field.default)
            continue
        section, defaults = filled.get(name, {}), field.default.model_dump(mode="json")
        filled[name] = {**defaults, **section} if isinstance(section, Mapping) else section
    return filled


def _study_error(error: ValidationError, place: str) -> StudyFileError:
    first, count = error.errors()[0], error.error_count()
    where = ".".join(str(part) for part in first["loc"])
    more = f" ({count - 1} more to fix after it)" if count > 1 else ""
    if first["type"] == "extra_forbidden":
        known = _keys_at(first["loc"][:-1])
        name = str(first["loc"][-1])
        return StudyFileError(f"unknown key {name!r}", cure=did_you_mean(name, known) + more, place=f"{place}: {where}")
    if first["type"] == "missing":
        cure = f"add `{first['loc'][-1]}: …`{more}"
        return StudyFileError("this key is needed", value="none", cure=cure, place=f"{place}: {where}")
    message = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    value = None if isinstance(first["input"], dict | StudyConfig) else repr(first["input"])[:80]
    return StudyFileError(message, value=value, cure=more.strip() or None, place=f"{place}: {where}".rstrip(": "))


def _keys_at(path: tuple) -> list[str]:
    model: Any = StudyConfig
    for part in path:
        model = model.model_fields[part].annotation
    return list(model.model_fields)
