"""Compare `kexian word2vec` with gensim on the People's Daily: time, and neighbours by POS@10.

Both get the same words, dimension 100, windows of 5, words of five occurrences and more, one
thread. POS@10 is the share of the ten nearest words that have the part of speech of the word, over
all words that occur 20 to 1,000 times. gensim is not among the project's packages:

    pip install gensim
    OMP_NUM_THREADS=1 python tools/compare_word_vectors.py
"""

from __future__ import annotations

import time
from collections import Counter

import numpy as np

from kexian_utils import datasets
from kexian_utils.language.text import word_f1
from kexian_utils.language.word_vectors import (
    VectorTraining,
    WordVectors,
    cut_by_neighbours,
    number_words,
    train_word_vectors,
)

TAGS: dict[str, Counter] = {}


def pos_at_ten(vectors: WordVectors) -> tuple[float, float, int]:
    """POS@10, what chance gives, and the number of words asked."""
    asked = [i for i, w in enumerate(vectors.words) if 20 <= TAGS[w].total() <= 1000]
    kinds = np.array([TAGS[vectors.words[i]].most_common(1)[0][0] for i in asked])
    units = vectors.vectors[asked]
    units = units / np.linalg.norm(units, axis=1, keepdims=True)
    cosines = units @ units.T
    np.fill_diagonal(cosines, -2)
    nearest = np.argpartition(-cosines, 10, axis=1)[:, :10]
    _, sizes = np.unique(kinds, return_counts=True)
    chance = np.sum(sizes * (sizes - 1)) / (len(asked) * (len(asked) - 1))
    return float(np.mean(kinds[nearest] == kinds[:, None])), float(chance), len(asked)


def told(name: str, vectors: WordVectors, wall: float, cpu: float) -> None:
    """Print a row."""
    score, chance, asked = pos_at_ten(vectors)
    print(
        f"{name:<28} POS@10 {score:.3f} (chance {chance:.3f}, {asked} words), "
        f"{cpu:.0f} s of processor time, {wall:.0f} s",
        flush=True,
    )


def timed(make):
    """What `make` returns, and the seconds that it took."""
    wall, cpu = time.monotonic(), time.process_time()
    return make(), time.monotonic() - wall, time.process_time() - cpu


def main() -> None:
    """Print all rows."""
    for words, tags in zip(datasets.peoples_daily(), datasets.peoples_daily_tags(), strict=True):
        for word, tag in zip(words, tags, strict=True):
            TAGS.setdefault(word, Counter())[tag] += 1
    articles = datasets.peoples_daily_documents()
    documents = [[word for paragraph in article for word in paragraph] for article in articles]
    cut = cut_by_neighbours(["".join(words) for words in documents])
    print(f"--cut counts: F1 of words {word_f1(cut, documents).f1:.3f}")
    text = number_words(documents)
    for epochs in (1, 5):
        for seed in (0, 1):
            training = VectorTraining(epochs=epochs)
            found = timed(lambda t=training, s=seed: train_word_vectors(text, t, s))
            told(f"kexian, {epochs} epochs, seed {seed}", *found)
    try:
        from gensim.models import Word2Vec
    except ImportError:
        print("gensim is not installed: pip install gensim")
        return
    for epochs in (5, 20):
        for skip_gram in (0, 1):
            options = dict(vector_size=100, window=5, min_count=5, workers=1, seed=0)
            model, wall, cpu = timed(
                lambda o=options, g=skip_gram, e=epochs: Word2Vec(documents, sg=g, epochs=e, **o)
            )
            vectors = WordVectors(model.wv.index_to_key, model.wv.vectors)
            name = "Skip-Gram" if skip_gram else "CBOW"
            told(f"gensim {name}, {epochs} epochs", vectors, wall, cpu)


if __name__ == "__main__":
    main()
