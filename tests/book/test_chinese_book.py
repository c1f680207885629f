"""The whole Chinese book: every message translated, found by its words, joined for paper."""

from __future__ import annotations

import re

import pytest
from checks import visit
from conftest import ROOT
from test_search import file, typed

from kexian_utils import catalogue
from kexian_utils.runner.pages import chinese, pdf
from kexian_utils.runner.translation import project

pytestmark = pytest.mark.browser

FIRST = {
    "梯度裁剪": "7469",
    "批归一化": "6992",
    "损失地形": "6992",
    "对抗训练": "7234",
    "對抗訓練": "7234",
    "虚拟对抗训练": "7466",
    "二维位置编码": "8397",
    "梯度归一化": "8757",
    "变分自编码器": "7725",
    "Word2Vec": "4402",
    "重计算": "7367",
    "积分梯度": "7533",
    "光滑化": "6620",
    "权重尺度偏移": "7681",
    "路径核": "8009",
    "分层的学习率": "6418",
    "激活函数": "4647",
    "随机向量": "7076",
    "协变导数": "3998",
    "梯度累积": "6794",
    "多标签分类": "7359",
    "平方势散度": "6163",
    "7476 C1": "7476",
}


@pytest.fixture(scope="module")
def find(browser, book):
    """Type a query on the Chinese search page of the book, from a file."""
    with visit(browser, (book / "zh" / "search.html").as_uri()) as (page, problems):
        yield lambda query: typed(page, query)
        assert problems == []


@pytest.mark.parametrize("query", FIRST)
def test_the_chapter_that_is_about_it_comes_first(query, find):
    _, found = find(query)
    assert found[0]["file"] == file(FIRST[query]), [page["file"] for page in found]


def test_the_whole_book_is_translated(book):
    """What is missing is named, chapter by chapter; the pages show it in English, marked."""
    standing = project.standing(ROOT, catalogue.load(ROOT).articles)
    assert [f"{one.name}: {line}" for one in standing for line in one.problems] == []
    left = (book / chinese.UNKNOWN).read_text(encoding="utf-8").splitlines()
    assert left == []


def test_the_chinese_pages_are_joined_for_paper(book):
    text = pdf.join(book / "zh")
    assert text.startswith('<!doctype html><html lang="zh-CN"')
    ids = re.findall(r'<[a-z][^<>]*\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'<a [^>]*href="#([^"]*)"', text)) <= set(ids)
    addresses = re.findall(r'<(?:img|script|link)[^>]*(?:src|href)="([^":]+)"', text)
    assert [n for n in addresses if not (book / "zh" / n.split("?")[0]).is_file()] == []
