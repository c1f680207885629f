"""NaN in, NaN out, or a refusal: no loss, penalty, metric or attack takes NaN for a number.

A network that has diverged must show it. Each public function of the modules below gets its input
once as it should be and once with NaN in the first sample. What belongs to that sample must then
be NaN, and the rest what it was before; or the function refuses with a `ValueError`.
"""

import numpy as np
import pytest
from on_jax import NUMERICAL

keras = pytest.importorskip("keras")
from keras import ops  # noqa: E402

from kexian_utils import autodiff, losses, statistics  # noqa: E402
from kexian_utils.foundations import dropout  # noqa: E402
from kexian_utils.generative import (  # noqa: E402
    distances,
    jumps,
    quadratic_potential,
    wgan,
)
from kexian_utils.language import word2vec  # noqa: E402
from kexian_utils.losses import focal  # noqa: E402
from kexian_utils.mathematics import sphere  # noqa: E402
from kexian_utils.optimisation import clipping, landscape, path_kernel  # noqa: E402
from kexian_utils.robustness import adversarial  # noqa: E402
from kexian_utils.training import stacked  # noqa: E402

pytestmark = [pytest.mark.backends, pytest.mark.usefixtures("float64_on_jax"), NUMERICAL]

rng = np.random.default_rng(0)
POINTS = rng.normal(size=(6, 3))
SHARES = rng.uniform(0.1, 0.9, size=6)
LABELS = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0], [1, 1, 1], [0, 0, 1]])
ONE_HOT = np.eye(3)[np.arange(6) % 3]
KERNEL = np.array([0.5, -1.0, 2.0])


def squares(x, y=None):
    return ops.sum(x * x * KERNEL, axis=-1)


def images(x, y=None):
    return ops.sum(ops.reshape(x, (-1, 3)) * KERNEL, axis=-1)


# What is called with POINTS, and gives something for each of the six samples.
BY_SAMPLE = {
    "losses.multilabel_categorical_crossentropy": lambda x: (
        losses.multilabel_categorical_crossentropy(LABELS, x)
    ),
    "losses.sparse_multilabel_categorical_crossentropy": lambda x: (
        losses.sparse_multilabel_categorical_crossentropy(np.arange(6)[:, None] % 3, x)
    ),
    "losses.unified_pair_loss": lambda x: losses.unified_pair_loss(LABELS, x),
    "losses.hard_truncated_crossentropy": lambda x: losses.hard_truncated_crossentropy(LABELS, x),
    "losses.margin_crossentropy": lambda x: losses.margin_crossentropy(LABELS, x),
    "losses.soft_truncated_crossentropy": lambda x: losses.soft_truncated_crossentropy(LABELS, x),
    "losses.categorical_soft_truncated_crossentropy": lambda x: (
        losses.categorical_soft_truncated_crossentropy(ONE_HOT, x)
    ),
    "losses.smooth_max": losses.smooth_max,
    "losses.soft_argmax": losses.soft_argmax,
    "losses.soft_topk": lambda x: losses.soft_topk(x, 2),
    "losses.soft_topk_recursive": lambda x: losses.soft_topk_recursive(x, 2),
    "losses.best_output": lambda x: losses.best_output(
        losses.COMPARED["focal loss"], 2.0, SHARES + 0 * x[:, 0]
    ),
    "losses.log_elementary_symmetric": lambda x: losses.log_elementary_symmetric(x, 2)[:, 1:],
    "word2vec.random_softmax_loss": lambda x: word2vec.random_softmax_loss(x[:, 0], x[:, 1:]),
    "word2vec.sampled_softmax_loss": lambda x: word2vec.sampled_softmax_loss(
        x[:, 0], x[:, 1:], SHARES, SHARES[:2]
    ),
    "word2vec.nce_loss": lambda x: word2vec.nce_loss(x[:, 0], x[:, 1:], SHARES, SHARES[:2]),
    "autodiff.input_gradient": lambda x: autodiff.input_gradient(squares, x, None),
    "adversarial.fgm_perturbation": lambda x: adversarial.fgm_perturbation(x, 1.0),
    "adversarial.fgm_perturbation none": lambda x: adversarial.fgm_perturbation(x, 1.0, "none"),
    "adversarial.fgm_perturbation linf": lambda x: adversarial.fgm_perturbation(x, 1.0, "linf"),
    "adversarial.pgd_attack": lambda x: adversarial.pgd_attack(squares, x, None, 0.5, 2, 0.3),
    "adversarial.pgd_attack linf": lambda x: adversarial.pgd_attack(
        squares, x, None, 0.5, 2, 0.3, "linf", clip=(-1.0, 1.0)
    ),
    "adversarial.input_gradient_penalty": lambda x: adversarial.input_gradient_penalty(
        squares, x, None
    ),
    "adversarial.input_gradient_penalty none": lambda x: adversarial.input_gradient_penalty(
        squares, x, None, "none"
    ),
    "adversarial.input_gradient_penalty linf": lambda x: adversarial.input_gradient_penalty(
        squares, x, None, "linf"
    ),
    "wgan.interpolate": lambda x: wgan.interpolate(x, np.ones((6, 3)), np.full((6, 1), 0.3)),
    "stacked.cross_entropy": lambda x: stacked.cross_entropy(x[:, None], np.ones((6, 1), "int32")),
    "stacked.mlp_logits": lambda x: stacked.mlp_logits([KERNEL[:, None], np.zeros(1)], x),
    "dropout.geometric_mean_probs": lambda x: dropout.geometric_mean_probs(
        np.stack([x, 0.5 * x]) - 5
    ),
    "sphere.angle_pdf": lambda x: sphere.angle_pdf(np.abs(x[:, 0]), 5),
    "sphere.angle_cdf": lambda x: sphere.angle_cdf(np.abs(x[:, 0]), 5),
    "sphere.cosine_pdf": lambda x: sphere.cosine_pdf(np.tanh(x[:, 0]), 5),
    "losses.focal_posterior": lambda x: focal.focal_posterior(SHARES + 0 * x[:, 0]),
    "losses.focal_probability": lambda x: focal.focal_probability(SHARES + 0 * x[:, 0]),
    "losses.qp_critic_loss": lambda x: losses.qp_critic_loss(x, np.ones((6, 3))),
    "clipping.l0_l1_step_size": lambda x: clipping.l0_l1_step_size(np.abs(x[:, 0]), 1.0, 0.5),
    "sphere.angle_variance": lambda x: sphere.angle_variance(2 + np.abs(x[:, 0])),
}
# What makes one thing of all of them.
TOGETHER = {
    "losses.MultilabelCategoricalCrossentropy": lambda x: (
        losses.MultilabelCategoricalCrossentropy()(LABELS, x)
    ),
    "losses.MarginCrossentropy": lambda x: losses.MarginCrossentropy()(LABELS, x),
    "losses.SoftTruncatedCrossentropy": lambda x: losses.SoftTruncatedCrossentropy()(LABELS, x),
    "losses.CategoricalSoftTruncatedCrossentropy": lambda x: (
        losses.CategoricalSoftTruncatedCrossentropy()(ONE_HOT, x)
    ),
    "losses.QPCriticLoss": lambda x: losses.QPCriticLoss()(np.ones((6, 3)), x),
    "losses.qp_generator_loss": losses.qp_generator_loss,
    "quadratic_potential.qp_divergence": lambda x: (
        quadratic_potential.qp_divergence([1, 0], [0, 1], np.abs(x[0, 0]) * (1 - np.eye(2))).value
    ),
    "losses.SoftAccuracyLoss": lambda x: losses.SoftAccuracyLoss(from_logits=True)(ONE_HOT, x),
    "losses.SoftF1Loss": lambda x: losses.SoftF1Loss(from_logits=True)(LABELS, x),
    "losses.soft_accuracy": lambda x: losses.soft_accuracy(ONE_HOT, x),
    "losses.soft_f1": lambda x: losses.soft_f1(LABELS, x),
    **{
        f"wgan.gradient_penalty {kind}": lambda x, kind=kind: wgan.gradient_penalty(
            squares, x, kind
        )
        for kind in wgan.KINDS
    },
    **{
        f"wgan.difference_penalty {kind}": lambda x, kind=kind: wgan.difference_penalty(
            squares, x, np.ones((6, 3)), kind
        )
        for kind in wgan.KINDS
    },
    "wgan.optimal_critic_1d": lambda x: (
        wgan.optimal_critic_1d(x[:, 0], np.ones(6), 1.0, "two_sided", np.arange(6.0)).gap
    ),
    "wgan.interpolation_density": lambda x: wgan.interpolation_density((0, 1), (1, 1), x),
    "jumps.variation": lambda x: jumps.variation(x[:, 0], np.ones(6), np.arange(6.0)),
    "clipping.clip_by_global_norm": lambda x: clipping.clip_by_global_norm([x], 1.0)[0][0],
    "clipping.directional_smoothness": lambda x: clipping.directional_smoothness(
        lambda t: t * t, x[:, 0], np.ones(6)
    ),
    "clipping.fit_l0_l1": lambda x: clipping.fit_l0_l1(np.abs(x[:, 0]), np.ones(6)),
    "distances.wasserstein1_exact": lambda x: distances.wasserstein1_exact(x, POINTS + 1),
    "distances.sliced_wasserstein": lambda x: distances.sliced_wasserstein(x, POINTS + 1),
    "distances.frechet_distance": lambda x: distances.frechet_distance(x, POINTS + 1),
    "distances.mode_coverage": lambda x: distances.mode_coverage(x, POINTS, 0.1),
    "dropout.dropout_covariance": lambda x: dropout.dropout_covariance(x, 0.3),
    "dropout.dropout_ridge_solution": lambda x: dropout.dropout_ridge_solution(x, x[:, 0], 0.3),
    "landscape.second_moment_summary": lambda x: landscape.second_moment_summary(x)["trace"],
    "statistics.standardize": statistics.standardize,
    "landscape.loss_landscape_probe": lambda x: landscape.loss_landscape_probe(
        lambda t: (np.sum(t * t), 2 * t), x[:, 0], [0.1, 0.2]
    ),
    "landscape.hessian_extremal_eigenvalues": lambda x: landscape.hessian_extremal_eigenvalues(
        lambda v: x[:, 0] * v, 6
    ),
    "path_kernel.kernel_regression": lambda x: path_kernel.kernel_regression(
        np.eye(3), x, np.ones(3)
    ),
    "sphere.pairwise_cosines": sphere.pairwise_cosines,
    "sphere.effective_dimension": sphere.effective_dimension,
}
# No function of numbers that a network puts out: draws, masks, counts, steps of an optimiser,
# formulas that are compared, and what changes a network.
OTHERS = {
    "losses.ComparedLoss", "losses.LossFacts", "losses.loss_facts", "losses.sentiment_network",
    "path_kernel.path_kernel_trace", "path_kernel.tangent_map",
    "adversarial.changed_output",
    "dropout.dropout_mask", "dropout.drop_words", "dropout.noise_groups",
    "sphere.random_directions", "stacked.he_normal", "stacked.train", "stacked.StackTrainer",
    "word2vec.cbow_windows", "word2vec.expected_random_softmax_loss",
    "word2vec.log_uniform_probabilities", "word2vec.most_similar", "word2vec.sample_negatives",
}  # fmt: skip
MODULES = (
    adversarial, clipping, distances, dropout, jumps, landscape, losses, path_kernel,
    quadratic_potential, sphere, stacked, wgan, word2vec,
)  # fmt: skip


def with_nan():
    spoilt = POINTS.copy()
    spoilt[0, 0] = np.nan
    return spoilt


def array(value):
    return np.asarray(ops.convert_to_numpy(value), dtype=float)


def test_every_public_function_is_asked():
    asked = {name.split()[0] for name in (*BY_SAMPLE, *TOGETHER)} | OTHERS
    public = {"autodiff.input_gradient", "statistics.standardize"} | {
        f"{module.__name__.rsplit('.', 1)[1]}.{name}"
        for module in MODULES
        for name in module.__all__
        if callable(getattr(module, name)) and not hasattr(getattr(module, name), "_fields")
    }
    assert public - asked == set()
    assert OTHERS - public == set()


@pytest.mark.parametrize("name", BY_SAMPLE)
def test_a_sample_with_nan_is_nan_and_the_others_are_not(name):
    function = BY_SAMPLE[name]
    before = array(function(POINTS))
    assert np.isfinite(before).all()
    after = answer(function)
    if refused(after):
        return
    after = array(after)
    assert np.isnan(after[0]).any()
    np.testing.assert_array_equal(after[1:], before[1:])


@pytest.mark.parametrize("name", TOGETHER)
def test_what_is_made_of_nan_is_nan(name):
    function = TOGETHER[name]
    assert np.isfinite(np.concatenate([array(p).ravel() for p in flat(function(POINTS))])).all()
    after = answer(function)
    assert refused(after) or all(np.isnan(array(part)).any() for part in flat(after))


def answer(function):
    """What the function gives for a sample with NaN; its words if it refuses."""
    try:
        return function(with_nan())
    except ValueError as refusal:
        return str(refusal)


def refused(answer):
    return isinstance(answer, str) and ("finite" in answer or "nan" in answer)


def flat(value):
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, (tuple, list)) else [value]


@pytest.mark.parametrize(
    "name", [n for n in BY_SAMPLE if n.startswith(("losses.m", "losses.u", "adversarial"))]
)
def test_compiled_it_is_nan_as_well(name):
    after = array(autodiff.compiled(BY_SAMPLE[name])(with_nan()))
    assert np.isnan(after[0]).any()
    assert np.isfinite(after[1:]).all()


@pytest.mark.parametrize(
    "loss", [losses.multilabel_categorical_crossentropy, losses.unified_pair_loss]
)
def test_labels_that_are_nan(loss):
    labels = LABELS * 1.0
    labels[0, 0] = np.nan
    after = array(autodiff.compiled(loss)(labels, POINTS))
    assert np.isnan(after[0])
    assert np.isfinite(after[1:]).all()


def test_smallest_cases():
    loss = losses.multilabel_categorical_crossentropy
    for scores in ([[np.nan, np.nan, np.nan]], [[np.nan, -3.0, -3.0]], [[1.0, np.nan, -np.inf]]):
        assert np.isnan(array(loss([[1, 0, 0]], scores))).all()
    slope = autodiff.gradient(lambda s: ops.sum(loss(np.array([[1, 0, 0]]), s)))
    assert np.isnan(array(slope(np.array([[np.nan, -3.0, -3.0]])))[0, 0])
    assert np.isnan(array(adversarial.fgm_perturbation(np.array([[np.nan, 3.0, 4.0]]), 1.0))).all()


def test_a_diverged_network_stops_training():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    model.set_weights([np.full(w.shape, np.nan) for w in model.get_weights()])
    model.compile("sgd", losses.MultilabelCategoricalCrossentropy())
    history = model.fit(
        POINTS, LABELS, epochs=3, verbose=0, callbacks=[keras.callbacks.TerminateOnNaN()]
    )
    assert len(history.history["loss"]) == 1
    assert np.isnan(history.history["loss"]).all()
