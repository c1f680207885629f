from __future__ import annotations

import fcntl
import functools
import os
import re
import shutil
import threading
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from standin import write_standin

from kexian_utils.runner.doctor import CHROMIUM_HINT, chromium_path
from kexian_utils.runner.pages.book import build

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = "https://owner.github.io/name/"  # of the small book
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@pytest.fixture(scope="session")
def browser():
    path = chromium_path()
    if path is None:
        if os.environ.get("CI") or os.environ.get("KEXIAN_REQUIRE_BROWSER"):
            pytest.fail(CHROMIUM_HINT)
        pytest.skip(CHROMIUM_HINT)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield running
        running.close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="session")
def serve():
    """Serve a folder on a free port of this machine; returns the address."""
    servers = []

    def start(folder: Path) -> str:
        handler = functools.partial(_Quiet, directory=str(folder))
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()


def once(tmp_path_factory, name: str, make: Callable[[Path], Path]) -> Path:
    """What `make` returns when it is given a folder; made by the first process that needs it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # of all processes
    made = folder / f"{name}.path"
    with open(folder / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.is_file():
            made.write_text(str(make(folder / name)), encoding="utf-8")
    return Path(made.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def book(tmp_path_factory) -> Path:
    """The folder of the book, built once; from the notebooks' executed copies if they are fresh."""
    return once(tmp_path_factory, "book", lambda folder: build("runs", ROOT, folder).parent)


@pytest.fixture(scope="session")
def address(book, serve) -> str:
    return serve(book)


def copy_project(target: Path) -> Path:
    """A small copy of the project: the book's pages and no notebook."""
    target.mkdir(parents=True, exist_ok=True)
    shutil.copytree(ROOT / "book", target / "book", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("_config.yml", "_toc.yml", "pyproject.toml"):
        shutil.copyfile(ROOT / name, target / name)
    for path in (ROOT / "notebooks").rglob("*.toml"):
        copy = target / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return target


@pytest.fixture(scope="session")
def small_book(tmp_path_factory) -> Path:
    """A book with one made-up chapter that holds everything a chapter may, and a public address."""
    return once(tmp_path_factory, "small", _build_small_book)


def _build_small_book(folder: Path) -> Path:
    root = copy_project(folder / "project")
    write_standin(root)
    settings = root / "pyproject.toml"
    text = settings.read_text(encoding="utf-8")
    for name, value in (("repository", "https://github.com/owner/name"), ("address", PUBLIC)):
        text, count = re.subn(rf'^{name} = ""$', f'{name} = "{value}"', text, flags=re.M)
        assert count == 1, f"pyproject.toml must hold an empty `{name}` in [tool.kexian]"
    settings.write_text(text, encoding="utf-8")
    return build("stored", root, root / "_build").parent


@pytest.fixture(scope="session")
def small_address(small_book, serve) -> str:
    return serve(small_book)
