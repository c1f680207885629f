"""GAN-QP: the divergence against brute force, the losses against the formula; once more on JAX."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

from kexian_utils.generative.quadratic_potential import qp_divergence

keras = pytest.importorskip("keras")
from keras import ops  # noqa: E402

from kexian_utils import autodiff, losses  # noqa: E402

pytestmark = pytest.mark.backends


def drawn(seed, n=4):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 2))
    return *rng.dirichlet(np.ones(n), 2), cdist(points, points)


def by_search(p, q, dist, lam, critic):
    """The supremum by BFGS over all entries of the critic."""
    n = len(p)
    safe = dist + np.eye(n)

    def loss(flat):
        if critic == "binary":
            scores = flat.reshape(n, n)
            t = scores - scores.T
        else:
            t = flat[:, None] - flat[None]
        return -np.sum(np.outer(p, q) * (t - t**2 / (2 * lam * safe)))

    start = np.zeros(n * n if critic == "binary" else n)
    return -minimize(loss, start, method="BFGS", options={"gtol": 1e-9}).fun


@pytest.mark.parametrize("critic", ["binary", "unary"])
@pytest.mark.parametrize("seed", range(3))
def test_divergence_by_search(critic, seed):
    p, q, dist = drawn(seed)
    found = qp_divergence(p, q, dist, 1.7, critic)
    assert found.value == pytest.approx(by_search(p, q, dist, 1.7, critic), rel=1e-5)
    t, safe = found.difference, dist + np.eye(4)
    at_critic = np.sum(np.outer(p, q) * (t - t**2 / (2 * 1.7 * safe)))
    assert at_critic == pytest.approx(found.value, rel=1e-9)  # the critic attains it
    np.testing.assert_allclose(t, -t.T, atol=1e-12)


def test_divergence_of_equal_and_of_single_points():
    p, _, dist = drawn(5)
    for critic in ("binary", "unary"):
        assert qp_divergence(p, p, dist, 1.0, critic).value == pytest.approx(0, abs=1e-12)
        one, two = np.eye(4)[:2]
        found = qp_divergence(one, two, dist, 3.0, critic).value
        assert found == pytest.approx(1.5 * dist[0, 1])
        assert qp_divergence(one, one, dist, 3.0, critic).value == pytest.approx(0, abs=1e-12)
    assert qp_divergence([1.0], [1.0], [[0.0]], critic="unary").value == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [({"p": [0.5, 0.6]}, "p must"), ({"q": [-0.5, 1.5]}, "q must"), ({"p": [1.0]}, "shape"),
     ({"dist": [[0, 1], [2, 0]]}, "symmetric"), ({"dist": [[0, -1], [-1, 0]]}, "positive"),
     ({"dist": [[1, 1], [1, 0]]}, "diagonal"), ({"dist": [0, 1]}, "shape"),
     ({"dist": [[0, 0], [0, 0]]}, "positive"), ({"lam": 0.0}, "lam"),
     ({"critic": "ternary"}, "critic")],
)  # fmt: skip
def test_bad_input_is_refused(change, message):
    given = {"p": [0.5, 0.5], "q": [0.2, 0.8], "dist": [[0, 1], [1, 0]]} | change
    with pytest.raises(ValueError, match=message):
        qp_divergence(**given)


def test_losses_are_the_formula():
    rng = np.random.default_rng(0)
    t, d = rng.normal(size=(5, 3)), rng.random((5, 3)) + 0.1
    wanted = -t + t**2 / (2 * 0.7 * d)
    found = losses.qp_critic_loss(t, d, 0.7)
    np.testing.assert_allclose(ops.convert_to_numpy(found), wanted, rtol=1e-5)
    assert float(losses.QPCriticLoss(0.7)(d, t)) == pytest.approx(wanted.mean(), rel=1e-5)
    assert float(losses.qp_generator_loss(t)) == pytest.approx(t.mean(), rel=1e-5)


def test_a_distance_of_zero_has_a_finite_loss_and_gradient():
    t = ops.convert_to_tensor(np.array([0.0, 0.5, 1.0], "float32"))
    d = np.array([0.0, 0.0, 1e-30], "float32")
    slope = autodiff.gradient(lambda v: ops.sum(losses.qp_critic_loss(v, d)[:2]))(t)
    assert np.isfinite(ops.convert_to_numpy(slope)).all()
    assert ops.convert_to_numpy(losses.qp_critic_loss(t, d))[:2].tolist() == [0.0, 0.0]


def test_shapes_and_scale_are_checked():
    with pytest.raises(ValueError, match="one shape"):
        losses.qp_critic_loss(np.ones(3), np.ones((3, 1)))
    for lam in (0, -1, float("inf")):
        with pytest.raises(ValueError, match="lam"):
            losses.QPCriticLoss(lam)
