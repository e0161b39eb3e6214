"""Evaluation: questions, decisions by the one rule, and lists of who can."""

from govern.access.evaluation.callers import Credentials
from govern.access.evaluation.deciding import answer, decide, decide_many
from govern.access.evaluation.facts import evaluate, evaluate_many
from govern.access.evaluation.listing import Found, Reach, search
from govern.access.evaluation.questions import REASONS, Decision, Question

__all__ = [
    "REASONS",
    "Credentials",
    "Decision",
    "Found",
    "Question",
    "Reach",
    "answer",
    "decide",
    "decide_many",
    "evaluate",
    "evaluate_many",
    "search",
]
