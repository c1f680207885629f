"""Lazy packages hand on what they list, import no more than asked for, and refuse what clashes."""

import subprocess
import sys

import pytest

from kexian_utils import bert
from kexian_utils._lazy import attach


def test_every_name_that_is_listed_is_there():
    assert len(bert.__all__) > 40
    for name in bert.__all__:
        assert getattr(bert, name).__name__ == name if callable(getattr(bert, name)) else True
    assert set(bert.__all__) <= set(dir(bert))
    with pytest.raises(AttributeError, match="'kexian_utils.bert' has no attribute 'rotat'"):
        _ = bert.rotat


def test_a_name_brings_its_module_and_no_other():
    script = (
        "import sys; from kexian_utils.bert import tensor_role\n"
        "print(*sorted(m for m in sys.modules if m.startswith('kexian_utils.bert.')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "kexian_utils.bert.tensor_names" in done.stdout.split(), done.stderr
    assert "kexian_utils.bert.probing" not in done.stdout.split()
    assert "kexian_utils.bert.expansion" not in done.stdout.split()


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ({"one": ("a", "b"), "two": ("b",)}, "a name from two modules"),
        ({"one": ("a", "a")}, "twice from one"),
        ({"one": ("two",), "two": ("c",)}, "cannot hand on two: a module of that name"),
    ],
)
def test_tables_that_cannot_work_are_refused(modules, message):
    with pytest.raises(ValueError, match=message):
        attach("package", modules)
