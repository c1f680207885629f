"""Search that finds English words and unsegmented Chinese in one index.

Sphinx's own Chinese search cuts the pages into dictionary words but keeps a query whole, so a
compound such as 旋转位置编码 is never found. Here pages and queries are cut by one rule: a run of
Han characters gives its single characters and its pairs (a query only the pairs), anything else
is a word, stemmed as in English. Pairs joined by "and" never miss a compound.
"""

from __future__ import annotations

import re

from sphinx.search.en import SearchEnglish

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TOKEN = re.compile(rf"[{HAN}]+|[^\W{HAN}]+")
_HAN_END = re.compile(rf"[{HAN}]\s*$")
_HAN_START = re.compile(rf"\s*[{HAN}]")
_IS_HAN = re.compile(rf"[{HAN}]")
# The browser's code counts only terms longer than two characters when it asks whether all terms
# of a query were found; padding keeps that count right.
WIDTH = 3
PAD = "_"

# One splitter for the query, and the stemmer wrapped so that Han tokens are padded as here.
SPLITTER = f"""
var splitQuery = function (query) {{
  const terms = [];
  for (const run of query.match(/[{HAN}]+|[^\\s{HAN}\\p{{P}}\\p{{S}}]+/gu) || []) {{
    if (!/[{HAN}]/u.test(run)) terms.push(run);
    else if (run.length === 1) terms.push(run);
    else for (let i = 0; i + 1 < run.length; i++) terms.push(run.slice(i, i + 2));
  }}
  return terms;
}};
const KexianStemmer = Stemmer;
Stemmer = function () {{
  const inner = new KexianStemmer();
  this.stemWord = (word) =>
    /[{HAN}]/u.test(word) ? word.padEnd({WIDTH}, "{PAD}") : inner.stemWord(word);
}};
"""


class SearchChineseEnglish(SearchEnglish):
    """English search in which runs of Han characters are found as well."""

    lang = "zh"
    language_name = "Chinese and English"
    js_splitter_code = SPLITTER

    def init(self, options: dict[str, str]) -> None:
        super().init(options)
        self._last = ""

    def split(self, text: str) -> list[str]:
        """Cut text into words, single Han characters and pairs of neighbours.

        Sphinx hands over one text node at a time. A pair that emphasis or a line break cuts in
        two is joined through the last character of the node before.
        """
        tokens: list[str] = []
        if self._last and _HAN_START.match(text):
            tokens.append(self._last + text.lstrip()[0])
        for run in _TOKEN.findall(re.sub(rf"(?<=[{HAN}])\s+(?=[{HAN}])", "", text)):
            if _IS_HAN.match(run):
                tokens += [*run, *(run[i : i + 2] for i in range(len(run) - 1))]
            else:
                tokens.append(run)
        if text.strip():
            self._last = text.rstrip()[-1] if _HAN_END.search(text) else ""
        return tokens

    def stem(self, word: str) -> str:
        """Stem an English word; pad a Han token."""
        return word.ljust(WIDTH, PAD) if _IS_HAN.match(word) else super().stem(word)

    def word_filter(self, word: str) -> bool:
        """Keep every token that is not an English stop word."""
        return bool(word) and word not in self.stopwords
