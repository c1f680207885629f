"""Profiles, seeds, backends and claims: what every notebook calls in its set-up cell.

from kexian_utils import experiment
exp = experiment.start(6992, profile=profile, seed=seed)
exp.check("C1", error, experiment.below(1e-10), sentence="…", kind="theorem")
exp.finish()
"""

from kexian_utils.experiment.criteria import (
    Criterion,
    at_least,
    at_most,
    below,
    between,
    close_to,
    equal_to,
    is_true,
)
from kexian_utils.experiment.run import ClaimMissed, Experiment, start

__all__ = [
    "ClaimMissed",
    "Criterion",
    "Experiment",
    "at_least",
    "at_most",
    "below",
    "between",
    "close_to",
    "equal_to",
    "is_true",
    "start",
]
