"""Where a study searches the numbers of pytorch-metric-learning's losses: declared here once, by class and argument.

Units are the library's: margins of its angular losses are degrees. The ranges are those of our own losses where there
is one for the same formula, else a decade or so around the library's default. A number that isn't here is fixed at the
library's default unless a study says otherwise.
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["RANGES", "NumberRange"]


class NumberRange(NamedTuple):
    """A range, and how it is searched."""

    low: float
    high: float
    log: bool = False
    integer: bool = False

    def declared(self) -> dict[str, Any]:
        """Return what a hyperparameter is declared with."""
        return self._asdict()


DEGREES = NumberRange(2.0, 45.0)
COSINE = NumberRange(0.0, 0.5)
SCALE = NumberRange(4.0, 128.0, log=True)
FROM_ONE = NumberRange(1.0, 128.0, log=True)
TEMPERATURE = NumberRange(0.01, 1.0, log=True)
NEAR, FAR = NumberRange(0.0, 0.3), NumberRange(0.3, 1.5)
PAIR = {"pos_margin": NEAR, "neg_margin": FAR}
MULTIPLE = NumberRange(1, 4, integer=True)
AROUND_ONE = NumberRange(0.1, 10.0, log=True)

RANGES: dict[str, dict[str, NumberRange]] = {
    "AngularLoss": {"alpha": NumberRange(30.0, 60.0)},
    "ArcFaceLoss": {"margin": DEGREES, "scale": SCALE},
    "CircleLoss": {"m": NumberRange(0.05, 0.5), "gamma": NumberRange(16.0, 512.0, log=True)},
    "ContrastiveLoss": PAIR,
    "CosFaceLoss": {"margin": COSINE, "scale": SCALE},
    "DynamicSoftMarginLoss": {"momentum": NumberRange(1e-3, 0.5, log=True)},
    "FastAPLoss": {"num_bins": NumberRange(5, 50, integer=True)},
    "GeneralizedLiftedStructureLoss": PAIR,
    "InstanceLoss": {"gamma": SCALE},
    "IntraPairVarianceLoss": dict.fromkeys(("pos_eps", "neg_eps"), NumberRange(1e-3, 0.1, log=True)),
    "LargeMarginSoftmaxLoss": {"margin": MULTIPLE, "scale": FROM_ONE},
    "LiftedStructureLoss": PAIR,
    "ManifoldLoss": {
        "lambdaC": AROUND_ONE, "alpha": NumberRange(0.5, 0.99), "margin": NumberRange(1e-4, 0.1, log=True),
    },
    "MarginLoss": {"margin": NumberRange(0.05, 0.5), "beta": NumberRange(0.6, 1.5)},
    "MultiSimilarityLoss": {
        "alpha": NumberRange(0.5, 20.0, log=True), "beta": NumberRange(5.0, 100.0, log=True),
        "base": NumberRange(0.0, 1.0),
    },
    "NCALoss": {"softmax_scale": FROM_ONE},
    "NTXentLoss": {"temperature": TEMPERATURE},
    "NormalizedSoftmaxLoss": {"temperature": TEMPERATURE},
    "PNPLoss": {"anneal": NumberRange(1e-3, 0.1, log=True)},
    "ProxyAnchorLoss": {"margin": COSINE, "alpha": NumberRange(8.0, 64.0, log=True)},
    "ProxyNCALoss": {"softmax_scale": FROM_ONE},
    "RankedListLoss": {"imbalance": NumberRange(0.0, 1.0)},
    "SignalToNoiseRatioContrastiveLoss": PAIR,
    "SmoothAPLoss": {"temperature": NumberRange(1e-3, 0.1, log=True)},
    "SoftTripleLoss": {
        "centers_per_class": NumberRange(2, 20, integer=True), "la": NumberRange(4.0, 64.0, log=True),
        "gamma": NumberRange(0.01, 1.0, log=True), "margin": NumberRange(0.0, 0.1),
    },
    "SphereFaceLoss": {"margin": MULTIPLE, "scale": FROM_ONE},
    "SubCenterArcFaceLoss": {"margin": DEGREES, "scale": SCALE, "sub_centers": NumberRange(2, 5, integer=True)},
    "SupConLoss": {"temperature": TEMPERATURE},
    "ThresholdConsistentMarginLoss": {
        "lambda_plus": AROUND_ONE, "lambda_minus": AROUND_ONE, "margin_plus": NumberRange(0.5, 1.0),
        "margin_minus": NumberRange(0.0, 0.7),
    },
    "TripletMarginLoss": {"margin": NumberRange(0.0, 0.5)},
    "TupletMarginLoss": {"margin": NumberRange(1.0, 20.0), "scale": SCALE},
    "VICRegLoss": {
        "invariance_lambda": NumberRange(1.0, 50.0, log=True), "variance_mu": NumberRange(1.0, 50.0, log=True),
        "covariance_v": AROUND_ONE,
    },
}  # fmt: skip
