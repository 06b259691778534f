"""Datasets, splits and batches."""

from mlcompare.data import (
    cars196,
    cub200,
    digits,
    faces,
    features,
    folder,
    glyphs,
    idx,
    image_list,
    omniglot,
    sop,
    triplet_list,
)
from mlcompare.data.adapt import as_dataset
from mlcompare.data.augment import (
    AUGMENTATIONS,
    PRESETS,
    apply_augmentation,
    augment,
    check_augmentation,
    draw_augmentation,
    register_augmentation,
    resolve_augmentation,
)
from mlcompare.data.corruption import corrupt_splits
from mlcompare.data.dataset import DATASETS, Dataset, DatasetSpec, list_datasets, load_dataset, register_dataset
from mlcompare.data.pairs import Pairs, read_pairs, with_pairs
from mlcompare.data.sampling import SAMPLERS, check_sampler, pk_batches, register_sampler
from mlcompare.data.splits import PROTOCOLS, Fold, Splits, draw_splits
from mlcompare.data.validation_sample import bound_validation, sample_hash

__all__ = [
    "AUGMENTATIONS",
    "DATASETS",
    "PRESETS",
    "PROTOCOLS",
    "SAMPLERS",
    "Dataset",
    "DatasetSpec",
    "Fold",
    "Pairs",
    "Splits",
    "apply_augmentation",
    "as_dataset",
    "augment",
    "bound_validation",
    "cars196",
    "check_augmentation",
    "check_sampler",
    "corrupt_splits",
    "cub200",
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
    "omniglot",
    "pk_batches",
    "read_pairs",
    "register_augmentation",
    "register_dataset",
    "register_sampler",
    "resolve_augmentation",
    "sample_hash",
    "sop",
    "triplet_list",
    "with_pairs",
]
