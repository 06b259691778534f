"""Every loss runs on a CUDA device: nothing in it stays behind on the CPU, and nothing reads a value.

Fake tensors have a shape, a type and a device, and no numbers: what a loss mixes up shows without a GPU. Where torch
has no CUDA build, which refuses to index and to differentiate such tensors, ``meta`` stands for the device.
"""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from mlcompare.registry import create_loss, list_losses

C, D, B = 4, 6, 12
DEVICE = "cuda" if torch.backends.cuda.is_built() else "meta"
NAMES = [spec.name for spec in list_losses(provider="native") if spec.name != "up_term"]  # up_softmax has it


@pytest.fixture(autouse=True)
def _no_autocast(monkeypatch) -> None:
    if DEVICE == "meta":  # for which there is none; losses switch it off
        monkeypatch.setattr(torch, "autocast", lambda **_given: nullcontext())


def on_fake_cuda(module: nn.Module, mode: FakeTensorMode) -> nn.Module:
    """Put fake CUDA tensors in the place of parameters and buffers; plain attributes stay, as they do in ``.to``."""

    def fake(tensor: Tensor) -> Tensor:
        with mode:
            return torch.empty(tensor.shape, dtype=tensor.dtype, device=DEVICE)

    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = nn.Parameter(fake(parameter), requires_grad=parameter.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = fake(buffer)
    return module


def value_on_fake_cuda(loss: nn.Module, *, training: bool = True) -> Tensor:
    mode = FakeTensorMode()
    on_fake_cuda(loss, mode).train(training)
    with mode:
        embeddings = torch.empty(B, D, device=DEVICE, requires_grad=True)
        labels = torch.empty(B, dtype=torch.int64, device=DEVICE)
        value = loss(embeddings, labels)
        value.backward()
        assert embeddings.grad is not None
        assert embeddings.grad.device.type == DEVICE
    return value


def made(name: str) -> nn.Module:
    counts = torch.full((C,), B // C)
    return create_loss(name, num_classes=C, embedding_dim=D, class_counts=counts)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("name", NAMES)
def test_the_value_is_there(name: str, training: bool) -> None:
    value = value_on_fake_cuda(made(name), training=training)
    assert value.device.type == DEVICE
    assert value.shape == ()


@pytest.mark.parametrize("name", [name for name in NAMES if hasattr(made(name), "logits")])
def test_so_are_the_logits(name: str) -> None:
    loss = made(name)
    if getattr(loss, "class_weights", None) is None:
        pytest.skip("it has no head")
    mode = FakeTensorMode()
    on_fake_cuda(loss, mode).eval()
    with mode:
        assert loss.logits(torch.empty(B, D, device=DEVICE)).device.type == DEVICE


def test_a_tensor_left_behind_is_noticed() -> None:
    class Forgetful(nn.Module):
        def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
            return (embeddings * torch.ones(D)).sum()

    with pytest.raises(RuntimeError, match="devices"):
        value_on_fake_cuda(Forgetful())


def test_a_value_that_is_read_is_noticed() -> None:
    class Reading(nn.Module):
        def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
            return embeddings.sum() * float(labels.max())

    with pytest.raises(RuntimeError, match="_local_scalar_dense"):
        value_on_fake_cuda(Reading())
