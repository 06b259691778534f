"""Statistics on the results table: which losses lead, how sure that is, and what tuning bought."""

from mlcompare.comparison.bootstrap import bootstrap_means, interval, probability_of_beating
from mlcompare.comparison.bounds import at_bound, wider_range
from mlcompare.comparison.compare import Comparison, compare
from mlcompare.comparison.critical_difference import CriticalDifference, critical_difference, scores_by_study
from mlcompare.comparison.effects import effects
from mlcompare.comparison.family import Contrast, FamilyAnswer, contrast, family_answer
from mlcompare.comparison.importance import importance, trial_settings
from mlcompare.comparison.pairwise import pairwise
from mlcompare.comparison.permutation import holm, sign_flip_test
from mlcompare.comparison.power import Separation, runs_to_separate
from mlcompare.comparison.still_rising import LearningCurve, learning_curves, still_rising
from mlcompare.comparison.stored import load_spaces
from mlcompare.comparison.table import Scores, choose_metric, load_per_class, load_results, score_array
from mlcompare.comparison.trials import BudgetSensitivity, best_so_far, budget_sensitivity, trial_scores
from mlcompare.comparison.tunability import tunability

__all__ = [
    "BudgetSensitivity",
    "Comparison",
    "Contrast",
    "CriticalDifference",
    "FamilyAnswer",
    "LearningCurve",
    "Scores",
    "Separation",
    "at_bound",
    "best_so_far",
    "bootstrap_means",
    "budget_sensitivity",
    "choose_metric",
    "compare",
    "contrast",
    "critical_difference",
    "effects",
    "family_answer",
    "holm",
    "importance",
    "interval",
    "learning_curves",
    "load_per_class",
    "load_results",
    "load_spaces",
    "pairwise",
    "probability_of_beating",
    "runs_to_separate",
    "score_array",
    "scores_by_study",
    "sign_flip_test",
    "still_rising",
    "trial_scores",
    "trial_settings",
    "tunability",
    "wider_range",
]
