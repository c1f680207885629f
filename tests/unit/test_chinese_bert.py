"""The Chinese BERT that travels with the package: it is what its card says, and it can be grown."""

import json

import numpy as np
import pytest
import tokenizers

from kexian_utils import bert, datasets
from kexian_utils.bert.characters import character_ids, character_vocabulary
from kexian_utils.bert.expand_checkpoint import expand_checkpoint
from kexian_utils.bert.masking import all_batches, cut_into_rows, mask_rows, pretraining_sentences
from kexian_utils.language import text

pytestmark = pytest.mark.in_turn("kexian_utils/bert", "kexian_utils/data/chinese_bert")


@pytest.fixture(scope="module")
def model():
    return bert.ProbingModel(bert.chinese_bert())


@pytest.fixture(scope="module")
def development():
    return datasets.peoples_daily_split().development


def test_what_travels(model):
    folder = bert.chinese_bert()
    assert sum(path.stat().st_size for path in folder.iterdir()) < 15e6
    assert set(bert.Checkpoint(folder).types.values()) == {"F16"}
    record = json.loads((folder / "training.json").read_text())
    assert record["vocabulary"] == len(model.tokenizer.vocabulary)
    assert record["recipe"]["positions"] == model.encoder.limit
    card = (folder / "README.md").read_text()
    assert f"{min(point['loss'] for point in record['curve']):.3f}" in card


def test_the_vocabulary_is_of_training_articles_alone(model):
    split = datasets.peoples_daily_split()
    texts = ("".join(words) for document in split.train for words in document)
    known = character_vocabulary(texts, minimum_count=2)
    assert known == model.tokenizer.vocabulary


def real_sentences(count):
    """Sentences of Wikipedia, simplified and traditional, with all their punctuation."""
    try:
        sets = [datasets.cmrc2018("trial"), datasets.drcd("development")]
    except datasets.DatasetUnavailable as missing:
        pytest.skip(f"KEXIAN_DATA does not name a folder with the reading sets: {missing}")
    passages = [context.text for found in sets for context in found.contexts]
    return [s for passage in passages for s in text.cut_sentences(passage)][:count]


@pytest.fixture
def library():
    """What `transformers` makes of tokenizer.json."""
    return tokenizers.Tokenizer.from_file(str(bert.chinese_bert() / "tokenizer.json"))


def test_the_library_tokenizers_knows_every_token(model, library):
    vocabulary = model.tokenizer.vocabulary
    assert library.get_vocab() == vocabulary
    for token, number in vocabulary.items():  # … and ℃ among them
        assert library.encode(token).ids == [2, number, 3]
    assert library.encode("他说：“好……”").ids.count(vocabulary["…"]) == 2


def test_the_library_tokenizers_reads_it_as_it_was_trained(model, library):
    """Ids must be those of the training, in every dialogue."""
    vocabulary = model.tokenizer.vocabulary
    sentences = real_sentences(10_000)
    assert len(sentences) == 10_000
    assert sum("……" in s for s in sentences) > 10
    for sentence in sentences:
        want = model.tokenizer(sentence).ids
        assert library.encode(sentence).ids == want, sentence
        assert want[1:-1] == character_ids(sentence, vocabulary), sentence


def test_it_guesses_hidden_characters_as_the_card_says(model, development):
    record = json.loads((bert.chinese_bert() / "training.json").read_text())
    documents = [pretraining_sentences(["".join(w) for w in d]) for d in development[::3]]
    rng = np.random.default_rng(0)
    vocabulary = model.tokenizer.vocabulary
    losses = []
    for batch in all_batches(cut_into_rows(documents, vocabulary, 128, rng), 4096):
        inputs, labels, weights = mask_rows(batch, 0.15, len(vocabulary), rng)
        lines, slots = np.nonzero(weights)
        places = inputs["mask_positions"][lines, slots]
        mask = inputs["padding_mask"]
        states = model.encoder.read(inputs["token_ids"], lines, places, [4], mask)[0]
        logs = model.encoder.log_probabilities(states)
        losses += (-logs[np.arange(len(lines)), labels[lines, slots]]).tolist()
    error = np.std(losses) / np.sqrt(len(losses))
    best = min(point["loss"] for point in record["curve"])
    assert abs(np.mean(losses) - best) < 4 * error + 0.1  # a third of the development articles
    assert len(losses) > 1500


def test_it_cuts_words_as_its_settings_say(model, development):
    settings = json.loads((bert.chinese_bert() / "segmentation.json").read_text())
    sentences = datasets.peoples_daily_sentences(development)[::12]
    segmenter = bert.Segmenter(bert.open_model("chinese"))
    assert (segmenter.score, segmenter.threshold) == (settings["score"], settings["threshold"])
    cut = [found.words for found in segmenter("".join(words) for words in sentences)]
    f1 = text.word_f1(cut, sentences).f1
    told = {name: values[0] for name, values in settings["f1_of_the_command"].items()}
    assert abs(f1 - told["`kexian segment`, development"]) < 0.06
    for corpus in ("test", "GSDSimp, whole"):  # the sum is better than both of its parts
        assert told[f"without rules, {corpus}"] > 0.02 + max(
            told[f"{part}, without rules, {corpus}"]
            for part in ("the model alone (f, Euclid)", "counts alone")
        )


@pytest.mark.parametrize(("heads", "depth"), [("wider", 0), ("more", 1)])
def test_it_grows_without_loss_head_included(model, tmp_path, heads, depth):
    expand_checkpoint(bert.chinese_bert(), tmp_path / "big", width=2, heads=heads, depth=depth)
    rows = np.array([model.tokens("今天天气很好，我们去公园。").ids])
    logs = []
    for folder in (bert.chinese_bert(), tmp_path / "big"):
        encoder = bert.ProbingModel(folder, dtype=np.float64).encoder
        states = encoder.states(rows, [encoder.layers])[0, 0]
        logs.append(encoder.log_probabilities(states))
    small, large = logs
    np.testing.assert_allclose(large, small, atol=1e-5 * np.abs(small).max())
    assert (large.argmax(axis=-1) == small.argmax(axis=-1)).all()
