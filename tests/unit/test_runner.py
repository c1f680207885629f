"""Running notebooks: bad input gives one sentence, and what was there before stays."""

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner

from kexian_utils import catalogue
from kexian_utils.commands.main import main
from kexian_utils.errors import KexianError
from kexian_utils.runner.checks import hygiene
from kexian_utils.runner.execution import cells, engine, execute, files, pool
from kexian_utils.runner.execution.files import Setting

ROOT = Path(__file__).resolve().parents[2]
PARAMETERS = 'profile = "default"\nseed = 0'
SMOKE = Setting("smoke")


def notebook(*cells, tags=("parameters",)):
    head = nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": list(tags)})
    nb = nbformat.v4.new_notebook(cells=[head, *map(nbformat.v4.new_code_cell, cells)])
    for number, cell in enumerate(nb.cells):
        cell["id"] = f"c{number}"
    return nb


@pytest.fixture
def checkout(empty_checkout):
    """A small checkout with one chapter, which prints its profile and seed."""
    chapter = empty_checkout / catalogue.load(empty_checkout).article("7533").path
    files.write_notebook(chapter, notebook("print(profile, seed, 2 + 2)"))
    return empty_checkout


@pytest.fixture
def chapter(checkout):
    return checkout / catalogue.load(checkout).article("7533").path


def kexian(*args):
    result = CliRunner().invoke(main, args)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def refused(code, message, *args):
    result = kexian(*args)
    assert result.exit_code == code, result.output
    sentences = [
        line for line in result.stderr.splitlines() if line.startswith(("kexian:", "Error"))
    ]
    assert message in " ".join(sentences), result.output
    assert "Traceback" not in result.output
    return result


# -- what works -----------------------------------------------------------------------------------


def test_a_run_is_written_beside_and_reused_until_something_changes(checkout, chapter):
    before = chapter.read_bytes()
    assert "ran in" in kexian("run", "7533").output
    assert chapter.read_bytes() == before
    assert "up to date" in kexian("run", "all").output
    assert "ran in" in kexian("run", "7533", "--seed", "3", "--profile", "smoke").output
    copy = checkout / "_build/runs/smoke-s3-tensorflow/robustness/integrated-gradients.ipynb"
    assert "smoke 3 4" in json.dumps(nbformat.read(copy, 4))
    files.write_notebook(chapter, notebook("print(profile, seed, 2 + 3)"))
    assert "ran in" in kexian("run", "7533").output


def test_accept_stores_fresh_outputs_and_check_compares(checkout, chapter):
    assert kexian("check", "7533").exit_code == 1  # nothing is stored yet
    assert kexian("accept", "7533", "--yes").exit_code == 0
    stored = nbformat.read(chapter, 4)
    assert stored.cells[1].outputs[0].text == "default 0 4\n"
    assert [c.execution_count for c in stored.cells] == [1, 2]
    assert "papermill" not in stored.metadata
    result = kexian("check", "7533")
    assert result.exit_code == 0, result.output
    stored.cells[1].outputs[0].text = "default 0 five\n"
    files.write_notebook(chapter, stored)
    result = kexian("check", "7533")
    assert result.exit_code == 1
    assert "five" in result.output
    kept = chapter.read_bytes()
    declined = CliRunner().invoke(main, ["accept", "7533"], input="n\n")
    assert "five" in declined.output
    assert chapter.read_bytes() == kept


def test_check_takes_up_a_run_of_older_prose_and_comments(checkout, chapter):
    kexian("accept", "7533", "--yes")
    edited = nbformat.read(chapter, 4)
    edited.cells[1].source += "  # why"
    edited.cells.insert(0, nbformat.v4.new_markdown_cell("# Prose", id="prose"))
    files.write_notebook(chapter, edited)
    assert "is up to date" in kexian("run", "7533").output
    result = kexian("check", "7533")
    assert result.exit_code == 0, result.output


def test_list_claims_and_help_have_examples(checkout):
    assert "1 of 36 chapters are written" in kexian("list").output
    rows = json.loads(kexian("list", "--json").output)
    assert [r["id"] for r in rows if r["written"]] == ["7533"]
    assert json.loads(kexian("claims", "--json").output) == []
    assert "belong to chapters still to come" in kexian("claims").output
    assert "Examples:" in kexian("--help").output


def test_tab_completion_knows_articles_and_parts(checkout):
    env = {
        **os.environ,
        "_KEXIAN_COMPLETE": "bash_complete",
        "COMP_WORDS": "kexian run 75",
        "COMP_CWORD": "2",
    }
    command = Path(sys.executable).with_name("kexian")
    out = subprocess.run([command], env=env, text=True, capture_output=True, check=False).stdout
    assert "plain,7533" in out


# -- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("run", "9999"), "no article '9999'"),
        (("run", "optimization"), "A part (mathematics"),
        (("run", "7076"), "has no chapter yet; `kexian new 7076`"),
        (("run", "losses"), "no chapter of 'losses' is written yet"),
        (("run", "7533", "--profile", "quick"), "'quick' is not one of"),
        (("run", "7533", "--backend", "theano"), "'theano' is not one of"),
        (("run", "7533", "--seed", "-1"), "between 0 and 2**32 - 1"),
        (("run", "7533", "--seed", "1.5"), "not a valid integer"),
        (("run", "7533", "--record"), "--record belongs to --profile study"),
        (("list", "--part", "maths"), "no part 'maths'"),
        (("new", "1"), "no article '1'"),
        (("new", "7533"), "exists already"),
    ],
)
def test_wrong_names_and_values_are_refused(checkout, chapter, args, message):
    before = chapter.read_bytes()
    refused(2, message, *args)
    assert chapter.read_bytes() == before
    assert not (checkout / "_build").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "corrupt"), ("{", "corrupt"), ('{"cells": []}', "corrupt"), ("[]", "corrupt")],
)
def test_a_corrupt_notebook_is_refused(checkout, chapter, text, message):
    chapter.write_text(text, encoding="utf-8")
    refused(2, message, "run", "7533")
    refused(2, message, "claims", "7533")
    assert chapter.read_text(encoding="utf-8") == text


def test_a_notebook_without_parameters_is_refused(checkout, chapter):
    files.write_notebook(chapter, notebook("1", tags=()))
    refused(2, "no cells tagged `parameters`", "run", "7533")
    nb = notebook("1")
    nb.cells[0].source = 'profile = "default"'
    files.write_notebook(chapter, nb)
    refused(2, "lacks seed", "run", "7533")


def test_a_failing_cell_keeps_what_the_run_had_and_the_earlier_run(checkout, chapter):
    kexian("run", "7533")
    run = files.Run(checkout, catalogue.load(checkout).article("7533")).copy
    earlier = run.read_bytes()
    files.write_notebook(chapter, notebook("print('first')", "1 / 0", "print('never')"))
    result = refused(2, "ZeroDivisionError", "run", "7533")
    assert run.read_bytes() == earlier
    kept = run.with_name("integrated-gradients.failed.ipynb").read_text(encoding="utf-8")
    assert "first" in kept
    assert str(run.parent) in result.stderr
    assert not list(run.parent.glob(".*part*"))


def test_a_missed_claim_exits_with_1(checkout, chapter):
    files.write_notebook(
        chapter, notebook("class ClaimMissed(Exception): ...\nraise ClaimMissed('C1')")
    )
    refused(1, "ClaimMissed: C1", "run", "7533")


def test_a_dying_kernel_is_named(checkout, chapter):
    files.write_notebook(
        chapter,
        notebook("print('first')", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"),
    )
    before = chapter.read_bytes()
    refused(3, "the kernel died: the machine ran out of memory, or a cell ended", "run", "7533")
    assert chapter.read_bytes() == before


def test_a_hanging_cell_is_stopped(checkout, chapter):
    files.write_notebook(chapter, notebook("import time; time.sleep(60)"))
    started = time.monotonic()
    refused(3, "a cell ran longer than 2 s", "run", "7533", "--timeout", "2")
    assert time.monotonic() - started < 30


def test_other_chapters_still_run_after_a_failure(checkout, chapter):
    files.write_notebook(chapter, notebook("1 / 0"))
    other = checkout / catalogue.load(checkout).article("7466").path
    files.write_notebook(other, notebook("print('fine')"))
    result = refused(2, "1 of 2 chapters failed", "run", "all")
    assert "7466 noise-and-gradient-penalty ran in" in result.output
    assert "up to date" in kexian("run", "7466").output


def test_a_syntax_error_is_one_sentence_and_the_others_run(checkout, chapter, write_chapters):
    write_chapters(a7466="print('hello'")
    for command in ("run", "check"):
        result = refused(2, "code cell 2 (code), line 1: '(' was never closed", command, "all")
    assert "7533" in result.stdout
    assert "line 1: '(' was never closed" in kexian("doctor", "--notebooks").stderr
    write_chapters(a7466="1 + 1")
    path = checkout / catalogue.load(checkout).article("7466").path
    broken = json.loads(path.read_text())
    broken["cells"][1]["source"] = "seed = "
    path.write_text(json.dumps(broken))
    refused(2, "code cell 1 (head), line 1: invalid syntax", "run", "7466")


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": []},
        {"cells": None},
        {"cells": [5]},
        {"cells": [{"cell_type": "code", "source": "1"}]},
        {"nbformat": "x"},
    ],
)
def test_a_notebook_of_another_make_is_one_sentence(checkout, chapter, write_chapters, change):
    (other,) = write_chapters(a7466="1 + 1")
    path = checkout / other.path
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    result = refused(2, f"git checkout -- {other.path}", "run", "7466", "7533")
    assert "7533 integrated-gradients ran" in result.stdout
    refused(2, f"{path.name} is corrupt", "claims")


def test_a_fault_of_ours_stops_one_chapter(checkout, chapter, write_chapters, monkeypatch):
    write_chapters(a7466="1 + 1")
    known = pool.run_key

    def run_key(root, article, *others):
        if article.id == "7466":
            raise ZeroDivisionError("oh")
        return known(root, article, *others)

    monkeypatch.setattr(pool, "run_key", run_key)
    result = refused(2, "article 7466: ZeroDivisionError: oh (test_runner.py, line", "run", "all")
    assert "7533 integrated-gradients ran" in result.stdout


def test_one_long_line_takes_no_longer_than_many_short_ones(checkout, chapter):
    code = "for sign in 'x', '7', ' ', '\\r':\n    print(sign * 300_000)"
    files.write_notebook(chapter, notebook(code))
    started = time.process_time()
    kexian("accept", "7533", "--yes")
    assert "says the same" in kexian("check", "7533", "--no-cache").output
    assert time.process_time() - started < 10  # a minute where it grows with the square


def test_streams_are_joined_as_nbclient_joins_them():
    stream = nbformat.v4.new_output
    outputs = [
        stream("stream", name="stderr", text="e1"),
        stream("stream", name="stdout", text="a\rb"),
        stream("display_data", data={"text/plain": "d"}),
        stream("stream", name="stdout", text="c\r\nd\re\n"),
        stream("stream", name="stderr", text="e2\n"),
    ]
    cell = nbformat.v4.new_code_cell("", outputs=outputs)
    engine._join_streams(cell)
    assert [(o.get("name"), o.get("text")) for o in cell.outputs] == [
        ("stdout", "bc\r\ne\n"),
        ("stderr", "e1e2\n"),
        (None, None),
    ]


def test_an_interrupted_run_leaves_nothing_half(checkout, chapter):
    files.write_notebook(chapter, notebook("import time; time.sleep(60)"))
    threading.Timer(4, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        execute.run_notebook(chapter, checkout / "_build" / "x.ipynb", SMOKE)
    assert list((checkout / "_build").iterdir()) == []


def test_a_full_disk_is_named_and_loses_nothing(checkout, chapter, monkeypatch):
    kexian("run", "7533")
    run = files.Run(checkout, catalogue.load(checkout).article("7533")).copy
    earlier = run.read_bytes()
    partial = run.with_name(".integrated-gradients.part.ipynb")
    partial.symlink_to("/dev/full")  # every write to it fails with "no space left on device"
    refused(3, "the disk is full", "run", "7533", "--force")
    assert run.read_bytes() == earlier
    text = run.with_suffix(".json")
    (text.with_name(f".{text.name}.part")).symlink_to("/dev/full")
    with pytest.raises(KexianError, match="the disk is full"):
        files.write_text(text, "x" * 10_000)


def test_a_read_only_folder_is_named(checkout, chapter, monkeypatch):
    def deny(*args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system", str(checkout / "_build"))

    monkeypatch.setattr(Path, "mkdir", deny)
    refused(
        3,
        "cannot be written (Read-only file system); choose another folder with KEXIAN_BUILD",
        "run",
        "7533",
    )


def test_the_build_folder_can_be_moved(checkout, tmp_path, monkeypatch):
    monkeypatch.setenv("KEXIAN_BUILD", str(tmp_path / "elsewhere"))
    kexian("run", "7533")
    assert list((tmp_path / "elsewhere" / "runs").iterdir())
    assert not (checkout / "_build").exists()


def test_a_port_in_use_names_the_next(checkout):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(3, f"port {port} is in use", "lab", "--no-browser", "--port", str(port))


def test_outside_a_checkout_the_command_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "project_root", lambda *a: None)
    refused(2, "works inside a checkout", "run", "all")


@pytest.mark.parametrize(
    "env",
    [
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "latin-1"},
    ],
)
def test_other_locales_do_not_stop_the_output(checkout, env):
    command = Path(sys.executable).with_name("kexian")
    done = subprocess.run(
        [command, "list"], env={**os.environ, **env}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert b"7533  written" in done.stdout
    run = subprocess.run(
        [command, "run", "7533", "--profile", "smoke"],
        capture_output=True,
        env={**os.environ, **env},
        check=False,
    )
    assert run.returncode == 0, run.stderr


def test_the_doctor_names_a_wrong_encoding():
    command = Path(sys.executable).with_name("kexian")
    done = subprocess.run(
        [command, "doctor"],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 3
    assert b"set PYTHONUTF8=1" in done.stderr


@pytest.mark.parametrize("trouble", ["sleep 60", None])
def test_the_doctor_outlives_a_driver_that_does_not_answer(tmp_path, monkeypatch, trouble):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nexec {trouble}\n" if trouble else "\x7fELF")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    run = subprocess.run
    monkeypatch.setattr(
        subprocess, "run", lambda *a, **k: run(*a, **k | {"timeout": k["timeout"] and 1})
    )
    assert "does not answer" in kexian("doctor").output


def test_the_doctor_names_an_unknown_backend(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    refused(3, "KERAS_BACKEND=theano is unknown", "doctor")


def test_an_undeclared_parameter_is_refused(checkout, chapter):
    with pytest.raises(KexianError, match="has no parameter stepz; its parameters cell declares"):
        execute.run_notebook(chapter, checkout / "x.ipynb", SMOKE, parameters={"stepz": 3})


def test_outputs_of_other_code_are_not_accepted():
    with pytest.raises(KexianError, match="another version of the notebook"):
        files.with_outputs_of(notebook("1"), notebook("2"))


# -- a new chapter --------------------------------------------------------------------------------


def test_new_writes_a_skeleton_that_runs_up_to_its_first_claim(checkout):
    result = kexian("new", "4733")
    assert result.exit_code == 0, result.output
    bibliography = (checkout / "book" / "references.bib").read_text(encoding="utf-8")
    assert bibliography.count("@misc{kexue4733,") == 1
    known = catalogue.load(checkout)
    nb = files.read_notebook(checkout / known.article("4733").path)
    text = json.dumps(nb, ensure_ascii=False)
    assert all(f'\\"{claim}\\"' in text for claim in known.article("4733").claims)
    assert known.article("4733").title_zh in text
    assert "colab-install" in text
    assert "## At full size" in text
    assert cells.profiles(nb) == ["smoke", "default", "full"]
    assert files.declared_parameters(nb, "x").keys() >= known.article("4733").rehearsal.keys()
    descriptor = (checkout / known.article("4733").descriptor_path).read_text(encoding="utf-8")
    assert known.article("4733").budget == {"smoke": 10, "smoke-jax": 15, "default": 60}
    refused(1, "C1 of article 4733 is missed", "run", "4733", "--profile", "smoke")
    head, _, example = descriptor.partition("# [[mistake]]")
    example = "".join(line.removeprefix("# ") for line in example.splitlines(keepends=True))
    read = catalogue.parse_article(f"{head}[[mistake]]{example}", "losses", "x")
    assert [mistake.claim for mistake in read.mistakes] == ["C1"]


def test_new_can_be_repeated_after_trouble(checkout):
    (checkout / "book").write_text("in the way")
    refused(3, "book: File exists", "new", "7991")
    (checkout / "book").unlink()
    assert "wrote notebooks/" in kexian("new", "7991").output


def test_hygiene_asks_a_skeleton_for_a_run_and_for_nothing_that_it_wrote(checkout):
    kexian("new", "4733")
    known = catalogue.load(checkout)
    path = checkout / known.article("4733").path
    found = hygiene.check_notebook(path, known)
    asked = "execution count|the phases none|no stored output|no measured headline|0 figures"
    asked += "|is a constant"  # in the place of each measurement
    assert len(found) == 5 + len(known.article("4733").claims), found
    assert all(re.search(asked, problem) for problem in found), found


def test_a_wrong_public_address_is_named(checkout):
    (checkout / "pyproject.toml").write_text(
        "[tool.kexian]\nrepository = 'kexian'\n", encoding="utf-8"
    )
    refused(2, "is not of the form https://github.com/OWNER/NAME", "new", "4733")


# -- how a command ends ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "code", "words"),
    [
        ("list > /dev/full", 3, "kexian: standard output: No space left on device.\n"),
        (
            "claims 6992 --json > /dev/full",
            3,
            "kexian: standard output: No space left on device.\n",
        ),
        ("list >&-", 3, "kexian: standard output is closed; leave out >&-.\n"),
        ("list 2>&- > list.txt", 0, ""),
        ("list --part x 2>&- > list.txt", 2, ""),
    ],
)
def test_streams_that_take_nothing(tmp_path, monkeypatch, call, code, words):
    monkeypatch.chdir(ROOT)
    command = call.replace("list.txt", str(tmp_path / "list.txt"))
    command = f"{sys.executable} -m kexian_utils.commands.main {command}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (code, words)


def listening():
    """As in a terminal: a job in the background, or under nohup, ignores some of these."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def test_a_terminated_command_removes_what_was_half_made(tmp_path):
    code = (
        "import sys, tempfile, time\n"
        "from kexian_utils.commands import main as m\n"
        "@m.main.command()\n"
        "def wait():\n"
        f"    with tempfile.TemporaryDirectory(dir={str(tmp_path)!r}):\n"
        "        print('made', flush=True); time.sleep(60)\n"
        "m.main(['wait'])\n"
    )
    for number, exit_code in ((signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)):
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=listening,
        )
        assert process.stdout.readline() == "made\n"
        process.send_signal(number)
        _, said = process.communicate(timeout=90)
        assert process.returncode == exit_code, said
        assert "Traceback" not in said
        assert list(tmp_path.iterdir()) == []
