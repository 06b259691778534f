"""Each network against an independent account of it: counts of weights, identities, scikit-image."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch
from skimage.feature import hog
from torch import nn

from mlcompare.encoders import create_encoder
from mlcompare.encoders.hog import HistogramOfGradients
from mlcompare.encoders.pooling import GeneralizedMean, SpatialPyramid
from mlcompare.errors import InvalidValueError, MLCompareError


def weights(encoder: nn.Module) -> int:
    return sum(parameter.numel() for parameter in encoder.parameters())


def test_conv_is_the_same_with_its_relu_before_the_pooling() -> None:
    encoder = create_encoder("conv", input_shape=(1, 9, 8), embedding_dim=5, channels=(4, 3))
    inputs = torch.randn(6, 1, 9, 8, generator=torch.Generator().manual_seed(0)).round(decimals=1)  # with ties

    def usual(x: torch.Tensor) -> torch.Tensor:
        for first in (0, 4):
            x = nn.functional.max_pool2d(encoder[first + 1](encoder[first](x)).relu(), 2)
        return encoder[-1](x.flatten(1))

    gradients = [
        torch.autograd.grad(forward(inputs).square().sum(), list(encoder.parameters())) for forward in (encoder, usual)
    ]
    assert torch.equal(encoder(inputs), usual(inputs))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*gradients))


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_conv_keeps_its_size_whatever_its_kernel(kernel: int) -> None:
    encoder = create_encoder("conv", input_shape=(1, 9, 8), embedding_dim=5, channels=(4, 3), kernel=kernel)
    assert [m.kernel_size for m in encoder if isinstance(m, nn.Conv2d)] == [(kernel, kernel)] * 2
    assert encoder[0](torch.zeros(2, 1, 9, 8)).shape == (2, 4, 9, 8)
    assert encoder(torch.zeros(2, 1, 9, 8)).shape == (2, 5)


def test_lenetpp_has_the_papers_layers() -> None:
    encoder = create_encoder("lenetpp", input_shape=(1, 28, 28), embedding_dim=2)
    convolutions = [(m.in_channels, m.out_channels, m.kernel_size[0]) for m in encoder if isinstance(m, nn.Conv2d)]
    assert convolutions == [(1, 32, 5), (32, 32, 5), (32, 64, 5), (64, 64, 5), (64, 128, 5), (128, 128, 5)]
    kernels = sum(a * b * 25 + b for a, b, _ in convolutions)
    assert weights(encoder) == kernels + (128 * 9 * 2 + 2) + 7, "six PReLUs, and one on the embedding"


def test_l_softmax_net_has_the_papers_layers() -> None:
    encoder = create_encoder("l_softmax_net", input_shape=(1, 28, 28), embedding_dim=256)
    kinds = "".join({nn.Conv2d: "c", nn.MaxPool2d: "p", nn.Linear: "f"}.get(type(m), "") for m in encoder)
    assert kinds == "c" + "cccp" + "ccccp" + "cccp" + "f"
    assert weights(encoder) == 9 * 64 + 10 * 9 * 64 * 64 + 11 * (2 * 64 + 1) + (64 * 9 + 1) * 256 + 2 * 256


def test_resnet18_has_the_papers_number_of_weights() -> None:
    encoder = create_encoder("resnet", input_shape=(3, 224, 224), embedding_dim=1000, depth=18)
    assert weights(encoder) == 11_689_512, "He et al. 2016, as in torchvision"
    assert weights(create_encoder("resnet", input_shape=(3, 224, 224), embedding_dim=1000, depth=34)) == 21_797_672


@pytest.mark.parametrize("norm", ["ln", "in", "gn"])
def test_norms_without_batches_score_a_sample_the_same_in_any_company(norm: str) -> None:
    options = {"depth": 10, "width": 4, "norm": norm}
    encoder = create_encoder("resnet", input_shape=(1, 16, 16), embedding_dim=5, **options)
    images = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(encoder(images)[:1], encoder(images[:1]), rtol=1e-4, atol=1e-5)
    with_batches = create_encoder("resnet", input_shape=(1, 16, 16), embedding_dim=5, **options | {"norm": "bn"})
    assert not torch.allclose(with_batches(images)[:1], with_batches(images[:1]), rtol=1e-2)


@pytest.mark.parametrize("attention", ["se", "spatial", "cbam"])
@pytest.mark.parametrize("pooling", ["max", "gem", "spp"])
def test_every_choice_learns(attention: str, pooling: str) -> None:
    options = {"depth": 10, "width": 4, "attention": attention, "pooling": pooling}
    encoder = create_encoder("resnet", input_shape=(1, 12, 10), embedding_dim=5, **options)
    encoder(torch.rand(4, 1, 12, 10)).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in encoder.parameters())


def test_gem_lies_between_mean_and_maximum() -> None:
    maps = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(GeneralizedMean(1.0)(maps), maps.mean((2, 3)))
    torch.testing.assert_close(GeneralizedMean(200.0)(maps), maps.amax((2, 3)), rtol=0.02, atol=0)


@pytest.mark.parametrize("size", [(4, 4), (8, 12), (7, 9), (3, 2)])
def test_the_pyramid_is_adaptive_max_pooling(size: tuple[int, int]) -> None:
    maps = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    expected = [nn.functional.adaptive_max_pool2d(maps, level).flatten(1) for level in (1, 2, 4)]
    torch.testing.assert_close(SpatialPyramid()(maps), torch.cat(expected, 1))


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 24), (3, 33, 50), (1, 4, 5), (1, 64, 64)])
def test_hog_is_scikit_images(shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 256, size=(3, *shape)).astype(np.float64)
    descriptor = HistogramOfGradients(shape)
    cells = {"pixels_per_cell": (descriptor.cell,) * 2, "cells_per_block": (2, 2), "block_norm": "L2-Hys"}
    expected = [hog(image.transpose(1, 2, 0), channel_axis=-1, **cells) for image in images]
    np.testing.assert_allclose(descriptor(torch.as_tensor(images)).numpy(), expected, rtol=1e-6, atol=1e-9)
    assert descriptor.size == len(expected[0])


def test_timm_builds_or_says_what_is_missing() -> None:
    try:
        importlib.import_module("timm")
    except (ImportError, RuntimeError):
        with pytest.raises(InvalidValueError) as caught:
            create_encoder("timm:resnet10t", input_shape=(1, 32, 32), embedding_dim=5)
        message = str(caught.value)
        assert "\n" not in message
        assert "mlcompare[timm]" in message
        assert "torchvision" in message
    else:
        encoder = create_encoder("timm:resnet10t", input_shape=(1, 32, 32), embedding_dim=5)
        assert encoder(torch.rand(2, 1, 32, 32)).shape == (2, 5)


TINY = {
    "vit": {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "patch_size": 4,
    },
    "resnet": {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1], "layer_type": "basic"},
    "convnext": {"hidden_sizes": [4, 8], "depths": [1, 1], "num_stages": 2},
}


@pytest.mark.parametrize("model", TINY)
def test_transformers_models_embed_images_of_the_datasets_size(model: str) -> None:
    pytest.importorskip("transformers")
    build = {"input_shape": (1, 16, 12), "embedding_dim": 5, "config": TINY[model]}
    encoder, again = (create_encoder(f"transformers:{model}", seed=4, **build) for _ in range(2))
    images = torch.rand(3, 1, 16, 12, generator=torch.Generator().manual_seed(0))
    encoder(images).square().sum().backward()
    assert encoder(images).shape == (3, 5)
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())
    assert all(a.equal(b) for a, b in zip(encoder.parameters(), again.parameters()))


def test_transformers_says_what_is_wrong() -> None:
    with pytest.raises(MLCompareError, match="transformers") as caught:
        create_encoder("transformers:vti", input_shape=(1, 16, 16), embedding_dim=5)
    assert "\n" not in str(caught.value)
