"""Datasets, splits and batches."""

from mlcompare.data import digits, faces, features, folder, glyphs, idx, image_list
from mlcompare.data.augment import (
    AUGMENTATIONS,
    PRESETS,
    apply_augmentation,
    augment,
    check_augmentation,
    draw_augmentation,
    resolve_augmentation,
)
from mlcompare.data.corruption import corrupt_splits
from mlcompare.data.dataset import Dataset, DatasetSpec, list_datasets, load_dataset, register_dataset
from mlcompare.data.sampling import SAMPLERS, check_sampler, pk_batches
from mlcompare.data.splits import PROTOCOLS, Fold, Splits, draw_splits

__all__ = [
    "AUGMENTATIONS",
    "PRESETS",
    "PROTOCOLS",
    "SAMPLERS",
    "Dataset",
    "DatasetSpec",
    "Fold",
    "Splits",
    "apply_augmentation",
    "augment",
    "check_augmentation",
    "check_sampler",
    "corrupt_splits",
    "digits",
    "draw_augmentation",
    "draw_splits",
    "faces",
    "features",
    "folder",
    "glyphs",
    "idx",
    "image_list",
    "list_datasets",
    "load_dataset",
    "pk_batches",
    "register_dataset",
    "resolve_augmentation",
]
