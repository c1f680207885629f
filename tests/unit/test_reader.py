"""The convolutional reader against a forward pass in NumPy, and what its users rely on."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, softmax

keras = pytest.importorskip("keras")

from kexian_utils.datasets.factqa import label_spans, make_factqa  # noqa: E402
from kexian_utils.qa import network as networks  # noqa: E402
from kexian_utils.qa import training as trainings  # noqa: E402
from kexian_utils.qa.network import ReaderConfig, reader_loss, reader_network  # noqa: E402
from kexian_utils.qa.reader import DGCNNReader, Training  # noqa: E402
from kexian_utils.qa.scores import qa_scores  # noqa: E402
from kexian_utils.qa.training import (  # noqa: E402
    LengthBuckets,
    length_batches,
    padded,
)
from kexian_utils.qa.vectors import character_vectors  # noqa: E402

pytestmark = pytest.mark.in_turn("kexian_utils/qa")

SMALL = ReaderConfig(width=8, pretrained=16)
# Few layers, so that little is to be compiled: for what does not hang on the answers.
TINY = ReaderConfig(width=4, pretrained=4, question_rates=(1,), passage_rates=(2,))
QUICK = Training(epochs=2, batch_size=32)


def examples(questions, version=1, split="train", seed=0):
    made = make_factqa(version, questions, seed, split)
    return [(q.question, q.answer, [p.text for p in q.passages]) for q in made]


def asked(questions, **options):
    return [(question, texts) for question, _, texts in examples(questions, **options)]


@pytest.fixture(scope="module")
def reader():
    """Not a good one, but it finds some answers."""
    found = DGCNNReader(SMALL)
    found.losses = found.fit(examples(300), Training(epochs=4, batch_size=32))
    return found


def array(value):
    return keras.ops.convert_to_numpy(value)


# -- the network ----------------------------------------------------------------------------------


class Forward:
    """The network by NumPy, one question and passage at a time and without padding."""

    def __init__(self, model, config, known):
        self.config, self.known = config, known
        self.weights = {
            layer.name: [array(w).astype(float) for w in layer.weights] for layer in model.layers
        }

    def vectors(self, ids):
        (table,) = self.weights["characters"]
        result = table[np.where(ids < self.known, ids, 1)]
        if self.config.pretrained:
            (fixed,), (kernel,) = (
                self.weights["fixed_characters"],
                self.weights["fixed_to_width"],
            )
            result = result + fixed[ids] @ kernel
        return result

    def blocks(self, x, name):
        for number, rate in enumerate(getattr(self.config, f"{name}_rates")):
            kernel, bias = self.weights[f"{name}_block_{number}"][:2]  # then generators of dropout
            full = np.pad(x, ((rate, rate), (0, 0)))
            both = sum(full[t * rate : t * rate + len(x)] @ kernel[t] for t in range(3)) + bias
            value, gate = np.split(both, 2, axis=-1)
            x = x + (value - x) * expit(gate)
        return x

    def pooled(self, x, name):
        kernel, query = self.weights[f"{name}_pooling"]
        return softmax(np.tanh(x @ kernel) @ query[:, 0]) @ x

    def __call__(self, question, passage, features):
        q = self.pooled(self.blocks(self.vectors(question), "question"), "question")
        x = np.hstack([self.vectors(passage), np.tile(q, (len(passage), 1))])
        if self.config.features:
            x = np.hstack([x, features])
        x = self.blocks(x @ self.weights["fusion"][0], "passage")
        x = np.hstack([x, np.tile(q, (len(passage), 1))])
        kernel, bias = self.weights["answerable"]
        answerable = expit(self.pooled(x, "passage") @ kernel + bias)[0]
        kernel, bias = self.weights["start_and_end"]
        return expit(x @ kernel + bias) * (answerable if self.config.gate else 1), answerable


# The other tests do not hang on the backend, and compiling takes long on JAX.
@pytest.mark.backends
@pytest.mark.parametrize(
    "options",
    [{}, {"features": False, "pretrained": 0}, {"gate": False, "passage_rates": (1, 3, 9)}],
)
def test_the_network_is_that_of_the_article(options):
    config = ReaderConfig(width=6, **({"pretrained": 4} | options))
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(30, 4)).astype("float32") if config.pretrained else None
    model = reader_network(config, 20, vectors=vectors)
    for weight in model.trainable_weights:  # biases included
        weight.assign(0.4 * rng.normal(size=weight.shape))
    forward = Forward(model, config, 20)
    rows = [
        trainings.Row(rng.integers(1, top, m), rng.integers(1, top, n), rng.random((n, 5)))
        for m, n, top in ((7, 40, 30 if config.pretrained else 20), (12, 3, 20), (1, 17, 20))
    ]
    found = model(padded(rows, 48, 16, 4), training=False)
    for number, row in enumerate(rows):
        places, answerable = forward(*row)
        n = len(row.passage)
        assert places.std() > 0.01 * places.mean()
        ours, score = array(found["places"])[number, :n], array(found["answerable"])[number, 0]
        np.testing.assert_allclose(ours, places, rtol=2e-4)
        np.testing.assert_allclose(score, answerable, rtol=2e-4)
        assert not array(found["places"])[number, n:].any()


@pytest.mark.parametrize("d", [4, 24])
def test_parameters_are_as_many_as_the_article_has(d):
    # Equation (11) without word vectors; ours adds 5 columns of features and w of fixed vectors.
    plain = ReaderConfig(width=d, features=False, pretrained=0)
    count = sum(int(np.prod(w.shape)) for w in reader_network(plain, 100).trainable_weights)
    assert count == 61 * d**2 + 27 * d + 3 + 100 * d
    more = reader_network(ReaderConfig(width=d), 100, vectors=np.zeros((120, 64), "float32"))
    wider = sum(int(np.prod(w.shape)) for w in more.trainable_weights)
    assert wider == count + 5 * d + 64 * d


def test_the_seed_alone_decides_the_weights():
    keras.utils.set_random_seed(1)
    first = reader_network(SMALL, 30, seed=3, vectors=np.zeros((30, 16)))
    keras.utils.set_random_seed(2)
    second = reader_network(SMALL, 30, seed=3, vectors=np.zeros((30, 16)))
    other = reader_network(SMALL, 30, seed=4, vectors=np.zeros((30, 16)))
    pairs = list(zip(first.variables, second.variables, other.variables, strict=True))
    assert all(np.array_equal(array(a), array(b)) for a, b, _ in pairs)
    drawn = [(a, c) for a, _, c in pairs if len(a.shape) > 1 and a.trainable]
    assert not any(np.array_equal(array(a), array(c)) for a, c in drawn)
    kernels = [array(w) for w, _ in drawn if w.shape == drawn[1][0].shape]
    assert not any(np.array_equal(kernels[0], kernel) for kernel in kernels[1:])


def test_word_dropout_makes_vectors_zero_and_no_other_larger():
    config = ReaderConfig(width=8, dropout=0.0, word_dropout=0.3, pretrained=0)
    ids = keras.Input((None,), dtype="int32")
    model = keras.Model(ids, networks._Embedding(config, 50, None)(ids))
    given = np.arange(1, 50).repeat(40).reshape(40, 49)
    plain = array(model(given, training=False))
    dropped = array(model(given, training=True))
    zero = ~dropped.any(axis=-1)
    assert abs(zero.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / given.size)
    np.testing.assert_array_equal(dropped[~zero], plain[~zero])


def test_the_loss_is_masked_focal_loss():
    rng = np.random.default_rng(1)
    p, y = rng.uniform(0.01, 0.99, (3, 10, 2)), (rng.random((3, 10, 2)) < 0.2).astype(float)
    mask = np.arange(10) < np.array([[10], [4], [0]])
    loss = -0.25 * y * (1 - p) ** 2 * np.log(p) - 0.75 * (1 - y) * p**2 * np.log(1 - p)
    expected = 100 * ((loss[..., 0] * mask).sum() + (loss[..., 1] * mask).sum()) / mask.sum()
    found = reader_loss()(y, p, sample_weight=mask.astype("float32"))
    np.testing.assert_allclose(200 * float(array(found)), expected, rtol=1e-5)


def test_configurations_that_cannot_be_meant_are_refused():
    for wrong, name in (
        ({"width": 0}, "width"),
        ({"passage_rates": ()}, "passage_rates"),
        ({"question_rates": (1, 0)}, "question_rates"),
        ({"dropout": 1.0}, "dropout"),
        ({"vote": "best"}, "vote"),
        ({"score": "mean"}, "score"),
        ({"pretrained": -1}, "pretrained"),
    ):
        with pytest.raises(ValueError, match=name):
            ReaderConfig(**wrong)
    for wrong, name in (
        ({"epochs": 0}, "epochs"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"ema_momentum": 1.0}, "ema_momentum"),
    ):
        with pytest.raises(ValueError, match=name):
            Training(**wrong)


# -- fixed vectors --------------------------------------------------------------------------------


def test_vectors_are_principal_components_of_the_bundled_table():
    from kexian_utils.bert.checkpoints import Checkpoint
    from kexian_utils.bert.models import chinese_bert

    names, full = character_vectors(256)
    assert len(set(names)) == len(names) == len(full)
    table = Checkpoint(chinese_bert())["bert.embeddings.word_embeddings.weight"].astype(float)
    lines = (chinese_bert() / "vocab.txt").read_text(encoding="utf-8").split("\n")
    a, b, c = (table[lines.index(name)] for name in "京沪的")
    ours = {name: full[names.index(name)].astype(float) for name in "京沪的"}
    ratio = np.linalg.norm(a - b) / np.linalg.norm(a - c)
    found = np.linalg.norm(ours["京"] - ours["沪"]) / np.linalg.norm(ours["京"] - ours["的"])
    np.testing.assert_allclose(found, ratio, rtol=1e-4)  # a rotation and one factor
    covariance = np.cov(character_vectors(8)[1].T)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-5)
    assert (np.diff(np.diag(covariance)) < 0).all()
    with pytest.raises(ValueError, match="width"):
        character_vectors(257)


# -- batches --------------------------------------------------------------------------------------


def test_labels_are_all_literal_occurrences():
    labels = label_spans("北海在北海", ["北海"])
    assert labels.tolist() == [[1, 0], [0, 1], [0, 0], [1, 0], [0, 1]]
    assert not label_spans("南海", ["北海"]).any()
    assert label_spans("", ["北海"]).shape == (0, 2)


def test_each_row_is_in_one_batch_of_its_length():
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 50, 500)
    batches = length_batches(lengths, 64, rng)
    assert sorted(np.concatenate([rows for _, rows in batches])) == list(range(500))
    for size, rows in batches:
        assert len(rows) <= 64
        assert size % 16 == 0
        assert ((lengths[rows] <= size) & (lengths[rows] > size - 16) | (size == 16)).all()
    again = length_batches(lengths, 64, rng)
    assert any(a[1].tolist() != b[1].tolist() for a, b in zip(batches, again, strict=True))


def test_buckets_give_what_fit_takes_and_go_from_epoch_to_epoch():
    rows = [trainings.Row(np.array([2, 3]), np.array([4] * n), np.ones((n, 5))) for n in (3, 20, 5)]
    labels = [np.ones((len(row.passage), 2)) for row in rows]
    data = LengthBuckets(rows, labels, 2, seed=0)
    assert len(data) == 2
    for number in range(2):
        inputs, wanted, weights = data[number]
        assert inputs["question"].shape == (2, 8)
        assert wanted.shape == (*weights.shape, 2) == (2, inputs["passage"].shape[1], 2)
        np.testing.assert_array_equal(weights, wanted[..., 0])
    model = reader_network(TINY, 5)
    learner = keras.Model(model.input, model.output["places"])
    learner.compile("adam", reader_loss(), weighted_metrics=[], jit_compile="auto")
    learner.fit(data, epochs=2, verbose=0)
    assert data.epoch > 0  # Keras looks ahead by an epoch
    with pytest.raises(ValueError, match="equally many"):
        LengthBuckets([], [], 2, 0)


# -- training -------------------------------------------------------------------------------------


@pytest.mark.backends
def test_it_learns(reader):
    assert reader.losses[-1] < 0.4 * reader.losses[0]
    made = make_factqa(1, 200, 1, "SS")
    answers = reader.answer_many([(q.question, [p.text for p in q.passages]) for q in made])
    golds = {q.id: (q.answer, q.accepted) for q in made}
    scores = qa_scores({q.id: a.answer for q, a in zip(made, answers, strict=True)}, golds)
    assert scores.final > 0.45  # no answer scores 0, the best clause .40


def weights(reader):
    return [array(w) for w in reader.network.weights]


class Stopped(Exception):
    pass


def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path):
    data, folder = examples(60), tmp_path / "run"
    whole, steps = DGCNNReader(TINY), []
    losses = whole.fit(data, QUICK, report=lambda now: steps.append(now["step"]))
    stops = [1, 2, len(steps) // 2, len(steps) // 2 + 1, len(steps) - 1]
    if keras.backend.backend() == "jax":  # which compiles each fit anew
        stops = [len(steps) // 2]
    assert sorted(set(stops)) == stops
    for number, stop in enumerate(stops):

        def report(now, stop=stop):
            assert now["step"] <= stop
            if now["step"] == stop:
                raise Stopped

        keras.utils.set_random_seed(number)  # nothing may hang on the global state
        with pytest.raises(Stopped):
            DGCNNReader(TINY).fit(data, QUICK, folder, report=report)
    again, seen = DGCNNReader(TINY), []
    assert again.fit(data, QUICK, folder, report=seen.append) == losses
    assert [now["step"] for now in seen] == steps[stops[-1] :]
    for a, b in zip(weights(whole), weights(again), strict=True):
        np.testing.assert_array_equal(a, b)
    # A finished run only gives its weights once more, which are the moving average.
    finished = DGCNNReader(TINY)
    finished.fit(data, QUICK, folder, report=lambda now: pytest.fail("a step too many"))
    with np.load(folder / "state.npz") as state:
        raw = [state[name] for name in state if name.startswith("v")]
    for kept, other in zip(weights(finished), weights(whole), strict=True):
        np.testing.assert_array_equal(kept, other)
    kernels = [array(w) for w in finished.network.trainable_weights if len(w.shape) > 1]
    for kernel in kernels:  # once as the average, in the optimiser, and never as the last step's
        assert sum(v.shape == kernel.shape and np.array_equal(v, kernel) for v in raw) == 1


def test_a_folder_of_another_run_is_refused(tmp_path):
    data = examples(10)
    DGCNNReader(TINY).fit(data, QUICK, tmp_path / "run")
    kept = (tmp_path / "run" / "state.npz").read_bytes()
    for reader, texts, training, what in (
        (DGCNNReader(TINY, seed=1), data, QUICK, "seed"),
        (DGCNNReader(TINY), data[:-1], QUICK, "data"),
        (DGCNNReader(TINY), data, Training(epochs=3, batch_size=32), "training"),
        (DGCNNReader(replace(TINY, dropout=0.2)), data, QUICK, "reader"),
    ):
        with pytest.raises(ValueError, match=f"another {what}"):
            reader.fit(texts, training, tmp_path / "run")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("Dear")
    with pytest.raises(ValueError, match="holds other things"):
        DGCNNReader(TINY).fit(data, QUICK, tmp_path / "other")
    assert (tmp_path / "run" / "state.npz").read_bytes() == kept


def test_what_cannot_be_saved_is_refused_before_training(tmp_path):
    reader = DGCNNReader(ReaderConfig(width=4))
    examples = [("谁？", "我", ["是我。"]), ("几\ud83d？", "二", ["二。"])]
    with pytest.raises(ValueError, match=r"examples\[1\] must be text that UTF-8 can hold, got"):
        reader.fit(examples, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_training_that_stops_leaves_no_network_with_another_vocabulary(tmp_path):
    def stop(now):
        raise Stopped

    reader = DGCNNReader(TINY)
    reader.fit(examples(10), QUICK)
    with pytest.raises(ValueError, match="answer in a passage"):
        reader.fit([("问题？", "无", ["答案在此。"])])
    assert reader.answer("问？", ["一段"]).passages  # refused before anything was changed
    with pytest.raises(Stopped):
        reader.fit(examples(20), QUICK, report=stop)
    with pytest.raises(RuntimeError, match="has not been trained"):
        reader.answer("问？", ["一段"])


def test_examples_that_teach_nothing_are_refused():
    good = ("问题？", "答案", ["答案在此。"])
    for wrong, error, message in (
        ([], ValueError, "at least one passage"),
        ([("问题？", "答案", [])], ValueError, "at least one passage"),
        ([("问题？", "无", ["答案在此。"])], ValueError, "answer in a passage"),
        ([good, ("问题？", "", ["答案"])], TypeError, r"examples\[1\]"),
        ([good, ("问题？", "答案", "答案在此。")], TypeError, r"examples\[1\]"),
        ([good, ("", "答案", ["答案"])], ValueError, r"examples\[1\]"),
        ([good, "问题"], TypeError, r"examples\[1\]"),
    ):
        with pytest.raises(error, match=message):
            DGCNNReader(TINY).fit(wrong)
    with pytest.raises(ValueError, match="seed"):
        DGCNNReader(seed=-1)


# -- asking ---------------------------------------------------------------------------------------


def test_many_questions_are_answered_as_one_by_one_in_few_batches(reader, monkeypatch):
    questions = asked(40, split="SN")
    calls = []
    ask = reader.network.predict_on_batch
    monkeypatch.setattr(
        reader.network, "predict_on_batch", lambda batch: calls.append(len(batch)) or ask(batch)
    )
    together = reader.answer_many(questions)
    assert len(calls) == 3  # lengths up to 16, 32 and 48
    for question, found in zip(questions, together, strict=True):
        alone = reader.answer(*question)
        assert alone.answer == found.answer
        assert alone.score == pytest.approx(found.score, abs=1e-5)
        for a, b in zip(alone.passages, found.passages, strict=True):
            np.testing.assert_allclose(a.p_start, b.p_start, atol=1e-5)
            assert a.answerable == pytest.approx(b.answerable, abs=1e-5)
    assert len(calls) > 40


def test_batches_come_in_few_sizes_none_larger_than_asked(reader, monkeypatch):
    questions = asked(40)
    lengths = [len(text) for _, texts in questions for text in texts]
    shapes = []
    ask = reader.network.predict_on_batch
    monkeypatch.setattr(
        reader.network,
        "predict_on_batch",
        lambda batch: shapes.append(batch["passage"].shape) or ask(batch),
    )
    reader.answer_many(questions, batch_size=20)
    sizes = {length: {n for n, other in shapes if other == length} for _, length in shapes}
    for length, found in sizes.items():
        rows = sum(length - 16 < n <= length for n in lengths)
        assert found == {20} if rows > 20 else len(found) == 1 and max(found) <= 20
    shapes.clear()
    reader.answer_many(questions[:1], batch_size=3)
    assert {n for n, _ in shapes} == {3}


def test_rows_are_what_the_network_reads(reader):
    rows = reader.rows([("法国？", ["法国是", ""]), ("Ａ", ["a"])])
    assert [len(row.passage) for row in rows] == [3, 0, 1]
    assert [row.features.shape for row in rows] == [(3, 5), (0, 5), (1, 5)]
    np.testing.assert_array_equal(rows[0].question[:2], rows[0].passage[:2])
    np.testing.assert_array_equal(rows[2].question, rows[2].passage)  # width and case are one
    outputs = reader.network.predict_on_batch(padded(rows[:1], 16, 8, 1))
    (passage, _) = reader.answer("法国？", ["法国是", ""]).passages
    np.testing.assert_allclose(outputs["places"][0, :3, 0], passage.p_start, atol=1e-6)
    with pytest.raises(ValueError, match=r"questions\[1\] must have a question"):
        reader.rows([("问", []), ("", [])])


def test_a_reading_says_where_its_answer_comes_from(reader):
    found = [r for r in reader.answer_many(asked(60, split="SS")) if r.answer]
    assert len(found) > 30
    for reading in found:
        assert reading.score == reading.votes[reading.answer] == max(reading.votes.values())
        for passage in reading.passages:
            assert len(passage.p_start) == len(passage.p_end) == len(passage.text)
            assert (passage.span is None) == (reading.answer not in passage.candidates)
            if passage.span is not None:
                start, end = passage.span
                assert passage.text[start:end] == reading.answer
                own = passage.p_start[start] * passage.p_end[end - 1]
                assert own == pytest.approx(passage.candidates[reading.answer])


def test_order_width_and_case_do_not_matter(reader):
    question, texts = (
        "法国的首都是哪里？",
        ["法国的首都是巴黎。", "a德国的首都是柏林", "无关的话。"],
    )
    one = reader.answer(question, texts)
    other = reader.answer(question, texts[::-1])
    assert one.answer == other.answer
    assert one.score == pytest.approx(other.score, abs=1e-5)
    wide = reader.answer(question.replace("？", "?"), [*texts[:1], "Ａ" + texts[1][1:], texts[2]])
    assert wide.answer == one.answer
    np.testing.assert_allclose(wide.passages[1].p_start, one.passages[1].p_start, atol=1e-6)
    assert wide.passages[1].text[0] == "Ａ"  # texts come back as they were


def test_odd_input_is_answered_or_refused_by_name(reader):
    assert reader.answer_many([]) == []
    assert reader.answer("问？", []) == ("", 0.0, {}, ())
    empty = reader.answer("问？", ["", "法国的首都是巴黎。"])
    assert empty.passages[0].candidates == {}
    assert len(empty.passages[0].p_start) == 0
    long = reader.answer("法国的首都是哪里？", ["法国的首都是巴黎。" + "无" * 2000, "\U0001f600"])
    assert len(long.passages[0].p_start) == 2009
    for wrong, error in (
        (("", ["a"]), ValueError),
        ((None, ["a"]), TypeError),
        (("问", "一段"), TypeError),
        (("问", [1]), TypeError),
    ):
        with pytest.raises(error, match=r"questions\[0\]"):
            reader.answer(*wrong)
    with pytest.raises(ValueError, match="batch_size"):
        reader.answer_many([("问", ["一段"])], batch_size=0)
    with pytest.raises(RuntimeError, match="has not been trained"):
        DGCNNReader().answer("问", ["一段"])


def test_further_characters_have_fixed_vectors_and_others_none(reader):
    assert not set(reader.characters) & set(reader.further)
    numbers = reader._ids("首鑫\U0001f600")
    known = 2 + len(reader.characters)
    assert 1 < numbers[0] < known <= numbers[1]
    assert numbers[2] == 1
    (fixed,) = reader.network.get_layer("fixed_characters").get_weights()
    names, table = character_vectors(16)
    for name, number in zip("首鑫", numbers[:2], strict=True):
        np.testing.assert_array_equal(fixed[number], table[names.index(name)])
    assert not fixed[:2].any()


# -- keeping --------------------------------------------------------------------------------------


def test_a_saved_reader_answers_as_before(reader, tmp_path):
    folder = reader.save(tmp_path / "reader")
    assert sorted(path.name for path in folder.iterdir()) == ["network.keras", "reader.json"]
    loaded = DGCNNReader.load(reader.save(folder))  # in place of the one there
    assert (loaded.config, loaded.seed) == (reader.config, reader.seed)
    questions = asked(20, split="NN")
    for a, b in zip(reader.answer_many(questions), loaded.answer_many(questions), strict=True):
        assert a.votes == b.votes
        for one, two in zip(a.passages, b.passages, strict=True):
            np.testing.assert_array_equal(one.p_end, two.p_end)


def test_what_is_no_reader_is_refused_and_nothing_is_overwritten(reader, tmp_path):
    with pytest.raises(RuntimeError, match="nothing to save"):
        DGCNNReader().save(tmp_path / "new")
    (tmp_path / "letter.txt").write_text("Dear")
    with pytest.raises(ValueError, match="holds other things"):
        reader.save(tmp_path)
    with pytest.raises(FileNotFoundError, match="holds no reader"):
        DGCNNReader.load(tmp_path)
    folder = reader.save(tmp_path / "reader")
    about = json.loads((folder / "reader.json").read_text(encoding="utf-8"))
    for text, message in (
        ("{", "damaged"),
        (json.dumps(about | {"form": 2}), "form 2"),
        (json.dumps(about | {"config": {"width": 0}}), "damaged .*width"),
        (json.dumps({"form": 1}), "damaged"),
    ):
        (folder / "reader.json").write_text(text)
        with pytest.raises(ValueError, match=message):
            DGCNNReader.load(folder)
    for change in (
        {"characters": about["characters"] + "龘"},
        {"characters": about["characters"][1:]},
        {"further": about["further"] + "龘"},
    ):
        (folder / "reader.json").write_text(json.dumps(about | change))
        with pytest.raises(ValueError, match="do not belong together: save the reader again"):
            DGCNNReader.load(folder)
    rates = about["config"]["passage_rates"]
    for wrong in ([*rates[:-1], rates[-1] + 1], rates[:-1], [*rates, 1]):
        changed = about | {"config": about["config"] | {"passage_rates": wrong}}
        (folder / "reader.json").write_text(json.dumps(changed))
        with pytest.raises(ValueError, match="do not belong together"):
            DGCNNReader.load(folder)
    reader.save(folder)
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    other.save(folder / "network.keras")
    with pytest.raises(ValueError, match="do not belong together"):
        DGCNNReader.load(folder)
    reader.save(folder)
    (folder / "network.keras").write_bytes(b"PK")
    with pytest.raises(ValueError, match="network.keras is damaged"):
        DGCNNReader.load(folder)


def test_a_training_that_diverges_says_so_and_leaves_no_reader():
    reader = DGCNNReader()
    examples = [("法国的首都是哪里？", "巴黎", ["巴黎是法国的首都。", "柏林很大。"])] * 40
    with pytest.raises(FloatingPointError, match="choose a learning_rate below 1e"):
        reader.fit(examples, Training(epochs=20, batch_size=8, learning_rate=1e30))
    assert reader.network is None


def test_characters_may_be_read_as_others_and_answers_keep_their_own(tmp_path):
    """The same network sees the same, whichever form of a character the text has."""
    plain = [("圆的是什么？", "圆石", ["山上有圆石。", "河里有鱼。"])]
    other = [("圓的是什麼？", "圓石", ["山上有圓石。", "河裡有魚。"])]
    pairs = dict(zip("圓麼裡魚", "圆么里鱼", strict=True))
    one, two = DGCNNReader(TINY, 0, pairs), DGCNNReader(TINY, 0, pairs)
    assert one.fit(plain * 8, QUICK) == two.fit(other * 8, QUICK)
    assert one.characters == two.characters
    read = DGCNNReader.load(two.save(tmp_path / "reader"))
    assert read.read_as == pairs
    ours = read.answer(other[0][0], other[0][2])
    theirs = one.answer(plain[0][0], plain[0][2])
    for here, there in zip(ours.passages, theirs.passages, strict=True):
        assert here.p_start == pytest.approx(there.p_start, abs=1e-6)
        assert here.text in other[0][2]
        assert all(span in here.text for span in here.candidates)
    about = json.loads((tmp_path / "reader" / "reader.json").read_text(encoding="utf-8"))
    (tmp_path / "reader" / "reader.json").write_text(
        json.dumps(about | {"read_as": "圓圆麼"}), encoding="utf-8"
    )
    with pytest.raises(ValueError, match=r"reader\.json is damaged"):
        DGCNNReader.load(tmp_path / "reader")


@pytest.mark.parametrize("pairs", [{"圓圓": "圆"}, {"圓": ""}, {"圓": "圆圆"}])
def test_only_single_characters_are_read_as_others(pairs):
    with pytest.raises(ValueError, match="read_as must map single characters"):
        DGCNNReader(TINY, 0, pairs)
