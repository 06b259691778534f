"""What a hostile reviewer would ask of a finished study: its leaders again, under other conditions."""

from mlcompare.challenge.judge import Outcome, judge, summary
from mlcompare.challenge.leaders import Leaders, find_leaders
from mlcompare.challenge.run import challenge_store
from mlcompare.challenge.variants import Variant, variants

__all__ = [
    "Leaders", "Outcome", "Variant", "challenge_store", "find_leaders", "judge", "summary",
    "variants",
]  # fmt: skip
