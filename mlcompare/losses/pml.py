"""Every loss and miner of pytorch-metric-learning (PML), found by introspection and built under our contract.

``pml/<ClassName>`` stands for a loss class; its constructor's numbers become hyperparameters and its switches options,
by the constructor's own names and **units** (PML's angular margins are degrees). Nothing is listed by hand: what the
installed version has is what there is. PML is imported here only, and only when asked for.

Family, by rule: ``margin`` for a class that owns class weights (``WeightMixin``) and is a softmax, by its own name or a
base's; every other loss, proxies included, is ``metric``.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cache, partial
from importlib import metadata
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from mlcompare.errors import InvalidValueError, UnknownNameError, did_you_mean
from mlcompare.losses.base import Loss
from mlcompare.losses.citation import cite
from mlcompare.losses.pml_ranges import RANGES
from mlcompare.registry import PML_PREFIX, Hyperparameter, HyperparameterSpec, LossSpec, Option, OptionSpec

__all__ = ["PMLLoss", "spec", "specs"]

CONTEXT = {"num_classes": "num_classes", "embedding_size": "embedding_dim", "descriptors_dim": "embedding_dim"}
CONTEXT |= {"l": "embedding_dim"}  # ManifoldLoss's name for it
NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
MINER = "miner_"  # before an argument of the miner
OBJECTS = ("loss", "losses")  # arguments that are loss objects: wrappers have them
BIBTEX = cite(
    "musgrave2020pytorch",
    "Musgrave, Kevin and Belongie, Serge and Lim, Ser-Nam",
    "PyTorch Metric Learning",
    year=2020,
    arxiv="2008.09164",
)


def _library() -> tuple[ModuleType, ModuleType]:
    from pytorch_metric_learning import losses, miners

    return losses, miners


def _classes(module: ModuleType, base: type) -> dict[str, type]:
    """Return the public, concrete subclasses of ``base`` in ``module``."""
    found = {name: item for name, item in vars(module).items() if inspect.isclass(item) and issubclass(item, base)}
    return {name: item for name, item in found.items() if not name.startswith(("Base", "Generic", "_"))}


def _loss_classes() -> dict[str, type]:
    return _classes(_library()[0], torch.nn.Module)


@cache
def _miner_names() -> tuple[str, ...]:
    miners = _library()[1]
    return tuple(sorted(_classes(miners, miners.BaseMiner)))


def _arguments(cls: type) -> dict[str, inspect.Parameter]:
    """Return the constructor's arguments, following ``**kwargs`` up the bases until PML's own plumbing begins."""
    found: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__:
        if base.__name__.startswith(("Base", "Module")):
            break
        if "__init__" not in vars(base) or base.__name__.endswith("Mixin") or base.__name__.startswith("Generic"):
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters
        named = [p for name, p in parameters.items() if name != "self" and p.kind in NAMED]
        found = {p.name: p for p in named} | found  # the subclass's default wins
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            break
    return found


def _declarations(cls: type) -> Iterator[tuple[str, HyperparameterSpec | OptionSpec]]:
    """Yield what may be set: numbers are hyperparameters, switches, texts and open arguments options.

    Arguments of miners follow as ``miner_<argument>``; no two miners give one name another default.
    """
    ranges = RANGES.get(cls.__name__, {})
    for name, parameter in _arguments(cls).items():
        default = parameter.default
        if default is parameter.empty:
            if name not in CONTEXT:
                yield name, Option(None, description="must be given: the library has no default")
        elif isinstance(default, bool):
            yield name, Option(default, choices=(default, not default))
        elif isinstance(default, (int, float)):
            searched = ranges[name].declared() if name in ranges else {}
            yield (
                name,
                Hyperparameter(default, description="the library's own unit", **searched),
            )
        elif isinstance(default, str):
            yield name, Option(default)
        elif default is None and name not in CONTEXT:
            yield name, Option(None, description="left to the library unless given")
    yield "miner", Option("none", choices=("none", *_miner_names()), description="mines the pairs or triplets first")
    yield from _mining_declarations().items()


@cache
def _mining_declarations() -> dict[str, HyperparameterSpec | OptionSpec]:
    found: dict[str, HyperparameterSpec | OptionSpec] = {}
    for miner in _miner_names():
        for name, parameter in _arguments(getattr(_library()[1], miner)).items():
            default = parameter.default
            if isinstance(default, str):
                found[f"{MINER}{name}"] = Option(default, description="of a miner that has such a strategy")
            elif isinstance(default, (int, float)) and not isinstance(default, bool):
                found[f"{MINER}{name}"] = Hyperparameter(default, description=f"of {miner}")
    return found


def _family(cls: type) -> str:
    names = [base.__name__ for base in cls.__mro__]
    return "margin" if "WeightMixin" in names and any("Softmax" in name for name in names) else "metric"


@cache
def specs() -> tuple[LossSpec, ...]:
    """Return one spec for each loss class of the installed version, sorted by name."""
    return tuple(_spec(name, cls) for name, cls in sorted(_loss_classes().items()))


def _spec(name: str, cls: type) -> LossSpec:
    declared = dict(_declarations(cls))
    arguments = _arguments(cls)
    required = {CONTEXT[a] for a, p in arguments.items() if a in CONTEXT and p.default is p.empty}
    own_doc = inspect.getdoc(cls) if "__doc__" in vars(cls) and cls.__doc__ else None
    wraps = [argument for argument in OBJECTS if argument in arguments]
    return LossSpec(
        name=PML_PREFIX + name,
        family=_family(cls),
        group="pml",
        reference=f"pytorch-metric-learning {metadata.version('pytorch-metric-learning')}, {cls.__name__}",
        factory=partial(PMLLoss, name),
        hyperparameters={k: d for k, d in declared.items() if isinstance(d, HyperparameterSpec)},
        options={k: d for k, d in declared.items() if isinstance(d, OptionSpec)},
        needs=tuple(need for need in ("num_classes", "embedding_dim") if need in required),
        batched=False,
        provider="pml",
        bibtex=BIBTEX,
        doc=own_doc or f"{name} of pytorch-metric-learning.",
        broken=f"{name} wraps another loss (`{wraps[0]}`), which can't be named here" if wraps else None,
    )


def spec(name: str) -> LossSpec:
    """Return the spec of ``pml/<ClassName>``.

    Raises:
        UnknownNameError: the installed version has no such loss; the message suggests the nearest names.
    """
    for found in specs():
        if found.name == name:
            return found
    raise UnknownNameError(f"unknown loss {name!r}", cure=did_you_mean(name, [found.name for found in specs()]))


class PMLLoss(Loss):
    """A loss of pytorch-metric-learning, with an optional miner, under our contract; trained one at a time.

    Args:
        name: the loss class.
        values: constructor arguments, and ``miner``.
        num_classes, embedding_dim, class_counts, generator: as for every loss.
    """

    group = "pml"

    def __init__(
        self,
        name: str,
        *,
        num_classes: int | None = None,
        embedding_dim: int | None = None,
        class_counts: Tensor | None = None,
        generator: torch.Generator | None = None,
        **values: Any,
    ) -> None:
        super().__init__(num_classes=num_classes, embedding_dim=embedding_dim, class_counts=class_counts)
        self.name = PML_PREFIX + name
        losses, miners = _library()
        arguments = _arguments(getattr(losses, name))
        miner = values.pop("miner", "none")
        mining = self._mining(miner, values)
        context = {"num_classes": num_classes, "embedding_dim": embedding_dim}
        for argument, parameter in arguments.items():
            if parameter.default is not parameter.empty or values.get(argument) is not None:
                continue
            if argument not in CONTEXT:
                rule = f"`{argument}` must be given: pytorch-metric-learning has no default for it"
                raise InvalidValueError(rule, cure=f"pass {argument}=…", place=self.name)
            values[argument] = context[CONTEXT[argument]]
        given = {key: _whole(value, arguments[key].default) for key, value in values.items()}
        self.loss = self._build(getattr(losses, name), given, generator)
        self.miner = None if miner == "none" else self._build(getattr(miners, miner), mining, generator)

    def _mining(self, miner: str, values: dict[str, Any]) -> dict[str, Any]:
        """Take the miner's arguments out of ``values``, and return them.

        Raises:
            InvalidValueError: another miner's argument was given.
        """
        arguments = {} if miner == "none" else _arguments(getattr(_library()[1], miner))
        defaults = {name: declared.default for name, declared in _mining_declarations().items()}
        found = {}
        for name in [name for name in values if name in defaults]:
            value, argument = values.pop(name), name.removeprefix(MINER)
            if argument in arguments:
                found[argument] = _whole(value, arguments[argument].default)
            elif value != defaults[name]:
                cure = f"leave it out, or give {', '.join(f'{MINER}{a}' for a in arguments) or 'a miner'}"
                raise InvalidValueError(f"{miner} takes no `{argument}`", value=f"{name}={value}", cure=cure)
        return found

    def _build(self, cls: type, arguments: dict[str, Any], generator: torch.Generator | None) -> torch.nn.Module:
        seed = torch.randint(2**31, (), generator=generator) if generator is not None else None
        with torch.random.fork_rng(devices=[], enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(int(seed))
            try:
                return cls(**arguments)
            except Exception as error:  # whatever the library raises is about what it was given
                raise self._failed("can't be built", error) from error

    def _failed(self, what: str, error: Exception) -> InvalidValueError:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        cure = "see the library's documentation of this class for what it needs"
        return InvalidValueError(
            f"pytorch-metric-learning says that it {what}", value=reason, cure=cure, place=self.name
        )

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        try:
            mined = () if self.miner is None else (self.miner(embeddings, labels),)
            value = self.loss(embeddings, labels, *mined)
        except Exception as error:
            raise self._failed("can't be computed", error) from error
        value = torch.as_tensor(value, dtype=embeddings.dtype, device=embeddings.device)
        return value if value.requires_grad else value + embeddings.sum() * 0  # the graph is kept

    def extra_repr(self) -> str:
        return self.name


def _whole(value: Any, default: Any) -> Any:
    """Return 10.0 as 10 where the library's default is a whole number: it counts with some of them."""
    whole = isinstance(default, int) and isinstance(value, float) and value == round(value)
    return int(value) if whole else value
