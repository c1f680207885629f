from __future__ import annotations

import functools
import os
import re
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from standin import ROOT, copy_project, once, write_standin

from kexian_utils.runner.doctor import CHROMIUM_HINT, chromium_path
from kexian_utils.runner.pages.book import build

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


@pytest.fixture(scope="session")
def book(tmp_path_factory) -> Path:
    """The folder of the book, built once; from the notebooks' executed copies if they are fresh."""
    return once(tmp_path_factory, "book", lambda folder: build("runs", ROOT, folder).parent)


@pytest.fixture(scope="session")
def address(book, serve) -> str:
    return serve(book)


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
