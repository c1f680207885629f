"""The table of rules against the numbers of the derivation, and against Kronecker products."""

import numpy as np
import pytest

from kexian_utils.bert import rules

rng = np.random.default_rng(0)
ROOT = np.sqrt(2)
# Equations (6) to (8) for k = 2, written out.
FOR_TWO = {
    "token_embedding": 1 / ROOT,
    "position_embedding": 1 / ROOT,
    "segment_embedding": 1 / ROOT,
    "layer_norm_gain": 1 / ROOT,
    "layer_norm_offset": 1 / ROOT,
    "query_kernel": 2**0.25 / 2,
    "query_bias": 2**-0.25,
    "key_kernel": 2**0.25 / 2,
    "key_bias": 2**-0.25,
    "value_kernel": 1 / 2,
    "value_bias": 1 / ROOT,
    "attention_output_kernel": 1 / 2,
    "attention_output_bias": 1 / ROOT,
    "intermediate_kernel": 1 / ROOT,
    "intermediate_bias": 1,
    "output_kernel": 1 / (2 * ROOT),
    "output_bias": 1 / ROOT,
    "pooler_kernel": 1 / ROOT,
    "pooler_bias": 1,
    "mlm_kernel": 1 / ROOT,
    "mlm_bias": 1,
    "logit_bias": 1,
    "pooled_classifier_kernel": 1 / 2,
    "token_classifier_kernel": 1 / ROOT,
    "classifier_bias": 1,
}
MORE_HEADS = {"query_kernel": 1 / ROOT, "query_bias": 1, "key_kernel": 1 / ROOT, "key_bias": 1}
HOMOGENEOUS = {"intermediate_kernel": 1 / 2, "intermediate_bias": 1 / ROOT, "output_kernel": 1 / 2}


@pytest.mark.parametrize(
    ("arguments", "changes"),
    [
        ({}, {}),
        ({"heads": "more"}, MORE_HEADS),
        ({"activation": "homogeneous"}, HOMOGENEOUS),
        ({"heads": "more", "activation": "homogeneous"}, MORE_HEADS | HOMOGENEOUS),
    ],
)
def test_scales_for_factor_two(arguments, changes):
    table = rules.width_rules(2, **arguments)
    assert {name: rule.scale for name, rule in table.items()} == pytest.approx(FOR_TWO | changes)


@pytest.mark.parametrize("heads", rules.HEADS)
def test_axes_that_repeat(heads):
    table = rules.width_rules(3, heads)
    attention = (1, 3) if heads == "wider" else (3, 1)
    for name in ("query", "key", "value"):
        assert table[f"{name}_kernel"].repeats == (3, *attention)
        assert table[f"{name}_bias"].repeats == attention
    assert table["attention_output_kernel"].repeats == (*attention, 3)
    assert table["token_embedding"].repeats == (1, 3)
    assert table["logit_bias"].repeats == (1,)
    assert table["pooled_classifier_kernel"].repeats == (3, 1)
    assert table["query_kernel"].copies == 9
    assert table["layer_norm_gain"].copies == 3


def test_factor_one_changes_nothing():
    for rule in rules.width_rules(1, "more").values():
        assert set(rule.repeats) == {1}
        assert rule.scale == 1


@pytest.mark.parametrize("heads", rules.HEADS)
def test_every_expanded_tensor_is_a_kronecker_product(heads):
    for name, rule in rules.width_rules(3, heads).items():
        tensor = rng.normal(size=(2, 4, 5)[: len(rule.axes)])
        expected = np.kron(tensor, np.full(rule.repeats, rule.scale))
        np.testing.assert_allclose(rules.expand_tensor(tensor, rule), expected, err_msg=name)


def test_type_is_kept_and_half_precision_is_rounded_once():
    rule = rules.width_rules(2)["query_kernel"]
    for dtype, units in (("float16", 0.51), ("float32", 1.01), ("float64", 1.01)):
        tensor = rng.normal(size=(4, 2, 3)).astype(dtype)
        large = rules.expand_tensor(tensor, rule)
        assert large.dtype == dtype
        exact = np.repeat(np.repeat(tensor.astype(float), 2, 0), 2, 2) * rule.scale
        np.testing.assert_allclose(large, exact, rtol=units * np.finfo(dtype).eps)


def test_bad_input():
    for factor in (0, -1, 1.5, 2.0, True, "2", None):
        with pytest.raises(ValueError, match="factor must be a whole number of at least 1, got"):
            rules.width_rules(factor)
    assert rules.check_factor(np.int64(3)) == 3
    with pytest.raises(ValueError, match="heads must be one of"):
        rules.width_rules(2, "many")
    with pytest.raises(ValueError, match="activation must be"):
        rules.width_rules(2, activation="relu")
    with pytest.raises(ValueError, match=r"axes \('model', 'hidden'\), got shape \(3,\)"):
        rules.expand_tensor(np.zeros(3), rules.width_rules(2)["intermediate_kernel"])
