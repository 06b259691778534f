"""Training: a job in, a result out."""

from mlcompare.training.baselines import BASELINES, baselines_of, is_fitted, register_baseline, run_baseline
from mlcompare.training.config import TrainingConfig
from mlcompare.training.job import (
    OUT_OF_MEMORY,
    EncoderConfig,
    TrainingData,
    TrainingJob,
    TrainingResult,
    artifact_path,
    derive_seed,
    job_key,
)
from mlcompare.training.loop import train
from mlcompare.training.optimizers import register_optimizer, register_schedule
from mlcompare.training.trained import Trained, restore
from mlcompare.training.trainers import Assignment, register_trainer

__all__ = [
    "BASELINES",
    "OUT_OF_MEMORY",
    "Assignment",
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
    "register_baseline",
    "register_optimizer",
    "register_schedule",
    "register_trainer",
    "restore",
    "run_baseline",
    "train",
]
