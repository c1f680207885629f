"""When the tests of all that is numerical run on JAX, too: if one of these rooms was touched."""

import pytest

NUMERICAL = pytest.mark.in_turn(
    "kexian_utils/activations.py",
    "kexian_utils/autodiff.py",
    "kexian_utils/callbacks.py",
    "kexian_utils/regularizers.py",
    "kexian_utils/statistics.py",
    "kexian_utils/foundations",
    "kexian_utils/generative",
    "kexian_utils/language",
    "kexian_utils/layers",
    "kexian_utils/losses",
    "kexian_utils/mathematics",
    "kexian_utils/models",
    "kexian_utils/optimisation",
    "kexian_utils/optimizers",
    "kexian_utils/robustness",
    "kexian_utils/training",
    "kexian_utils/transformers",
    phase="jax",
)
EVERYTHING = pytest.mark.in_turn(
    *NUMERICAL.args, "kexian_utils/bert", "kexian_utils/qa", phase="jax"
)
