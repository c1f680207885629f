"""The self-terminating output against a loop in float64, and its floor."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras import ops  # noqa: E402

from kexian_utils.layers import SelfTerminating  # noqa: E402

pytestmark = pytest.mark.backends


def by_hand(hidden, kernel, bias, end, epsilon, mask):
    """Equation (5), step by step."""
    found = np.zeros((*hidden.shape[:2], len(bias)))
    for i, text in enumerate(hidden):
        alpha = 1.0
        for t, h in enumerate(text):
            z = h @ kernel + bias
            if mask[i, t]:
                alpha *= (1 - epsilon) / (1 + np.exp(-z[end]))
            words = np.exp(np.delete(z, end))
            found[i, t] = np.insert(alpha * words / words.sum(), end, 1 - alpha)
    return found


@pytest.mark.parametrize(("end", "epsilon"), [(0, 0.3), (4, 1e-3)])
def test_against_a_loop(end, epsilon):
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(3, 6, 2)).astype("float32")
    mask = np.arange(6) < np.array([[6], [3], [1]])
    layer = SelfTerminating(5, end, epsilon)
    found = np.exp(ops.convert_to_numpy(layer(hidden, mask=ops.convert_to_tensor(mask))))
    kernel, bias = (ops.convert_to_numpy(w).astype("float64") for w in layer.weights)
    expected = by_hand(hidden.astype("float64"), kernel, bias, end, epsilon, mask)
    np.testing.assert_allclose(found[mask], expected[mask], rtol=2e-5)
    np.testing.assert_allclose(found[mask].sum(axis=-1), 1, rtol=1e-5)
    floor = 1 - (1 - epsilon) ** np.arange(1, 7)
    assert (found[0, :, end] >= floor - 1e-6).all()
    assert (np.diff(found[0, :, end]) >= -1e-6).all()


@pytest.mark.parametrize("size", [1e3, -1e3])
def test_large_scores_stay_finite(size):
    layer = SelfTerminating(3, 2, 1e-3)
    layer.build((1, 8, 1))
    layer.kernel.assign(np.full((1, 3), size))
    found = ops.convert_to_numpy(layer(np.ones((1, 8, 1), "float32")))
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"units": 1, "end": 0}, "units"),
        ({"units": 3, "end": 3}, "end"),
        ({"units": 3, "end": 0, "epsilon": 0.0}, "epsilon"),
        ({"units": 3, "end": 0, "survival": 1.0}, "survival"),
    ],
)
def test_bad_input(options, words):
    with pytest.raises(ValueError, match=words):
        SelfTerminating(**options)


def test_a_text_has_places():
    with pytest.raises(ValueError, match="batch, time, d"):
        SelfTerminating(3, 0).build((2, 3))
