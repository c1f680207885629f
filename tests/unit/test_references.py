import pytest

from kexian_utils.errors import KexianError
from kexian_utils.runner.pages.references import references_markdown

BIBLIOGRAPHY = r"""
@article{sluis1969,
  author = {van der Sluis, A.},
  title = {Condition numbers and {E}quilibration of $O(n^2)$ matrices},
  journal = {Numer. Math. \& Co},
  year = 1969,
  doi = {10.1007/bf02165096},
}
@misc{su2019,
  author = {Su, Jianlin and Erd{\H o}s, Paul},
  title = {BN究竟起了什么作用?},
  howpublished = {Scientific Spaces},
  year = {2019},
  url = {https://kexue.fm/archives/6992},
}
@misc{arxiv2018,
  author = {{OpenAI}},
  title = {A title},
  year = {2018},
  eprint = {1805.11604},
}
@misc{poor, author = {A. Nobody}, title = {No year}}
"""


@pytest.fixture
def bibliography(tmp_path):
    path = tmp_path / "references.bib"
    path.write_text(BIBLIOGRAPHY, encoding="utf-8")
    return path


def test_lines_in_the_order_of_the_keys(bibliography):
    assert references_markdown(["su2019", "sluis1969", "arxiv2018"], bibliography).split("\n") == [
        "- Jianlin Su, Paul Erdős (2019). [*BN究竟起了什么作用?*](https://kexue.fm/archives/6992). "
        "Scientific Spaces.",
        "- A. van der Sluis (1969). "
        "[*Condition numbers and Equilibration of $O(n^2)$ matrices*]"
        "(https://doi.org/10.1007/bf02165096). Numer. Math. & Co.",
        "- OpenAI (2018). [*A title*](https://arxiv.org/abs/1805.11604). arXiv 1805.11604.",
    ]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["unknown"], "has no entry unknown; add it there or correct the key"),
        (["su2019", "su2019"], "listed twice: su2019"),
        (["poor"], "entry poor lacks year"),
    ],
)
def test_bad_keys(bibliography, keys, message):
    with pytest.raises(KexianError, match=message):
        references_markdown(keys, bibliography)


def test_missing_and_broken_bibliography(tmp_path):
    path = tmp_path / "references.bib"
    with pytest.raises(KexianError, match=r"references\.bib is missing"):
        references_markdown(["a"], path)
    path.write_text("@article{a, author = {unclosed", encoding="utf-8")
    with pytest.raises(KexianError, match="cannot be read"):
        references_markdown(["a"], path)
