"""Augmentation: neutral at strength zero, repeatable, the same for a population, and each does what it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from kornia.enhance import adjust_hue

from mlcompare.data import AUGMENTATIONS, PRESETS, apply_augmentation, augment, check_augmentation, draw_augmentation
from mlcompare.data.augment import resolve_augmentation
from mlcompare.errors import InvalidValueError, UnknownNameError

STRENGTHS = {
    "flip": 0.5, "flip_vertical": 0.5, "shift": 2, "rotate": 20, "scale": 0.3, "crop": 0.4, "affine": 0.2,
    "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.2, "pca_jitter": 0.3, "noise": 0.1, "blur": 1.5,
}  # fmt: skip


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixels(batch: int = 6, channels: int = 3, height: int = 10, width: int = 8, seed: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (batch, channels, height, width), generator=seeded(seed), dtype=torch.uint8)


def compositions() -> list[dict[str, float]]:
    return [{name: strength} for name, strength in STRENGTHS.items()] + [STRENGTHS, *PRESETS.values()]


def test_every_augmentation_is_tried() -> None:
    assert STRENGTHS.keys() == AUGMENTATIONS.keys()


@pytest.mark.parametrize("given", compositions(), ids=lambda given: "+".join(given)[:40])
def test_shape_range_and_seed(given: dict) -> None:
    images = pixels(60)
    out = augment(images, given, seeded())
    assert out.shape == images.shape
    assert out.dtype == torch.float32
    assert out.min() >= -1e-3
    assert out.max() <= 255 + 1e-3
    assert not out.equal(images.float())
    assert out.equal(augment(images, given, seeded()))
    assert not out.equal(augment(images, given, seeded(1)))
    neutral = dict.fromkeys(given, 0)
    assert augment(images, neutral, seeded()).equal(images.float())


@pytest.mark.parametrize("given", compositions(), ids=lambda given: "+".join(given)[:40])
def test_a_population_sees_what_its_members_would_alone(given: dict) -> None:
    members = [pixels(seed=seed) for seed in range(3)]
    drawn = [draw_augmentation(6, given, seeded(number), (3, 10, 8)) for number in range(3)]
    together = [torch.cat(parts, -1) for parts in zip(*drawn)]
    out = apply_augmentation(torch.cat(members), given, together).unflatten(0, (3, 6))
    for number, images in enumerate(members):
        torch.testing.assert_close(out[number], augment(images, given, seeded(number)), rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", [name for name, augmentation in AUGMENTATIONS.items() if not augmentation.colour])
def test_grey_images_are_augmented_too(name: str) -> None:
    images = pixels(channels=1)
    assert augment(images, {name: STRENGTHS[name]}, seeded()).shape == images.shape


def test_a_half_turn_mirrors_both_ways() -> None:
    images = pixels().float()
    drawn = torch.ones(1, 6)  # the upper end: + 180°
    turned = apply_augmentation(images, {"rotate": 180}, [drawn])
    torch.testing.assert_close(turned, images.flip(2, 3), rtol=0, atol=0.1)
    quarter = apply_augmentation(pixels(height=8).float(), {"rotate": 90}, [drawn])
    torch.testing.assert_close(quarter, torch.rot90(pixels(height=8).float(), -1, (2, 3)), rtol=0, atol=0.1)


def test_a_crop_is_an_enlarged_window() -> None:
    ramp = torch.arange(9.0).expand(1, 1, 9, 9) * 10  # grows to the right
    drawn = torch.tensor([[1.0], [1.0], [0.0]])  # half of each side, as far right and up as can be
    out = apply_augmentation(ramp, {"crop": 0.5}, [drawn])
    torch.testing.assert_close(out[0, 0], torch.linspace(40, 80, 9).expand(9, 9), rtol=0, atol=0.01)


def test_scale_enlarges_about_the_centre() -> None:
    ramp = torch.arange(9.0).expand(1, 1, 9, 9) * 10
    out = apply_augmentation(ramp, {"scale": 0.5}, [torch.ones(1, 1)])  # × 1.5
    torch.testing.assert_close(out[0, 0, 0], 40 + (torch.arange(9.0) - 4) * 10 / 1.5, rtol=0, atol=0.01)


def test_moves_in_a_row_are_one_move() -> None:
    """Composed matrices, not composed interpolations: there and back is the identity."""
    images = pixels().float()
    there, back = torch.full((1, 6), 0.9), torch.full((1, 6), 0.1)
    matrices = [AUGMENTATIONS["rotate"].matrix(drawn, 40, 10, 8) for drawn in (there, back)]
    torch.testing.assert_close(matrices[0] @ matrices[1], torch.eye(3).expand(6, 3, 3), rtol=0, atol=1e-5)
    given = {"rotate": 20, "scale": 0.3}
    drawn = draw_augmentation(6, given, seeded(), (3, 10, 8))
    separate = images
    for (name, strength), parameters in zip(given.items(), drawn):
        separate = apply_augmentation(separate, {name: strength}, [parameters])
    fused = apply_augmentation(images, given, drawn)
    assert fused.std() > separate.std(), "twice interpolated is smoother"


def test_colours_follow_their_definitions() -> None:
    images = pixels(4).float().clamp(60, 180)
    top = torch.full((1, 4), 1.0)
    grey = (images * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    expected = {
        "brightness": images * 1.2,
        "contrast": grey.mean((2, 3), keepdim=True) + 1.2 * (images - grey.mean((2, 3), keepdim=True)),
        "saturation": grey + 1.2 * (images - grey),
    }
    for name, wanted in expected.items():
        out = apply_augmentation(images, {name: 0.2}, [top])
        torch.testing.assert_close(out, wanted.clamp(0, 255), rtol=0, atol=0.1, msg=name)
    third = apply_augmentation(images, {"hue": 1 / 3}, [top])
    torch.testing.assert_close(third, images.roll(1, 1), rtol=0, atol=0.1)
    fifth = apply_augmentation(images, {"hue": 0.2}, [top])
    torch.testing.assert_close(fifth / 255, adjust_hue(images / 255, 0.4 * math.pi), rtol=0, atol=1e-4)


def test_pca_jitter_moves_an_image_by_one_colour() -> None:
    images = torch.full((2000, 3, 2, 2), 128.0)
    out = augment(images, {"pca_jitter": 0.1}, seeded()) - images
    assert out.std((2, 3)).max() < 1e-4, "the same for all pixels of an image"
    deviations = np.linalg.eigvalsh(np.cov(out[:, :, 0, 0].T.numpy()))[::-1] ** 0.5 / 255
    np.testing.assert_allclose(deviations, np.array([0.2175, 0.0188, 0.0045]) * 0.1, rtol=0.1)


def test_noise_and_blur_have_the_stated_deviations() -> None:
    flat = torch.full((50, 1, 20, 20), 128.0)
    assert augment(flat, {"noise": 0.05}, seeded()).std() == pytest.approx(0.05 * 255, rel=0.05)
    point = torch.zeros(1, 1, 21, 21)
    point[0, 0, 10, 10] = 255
    out = apply_augmentation(point, {"blur": 1.5}, [torch.ones(1, 1)])[0, 0] / 255
    places = torch.arange(21.0) - 10
    assert out.sum() == pytest.approx(1, abs=1e-3)
    assert math.sqrt((out.sum(0) * places**2).sum()) == pytest.approx(1.5, rel=0.1)


def test_presets_are_overridden_and_mistakes_named() -> None:
    for preset in PRESETS.values():
        check_augmentation(preset)
    for name in ("faces", "digits"):
        check_augmentation(PRESETS[name], channels=1)
    assert resolve_augmentation({"preset": "digits", "rotate": 0})["rotate"] == 0
    assert resolve_augmentation({"flip": 0.5}) == {"flip": 0.5}
    with pytest.raises(UnknownNameError, match="unknown preset 'digit'; did you mean digits"):
        resolve_augmentation({"preset": "digit"})
    with pytest.raises(InvalidValueError, match="hue: needs images of 3 channels, got 1"):
        check_augmentation({"hue": 0.1}, channels=1)
    check_augmentation({"hue": 0}, channels=1)
    with pytest.raises(InvalidValueError, match="blur: must be a number from 0 to 10"):
        check_augmentation({"blur": math.nan})
