"""Clipping against TensorFlow's own; smoothness and step sizes against closed forms and search."""

import numpy as np
import pytest
from scipy import optimize

from kexian_utils.optimisation import clipping

RNG = np.random.default_rng(7469)
GRADIENTS = [RNG.normal(size=(4, 3)), RNG.normal(size=5), RNG.normal(size=(2, 2, 2))]


@pytest.mark.parametrize("max_norm", [0.1, 1.0, 4.0, 100.0])
def test_hard_clipping_against_tensorflow(max_norm):
    tf = pytest.importorskip("tensorflow")
    expected, norm = tf.clip_by_global_norm([tf.constant(g) for g in GRADIENTS], max_norm)
    clipped, found = clipping.clip_by_global_norm(GRADIENTS, max_norm)
    assert found == pytest.approx(float(norm), rel=1e-12)
    for mine, theirs in zip(clipped, expected, strict=True):
        np.testing.assert_allclose(mine, theirs.numpy(), rtol=1e-12)


@pytest.mark.parametrize("max_norm", [0.1, 1.0, 100.0])
def test_soft_clipping_against_the_flat_vector(max_norm):
    flat = np.concatenate([g.ravel() for g in GRADIENTS])
    norm = np.sqrt(flat @ flat)
    clipped, _ = clipping.clip_by_global_norm(GRADIENTS, max_norm, mode="soft")
    found = np.concatenate([g.ravel() for g in clipped])
    np.testing.assert_allclose(found, flat / (1 + norm / max_norm), rtol=1e-12)
    assert np.linalg.norm(found) < max_norm
    assert [g.shape for g in clipped] == [g.shape for g in GRADIENTS]


@pytest.mark.parametrize("mode", ["hard", "soft"])
def test_zero_gradients_and_float32(mode):
    clipped, norm = clipping.clip_by_global_norm([np.zeros(3, "float32")], 1.0, mode=mode)
    assert norm == 0
    assert clipped[0].dtype == np.float32
    np.testing.assert_array_equal(clipped[0], 0)
    huge = [np.full(4, 1e30, "float32")]  # its square overflows in float32
    clipped, norm = clipping.clip_by_global_norm(huge, 1.0, mode=mode)
    assert norm == pytest.approx(2e30, rel=1e-6)
    np.testing.assert_allclose(clipped[0], 0.5, rtol=1e-6)


def test_neither_squares_nor_integers_are_lost():
    for size in (1e300, 1e-300, 1e-322, 1.7e308):
        (clipped,), norm = clipping.clip_by_global_norm([np.array([size, size])], size / 2)
        with np.errstate(over="ignore"):
            assert norm == pytest.approx(np.sqrt(2) * np.float64(size), rel=1e-9)
        if size > 1e-320:
            np.testing.assert_allclose(clipped, size / 2 / np.sqrt(2), rtol=1e-9)
    (clipped,), norm = clipping.clip_by_global_norm([np.array([1e300, 1e300])], 1, mode="soft")
    np.testing.assert_allclose(clipped, np.sqrt(0.5), rtol=1e-12)
    for wrong in ([3, 4], np.array([3, 4]), np.array([True]), np.array([1j])):
        with pytest.raises(TypeError, match="gradients must be of a floating dtype, got"):
            clipping.clip_by_global_norm([wrong], 1.0)


MATRIX = RNG.normal(size=(6, 6))
MATRIX = MATRIX + MATRIX.T
POINT, WAY = RNG.normal(size=(2, 6))


def slope(theta):
    return MATRIX @ theta + theta**3


def test_directional_smoothness_against_the_hessian():
    hessian = MATRIX + np.diag(3 * POINT**2)
    expected = np.linalg.norm(hessian @ WAY) / np.linalg.norm(WAY)
    by_product = clipping.directional_smoothness(slope, POINT, WAY, hvp=lambda v: hessian @ v)
    assert by_product == pytest.approx(expected, rel=1e-12)
    by_difference = clipping.directional_smoothness(slope, POINT, 1000 * WAY)
    assert by_difference == pytest.approx(expected, rel=1e-8)
    coarse = clipping.directional_smoothness(slope, POINT.astype("float32"), WAY, step=1e-2)
    assert coarse == pytest.approx(expected, rel=1e-3)


def test_the_upper_line_lies_above_all_points_and_the_default_does_not():
    theta = np.linspace(-5, 5, 501)
    r, values = np.abs(np.sinh(theta)), np.cosh(theta)
    level, rise = clipping.fit_l0_l1(r, values)
    assert level < 0.5  # no constant of (4): at 0 the curvature is 1
    level, rise = clipping.fit_l0_l1(r, values, upper=True)
    assert np.all(level + rise * r >= values)
    assert (level, rise) == pytest.approx((1, (np.cosh(5) - 1) / np.sinh(5)), rel=1e-6)
    for scale in (1e-12, 1e12):  # units do not matter
        scaled = clipping.fit_l0_l1(r, scale * values, upper=True)
        assert scaled == pytest.approx((scale * level, scale * rise), rel=1e-6)
    noisy = RNG.uniform(0, 1, 501)
    level, rise = clipping.fit_l0_l1(r, noisy, upper=True)
    assert np.all(level + rise * r >= noisy)
    assert np.mean(level + rise * r) <= noisy.max()  # no worse than the flat line
    assert clipping.fit_l0_l1(r, np.zeros(501), upper=True) == (0, 0)


def test_fit_finds_the_line_and_keeps_both_constants_positive():
    r = RNG.uniform(0, 5, 40)
    assert clipping.fit_l0_l1(r, 1.5 + 4 * r) == pytest.approx((1.5, 4), rel=1e-10)
    level, rise = clipping.fit_l0_l1(r, np.maximum(4 * r - 2, 0))
    assert level == 0
    assert rise == pytest.approx(r @ np.maximum(4 * r - 2, 0) / (r @ r), rel=1e-10)
    assert clipping.fit_l0_l1(r, 6 - r) == pytest.approx((np.mean(6 - r), 0))
    noisy = 1.5 + 4 * r + RNG.normal(scale=0.1, size=40)
    expected = np.polyfit(r, noisy, 1)[::-1]
    assert clipping.fit_l0_l1(r, noisy) == pytest.approx(tuple(expected), rel=1e-9)


@pytest.mark.parametrize("r", [1e-9, 0.3, 2.0, 50.0, 1e6])
@pytest.mark.parametrize(("L0", "L1"), [(16, 1), (0.3, 7), (2, 0.01)])
def test_step_sizes_against_a_search_of_the_bounds(r, L0, L1):
    """Each rule minimises its own upper bound on the loss along the step."""
    smooth = L0 + L1 * r

    def quadratic(rate):
        return -rate * r**2 + smooth / 2 * (rate * r) ** 2

    def exponential(rate):
        a = L1 * rate * r
        tail = np.expm1(a) - a if a > 1e-4 else a**2 / 2 + a**3 / 6
        return -rate * r**2 + smooth / L1**2 * tail

    for rule, bound in (("clip", quadratic), ("optimal", exponential)):
        scaled = optimize.minimize_scalar(
            lambda s, bound=bound: bound(s / smooth) * smooth / r**2,
            bounds=(0, 2),
            method="bounded",
            options={"xatol": 1e-10},
        )
        found = clipping.l0_l1_step_size(r, L0, L1, rule)
        assert found * smooth == pytest.approx(scaled.x, abs=2e-6)


def test_step_sizes_in_the_limits():
    for rule in ("clip", "optimal"):
        assert clipping.l0_l1_step_size(3.0, 4.0, 0.0, rule) == 0.25
        np.testing.assert_array_equal(clipping.l0_l1_step_size([0.0, 0.0], 4.0, 2.0, rule), 0.25)
        assert isinstance(clipping.l0_l1_step_size(3.0, 4.0, 1.0, rule), float)
    # Far out the better step is ln 2 of the clipped one.
    ratio = clipping.l0_l1_step_size(1e12, 1, 1, "optimal") / clipping.l0_l1_step_size(1e12, 1, 1)
    assert ratio == pytest.approx(np.log(2))


BAD = [
    (
        lambda: clipping.clip_by_global_norm(GRADIENTS, 0),
        "max_norm must be a finite",
    ),
    (
        lambda: clipping.clip_by_global_norm(GRADIENTS, np.inf),
        "max_norm must be a finite",
    ),
    (lambda: clipping.clip_by_global_norm([], 1), "at least one array"),
    (lambda: clipping.clip_by_global_norm([np.array([np.nan])], 1), "gradients must be finite"),
    (
        lambda: clipping.clip_by_global_norm(GRADIENTS, 1, "smooth"),
        "got 'smooth'",
    ),
    (lambda: clipping.directional_smoothness(slope, POINT, WAY[:3]), "one shape"),
    (lambda: clipping.directional_smoothness(slope, POINT, 0 * WAY), "must not be zero"),
    (lambda: clipping.directional_smoothness(slope, np.inf * POINT, WAY), "must be finite"),
    (lambda: clipping.directional_smoothness(slope, POINT, WAY, step=0), "step must be positive"),
    (lambda: clipping.fit_l0_l1([1, 2], [1, 2]), "at least 3"),
    (lambda: clipping.fit_l0_l1([1, 2, 3], [1, 2]), "one shape"),
    (lambda: clipping.fit_l0_l1([1, 2, -3], [1, 2, 3]), "grad_norms must be finite"),
    (lambda: clipping.fit_l0_l1([1, 2, 3], [1, 2, np.nan]), "smoothness must be finite"),
    (lambda: clipping.fit_l0_l1([1, 1, 1], [1, 2, 3]), "must not all be equal"),
    (lambda: clipping.l0_l1_step_size(-1, 1, 1), "grad_norm must be finite"),
    (lambda: clipping.l0_l1_step_size(1, -1, 1), "L0 must be finite"),
    (lambda: clipping.l0_l1_step_size(1, 1, np.nan), "L1 must be finite"),
    (lambda: clipping.l0_l1_step_size(0, 0, 1), "must be positive"),
    (lambda: clipping.l0_l1_step_size(1, 1, 1, "best"), "'clip' or 'optimal'"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
