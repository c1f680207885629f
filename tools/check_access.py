"""Look at the built pages with axe-core, as people with other means than eyes and mouse meet them.

``npm pack axe-core`` and ``tar xzf`` give ``package/axe.min.js``; then
``python tools/check_access.py package/axe.min.js [FOLDER]`` looks at every page on a phone and on a
screen, in light and dark, prints what was found by weight, and ends with 1 if anything is critical
or serious.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from kexian_utils.runner.doctor import CHROMIUM_HINT, chromium_path

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ("critical", "serious", "moderate", "minor")
LOOKS = ((375, "light"), (375, "dark"), (1280, "light"), (1280, "dark"))
# What may not be read as it stands is decided by eye: axe calls it "incomplete", not a violation.
RUN = """async () => {
  await window.kexianFormulas;
  const {violations} = await axe.run({resultTypes: ['violations']});
  return violations.map(({id, impact, nodes}) =>
    [id, impact, nodes.length, nodes[0].html.slice(0, 120)]);
}"""


def main() -> int:
    """Look at all pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("axe", type=Path, help="axe.min.js of the npm package axe-core")
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "_build" / "book")
    parser.add_argument("--only", default="", help="look at pages whose path contains this")
    given = parser.parse_args()
    path = chromium_path()
    if path is None:
        print(CHROMIUM_HINT, file=sys.stderr)
        return 3
    from playwright.sync_api import sync_playwright

    pages = [
        page
        for page in sorted(given.folder.rglob("*.html"))
        if not {"_static", "_sources"} & set(page.relative_to(given.folder).parts)
        and given.only in str(page.relative_to(given.folder))
    ]
    found: Counter[tuple[str, str]] = Counter()
    where: dict[tuple[str, str], str] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for width, scheme in LOOKS:
            context = browser.new_context(
                viewport={"width": width, "height": 900}, color_scheme=scheme
            )
            for page in pages:
                shown = context.new_page()
                shown.goto(page.resolve().as_uri())
                shown.add_script_tag(path=given.axe)
                for rule, impact, count, example in shown.evaluate(RUN):
                    found[impact, rule] += count
                    place = f"{page.relative_to(given.folder)}, {width}, {scheme}: {example}"
                    where.setdefault((impact, rule), place)
                shown.close()
            context.close()
        browser.close()
    print(f"{len(pages)} pages, {len(LOOKS)} looks each")
    for impact, rule in sorted(found, key=lambda key: (WEIGHTS.index(key[0]), key[1])):
        print(f"{impact}: {rule}: {found[impact, rule]} ({where[impact, rule]})")
    heavy = sum(count for (impact, _), count in found.items() if impact in WEIGHTS[:2])
    print(f"critical or serious: {heavy}")
    return 1 if heavy else 0


if __name__ == "__main__":
    sys.exit(main())
