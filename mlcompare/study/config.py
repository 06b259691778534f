"""The study file as frozen, checked data."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator

from mlcompare.errors import InvalidValueError, MLCompareError, StudyFileError, did_you_mean
from mlcompare.study.sections import (
    Baselines,
    CorruptionSection,
    Dataset,
    Encoder,
    EncoderSection,
    FinalConfig,
    ProtocolConfig,
    SearchConfig,
    Section,
    Trainer,
)
from mlcompare.study.strict_yaml import read_yaml
from mlcompare.training import TrainingConfig

__all__ = ["StudyConfig", "read_study", "validated", "with_defaults"]

PATHS = (("dataset", "path"), ("protocol", "pairs"), ("encoder", "weights"))


def _mapped(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError("must be a mapping: a line `arcface:` for each loss")
    return value


class StudyConfig(Section):
    """A whole study file.

    >>> StudyConfig(name="tiny", dataset="digits", losses={"cosface": None}).search.trials
    20
    """

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
        description="what its store and its report are called",
        examples=["my-faces"],
    )
    question: str = Field("", description="what the study is to answer; the report opens with it")
    decision_rule: str = Field("", description="what counts as an answer, written before the run")
    dataset: Dataset = Field(description="the images or features, and their labels")
    protocol: ProtocolConfig = Field(ProtocolConfig(), description="who trains, who validates, who is sealed")
    corruption: CorruptionSection = Field(
        CorruptionSection(), description="wrong labels and a long tail, in training samples only"
    )
    encoder: Encoder = Field(EncoderSection(), description="images or features → embeddings")
    training: TrainingConfig = Field(TrainingConfig(), description="how every loss is trained alike")
    trainer: Trainer = Field(None, description="a training loop of one's own; mlcompare's unless given")
    search: SearchConfig = Field(SearchConfig(), description="the budget, the same for every loss")
    final: FinalConfig = Field(FinalConfig(), description="selected and default settings, trained again and tested")
    baselines: Baselines = Field(None, description="names of baselines, or none; left out: all that suit the dataset")
    losses: Annotated[dict[str, Any], BeforeValidator(_mapped)] = Field(
        description="a line for each loss: empty, or what is fixed or searched of it"
    )

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


def as_study(study: StudyConfig | Mapping[str, Any] | str | Path) -> StudyConfig:
    """Return the study that a file, its content or a configuration describes.

    Raises:
        StudyFileError: with file and key, rule, value and cure.
        InvalidValueError: it is none of them.
    """
    if isinstance(study, StudyConfig):
        return study
    if isinstance(study, Mapping):
        return validated(dict(study), "study")
    if isinstance(study, str | Path):
        return read_study(study)
    cure = "give a file's path, or its content as a dict"
    raise InvalidValueError("a study is a file or its content", value=type(study).__name__, cure=cure, place="study")


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

    >>> with_defaults({"name": "old", "search": {"trials": 6}})["search"]["parallel"]
    2
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


ELSEWHERE = {  # what other tools call something that stands under another name here
    "memory_bank": "wrap the loss: {memory: {loss: triplet}, size: 1024}",
    "gradient_accumulation": "give training.microbatch, the size of the pieces in which a batch is trained",
    "accumulate_grad_batches": "give training.microbatch, the size of the pieces in which a batch is trained",
}


def _study_error(error: ValidationError, place: str) -> StudyFileError:
    first, count = error.errors()[0], error.error_count()
    where = ".".join(str(part) for part in first["loc"])
    more = f" ({count - 1} more to fix after it)" if count > 1 else ""
    if first["type"] == "extra_forbidden":
        known = _keys_at(first["loc"][:-1])
        name = str(first["loc"][-1])
        if name in ELSEWHERE:
            return StudyFileError(f"unknown key {name!r}", cure=ELSEWHERE[name] + more, place=f"{place}: {where}")
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
