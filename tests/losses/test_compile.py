"""One compiled graph serves every hyperparameter value: values are data, not code."""

import pytest
import torch
import torch._dynamo
from torch._dynamo.testing import CompileCounter

from mlcompare.registry import create_loss, list_losses

NAMES = [spec.name for spec in list_losses(provider="native") if spec.batched and spec.name != "up_term"]


@pytest.mark.parametrize("name", NAMES)
def test_one_graph_for_all_values(name):
    torch._dynamo.reset()
    counter = CompileCounter()
    loss = create_loss(name, num_classes=4, embedding_dim=6, class_counts=[9, 9, 9, 1])
    compiled = torch.compile(loss, backend=counter, fullgraph=True)
    embeddings, labels = torch.randn(12, 6, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 4
    noise = loss.draw_noise(12, generator=torch.Generator().manual_seed(0))
    for share in (0.25, 0.5, 0.75):
        for key, h in loss.hyperparameters.items():
            if h.searched:
                value = h.low + share * (h.high - h.low)
                getattr(loss, key).fill_(round(value) if h.integer else value)
        loss.set_progress(share)
        state = {key: buffer.clone() for key, buffer in loss.named_buffers()}
        value = compiled(embeddings, labels, noise)
        loss.load_state_dict({**loss.state_dict(), **state})
        torch.testing.assert_close(value, loss(embeddings, labels, noise))
    assert counter.frame_count == 1


STATEFUL = [
    "adacos", "adaface", "ccl", "center", "curricularface", "deepvisage", "kappaface", "ring", "unitsface", "vpl",
]  # fmt: skip
DEFAULT = {"softmax", "arcface", "trihard", "multi_similarity", "center", "ccl", "curricularface", "ring"}
INDUCTOR = [pytest.param(name, marks=() if name in DEFAULT else pytest.mark.slow) for name in NAMES]


def built(name, dtype):
    generator = torch.Generator().manual_seed(1)
    loss = create_loss(name, num_classes=4, embedding_dim=6, class_counts=[9, 9, 9, 1], generator=generator)
    return loss.double() if dtype == torch.float64 else loss


def step(call, loss, number, dtype):
    """Return the value and all gradients of one step; state moves as it goes."""
    generator = torch.Generator().manual_seed(number)
    embeddings = (2 * torch.randn(12, 6, generator=generator)).to(dtype).requires_grad_()
    noise = loss.draw_noise(12, generator=generator)
    loss.zero_grad()
    loss.set_progress(number / 5)
    value = call(embeddings, torch.arange(12) % 4, noise)
    value.backward()
    return [value.detach(), embeddings.grad, *(p.grad for p in loss.parameters() if p.grad is not None)]


def same_under_inductor(name, dtype, tolerance):
    torch._dynamo.reset()
    eager, other = built(name, dtype), built(name, dtype)
    compiled = torch.compile(other, fullgraph=True)
    for number in range(4):
        expected, found = step(eager, eager, number, dtype), step(compiled, other, number, dtype)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)
        states = dict(eager.named_buffers())
        for key, state in other.named_buffers():
            torch.testing.assert_close(state, states[key], rtol=tolerance, atol=tolerance, msg=f"{key}, step {number}")


@pytest.mark.parametrize("name", INDUCTOR)
def test_values_gradients_and_state_under_inductor(name):
    same_under_inductor(name, torch.float32, 2e-5)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in STATEFUL])
def test_state_in_double_precision_under_inductor(name):
    same_under_inductor(name, torch.float64, 1e-10)
