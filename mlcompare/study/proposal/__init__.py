"""A first study for data that nobody has described: protocol, batch, encoder and budget, with the reason of each."""

from mlcompare.study.proposal.propose import Proposal, propose
from mlcompare.study.proposal.seen import seen
from mlcompare.study.proposal.written import study_text

__all__ = ["Proposal", "propose", "seen", "study_text"]
