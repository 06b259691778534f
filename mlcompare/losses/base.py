"""The contract every loss keeps: ``loss(embeddings (B, D), labels (B,)) → scalar``.

A loss with a form for them takes labels ``(B, L)`` as well, and says so in ``label_form``; see
:mod:`mlcompare.losses.label_forms`.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor  # torch.func has no public way to ask

from mlcompare.errors import InvalidValueError, UnknownNameError, did_you_mean
from mlcompare.losses.label_forms import CLASS, SETS, check_labels, check_sets
from mlcompare.registry import HyperparameterSpec, LossSpec, OptionSpec, by_name, declared

__all__ = ["Loss", "refuse_typo"]


class Loss(nn.Module):
    """Base class of all losses.

    A subclass declares :class:`~mlcompare.registry.Hyperparameter` s and :class:`~mlcompare.registry.Option` s in its
    body, builds weights and buffers in :meth:`setup`, and computes a scalar in :meth:`compute`. Inside, each
    hyperparameter is a 0-dim float64 buffer (a float32 embedding stays float32) and each option a plain attribute.
    Both can be set on a built loss: ``loss.margin = 0.2`` is checked as at construction and fills the buffer. Running
    state belongs in float32 buffers, written through :func:`~mlcompare.losses.running.write`.

    Args:
        num_classes, embedding_dim: sizes; demanded where ``needs`` names them.
        class_counts: ``(C,)`` training samples of each class; ``None`` means uniform.
        generator: initialises the loss's own weights.
        **values: hyperparameters and options, by name (``margin``) or symbol (``m``).

    Raises:
        UnknownNameError: there is no such hyperparameter or option.
        InvalidValueError: a value lies outside its domain, or a size that the loss needs is missing.
    """

    hyperparameters: ClassVar[Mapping[str, HyperparameterSpec]] = {}
    options: ClassVar[Mapping[str, OptionSpec]] = {}
    needs: ClassVar[tuple[str, ...]] = ()
    group: ClassVar[str] = ""
    exact_gradient: ClassVar[bool] = True  # False where the method stops gradients on purpose
    fixed: ClassVar[tuple[str, ...]] = ()  # what `setup` builds weights from: it can't be set afterwards
    class_rows: tuple[str, ...] = ()  # parameters and buffers with a row for each class: a sample of classes takes some
    uses_class_weights: ClassVar[bool] = False  # a term that a sum hands its head's class weights
    remembers_labels: ClassVar[bool] = False  # its state holds labels: classes can't be numbered anew in between
    label_form: str = CLASS  # or "levels", "sets": what it takes for labels
    spec: ClassVar[LossSpec | None] = None
    __signature__: ClassVar[inspect.Signature | None]
    num_classes: int | None  # a loss that `needs` a size may say so here: `num_classes: int`
    embedding_dim: int | None
    progress: Tensor

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.hyperparameters = {**_merged(cls, "hyperparameters"), **declared(cls, HyperparameterSpec)}
        cls.options = {**_merged(cls, "options"), **declared(cls, OptionSpec)}
        for name in (*declared(cls, HyperparameterSpec), *declared(cls, OptionSpec)):
            if name in vars(cls):
                delattr(cls, name)  # the instance's buffer or attribute takes the name
        cls.__signature__ = _signature(cls) if cls.__init__ is Loss.__init__ else None  # None: that of its own __init__

    def __init__(
        self,
        *,
        num_classes: int | None = None,
        embedding_dim: int | None = None,
        class_counts: Tensor | None = None,
        generator: torch.Generator | None = None,
        **values: Any,
    ) -> None:
        super().__init__()
        known: dict[str, HyperparameterSpec | OptionSpec] = {**self.hyperparameters, **self.options}
        place = type(self).__name__
        values = by_name(values, known)
        for key in values:
            if key not in known:
                raise UnknownNameError(f"unknown hyperparameter {key!r}", cure=did_you_mean(key, known), place=place)
        for need, size in (("num_classes", num_classes), ("embedding_dim", embedding_dim)):
            if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
                raise InvalidValueError(f"`{need}` must be a whole number, 1 or more", value=f"{need}={size!r}")
            if size is None and need in self.needs:
                raise InvalidValueError(f"`{need}` is needed", value=f"{need}=None", cure=f"pass {need}=…", place=place)
        self.num_classes, self.embedding_dim = num_classes, embedding_dim
        self.class_counts = _checked_counts(class_counts, num_classes)
        for name, hyperparameter in self.hyperparameters.items():
            number = hyperparameter.check(name, values.get(name, hyperparameter.default))
            self.register_buffer(name, torch.tensor(number, dtype=torch.float64))
        for name, option in self.options.items():
            setattr(self, name, option.check(name, values.get(name, option.default)))
        self.register_buffer("progress", torch.ones((), dtype=torch.float64))
        self.setup(generator)
        self._built = True

    def __setattr__(self, name: str, value: Any) -> None:
        """Check what is set on a built loss: ``loss.margin = 0.2`` fills the buffer, ``loss.margn = …`` is an error."""
        if not self.__dict__.get("_built") or isinstance(value, Tensor | nn.Module):
            super().__setattr__(name, value)
            return
        declared_: dict[str, HyperparameterSpec | OptionSpec] = {**self.hyperparameters, **self.options}
        if name in declared_:
            value = self._checked(name, declared_[name], value)
        elif not hasattr(self, name) and isinstance(value, int | float | str) and not name.startswith("_"):
            refuse_typo(name, declared_, type(self).__name__)
        if name in self.hyperparameters:
            getattr(self, name).fill_(value)
        else:
            super().__setattr__(name, value)

    def _checked(self, name: str, declaration: HyperparameterSpec | OptionSpec, value: Any) -> Any:
        """Return ``value`` where the loss can take it, now that it is built."""
        place = type(self).__name__
        if name in self.fixed:
            cure = f"build the loss with {name}={value!r}"
            raise InvalidValueError(f"`{name}` can't be set once the loss is built", cure=cure, place=place)
        try:
            return declaration.check(name, value)
        except InvalidValueError as error:
            raise error.at(place) from None

    def setup(self, generator: torch.Generator | None) -> None:
        """Build weights (``nn.Parameter``) and running state (buffers); ``generator`` draws what is random."""

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        """Return the scalar loss of checked ``embeddings (B, D)`` in float32 or float64."""
        raise NotImplementedError

    @property
    def stochastic(self) -> bool:
        """Whether the loss samples (and so takes ``noise``) with the options it has."""
        return bool(self.spec and self.spec.stochastic)

    def set_progress(self, progress: Tensor | float) -> None:
        """Write how far training is, in [0, 1]: schedules (λ annealing, heated-up α) are functions of it.

        A loop of one's own calls ``loss.set_progress(step / steps)`` before each step; a loss that was never told is at
        its end, 1.

        Raises:
            InvalidValueError: a number outside [0, 1].
        """
        if isinstance(progress, Tensor):
            self.progress.copy_(progress)
            return
        if not 0 <= progress <= 1:
            got, cure = f"progress={progress}", "give the share of the steps that are done: step / steps"
            raise InvalidValueError("`0 <= progress <= 1` must hold", value=got, cure=cure, place=type(self).__name__)
        self.progress.fill_(progress)

    def set_teacher(self, embeddings: Tensor) -> None:
        """Tell a loss that distils, or its parts that do, a teacher's embeddings ``(B, T)`` of the batch to come."""

    def draw_noise(
        self, batch_size: int, *, generator: torch.Generator | None = None, device: torch.device | str | None = None
    ) -> Tensor | None:
        """Return uniform noise ``(B, B)`` in [0, 1) for one forward pass of a stochastic loss, else ``None``.

        With a memory it is ``(B, M)``, a column for each :meth:`references`.
        """
        if not self.stochastic:
            return None
        where, width = generator.device if generator is not None else device, self.references(batch_size)
        return torch.rand(batch_size, width, generator=generator, device=where).to(device or where)

    def references(self, batch_size: int) -> int:
        """Return how many samples each of a batch is compared with at most: M, those of the batch among them."""
        return batch_size

    def forward(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return the loss.

        Args:
            embeddings: ``(B, D)``, floating point; half precisions are raised to float32 first.
            labels: ``(B,)``, integers of any width in [0, num_classes). Of a loss with levels also ``(B, L)``, the
                class first, then coarser groups; of one with sets of labels also ``(B, L)`` of 0 and 1.
            noise: ``(B, B)`` uniform in [0, 1), for stochastic losses; drawn here when left out.

        Raises:
            InvalidValueError: a shape or type is wrong, or, on a CPU, a label is out of range (embeddings' values are
                checked by :meth:`validate`).
        """
        labels = self._checked_labels(embeddings, labels)
        with torch.autocast(device_type=embeddings.device.type, enabled=False):
            if embeddings.dtype in (torch.float16, torch.bfloat16):
                embeddings = embeddings.float()
            if noise is None:
                noise = self.draw_noise(embeddings.shape[0], device=embeddings.device)
            return self.compute(embeddings, labels, noise).to(embeddings.dtype)

    def _checked_labels(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the labels as int64, after every check that is cheap here.

        Values are looked at on a CPU alone (elsewhere it would wait for the device) and never in traced code: neither
        in ``torch.compile`` nor under ``vmap``, where a program can't depend on them.
        """
        self._check_shapes(embeddings, labels)
        labels = labels.to(torch.int64)
        traced = torch.compiler.is_compiling() or type(labels) is not Tensor or is_functorch_wrapped_tensor(labels)
        looked_at = self.num_classes is not None or self.label_form == SETS
        if looked_at and labels.device.type == "cpu" and not traced:
            self._check_range(labels)
        return labels

    def _check_shapes(self, embeddings: Tensor, labels: Tensor) -> None:
        place = type(self).__name__
        for name, given in (("embeddings", embeddings), ("labels", labels)):
            if not isinstance(given, Tensor):
                got, cure = type(given).__name__, f"write torch.as_tensor({name})"
                raise InvalidValueError(f"`{name}` must be a tensor", value=got, cure=cure, place=place)
        if embeddings.ndim != 2 or not embeddings.is_floating_point() or embeddings.shape[0] == 0:
            got = f"shape {tuple(embeddings.shape)}, {embeddings.dtype}"
            raise InvalidValueError("`embeddings` must be floating point (B, D) with B >= 1", value=got, place=place)
        check_labels(labels, len(embeddings), self.label_form, place=place)
        if self.embedding_dim is not None and embeddings.shape[1] != self.embedding_dim:
            got = f"D={embeddings.shape[1]}"
            rule = f"`embeddings` must have D={self.embedding_dim} as the loss was built for"
            raise InvalidValueError(rule, value=got, place=place)

    def validate(self, embeddings: Tensor, labels: Tensor) -> None:
        """Check values as well as shapes: call it eagerly, once, on real data.

        Raises:
            InvalidValueError: a shape or type is wrong, an embedding is NaN or infinite, or a label is out of range.
        """
        self._check_shapes(embeddings, labels)
        place = type(self).__name__
        bad = ~torch.isfinite(embeddings).all(1)
        if bad.any():
            got = f"{int(bad.sum())} rows with NaN or inf, the first at {int(bad.nonzero()[0])}"
            cure = "lower the learning rate, or check the encoder's input"
            raise InvalidValueError("`embeddings` must be finite", value=got, cure=cure, place=place)
        self._check_range(labels)

    def _check_range(self, labels: Tensor) -> None:
        if labels.ndim == 2 and self.label_form == SETS:
            check_sets(labels, place=type(self).__name__)
            return
        labels = labels if labels.ndim == 1 else labels[:, 0]  # of groups nothing but equality counts
        low, high = (int(bound) for bound in labels.to(torch.int64).aminmax())
        if low < 0 or (self.num_classes is not None and high >= self.num_classes):
            top = f" < {self.num_classes}" if self.num_classes is not None else ""
            rule, cure = f"`0 <= labels{top}` must hold", "encode the labels as 0 … num_classes − 1"
            raise InvalidValueError(rule, value=f"{low} … {high}", cure=cure, place=type(self).__name__)

    def extra_repr(self) -> str:
        numbers = [f"{name}={float(getattr(self, name)):g}" for name in self.hyperparameters]
        return ", ".join([*numbers, *(f"{name}={getattr(self, name)!r}" for name in self.options)])


def _signature(cls: type[Loss]) -> inspect.Signature:
    """Return what a loss is built with, hyperparameters and options with their defaults: what ``help`` shows."""
    sizes = ("num_classes", "embedding_dim")
    numbers = {name: int(h.default) if h.integer else h.default for name, h in cls.hyperparameters.items()}
    given = {**numbers, **{name: option.default for name, option in cls.options.items()}}
    of = inspect.Parameter
    parameters = [
        of(name, of.KEYWORD_ONLY, annotation=int) if name in cls.needs
        else of(name, of.KEYWORD_ONLY, default=None, annotation=int | None)
        for name in sizes
    ]  # fmt: skip
    parameters += [
        of(name, of.KEYWORD_ONLY, default=default, annotation=type(default)) for name, default in given.items()
    ]
    parameters += [
        of(name, of.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in (("class_counts", Tensor | None), ("generator", torch.Generator | None))
    ]
    return inspect.Signature(parameters)


def refuse_typo(name: str, known: Mapping[str, Any], place: str) -> None:
    """Raise where an unknown ``name`` is a known one misspelled, or its symbol; others are the user's business."""
    full = next(iter(by_name({name: None}, known)))
    if full != name:
        raise UnknownNameError(f"`{name}` is the symbol of {full}", cure=f"set {full}", place=place)
    if difflib.get_close_matches(name, known, n=1, cutoff=0.8):
        raise UnknownNameError(f"unknown hyperparameter {name!r}", cure=did_you_mean(name, known), place=place)


def _merged(cls: type, attribute: str) -> dict[str, Any]:
    """Return what all bases declared, nearest last."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        found.update(vars(base).get(attribute, {}))
    return found


def _checked_counts(counts: Any, num_classes: int | None) -> Tensor | None:
    if counts is None:
        return None
    counts = torch.as_tensor(counts)
    if counts.ndim != 1 or (num_classes is not None and counts.shape[0] != num_classes) or bool((counts < 0).any()):
        got = f"shape {tuple(counts.shape)}"
        raise InvalidValueError(f"`class_counts` must be {num_classes or 'C'} counts, none negative", value=got)
    return counts.to(torch.int64)
