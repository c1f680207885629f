"""Each validator takes what it should, refuses the rest, and says all that is needed."""

import re

import numpy as np
import pytest

from kexian_utils import _checks


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3)])
def test_whole_numbers(value):
    result = _checks.whole("n", value, 3, 3)
    assert (result, type(result)) == (3, int)


@pytest.mark.parametrize("value", [True, np.True_, 2.0, "2", None, 0, 6, np.float64(2)])
def test_no_whole_numbers(value):
    expected = re.escape(f"n must be a whole number from 1 to 5, got {value!r}")
    with pytest.raises(ValueError, match=f"^{expected}$"):
        _checks.whole("n", value, 1, 5)


def test_bounds_are_told():
    for bounds, words in (
        ((None, None), ""), ((1, None), " of at least 1"), ((None, 2), " of at most 2")
    ):  # fmt: skip
        with pytest.raises(ValueError, match=rf"^n must be a whole number{words}, got 'x'$"):
            _checks.whole("n", "x", *bounds)
    with pytest.raises(ValueError, match=r"^seed must be a whole number of at least 0, got -1$"):
        _checks.seed(-1)
    with pytest.raises(ValueError, match=r"rate must be a finite number above 0 and below 1"):
        _checks.probability("rate", 1, zero=False, one=False)
    with pytest.raises(ValueError, match=r"rate must be a finite number from 0 to 1, got 1\.5"):
        _checks.probability("rate", 1.5)
    with pytest.raises(ValueError, match=r"of at least 0 and below 1, got 1"):
        _checks.probability("rate", 1, one=False)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, True, "1", None, 1j, np.array([1.0])])
def test_no_real_numbers(value):
    with pytest.raises(ValueError, match="^x must be a finite number, got"):
        _checks.real("x", value)


@pytest.mark.parametrize("value", [1, 1.0, np.float32(1), np.int64(1)])
def test_real_numbers(value):
    result = _checks.real("x", value, least=1, most=1, above=0.5, below=2)
    assert (result, type(result)) == (1.0, float)


def test_choices():
    assert _checks.choice("kind", "a", ("a", "b")) == "a"
    assert _checks.choice("kind", None, ("a", None)) is None
    assert _checks.choice("kind", np.str_("b"), ("a", "b")) == "b"
    for value in ("c", True, None, 0, ["a"], np.array(["a", "b"])):
        with pytest.raises(ValueError, match=r"^kind must be one of 'a', 'b', 1, got"):
            _checks.choice("kind", value, ("a", "b", 1))


def test_shapes():
    x = np.zeros((2, 3, 4))
    for expected in ((2, 3, 4), ("batch", "n", "d"), (None, 3, None), ("...", 4), ("...",)):
        assert _checks.shape("x", x, expected) == (2, 3, 4)
    assert _checks.shape("x", 1.0, ()) == ()
    for expected, words in (
        ((2, 3), "(2, 3)"), (("n",), "(n,)"), (("...", "n", 5), "(..., n, 5)"),
        ((None, 2, 4), "(any, 2, 4)"), (("...", 1, 2, 3, 4), "(..., 1, 2, 3, 4)"),
    ):  # fmt: skip
        message = re.escape(f"x must have shape {words}, got (2, 3, 4)")
        with pytest.raises(ValueError, match=f"^{message}$"):
            _checks.shape("x", x, expected)


def test_finite():
    assert _checks.finite("x", [1, 2]).tolist() == [1, 2]
    for value in (np.nan, np.inf):
        with pytest.raises(ValueError, match="^x must be finite, got nan or infinity$"):
            _checks.finite("x", [1, value])


def test_new_paths(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "here").symlink_to(".")
    for name in ("new", "here"):
        assert _checks.new_path("target", str(tmp_path / name)) == tmp_path / name
    for name in ("a", "gone"):
        with pytest.raises(ValueError, match=rf"^target .*{name} is a link that leads nowhere: "):
            _checks.new_path("target", tmp_path / name)
