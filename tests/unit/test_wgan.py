"""Penalties and the exact critic against closed forms and numerical search; once more on JAX."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import norm

keras = pytest.importorskip("keras")
from keras import ops  # noqa: E402

from kexian_utils import autodiff  # noqa: E402
from kexian_utils.generative import wgan  # noqa: E402
from kexian_utils.training import stacked  # noqa: E402

pytestmark = [pytest.mark.backends, pytest.mark.usefixtures("float64_on_jax")]

RNG = np.random.default_rng(0)
X = RNG.normal(size=(7, 3))
# D(x) = x'Ax/2 + b'x has the gradient Ax + b.
A, B = np.diag([2.0, 1.0, 0.5]), np.array([0.3, -0.2, 0.1])
LENGTHS = np.linalg.norm(X @ A + B, axis=1)
PENALTIES = {
    "two_sided": lambda n, c: (n - c) ** 2,
    "one_sided": lambda n, c: np.maximum(n - c, 0) ** 2,
    "linear": lambda n, c: np.maximum(n - c, 0),
    "zero": lambda n, c: n**2,
}
GRID = np.linspace(-8, 11, 3801)
DELTA = norm.cdf(GRID) - norm.cdf(GRID - 3)
DENSITY = wgan.interpolation_density((0, 1), (3, 1), GRID)


def quadratic(x):
    return ops.sum((ops.matmul(x, A) / 2 + B) * x, axis=-1)


@pytest.mark.parametrize("kind", wgan.KINDS)
@pytest.mark.parametrize("target", [1.0, 0.4])
def test_gradient_penalty_of_a_quadratic(kind, target):
    found = ops.convert_to_numpy(wgan.gradient_penalty(quadratic, X, kind, target))
    assert found.shape == ()
    assert found == pytest.approx(PENALTIES[kind](LENGTHS, target).mean(), rel=1e-9)


def test_scores_may_keep_an_axis_of_one():
    wide = wgan.gradient_penalty(lambda x: quadratic(x)[..., None], X)
    assert float(wide) == pytest.approx(float(wgan.gradient_penalty(quadratic, X)), rel=1e-12)
    pairs = wgan.difference_penalty(lambda x: quadratic(x)[..., None], X, X[::-1].copy())
    plain = wgan.difference_penalty(quadratic, X, X[::-1].copy())
    assert float(pairs) == pytest.approx(float(plain), rel=1e-12)


@pytest.mark.parametrize("kind", wgan.KINDS)
def test_difference_penalty(kind):
    other = X + RNG.normal(size=X.shape)

    def score(x):
        return ((x @ A / 2 + B) * x).sum(axis=1)

    slopes = np.abs(score(X) - score(other)) / np.linalg.norm(X - other, axis=1)
    found = float(wgan.difference_penalty(quadratic, X, other, kind, 0.7))
    assert found == pytest.approx(PENALTIES[kind](slopes, 0.7).mean(), rel=1e-9)


@pytest.mark.parametrize("shape", [(8, 6, 6, 3), (8, 36, 3), (8, 108)])
def test_the_norm_is_that_of_the_whole_sample(shape):
    """A linear critic of images has one slope, whatever axes they are written with."""
    w = RNG.normal(size=108)
    x, other = RNG.normal(size=(2, *shape))

    def critic(v):
        return ops.matmul(ops.reshape(v, (-1, 108)), w[:, None])

    found = float(wgan.gradient_penalty(critic, x))
    assert found == pytest.approx((np.linalg.norm(w) - 1) ** 2, rel=1e-9)
    change = (x - other).reshape(8, 108)
    slopes = np.abs(change @ w) / np.linalg.norm(change, axis=1)
    found = float(wgan.difference_penalty(critic, x, other))
    assert found == pytest.approx(np.mean((slopes - 1) ** 2), rel=1e-9)
    epsilon = RNG.random((8, *(1,) * (len(shape) - 1)))
    between = wgan.interpolate(x, other, epsilon).reshape(8, 108)
    own = epsilon[3] * other[3] + (1 - epsilon[3]) * x[3]
    np.testing.assert_array_equal(between[3], own.ravel())


@pytest.mark.parametrize("kind", wgan.KINDS)
def test_half_precision(kind):
    x = RNG.normal(size=(5, 3)).astype("float16")
    for size in (0.0, 1e-4, 300.0):
        slopes = size * np.array([0.6, 0.8, 0.0])

        def penalty(v, slopes=slopes):
            def critic(u):
                return ops.sum(u * ops.cast(slopes, "float16"), axis=-1)

            return wgan.gradient_penalty(critic, v, kind)

        value, slope = autodiff.value_and_gradient(penalty)(x)
        assert np.isfinite(ops.convert_to_numpy(slope)).all()
        found, expected = float(value), PENALTIES[kind](np.hypot(size, 1e-6), 1.0)
        assert found == pytest.approx(expected, rel=2e-3)


def test_a_stack_has_one_penalty_each():
    critics = stacked.he_normal((3, 5, 1), [np.random.default_rng(s) for s in range(4)])
    x = RNG.normal(size=(4, 6, 3)).astype("float32")
    other = RNG.normal(size=(4, 6, 3)).astype("float32")
    together = wgan.gradient_penalty(lambda v: stacked.mlp_logits(critics, v), x, wgan.KINDS)
    pairs = wgan.difference_penalty(lambda v: stacked.mlp_logits(critics, v), x, other, wgan.KINDS)
    for r, kind in enumerate(wgan.KINDS):
        own = [p[r : r + 1] for p in critics]

        def alone(v, own=own):
            return stacked.mlp_logits(own, v)

        one = wgan.gradient_penalty(alone, x[r : r + 1], kind)
        assert float(together[r]) == pytest.approx(float(one[0]), rel=1e-5)
        two = wgan.difference_penalty(alone, x[r : r + 1], other[r : r + 1], kind)
        assert float(pairs[r]) == pytest.approx(float(two[0]), rel=1e-5)


def test_the_penalty_can_be_trained():
    """Its gradient in the weights against central differences, in float64."""
    weights = RNG.normal(size=(3, 4))

    def penalty(w):
        return wgan.gradient_penalty(lambda x: ops.sum(ops.matmul(x, w) ** 3, -1), X)

    slope = ops.convert_to_numpy(autodiff.gradient(penalty)(weights))
    for i, j in ((0, 0), (2, 3), (1, 2)):
        move = np.zeros_like(weights)
        move[i, j] = 1e-5
        difference = (float(penalty(weights + move)) - float(penalty(weights - move))) / 2e-5
        assert slope[i, j] == pytest.approx(difference, rel=1e-5)


@pytest.mark.parametrize("kind", wgan.KINDS)
def test_finite_where_the_slope_is_zero(kind):
    x = np.zeros((3, 2))

    def penalties(w):
        def critic(v):
            return w * ops.sum(v**2, axis=-1)

        return wgan.gradient_penalty(critic, x, kind) + wgan.difference_penalty(critic, x, x, kind)

    value, slope = autodiff.value_and_gradient(penalties)(np.array(2.0))
    assert np.isfinite(ops.convert_to_numpy(value))
    assert np.isfinite(ops.convert_to_numpy(slope))


def test_interpolates():
    real, fake = RNG.normal(size=(2, 5, 3))
    zeros = np.zeros((5, 1))
    assert np.array_equal(wgan.interpolate(real, fake, zeros), real)
    assert np.array_equal(wgan.interpolate(real, fake, zeros + 1), fake)
    half = wgan.interpolate(real, fake, zeros + 0.25)
    np.testing.assert_allclose(half, 0.75 * real + 0.25 * fake, rtol=1e-15)


def test_density_of_interpolates_against_samples():
    rng = np.random.default_rng(1)
    n = 400_000
    mixed = wgan.interpolate(
        rng.normal(1, 0.5, (n, 1)), rng.normal(-2, 1.5, (n, 1)), rng.random((n, 1))
    )
    grid = np.linspace(-9, 6, 6001)
    density = wgan.interpolation_density((1, 0.5), (-2, 1.5), grid)
    assert np.trapezoid(density, grid) == pytest.approx(1, abs=1e-5)
    for low, high in ((-2, -1), (0, 1), (1, 1.5)):
        inside = (grid >= low) & (grid <= high)
        share = np.mean((mixed >= low) & (mixed <= high))
        assert np.trapezoid(density[inside], grid[inside]) == pytest.approx(share, abs=0.004)


@pytest.mark.parametrize("kind", ["two_sided", "one_sided", "zero"])
@pytest.mark.parametrize("lam", [0.5, 10.0])
def test_optimal_slope_against_search(kind, lam):
    found = wgan.optimal_critic_1d(DELTA, DENSITY, lam, kind, GRID)
    for i in range(1200, 2700, 300):

        def loss(f, i=i):
            return lam * DENSITY[i] * PENALTIES[kind](abs(f), 1) - f * DELTA[i]

        best = minimize_scalar(loss, bounds=(0, 60), method="bounded", options={"xatol": 1e-10})
        assert found.slope[i] == pytest.approx(best.x, rel=1e-4)
    cost = lam * DENSITY * PENALTIES[kind](np.abs(found.slope), 1)
    assert found.gap == pytest.approx(np.trapezoid(found.slope * DELTA, GRID), rel=1e-12)
    assert found.objective == pytest.approx(
        np.trapezoid(found.slope * DELTA - cost, GRID), rel=1e-12
    )


def test_the_side_decides_the_sign():
    there = wgan.optimal_critic_1d(DELTA, DENSITY, 3, "two_sided", GRID)
    back = wgan.optimal_critic_1d(-DELTA, DENSITY, 3, "two_sided", GRID)
    np.testing.assert_array_equal(back.slope, -there.slope)
    assert back.gap == there.gap
    same = wgan.optimal_critic_1d(0 * DELTA, DENSITY, 3, "linear", GRID)
    assert same.gap == same.objective == 0
    assert not same.slope.any()


def test_two_points_at_a_distance():
    """Point masses at 0 and w: delta is 1 and the interpolates are uniform."""
    w, lam = 3.0, 5.0
    grid = np.linspace(0, w, 11)
    ones, density = np.ones(11), np.full(11, 1 / w)
    soft = wgan.optimal_critic_1d(ones, density, lam, "two_sided", grid)
    np.testing.assert_allclose(soft.slope, 1 + w / (2 * lam))
    assert soft.gap == pytest.approx(w + w**2 / (2 * lam))
    assert soft.objective == pytest.approx(w + w**2 / (4 * lam))
    centred = wgan.optimal_critic_1d(ones, density, lam, "zero", grid)
    assert centred.objective == pytest.approx(w**2 / (4 * lam))
    assert wgan.optimal_critic_1d(ones, density, 1.001 * w, "linear", grid)[1:] == (
        pytest.approx(w), pytest.approx(w))  # fmt: skip
    assert wgan.optimal_critic_1d(ones, density, 0.999 * w, "linear", grid).gap == np.inf


def critic_with(**changes):
    arguments = dict(delta=DELTA, density=DENSITY, lam=1.0, kind="zero", grid=GRID)
    return wgan.optimal_critic_1d(**(arguments | changes))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: wgan.gradient_penalty(quadratic, X, "lp"),
            "kind must be one of .*'lp'",
        ),
        (
            lambda: wgan.gradient_penalty(quadratic, X, target=-1),
            "target must be a finite",
        ),
        (lambda: wgan.gradient_penalty(quadratic, X, ["zero"]), "one penalty per critic"),
        (lambda: wgan.gradient_penalty(lambda x: x, X), "one score per sample.*flatten"),
        (lambda: wgan.gradient_penalty(ops.sum, X), r"one score per sample.*shape \(\)"),
        (lambda: wgan.difference_penalty(lambda x: x, X, X), "one score per sample.*flatten"),
        (lambda: wgan.difference_penalty(quadratic, X, X[:3]), "x1 and x2 must have one shape"),
        (lambda: wgan.difference_penalty(quadratic, X, X, "l"), "kind must be one of"),
        (lambda: wgan.interpolate(X, X[:3], X[:, :1]), "real and fake must have one shape"),
        (lambda: wgan.interpolate(X, X, X), r"epsilon must have shape \(7, 1\)"),
        (lambda: wgan.interpolation_density((0, 0), (1, 1), GRID), "real needs a positive"),
        (lambda: wgan.interpolation_density((0, 1), (1, 1), GRID, 0), "nodes must be"),
        (lambda: critic_with(delta=DELTA[:5]), "must have one shape"),
        (lambda: critic_with(delta=DELTA * np.nan), "must be finite"),
        (lambda: critic_with(density=0 * DENSITY), "density must be positive"),
        (lambda: critic_with(lam=0), "lam must be positive"),
        (lambda: critic_with(kind="both"), "kind must be one of .*'both'"),
        (lambda: critic_with(grid=GRID[::-1]), "grid must increase"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
