"""mlcompare: fair, tuned comparison of metric-learning and classification-margin losses.

The public names; each is imported on first use, so that light commands stay light.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mlcompare.lazy_names import lazy_names

__version__ = "0.2.0"

if sys.platform == "win32":
    raise ImportError("mlcompare runs on Linux and macOS: its workers need `forkserver`; on Windows use it inside WSL")

_homes = {
    "Assignment": "training",
    "Dataset": "data",
    "Hyperparameter": "registry",
    "LossSpec": "registry",
    "MLCompareError": "errors",
    "Option": "registry",
    "as_dataset": "data",
    "compare": "comparison",
    "create_loss": "registry",
    "evaluate_embeddings": "evaluation",
    "list_losses": "registry",
    "load_results": "comparison",
    "register_augmentation": "data",
    "register_baseline": "training",
    "register_dataset": "data",
    "register_encoder": "encoders",
    "register_loss": "registry",
    "register_metric": "metrics",
    "register_optimizer": "training",
    "register_sampler": "data",
    "register_schedule": "training",
    "register_trainer": "training",
    "register_wrapper": "registry",
    "run_study": "study",
}
__all__ = [
    "Assignment",
    "Dataset",
    "Hyperparameter",
    "LossSpec",
    "MLCompareError",
    "Option",
    "__version__",
    "as_dataset",
    "compare",
    "create_loss",
    "evaluate_embeddings",
    "list_losses",
    "load_results",
    "register_augmentation",
    "register_baseline",
    "register_dataset",
    "register_encoder",
    "register_loss",
    "register_metric",
    "register_optimizer",
    "register_sampler",
    "register_schedule",
    "register_trainer",
    "register_wrapper",
    "run_study",
]

if TYPE_CHECKING:
    from mlcompare.comparison import compare, load_results
    from mlcompare.data import Dataset, as_dataset, register_augmentation, register_dataset, register_sampler
    from mlcompare.encoders import register_encoder
    from mlcompare.errors import MLCompareError
    from mlcompare.evaluation import evaluate_embeddings
    from mlcompare.metrics import register_metric
    from mlcompare.registry import (
        Hyperparameter,
        LossSpec,
        Option,
        create_loss,
        list_losses,
        register_loss,
        register_wrapper,
    )
    from mlcompare.study import run_study
    from mlcompare.training import (
        Assignment,
        register_baseline,
        register_optimizer,
        register_schedule,
        register_trainer,
    )

__getattr__, __dir__ = lazy_names(__name__, _homes)
