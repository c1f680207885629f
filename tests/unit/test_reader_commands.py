"""`kexian train-reader` and `kexian answer` as a user meets them; kills at any time."""

import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("keras")

from kexian_utils.commands.answer import with_least_vote
from kexian_utils.commands.main import main
from kexian_utils.commands.questions import QUESTIONS, Item, answered, checked
from kexian_utils.datasets.factqa import export_jsonl, make_factqa
from kexian_utils.qa.scores import qa_scores

pytestmark = pytest.mark.in_turn("kexian_utils/qa", "kexian_utils/commands")

SMALL = ("--questions", 300, "--width", 8, "--batch-size", 16, "--learning-rate", 0.01)


def call(*arguments, code=0, **options):
    result = CliRunner().invoke(main, list(map(str, arguments)), **options)
    assert result.exit_code == code, (result.output, result.exception)
    return result


def lines(*arguments, **options):
    return call(*arguments, **options).stdout_bytes.decode("utf-8").split("\n")[:-1]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a small reader, and what was said when it was trained."""
    folder = tmp_path_factory.mktemp("readers") / "small"
    said = lines("train-reader", "factqa:1", "--out", folder, *SMALL, "--held-out", "factqa:1:SS")
    return folder, said


@pytest.fixture(scope="module")
def reader(trained):
    from kexian_utils.qa.reader import DGCNNReader

    return DGCNNReader.load(trained[0])


@pytest.fixture(scope="module")
def questions():
    return make_factqa(1, 150, 1, "SS")


@pytest.fixture(scope="module")
def readings(reader, questions):
    found = reader.answer_many([(q.question, [p.text for p in q.passages]) for q in questions])
    return [with_least_vote(reading, reader.config.least_vote) for reading in found]


@pytest.fixture
def ask(trained):
    return ("answer", "--reader", trained[0])


# Training


def test_training_tells_how_it_goes_and_leaves_a_reader(trained, reader):
    folder, said = trained
    made = make_factqa(1, 300)
    passages = [(p.text, q.answer) for q in made for p in q.passages]
    held = sum(answer in text for text, answer in passages)
    assert said[0] == f"300 questions, {len(passages):,} passages, {held} of them hold an answer."
    for number, line in enumerate(said[1:5], start=1):
        assert re.fullmatch(rf"epoch {number} of 4: loss \d\.\d{{3}}; \d+ min \d\d s left", line)
    assert said[5].startswith(f"{folder} is written.")
    assert sorted(p.name for p in folder.iterdir()) == ["network.keras", "reader.json"]
    assert [p.name for p in folder.parent.iterdir()] == ["small"]
    test = make_factqa(1, 1000, 0, "SS")
    found = reader.answer_many([(q.question, [p.text for p in q.passages]) for q in test])
    scores = qa_scores(
        {q.id: r.answer for q, r in zip(test, found, strict=True)},
        {q.id: (q.answer, q.accepted) for q in test},
    )
    assert scores.final > 0.6  # the answers that are tested below are not noise
    assert said[6] == (
        f"held out, 1,000 questions: accuracy {scores.accuracy:.3f}, F1 {scores.f1:.3f}, "
        f"final {scores.final:.3f}"
    )


LINE = {"question": "问？", "answer": "甲", "passages": ["甲乙"]}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["factqa:3"], "DATA must be factqa:1, factqa:2 or a file with JSON lines"),
        (["DATA", "--questions", "5"], "--questions goes with factqa:1 and factqa:2"),
        (
            ["factqa:1", "--questions", "0"],
            "--questions must be a whole number of at least 1, got '0'",
        ),
        (
            ["factqa:1", "--questions", "x"],
            "--questions must be a whole number of at least 1, got 'x'",
        ),
        (["factqa:1", "--epochs", "0"], "--epochs must be a whole number of at least 1, got '0'"),
        (
            ["factqa:1", "--learning-rate", "nan"],
            "--learning-rate must be a number of more than 0, got 'nan'",
        ),
        (["factqa:1", "--width", "-1"], "--width must be a whole number of at least 1, got '-1'"),
        (["factqa:1", "--seed", "-1"], "--seed must be a whole number from 0 to 4294967295"),
        (
            ["factqa:1", "--save-every", "inf"],
            "--save-every must be a number of at least 0, got 'inf'",
        ),
        (["factqa:1", "--held-out", "no.jsonl"], "--held-out must be factqa:1, factqa:2 or a"),
        (["factqa:1", "--out", "full"], "--out full must be empty or new"),
        (["factqa:1", "--out", "no/a"], "--out no/a: there is no folder no"),
        (["factqa:1", "--out", "DATA"], "is a file; choose a folder"),
        (["factqa:1", "--out", "new", "--run", "./new"], "must be another folder than --out"),
        (["factqa:1", "--run", "full"], "full must be empty or hold a run"),
        (["DATA", "--max-length", "1"], "line 1: the question has 2 characters, --max-length"),
    ],
)
def test_refusals_of_training(options, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.jsonl").write_text(json.dumps(LINE))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    options = ["data.jsonl" if option == "DATA" else option for option in options]
    out = () if "--out" in options else ("--out", "new")
    small = () if {"--questions", "data.jsonl"} & {*options} else ("--questions", 2)
    result = call("train-reader", *options, *out, *small, code=2)
    assert words in result.stderr
    assert result.stderr.startswith("kexian: ")
    assert result.stderr.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data.jsonl", "full"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2 must be JSON: Expecting property name"),
        ("[]", "line 2 must hold a JSON object, got a list"),
        (LINE | {"question": " "}, "line 2: the question is empty"),
        (LINE | {"answer": []}, 'line 2: "answer" must be a string or a list of strings'),
        (LINE | {"answer": ["甲", ""]}, 'line 2: "answer" must be a string or a list of strings'),
        ({"question": "a", "passages": []}, 'line 2: "answer" must be a string or a list of st'),
        (LINE | {"accepted": "甲"}, 'line 2: "accepted" must be'),
        (LINE | {"passages": "甲"}, "line 2: \"passages\" must be a list, got '甲'"),
        (LINE | {"passages": [{"text": 1}]}, 'line 2: "passages"[0] must be a string, or an obj'),
    ],
)
def test_lines_that_are_no_examples(line, words, tmp_path):
    path = tmp_path / "data.jsonl"
    text = line if isinstance(line, str) else json.dumps(line)
    path.write_text(f"{json.dumps(LINE)}\n{text}\n", encoding="utf-8")
    result = call("train-reader", path, "--out", tmp_path / "new", code=2)
    assert f"{path}, {words}" in result.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["data.jsonl"]


# Kills. One process imports Keras, and each call runs in a fork of it, which is killed.

SERVER = """
import functools, json, os, signal, sys
from kexian_utils.experiment import backend
backend.choose_backend(None)
import keras
from kexian_utils.training import state
from kexian_utils.qa import reader, training
from kexian_utils.commands import train_reader
from kexian_utils.commands.main import main

def strike(number):
    os.kill(os.getpid(), number)

def prepare(how, number, sign):
    count, step, replace = [0], training._step, os.replace

    def counted(call):
        def wrapped(*arguments):
            if how == "write" and not str(arguments[1]).endswith("state.npz"):
                return call(*arguments)
            count[0] += 1
            if count[0] == number:
                strike(sign)
            return call(*arguments)
        return wrapped

    if how == "step":
        training._step = counted(step)
    elif how == "write":
        os.replace = counted(replace)
    elif how == "saved":
        train_reader.remove_run = counted(train_reader.remove_run)

small = functools.partial(reader.ReaderConfig, question_rates=(1,), passage_rates=(2,))
reader.character_vectors(64)  # is the same in all calls
print("ready", flush=True)
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child == 0:
        for number, path in enumerate(job["files"]):
            os.dup2(os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY), number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if job["arguments"][0] == "train-reader":
            reader.ReaderConfig = small  # there is less to be compiled
        prepare(*job["strike"])
        try:
            main(job["arguments"])
        except SystemExit as end:
            sys.stdout.flush()
            os._exit(end.code or 0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Server:
    def __init__(self, folder):
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            env=os.environ | {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout.readline() == "ready\n"

    def start(self, files, *arguments, strike=("never", 0, 0)):
        job = {"files": list(map(str, files)), "strike": strike}
        job["arguments"] = list(map(str, arguments))
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def wait(self):
        return int(self.process.stdout.readline())

    def call(self, *arguments, **options):
        """Exit code, standard output, standard error."""
        paths = [self.folder / name for name in ("out", "err")]
        for path in paths:
            path.write_text("")
        self.start([os.devnull, *paths], *arguments, **options)
        return self.wait(), *(path.read_text(encoding="utf-8") for path in paths)

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(timeout=60)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.close()


def weights(folder):
    from kexian_utils.qa.reader import DGCNNReader

    reader = DGCNNReader.load(folder)
    return reader.characters, [np.asarray(weight) for weight in reader.network.weights]


def test_killed_and_interrupted_it_ends_like_an_uninterrupted_run(server, tmp_path):
    """While it computes, while it writes its state, in other epochs, and after its last step.

    At a push twice, in the weekly run six times.
    """
    data = tmp_path / "data.jsonl"
    export_jsonl(data, make_factqa(2, 16))
    options = ("--epochs", 2, "--batch-size", 16, "--width", 4, "--save-every", 0)
    whole, target = tmp_path / "whole", tmp_path / "reader"
    code, said, _ = server.call("train-reader", data, "--out", whole, *options)
    assert code == 0
    assert "epoch 2 of 2" in said
    arguments = ("train-reader", data, "--out", target, *options)
    # How it is struck, at which call of this process, by what.
    strikes = [
        ("write", 1, signal.SIGKILL),  # before there is a state
        ("step", 3, signal.SIGKILL),
        ("write", 2, signal.SIGKILL),
        ("step", 2, signal.SIGINT),
        ("step", 4, signal.SIGKILL),
        ("saved", 1, signal.SIGKILL),
    ]
    if os.environ.get("KEXIAN_WEEKLY") != "1":
        strikes = strikes[2:4]
    reached = []
    for strike in strikes:
        code, _, wrong = server.call(*arguments, strike=strike)
        if strike[2] == signal.SIGINT:
            assert code == 130
            assert wrong.endswith(
                f"interrupted; {target}.run is kept: the same command goes on where it stopped.\n"
            )
        else:
            assert code == -signal.SIGKILL
        state = tmp_path / "reader.run" / "state.npz"
        if state.is_file():
            with np.load(state) as file:
                reached.append(int(np.isfinite(file["losses"]).sum()))
    assert len(reached) == min(5, len(strikes))
    assert reached == sorted(set(reached))
    assert server.call(*arguments)[0] == 0
    assert not (tmp_path / "reader.run").exists()
    characters, want = weights(whole)
    found_characters, found = weights(target)
    assert found_characters == characters
    different = [n for n, (a, b) in enumerate(zip(found, want, strict=True)) if (a != b).any()]
    assert not different


def test_another_run_is_not_gone_on_with(server, tmp_path):
    options = ("--questions", 4, "--width", 4, "--out", tmp_path / "reader")
    kill = ("saved", 1, signal.SIGKILL)
    assert server.call("train-reader", "factqa:1", *options, strike=kill)[0] == -signal.SIGKILL
    before = (tmp_path / "reader" / "reader.json").read_bytes()
    code, _, wrong = server.call("train-reader", "factqa:1", *options, "--learning-rate", 0.1)
    assert code == 2
    assert "reader.run holds a run with another training (learning_rate: " in wrong
    assert (tmp_path / "reader" / "reader.json").read_bytes() == before


def test_a_stream_is_answered_as_it_comes_and_control_c_keeps_it(
    server, tmp_path, trained, questions, readings
):
    for name in ("in", "out"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "err").write_text("")
    files = [tmp_path / name for name in ("in", "out", "err")]
    child = server.start(files, "answer", "--jsonl", "-", "--reader", trained[0])
    with open(files[0], "wb") as given, open(files[1], encoding="utf-8") as found:
        for question in questions[:100]:
            passages = [p.text for p in question.passages]
            record = {"question": question.question, "passages": passages}
            given.write(json.dumps(record).encode() + b"\n")
        given.flush()
        first = [found.readline() for _ in range(64)]  # comes before the input ends
        os.kill(child, signal.SIGINT)
        rest = found.read()
    assert server.wait() == 130
    assert first == [f"{reading.answer}\n" for reading in readings[:64]]
    assert rest == ""
    message = "kexian: interrupted; what was found up to then is written.\n"
    assert files[2].read_text().endswith(message)


# Answers


def test_files_standard_input_and_python_agree(ask, questions, readings, tmp_path):
    question, reading = next(
        (q, r) for q, r in zip(questions, readings, strict=True) if len(r.votes) > 1
    )
    passages = [p.text for p in question.passages]
    paths = [tmp_path / f"{number}.txt" for number in range(5)]
    for number, (path, text) in enumerate(zip(paths, passages, strict=True)):
        path.write_bytes(("\ufeff" * (number == 0) + text + "\n" * number).encode())
    piped = "\n\n".join(passages) + "\n"
    name = question.question
    assert lines(*ask, name, *paths) == [reading.answer]
    assert lines(*ask, name, input=piped) == [reading.answer]
    assert lines(*ask, name, *paths[:2], "-", input="\n".join(passages[2:])) == [reading.answer]
    ranked = [line.split("\t") for line in lines(*ask, "--votes", name, *paths)]
    assert [text for text, _ in ranked] == list(reading.votes)
    values = [float(value) for _, value in ranked]
    assert values == pytest.approx(list(reading.votes.values()), rel=1e-4)
    (record,) = map(json.loads, lines(*ask, "--json", name, *paths))
    assert record["id"] is None
    assert record["reason"] is None
    check(record, question, reading)


def test_the_readers_of_the_package_go_by_name(trained, tmp_path, monkeypatch):
    from kexian_utils.qa.reader import DGCNNReader, bundled_reader

    monkeypatch.chdir(tmp_path)
    ask = ("answer", "--json", "第一届现代奥运会在哪里举行？")
    text = "两年以后，第一届现代奥运会在雅典举行。" + "共有十四个国家参加。" * 15
    for name, options, width in (
        ("wikipedia", (), 128),
        ("wikipedia", ("--reader", "wikipedia"), 128),
        ("factqa", ("--reader", "factqa"), 256),
        ("factqa", ("--reader", "factqa", "--max-length", 64), 64),
    ):
        (record,) = map(json.loads, lines(*ask, *options, input=text))
        asked = DGCNNReader.load(bundled_reader(name))
        assert len(record["passages"][0]["text"]) == min(width, len(text)), name
        found = asked.answer(record["question"], [p["text"] for p in record["passages"]])
        assert list(record["votes"]) == list(found.votes)
        assert record["answer"] == (found.answer if found.score >= asked.config.least_vote else "")
    (tmp_path / "factqa").symlink_to(trained[0])  # one's own reader goes before
    own = lines(*ask, "--reader", "factqa", input=text)
    assert own == lines(*ask, "--reader", trained[0], input=text)


def test_a_reader_keeps_to_the_length_that_it_was_trained_with(tmp_path):
    path = tmp_path / "mine.jsonl"
    entry = {"question": "谁？", "answer": "甲", "passages": ["这是甲。" * 20]}
    path.write_text(json.dumps(entry), encoding="utf-8")
    options = ("--epochs", 1, "--width", 4, "--max-length", 32)
    lines("train-reader", path, "--out", tmp_path / "reader", *options)
    ask = ("answer", "--reader", tmp_path / "reader", "--json", "谁？")
    (record,) = map(json.loads, lines(*ask, input="这是甲。" * 20))
    assert [len(p["text"]) for p in record["passages"]] == [32, 32, 32, 32]


def check(record, question, reading):
    assert record["question"] == question.question
    assert record["answer"] == reading.answer
    assert record["score"] == pytest.approx(reading.score, rel=1e-4)
    assert list(record["votes"]) == list(reading.votes)
    assert [p["text"] for p in record["passages"]] == [p.text for p in question.passages]
    assert [p["passage"] for p in record["passages"]] == list(range(1, 6))
    for entry, passage in zip(record["passages"], reading.passages, strict=True):
        assert entry["offset"] == 0
        assert entry["answerable"] == pytest.approx(passage.answerable, rel=1e-4)
        assert entry["candidates"] == pytest.approx(passage.candidates, rel=1e-4)
        assert entry["span"] == (passage.span and list(passage.span))
        if entry["span"]:
            assert entry["text"][slice(*entry["span"])].lower() == reading.answer.lower()


def test_json_lines_in_blocks(ask, questions, readings, tmp_path):
    """More than two blocks, as the benchmark's own file and from standard input."""
    path = tmp_path / "questions.jsonl"
    export_jsonl(path, questions)
    assert lines(*ask, "--jsonl", path) == [reading.answer for reading in readings]
    given = b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\n\n")
    found = lines(*ask, "--jsonl", "-", "--json", input=given)
    for line, question, reading in zip(found, questions, readings, strict=True):
        record = json.loads(line)
        assert record["id"] == question.id
        check(record, question, reading)
    ranked = "\n".join(lines(*ask, "--jsonl", path, "--votes")).split("\n\n")
    want = [list(reading.votes) for reading in readings if reading.votes]
    assert [[v.split("\t")[0] for v in block.split("\n") if v] for block in ranked if block] == want


BAD = [
    (b"{", "line 2 must be JSON: Expecting property name"),
    (b'"question"', "line 2 must hold a JSON object, got a string"),
    (b'{"question": "\xff"}', "line 2 must be UTF-8: byte 14 is not (0xff)"),
    (b"[" * 100_000, "line 2 must be JSON of a sane depth"),
    (b'{"id": NaN, "question": "?"}', "line 2 must hold finite numbers, got NaN"),
    (b'{"id": 1e999, "question": "?"}', "line 2 must hold finite numbers, got 1e999"),
    (b'{"passages": []}', 'line 2: "question" must be a string, got none'),
    (b'{"question": "", "passages": []}', "line 2: the question is empty."),
    (b'{"question": "a"}', 'line 2: "passages" must be a list, got none'),
    (b'{"question": "a", "passages": ["b", null]}', 'line 2: "passages"[1] must be a string'),
    (b'{"question": "' + b"a" * 257 + b'", "passages": []}', "line 2: the question has 257 ch"),
]


@pytest.mark.parametrize(("bad", "words"), BAD)
def test_bad_lines_are_told_and_the_others_answered(ask, questions, readings, tmp_path, bad, words):
    path = tmp_path / "questions.jsonl"
    export_jsonl(path, questions[:2])
    first, last = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([first, bad, last]))
    result = call(*ask, "--jsonl", path, code=2)
    assert result.stdout == f"{readings[0].answer}\n\n{readings[1].answer}\n"
    told, summary = result.stderr.splitlines()
    assert told.startswith(f"kexian: {path}, {words}")
    assert summary == "kexian: 1 of 3 questions could not be read."
    result = call(*ask, "--jsonl", path, "--json", code=2)
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [r["id"] for r in records] == [questions[0].id, 2, questions[1].id]
    assert records[1].keys() == {"id", "error"}
    assert words in records[1]["error"]


def test_no_answer_has_a_reason(ask):
    quiet = "今天天气很好"
    result = call(*ask, "法国的首都是哪里？", input=quiet)
    assert result.stdout == "\n"
    assert result.stderr == "kexian: no answer: no passage proposes one.\n"
    given = [{"question": "谁？", "passages": passages} for passages in ([], ["", ""], [quiet])]
    text = "\n".join(map(json.dumps, given))
    found = [json.loads(line) for line in lines(*ask, "--jsonl", "-", "--json", input=text)]
    none, silent = "there are no passages", "no passage proposes one"
    assert [record["reason"] for record in found] == [none, none, silent]
    assert [record["answer"] for record in found] == ["", "", ""]


def test_a_weak_vote_is_no_answer(ask, questions, readings):
    question, reading = next((q, r) for q, r in zip(questions, readings, strict=True) if r.answer)
    passages = "\n".join(p.text for p in question.passages)
    options = ("--least-vote", 1, question.question)
    result = call(*ask, *options, input=passages)
    assert result.stdout == "\n"
    assert result.stderr == (
        f"kexian: no answer: the best candidate, {reading.answer!r}, has {reading.score:.2g} in "
        "the vote, less than --least-vote asks for.\n"
    )
    (record,) = map(json.loads, lines(*ask, "--json", *options, input=passages))
    assert (record["answer"], list(record["votes"])) == ("", list(reading.votes))
    assert "less than --least-vote" in record["reason"]
    assert all(passage["span"] is None for passage in record["passages"])
    assert all(r.score >= 0.03 for r in readings if r.answer)
    words = "--least-vote must be a number from 0.001 to 1, got '0'"
    assert words in call(*ask, "--least-vote", 0, "谁？", input="甲", code=2).stderr


def test_texts_of_all_kinds(ask):
    nasty = [
        "Who wrote it?",
        "\ud800\U0001f600\u200d",
        "ＡＢＣ　１２３",
        "a\nb\u2028c\x00\x1b[2J",
        "İ" * 50,
    ]
    given = [{"question": q, "passages": nasty} for q in nasty]
    text = "\n".join(map(json.dumps, given))
    found = [json.loads(line) for line in lines(*ask, "--jsonl", "-", "--json", input=text)]
    assert [record["question"] for record in found] == nasty
    assert [[p["text"] for p in record["passages"]] for record in found] == [nasty] * len(nasty)
    assert len(lines(*ask, "--jsonl", "-", input=text)) == len(nasty)  # an answer a line


def test_long_passages_are_read_in_windows(ask, reader, questions, readings, tmp_path):
    question, reading = next(
        (q, r) for q, r in zip(questions, readings, strict=True) if r.score > 0.3
    )
    passages = [p.text for p in question.passages]
    place = next(n for n, p in enumerate(reading.passages) if p.span)
    long = "很久以前有一座山。" * 30 + passages[place] + "山里有一座庙。" * 20
    path = tmp_path / "long.txt"
    path.write_text(long, encoding="utf-8")
    others = "\n".join(passages[:place] + passages[place + 1 :])
    options = ("--max-length", 64, "--json", question.question, path, "-")
    (record,) = map(json.loads, lines(*ask, *options, input=others))
    windows = [p for p in record["passages"] if p["passage"] == 1]
    assert [w["offset"] for w in windows] == list(range(0, windows[-1]["offset"] + 1, 32))
    for window in windows:
        assert window["text"] == long[window["offset"] : window["offset"] + 64]
        if window["span"]:
            assert long[slice(*window["span"])] == record["answer"]
    assert windows[-1]["offset"] + len(windows[-1]["text"]) == len(long)
    assert record["answer"] == question.answer
    assert any(window["span"] for window in windows)


def test_explain_draws_a_figure(ask, questions, tmp_path):
    texts = [p.text for p in questions[0].passages]
    for suffix, begins in ((".svg", b"<?xml"), (".png", b"\x89PNG"), (".PDF", b"%PDF")):
        path = tmp_path / f"why{suffix}"
        call(*ask, "--explain", path, questions[0].question, input="\n".join(texts))
        assert path.read_bytes().startswith(begins)
    assert len(list(tmp_path.iterdir())) == 3
    path = tmp_path / "none.png"
    call(*ask, "--explain", path, "谁 $ 😀？", input="今天")
    assert path.is_file()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "give QUESTION and PASSAGE files, or --jsonl FILE"),
        (["谁？", "a.txt", "--jsonl", "a.txt"], "give either --jsonl FILE, or QUESTION and"),
        (["--jsonl", "a.txt", "--explain", "a.svg"], "--explain draws a single question"),
        (["谁？", "none.txt"], "none.txt: there is no such file; for text instead of a file"),
        (["谁？", "."], ". is a folder; give the files in it"),
        (["谁？", "empty.txt"], "empty.txt is empty; leave it out"),
        (["谁？", "gb.txt"], "gb.txt must be UTF-8: byte 3 is not (0xb5); convert it, for ex"),
        (["谁？"], "standard input holds no passage; give one on each line"),
        (["谁？", "-", "-"], "- may be given once"),
        ([" ", "a.txt"], "the question is empty"),
        (["谁" * 300, "a.txt"], "the question has 300 characters, --max-length allows 256"),
        (
            ["谁？", "a.txt", "--max-length", "x"],
            "--max-length must be a whole number of at least 1, got 'x'",
        ),
        (["谁？", "a.txt", "--max-length", "0"], "--max-length must be a whole number of at l"),
        (["谁？", "a.txt", "--max-length", "23"], "--max-length must be at least 24, twice the"),
        (["谁？", "a.txt", "--explain", "a.jpg"], "--explain must end in .svg, .png, .pdf"),
        (["谁？", "a.txt", "--explain", "no/a.svg"], "there is no folder no"),
        (["--jsonl", "none.jsonl"], "none.jsonl: there is no such file"),
        (["--jsonl", "."], ". is a folder"),
        (["谁？", "a.txt", "--reader", "."], ". holds no reader: reader.json is missing; give --"),
        (["谁？", "a.txt", "--reader", "torn"], "torn/network.keras is damaged"),
        (["谁？", "a.txt", "--reader", "newer"], "is of form 99, this version reads 1"),
    ],
)
def test_refusals(options, words, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("甲", encoding="utf-8")
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "gb.txt").write_bytes("甲".encode() + "的".encode("gbk"))
    about = (trained[0] / "reader.json").read_text(encoding="utf-8")
    whole = (trained[0] / "network.keras").read_bytes()
    for name, text, network in (
        ("torn", about, whole[:2000]),
        ("newer", about.replace('"form": 1', '"form": 99'), whole),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "reader.json").write_text(text, encoding="utf-8")
        (tmp_path / name / "network.keras").write_bytes(network)
    before = sorted(tmp_path.rglob("*"))
    reader = () if "--reader" in options else ("--reader", trained[0])
    result = call("answer", *options, *reader, code=2, input="")
    assert words in result.stderr
    assert result.stderr.startswith("kexian: ")
    assert result.stderr.count("\n") == 1
    assert not result.stdout
    assert sorted(tmp_path.rglob("*")) == before


def test_memory_does_not_grow_with_the_file(reader, questions):
    """No more questions are read ahead than go through the network together."""
    taken = []

    def items():
        for number in range(1000):
            taken.append(number)
            passages = [p.text for p in questions[number % 3].passages]
            yield Item(number, *checked("谁？", passages, 256))

    for number, (item, _) in enumerate(answered(reader, items())):
        assert item.id == number
        assert len(taken) - number <= QUESTIONS
        if number == 200:
            break
