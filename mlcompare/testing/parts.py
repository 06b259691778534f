"""What holds for every registered dataset, encoder, metric, sampler and the rest; each ``test_`` is one claim."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any, ClassVar
from unittest import SkipTest

import cloudpickle
import numpy as np
import torch
from torch import Tensor, nn

from mlcompare.data import AUGMENTATIONS, SAMPLERS, Dataset, draw_splits, load_dataset
from mlcompare.encoders import create_encoder, get_encoder_spec
from mlcompare.evaluation import evaluate_embeddings, per_class_scores
from mlcompare.kinds import registry_of
from mlcompare.metrics import METRICS, bounds
from mlcompare.registry import Record
from mlcompare.training import EncoderConfig, TrainingConfig, TrainingData, TrainingJob, run_baseline, train
from mlcompare.training.baselines import BASELINES
from mlcompare.training.optimizers import create_optimizer, learning_rate_factor
from mlcompare.training.population import population_fault, train_population

__all__ = [
    "AugmentationTestCase", "BaselineTestCase", "DatasetTestCase", "EncoderTestCase", "MetricTestCase",
    "OptimizerTestCase", "SamplerTestCase", "ScheduleTestCase", "TrainerTestCase",
]  # fmt: skip


class PartTestCase:
    """What holds for a registered thing of any kind.

    Attributes:
        kind: the plural, as ``mlcompare list`` says it.
        name: the registered name.
        options: values of its options, where they are needed.
    """

    kind: ClassVar[str] = ""
    name: ClassVar[str] = ""
    options: ClassVar[Mapping[str, Any]] = {}

    @property
    def record(self) -> Record:
        """What is registered under the name."""
        found: Record = registry_of(self.kind)[self.name]
        return found

    def test_it_says_what_it_is(self) -> None:
        assert self.record.broken is None, self.record.broken
        assert self.record.summary, "the first line of the docstring says what it is"

    def test_it_reaches_other_processes(self) -> None:
        again = pickle.loads(cloudpickle.dumps(self.record))
        assert (again.name, dict(again.options)) == (self.record.name, dict(self.record.options))


class DatasetTestCase(PartTestCase):
    """What holds for every dataset. Its rules of shapes and labels are :class:`mlcompare.Dataset`'s own."""

    kind = "datasets"

    def test_it_reads_the_same_twice(self) -> None:
        first, second = (load_dataset(self.name, **self.options) for _ in range(2))
        assert first.fingerprint == second.fingerprint
        assert first.class_names == second.class_names
        assert len(set(first.class_names)) == len(first.class_names), "a class has one name"

    def test_every_class_has_a_sample(self) -> None:
        dataset = load_dataset(self.name, **self.options)
        assert set(np.unique(dataset.labels)) == set(range(len(dataset.class_names)))


class EncoderTestCase(PartTestCase):
    """What holds for every encoder.

    Attributes:
        input_shape: ``(C, H, W)`` or ``(F,)``, of the inputs that are tried.
        embedding_dim: D.
    """

    kind = "encoders"
    input_shape: ClassVar[tuple[int, ...]] = (1, 16, 16)
    embedding_dim: ClassVar[int] = 8

    def make(self, seed: int = 0) -> nn.Module:
        """Build the encoder under test."""
        return create_encoder(
            self.name, input_shape=self.input_shape, embedding_dim=self.embedding_dim, seed=seed, **self.options
        )

    def inputs(self, count: int = 6) -> Tensor:
        """Return standardised inputs ``(count, …)``."""
        return torch.randn(count, *self.input_shape, generator=torch.Generator().manual_seed(0))

    def test_shape_and_finite_gradients(self) -> None:
        encoder = self.make()
        embeddings = encoder(self.inputs())
        assert embeddings.shape == (6, self.embedding_dim)
        if embeddings.requires_grad:
            embeddings.square().sum().backward()
        for name, parameter in encoder.named_parameters():
            assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name

    def test_the_seed_decides_the_first_weights(self) -> None:
        first, same, other = (self.make(seed).state_dict() for seed in (0, 0, 1))
        assert all(torch.equal(first[name], same[name]) for name in first)
        learned = [name for name, _ in self.make().named_parameters()]
        assert not learned or any(not torch.equal(first[name], other[name]) for name in learned)

    def test_evaluation_is_one_sample_at_a_time(self) -> None:
        encoder = self.make().eval()
        with torch.no_grad():
            together, alone = encoder(self.inputs()), torch.cat([encoder(row[None]) for row in self.inputs()])
        torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-4)

    def test_batched_is_true(self) -> None:
        fault = population_fault(self.make(), self.input_shape)
        if get_encoder_spec(self.name).batched:
            assert fault is None, f"register it with batched=False: {fault}"


class MetricTestCase(PartTestCase):
    """What holds for every metric of embeddings."""

    kind = "metrics"

    @property
    def spelled(self) -> str:
        """The name as a study file has it, with a number where it takes one."""
        number = METRICS[self.name].number
        return self.name + {None: "", "k": "_1", "far": "_1e-1"}[number]

    def samples(self) -> tuple[Tensor, Tensor]:
        """Return embeddings ``(N, D)`` of eight classes, nearer to their own than to others, and labels."""
        generator = torch.Generator().manual_seed(0)
        labels = torch.arange(8).repeat_interleave(6)
        return torch.randn(8, 12, generator=generator)[labels] + 0.5 * torch.randn(48, 12, generator=generator), labels

    def test_value_lies_within_its_bounds(self) -> None:
        value = evaluate_embeddings(*self.samples(), metrics=[self.spelled])[self.spelled]
        low, high = bounds(self.spelled)
        assert low - 1e-9 <= value <= high + 1e-9

    def test_the_order_of_samples_does_not_matter(self) -> None:
        embeddings, labels = self.samples()
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
        first = evaluate_embeddings(embeddings, labels, metrics=[self.spelled])[self.spelled]
        second = evaluate_embeddings(embeddings[order], labels[order], metrics=[self.spelled])[self.spelled]
        assert abs(first - second) < (0.1 if METRICS[self.name].group == "clustering" else 1e-6)

    def test_scores_of_classes_average_to_the_metric(self) -> None:
        if METRICS[self.name].group not in ("retrieval", "own"):
            raise SkipTest("not a mean over samples")
        embeddings, labels = self.samples()
        by_class = per_class_scores(embeddings, labels, self.spelled)
        if by_class:
            whole = evaluate_embeddings(embeddings, labels, metrics=[self.spelled])[self.spelled]
            assert abs(float(np.mean(list(by_class.values()))) - whole) < 1e-6, "classes of one size weigh the same"


class SamplerTestCase(PartTestCase):
    """What holds for every sampler."""

    kind = "samplers"

    def draw(self, seed: int = 0, steps: int = 5) -> Tensor:
        """Return batches of 3 × 2 rows out of 24 samples of six classes."""
        labels = torch.arange(6).repeat(4)
        generator = torch.Generator().manual_seed(seed)
        drawn: Tensor = SAMPLERS[self.name].factory(
            labels, classes_per_batch=3, samples_per_class=2, steps=steps, generator=generator
        )
        return drawn

    def test_rows_of_the_asked_shape(self) -> None:
        batches = self.draw()
        assert batches.shape == (5, 6)
        assert batches.dtype == torch.int64
        assert 0 <= int(batches.min()) <= int(batches.max()) < 24

    def test_the_generator_decides(self) -> None:
        assert torch.equal(self.draw(), self.draw())
        assert not torch.equal(self.draw(steps=20), self.draw(seed=1, steps=20))


class AugmentationTestCase(PartTestCase):
    """What holds for every augmentation."""

    kind = "augmentations"
    channels: ClassVar[int] = 3

    def test_shape_range_and_generator(self) -> None:
        from mlcompare.data import augment

        spec = AUGMENTATIONS[self.name]
        images = torch.randint(0, 256, (4, self.channels, 12, 10), generator=torch.Generator().manual_seed(0))
        given = {self.name: min(spec.high, max(spec.low, 0.5 * (spec.low + min(spec.high, 2.0))))}
        first, second = (augment(images.float(), given, torch.Generator().manual_seed(3)) for _ in range(2))
        assert first.shape == images.shape
        assert torch.isfinite(first).all()
        assert torch.equal(first, second), "all chance is drawn from the generator"


class OptimizerTestCase(PartTestCase):
    """What holds for every optimiser."""

    kind = "optimizers"

    def test_it_learns_and_heads_have_their_own_rate(self) -> None:
        torch.manual_seed(0)
        encoder, loss = nn.Linear(3, 2), nn.Linear(2, 1)
        optimizer = create_optimizer(encoder, [loss], TrainingConfig(optimizer=self.name, lr=0.01, head_lr_ratio=5.0))
        rates = [group["lr"] for group in optimizer.param_groups]
        assert rates[1] == 5 * rates[0]
        inputs = torch.randn(32, 3)
        values = []
        for _ in range(30):
            optimizer.zero_grad()
            value = (loss(encoder(inputs)) - inputs[:, :1]).square().mean()
            value.backward()
            optimizer.step()
            values.append(value.item())
        assert values[-1] < values[0]

    def test_a_population_gives_the_numbers_of_single_trainings(self) -> None:
        data = _blobs()
        jobs = [
            TrainingJob.of(
                "softmax", encoder=EncoderConfig("linear", 4), random_state=number, lr=lr,
                training=TrainingConfig(optimizer=self.name, steps=6, classes_per_batch=3, samples_per_class=2),
            )
            for number, lr in enumerate((0.003, 0.01))
        ]  # fmt: skip
        for job, together in zip(jobs, train_population(jobs, data)):
            alone = train(job, data)
            np.testing.assert_allclose(together.history["loss"], alone.history["loss"], rtol=2e-3, atol=1e-5)


class ScheduleTestCase(PartTestCase):
    """What holds for every schedule."""

    kind = "schedules"

    def test_factors_are_finite_and_not_negative(self) -> None:
        config = TrainingConfig(schedule=self.name, steps=100)
        factors = [learning_rate_factor(config, step / 100) for step in range(100)]
        assert all(np.isfinite(factor) and factor >= 0 for factor in factors)
        assert max(factors) > 0


class BaselineTestCase(PartTestCase):
    """What holds for every baseline."""

    kind = "baselines"

    def data(self) -> TrainingData:
        """Return data that the baseline suits: images."""
        return _patterns()

    def test_it_scores_the_sealed_classes_the_same_twice(self) -> None:
        data = self.data()
        if not BASELINES[self.name].suits(data.dataset):
            raise SkipTest("not for such data: override `data`")
        job = TrainingJob(
            "baseline", None, {}, EncoderConfig("conv", 4), TrainingConfig(), 0, 0, seed=0, split="test",
            baseline=self.name,
        )  # fmt: skip
        first, second = (run_baseline(job, data) for _ in range(2))
        assert first.status == "ok", first.reason
        assert first.metrics == second.metrics
        assert 0 <= first.metrics["map_at_r"] <= 1


class TrainerTestCase(PartTestCase):
    """What holds for every trainer."""

    kind = "trainers"
    loss: ClassVar[str] = "cosface"

    def data(self) -> TrainingData:
        """Return what it is tried on: features."""
        return _blobs()

    def job(self, **changes: Any) -> TrainingJob:
        """Return a short training by this trainer."""
        from dataclasses import replace

        job = TrainingJob.of(
            self.loss, encoder=EncoderConfig("linear", 4), keep=False,
            training=TrainingConfig(steps=30, classes_per_batch=3, samples_per_class=2, lr=0.02),
        )  # fmt: skip
        return replace(job, trainer=self.name, trainer_options=dict(self.options), **changes)

    def test_it_trains_and_the_random_state_decides(self) -> None:
        data = self.data()
        first, second = (train(self.job(), data) for _ in range(2))
        assert first.status == "ok", first.reason
        assert first.metrics == second.metrics, "the same job gives the same numbers"
        other = train(self.job(random_state=1), data)
        assert other.metrics != first.metrics, "draw every random number from `assignment.random_state`"


def _blobs() -> TrainingData:
    """Twelve Gaussian classes of six samples in ten dimensions."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(12), 6)
    samples = rng.normal(size=(12, 10))[labels] + 1.5 * rng.normal(size=(72, 10))
    dataset = Dataset("blobs", samples.astype(np.float32), labels, tuple("abcdefghijkl"))
    return TrainingData(dataset, draw_splits(labels, test_classes=0.34, folds=2))


def _patterns() -> TrainingData:
    """Twelve patterns of 16 × 12 pixels, six noisy copies of each."""
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(12), 6)
    patterns = rng.integers(0, 200, size=(12, 1, 16, 12))
    samples = (patterns[labels] + rng.integers(0, 56, size=(72, 1, 16, 12))).astype(np.uint8)
    dataset = Dataset("patterns", samples, labels, tuple("abcdefghijkl"))
    return TrainingData(dataset, draw_splits(labels, test_classes=0.34, folds=2))
