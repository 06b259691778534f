"""Statistics on the results table: which losses lead, how sure that is, and what tuning bought."""

from mlcompare.comparison.bounds import at_bound, wider_range
from mlcompare.comparison.compare import Comparison, compare
from mlcompare.comparison.correction import holm, simultaneous_intervals
from mlcompare.comparison.critical_difference import CriticalDifference, critical_difference, scores_by_study
from mlcompare.comparison.family import Contrast, FamilyAnswer, contrast, family_answer
from mlcompare.comparison.importance import importance, trial_settings
from mlcompare.comparison.mean_squares import mean_squares
from mlcompare.comparison.next_steps import next_steps
from mlcompare.comparison.pairwise import pairwise, probability_of_beating
from mlcompare.comparison.past_best import Decline, decline
from mlcompare.comparison.power import Separation, runs_to_separate, smallest_difference, variances_of
from mlcompare.comparison.random_effects import Means, Spread, bounded_intervals, means
from mlcompare.comparison.sentences import leader_sentence
from mlcompare.comparison.still_rising import LearningCurve, learning_curves, still_rising
from mlcompare.comparison.stored import load_spaces
from mlcompare.comparison.table import Scores, choose_metric, load_per_class, load_results, score_array
from mlcompare.comparison.time_matched import time_matched
from mlcompare.comparison.trials import BudgetSensitivity, best_so_far, budget_sensitivity, trial_scores
from mlcompare.comparison.tunability import tunability

__all__ = [
    "BudgetSensitivity",
    "Comparison",
    "Contrast",
    "CriticalDifference",
    "Decline",
    "FamilyAnswer",
    "LearningCurve",
    "Means",
    "Scores",
    "Separation",
    "Spread",
    "at_bound",
    "best_so_far",
    "bounded_intervals",
    "budget_sensitivity",
    "choose_metric",
    "compare",
    "contrast",
    "critical_difference",
    "decline",
    "family_answer",
    "holm",
    "importance",
    "leader_sentence",
    "learning_curves",
    "load_per_class",
    "load_results",
    "load_spaces",
    "mean_squares",
    "means",
    "next_steps",
    "pairwise",
    "probability_of_beating",
    "runs_to_separate",
    "score_array",
    "scores_by_study",
    "simultaneous_intervals",
    "smallest_difference",
    "still_rising",
    "time_matched",
    "trial_scores",
    "trial_settings",
    "tunability",
    "variances_of",
    "wider_range",
]
