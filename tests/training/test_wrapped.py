"""Wrapped losses in trainings: both engines, killed and resumed, in pieces, on a sample of the classes."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mlcompare.losses import LossEntry, Term
from mlcompare.training import EncoderConfig, train
from mlcompare.training.class_sample import ClassSample
from mlcompare.training.population import population_key
from tests.training.test_checkpoint import ENGINES, at_every_step, two
from tests.training.test_population import assert_alike

SUM = LossEntry("sum_arcface_anti_collapse", "sum", (Term("arcface"), Term("anti_collapse")))
NESTED = LossEntry("matryoshka_triplet", "matryoshka", (Term("triplet"),))
REMEMBERING = LossEntry("memory_contrastive", "memory", (Term("contrastive"),))
SELECTING = LossEntry("x", "small_loss", (Term("arcface"),))
CASES = {
    "nested": (NESTED, {"prefixes": "2"}),
    "own heads": (LossEntry("x", "matryoshka", (Term("arcface"),)), {"prefixes": "2,3"}),
    "shared heads": (LossEntry("x", "matryoshka", (Term("softmax"),)), {"prefixes": "2,3", "heads": "shared"}),
    "of a sum": (LossEntry("x", "matryoshka", (Term(SUM),)), {"prefixes": "2", "heads": "shared"}),
    "stateful": (LossEntry("x", "matryoshka", (Term("center"),)), {"prefixes": "2"}),
    "memory": (LossEntry("x", "memory", (Term("triplet"),)), {"size": 20, "start": 0.4}),
    "memory that draws": (LossEntry("x", "memory", (Term("margin_based"),)), {"size": 20}),
    "memory in a sum": (LossEntry("x", "sum", (Term("arcface"), Term(REMEMBERING))), {"size": 20}),
    "nested memory": (LossEntry("x", "matryoshka", (Term(REMEMBERING),)), {"prefixes": "2", "size": 20}),
    "small loss": (LossEntry("x", "small_loss", (Term("arcface"),)), {"forget": 0.3}),
    "nested small loss": (LossEntry("x", "matryoshka", (Term(SELECTING),)), {"prefixes": "2", "forget": 0.3}),
    "dropping": (LossEntry("x", "single", (Term("subcenter_arcface_drop"),)), {"start": 0.3, "angle": 1.4}),
    "stages": (LossEntry("x", "stages", (Term("softmax"), Term(NESTED))), {"prefixes": "2"}),
}  # fmt: skip


@pytest.fixture(params=CASES)
def jobs(request, make_members):
    return make_members(*CASES[request.param])


def test_both_engines_agree(data, jobs) -> None:
    assert population_key(jobs[0]) is not None
    assert_alike(jobs, data)


def test_in_pieces_it_is_the_training(data, jobs) -> None:
    job = replace(jobs[0], encoder=EncoderConfig("mlp", 4, {"width": 16}))
    whole, pieces = (train(replace(job, training=job.training.replaced(microbatch=n)), data) for n in (None, 2))
    assert whole.status == pieces.status == "ok"
    np.testing.assert_allclose(pieces.history["loss"], whole.history["loss"], rtol=1e-4)


@pytest.mark.parametrize("heads", ["own", "shared"])
def test_a_step_on_all_classes_in_a_sample_is_a_step(heads) -> None:
    found = []
    for sampled in (False, True):
        entry, values = LossEntry("x", "matryoshka", (Term("arcface"),)), {"prefixes": "2", "heads": heads}
        generator = torch.Generator().manual_seed(0)
        [(_, loss)] = entry.build(values, generator=generator, num_classes=5, embedding_dim=4)
        sample = ClassSample(loss, 1.0, 5, torch.Generator()) if sampled else None
        optimizer = torch.optim.Adam(sample.parameters() if sample else loss.parameters(), lr=0.1)
        x, labels = torch.randn(6, 4, generator=generator), torch.tensor([0, 1, 2, 3, 4, 0])
        with sample.step(optimizer, labels) if sample else nullcontext():
            (sample or loss)(x, labels, None).backward()
            optimizer.step()
        found.append([weight.detach() for weight in loss.parameters()])
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", ["own heads", "shared heads", "stateful", "memory in a sum"])
def test_killed_it_ends_with_the_same_numbers(data, make_job, tmp_path: Path, monkeypatch, engine, case) -> None:
    entry, values = CASES[case]
    jobs = [replace(job, loss=entry, hyperparameters=values) for job in two(make_job, tmp_path)]
    at_every_step(ENGINES[engine], jobs, data, monkeypatch, (3, 7))


def test_a_memory_keeps_labels_that_a_sample_of_classes_would_number_anew(data, make_job) -> None:
    entry, values = CASES["memory in a sum"]
    job = replace(make_job(training={"class_sample": 0.5}), loss=entry, hyperparameters=values)
    result = train(job, data)
    assert result.status == "failed"
    assert "must see all classes" in result.reason
