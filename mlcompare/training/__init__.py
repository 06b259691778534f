"""Training: a job in, a result out."""

from mlcompare.training.job import (
    BASELINES,
    EncoderConfig,
    TrainingConfig,
    TrainingData,
    TrainingJob,
    TrainingResult,
    derive_seed,
    is_fitted,
)
from mlcompare.training.loop import train
from mlcompare.training.scoring import run_baseline

__all__ = [
    "BASELINES",
    "EncoderConfig",
    "TrainingConfig",
    "TrainingData",
    "TrainingJob",
    "TrainingResult",
    "derive_seed",
    "is_fitted",
    "run_baseline",
    "train",
]
