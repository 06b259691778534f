"""Equal seconds: each loss is read where it stands when the fastest one is done."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mlcompare.comparison import time_matched


def table(metric: str, curves: dict[str, tuple[float, list[float]]], steps=(10, 20, 40)) -> pd.DataFrame:
    rows = []
    for loss, (seconds, values) in curves.items():
        for fold in range(2):
            common = {"loss": loss, "source": "selected", "fold": fold, "seed": 0, "trial": 3, "metric": metric}
            common |= {"status": "ok"}
            spread = 0.01 * (fold - 0.5)
            rows.append({**common, "kind": "final", "split": "test", "value": 0.5, "seconds": seconds, "step": 40})
            rows += [
                {**common, "kind": "curve", "split": "validation", "value": value + spread, "step": step}
                for step, value in zip(steps, values)
            ]
    return pd.DataFrame(rows)


def test_a_slow_loss_is_read_earlier() -> None:
    found = time_matched(table("map_at_r", {"slow": (4.0, [0.2, 0.5, 0.9]), "fast": (1.0, [0.1, 0.2, 0.3]),
                                            "half": (2.0, [0.3, 0.35, 0.4])}))  # fmt: skip
    found = found.set_index("loss")
    assert found["step"].to_dict() == pytest.approx({"fast": 40, "half": 20, "slow": 10})
    assert found["value"].to_dict() == pytest.approx({"fast": 0.3, "half": 0.35, "slow": 0.2})
    assert found["rank"].to_dict() == {"half": 1, "fast": 2, "slow": 3}
    assert found["rank_at_end"].to_dict() == {"slow": 1, "half": 2, "fast": 3}


def test_between_two_points_the_curve_is_straight() -> None:
    found = time_matched(table("map_at_r", {"a": (3.0, [0.0, 0.3, 0.9]), "b": (4.0, [0.0, 0.3, 0.9])}))
    assert found.set_index("loss").loc["b", "value"] == pytest.approx(0.3 + 0.6 / 2)


def test_smaller_is_better_and_too_early_is_said() -> None:
    found = time_matched(table("eer", {"a": (1.0, [0.3, 0.2, 0.1]), "b": (8.0, [0.2, 0.1, 0.05])})).set_index("loss")
    assert np.isnan(found.loc["b", "value"]), "40 / 8 steps come before the first measured ones"
    assert found["rank"].to_dict() == {"a": 1, "b": 2}
    assert found["rank_at_end"].to_dict() == {"b": 1, "a": 2}


def test_a_table_without_curves_has_no_answer() -> None:
    rows = table("map_at_r", {"a": (1.0, [0.1, 0.2, 0.3])})
    assert time_matched(rows[rows["kind"] == "final"]).empty
