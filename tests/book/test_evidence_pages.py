"""The ledger and the notebooks as a reader takes them along: counted, sorted, saved."""

from __future__ import annotations

import csv
import io
import json

import pytest
from checks import visit
from standin import ARTICLE, CLAIMS, PAGE

pytestmark = pytest.mark.browser


@pytest.fixture
def ledger(browser, small_book):
    with visit(browser, (small_book / "ledger.html").as_uri()) as (page, problems):
        yield page
        assert problems == []


def ids(page):
    return page.locator(".kexian-ledger tbody tr:visible td:first-child a").all_inner_texts()


def saved(page, press):
    with page.expect_download() as waiting:
        press()
    with open(waiting.value.path(), "rb") as file:
        return waiting.value.suggested_filename, file.read().decode("utf-8")


def test_verdicts_are_counted_as_the_filter_goes(ledger):
    count = ledger.locator(".kexian-count[role=status]")
    assert count.inner_text().startswith(f"{len(CLAIMS)} of {len(CLAIMS)} claims shown: 3 holds")
    ledger.select_option("select[name=kind]", "advice")
    assert count.inner_text() == f"2 of {len(CLAIMS)} claims shown: 1 quoted, 1 not run"


def test_columns_sort_up_down_and_back_and_the_order_is_in_the_address(ledger):
    in_order = ids(ledger)
    button = ledger.locator("th[data-sort=kind] button")
    button.click()
    kinds = ledger.locator(".kexian-ledger tbody td:nth-child(3)").all_inner_texts()
    assert kinds == sorted(kinds)
    assert ledger.locator("th[aria-sort=ascending]").inner_text().startswith("Kind")
    assert ledger.url.endswith("?sort=kind")
    button.click()
    kinds = ledger.locator(".kexian-ledger tbody td:nth-child(3)").all_inner_texts()
    assert kinds == sorted(kinds, reverse=True)
    ledger.reload()
    assert ledger.locator("th[aria-sort=descending]").count() == 1
    ledger.locator("th[data-sort=kind] button").click()
    assert ids(ledger) == in_order
    assert ledger.url.endswith("ledger.html")


def test_what_is_shown_is_saved_as_csv_and_json_from_a_file(ledger):
    ledger.select_option("select[name=verdict]", "holds")
    name, text = saved(ledger, ledger.locator("[data-export=json]").click)
    assert name == "kexian-claims.json"
    records = json.loads(text)
    assert [record["claim"] for record in records] == ids(ledger)
    sentence = "The bound \\(\\lambda_{\\max}(M)\\le 1\\) is never violated."
    assert records[0]["statement"] == sentence
    assert records[0]["measured"] == ["1.50 (required: at most 2)"]
    assert records[1]["verdict"] == "not run, then holds"
    name, text = saved(ledger, ledger.locator("[data-export=csv]").click)
    assert name == "kexian-claims.csv"
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    assert [row["claim"] for row in rows] == [f"{ARTICLE} {c}" for c in ("C1", "C6", "C7")]


@pytest.mark.parametrize("where", ["file", "http"])
def test_the_notebook_is_saved_from_a_file_and_from_a_server(
    where, browser, small_book, small_address
):
    base = small_book.as_uri() if where == "file" else small_address
    with visit(browser, f"{base}/{PAGE}.html") as (page, problems):
        link = page.locator('.kexian-bar a[download$=".ipynb"]')
        name, text = saved(page, link.click)
        assert name == f"{PAGE.split('/')[-1]}.ipynb"
        assert text == (small_book / f"_sources/{PAGE}.ipynb").read_text(encoding="utf-8")
        assert problems == []
