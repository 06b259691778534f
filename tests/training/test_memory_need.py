"""The least memory of a training, against what trainings of such encoders take in a process of their own."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from mlcompare.encoders import create_encoder
from mlcompare.training import TrainingConfig
from mlcompare.training.memory_need import PROCESS, MemoryNeed, memory_need

PEAK = """
import sys, torch
from mlcompare.encoders import create_encoder
name, side, width, batch, optimizer = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
def held(what):
    return int([line for line in open("/proc/self/status") if line.startswith(what)][0].split()[1]) << 10
import torch._dynamo
torch.rand(2, 3).add(1)
before = held("VmRSS")
encoder = create_encoder(name, input_shape=(3, side, side), embedding_dim=width)
made = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[optimizer](encoder.parameters(), lr=1e-4)
batch = torch.rand(batch, 3, side, side)
for _ in range(2):
    made.zero_grad()
    encoder(batch).square().sum().backward()
    made.step()
print(before, held("VmHWM"))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks the system for a process's own peak")
@pytest.mark.parametrize(
    ("encoder", "side", "width", "batch", "optimizer"),
    [("conv4", 64, 64, 512, "adamw"), ("conv4", 64, 64, 512, "sgd"), ("linear", 128, 900, 8, "adamw")],
)  # fmt: skip
def test_a_training_takes_no_less_and_not_much_more(encoder, side, width, batch, optimizer):
    run = [sys.executable, "-c", PEAK, encoder, str(side), str(width), str(batch), optimizer]
    before, peak = map(int, subprocess.run(run, capture_output=True, text=True, check=True).stdout.split())
    made = create_encoder(encoder, input_shape=(3, side, side), embedding_dim=width)
    need = memory_need(made, (3, side, side), TrainingConfig(optimizer=optimizer)).of(batch)
    assert 0.6 * (peak - before) < need - PROCESS < 1.05 * (peak - before), (peak, before, need)
    assert before > PROCESS


def bytes_of(encoder, shape, class_weights=0, **training):
    return memory_need(encoder, shape, TrainingConfig(**training), class_weights)


def test_numbers_of_a_linear_layer():
    found = bytes_of(nn.Linear(10, 4, bias=False), (10,), optimizer="adamw")
    assert found == MemoryNeed(weights=4 * 3 * 40, gradients=4 * 40, sample=4 * 10)
    assert bytes_of(nn.Linear(10, 4, bias=False), (10,), optimizer="sgd").weights == 4 * 40
    assert bytes_of(nn.Linear(10, 4, bias=False), (10,), ema=0.9).weights == 4 * 4 * 40
    assert bytes_of(nn.Linear(10, 4, bias=False), (10,), 60, optimizer="sgd").gradients == 4 * 100


def test_frozen_weights_need_no_gradient_and_half_precision_half_the_room():
    encoder = nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 4))
    whole = bytes_of(encoder, (10,))
    assert bytes_of(encoder, (10,), precision="bfloat16").sample < whole.sample
    encoder[0].requires_grad_(False)
    found = bytes_of(encoder, (10,), optimizer="sgd")
    assert (found.gradients, found.weights) == (4 * 36, 4 * 124)
    assert found.sample == 4 * 8  # the input of the layer that learns, and nothing below it


def test_what_cannot_be_tried_is_not_known_and_draws_no_random_numbers():
    class Odd(nn.Module):
        def forward(self, x):
            raise RuntimeError("needs a whole batch")

    assert bytes_of(Odd(), (3,)) is None
    encoder = nn.Sequential(nn.Linear(3, 3), nn.Dropout())
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    bytes_of(encoder, (3,))
    assert torch.equal(torch.rand(3), expected)


def test_what_fits_is_what_is_free_less_what_is_there_anyway():
    need = MemoryNeed(weights=100 << 20, gradients=10 << 20, sample=1 << 20)
    for samples in (10, 64, 1000):
        assert need.fitting(need.of(samples)) == samples
    assert need.fitting(need.of(5) - 1) == 0  # not even the gradients fit
