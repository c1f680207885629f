"""Adversarial steps against random search, SciPy and models with a known answer; again on JAX."""

import numpy as np
import pytest
from scipy import optimize

keras = pytest.importorskip("keras")
from keras import ops  # noqa: E402

from kexian_utils import autodiff  # noqa: E402
from kexian_utils.autodiff import input_gradient  # noqa: E402
from kexian_utils.robustness.adversarial import (  # noqa: E402
    fgm_perturbation,
    input_gradient_penalty,
    pgd_attack,
)

pytestmark = [pytest.mark.backends, pytest.mark.usefixtures("float64_on_jax")]

A = np.random.default_rng(0).normal(size=(4, 4))
X = np.random.default_rng(1).normal(size=(3, 4))
Y = np.array([1.0, -1.0, 2.0])


def numpy(x):
    return ops.convert_to_numpy(x)


def tensor(x):
    return ops.convert_to_tensor(np.asarray(x), dtype="float64")


def quadratic(x, y):
    """½ y |A x|² of each sample; its gradient is y AᵀA x."""
    return y * ops.sum(ops.matmul(x, A.T) ** 2, axis=-1) / 2


def linear(x, y):
    return ops.sum(x * y, axis=-1)


def test_input_gradient_is_each_samples_own():
    found = numpy(input_gradient(quadratic, tensor(X), tensor(Y)))
    np.testing.assert_allclose(found, Y[:, None] * (X @ A.T @ A), rtol=1e-12)
    with pytest.raises(ValueError, match="one loss per sample, got a scalar"):
        input_gradient(lambda x, y: ops.mean(quadratic(x, y)), tensor(X), tensor(Y))


@pytest.mark.parametrize(("norm", "order"), [("l2", 2), ("linf", np.inf)])
def test_step_maximises_the_linear_model_over_its_ball(norm, order):
    rng = np.random.default_rng(2)
    slope = rng.normal(size=(5, 3))
    step = numpy(fgm_perturbation(tensor(slope), 0.3, norm))
    np.testing.assert_allclose(np.linalg.norm(step, order, axis=1), 0.3, rtol=1e-12)
    others = rng.normal(size=(20_000, 3))
    others *= 0.3 / np.linalg.norm(others, order, axis=1, keepdims=True)
    best = np.sum(step * slope, axis=1)
    assert np.all(others @ slope.T <= best + 1e-12)
    assert np.all((others @ slope.T).max(0) > 0.95 * best)
    value = numpy(input_gradient_penalty(linear, tensor(0 * slope), tensor(slope), norm))
    np.testing.assert_allclose(0.3 * value, best, rtol=1e-12)


def test_step_without_a_norm():
    np.testing.assert_allclose(numpy(fgm_perturbation(tensor(X), 0.3, "none")), 0.3 * X)
    value = numpy(input_gradient_penalty(linear, tensor(X), tensor(X), "none"))
    np.testing.assert_allclose(value, np.sum(X**2, axis=1) / 2, rtol=1e-12)


def test_zero_and_tiny_gradients():
    for norm in ("l2", "linf", "none"):
        assert not numpy(fgm_perturbation(tensor(np.zeros((2, 3))), 0.5, norm)).any()
    tiny = ops.convert_to_tensor(np.full((1, 4), 1e-30, "float32"))  # the square is 0 in float32
    np.testing.assert_allclose(numpy(fgm_perturbation(tiny, 0.5)), 0.25, rtol=1e-6)


def test_norm_over_chosen_axes_and_epsilon_per_network():
    stack = np.random.default_rng(3).normal(size=(2, 5, 4))
    size = np.array([0.1, 0.0])[:, None, None]
    step = numpy(fgm_perturbation(tensor(stack), size, axes=-1))
    np.testing.assert_allclose(
        np.linalg.norm(step, axis=-1), np.repeat(size[..., 0], 5, 1), rtol=1e-12
    )
    whole = numpy(fgm_perturbation(tensor(stack), 0.7, axes=(0, 1, 2)))
    np.testing.assert_allclose(whole, 0.7 * stack / np.linalg.norm(stack), rtol=1e-12)
    images = numpy(fgm_perturbation(tensor(stack), 0.7))
    np.testing.assert_allclose(np.linalg.norm(images, axis=(1, 2)), 0.7, rtol=1e-12)


def test_pgd_finds_what_scipy_finds():
    """A concave quadratic with its maximum outside the ball: the best point is on the sphere."""
    target = np.array([2.0, 1.0])

    def loss(x, y):
        return -ops.sum((x - target) ** 2 * np.array([1.0, 3.0]), axis=-1)

    def numbers(d):
        return np.sum((d - target) ** 2 * np.array([1.0, 3.0]))

    start = np.zeros((1, 2))
    found = numpy(pgd_attack(loss, tensor(start), None, 0.7, 400, 0.01))[0]
    ball = {"type": "ineq", "fun": lambda d: 0.49 - d @ d}
    wanted = optimize.minimize(numbers, [0.1, 0.1], constraints=[ball], tol=1e-12)
    np.testing.assert_allclose(found, wanted.x, atol=0.01)
    found = numpy(pgd_attack(loss, tensor(start), None, 0.7, 200, 0.01, "linf"))[0]
    wanted = optimize.minimize(numbers, [0.1, 0.1], bounds=[(-0.7, 0.7)] * 2)
    np.testing.assert_allclose(found, wanted.x, atol=0.02)


@pytest.mark.parametrize(("norm", "order"), [("l2", 2), ("linf", np.inf)])
def test_pgd_stays_in_the_ball_and_the_box(norm, order):
    x = np.random.default_rng(4).uniform(size=(6, 4)).astype("float32")

    def attack(**options):
        found = pgd_attack(quadratic, x, np.ones(6, "float32"), 0.2, 7, 0.1, norm, **options)
        return numpy(found)

    assert np.all(np.linalg.norm(attack() - x, order, axis=1) <= 0.2 + 1e-6)
    assert np.all(np.linalg.norm(attack(project=False) - x, order, axis=1) > 0.3)
    boxed = attack(clip=(0.0, 1.0))
    assert boxed.min() >= 0
    assert boxed.max() <= 1
    assert np.all(np.linalg.norm(boxed - x, order, axis=1) <= 0.2 + 1e-6)


def test_one_step_is_the_fast_gradient_method_and_none_is_nothing():
    x, y = tensor(X), tensor(Y)
    one = numpy(pgd_attack(quadratic, x, y, 0.2, 1, 0.2)) - X
    fgm = numpy(fgm_perturbation(input_gradient(quadratic, x, y), 0.2))
    np.testing.assert_allclose(one, fgm, atol=1e-12)
    assert np.array_equal(numpy(pgd_attack(quadratic, x, y, 0.2, 0, 0.2)), X)
    short = numpy(pgd_attack(quadratic, x, y, 0.2, 1, 0.05)) - X  # inside the ball: not projected
    np.testing.assert_allclose(short, fgm / 4, atol=1e-12)


def test_compiled_with_epsilon_as_an_argument():
    attack = autodiff.compiled(lambda x, y, e: pgd_attack(quadratic, x, y, e, 3, e / 2))
    for epsilon in (0.1, 0.4):
        wanted = pgd_attack(quadratic, tensor(X), tensor(Y), epsilon, 3, epsilon / 2)
        found = attack(X, Y, np.float64(epsilon))
        np.testing.assert_allclose(numpy(found), numpy(wanted), rtol=1e-10)


def test_penalty_is_differentiable():
    """Penalty of ½ y |A x|² in A: compared with central differences of the closed form."""

    def closed(matrix, norm):
        slope = Y[:, None] * (X @ matrix.T @ matrix)
        return {"l2": np.linalg.norm(slope, axis=1), "linf": np.abs(slope).sum(1),
                "none": np.sum(slope**2, axis=1) / 2}[norm].sum()  # fmt: skip

    for norm in ("l2", "linf", "none"):

        def total(matrix, norm=norm):
            def loss(x, y):
                return y * ops.sum(ops.matmul(x, ops.transpose(matrix)) ** 2, axis=-1) / 2

            return ops.sum(input_gradient_penalty(loss, tensor(X), tensor(Y), norm))

        found = numpy(autodiff.gradient(total)(tensor(A)))
        for i, j in np.ndindex(A.shape):
            change = np.zeros_like(A)
            change[i, j] = 1e-5
            slope = (closed(A + change, norm) - closed(A - change, norm)) / 2e-5
            assert found[i, j] == pytest.approx(slope, rel=1e-6, abs=1e-7)


def test_penalty_of_a_flat_place_has_gradient_zero():
    def total(scale):
        def loss(x, y):
            return scale * ops.sum(x * x, axis=-1)

        return ops.sum(input_gradient_penalty(loss, tensor(np.zeros((2, 3))), tensor(Y[:2])))

    assert numpy(autodiff.gradient(total)(tensor(1.0))) == 0


def test_penalty_of_float16():
    """Slopes of 300 and 1e-4: their squares are infinity and 0 in float16."""
    slopes = np.array([[300.0, 400.0], [3e-4, 4e-4]])
    x = ops.zeros((2, 2), "float16")

    def loss(x, y):
        return ops.sum(x * ops.cast(slopes, "float16"), axis=-1)

    for norm, expected in (("l2", [500, 5e-4]), ("linf", [700, 7e-4]), ("none", [125e3, 1.25e-7])):
        found = numpy(input_gradient_penalty(loss, x, None, norm))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_bad_input():
    x, y = tensor(X), tensor(Y)
    for bad in (-0.1, np.nan, np.inf):
        with pytest.raises(ValueError, match="epsilon must be finite and at least 0"):
            fgm_perturbation(x, bad)
    with pytest.raises(ValueError, match="norm must be one of 'l2', 'linf', 'none', got 'l1'"):
        input_gradient_penalty(quadratic, x, y, "l1")
    with pytest.raises(ValueError, match="norm must be one of 'l2', 'linf', got 'none'"):
        pgd_attack(quadratic, x, y, 0.1, 2, 0.1, "none")
    with pytest.raises(ValueError, match="step_size must be finite and at least 0, got -1"):
        pgd_attack(quadratic, x, y, 0.1, 2, -1)
    for bad in (-1, 2.0, True):
        with pytest.raises(ValueError, match="steps must be a whole number of at least 0"):
            pgd_attack(quadratic, x, y, 0.1, bad, 0.1)
    with pytest.raises(ValueError, match="clip must be an increasing pair"):
        pgd_attack(quadratic, x, y, 0.1, 2, 0.1, clip=(1, 0))
