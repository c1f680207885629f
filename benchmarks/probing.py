"""How fast impact matrices are, beside the plain ways of computing them with the same encoder.

    .venv/bin/python benchmarks/probing.py [--model FOLDER] [--task TASK] [--output FILE]

Two tasks. Words: full matrices of 20 English sentences by MiniLM, all layers, beside the scheme of
the paper's code (https://arxiv.org/abs/2004.14786): sentence by sentence, for every sub-word a
batch of as many rows as there are sub-words. Neighbours: segmentation scores of 1,000 sentences of
25 characters on average, last layer, by a BERT of 4 layers 256 wide, with random weights unless
`--model` names a folder. All ratios are taken within this run.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kexian_utils import datasets
from kexian_utils.bert import (
    AlignedTokens,
    ProbingModel,
    impact_matrices,
    masked_variants,
    minilm,
    write_safetensors,
)
from kexian_utils.bert.fast_encoder import blas_threads
from kexian_utils.bert.tensor_names import required_names

SHAPE = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 4500}
SAMPLE = 20  # sentences that the slow ways of the second task are timed on


def main() -> int:
    """Run both tasks, print tables, write the record; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", help="folder of the BERT for the second task")
    parser.add_argument("--task", choices=["words", "neighbours"], help="do this one alone")
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--output", type=Path, help="JSON file for the numbers")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = ProbingModel(options.model or random_model(Path(folder)))
    record: dict[str, Any] = {"threads": blas_threads()}
    bars = {}
    if options.task != "neighbours":
        found = record["words"] = words(ProbingModel(minilm()), options.repeats)
        bars |= {
            "words: at least 3 times faster": found["ratio"] >= 3,
            "words: at least 1.3 times the tokens a second": found["token_rate_ratio"] >= 1.3,
            "words: the same numbers to 1e-5": found["difference"] <= 1e-5,
        }
    if options.task != "words":
        found = record["neighbours"] = neighbours(model, options.sentences, options.repeats)
        ratio = found["ratios"]["sentences, all pairs"]
        bars |= {
            "neighbours: at least 3 times faster than all pairs of each sentence": ratio >= 3,
            "neighbours: time linear, exponent at most 1.1": found["exponent"] <= 1.1,
            "neighbours: memory constant, to 10 MB": found["growth_mb"] <= 10,
        }
    record["bars"] = {bar: bool(met) for bar, met in bars.items()}
    for bar, met in bars.items():
        print(f"{'met   ' if met else 'MISSED'} {bar}")
    if options.output:
        options.output.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 0 if all(bars.values()) else 1


def words(model: ProbingModel, repeats: int) -> dict[str, Any]:
    """The library and the paper's scheme on the same sentences, in turn; the best times count."""
    sentences = [model.tokens(s.words) for s in datasets.english_pud()[:20]]
    ways = {
        "paper": lambda: [paper_matrix(model, tokens) for tokens in sentences],
        "library": lambda: list(impact_matrices(model, sentences)),
    }
    seconds, results = best_of(ways, repeats)
    tokens = {
        "paper": sum(len(s.ids) ** 3 for s in sentences),
        "library": sum(len(s.spans) * (len(s.spans) + 1) // 2 * len(s.ids) for s in sentences),
    }
    differences = [
        np.abs(ours - theirs)[:, whole_words(s)].max() / theirs.max()
        for s, ours, theirs in zip(sentences, results["library"], results["paper"], strict=True)
    ]
    rates = {name: tokens[name] / seconds[name] for name in ways}
    print("Words: full matrices of 20 sentences, all layers of MiniLM\n")
    print(f"{'':10}{'tokens':>10}{'seconds':>10}{'tokens/s':>10}")
    for name in ways:
        print(f"{name:10}{tokens[name]:>10}{seconds[name]:>10.2f}{rates[name]:>10.0f}")
    ratio, rate = seconds["paper"] / seconds["library"], rates["library"] / rates["paper"]
    print(f"\ntime {ratio:.1f}, tokens a second {rate:.2f}, difference {max(differences):.1e}\n")
    return {
        "tokens": tokens,
        "seconds": seconds,
        "ratio": ratio,
        "token_rate_ratio": rate,
        "difference": float(max(differences)),
    }


def paper_matrix(model: ProbingModel, tokens: AlignedTokens) -> np.ndarray:
    """Impact by the paper's scheme, shape ``(layers, words, words)``.

    For every sub-word i, [CLS] and [SEP] among them, T rows: in each the word of i is masked, and
    in row j that of j, too. The states of all layers at all positions are computed, as the paper's
    code asks for. Afterwards a word's sub-words are merged: the mean over its rows, the first of
    its columns.
    """
    length = len(tokens.ids)
    word = np.full(length, -1)
    for number, (start, end) in enumerate(tokens.spans):
        word[start:end] = number
    columns = []
    for i in range(length):
        rows = np.tile(tokens.ids, (length, 1))
        for j in range(length):
            hidden = ((word == word[i]) | (word == word[j])) & (word >= 0)
            rows[j, hidden] = model.mask_id
        states = model.encoder.states(rows)[:, :, i]
        columns.append(np.linalg.norm(states[:, i, None] - states, axis=-1))
    matrix = np.stack(columns, axis=1)
    merged = np.stack([matrix[:, a:b].mean(axis=1) for a, b in tokens.spans], axis=1)
    return merged[:, :, [a for a, _ in tokens.spans]]


def whole_words(tokens: AlignedTokens) -> list[int]:
    """Words of one piece: for these the scheme and the definition give the same number."""
    return [n for n, (start, end) in enumerate(tokens.spans) if end - start == 1]


def neighbours(model: ProbingModel, count: int, repeats: int) -> dict[str, Any]:
    """Segmentation scores: growth of time and memory, and other ways on a sample."""
    sentences = list(random_sentences(count, model))
    layer = [model.encoder.layers]

    def library(some: list[AlignedTokens]) -> list[np.ndarray]:
        return list(impact_matrices(model, some, layers=layer, neighbours=True))

    sizes = [max(2, count // part) for part in (4, 2, 1)]
    library(sentences[: sizes[0]])  # warm
    times, peaks = [], []
    for size in sizes:
        start = time.perf_counter()
        library(sentences[:size])
        times.append(time.perf_counter() - start)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    exponent = float(np.polyfit(np.log(sizes), np.log(times), 1)[0])
    sample = sentences[:SAMPLE]
    ways: dict[str, Callable[[], Any]] = {
        "row by row": lambda: [plain(model, s, "neighbours", 1) for s in sample],
        "sentences, all pairs": lambda: [plain(model, s, "all") for s in sample],
        "sentences, neighbours": lambda: [plain(model, s, "neighbours") for s in sample],
        "library, one at a time": lambda: [library([s])[0] for s in sample],
        "library": lambda: library(sample),
    }
    seconds, results = best_of(ways, repeats)
    for found in results.values():
        for got, want in zip(found, results["library"], strict=True):
            np.testing.assert_allclose(got, want, atol=1e-4)
    print(f"Neighbours: {count} sentences, last of {model.encoder.layers} layers\n")
    for size, taken, peak in zip(sizes, times, peaks, strict=True):
        print(f"{size:>6} sentences {taken:>8.2f} s   peak memory {peak:>7.0f} MB")
    print(f"exponent {exponent:.2f}; the same scores of {len(sample)} sentences in other ways:\n")
    ratios = {name: seconds[name] / seconds["library"] for name in ways}
    for name in ways:
        print(f"{name:26}{seconds[name]:>8.2f} s{ratios[name]:>8.2f}")
    print()
    return {
        "sizes": sizes,
        "seconds": times,
        "exponent": exponent,
        "growth_mb": peaks[-1] - peaks[0],
        "sample_seconds": seconds,
        "ratios": ratios,
    }


def plain(
    model: ProbingModel, tokens: AlignedTokens, pairs: str, at_once: int | None = None
) -> np.ndarray:
    """Neighbour scores from whole states of all rows of a sentence, so many rows at a time."""
    variants = masked_variants(tokens.ids, tokens.spans, pairs, model.mask_id)
    step, last = at_once or len(variants.rows), [model.encoder.layers]
    states = np.concatenate(
        [
            model.encoder.states(variants.rows[start : start + step], last)[0]
            for start in range(0, len(variants.rows), step)
        ]
    )
    one = np.arange(len(tokens.spans) - 1)
    scores = 0.0
    for own, other in ((one, one + 1), (one + 1, one)):
        before = states[variants.index[own, own], own + 1]
        after = states[variants.index[own, other], own + 1]
        scores = scores + np.linalg.norm(before - after, axis=-1) / 2
    return scores[None]


def random_sentences(count: int, model: ProbingModel) -> Iterator[AlignedTokens]:
    """Of 5 to 45 characters."""
    rng, size = np.random.default_rng(0), model.encoder.config["vocab_size"]
    for length in rng.integers(5, 46, count):
        ids = [2, *rng.integers(5, size, length).tolist(), 3]
        yield AlignedTokens(ids, [(t, t + 1) for t in range(1, length + 1)], [])


def random_model(folder: Path) -> Path:
    """A BERT with random weights, as a folder."""
    d = SHAPE["hidden_size"]
    config = {"model_type": "bert", "intermediate_size": 4 * d, "hidden_act": "gelu", **SHAPE}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens += [chr(0x4E00 + i) for i in range(SHAPE["vocab_size"] - len(tokens))]
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    sizes = {"word": SHAPE["vocab_size"], "position": 128, "token_type": 2}
    layout, rng = {}, np.random.default_rng(0)
    for name in required_names(SHAPE["num_hidden_layers"]):
        shape: tuple[int, ...] = (d, d)
        if "_embeddings" in name:
            shape = (sizes[name.split(".")[1].removesuffix("_embeddings")], d)
        elif "intermediate" in name:
            shape = (4 * d, d)
        elif name.endswith(".output.dense.weight") and "attention" not in name:
            shape = (d, 4 * d)
        layout[name] = ("F32", shape if name.endswith("weight") else shape[:1])
        if "LayerNorm" in name:
            layout[name] = ("F32", (d,))

    def values(name: str) -> list[np.ndarray]:
        shape = layout[name][1]
        scale = 0.1 if len(shape) == 1 else shape[-1] ** -0.5
        value = rng.normal(float(name.endswith("LayerNorm.weight")), scale, shape)
        return [value.astype(np.float32)]

    write_safetensors(folder / "model.safetensors", layout, values)
    return folder


def best_of(
    ways: dict[str, Callable[[], Any]], repeats: int
) -> tuple[dict[str, float], dict[str, Any]]:
    """Least time and result of each way; they take turns, so that all meet the same machine."""
    seconds, results = dict.fromkeys(ways, np.inf), {}
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            results[name] = way()
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    return seconds, results


if __name__ == "__main__":
    sys.exit(main())
