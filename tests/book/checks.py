"""What a page of the book must satisfy, as functions that look at it in a real browser.

The same functions look at the book's pages and at small pages with planted faults, so that a check
which cannot fail would be noticed.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path

LOCAL = re.compile(r"^(https?://127\.0\.0\.1(:\d+)?/|file:|data:|blob:|about:|chrome-extension:)")
WIDTHS = (375, 1280)
SCHEMES = ("light", "dark")
LOOKS = ("overflow", "clipped", "narrow", "maths", "images", "sliders", "language", "contrast")
_TEXT = Path(__file__).with_name("checks.js").read_text(encoding="utf-8")
SCRIPT = _TEXT[_TEXT.index("({") :].strip()


def ask(page, name):
    """Run one function of checks.js in the page."""
    return page.evaluate(f"(name) => {SCRIPT}[name]()", name)


@contextmanager
def visit(browser, url, *, width=1280, scheme="light", **options):
    """Open a page; yields the page and the list of what went wrong so far (it grows)."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, **options
    )
    problems: list[str] = []

    def refuse(route):
        problems.append(f"foreign request: {route.request.url}")
        route.abort()

    context.route(lambda address: not LOCAL.match(address), refuse)
    page = context.new_page()

    def spoken(message):
        # The abort of a foreign request is reported as that request.
        if message.type == "error" and "ERR_FAILED" not in message.text:
            problems.append(f"console: {message.text}")

    page.on("console", spoken)
    page.on("pageerror", lambda error: problems.append(f"page error: {error}"))
    page.on("websocket", lambda socket: problems.append(f"foreign request: {socket.url}"))
    page.on(
        "response",
        lambda answer: (
            problems.append(f"{answer.status}: {answer.url}") if answer.status >= 400 else None
        ),
    )
    page.on(
        "requestfailed",
        lambda request: (
            problems.append(f"failed: {request.url}")
            if LOCAL.match(request.url) and "ERR_ABORTED" not in (request.failure or "")
            else None
        ),
    )
    try:
        page.goto(url)
        if options.get("java_script_enabled", True):
            ask(page, "settled")
        yield page, problems
    finally:
        context.close()


def look(page, looks=LOOKS):
    """All problems of the page as it is shown now."""
    return [problem for name in looks for problem in ask(page, name)]


def resize(page, width):
    """Make the window so wide, and wait until the page has answered."""
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_timeout(60)
    frame = "new Promise(requestAnimationFrame)"
    page.evaluate(f"async () => {{ await {frame}; await {frame}; }}")


def look_everywhere(browser, url, looks=LOOKS, corners=False):
    """All problems of a page on a phone and on a screen, in light and dark.

    With `corners` each width and each scheme are looked at once, and not each with each.
    """
    with visit(browser, url) as (page, problems):
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            # Colours fade over; the end counts.
            page.add_style_tag(content="* { transition: none !important; }")
            for width in WIDTHS:
                if corners and SCHEMES.index(scheme) != WIDTHS.index(width):
                    continue
                resize(page, width)
                where = f"[{width}, {scheme}] "
                problems += [where + problem for problem in look(page, looks)]
        return list(problems)
