"""The recurrent cells of article 5643, against closed forms and SciPy."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy.integrate import solve_ivp

from kexian_utils.layers import EulerCell, RungeKuttaCell

pytestmark = pytest.mark.backends


def decay(x, u):
    return -x


def solution(cell, count, start, inputs=None):
    network = keras.layers.RNN(cell, return_sequences=True)
    inputs = np.zeros((len(start), count, 1), "float32") if inputs is None else inputs
    return ops.convert_to_numpy(network(inputs, initial_state=[ops.convert_to_tensor(start)]))


@pytest.mark.parametrize(
    ("kind", "factor"),
    [(EulerCell, 0.8), (RungeKuttaCell, sum((-0.2) ** k / [1, 1, 2, 6, 24][k] for k in range(5)))],
)
def test_a_linear_equation_is_a_power(kind, factor):
    start = np.array([[1.0, -2.0], [0.5, 3.0]], "float32")
    states = solution(kind(decay, 0.2, 2), 6, start)
    expected = start[:, None] * factor ** np.arange(1, 7)[:, None]
    np.testing.assert_allclose(states, expected, rtol=1e-5)


def test_a_driven_equation_agrees_with_scipy():
    """The input of a step is held: a forcing that is constant is followed exactly."""
    start, forcing = np.array([[0.0]], "float32"), np.full((1, 40, 1), 2.0, "float32")
    states = solution(RungeKuttaCell(lambda x, u: u - x * x, 0.05, 1), 40, start, forcing)
    times = 0.05 * np.arange(1, 41)
    exact = solve_ivp(lambda t, x: 2 - x * x, (0, 2), [0.0], t_eval=times, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(states[0, :, 0], exact.y[0], atol=2e-6)


@pytest.mark.parametrize("kind", [EulerCell, RungeKuttaCell])
def test_weights_of_a_layer_as_right_hand_side_are_trained(kind):
    """x' = w x with w from data: the network finds the growth rate that its steps mean."""

    class Growth(keras.layers.Layer):
        def build(self, shape):
            self.w = self.add_weight(name="w", shape=(), initializer="zeros")

        def call(self, x, u):
            return self.w * x

    state, zeros = keras.Input((1,)), keras.Input((5, 1))
    network = keras.layers.RNN(kind(Growth(), 0.2, 1), return_sequences=True)
    model = keras.Model([state, zeros], network(zeros, initial_state=[state]))
    model.compile(keras.optimizers.Adam(0.1), "mse")
    x = [np.ones((8, 1), "float32"), np.zeros((8, 5, 1), "float32")]
    y = np.exp(0.5 * 0.2 * np.arange(1, 6))[None, :, None].repeat(8, 0).astype("float32")
    model.fit(x, y, epochs=150, verbose=0)
    (w,) = model.get_weights()
    expected = np.expm1(0.1) / 0.2 if kind is EulerCell else 0.5
    assert abs(float(w) - expected) < 2e-3


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((3, 0.1, 2), TypeError, "rhs must be"),
        ((decay, "1", 2), TypeError, "step_size must be"),
        ((decay, True, 2), TypeError, "step_size must be"),
        ((decay, 0.0, 2), ValueError, "step_size must be"),
        ((decay, float("nan"), 2), ValueError, "step_size must be"),
        ((decay, 0.1, 0), ValueError, "num_states must be"),
    ],
)
def test_what_is_refused(arguments, error, words):
    for kind in (EulerCell, RungeKuttaCell):
        with pytest.raises(error, match=words):
            kind(*arguments)


def test_a_right_hand_side_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"rhs must return shape \(batch, 2\)"):
        EulerCell(lambda x, u: x[:, :1], 0.1, 2)(np.zeros((3, 1)), [ops.ones((3, 2))])
