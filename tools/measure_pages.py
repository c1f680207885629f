"""Measure how fast the built pages come, beside an earlier build if one is given.

``python tools/measure_pages.py [FOLDER] [--before FOLDER]`` opens pages in Chromium, from files and
from a server with gzip over a slow line (Fast 3G) and a processor four times slower, and prints a
table: kB transferred, first contentful paint, first formula, layout shift of the page at rest and
while it is read to its end, number and sum of long tasks. It ends with 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import json
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from kexian_utils.runner.doctor import CHROMIUM_HINT, chromium_path

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    ("index", 1280),
    ("ledger", 1280),
    ("optimisation/batch-normalization", 1280),
    ("optimisation/batch-normalization", 375),
    ("language/dgcnn-question-answering", 1280),
)
FAST_3G = {"offline": False, "latency": 562.5, "downloadThroughput": 1.44e6 / 8 * 0.9}
FAST_3G["uploadThroughput"] = 675e3 / 8 * 0.9
SLOWER = 4
GOALS = {"shift": 0.1, "formula": 8.0}
FRONT_PAGE_KB = 400
TEXT = (".html", ".css", ".js", ".svg", ".json", ".ipynb")

# Sums the shifts of the worst five seconds, as browsers report them to site owners.
WATCH = """(() => {
  const seen = window.measured = {paint: null, formula: null, shift: 0, tasks: 0, busy: 0};
  let sum = 0, first = -1e9, last = -1e9;
  const watch = (type, note) => new PerformanceObserver((list) =>
    list.getEntries().forEach(note)).observe({type, buffered: true});
  watch('layout-shift', (entry) => {
    if (entry.hadRecentInput) return;
    if (entry.startTime - last > 1000 || entry.startTime - first > 5000) {
      sum = 0;
      first = entry.startTime;
    }
    last = entry.startTime;
    sum += entry.value;
    seen.shift = Math.max(seen.shift, sum);
  });
  watch('paint', (entry) => {
    if (entry.name === 'first-contentful-paint') seen.paint = entry.startTime / 1000;
  });
  watch('longtask', (entry) => { seen.tasks += 1; seen.busy += entry.duration / 1000; });
  const look = () => {
    const formula = document.querySelector('mjx-container');
    if (formula && formula.getBoundingClientRect().height) seen.formula = performance.now() / 1000;
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})();"""
SETTLED = """async () => {
  if (window.MathJax && MathJax.startup && MathJax.startup.promise) await MathJax.startup.promise;
  await window.kexianFormulas;
  await document.fonts.ready;
  await new Promise((done) => setTimeout(done, 1500));
}"""
# As one reads: most of a screen at a time, to the end.
READ = """async () => {
  for (let y = 0; y < document.documentElement.scrollHeight; y += 0.7 * innerHeight) {
    scrollTo({top: y, behavior: 'instant'});
    await new Promise((done) => setTimeout(done, 150));
  }
}"""


class _Zipping(SimpleHTTPRequestHandler):
    """Serves files as public servers do: text compressed, no caching."""

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Send a file."""
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        self.send_response(200)
        if path.suffix in TEXT:
            data = gzip.compress(data, 6)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address at which a folder is served on this machine."""
    handler = functools.partial(_Zipping, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def with_chinese_font(folder: Path) -> dict[str, str]:
    """An environment in which the system has a Chinese font, as readers' systems have."""
    from kexian_utils.plots import cjk_font

    places = ("/usr/share/fonts", cjk_font().parent)
    text = "".join(f"<dir>{place}</dir>" for place in places)
    settings = folder / "fonts.conf"
    settings.write_text(
        f'<?xml version="1.0"?><fontconfig>{text}<cachedir>{folder}</cachedir></fontconfig>',
        encoding="utf-8",
    )
    return {**os.environ, "FONTCONFIG_FILE": str(settings)}


def measure(browser: Any, address: str, width: int, slow: bool) -> dict[str, Any]:
    """What one visit to a page costs; `slow`: over Fast 3G, with a slower processor."""
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    page.add_init_script(WATCH)
    tools = context.new_cdp_session(page)
    tools.send("Network.enable")
    received = [0.0]

    def add(event: dict[str, Any]) -> None:
        received[0] += event["encodedDataLength"]

    tools.on("Network.loadingFinished", add)
    if slow:
        tools.send("Network.emulateNetworkConditions", FAST_3G)
        tools.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    page.goto(address, wait_until="load", timeout=180_000)
    page.evaluate(SETTLED)
    found = page.evaluate("measured")
    found["kB"] = received[0] / 1000 if address.startswith("http") else None
    # What is read later comes at full speed: only its shifts count.
    tools.send("Emulation.setCPUThrottlingRate", {"rate": 1})
    page.evaluate("() => { measured.shift = 0; }")
    page.evaluate(READ)
    found["reading"] = page.evaluate("measured.shift")
    context.close()
    return found


COLUMNS = ("kB", "paint", "formula", "shift", "reading", "tasks", "busy")


def row(found: dict[str, Any]) -> str:
    """The numbers of a visit, as cells of a Markdown table."""

    def shown(name: str) -> str:
        value = found[name]
        if value is None:
            return "–"
        return (
            f"{value:.2f}"
            if name in ("shift", "reading")
            else f"{value:.0f}"
            if name
            in (
                "kB",
                "tasks",
            )
            else f"{value:.1f}"
        )

    return " | ".join(shown(name) for name in COLUMNS)


def missed(page: str, found: dict[str, Any]) -> list[str]:
    """The goals that a visit misses, as sentences."""
    problems = [
        f"{page}: {name} {found[name]:.2f}, goal {goal}"
        for name, goal in GOALS.items()
        if found[name] is not None and found[name] > goal
    ]
    if page == "index" and found["kB"] is not None and found["kB"] > FRONT_PAGE_KB:
        problems.append(f"{page}: {found['kB']:.0f} kB, goal {FRONT_PAGE_KB}")
    return problems


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "_build" / "book")
    parser.add_argument("--before", type=Path, help="an earlier build to measure in the same run")
    parser.add_argument("--only", help="measure the pages whose name contains this")
    parser.add_argument("--json", type=Path, help="write the numbers to this file, too")
    given = parser.parse_args()
    path = chromium_path()
    if path is None:
        print(CHROMIUM_HINT, file=sys.stderr)
        return 3
    from playwright.sync_api import sync_playwright

    folders = {"before": given.before, "now": given.folder}
    results, problems = [], []
    print(f"| page | build | how | {' | '.join(COLUMNS)} |")
    print("|:--|:--|:--|" + "--:|" * len(COLUMNS))
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as own:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-gpu"],
            env=with_chinese_font(Path(own)),
        )
        for page, width in PAGES:
            if given.only and given.only not in page:
                continue
            for build, folder in folders.items():
                if folder is None or not (folder / f"{page}.html").is_file():
                    continue
                with served(folder) as base:
                    for how, start in (("file", folder.resolve().as_uri()), ("Fast 3G", base)):
                        slow = how != "file"
                        found = measure(browser, f"{start}/{page}.html", width, slow)
                        results.append({"page": page, "width": width, "build": build, "how": how})
                        results[-1] |= found
                        print(f"| {page}, {width} | {build} | {how} | {row(found)} |", flush=True)
                        if build == "now":
                            problems += missed(page, found)
        browser.close()
    if given.json:
        given.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print("\n".join(problems) or "All goals are met.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
