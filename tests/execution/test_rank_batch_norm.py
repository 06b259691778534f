"""Batch norm over two ranks: output, gradients and running statistics are those of one process with the whole batch."""

from __future__ import annotations

import copy
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mlcompare.execution.ranks import met
from mlcompare.training import EncoderConfig, TrainingResult, train
from mlcompare.training.rank_batch_norm import WholeBatchNorm
from mlcompare.training.ranks import ALONE, Ranks
from tests.execution.test_ranks import by_two, images, job_of


class Activated(nn.BatchNorm2d):
    """A layer that calls the function itself, as timm's do."""

    def forward(self, input: Tensor) -> Tensor:
        used = F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, self.training, 0.3)
        return used.relu()


def layers() -> dict[str, tuple[nn.Module, Tensor]]:
    """A layer with batch norm, and a batch for it."""
    generator = torch.Generator().manual_seed(3)
    rows, pixels = (3 + 2 * torch.randn(*shape, generator=generator) for shape in ((5, 4), (3, 4, 2, 2)))
    made = {
        "features": (nn.BatchNorm1d(4), rows),
        "images": (nn.BatchNorm2d(4), pixels),
        "a share of one sample": (nn.BatchNorm1d(4), rows[:3]),
        "without weights": (nn.BatchNorm2d(4, affine=False), pixels),
        "without statistics": (nn.BatchNorm1d(4, track_running_stats=False), rows),
        "cumulative": (nn.BatchNorm1d(4, momentum=None), rows),
        "a layer of one's own": (Activated(4), pixels),
        "far from 0": (nn.BatchNorm1d(4), rows + 1000),
        "in half precision": (nn.BatchNorm2d(4), pixels.bfloat16()),
        "in evaluation mode": (nn.BatchNorm1d(4).eval(), rows),
    }
    for layer, _ in made.values():
        for parameter in layer.parameters():
            parameter.data.uniform_(0.5, 2, generator=generator)
    return made


def passed(layer: nn.Module, batch: Tensor, ranks: Ranks) -> dict[str, Tensor]:
    """Pass a batch twice, and return what came of it: this rank's part of the output and of the batch's gradient."""
    layer, own = copy.deepcopy(layer), batch[ranks.share(len(batch))].clone().requires_grad_()
    with WholeBatchNorm(ranks) if ranks.size > 1 else nullcontext():
        layer(own)
        output = layer(own)
    wanted = torch.randn(batch.shape, generator=torch.Generator().manual_seed(4))
    (output * wanted[ranks.share(len(batch))]).sum().backward()
    ranks.summed(layer.parameters())
    gradients = {f"gradient of {name}": parameter.grad for name, parameter in layer.named_parameters()}
    return {"output": output.detach(), "gradient": own.grad, **gradients, **dict(layer.named_buffers())}


CLOSE = {"far from 0": 1e-3, "in half precision": 2e-2}
RESNET = EncoderConfig("resnet", 4, {"width": 4, "depth": 10})


def in_ranks(rank: int, meeting: str) -> tuple[dict[str, dict[str, Tensor]], TrainingResult]:
    with met(rank, 2, meeting, "cpu"):
        ranks = Ranks(rank, 2)
        found = {name: passed(layer, batch, ranks) for name, (layer, batch) in layers().items()}
        return found, train(job_of("cosface", RESNET), images(), ranks=ranks)


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> tuple[dict[str, dict[str, Tensor]], TrainingResult]:
    """Everything computed by two processes, which start once."""
    return by_two(in_ranks, tmp_path_factory.mktemp("meeting"))


@pytest.mark.parametrize("name", layers())
def test_it_is_that_of_the_whole_batch(shared, name: str) -> None:
    layer, batch = layers()[name]
    one, two, share = passed(layer, batch, ALONE), shared[0][name], Ranks(0, 2).share(len(batch))
    assert one.keys() == two.keys()
    for key, tensor in one.items():
        whole = tensor[share] if key in ("output", "gradient") else tensor
        close = CLOSE.get(name, 1e-5)
        torch.testing.assert_close(two[key], whole, msg=f"{key}: {two[key]} is not {whole}", rtol=close, atol=close)


def test_a_training_in_ranks_has_the_numbers_of_one_process(shared) -> None:
    one, two = train(job_of("cosface", RESNET), images()), shared[1]
    assert (one.status, two.status) == ("ok", "ok"), (one.reason, two.reason)
    np.testing.assert_allclose(two.history["loss"], one.history["loss"], rtol=1e-3)
    for key, array in one.artifacts["weights"].items():
        np.testing.assert_allclose(two.artifacts["weights"][key], array, err_msg=key, rtol=1e-3, atol=1e-4)
