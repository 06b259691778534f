"""Conformance tests that every loss passes, and that outside authors inherit.

Subclass :class:`LossTestCase`, name the loss, and let pytest find it::

    from mlcompare.testing import LossTestCase

    class TestMyLoss(LossTestCase):
        loss_name = "my_loss"
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar
from unittest import SkipTest

import torch
from torch import Tensor
from torch.func import functional_call, grad, stack_module_state, vmap

from mlcompare.errors import InvalidValueError, UnknownNameError
from mlcompare.losses.base import Loss
from mlcompare.registry import create_loss, get_spec

__all__ = ["LossTestCase"]


class LossTestCase:
    """What holds for every registered loss; each ``test_`` method is one claim.

    Attributes:
        loss_name: the registered name.
        hyperparameters: values other than the defaults.
        num_classes, embedding_dim, samples_per_class: sizes of the batches that are tried.
        class_counts: training samples of each class, or None for uniform.
    """

    loss_name: ClassVar[str] = ""
    hyperparameters: ClassVar[Mapping[str, Any]] = {}
    num_classes: ClassVar[int] = 4
    embedding_dim: ClassVar[int] = 6
    samples_per_class: ClassVar[int] = 3
    class_counts: ClassVar[list[int] | None] = None

    def make(self, seed: int = 0, **context: Any) -> Loss:
        """Build the loss under test; ``context`` replaces sizes and hyperparameters."""
        sizes = {
            "num_classes": self.num_classes,
            "embedding_dim": self.embedding_dim,
            "class_counts": self.class_counts,
        }
        generator = torch.Generator().manual_seed(seed)
        return create_loss(self.loss_name, generator=generator, **{**sizes, **self.hyperparameters, **context})

    def batch(self, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """Return random embeddings ``(B, D)`` and shuffled labels ``(B,)``, every class equally often."""
        generator = torch.Generator().manual_seed(seed)
        labels = torch.arange(self.num_classes).repeat_interleave(self.samples_per_class)
        labels = labels[torch.randperm(len(labels), generator=generator)]
        return torch.randn(len(labels), self.embedding_dim, generator=generator, dtype=dtype), labels

    def noise(self, loss: Loss, embeddings: Tensor, seed: int = 0) -> Tensor | None:
        """Return the loss's noise for one forward pass, always the same for one seed."""
        return loss.draw_noise(len(embeddings), generator=torch.Generator().manual_seed(seed))

    def value(self, loss: Loss, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the loss under fixed noise."""
        return loss(embeddings, labels, self.noise(loss, embeddings))

    def assert_finite(self, loss: Loss, embeddings: Tensor, labels: Tensor, what: str) -> None:
        """Check that the loss and all gradients are finite, and that the embeddings get one."""
        loss.zero_grad()
        embeddings = embeddings.clone().requires_grad_()
        value = self.value(loss, embeddings, labels)
        assert value.shape == (), f"{what}: a loss is a scalar, got shape {tuple(value.shape)}"
        assert torch.isfinite(value), f"{what}: the loss is {value.item()}"
        value.backward()
        gradients = {"embeddings": embeddings.grad, **{n: p.grad for n, p in loss.named_parameters()}}
        assert gradients["embeddings"] is not None, f"{what}: no gradient reaches the embeddings"
        for name, gradient in gradients.items():
            assert gradient is None or torch.isfinite(gradient).all(), f"{what}: the gradient of {name} is not finite"

    def test_finite_loss_and_gradients(self) -> None:
        loss = self.make()
        embeddings, labels = self.batch()
        loss.validate(embeddings, labels)
        self.assert_finite(loss, embeddings, labels, "random embeddings, train mode")
        self.assert_finite(loss.eval(), embeddings, labels, "random embeddings, eval mode")

    def test_degenerate_batches(self) -> None:
        embeddings, labels = self.batch()
        classes = torch.arange(self.num_classes)
        copies = embeddings[:1].expand_as(embeddings)
        near_zero = embeddings * 1e-20
        batches = {
            "one class": (embeddings, torch.zeros_like(labels)),
            "singletons": (embeddings[: len(classes)], classes),
            "one sample": (embeddings[:1], labels[:1]),
            "zero embeddings": (torch.zeros_like(embeddings), labels),
            "embeddings near zero": (near_zero, labels),
            "identical embeddings": (copies, labels),
            "opposite embeddings": (copies * torch.where(labels == 0, -1.0, 1.0)[:, None], labels),
            "large embeddings": (embeddings * 1e4, labels),
        }
        for train in (True, False):
            for what, (rows, classes_of_rows) in batches.items():
                self.assert_finite(self.make().train(train), rows, classes_of_rows, f"{what}, train={train}")

    def test_embeddings_on_class_weights(self) -> None:
        loss = self.make()
        weights = getattr(loss, "class_weights", None)
        if weights is None or weights.ndim != 2:
            raise SkipTest("no class weights (C, D)")
        for sign in (1.0, -1.0):  # cos θ = ±1
            labels = torch.arange(self.num_classes)
            self.assert_finite(loss, sign * weights.detach().clone(), labels, f"cos θ = {sign}")

    def test_smallest_sizes(self) -> None:
        generator = torch.Generator().manual_seed(0)
        embeddings, labels = torch.randn(6, 2, generator=generator), torch.tensor([0, 1, 0, 1, 1, 0])
        counts = self.class_counts and self.class_counts[:2]
        loss = self.make(num_classes=2, embedding_dim=2, class_counts=counts)
        self.assert_finite(loss, embeddings, labels, "two classes, two dimensions")

    def test_half_precision(self) -> None:
        embeddings, labels = self.batch()
        for dtype in (torch.bfloat16, torch.float16):
            with torch.autocast("cpu", dtype=dtype):
                self.assert_finite(self.make(), embeddings, labels, f"autocast to {dtype}")
            self.assert_finite(self.make(), embeddings.to(dtype), labels, f"embeddings in {dtype}")

    def test_order_of_the_batch(self) -> None:
        loss = self.make().eval()
        if loss.stochastic:
            raise SkipTest("samples: depends on its noise")
        embeddings, labels = self.batch(dtype=torch.float64)
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
        shuffled = loss(embeddings[order], labels[order])
        torch.testing.assert_close(shuffled, loss(embeddings, labels), rtol=1e-9, atol=1e-9)

    def test_gradient(self) -> None:
        loss = self.make().eval()
        if not loss.exact_gradient:
            raise SkipTest("stops gradients on purpose")
        loss = loss.double()
        embeddings, labels = self.batch(dtype=torch.float64)
        names = [name for name, parameter in loss.named_parameters() if parameter.requires_grad]
        inputs = [embeddings.requires_grad_(), *(dict(loss.named_parameters())[name] for name in names)]
        noise = self.noise(loss, embeddings)

        def call(rows: Tensor, *weights: Tensor) -> Tensor:
            return functional_call(loss, dict(zip(names, weights)), (rows, labels, noise))

        assert torch.autograd.gradcheck(call, tuple(inputs), eps=1e-6, atol=1e-5, rtol=1e-4, fast_mode=True)

    def test_state_round_trip(self) -> None:
        loss = self.make()
        embeddings, labels = self.batch()
        self.value(loss, embeddings, labels)  # moves running state
        file = io.BytesIO()
        torch.save(loss.state_dict(), file)
        file.seek(0)
        restored = self.make(seed=1)
        restored.load_state_dict(torch.load(file, weights_only=True))
        pickled = pickle.loads(pickle.dumps(loss))
        expected = self.value(loss.eval(), embeddings, labels)
        assert torch.equal(self.value(restored.eval(), embeddings, labels), expected), (
            "state_dict is not the whole state"
        )
        assert torch.equal(self.value(pickled.eval(), embeddings, labels), expected), "pickle changes the loss"

    def test_loss_falls(self) -> None:
        loss = self.make()
        embeddings, labels = self.batch()
        embeddings = embeddings.requires_grad_()
        trained = [embeddings, *(p for p in loss.parameters() if p.requires_grad)]
        optimizer = torch.optim.Adam(trained, lr=0.05)
        self.value(loss, embeddings, labels)  # state that starts at the first batch
        before = self.mean_value(loss, embeddings, labels)
        for step in range(60):
            optimizer.zero_grad()
            loss(embeddings, labels, self.noise(loss, embeddings, seed=step)).backward()
            optimizer.step()
        after = self.mean_value(loss, embeddings, labels)
        assert after < before or before == 0, f"60 steps of Adam took the loss from {before} to {after}"

    def mean_value(self, loss: Loss, embeddings: Tensor, labels: Tensor) -> float:
        """Return the loss in eval mode, averaged over ten draws of noise."""
        frozen = copy.deepcopy(loss).eval()
        with torch.no_grad():
            draws = [frozen(embeddings, labels, self.noise(frozen, embeddings, seed)) for seed in range(10)]
        return torch.stack(draws).mean().item()

    def test_noise_decides(self) -> None:
        loss = self.make().eval()
        embeddings, labels = self.batch()
        noise = self.noise(loss, embeddings)
        assert (noise is None) == (not loss.stochastic), (
            "`draw_noise` returns noise for a stochastic loss, and only then"
        )
        assert torch.equal(loss(embeddings, labels, noise), loss(embeddings, labels, noise)), "same noise, same value"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            first = loss(embeddings, labels)
            torch.manual_seed(0)
            assert torch.equal(loss(embeddings, labels), first), "same seed, same value"

    def test_population(self) -> None:
        """``torch.func.vmap`` over stacked weights, buffers and hyperparameters equals one at a time."""
        if not get_spec(self.loss_name).batched:
            raise SkipTest("trained one at a time")
        members = [self.make(seed) for seed in range(3)]
        self._spread(members)
        batches = [self.batch(seed) for seed in range(3)]
        noises = [self.noise(m, rows, seed) for seed, (m, (rows, _)) in enumerate(zip(members, batches))]
        rows, labels = (torch.stack(part) for part in zip(*batches))  # (K, B, D), (K, B)
        given = [noise for noise in noises if noise is not None]  # all, or none
        noise = torch.stack(given) if given else None
        parameters, buffers = stack_module_state(members)
        buffers = {name: buffer.clone() for name, buffer in buffers.items()}
        skeleton = copy.deepcopy(members[0]).to("meta")

        def call(parameters: Any, buffers: Any, rows: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
            return functional_call(skeleton, (parameters, buffers), (rows, labels, noise))

        axes = (0, 0, 0, 0, None if noise is None else 0)
        again = {name: buffer.clone() for name, buffer in buffers.items()}
        gradients = vmap(grad(call, argnums=2), in_dims=axes)(parameters, again, rows, labels, noise)
        together = vmap(call, in_dims=axes)(parameters, buffers, rows, labels, noise)
        alone_rows = rows.clone().requires_grad_()
        alone = torch.stack([m(x, y, n) for m, x, y, n in zip(members, alone_rows, labels, noises)])
        alone.sum().backward()
        assert together.dtype == rows.dtype, "float64 hyperparameters must leave float32 embeddings alone"
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(gradients, alone_rows.grad, rtol=1e-3, atol=1e-5)
        for name, stacked in buffers.items():
            one_by_one = torch.stack([dict(member.named_buffers())[name] for member in members])
            named = partial("state {}: {}".format, name)
            torch.testing.assert_close(stacked, one_by_one, rtol=1e-5, atol=1e-6, msg=named)

    def _spread(self, members: list[Loss]) -> None:
        """Give each member values of its own inside the search ranges."""
        for number, member in enumerate(members):
            for name, hyperparameter in member.hyperparameters.items():
                low, high = hyperparameter.low, hyperparameter.high
                if low is not None and high is not None:
                    value = low + (number + 1) / 4 * (high - low)
                    getattr(member, name).fill_(round(value) if hyperparameter.integer else value)

    def test_rows_of_classes(self) -> None:
        """``class_rows`` names every parameter and buffer with a row for each class, and no other."""
        count = 2 * self.num_classes + self.embedding_dim + 1  # unlike any other size
        loss = self.make(num_classes=count, class_counts=None)
        for part in (part for part in loss.modules() if isinstance(part, Loss)):
            tensors = (*part.named_parameters(recurse=False), *part.named_buffers(recurse=False))
            found = {name for name, tensor in tensors if tensor.shape[:1] == (count,)}
            assert found == set(part.class_rows), f"`class_rows` of {type(part).__name__} must be {sorted(found)}"

    def test_bad_input(self) -> None:
        embeddings, labels = self.batch()
        loss = self.make()
        _assert_raises(UnknownNameError, lambda: self.make(no_such_hyperparameter=1.0))
        _assert_raises(InvalidValueError, lambda: loss(embeddings[0], labels))
        _assert_raises(InvalidValueError, lambda: loss(embeddings, labels[:-1]))
        _assert_raises(InvalidValueError, lambda: loss(embeddings, labels.float()))
        _assert_raises(InvalidValueError, lambda: loss.validate(embeddings * torch.nan, labels))
        _assert_raises(InvalidValueError, lambda: loss.validate(embeddings, labels - 1))
        for name in get_spec(self.loss_name).hyperparameters:
            values: dict[str, Any] = {name: float("nan")}
            _assert_raises(InvalidValueError, partial(self.make, **values))


def _assert_raises(kind: type[Exception], call: Callable[[], object]) -> None:
    try:
        call()
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was expected")
