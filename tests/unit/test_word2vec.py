"""`language.word2vec` against TensorFlow, closed forms and loops."""

import itertools

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras import ops  # noqa: E402

from kexian_utils.language import word2vec  # noqa: E402

pytestmark = [pytest.mark.backends, pytest.mark.usefixtures("float64_on_jax")]

rng = np.random.default_rng(0)
TARGET, NEGATIVES = rng.normal(size=(2, 3)), rng.normal(size=(2, 3, 4))
TARGET_Q, NEGATIVE_Q = rng.normal(size=(2, 3)), rng.normal(size=(2, 1, 4))


def numpy(values):
    return ops.convert_to_numpy(values)


def test_the_random_softmax_is_a_cross_entropy_of_the_concatenation():
    logits = np.concatenate([TARGET[..., None], NEGATIVES], axis=-1)
    expected = keras.losses.sparse_categorical_crossentropy(
        np.zeros((2, 3), "int32"), logits, from_logits=True
    )
    found = word2vec.random_softmax_loss(TARGET, NEGATIVES)
    np.testing.assert_allclose(numpy(found), numpy(expected), rtol=1e-6)


def test_sampled_softmax_and_nce_are_tensorflows():
    tf = pytest.importorskip("tensorflow")
    n, d, k, batch = 9, 3, 4, 5
    weights, bias = rng.normal(size=(n, d)), rng.normal(size=n)
    inputs, labels = rng.normal(size=(batch, d)), np.array([0, 3, 8, 3, 5])
    drawn = np.array([3, 1, 7, 8])
    q = word2vec.log_uniform_probabilities(n)
    sampled = (drawn, k * q[labels][:, None], k * q[drawn])
    z = inputs @ weights.T + bias
    ours = z[np.arange(batch), labels], z[:, drawn], np.log(q[labels]), np.log(q[drawn])[None]
    hits = drawn[None] == labels[:, None]
    for loss, found in (
        (tf.nn.nce_loss, word2vec.nce_loss(*ours)),
        (tf.nn.sampled_softmax_loss, word2vec.sampled_softmax_loss(*ours, hits)),
    ):
        expected = loss(
            tf.constant(weights), tf.constant(bias), labels[:, None], tf.constant(inputs), k, n,
            sampled_values=tuple(tf.constant(part) for part in sampled),
        )  # fmt: skip
        np.testing.assert_allclose(numpy(found), expected.numpy(), rtol=1e-5)


def test_the_log_uniform_probabilities_are_the_samplers():
    q = word2vec.log_uniform_probabilities(7)
    assert q.sum() == pytest.approx(1)
    assert q[2] == pytest.approx(np.log(4 / 3) / np.log(8))


@pytest.mark.parametrize("drop_hits", [False, True])
def test_enumeration_is_a_loop_over_tuples(drop_hits):
    z, p, q = np.array([0.3, -1.0, 2.0]), np.array([0.5, 0.2, 0.3]), np.array([0.1, 0.6, 0.3])
    expected = 0.0
    for t, i, j in itertools.product(range(3), repeat=3):
        others = [k for k in (i, j) if k != t or not drop_hits]
        a = np.exp(z[[t, *others]])
        expected -= p[t] * q[i] * q[j] * np.log(a[0] / a.sum())
    found = word2vec.expected_random_softmax_loss(z, p, q, 2, drop_hits)
    assert found == pytest.approx(expected, rel=1e-12)


def test_negatives_are_drawn_as_asked():
    uniform = word2vec.sample_negatives(60_000, 3, np.random.default_rng(0))
    weighted = word2vec.sample_negatives((60, 1000), 3, np.random.default_rng(0), [1, 0, 3])
    assert uniform.dtype == weighted.dtype == np.int32
    np.testing.assert_allclose(np.bincount(uniform) / 60_000, 1 / 3, atol=0.01)
    shares = np.bincount(weighted.ravel()) / 60_000
    np.testing.assert_allclose(shares, [0.25, 0, 0.75], atol=0.01)


def test_windows_of_four_words():
    contexts, targets = word2vec.cbow_windows([1, 2, 3, 4], window=1, pad_id=9)
    assert contexts.tolist() == [[9, 2], [1, 3], [2, 4], [3, 9]]
    assert targets.tolist() == [1, 2, 3, 4]


def test_neighbours_are_those_of_a_full_sort():
    vectors = np.random.default_rng(1).normal(size=(20, 4))
    found = word2vec.most_similar(vectors, 3, 5)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = units @ units[3]
    cosines[3] = -2
    assert [i for i, _ in found] == np.argsort(-cosines)[:5].tolist()
    assert len(word2vec.most_similar(vectors, 0, 99)) == 19


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: word2vec.random_softmax_loss(TARGET, NEGATIVES[..., :0]), "at least one logit"),
        (lambda: word2vec.random_softmax_loss(TARGET, NEGATIVES[0]), "one axis more"),
        (lambda: word2vec.cbow_windows([1, 2], 0), "window must be a whole number"),
        (lambda: word2vec.cbow_windows([], 1), "N at least 1"),
        (lambda: word2vec.sample_negatives(3, 0, rng), "size must be"),
        (lambda: word2vec.sample_negatives(3, 2, rng, [1, -1]), "no negative number"),
        (lambda: word2vec.most_similar(np.eye(3), 3), "index must be a whole number from 0 to 2"),
        (lambda: word2vec.most_similar([[np.nan]], 0), "vectors must be finite"),
        (
            lambda: word2vec.expected_random_softmax_loss([0, 0], [1, 1], [0.5, 0.5], 1),
            "p must hold probabilities",
        ),
        (
            lambda: word2vec.expected_random_softmax_loss([0] * 9, [1 / 9] * 9, [1 / 9] * 9, 9),
            "negatives must be so few",
        ),
    ],
)
def test_refusals(call, words):
    with pytest.raises(ValueError, match=words):
        call()
