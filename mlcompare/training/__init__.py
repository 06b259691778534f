"""Training: a job in, a result out."""

from mlcompare.training.baselines import baselines_of, run_baseline
from mlcompare.training.config import TrainingConfig
from mlcompare.training.job import (
    BASELINES,
    EncoderConfig,
    TrainingData,
    TrainingJob,
    TrainingResult,
    artifact_path,
    derive_seed,
    is_fitted,
    job_key,
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
    "artifact_path",
    "baselines_of",
    "derive_seed",
    "is_fitted",
    "job_key",
    "restore",
    "run_baseline",
    "train",
]
