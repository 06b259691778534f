"""mlcompare: fair, tuned comparison of metric-learning and classification-margin losses.

The public names; each is imported on first use, so that light commands stay light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_homes = {
    "Hyperparameter": "registry",
    "LossSpec": "registry",
    "Option": "registry",
    "create_loss": "registry",
    "list_losses": "registry",
    "register_loss": "registry",
    "MLCompareError": "errors",
    "evaluate_embeddings": "evaluation",
    "run_study": "study",
    "load_results": "comparison",
    "compare": "comparison",
}
__all__ = [
    "Hyperparameter",
    "LossSpec",
    "MLCompareError",
    "Option",
    "__version__",
    "compare",
    "create_loss",
    "evaluate_embeddings",
    "list_losses",
    "load_results",
    "register_loss",
    "run_study",
]

if TYPE_CHECKING:
    from mlcompare.comparison import compare, load_results
    from mlcompare.errors import MLCompareError
    from mlcompare.evaluation import evaluate_embeddings
    from mlcompare.registry import Hyperparameter, LossSpec, Option, create_loss, list_losses, register_loss
    from mlcompare.study import run_study


def __getattr__(name: str):
    if name in _homes:
        value = getattr(importlib.import_module(f"{__name__}.{_homes[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
