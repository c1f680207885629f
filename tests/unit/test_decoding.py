"""Decoders against enumeration, against keras_hub's samplers, and against exact chains."""

import itertools

import numpy as np
import pytest
from scipy import sparse

from kexian_utils.language import absorbing, decoding

END = 3


def table(seed, size=4):
    """Log-probabilities of a bigram model on `size` tokens, the last of which ends a text."""
    rng = np.random.default_rng(seed)
    return np.log(rng.dirichlet(np.ones(size), size=size))


def bigram(log_p):
    return lambda tokens, state: (log_p[tokens], state)


def history(log_p):
    """A model whose state matters: the table shifts with the sum of the tokens so far."""

    def model(tokens, state):
        total = tokens if state is None else state[0] + tokens
        return np.stack([np.roll(log_p[t], s) for t, s in zip(tokens, total, strict=True)]), (
            total,
        )

    return model


def score(model, prompt, text):
    log_p, state = model(np.array(prompt[:1]), None)
    for token in prompt[1:]:
        log_p, state = model(np.array([token]), state)
    total = 0.0
    for token in text:
        total += log_p[0, token]
        log_p, state = model(np.array([token]), state)
    return total


@pytest.mark.parametrize("make", [bigram, history])
@pytest.mark.parametrize("seed", range(5))
def test_a_wide_beam_finds_the_best_of_all_texts(make, seed):
    model = make(table(seed))
    words = [w for w in range(4) if w != END]
    ending = [
        (*front, END) for n in range(4) for front in itertools.product(words, repeat=n)
    ]  # at most four tokens
    best = max(ending, key=lambda text: score(model, [0, 1], text))
    found = decoding.beam_search(model, [[0, 1]], 4**4, end=END, max_steps=4)
    assert found.tokens == [list(best)]
    assert found.finished.tolist() == [True]
    np.testing.assert_allclose(found.log_probability, [score(model, [0, 1], best)])
    per_token = max(ending, key=lambda text: score(model, [0, 1], text) / len(text))
    found = decoding.beam_search(model, [[0, 1]], 4**4, end=END, max_steps=4, length_penalty=1.0)
    assert found.tokens == [list(per_token)]


@pytest.mark.parametrize("make", [bigram, history])
def test_with_one_candidate_all_decoders_are_greedy(make):
    model = make(table(7, 6))
    prompts = [[0, 1], [2, 2], [4, 0]]
    rng = np.random.default_rng(0)
    greedy = decoding.greedy_decode(model, prompts, end=END, max_steps=30)
    beam = decoding.beam_search(model, prompts, 1, end=END, max_steps=30)
    top = decoding.sample_decode(model, prompts, end=END, max_steps=30, rng=rng, top_k=1)
    nucleus = decoding.sample_decode(model, prompts, end=END, max_steps=30, rng=rng, top_p=1e-6)
    for other in (beam, top, nucleus):
        assert other.tokens == greedy.tokens
        np.testing.assert_allclose(other.log_probability, greedy.log_probability)
    for prompt, text, total in zip(prompts, greedy.tokens, greedy.log_probability, strict=True):
        np.testing.assert_allclose(score(model, prompt, text), total)


def test_where_keras_hub_does_the_same_it_says_the_same():
    import keras
    from keras_hub import samplers

    log_p = table(3, 6)
    prompts = np.array([[0], [1], [4]])
    steps = 8

    def following(prompt, cache, index):
        last = keras.ops.take(prompt, index - 1, axis=1)
        return keras.ops.take(keras.ops.cast(log_p, "float32"), last, axis=0), None, cache

    def theirs(sampler):
        texts = np.concatenate([prompts, np.zeros((len(prompts), steps), int)], axis=1)
        mask = np.arange(steps + 1)[None] < np.ones((len(prompts), 1))
        found = sampler(following, texts, (), 1, mask, [END])
        cut = [row[1:].tolist() for row in np.asarray(found)]
        return [t[: t.index(END) + 1] if END in t else t for t in cut]

    greedy = decoding.greedy_decode(bigram(log_p), prompts, end=END, max_steps=steps)
    assert theirs(samplers.GreedySampler()) == greedy.tokens
    assert theirs(samplers.TopKSampler(k=1, seed=0)) == greedy.tokens
    beam = decoding.beam_search(bigram(log_p), prompts, 3, end=END, max_steps=steps)
    assert theirs(samplers.BeamSampler(num_beams=3)) == beam.tokens


def test_simulated_texts_end_as_the_chain_says():
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.ones(6), size=5)  # tokens 0 to 4, then the end
    matrix = sparse.csr_matrix(p)
    log_p = np.log(np.vstack([p, np.eye(6)[5]]) + 1e-300)
    for options in ({}, {"top_k": 3}, {"top_p": 0.7}, {"top_k": 1, "keep_end": True}):
        chain = absorbing.truncate_rows(matrix, **options)
        dense = decoding.truncate_distribution(
            p,
            top_k=options.get("top_k"),
            top_p=options.get("top_p"),
            always_keep=5 if options.get("keep_end") else None,
        )
        np.testing.assert_allclose(chain.toarray(), dense)
        runs = decoding.sample_decode(
            bigram(log_p), np.zeros((2000, 1), int), end=5, max_steps=400, rng=rng, **options
        )
        chance = absorbing.stop_probability(chain)[0]
        spread = 4 * np.sqrt(chance * (1 - chance) / 2000) + 1e-9
        assert abs(runs.finished.mean() - chance) <= spread
        mean = absorbing.expected_steps(chain)[0]
        if np.isfinite(mean):
            assert abs(runs.steps.mean() - mean) <= 4 * runs.steps.std() / np.sqrt(2000) + 1e-6


def test_chains_against_brute_force():
    rng = np.random.default_rng(2)
    p = rng.dirichlet(np.full(9, 0.1), size=8)
    p[6], p[7] = 0.0, 0.0
    p[6, 7] = p[7, 6] = 1.0  # a class that nothing leaves
    matrix = sparse.csr_matrix(p)
    share, steps = np.zeros(8), np.zeros(8)
    alive = np.eye(8)
    for _ in range(60_000):
        share += alive @ p[:, 8]
        steps += alive.sum(axis=1)
        alive = alive @ p[:, :8]
    np.testing.assert_allclose(absorbing.stop_probability(matrix), share, atol=1e-9)
    sure = share > 1 - 1e-9
    found = absorbing.expected_steps(matrix)
    assert np.isinf(found[~sure]).all()
    np.testing.assert_allclose(found[sure], steps[sure], rtol=1e-6)


def test_greedy_cycles_are_those_that_one_walks_into():
    rng = np.random.default_rng(3)
    p = rng.random((40, 41))
    p /= p.sum(axis=1, keepdims=True)
    found = absorbing.greedy_cycles(sparse.csr_matrix(p))
    for start in range(40):
        token = start
        for _ in range(100):
            token = 40 if token == 40 else int(p[token].argmax())
        if token == 40:
            assert found.cycle_of[start] == -1
        else:
            assert token in found.cycles[found.cycle_of[start]]
    for cycle in found.cycles:
        assert [int(p[token].argmax()) for token in cycle] == [*cycle[1:], cycle[0]]


def test_bigrams_are_counted():
    matrix = absorbing.bigram_matrix([[0, 1, 1], [1], [0, 0]], 3).toarray()
    np.testing.assert_allclose(matrix, [[1 / 3, 1 / 3, 0, 1 / 3], [0, 1 / 3, 0, 2 / 3], [0] * 4])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: decoding.truncate_distribution([1.0], top_k=0), "top_k"),
        (lambda: decoding.truncate_distribution([1.0], top_p=0.0), "top_p"),
        (lambda: decoding.truncate_distribution([1.0], always_keep=1), "always_keep"),
        (lambda: decoding.beam_search(bigram(table(0)), [[0]], 0, end=3, max_steps=1), "width"),
        (lambda: decoding.greedy_decode(bigram(table(0)), [0], end=3, max_steps=1), "prompts"),
        (lambda: decoding.greedy_decode(bigram(table(0)), [[0]], end=3, max_steps=0), "max_steps"),
        (lambda: absorbing.bigram_matrix([[]], 2), "one token"),
        (lambda: absorbing.bigram_matrix([[0, 2]], 2), "lie from 0"),
        (lambda: absorbing.bigram_matrix([[-1]], 2), "lie from 0"),
        (lambda: absorbing.stop_probability(sparse.identity(2)), "one column more"),
        (lambda: absorbing.truncate_rows(sparse.identity(2), top_p=2), "top_p"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
