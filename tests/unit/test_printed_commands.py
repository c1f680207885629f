"""Every command that README, CONTRIBUTING, the book, the help and the messages print is one."""

import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest

from kexian_utils import catalogue
from kexian_utils.commands.main import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "book").glob("*.md"))]
SOURCES = [*(ROOT / "kexian_utils").rglob("*.py"), *(ROOT / "tools").glob("*.py")]
TARGETS = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def helps(command, name="kexian"):
    """The help of a command and of all below it."""
    yield f"`{name} --help`", command.help or ""
    for below, one in getattr(command, "commands", {}).items():
        yield from helps(one, f"{name} {below}")


def printed():
    """Where a command is printed, and the command."""
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        blocks = re.findall(r"^```(?:bash|sh)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        lines = [line for block in blocks for line in block.splitlines()]
        lines += re.findall(r"`((?:\.venv/bin/)?(?:kexian|make) [^`]+)`", text)
        yield from ((path.name, line) for line in lines)
    for place, text in helps(main):
        yield from ((place, line.strip()) for line in text.splitlines() if "  " in f"{line}  ")
    for path in SOURCES:
        text = re.sub(r'"\s*\n\s*f?"', "", path.read_text(encoding="utf-8"))  # joined strings
        for line in re.findall(r"`{1,2}((?:\.venv/bin/)?(?:kexian|make) [^`\n]+)`", text):
            yield path.name, line


def words_of(line):
    """The words of a command, without its comment, pipes and what stands for a value."""
    line = re.sub(r"\s{2,}[^|]*$|\s#.*$", "", line)
    line = re.sub(r"\{[^{}]*\}|\bID\b", "6992", line)
    for part in re.split(r"[|;]", line):
        words = shlex.split(re.sub(r"\s[<>]+\s*\S+", "", part))
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            words = words[1:]
        if words:
            yield words


COMMANDS = sorted(
    {
        (place, shlex.join(words))
        for place, line in printed()
        if re.match(r"(?:\w+=\S+ )*(?:\.venv/bin/)?(?:kexian|make|echo|cat)\b", line)
        for words in words_of(line)
    }
)


def test_many_commands_are_found():
    assert len(COMMANDS) > 80
    assert {"README.md", "CONTRIBUTING.md", "how-to-run.md"} <= {place for place, _ in COMMANDS}


@pytest.mark.parametrize(("place", "command"), COMMANDS)
def test_it_is_a_command(place, command):
    program, *words = shlex.split(command)
    if program == "make":
        targets = [word for word in words if "=" not in word]
        assert set(targets) <= set(TARGETS), f"{place}: make has no such target"
    elif program.endswith("kexian"):
        with main.make_context("kexian", words, resilient_parsing=False) as context:
            rest = [*context._protected_args, *context.args]
            if rest:
                name, one, arguments = main.resolve_command(context, rest)
                assert one is not None, f"{place}: there is no command {name}"
                parse(one, name, arguments)


def parse(one, name, arguments):
    """Parse without running; what is missing in a sentence (`kexian new`) may be missing."""
    try:
        one.make_context(name, list(arguments))
    except click.exceptions.Exit:
        pass  # --help
    except click.MissingParameter:
        assert not arguments
    except click.BadParameter as error:
        if "does not exist" not in str(error):  # a file that the reader has
            raise


def test_shell_commands_of_the_pages_start_from_the_root():
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        for block in re.findall(r"^```(?:bash|sh)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            for line in block.splitlines():
                assert not re.match(r"(kexian|python|pip|uv)\b", line), (
                    f"{path.name}: {line!r} needs an activated environment: write .venv/bin/"
                )


def test_the_example_of_a_new_chapter_is_still_to_come():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    examples = {*re.findall(r"kexian new (\d+)", text + main.commands["new"].help)}
    known = catalogue.load(ROOT)
    to_come = [article.id for article in known.articles if not (ROOT / article.path).exists()]
    for number in examples:
        assert known.article(number).id in to_come or not to_come, (
            f"kexian new {number}: that chapter is written; take one of {to_come}"
        )


def test_make_knows_what_it_prints():
    for target in TARGETS:
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_no_remedy_names_a_project_that_is_not_on_pypi():
    for path in (*PAGES, *SOURCES):
        assert "pip install 'kexian-utils" not in path.read_text(encoding="utf-8"), path.name


def test_the_help_of_parse_says_of_chinese_what_the_card_of_the_model_says():
    card = (ROOT / "kexian_utils/data/chinese_bert/README.md").read_text(encoding="utf-8")
    measured = re.search(
        r"it finds (0\.\d+) .*? cuts by distance alone (0\.\d+) .*? random ones (0\.\d+)", card
    )
    said = re.search(
        r"the phrases find (\d+) % of the constituents, cuts by distance alone (\d+) %, random "
        r"ones (\d+) %",
        " ".join(main.commands["parse"].help.split()),
    )
    assert [f"{100 * float(share):.0f}" for share in measured.groups()] == list(said.groups())
