"""The look-up table against a nearest neighbour that accepts nothing but the same text."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer

from kexian_utils import overlap


def test_keys_forget_case_width_spaces_and_punctuation():
    assert overlap.text_key("很好，ＯＫ！") == overlap.text_key(" 很好 ok。") == "很好ok"
    assert overlap.text_key("不好") != overlap.text_key("好")
    assert overlap.text_key("！？ …") == ""
    assert overlap.text_key("Straße") == overlap.text_key("STRASSE")


def test_overlap_counts_the_other_set():
    train = ["a b", "c"]
    assert overlap.overlap_share(train, ["ab", "A.B.", "d", "e"]) == 0.5
    assert overlap.overlap_share(train, ["ab", "d"], key=str) == 0
    assert overlap.overlap_share(train, ["a b", "d"], key=str) == 0.5
    assert overlap.overlap_share([], ["d"]) == 0
    with pytest.raises(ValueError, match="at least one text"):
        overlap.overlap_share(train, [])


def test_table_agrees_with_brute_force():
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(40)]
    texts, labels = rng.choice(words, 300).tolist(), rng.integers(3, size=300)
    new = [*words, "unseen"]
    table = overlap.LookupTable().fit(texts, labels)
    vocabulary = CountVectorizer(lowercase=False).fit(texts)  # an independent way to match
    seen, asked = vocabulary.transform(texts).toarray(), vocabulary.transform(new).toarray()
    most = np.bincount(labels).argmax()
    expected, known = [], []
    for row in asked:
        votes = np.bincount(labels[(seen == row).all(axis=1)], minlength=3)
        known.append(votes.sum() > 0)
        clear = np.sum(votes == votes.max()) == 1
        expected.append(votes.argmax() if clear else most)
    assert table.default == most
    assert table.predict(new).tolist() == expected
    assert table.knows(new).tolist() == known
    assert overlap.overlap_share(texts, new) == np.mean(known)


def test_ties_and_unknown_texts_get_the_most_frequent_label():
    table = overlap.LookupTable().fit(["a", "a", "b", "b", "b"], ["x", "y", "y", "y", "x"])
    assert table.predict(["a", "b", "c"]).tolist() == ["y", "y", "y"]
    assert table.knows([]).tolist() == table.predict([]).tolist() == []
    assert table.fit(["c"], ["z"]).predict(["a", "c"]).tolist() == ["z", "z"]  # nothing of before


def test_wrong_use_is_refused():
    with pytest.raises(ValueError, match="call fit"):
        overlap.LookupTable().predict(["a"])
    with pytest.raises(ValueError, match="call fit"):
        overlap.LookupTable().knows(["a"])
    for texts, labels in (([], []), (["a"], [1, 2]), (["a"], [[1]])):
        with pytest.raises(ValueError, match="one for each text"):
            overlap.LookupTable().fit(texts, labels)
