"""A missing prerequisite gives one clear sentence and exit code 3."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path):
    """The files that the set-up reads, without an environment."""
    (tmp_path / "tools").mkdir()
    for name in ("tools/bootstrap.py", "pyproject.toml", "uv.lock", "README.md", "Makefile"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "kexian_utils").mkdir()
    (tmp_path / "kexian_utils" / "__init__.py").touch()
    return tmp_path


def bootstrap(checkout, **env):
    variables = {k: v for k, v in os.environ.items() if k != "PYTHON"} | env
    return subprocess.run(
        [sys.executable, "tools/bootstrap.py"],
        cwd=checkout,
        env=variables,
        text=True,
        capture_output=True,
        check=False,
    )


def fake_python(folder, answer):
    path = folder / "python-fake"
    path.write_text(f"#!/bin/sh\necho {answer}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("answer", ["3 9", "3 14", "2 7", "nonsense"])
def test_an_unsupported_python_is_refused(checkout, answer):
    done = bootstrap(checkout, PYTHON=fake_python(checkout, answer))
    assert done.returncode == 3
    assert done.stderr.startswith("kexian: no Python from 3.11 to below 3.14 was found at PYTHON=")
    assert len(done.stderr.splitlines()) == 1
    assert not (checkout / ".venv").exists()


def with_uv(checkout):
    (checkout / ".uv").symlink_to(ROOT / ".uv")


def test_no_network_says_so(checkout):
    with_uv(checkout)
    dead = "http://127.0.0.1:9"
    done = bootstrap(
        checkout,
        HTTPS_PROXY=dead,
        ALL_PROXY=dead,
        HTTP_PROXY=dead,
        UV_CACHE_DIR=str(checkout / "cache"),
        UV_HTTP_RETRIES="0",
    )
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith("kexian: PyPI could not be reached")


def test_a_stale_lock_file_says_what_to_run(checkout):
    with_uv(checkout)
    text = (checkout / "pyproject.toml").read_text(encoding="utf-8")
    (checkout / "pyproject.toml").write_text(
        text.replace('"click>=8.1,<9"', '"click>=8.1,<8.2"'), encoding="utf-8"
    )
    lock = (checkout / "uv.lock").read_bytes()
    done = bootstrap(checkout)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith("kexian: uv.lock does not belong to pyproject")
    assert (checkout / "uv.lock").read_bytes() == lock


def test_a_corrupt_lock_file_says_what_to_run(checkout):
    with_uv(checkout)
    (checkout / "uv.lock").write_text("version = 1\n[[package", encoding="utf-8")
    done = bootstrap(checkout)
    assert done.returncode == 3
    assert "kexian: uv.lock does not belong" in done.stderr


def test_make_says_when_python_is_missing(checkout):
    make = shutil.which("make")
    empty = checkout / "bin"
    empty.mkdir()
    for tool in ("sh", "test", "echo", "sed"):
        (empty / tool).symlink_to(shutil.which(tool))
    done = subprocess.run(
        [make, "setup"],
        cwd=checkout,
        env={"PATH": str(empty)},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode != 0
    assert "kexian: Python 3.11 is missing; install it" in done.stderr


def test_make_help_lists_the_commands(checkout):
    out = subprocess.run(
        ["make", "help"], cwd=checkout, text=True, capture_output=True, check=True
    ).stdout
    for command in ("book", "html", "test", "lab", "help", "clean"):
        assert f"make {command}" in out


def module_of(checkout):
    spec = importlib.util.spec_from_file_location("bootstrap", checkout / "tools" / "bootstrap.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def half_an_environment(checkout):
    """A .venv that the marker calls ready, without packages."""
    venv = checkout / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "pyvenv.cfg").touch()
    (venv / "bin" / "python").symlink_to(sys.executable)
    (venv / "bin" / "kexian").write_text(f"#!{venv}/bin/python\n", encoding="utf-8")
    (venv / "kexian-ready").write_text(module_of(checkout).stamp(), encoding="utf-8")
    return venv


def test_an_environment_is_whole_where_it_was_made(checkout):
    venv = half_an_environment(checkout)
    assert bootstrap(checkout).returncode == 0  # nothing to do
    moved = checkout / "moved"
    shutil.copytree(venv, moved / ".venv", symlinks=True)
    is_whole = module_of(checkout).is_whole
    assert is_whole(str(venv))
    assert not is_whole(str(moved / ".venv"))
    (venv / "bin" / "python").unlink()
    (venv / "bin" / "python").symlink_to("/nowhere/python3")
    assert not is_whole(str(venv))


def test_what_an_interruption_has_left_is_made_anew(checkout):
    venv = half_an_environment(checkout)
    (venv / "bin" / "python").unlink()
    uv = checkout / ".uv" / "bin"
    uv.mkdir(parents=True)
    (uv / "python").symlink_to(sys.executable)  # a virtual environment without pip
    (uv / "uv").write_bytes(b"\x7fELF")  # cut short
    (uv / "uv").chmod(0o755)
    dead = "http://127.0.0.1:9"
    done = bootstrap(checkout, HTTPS_PROXY=dead, HTTP_PROXY=dead, ALL_PROXY=dead, PIP_RETRIES="0")
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith("kexian: PyPI could not be reached")
    assert not venv.exists()
    assert (uv / "pip").exists()


def test_make_with_a_python_that_does_not_exist(checkout):
    done = subprocess.run(
        ["make", "setup", "PYTHON=/nowhere/python"],
        cwd=checkout,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode != 0
    assert "kexian: no Python from 3.11 to below 3.14 was found at PYTHON=/nowhere" in done.stderr
    assert "Error 127" not in done.stderr
