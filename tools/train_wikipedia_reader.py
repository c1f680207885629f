"""Train the reader of encyclopedic text that the package carries, measure it, and write its card.

    KEXIAN_DATA=FOLDER python tools/train_wikipedia_reader.py

It needs CMRC 2018 (trial and development parts) and DRCD (development part), and goes to
kexian_utils/data/wikipedia_reader: network, settings, README.md. Stopped in the training and called
again, it goes on.
"""

import dataclasses
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kexian_utils.commands.common import remove_run
from kexian_utils.datasets.comprehension import cmrc2018, drcd, sliding_windows
from kexian_utils.experiment.backend import fix_threads
from kexian_utils.experiment.records import processor, versions
from kexian_utils.qa.baselines import best_clause, most_repeated
from kexian_utils.qa.reader import DGCNNReader, ReaderConfig, Reading, Training, bundled_reader
from kexian_utils.qa.scores import cmrc_exact_match, cmrc_f1
from kexian_utils.statistics import bootstrap_interval

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "kexian_utils" / "data" / "wikipedia_reader"
RUN = ROOT / "_build" / "wikipedia-reader.run"
TABLE = ROOT / "book" / "assets" / "opencc" / "TSCharacters.txt"
BY_HAND = Path(__file__).with_name("questions_by_hand.jsonl")
CONFIG = ReaderConfig(width=48, dropout=0.2, max_len=20, vote="max", window=128)
TRAINING = Training(epochs=4)
STRIDE = 96  # of the windows in training; `kexian answer` takes half a window
SILENT = 0.8  # share of foreign passages about which it should say nothing
LEAST = [k / 1000 for k in range(1, 1000)]


class Asked(NamedTuple):
    """A question of a passage; no answers: the passage is of another question."""

    question: str
    answers: tuple[str, ...]
    text: str
    group: int  # passage or article, by which the intervals are drawn


def main() -> None:
    """Train, choose the least vote, measure, write."""
    fix_threads(1)
    parts = divided()
    reader = DGCNNReader(CONFIG, read_as=simplified())
    trained = [
        (one.question, one.answers, cut(one.text, STRIDE))
        for name in parts
        for one in parts[name]["train"]
    ]
    began = time.process_time()
    losses = reader.fit(trained, TRAINING, RUN)
    seconds = time.process_time() - began
    measure(parts, reader, losses, seconds)
    remove_run(RUN)


def measure(
    parts: dict[str, dict[str, list[Asked]]],
    reader: DGCNNReader,
    losses: list[float],
    seconds: float,
) -> None:
    """Choose the least vote, save the reader, measure it beside its rivals, write its card."""
    least = best_least_vote(reader, [one for name in parts for one in parts[name]["choice"]])
    reader.config = dataclasses.replace(CONFIG, least_vote=least)
    TARGET.mkdir(parents=True, exist_ok=True)
    reader.save(TARGET)
    tests = {name: part["test"] for name, part in parts.items()}
    old = DGCNNReader.load(bundled_reader("factqa"))
    systems: dict[str, Callable] = {
        "this reader": partial(answers, reader, least=0),
        "this reader, with its least vote": partial(answers, reader, least=least),
        "the reader of generated questions (factqa)": partial(answers, old, least=0),
        "clause most like the question": by_rule(best_clause),
        "most repeated string": by_rule(partial(most_repeated, max_len=CONFIG.max_len)),
    }
    table = {
        system: {name: scored(ask(test), test) for name, test in tests.items()}
        for system, ask in systems.items()
    }
    silent = {name: silence(reader, foreign(test), least) for name, test in tests.items()}
    by_hand = {"this reader": hand(reader, least), "factqa": hand(old, old.config.least_vote)}
    card = model_card(parts, losses, seconds, least, table, silent, by_hand)
    (TARGET / "README.md").write_text(card, encoding="utf-8")
    print(card)


def divided() -> dict[str, dict[str, list[Asked]]]:
    """Questions of both sets: a tenth of the passages for tests, a tenth for choices.

    No article of DRCD and no passage of CMRC is in two parts.
    """
    found = {}
    for name, sets in (("CMRC 2018", map(cmrc2018, ("trial", "development"))), ("DRCD", [drcd()])):
        contexts = [context for one in sets for context in one.contexts]
        keys = [context.title or context.text[:20] for context in contexts]
        known = sorted(set(keys))
        order = np.random.default_rng([0, 1]).permutation(len(known))
        place = {known[number]: rank for rank, number in enumerate(order)}
        tenth = len(known) // 10
        parts: dict[str, list[Asked]] = {"train": [], "choice": [], "test": []}
        for context, key in zip(contexts, keys, strict=True):
            rank = place[key]
            part = "test" if rank < tenth else "choice" if rank < 2 * tenth else "train"
            parts[part] += [
                Asked(q.text, tuple(dict.fromkeys(a.text for a in q.answers)), context.text, rank)
                for q in context.questions
                if q.text.strip() and q.answers
            ]
        found[name] = parts
    return found


def simplified() -> dict[str, str]:
    """Traditional characters and the simplified ones that stand for them."""
    lines = (line.split("\t") for line in TABLE.read_text(encoding="utf-8").splitlines())
    pairs = ((line[0], line[1].split(" ")[0]) for line in lines if len(line) == 2)
    return {one: other for one, other in pairs if len(one) == len(other) == 1 and one != other}


def cut(text: str, stride: int = CONFIG.window // 2) -> list[str]:
    """Windows of a passage."""
    return [part for _, part in sliding_windows(text, CONFIG.window, stride)]


def readings(reader: DGCNNReader, asked: list[Asked]) -> list[Reading]:
    """As `kexian answer` reads them."""
    return reader.answer_many([(one.question, cut(one.text)) for one in asked])


def answers(reader: DGCNNReader, asked: list[Asked], least: float) -> list[str]:
    """Answers; none where the best has less than `least` in the vote."""
    return [r.answer if r.score >= least else "" for r in readings(reader, asked)]


def by_rule(rule: Callable) -> Callable:
    """A baseline, question by question."""
    return lambda asked: [rule(one.question, cut(one.text)) for one in asked]


def foreign(asked: list[Asked]) -> list[Asked]:
    """The same questions, each of a passage of another article that holds no answer to it."""
    rng, found = np.random.default_rng([0, 3]), []
    for one in asked:
        while True:
            other = asked[rng.integers(len(asked))]
            if other.group != one.group and not any(a in other.text for a in one.answers):
                break
        found.append(one._replace(answers=(), text=other.text))
    return found


def best_least_vote(reader: DGCNNReader, asked: list[Asked]) -> float:
    """The least value with which the reader is silent about enough foreign passages."""
    scores = np.array([reading.score for reading in readings(reader, foreign(asked))])
    return next(least for least in LEAST if (scores < least).mean() >= SILENT)


def scored(found: list[str], asked: list[Asked]) -> list:
    """Exact match and F1 with 95 % intervals; articles are drawn anew."""
    groups = {group: k for k, group in enumerate(dict.fromkeys(one.group for one in asked))}
    counts = np.zeros((2, len(groups), 2))
    for answer, one in zip(found, asked, strict=True):
        row = groups[one.group]
        counts[0, row] += cmrc_exact_match(answer, one.answers), 1
        counts[1, row] += cmrc_f1(answer, one.answers), 1
    return [bootstrap_interval(part) for part in counts]


def silence(reader: DGCNNReader, asked: list[Asked], least: float) -> float:
    """Share of the questions without an answer on which the reader is silent."""
    return float(np.mean([not answer for answer in answers(reader, asked, least)]))


def hand(reader: DGCNNReader, least: float) -> tuple[int, int, int]:
    """Questions with sentences by hand: right ones of 20, silence of 20 hopeless, wrong answers."""
    rows = [json.loads(line) for line in BY_HAND.read_text(encoding="utf-8").splitlines()]
    read = reader.answer_many([(row["question"], row["passages"]) for row in rows])
    found = [
        (r.answer if r.score >= least else "", row["answer"])
        for r, row in zip(read, rows, strict=True)
    ]
    right = sum(answer == gold for answer, gold in found if gold)
    kept = sum(not answer for answer, gold in found if not gold)
    return right, kept, sum(bool(answer) and answer != gold for answer, gold in found)


def model_card(parts, losses, seconds, least, table, silent, by_hand):
    """The text of README.md."""
    count = {n: {p: len(q) for p, q in part.items()} for n, part in parts.items()}
    rows = "\n".join(
        f"| {system} | "
        + " | ".join(
            f"{i.estimate:.3f} ({i.low:.3f} to {i.high:.3f})"
            for pair in sets.values()
            for i in pair
        )
        + " |"
        for system, sets in table.items()
    )
    about = json.loads((TARGET / "reader.json").read_text(encoding="utf-8"))
    size = sum(path.stat().st_size for path in TARGET.iterdir() if path.suffix != ".md") / 1e6
    tools = ", ".join(f"{name} {version}" for name, version in versions().items())
    mute = " and ".join(f"{share:.0%} of those of {name}" for name, share in silent.items())
    ours, old = by_hand["this reader"], by_hand["factqa"]
    return f"""# A small reader of encyclopedic text

A convolutional network that answers a Chinese question from a passage, or says nothing: gated dilated convolutions after articles 5409 and 6906 of kexue.fm, width {CONFIG.width}, {len(about["characters"]):,} trained characters, {len(about["further"]):,} further ones by their fixed vectors alone, {size:.1f} MB. It is what `kexian answer` asks; traditional characters are read as simplified ones. `python tools/train_wikipedia_reader.py` makes it again.

In Python: `DGCNNReader.load(bundled_reader("wikipedia"))` of `kexian_utils.qa.reader`.

## Data

{sum(c["train"] for c in count.values()):,} questions of passages of Wikipedia: of CMRC 2018 (trial and development parts, CC BY-SA 4.0) and of DRCD (development part, CC BY-SA 3.0). A tenth of the passages (DRCD: of the articles) was kept for the choice of the least vote, another for the test; which ones, a seed decides. The fixed vectors are principal components of the input table of the Chinese BERT in `kexian_utils/data/chinese_bert`. The pairs of characters are OpenCC's (Apache 2.0).

The weights are offered under CC BY-SA 4.0, as the texts that they were trained on ask.

## Recipe

Windows of {CONFIG.window} characters, each {STRIDE} after the one before; those without the answer teach silence. Adam, rate {TRAINING.learning_rate:g} and a fifth of it in the last of {TRAINING.epochs} epochs, {TRAINING.batch_size} windows per step, moving average of the weights with momentum {TRAINING.ema_momentum:g}, focal loss; dropout {CONFIG.dropout:g}; seed 0, one thread. The vote of the windows is the largest score of an answer, rather than the article's rule; the width of 48, the rate of dropout, and that no generated questions are mixed in, were chosen like it, on the tenth for choices, out of six trainings. Loss per epoch: {", ".join(f"{loss:.3f}" for loss in losses)}. {seconds:.0f} CPU seconds on {processor()}; {tools}.

## Scores

Exact match and F1 by the rule of CMRC 2018 on the passages kept for the test ({count["CMRC 2018"]["test"]} and {count["DRCD"]["test"]} questions), with 95 % intervals from drawing passages (DRCD: articles) anew; read as `kexian answer` does, in windows of {CONFIG.window} characters, each {CONFIG.window // 2} after the one before.

| system | CMRC 2018, EM | CMRC 2018, F1 | DRCD, EM | DRCD, F1 |
|---|---|---|---|---|
{rows}

The least vote, {least:g}, is the least value with which the reader is silent about {SILENT:.0%} of foreign passages, on the tenth for choices. On the test it is silent about {mute}.

Of twenty questions with sentences by hand (`tools/questions_by_hand.jsonl`) it answers {ours[0]} right (the reader of generated questions {old[0]}), of twenty that their passage does not answer it is silent on {ours[1]} ({old[1]}), and {ours[2]} answers in all are wrong ({old[2]}).

## Limits

**More than half of its answers are not exactly right.** It finds names, years and places that stand near the words of the question; it does not reason, does not count, and answers why and how badly. What is said of one thing it takes for said of another of the same kind: asked for the capital of Germany, it reads 巴黎 off 巴黎是法国的首都。 Answers are at most {CONFIG.max_len} characters. It does not know facts: it reads them off the passages, also wrong ones. For text of your own, train a reader on such text: `kexian train-reader`.
"""  # noqa: E501


if __name__ == "__main__":
    main()
