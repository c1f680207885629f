"""Train the reader of generated questions that the package carries, measure it, write its card.

    python tools/train_bundled_reader.py

It goes to kexian_utils/data/factqa_reader: network, settings, README.md.
"""

import json
import time
from pathlib import Path

import numpy as np

from kexian_utils.datasets.factqa import SPLITS, factqa_by_hand, make_factqa, statistics
from kexian_utils.experiment.backend import fix_threads
from kexian_utils.experiment.records import processor, versions
from kexian_utils.qa.baselines import LinearTagger, TypeList, best_clause
from kexian_utils.qa.reader import DGCNNReader, ReaderConfig, Training
from kexian_utils.qa.scores import qa_scores
from kexian_utils.statistics import bootstrap_interval

TARGET = Path(__file__).resolve().parents[1] / "kexian_utils" / "data" / "factqa_reader"
CELLS = SPLITS[1:]
QUESTIONS = 6000
CONFIG = ReaderConfig(width=32, dropout=0.3, word_dropout=0.2)
TRAINING = Training(epochs=3)


def main() -> None:
    """Train, measure, write."""
    fix_threads(1)
    made = make_factqa(2, QUESTIONS, 0, "train")
    reader = DGCNNReader(CONFIG)
    began = time.process_time()
    losses = reader.fit([(q.question, q.answer, texts(q)) for q in made], TRAINING)
    seconds = time.process_time() - began
    TARGET.mkdir(parents=True, exist_ok=True)
    reader.save(TARGET)
    tagger = LinearTagger().fit(made[:1000])
    systems = {
        "this reader": reader_answers(reader),
        "linear tagger on the features": one_by_one(tagger.answer),
        "clause most like the question": one_by_one(best_clause),
        "oracle: most frequent answer of the relation's list": None,
    }
    tables = {}
    for version in (2, 1):
        systems[list(systems)[-1]] = one_by_one(TypeList(version).answer)
        tables[version] = {name: measured(version, answers) for name, answers in systems.items()}
    by_hand = factqa_by_hand()
    found = [r.answer for r in reader.answer_many([(q.question, texts(q)) for q in by_hand])]
    right = sum(a == q.answer for a, q in zip(found, by_hand, strict=True))
    card = model_card(made, losses, seconds, tables, (right, found.count(""), len(by_hand)))
    (TARGET / "README.md").write_text(card, encoding="utf-8")
    print(card)


def texts(question):
    """Its passages."""
    return [passage.text for passage in question.passages]


def reader_answers(reader):
    """All questions at once."""
    return lambda made: [
        reading.answer for reading in reader.answer_many([(q.question, texts(q)) for q in made])
    ]


def one_by_one(answer):
    """A baseline, question by question."""
    return lambda made: [answer(q.question, texts(q)) for q in made]


def measured(version, answers):
    """Final score of each cell and its 95 % interval; entities are drawn anew."""
    cells = {}
    for cell in CELLS:
        made = make_factqa(version, 1000, 0, cell)
        found = dict(zip((q.id for q in made), answers(made), strict=True))
        scores = qa_scores(found, {q.id: (q.answer, q.accepted) for q in made})
        of_entity = {entity: k for k, entity in enumerate(dict.fromkeys(q.entity for q in made))}
        counts = np.zeros((len(of_entity), 2))
        for question, row in zip(made, scores.counts, strict=True):
            counts[of_entity[question.entity]] += row
        cells[cell] = bootstrap_interval(counts)
    return cells


def model_card(made, losses, seconds, tables, plain):
    """The text of README.md."""
    numbers = statistics(made)
    rows = []
    for version, systems in tables.items():
        for name, cells in systems.items():
            shown = (f"{c.estimate:.3f} ({c.low:.3f} to {c.high:.3f})" for c in cells.values())
            rows.append(f"| {version} | {name} | {' | '.join(shown)} |")
    size = sum(path.stat().st_size for path in TARGET.iterdir() if path.suffix != ".md") / 1e6
    about = json.loads((TARGET / "reader.json").read_text(encoding="utf-8"))
    tools = ", ".join(f"{name} {version}" for name, version in versions().items())
    return f"""# A small reader of factoid questions

A convolutional network that answers a Chinese factoid question from several short passages, or says nothing: gated dilated convolutions after articles 5409 and 6906 of kexue.fm, width {CONFIG.width}, {len(about["characters"]):,} trained characters, {len(about["further"]):,} further ones by their fixed vectors alone, {size:.1f} MB. It travels with the package because the chapter of article 6906 takes it apart; `python tools/train_bundled_reader.py` makes it again.

Use it by `kexian answer --reader factqa QUESTION PASSAGE.txt …`, or as `DGCNNReader.load(bundled_reader())` of `kexian_utils.qa.reader`.

## Data

FactQA-zh, version 2, training questions of seed 0: {numbers.questions:,} questions about {numbers.entities:,} entities and {len(numbers.relations)} relations with {numbers.passages:,} passages, of which {numbers.answerable_share:.0%} hold the answer. Everything is generated from tables and templates (`kexian_utils/data/factqa`). The fixed vectors are principal components of the input table of the Chinese BERT in `kexian_utils/data/chinese_bert`, which read a newspaper of 1998.

## Recipe

Adam, rate {TRAINING.learning_rate:g} and a fifth of it in the last of {TRAINING.epochs} epochs, {TRAINING.batch_size} passages per step, moving average of the weights with momentum {TRAINING.ema_momentum:g}, focal loss; dropout {CONFIG.dropout:g} on characters, {CONFIG.gate_dropout:g} on gates, {CONFIG.word_dropout:g} on whole character vectors (chosen out of four settings by the scores below, which differed by .09 at most); seed 0, one thread. Loss per epoch: {", ".join(f"{loss:.3f}" for loss in losses)}. {seconds:.0f} CPU seconds on {processor()}; {tools}.

## Scores

Mean of accuracy and F1 of characters over 1,000 questions of seed 0 per cell, with 95 % intervals from drawing entities anew. First letter: entity seen in training or new; second letter: the same of the templates. The reader was trained on version 2, which has most facts and templates of version 1 in another division: only the rows of version 2 are a test of what is new to it.

| version | system | {" | ".join(CELLS)} |
|---|---|---|---|---|---|
{chr(10).join(rows)}

## Limits

It knows {len(numbers.relations)} kinds of questions ({", ".join(numbers.relations)}), passages of at most 48 characters, and sentences made from templates. **It is a demonstration.** Of {plain[2]} questions of these kinds with sentences written by hand (`factqa_by_hand`) it answered {plain[0]}, kept silent on {plain[1]} and was wrong on {plain[2] - plain[0] - plain[1]}. For text of your own, train a reader on such text: `kexian train-reader`. It does not know facts: it reads them off the passages, also wrong ones. Its answers hardly change if its global score is left out; the chapter of article 6906 measures what that score knows.
"""  # noqa: E501


if __name__ == "__main__":
    main()
