"""Words and trees read off small random models: nothing is lost, and the scores are the model's."""

import itertools
import json
import unicodedata

import bert_folders as folders
import numpy as np
import pytest

from kexian_utils.bert import ProbingModel, impact_matrix
from kexian_utils.bert import models as reading_models
from kexian_utils.bert import segmenter as segmenter_module
from kexian_utils.bert.models import CountedTies, ReadingModel, chinese_bert, open_model
from kexian_utils.bert.parser import Parser
from kexian_utils.bert.segmenter import Segmentation, Segmenter
from kexian_utils.bert.wordpiece import AlignedTokens
from kexian_utils.bert.words import is_punctuation, split_words
from kexian_utils.language import trees
from kexian_utils.language.text import NeighbourPMI

CHARACTERS = list("今天气很好我们的模型训练大小山水abcxyz0123456789.,!?，。！？“”—…(") + ["é"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
NASTY = [
    *"今天气很好我们的模型水山大小",
    *"abzQ09é ß İ ﬁ",
    *"。！？；…，、：“”（）《》·—", *".,!?;:'\"-_/%()[]$^",
    *" \t\u3000\xa0\u2003",
    *"\x00\x07\x1b\x1c\x1f\x85\r\u2028\u2029\u200b\u200d\u200e\ufeff\ufffd\ufe0f\u0301\u0327\u20e3",
    *"ＡｂＣ１２３，。！", "\ud800", "\udfff", "\udc80", "😀", "👍🏽", "👨‍👩‍👧", "🇨🇳",
    "𠮷", "각", "ᄀ", "カ", "ｶﾞ", "㈱", "ไท", "ع",
    "\U000e0041", "\ue000", "\U0010ffff",
]  # fmt: skip


def folder(path, characters, head=True, layers=2, **settings):
    vocabulary = [*SPECIAL, *CHARACTERS] if characters else folders.VOCABULARY
    c = folders.config(vocab_size=max(29, len(vocabulary)), num_hidden_layers=layers)
    values = folders.tensors(c, mlm=head)
    folders.write(path, c, folders.prefixed(values) if head else values, vocabulary)
    if characters:
        (path / "tokenizer_config.json").write_text(json.dumps({"kexian_characters": True}))
    if settings:
        (path / "segmentation.json").write_text(json.dumps(settings))
    return path


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {
        "characters": folder(root / "characters", True),
        "words": folder(root / "words", False),
        "headless": folder(root / "headless", False, head=False, layers=3),
        "known": folder(root / "known", True, score="kl", threshold=0.5),
    }


@pytest.fixture(scope="module")
def models(paths):
    return {name: open_model(path, threads=1) for name, path in paths.items()}


def words(model, text, **options):
    return next(Segmenter(model, **options)([text])).words


def nasty_texts(count, seed=0, longest=60):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        pool = rng.choice(len(NASTY), rng.integers(1, 9))  # few kinds, so that runs occur
        pool = pool if rng.random() < 0.5 else np.arange(len(NASTY))
        yield "".join(NASTY[rng.choice(pool)] for _ in range(rng.integers(0, longest)))


# Segmentation


@pytest.mark.parametrize("name", ["characters", "words"])
@pytest.mark.parametrize("rules", [True, False])
def test_no_character_is_lost_or_changed(models, name, rules):
    texts = list(nasty_texts(150, seed=rules))
    texts += ["", " ", "\x00", "e" + "\u0301" * 99, "a" * 99, "각" * 40, "\u200d" * 50]
    texts.append("\U0001f3f4" + "\U000e0067" * 60)  # one sign of more units than positions
    found = list(Segmenter(models[name], rules=rules, cut_share=0.5)(texts))
    assert [f.text for f in found] == texts
    for f in found:
        assert "".join(f.words) == "".join(f.units) == f.text
        assert all(f.words)
        assert all(f.units)
        assert len(f.scores) == max(len(f.units) - 1, 0)
    cuts = sum(len(f.words) - 1 for f in found) / sum(len(f.scores) for f in found)
    assert 0.3 < cuts < 0.9, "the property must have met texts that are cut and such that are not"


@pytest.mark.parametrize("score", ["pmi", "kl", "probability", "euclidean", "cosine"])
def test_scores_are_those_of_the_full_matrix(models, score):
    model = models["characters"]
    text = "今天天气很好我们的模型"
    layer = 1 if score in ("euclidean", "cosine") else None
    found = next(Segmenter(model, score, layer, threshold=0.0)([text]))
    assert found.units == list(text)
    ids = model.probe.tokens(text).ids
    layers = None if layer is None else [layer]
    matrix = impact_matrix(model.probe, ids, None, "double", score, layers)
    matrix = matrix if layer is None else matrix[0]
    want = (np.diagonal(matrix, 1) + np.diagonal(matrix, -1)) / 2
    # Differences of float32 logarithms near -10: their last digit is 1e-6.
    np.testing.assert_allclose(found.scores, want, rtol=2e-5, atol=5e-6)
    cuts = [t + 1 for t in range(len(text) - 1) if found.scores[t] < 0.0]
    ends = np.cumsum([len(word) for word in found.words])[:-1].tolist()
    assert ends == cuts


def test_a_text_gets_the_same_alone_and_among_others(models):
    texts = [t for t in nasty_texts(40, seed=5) if t]
    together = list(Segmenter(models["characters"], threshold=0.1)(texts))
    for text, found in zip(texts[:15], together, strict=False):
        alone = next(Segmenter(models["characters"], threshold=0.1)([text]))
        assert alone.units == found.units
        for a, b in zip(alone.scores, found.scores, strict=True):
            assert a == b or a == pytest.approx(b, abs=1e-4)


def test_a_long_sentence_is_scored_without_a_gap(models):
    """24 positions: pieces of 22 characters, with bridges of 11 on each side."""
    model, text = models["characters"], "今天天气很好我们的模型训练大小山水" * 5
    found = next(Segmenter(model, threshold=0.0, rules=False)([text]))
    assert found.units == list(text)
    assert None not in found.scores
    place = 22
    window = next(Segmenter(model, threshold=0.0)([text[place - 11 : place + 11]]))
    assert found.scores[place - 1] == pytest.approx(window.scores[10], rel=1e-4, abs=1e-5)
    inside = next(Segmenter(model, threshold=0.0)([text[:place]]))
    np.testing.assert_allclose(found.scores[: place - 1], inside.scores, rtol=1e-4, atol=1e-5)


def test_a_word_longer_than_the_positions_stays_whole(models):
    for name in ("words", "characters"):
        assert words(models[name], "x" * 90, threshold=1e9) == ["x" * 90]
    assert words(models["words"], "今" + "x" * 90 + "天", threshold=1e9) == ["今", "x" * 90, "天"]


HIGH, LOW = 1e9, -1e9  # cut all, cut nothing that the model may decide


@pytest.mark.parametrize(
    ("text", "units", "sure"),
    [
        ("ab今天", "ab|今|天", "ab今天"),
        ("3.14", "3|.|14", "3.14"),
        ("１，０００元", "１|，|０００|元", "１，０００元"),
        ("今天，天气。", "今|天|，|天|气|。", "今天|，|天气|。"),
        ("“好”……", "“|好|”|…|…", "“|好|”|……"),
        ("今  天", "今  |天", "今  |天"),
        (" 今\u3000天", " 今\u3000|天", " 今\u3000|天"),
        ("好!a", "好|!|a", "好|!|a"),
        ("é1е", "é1е", "é1е"),
        ("50%", "50|%", "50%"),
    ],
)
def test_rules(models, text, units, sure):
    assert words(models["characters"], text, threshold=HIGH) == units.split("|")
    assert words(models["characters"], text, threshold=LOW) == sure.split("|")


def test_without_rules_only_spaces_and_sentences_cut(models):
    options = {"rules": False, "threshold": LOW}
    assert words(models["characters"], "ab，今 天。好", **options) == ["ab，今 ", "天。", "好"]
    options["threshold"] = HIGH
    assert words(models["characters"], "ab今", **options) == ["a", "b", "今"]


def test_cut_share_is_a_quantile_of_the_first_texts(models, monkeypatch):
    monkeypatch.setattr("kexian_utils.bert.segmenter.SAMPLE", 4)
    texts = ["今天天气很好", "我们的模型", "大小山水", "训练", "今天的模型很好"] * 2
    segmenter = Segmenter(models["characters"], cut_share=0.25)
    assert segmenter.threshold is None
    found = list(segmenter(texts))
    values = np.array([s for f in found[:4] for s in f.scores])
    assert np.mean(values < segmenter.threshold) == pytest.approx(0.25, abs=1 / len(values))
    assert {f.threshold for f in found} == {segmenter.threshold}
    assert Segmenter(models["characters"]).cut_share == 0.6
    empty = Segmenter(models["characters"])
    assert next(empty([""])).words == []
    assert empty.threshold == 0.0


def test_texts_are_read_as_needed(models):
    endless = itertools.cycle(["今天", "", "\x00 "])
    segmenter = Segmenter(models["characters"], threshold=0.0)
    assert [f.text for f in itertools.islice(segmenter(endless), 3)] == ["今天", "", "\x00 "]
    parsed = Parser(models["words"])(itertools.cycle(["the weather", "", "a"]))
    assert [p.number for p in itertools.islice(parsed, 4)] == [0, 2, 3, 5]


def test_known_thresholds(models, paths, tmp_path):
    known = models["known"]
    assert known.known == ("kl", 0.5)
    assert (Segmenter(known).score, Segmenter(known).threshold) == ("kl", 0.5)
    assert Segmenter(known, "kl").threshold == 0.5
    assert Segmenter(known, "pmi").threshold is None
    assert Segmenter(known, cut_share=0.3).threshold is None
    assert Segmenter(known, threshold=2).threshold == 2
    assert Segmenter(models["words"]).score == "pmi"
    assert Segmenter(models["headless"]).score == "euclidean"
    assert Segmenter(models["headless"]).layer == 3
    for number, text in enumerate(['{"score": "pmi"}', "[", '{"score": "x", "threshold": 1}', "3"]):
        path = folder(tmp_path / str(number), True)
        (path / "segmentation.json").write_text(text)
        with pytest.raises(ValueError, match=r"must (hold a|be) JSON|must hold a score"):
            open_model(path)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("words", {"score": "tf"}, "score must be one of pmi"),
        ("headless", {"score": "pmi"}, "score 'pmi' needs a model with a masked"),
        ("words", {"score": "pmi", "layer": 1}, "layer belongs to the scores euclidean"),
        ("words", {"layer": 1}, "layer belongs to the scores euclidean"),
        ("words", {"score": "cosine", "layer": 0}, "layer must be a whole number from 1 to 2"),
        ("words", {"score": "cosine", "layer": 3}, "layer must be a whole number from 1 to 2"),
        ("words", {"threshold": float("nan")}, "threshold must be a finite number"),
        ("words", {"threshold": 1, "cut_share": 0.5}, "exclude each other"),
        ("words", {"cut_share": 1.2}, "cut_share must be from 0 to 1"),
    ],
)
def test_bad_arguments_of_the_segmenter(models, name, options, words):
    with pytest.raises(ValueError, match=words):
        Segmenter(models[name], **options)


def test_long_sentences_are_scored_in_windows(models):
    """Every gap once, in order, with context on both sides, in few tokens: the cost is theirs."""
    probe = models["characters"].probe
    for units in (1, 2, 40, 41, 57, 60):
        tokens = probe.tokenizer("今天天气很好" * 10)
        tokens = AlignedTokens(tokens.ids, tokens.spans[:units], [])
        windows = list(segmenter_module._windows(tokens))
        assert sum(len(w.spans) - 1 for w in windows) == units - 1
        if units <= 40:
            assert [w.ids for w in windows] == [tokens.ids] * (units > 1)
            continue
        gaps = 0
        for w in windows:
            for (a, b), (c, d) in zip(w.spans, tokens.spans[gaps:], strict=False):
                assert w.ids[a:b] == tokens.ids[c:d]
            before, after = w.spans[0][0] - 1, len(w.ids) - 1 - w.spans[-1][1]
            gaps += len(w.spans) - 1
            assert before >= 5 or gaps == len(w.spans) - 1
            assert after >= 5 or gaps + after == units - 1
            assert len(w.ids) <= 2 + 9 + 10


def test_counts_are_weighed_into_the_score(models):
    text = "今天 天气很好。"
    model = models["headless"]
    (alone,) = Segmenter(model, "euclidean", threshold=0.0)([text])
    ties = CountedTies(NeighbourPMI(["今天天气很好", "天气今天很好"]), 0.25, 2.0)
    both = Segmenter(ReadingModel("both", model.probe, ("counts+euclidean", 1.5), ties))
    (found,) = both([text])
    assert (both.score, both.threshold, found.units) == ("counts+euclidean", 1.5, alone.units)
    assert found.words != []
    for (unit, after), score, own in zip(
        itertools.pairwise(found.units), found.scores, alone.scores, strict=True
    ):
        if own is None:
            assert score is None
        else:
            want = 0.25 * ties.pmi(unit.strip()[-1] + after[0])[0] + 0.75 * 2.0 * own
            assert score == pytest.approx(want, rel=1e-4, abs=1e-5)
    with pytest.raises(ValueError, match="score must be one of pmi"):
        Segmenter(model, "counts+euclidean")


def test_bad_texts(models):
    for reader in (Segmenter(models["words"]), Parser(models["words"])):
        with pytest.raises(TypeError, match="texts must be an iterable of strings"):
            next(reader("the weather"))
        with pytest.raises(TypeError, match="texts must be strings, got int"):
            next(reader([3]))


def test_a_model_that_gives_no_numbers_is_named(tmp_path):
    path = folder(tmp_path / "broken", True)
    values = folders.tensors(json.loads((path / "config.json").read_text()), mlm=True)
    values["cls.predictions.bias"][:] = np.nan
    folders.save_file(folders.prefixed(values), path / "model.safetensors")
    with pytest.raises(ValueError, match="scores that are not finite"):
        next(Segmenter(open_model(path))(["今天"]))


# Models


def test_names_of_models(paths, tmp_path, monkeypatch):
    import huggingface_hub

    asked = []

    def download(name, **_):
        asked.append(name)
        if name != "owner/name":
            raise OSError("404 not found")
        return paths["words"]

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(reading_models, "BUNDLED", {"minilm": lambda: paths["headless"]})
    monkeypatch.chdir(tmp_path)
    assert open_model("owner/name").name == "owner/name"
    assert open_model("hf://owner/name").probe.encoder.has_head
    assert asked == ["owner/name"] * 2
    assert not open_model("minilm").probe.encoder.has_head
    folder(tmp_path / "minilm", True)
    folder(tmp_path / "owner" / "name", True)
    for name in ("minilm", "owner/name"):  # folders come first
        assert open_model(name).probe.tokenizer.characters
    with pytest.raises(ValueError, match=r"no folder a/b, and hf://a/b cannot be downloaded \(404"):
        open_model("a/b")
    with pytest.raises(ValueError, match=r"model must be minilm, a folder.*got 'berta'"):
        open_model("berta")
    with pytest.raises(ValueError, match="got './a/b', which is none"):
        open_model("./a/b")
    (paths["words"] / "vocab.txt").rename(tmp_path / "vocab.txt")
    try:
        with pytest.raises(ValueError, match=r"must hold vocab.txt, which is missing"):
            open_model(paths["words"])
    finally:
        (tmp_path / "vocab.txt").rename(paths["words"] / "vocab.txt")


def test_the_bundled_model_segments(monkeypatch, tmp_path):
    model = open_model("chinese")
    assert model.probe.tokenizer.characters
    assert model.probe.encoder.has_head
    assert model.known is not None
    found = next(Segmenter(model)(["今天天气很好，我们去公园。"]))
    assert "".join(found.words) == found.text
    assert {"，", "。"} <= set(found.words)
    assert (chinese_bert() / "segmentation.json").is_file()
    monkeypatch.setattr(reading_models, "__file__", str(tmp_path / "bert" / "models.py"))
    with pytest.raises(ValueError, match=r"must hold model.safetensors.*install again"):
        chinese_bert()


# Words of other scripts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's 3.14, isn’t it?", "It's|3.14|,|isn’t|it|?"),
        ("U.S. long-term (1,000) a:b 12:30", "U.S|.|long|-|term|(|1,000|)|a|:|b|12:30"),
        ("snake_case e\u0301 $5", "snake_case|e\u0301|$|5"),
        ("👨‍👩‍👧👍🏽 x", "👨‍👩‍👧|👍🏽|x"),
        ("'quoted' ... end", "'|quoted|'|.|.|.|end"),
        ("a\ud800 \x00", "a\ud800|\x00"),
        ("  ", ""),
    ],
)
def test_words_between_spaces(text, words):
    assert [text[a:b] for a, b in split_words(text)] == (words.split("|") if words else [])


def test_split_words_leaves_out_white_space_alone():
    for text in nasty_texts(200, seed=3):
        found = split_words(text)
        assert "".join(text[a:b] for a, b in found) == "".join(text.split())
        assert all(a < b for a, b in found)
        assert [a for a, _ in found] == sorted({a for a, _ in found})


def test_punctuation():
    assert all(map(is_punctuation, [".", "...", "，", "”", "--", "\x00", "`", "(", "·"]))
    assert not any(map(is_punctuation, ["a.", "%", "％", "&", "$", "+", "😀", "3", "\ue000a"]))


# Trees


TEXT = "The weather is training, we sum a small model today."
PLAIN = ["The", "weather", "is", "training", "we", "sum", "a", "small", "model", "today"]


def matrix_of(model, sentence, kept, mode, layer):
    """By the words themselves: all of them are read, those that are kept are masked."""
    tokens = model.probe.tokens(sentence)
    full = impact_matrix(model.probe, tokens.ids, tokens.spans, mode, "euclidean", [layer])[0]
    return full[np.ix_(kept, kept)]


@pytest.mark.parametrize("mode", ["single", "double"])
def test_trees_are_those_of_the_matrix(models, mode):
    model = models["headless"]
    sentence = [*PLAIN[:4], ",", *PLAIN[4:], "."]
    kept = [t for t, word in enumerate(sentence) if word not in ".,"]
    want = matrix_of(model, sentence, kept, mode, 2)
    made = {
        "spanning": trees.max_spanning_tree(want / want.sum(axis=1, keepdims=True)).tolist(),
        "eisner": trees.eisner(want.T).tolist(),
        "phrases": trees.top_down_tree(want, "min_between"),
    }
    for kind, tree in made.items():
        (found,) = Parser(model, kind, mode, layer=2)([TEXT])
        assert found.words == PLAIN
        assert [TEXT[a:b] for a, b in found.offsets] == PLAIN
        assert (found.kind, found.mode, found.layer) == (kind, mode, 2)
        np.testing.assert_allclose(found.matrix, want, rtol=1e-4, atol=1e-5)
        assert (found.tree if kind == "phrases" else found.tree.tolist()) == tree


def test_eisner_gets_heads_in_its_rows(models):
    """Score of head h for dependent m is the impact of h on m: brute force over all heads."""
    (found,) = Parser(models["headless"], "eisner")(["the weather is small"])
    n = 4

    def total(heads):
        return sum(found.matrix[m, h] for m, h in enumerate(heads) if h >= 0)

    def is_tree(heads):
        if sum(h < 0 for h in heads) != 1 or any(h == m for m, h in enumerate(heads)):
            return False
        for start in range(n):
            node = start
            for _ in range(n):
                node = heads[node] if node >= 0 else node
            if node >= 0:
                return False
        arcs = [sorted((m, h)) for m, h in enumerate(heads) if h >= 0]
        root = heads.index(-1)
        crossing = any(a < c < b < d for a, b in arcs for c, d in arcs)
        return not crossing and not any(a < root < b for a, b in arcs)

    best = max((h for h in itertools.product(range(-1, n), repeat=n) if is_tree(h)), key=total)
    assert found.tree.tolist() == list(best)


def test_punctuation_may_stay(models):
    (found,) = Parser(models["headless"], keep_punctuation=True)([TEXT])
    assert found.words == [*PLAIN[:4], ",", *PLAIN[4:], "."]
    assert len(found.tree) == len(found.words) - 1


def test_default_layers(models, tmp_path):
    for layers, spanning, phrases in ((1, 1, 1), (2, 2, 1), (3, 2, 2), (4, 3, 3), (6, 5, 4)):
        model = open_model(folder(tmp_path / str(layers), False, layers=layers))
        assert next(Parser(model)(["the"])).layer == spanning
        for kind in ("phrases", "eisner"):
            assert next(Parser(model, kind)(["the"])).layer == phrases
    with pytest.raises(ValueError, match="layer must be a whole number from 1 to 3"):
        Parser(models["headless"], layer=4)
    with pytest.raises(ValueError, match="tree must be one of spanning, eisner, phrases"):
        Parser(models["headless"], "chain")
    with pytest.raises(ValueError, match="mode must be one of double, single"):
        Parser(models["headless"], mode="triple")


def test_sentences_of_few_words(models):
    for kind, one, none in (("spanning", [], []), ("eisner", [-1], []), ("phrases", 0, None)):
        found = list(Parser(models["words"], kind)(["Today.", "...", " ", "", "\x00", "。"]))
        assert [f.number for f in found] == [0, 1, 4, 5]
        assert [f.words for f in found] == [["Today"], [], [], []]
        as_lists = [f.tree.tolist() if hasattr(f.tree, "tolist") else f.tree for f in found]
        assert as_lists == [one, none, none, none]
        assert [f.matrix.shape for f in found] == [(1, 1), (0, 0), (0, 0), (0, 0)]


def test_texts_are_parsed_sentence_by_sentence(models):
    texts = ["The weather is small. We train a model!", "", "a model\u2028the sum"]
    found = list(Parser(models["words"])(texts))
    assert [(f.number, " ".join(f.words)) for f in found] == [
        (0, "The weather is small"),
        (0, "We train a model"),
        (2, "a model"),
        (2, "the sum"),
    ]
    for number, text in enumerate(texts):
        assert "".join(f.text for f in found if f.number == number) == text


def test_words_that_are_given(models):
    (found,) = Parser(models["words"])(["Mr . do n't 3 . "], tokenized=True)
    assert found.words == ["Mr", "do", "n't", "3"]


@pytest.mark.parametrize("text", ["weather " * 60, "今天天气很好" * 30, "x" * 300, "a-" * 80])
def test_long_sentences_are_parsed_in_parts(models, text):
    for tokenized in (False, True):
        found = list(Parser(models["words"])([text], tokenized))
        assert "".join(f.text for f in found) == text
        joined = "".join(word for f in found for word in f.words)
        assert joined == "".join(c for c in text if c not in " -") or tokenized
        for f in found:
            assert [f.text[a:b] for a, b in f.offsets] == f.words


def test_chinese_is_segmented_first(models):
    text = "今天天气很好，我们训练模型。"
    cut = next(Segmenter(models["known"])([text])).words
    (found,) = Parser(models["known"], "spanning")([text])
    assert found.words == [word for word in cut if word not in "，。"]
    want = matrix_of(
        models["known"], cut, [t for t, word in enumerate(cut) if word not in "，。"], "single", 2
    )
    np.testing.assert_allclose(found.matrix, want, rtol=1e-4, atol=1e-5)


def test_default_models_follow_the_script(paths, monkeypatch):
    bundled = {"chinese": lambda: paths["known"], "minilm": lambda: paths["headless"]}
    monkeypatch.setattr(reading_models, "BUNDLED", bundled)
    found = list(Parser()(["The weather. 今天很好。 We sum.", "我们"]))
    assert [f.model for f in found] == ["minilm", "chinese", "minilm", "chinese"]
    assert [f.kind for f in found] == ["spanning", "phrases", "spanning", "phrases"]
    assert {f.kind for f in Parser(tree="eisner")(["The weather. 今天很好。"])} == {"eisner"}
    with pytest.raises(ValueError, match="layer must be a whole number from 1 to 2"):
        list(Parser(layer=3)(["The weather.", "今天"]))


def test_a_model_may_read_two_kinds_of_trees(models):
    texts = ["The weather is small.", "今天天气很好。", "We train a model."]
    both = list(Parser(models["known"])(texts))
    for kind, numbers in (("spanning", (0, 2)), ("phrases", (1,))):
        alone = Parser(models["known"], kind)(texts[number] for number in numbers)
        for number, found in zip(numbers, alone, strict=True):
            assert (both[number].kind, both[number].words) == (kind, found.words)
            np.testing.assert_allclose(both[number].matrix, found.matrix, rtol=1e-5, atol=1e-6)


def test_nasty_texts_are_parsed(models):
    texts = list(nasty_texts(60, seed=9, longest=40))
    for name in ("characters", "words"):
        for f in Parser(models[name], "phrases", keep_punctuation=True)(texts):
            assert [f.text[a:b] for a, b in f.offsets] == f.words
            assert np.isfinite(f.matrix).all()
            assert not any(word.isspace() for word in f.words)


def test_a_model_of_ones_own(paths):
    model = ReadingModel("mine", ProbingModel(paths["words"]))
    assert next(Parser(model)(["the weather"])).model == "mine"
    assert Segmentation("ab", ["a", "b"], [0.5], 0.5).words == ["ab"]
    assert Segmentation("ab", ["a", "b"], [None], 0.5).words == ["a", "b"]
    assert unicodedata.category("·") == "Po"
