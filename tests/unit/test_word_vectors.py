"""`kexian word2vec` as a user meets it: training, the format, refusals, kills at any time."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from kexian_utils.commands.main import main
from kexian_utils.language.word_vectors import (
    VectorTraining,
    WordVectors,
    cut_by_neighbours,
    number_words,
    train_word_vectors,
)

KINDS = (["苹果", "梨子", "葡萄", "桃子"], ["钢铁", "黄铜", "白银", "水银"])
FAST = ("--dimension", 8, "--batch-size", 50, "--epochs", 3)


def call(*arguments, code=0, **options):
    result = CliRunner().invoke(main, list(map(str, arguments)), **options)
    assert result.exit_code == code, (result.output, result.exception)
    return result


def texts(lines=80, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.choice(KINDS[i % 2], 20).tolist() for i in range(lines)]


@pytest.fixture
def text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("\n".join(" ".join(words) for words in texts()) + "\n", "utf-8")
    return "a.txt"


def parsed(path):
    """A reader of the format that shares nothing with ours."""
    head, *lines = path.read_bytes().decode("utf-8").split("\n")[:-1]
    n, d = map(int, head.split(" "))
    rows = {line.split(" ")[0]: [float(x) for x in line.split(" ")[1:]] for line in lines}
    assert len(rows) == len(lines) == n
    assert {len(row) for row in rows.values()} == {d}
    return rows


def test_training_writes_the_format_and_tells_neighbours(text, tmp_path):
    said = call("word2vec", text, "--out", "a.vec", *FAST, "--near", "苹果").stdout.splitlines()
    assert said[0].startswith("1,600 words, 8 different ones, that occur ")
    assert [line.split(":")[0] for line in said[1:4]] == [f"epoch {k} of 3" for k in (1, 2, 3)]
    assert said[4] == "a.vec is written."
    nearest = [part.split(" ")[0] for part in said[5].removeprefix("苹果: ").split(", ")]
    assert set(nearest[:3]) == set(KINDS[0]) - {"苹果"}
    assert set(parsed(tmp_path / "a.vec")) == {word for kind in KINDS for word in kind}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt", "a.vec"]


def test_gensim_reads_the_format(text, tmp_path):
    models = pytest.importorskip("gensim.models")
    call("word2vec", text, "--out", "a.vec", *FAST)
    read = models.KeyedVectors.load_word2vec_format("a.vec")
    ours = WordVectors.load("a.vec")
    assert read.index_to_key == ours.words
    np.testing.assert_array_equal(read.vectors, ours.vectors)
    theirs = [word for word, _ in read.most_similar("苹果", topn=3)]
    assert theirs == [word for word, _ in ours.most_similar("苹果", 3)]


def test_saved_and_loaded_vectors_are_the_same(tmp_path):
    vectors = WordVectors(["a", "．", "北京"], np.random.default_rng(0).normal(size=(3, 4)))
    vectors.save(tmp_path / "v.vec")
    read = WordVectors.load(tmp_path / "v.vec")
    assert read.words == vectors.words
    np.testing.assert_allclose(read.vectors, vectors.vectors, rtol=1e-5)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "line 1 must be two whole numbers"),
        ("2 x\n", "line 1 must be two whole numbers"),
        ("1 2\na 1\n", "line 2 must hold a word and 2 numbers"),
        ("1 2\na 1 b\n", "line 2 must hold a word and 2 numbers"),
        ("2 1\na 1\n", "must hold 2 words, as line 1 says, got 1"),
        ("2 1\na 1\na 2\n", "words must all be different"),
        ("1 1\na nan\n", "vectors must be finite"),
    ],
)
def test_damaged_files_are_refused(content, words, tmp_path):
    (tmp_path / "v.vec").write_text(content, "utf-8")
    with pytest.raises(ValueError, match=words):
        WordVectors.load(tmp_path / "v.vec")


def test_an_unknown_word_is_named():
    with pytest.raises(KeyError, match="'c' is not among the 2 words"):
        WordVectors(["a", "b"], np.eye(2)).most_similar("c")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["no.txt"], "no.txt: there is no such file"),
        (["."], ". is a folder; give the files in it"),
        (["empty.txt"], "the text has 0 different words: give more text or a smaller --min-count"),
        (["a.txt", "--min-count", "999"], "the most frequent one"),
        (["gb.txt"], "gb.txt must be UTF-8: line 2 is not, at byte 4 of the file"),
        (["a.txt", "--near", "无"], "--near 无: the text does not have this word --min-count 5"),
        (["a.txt", "--out", "precious"], "--out precious exists; choose another name"),
        (["a.txt", "--out", "no/b"], "--out no/b: there is no folder no"),
        (["a.txt", "--out", "full"], "--out full is a folder; give the name of a file in it"),
        (["a.txt", "--out", "new", "--run", "./new"], "must be another path than --out"),
        (["a.txt", "--run", "full"], "full must be empty or hold a run, it holds other things"),
        (["a.txt", "--epochs", "0"], "--epochs must be a whole number of at least 1, got '0'"),
        (["a.txt", "--learning-rate", "nan"], "--learning-rate must be a number of more than 0"),
    ],
)
def test_refusals(options, words, text, tmp_path):
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "gb.txt").write_bytes(b"a b\n" + "中文".encode("gb18030"))
    (tmp_path / "precious").write_text("thesis")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    before = sorted(p.name for p in tmp_path.rglob("*"))
    out = () if "--out" in options else ("--out", "new")
    result = call("word2vec", *options, *out, code=2)
    assert words in result.stderr
    assert result.stderr.startswith("kexian: ")
    assert result.stderr.count("\n") == 1
    assert sorted(p.name for p in tmp_path.rglob("*")) == before
    assert (tmp_path / "precious").read_text() == "thesis"


def test_a_text_without_spaces_is_cut_by_counts(text, tmp_path):
    raw = "".join("".join(words) + "。\n" for words in texts())
    result = call("word2vec", "-", "--out", "b.vec", *FAST, input=raw.encode())
    assert "words are cut by counts of neighbouring characters" in result.stderr
    assert len({word for kind in KINDS for word in kind} & set(parsed(tmp_path / "b.vec"))) >= 6
    alone = call("word2vec", "-", "--out", "c.vec", "--cut", "spaces", input=raw.encode(), code=2)
    assert "at least two words must occur 5 times" in alone.stderr


def test_cutting_loses_no_character():
    lines = ["今天 天气很好，3.5度。", "", "BERT是模型", "！"]
    for line, words in zip(lines, cut_by_neighbours(lines), strict=True):
        assert "".join(words) == line.replace(" ", "")


def test_a_step_goes_down_the_slope_of_the_loss():
    """With all windows whole and no thinning, the first steps lower the loss of a fixed batch."""
    numbered = number_words(texts())
    losses = []
    training = VectorTraining(8, epochs=6, batch_size=100, thinning=0)
    train_word_vectors(numbered, training, report=lambda state: losses.append(state["loss"]))
    assert losses[0] == pytest.approx(np.log(257), rel=1e-3)
    assert np.mean(losses[-10:]) < losses[0] - 0.3


@pytest.mark.parametrize("kills", [1, 3])
def test_a_run_that_is_stopped_ends_as_one_that_is_not(kills, tmp_path):
    numbered, training = number_words(texts()), VectorTraining(8, epochs=2, batch_size=100)
    whole = train_word_vectors(numbered, training, seed=3)
    steps = 2 * 16
    for k in range(1, kills + 1):

        def stop(state, at=k * steps // (kills + 1)):
            if state["step"] == at:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train_word_vectors(numbered, training, 3, tmp_path / "run", report=stop)
    again = train_word_vectors(numbered, training, 3, tmp_path / "run")
    np.testing.assert_array_equal(again.vectors, whole.vectors)
    with pytest.raises(ValueError, match="holds a run with another seed"):
        train_word_vectors(numbered, training, 4, tmp_path / "run")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs signals")
def test_a_killed_command_goes_on(text, tmp_path):
    command = [
        sys.executable, "-m", "kexian_utils.commands.main", "word2vec", text, "--out", "k.vec",
        "--dimension", "8", "--batch-size", "20", "--epochs", "40", "--save-every", "0",
    ]  # fmt: skip
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    assert running.stdout.readline().startswith("1,600 words")
    for epoch in (1, 2):  # when the second has ended, the first was saved
        assert running.stdout.readline().startswith(f"epoch {epoch} of 40")
    running.kill()
    running.communicate()
    assert (tmp_path / "k.vec.run" / "state.npz").is_file()
    assert not (tmp_path / "k.vec").exists()
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert "epoch 1 of 40" not in done.stdout
    killed = parsed(tmp_path / "k.vec")
    assert not (tmp_path / "k.vec.run").exists()
    (tmp_path / "k.vec").unlink()
    assert subprocess.run(command, capture_output=True, env=os.environ).returncode == 0
    assert parsed(tmp_path / "k.vec") == killed


def test_only_a_loss_that_diverges_stops_the_training():
    """A batch that thinning emptied has no loss either, and is no fault."""
    text = number_words([["a", "b", "c"] * 40])
    seen = []
    plan = VectorTraining(4, 2, 2, batch_size=1, thinning=1e-6)
    train_word_vectors(text, plan, report=lambda state: seen.append(state["loss"]))
    assert np.isnan(seen).any()
    for epochs in (1, 9):  # seen in the vectors, and in the loss of a later step
        wild = VectorTraining(4, epochs, 2, learning_rate=1e39)
        with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="than 1e\\+39"):
            train_word_vectors(text, wild)
