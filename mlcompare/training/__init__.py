"""Training: a job in, a result out."""

from mlcompare.training.baselines import baselines_of, run_baseline
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
from mlcompare.training.trained import Trained, restore

__all__ = [
    "BASELINES",
    "EncoderConfig",
    "Trained",
    "TrainingConfig",
    "TrainingData",
    "TrainingJob",
    "TrainingResult",
    "baselines_of",
    "derive_seed",
    "is_fitted",
    "restore",
    "run_baseline",
    "train",
]
