"""Train the reader of real text that the package carries, measure it, and write its card.

    KEXIAN_DATA=… python tools/train_chinese_reader.py RUN

Two stages, each in pieces: called again with the same folder RUN, it goes on where it was saved.
First the Chinese BERT of the package goes on to predict hidden characters, on the passages of
reading comprehension and their questions; then it learns to point at answers. The passages are
those of CMRC 2018 (trial and development) and DRCD (development); a tenth of them is for choosing,
a tenth for testing, divided by article. Afterwards it writes kexian_utils/data/chinese_reader.
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")

import numpy as np

from kexian_utils.bert import Checkpoint, chinese_bert
from kexian_utils.bert.characters import START, character_vocabulary
from kexian_utils.bert.checkpoints import (
    from_keras_layout,
    load_masked_lm,
    masked_lm_variables,
    new_masked_lm,
    write_safetensors,
)
from kexian_utils.bert.masking import mask_rows
from kexian_utils.bert.tensor_names import tensor_role
from kexian_utils.bert.wordpiece import read_vocabulary
from kexian_utils.commands.answer import LEAST_VOTE
from kexian_utils.datasets import comprehension
from kexian_utils.datasets.factqa import SPLITS, factqa_by_hand, make_factqa
from kexian_utils.experiment.records import processor, versions
from kexian_utils.qa.baselines import best_clause, most_repeated
from kexian_utils.qa.pointer import PointerReader
from kexian_utils.qa.reader import DGCNNReader, ReaderConfig, Training, bundled_reader
from kexian_utils.qa.scores import cmrc_exact_match, cmrc_f1, qa_scores
from kexian_utils.qa.windows import KINDS, Characters, rows_batch, window_row
from kexian_utils.statistics import bootstrap_interval
from kexian_utils.training.resume import open_run, run_steps
from kexian_utils.training.state import read_state, write_state

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "kexian_utils" / "data" / "chinese_reader"
LENGTH = 192
ROWS = 21  # a step: about 4,000 tokens
SHORT, SHORT_ROWS = 64, 64  # of generated questions
SEED = 0
MAX_LEN = 30  # of an answer, in characters
MLM = {"steps": 1100, "rate": 6e-4}
QA = {"steps": 1800, "rate": 3e-4}


# -- data


def simplified():
    """Pairs of a traditional character and the simplified one."""
    table = ROOT / "book" / "assets" / "opencc" / "TSCharacters.txt"
    pairs = {}
    for line in table.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            old, new = line.split("\t")[:2]
            new = new.split(" ")[0]
            if len(old) == len(new) == 1 and old != new:
                pairs[old] = new
    return pairs


def splits():
    """Contexts by set and part: {"CMRC": {"train": …, "choose": …, "test": …}, "DRCD": …}."""
    found = {}
    sets = {
        "CMRC": [
            *comprehension.cmrc2018("trial").contexts,
            *comprehension.cmrc2018("development").contexts,
        ],
        "DRCD": [*comprehension.drcd("development").contexts],
    }
    for name, contexts in sets.items():
        groups = {}
        for number, context in enumerate(contexts):
            key = context.title or f"{number}"
            key = context.text[:20] if not context.title else key
            groups.setdefault(key, []).append(context)
        keys = sorted(groups)
        order = np.random.default_rng([SEED, 1]).permutation(len(keys))
        cut = [0, round(0.1 * len(keys)), round(0.2 * len(keys)), len(keys)]
        parts = {}
        for part, low, high in zip(("test", "choose", "train"), cut[:-1], cut[1:], strict=True):
            parts[part] = [c for k in sorted(order[low:high]) for c in groups[keys[k]]]
        found[name] = parts
    return found


def vocabulary_of(contexts, pairs):
    """The vocabulary of the Chinese BERT, and behind it characters that it lacks."""
    vocabulary = read_vocabulary(chinese_bert() / "vocab.txt")
    reads = Characters(vocabulary, pairs)
    texts = [t for c in contexts for t in (c.text, *(q.text for q in c.questions))]
    plain = ["".join(reads.plain(c) for c in text) for text in texts]
    further = [c for c in character_vocabulary(plain, 2) if c not in vocabulary]
    return {**vocabulary, **{c: len(vocabulary) + k for k, c in enumerate(further)}}


class Questions:
    """Questions with numbers instead of characters, and the places of their answers."""

    def __init__(self, contexts, reads):
        self.items = []
        for context in contexts:
            passage = reads(context.text)
            for question in context.questions:
                spans = sorted(
                    {
                        (a.start, a.start + len(a.text))
                        for a in question.answers
                        if a.start is not None and a.text
                    }
                )
                self.items.append((reads(question.text), passage, spans))

    def rows(self, rng):
        """An epoch: a row with the answer for each question, some without it."""
        made = []
        items = self.items
        for number in rng.permutation(len(items)):
            asked, passage, spans = items[number]
            room = LENGTH - min(len(asked), 64) - 3
            if spans:
                start, stop = spans[rng.integers(len(spans))]
                if stop - start <= room:
                    low, high = max(0, stop - room), min(start, max(0, len(passage) - room))
                    row = window_row(
                        asked, passage, int(rng.integers(low, max(low, high) + 1)), LENGTH
                    )
                    made.append(
                        (row, row.first + start - row.start, row.first + stop - 1 - row.start)
                    )
            luck = rng.random()
            if luck < 0.35:  # another window of the passage, or of a neighbour
                other, avoid = (
                    (passage, spans)
                    if luck < 0.27
                    else (items[(number + int(rng.integers(-12, 13))) % len(items)][1], [])
                )
                if other is not passage or len(passage) > room:
                    start = int(rng.integers(0, max(1, len(other) - room + 1)))
                    row = window_row(asked, other, start, LENGTH)
                    if other is passage and not avoid:
                        continue
                    if any(s < row.stop and e > row.start for s, e in avoid):
                        continue
                    if other is passage and any(
                        _holds(passage[row.start : row.stop], passage[s:e]) for s, e in avoid
                    ):
                        continue
                    made.append((row, 0, 0))
        return made


def _holds(text, part):
    n = len(part)
    return n <= len(text) and any(
        np.array_equal(text[k : k + n], part)
        for k in np.flatnonzero(text[: len(text) - n + 1] == part[0])
    )


def factqa_rows(reads, questions):
    """Rows of generated questions, one per passage."""
    made = []
    for question in questions:
        asked = reads(question.question)
        for passage in question.passages:
            text = passage.text
            place = text.find(question.answer)
            row = window_row(asked, reads(text), 0, SHORT)
            if place >= 0 and place + len(question.answer) <= row.stop:
                made.append((row, row.first + place, row.first + place + len(question.answer) - 1))
            else:
                made.append((row, 0, 0))
    return made


# -- models


def extended(vocabulary):
    """The package's masked-LM model with more characters, positions and kinds."""
    source = load_masked_lm(chinese_bert())
    config = dict(Checkpoint(chinese_bert()).config)
    config.update(
        vocab_size=len(vocabulary), max_position_embeddings=LENGTH, type_vocab_size=len(KINDS)
    )
    model = new_masked_lm(config)
    rng = np.random.default_rng([SEED, 2])
    old, new = masked_lm_variables(source), masked_lm_variables(model)
    for name, variable in new.items():
        value = np.asarray(old[name]).copy()
        want = tuple(variable.shape)
        if value.shape != want:
            if "position" in name:
                more = value[want[0] - 2 * len(value) :][: want[0] - len(value)]
                more = value[len(value) - (want[0] - len(value)) :]
            elif "token_type" in name:
                more = np.repeat(value[:1], want[0] - len(value), axis=0)
                value[1] = value[0]
            elif "bias" in name:
                more = np.full(want[0] - len(value), value.min(), value.dtype)
            else:
                more = rng.normal(0, 0.02, (want[0] - len(value), *want[1:]))
            value = np.concatenate([value, more])
            if "token_type" in name:
                value = value + rng.normal(0, 0.02, value.shape)
        variable.assign(value)
    return model, config


def optimizer_of(stage):
    """AdamW with warm-up and cosine."""
    import keras

    warm = max(1, stage["steps"] // 15)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, stage["steps"] - warm, warmup_target=stage["rate"], warmup_steps=warm, alpha=0.02
    )
    made = keras.optimizers.AdamW(schedule, weight_decay=0.01, beta_2=0.98, global_clipnorm=1.0)
    made.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return made


def pointer(backbone):
    """Logits of start and end, shape (B, 2, n); [CLS] stands for silence."""
    import keras
    from keras import ops

    inputs = backbone.input
    states = backbone.output["sequence_output"]
    states = keras.layers.Dropout(0.1, seed=SEED)(states)
    logits = keras.layers.Dense(
        2,
        name="pointer",
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02, seed=SEED),
    )(states)
    kinds, ids = inputs["segment_ids"], inputs["token_ids"]
    allowed = ops.logical_or(ops.logical_and(kinds > 0, kinds < 5), ops.equal(ids, START))
    logits = ops.transpose(ops.where(allowed[..., None], logits, -1e4), (0, 2, 1))
    return keras.Model(inputs, logits)


# -- stages


def mlm_batch(rows, rng, size):
    """Inputs, labels and weights of a step that hides characters."""
    batch = rows_batch(rows, LENGTH, ROWS)
    inputs, labels, weights = mask_rows(batch["token_ids"], 0.15, size, rng)
    return {**inputs, "segment_ids": batch["segment_ids"]}, labels, weights


def mlm_rows(questions, rng):
    """An epoch of windows, most of them behind their question."""
    made = []
    for number in rng.permutation(len(questions.items)):
        asked, passage, _ = questions.items[number]
        if rng.random() < 0.4:
            asked = asked[:0]
        room = LENGTH - len(asked[-64:]) - 3
        start = int(rng.integers(0, max(1, len(passage) - room + 1)))
        made.append(window_row(asked, passage, start, LENGTH))
    return made


def stage(folder, name, settings, model, step_of, digest):
    """Make the steps of a stage that are still to do."""
    open_run(folder / name / "run.json", {"stage": name, **settings, "data": digest})
    state = folder / name / "state.npz"
    variables = [*model.variables, *model.optimizer.variables]
    first = 0
    if state.is_file():
        first = int(read_state(state, variables, ["step"])["step"])
    done = {"step": first}
    log = (folder / name / "log.txt").open("a", encoding="utf-8")
    smooth = []

    def step(number):
        loss = step_of(number)
        done["step"] = number + 1
        smooth.append(loss)
        return {"loss": loss}

    def report(facts):
        if facts["step"] % 50 == 0:
            mean = float(np.mean(smooth[-50:]))
            print(
                f"{name} {facts['step']}/{facts['steps']} loss {mean:.3f}, "
                f"{facts['seconds_left'] / 60:.0f} min left",
                file=log,
                flush=True,
            )

    run_steps(
        first,
        settings["steps"],
        step,
        lambda: write_state(state, variables, step=done["step"]),
        180.0,
        report,
    )


def batches_from(epoch_of, size):
    """A function that gives the rows of a step, from epochs that are made as they are needed."""
    cache = {}

    def rows_of(step):
        epoch, passed = cache.get("epoch", 0), cache.get("passed", 0)
        if step < passed:
            epoch = passed = 0
            cache.clear()
        while True:
            if cache.get("made") is None:
                cache["made"] = epoch_of(epoch)
            count = len(cache["made"]) // size
            if step - passed < count:
                break
            passed += count
            epoch += 1
            cache["made"] = None
        cache.update(epoch=epoch, passed=passed)
        at = (step - passed) * size
        return cache["made"][at : at + size]

    return rows_of


def main():
    """Train, measure, write."""
    import keras

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--measure", action="store_true", help="only measure what was trained")
    arguments = parser.parse_args()
    folder = arguments.run
    folder.mkdir(parents=True, exist_ok=True)
    pairs, parts = simplified(), splits()
    training = [c for name in parts for c in parts[name]["train"]]
    vocabulary = vocabulary_of(training, pairs)
    reads = Characters(vocabulary, pairs)
    questions = Questions(training, reads)
    if arguments.measure:
        describe(folder, parts, pairs, vocabulary)
        return
    print(
        len(training),
        "contexts,",
        len(questions.items),
        "questions,",
        len(vocabulary),
        "characters",
    )
    keras.utils.set_random_seed(SEED)
    model, config = extended(vocabulary)
    model.backbone.pooled_dense.trainable = False
    model.compile(
        optimizer_of(MLM),
        loss=keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction="mean_with_sample_weight"
        ),
        weighted_metrics=[],
        jit_compile=True,
    )
    model.optimizer.build(model.trainable_variables)
    rows_of = batches_from(
        lambda epoch: mlm_rows(questions, np.random.default_rng([SEED, 3, epoch])), ROWS
    )

    def mlm_step(number):
        rng = np.random.default_rng([SEED, 4, number])
        inputs, labels, weights = mlm_batch(rows_of(number), rng, len(vocabulary))
        model.reset_metrics()
        return float(model.train_on_batch(inputs, labels, sample_weight=weights))

    digest = {"questions": len(questions.items), "vocabulary": len(vocabulary)}
    stage(folder, "mlm", MLM, model, mlm_step, digest)

    reader = pointer(model.backbone)
    reader.compile(
        optimizer_of(QA),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=True,
    )
    reader.optimizer.build(reader.trainable_variables)
    long_rows = batches_from(
        lambda epoch: questions.rows(np.random.default_rng([SEED, 5, epoch])), ROWS
    )
    generated = make_factqa(2, 6000, SEED, "train")
    order = np.random.default_rng([SEED, 6]).permutation(len(generated))

    def short_epoch(epoch):
        chosen = [generated[k] for k in np.roll(order, -600 * epoch)[:600]]
        rows = factqa_rows(reads, chosen)
        return [rows[k] for k in np.random.default_rng([SEED, 7, epoch]).permutation(len(rows))]

    short_rows = batches_from(short_epoch, SHORT_ROWS)

    def qa_step(number):
        short = number % 12 == 11
        rows = short_rows(number // 12) if short else long_rows(number - (number + 1) // 12)
        inputs = rows_batch([row for row, _, _ in rows], SHORT if short else LENGTH, len(rows))
        places = np.array([(start, end) for _, start, end in rows], np.int32)
        reader.reset_metrics()
        return float(reader.train_on_batch(inputs, places))

    stage(folder, "qa", QA, reader, qa_step, digest)
    export(model, reader, config, vocabulary, pairs)
    describe(folder, parts, pairs, vocabulary)


def describe(folder, parts, pairs, vocabulary):
    """Choose the least vote, measure, and write the card."""
    least = chosen_vote(parts)
    write_settings(pairs, least)
    tables = measured(parts, least)
    card = model_card(folder, parts, vocabulary, least, tables)
    (TARGET / "README.md").write_text(card, encoding="utf-8")
    print(card)


# -- what is written


def export(model, reader, config, vocabulary, pairs):
    """The network in Hugging Face's form, in float16."""
    TARGET.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, variable in masked_lm_variables(model).items():
        if name.startswith("bert."):
            tensors[name] = from_keras_layout(np.asarray(variable), str(tensor_role(name)))
    head = reader.get_layer("pointer")
    tensors["qa_outputs.weight"] = np.asarray(head.kernel).T
    tensors["qa_outputs.bias"] = np.asarray(head.bias)
    layout = {name: ("F16", tuple(value.shape)) for name, value in tensors.items()}
    write_safetensors(TARGET / "model.safetensors", layout, lambda name: [tensors[name]])
    config = {**config, "architectures": ["BertForQuestionAnswering"]}
    config.pop("tie_word_embeddings", None)
    files = {"config.json": json.dumps(config, indent=2) + "\n"}
    files["vocab.txt"] = "".join(f"{token}\n" for token in vocabulary)
    for name, text in files.items():
        (TARGET / name).write_text(text, encoding="utf-8")
    write_settings(pairs, 0.0)


def write_settings(pairs, least):
    """reader.json."""
    about = {
        "form": 1,
        "length": LENGTH,
        "max_len": MAX_LEN,
        "least_vote": least,
        "simplified": "".join(old + new for old, new in pairs.items()),
    }
    text = json.dumps(about, ensure_ascii=False, indent=1) + "\n"
    (TARGET / "reader.json").write_text(text, encoding="utf-8")


# -- measuring


def asked_of(contexts, foreign=False):
    """(question, [text]) each, and the accepted answers; or of the passage half a set away."""
    made, golds = [], []
    for number, context in enumerate(contexts):
        text = (
            contexts[(number + len(contexts) // 2) % len(contexts)].text
            if foreign
            else context.text
        )
        for question in context.questions:
            answers = [a.text for a in question.answers]
            if not question.text.strip() or (foreign and any(a in text for a in answers)):
                continue
            made.append((question.text, [text]))
            golds.append(answers)
    return made, golds


def chosen_vote(parts):
    """The least vote that is best for questions with an answer and for those without one."""
    reader = PointerReader.load(TARGET)
    own, none = [], []
    for name in parts:
        asked, golds = asked_of(parts[name]["choose"])
        for reading, gold in zip(reader.answer_many(asked), golds, strict=True):
            own.append((reading.score, cmrc_f1(reading.answer, gold)))
        asked, _ = asked_of(parts[name]["choose"], foreign=True)
        none += [reading.score for reading in reader.answer_many(asked)]
    own, none = np.array(own), np.array(none)
    grid = np.round(np.geomspace(0.001, 0.4, 40), 4)
    gains = [(own[:, 1] * (own[:, 0] >= g)).mean() + (none < g).mean() for g in grid]
    return float(grid[int(np.argmax(gains))])


def measured(parts, least):
    """Scores of all systems: {row: {column: text}}."""
    reader = PointerReader.load(TARGET)
    windows = {}

    def cut(text):
        return windows.setdefault(
            text, [w for _, w in comprehension.sliding_windows(text, 128, 96)]
        )

    convolutional = DGCNNReader(ReaderConfig(max_len=20), seed=SEED)
    convolutional.fit(
        [
            (q.text, q.answers[0].text, cut(c.text))
            for name in parts
            for c in parts[name]["train"]
            for q in c.questions
            if q.text.strip()
        ],
        Training(epochs=4),
    )
    bundled = DGCNNReader.load(bundled_reader())
    by_rule = {
        "clause most like the question": best_clause,
        "what is most often repeated": lambda q, texts: most_repeated(q, texts, 12),
    }
    systems = {
        "this reader": lambda asked: [r.answer for r in reader.answer_many(asked)],
        "convolutional reader (`kexian train-reader`), same passages": lambda asked: [
            r.answer for r in convolutional.answer_many([(q, cut(t[0])) for q, t in asked])
        ],
        "convolutional reader of generated questions (`--reader factqa`)": lambda asked: [
            r.answer for r in bundled.answer_many([(q, cut(t[0])) for q, t in asked])
        ],
        **{
            name: (lambda asked, rule=rule: [rule(q, cut(t[0])) for q, t in asked])
            for name, rule in by_rule.items()
        },
    }
    table = {}
    for name, answers in systems.items():
        for data in parts:
            asked, golds = asked_of(parts[data]["test"])
            found = answers(asked)
            groups = [
                k for k, c in enumerate(parts[data]["test"]) for q in c.questions if q.text.strip()
            ]
            for score, rule in (("EM", cmrc_exact_match), ("F1", cmrc_f1)):
                values = np.array([float(rule(a, g)) for a, g in zip(found, golds, strict=True)])
                sums = np.zeros((max(groups) + 1, 2))
                np.add.at(sums, groups, np.stack([values, np.ones_like(values)], axis=1))
                table.setdefault(name, {})[f"{data} {score}"] = bootstrap_interval(sums)
    quiet = {}
    for data in parts:
        asked, golds = asked_of(parts[data]["test"])
        own = reader.answer_many(asked)
        kept = [r.answer if r.score >= least else "" for r in own]
        right = np.mean([cmrc_f1(a, g) for a, g in zip(kept, golds, strict=True)])
        none, _ = asked_of(parts[data]["test"], foreign=True)
        silent = np.mean([r.score < least for r in reader.answer_many(none)])
        quiet[data] = (np.mean([not a for a in kept]), right, silent)
    factqa = {}
    for label, one in (("this reader", reader), ("convolutional", bundled)):
        for cell in SPLITS[1:]:
            made = make_factqa(2, 1000, 0, cell)
            found = [
                r.answer if one is bundled or r.score >= least else ""
                for r in one.answer_many([(q.question, [p.text for p in q.passages]) for q in made])
            ]
            golds = {q.id: (q.answer, q.accepted) for q in made}
            factqa[label, cell] = qa_scores(dict(zip(golds, found, strict=True)), golds).final
        made = make_factqa(2, 1000, 0, "SS", answerable=False)
        bar = least if one is reader else LEAST_VOTE
        factqa[label, "none"] = np.mean(
            [
                r.score < bar
                for r in one.answer_many([(q.question, [p.text for p in q.passages]) for q in made])
            ]
        )
    by_hand = factqa_by_hand()
    found = reader.answer_many([(q.question, [p.text for p in q.passages]) for q in by_hand])
    plain = sum(r.answer == q.answer for r, q in zip(found, by_hand, strict=True))
    asked, _ = asked_of(parts["DRCD"]["test"])
    began = time.perf_counter()
    reader.answer_many(asked[:100])
    return table, quiet, factqa, (plain, len(by_hand)), (time.perf_counter() - began) / 100


def model_card(folder, parts, vocabulary, least, tables):
    """The text of README.md."""
    table, quiet, factqa, plain, seconds = tables
    columns = [f"{data} {score}" for data in parts for score in ("EM", "F1")]
    rows = [
        f"| {name} | "
        + " | ".join(
            f"{c.estimate:.3f} ({c.low:.3f} to {c.high:.3f})" for c in (cells[k] for k in columns)
        )
        + " |"
        for name, cells in table.items()
    ]
    size = (TARGET / "model.safetensors").stat().st_size / 1e6
    counts = {
        (name, part): (len(contexts), sum(len(c.questions) for c in contexts))
        for name in parts
        for part, contexts in parts[name].items()
    }
    train = ", ".join(
        f"{n} {counts[n, 'train'][0]:,} passages with {counts[n, 'train'][1]:,} questions"
        for n in parts
    )
    test = ", ".join(f"{n} {counts[n, 'test'][0]:,} with {counts[n, 'test'][1]:,}" for n in parts)
    minutes = {name: elapsed(folder / name / "log.txt") for name in ("mlm", "qa")}
    tools = ", ".join(f"{name} {version}" for name, version in versions().items())
    cells = (*SPLITS[1:], "none")
    return f"""# A small reader of Chinese text

A Transformer of four layers that points at the answer to a question in a passage, or says nothing: the Chinese BERT of the package (`kexian_utils/data/chinese_bert`), trained further; {len(vocabulary):,} characters, {size:.1f} MB in float16. It is what `kexian answer` uses; in Python `PointerReader.load(chinese_reader())` of `kexian_utils.qa.pointer`. It runs in NumPy, {seconds:.2f} s a question about a passage of DRCD on two cores. `transformers` loads the folder as `BertForQuestionAnswering`, but the kinds of tokens (`token_type_ids`, see `kexian_utils.qa.windows`) must be given.

## Data

{train}: the trial and development parts of CMRC 2018 (Y. Cui and others, CC BY-SA 4.0) and the development part of DRCD (C.-C. Shao and others, CC BY-SA 3.0), passages of Wikipedia. A tenth of the articles of each was for choosing, a tenth for the test below; neither was read in training. Traditional characters are read as simplified ones (OpenCC's table). A twelfth of the steps reads generated questions (FactQA-zh, version 2, training). The weights are given, as far as the rights are ours, under CC BY-SA 4.0.

## Recipe

Rows of {LENGTH} tokens: question and a window of the passage; kinds of tokens say which characters of the passage the question holds, alone, in twos and in threes. First {MLM["steps"]:,} steps of {ROWS} rows that hide 15 % of the characters (AdamW, rate {MLM["rate"]:g}), then {QA["steps"]:,} steps that point at start and end, or at [CLS] where the window has no answer (about a sixth of the rows; rate {QA["rate"]:g}); warm-up over a fifteenth, cosine; dropout 0.1, seed {SEED}. {minutes["mlm"]} and {minutes["qa"]} steps were logged on {processor()}; {tools}. `python tools/train_chinese_reader.py RUN` does it again, in pieces if it must; on JAX the same steps give the same weights only on the same machine.

## Scores

Test passages ({test} questions), scores as CMRC 2018 counts them, 95 % intervals from drawing passages anew. Each system gives its best answer.

| system | {" | ".join(columns)} |
|---|{"---|" * len(columns)}
{chr(10).join(rows)}

`kexian answer` says nothing below a vote of {least:g}, chosen on the articles kept for it. {"; ".join(f"On {data} it is then silent on {100 * q[0]:.0f} % of the questions and has F1 {q[1]:.3f}; of the same questions asked of another passage it is silent on {100 * q[2]:.0f} %" for data, q in quiet.items())}.

FactQA-zh, version 2, final score (questions without an answer: share of silence):

| reader | {" | ".join(cells)} |
|---|{"---|" * len(cells)}
| this reader | {" | ".join(f"{factqa['this reader', c]:.3f}" for c in cells)} |
| convolutional, trained on it alone | {" | ".join(f"{factqa['convolutional', c]:.3f}" for c in cells)} |

Of {plain[1]} questions with sentences written by hand (`factqa_by_hand`) it answers {plain[0]} rightly.

## Limits

It learnt a language from one newspaper and some two thousand passages, and reading from some six thousand questions; models trained on a thousand times as much read far better. It copies: a number that must be computed, a yes or no, a sum of two sentences are beyond it. A wrong passage gets a wrong answer.
"""  # noqa: E501


def elapsed(path):
    """The last line of a log names its step."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return lines[-1].split()[1] if lines else "0"


if __name__ == "__main__":
    main()
