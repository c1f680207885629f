"""States of runs: what is written is what comes back, and a torn file is never left."""

import numpy as np
import pytest

from kexian_utils.training.state import read_state, write_state


class Variable:
    """As far as it matters, a Keras variable."""

    def __init__(self, value):
        self.value = np.asarray(value)
        self.shape = self.value.shape

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.value, dtype)

    def assign(self, value):
        self.value = np.asarray(value)


def test_variables_and_extras_come_back(tmp_path):
    path = tmp_path / "state.npz"
    values = [np.arange(6.0).reshape(2, 3), np.float32(0.1), np.array([7, 8], np.uint32)]
    write_state(path, [Variable(v) for v in values], losses=[1.0, 2.0], version="a", v="b")
    blank = [Variable(np.zeros_like(v)) for v in values]
    extra = read_state(path, blank)
    for variable, value in zip(blank, values, strict=True):
        np.testing.assert_array_equal(variable.value, value)
        assert variable.value.dtype == value.dtype
    assert extra["losses"].tolist() == [1.0, 2.0]
    assert (str(extra["version"]), str(extra["v"])) == ("a", "b")
    assert [p.name for p in tmp_path.iterdir()] == ["state.npz"]


def test_another_model_is_refused_and_nothing_assigned(tmp_path):
    path = tmp_path / "state.npz"
    write_state(path, [Variable([1.0, 2.0]), Variable(3.0)])
    for variables in ([Variable([0.0, 0.0])], [Variable([0.0]), Variable(0.0)]):
        with pytest.raises(ValueError, match="another model"):
            read_state(path, variables)
        assert not variables[0].value.any()


def test_a_failure_while_writing_leaves_the_file_as_it_was(tmp_path):
    class Broken:
        def __array__(self, dtype=None, copy=None):
            raise MemoryError

    path = tmp_path / "state.npz"
    write_state(path, [Variable([1.0])])
    with pytest.raises(MemoryError):
        write_state(path, [Variable([2.0]), Broken()])
    kept = Variable([0.0])
    read_state(path, [kept])
    assert kept.value.tolist() == [1.0]


def damaged(whole):
    return {
        "empty": b"",
        "cut off": whole[: len(whole) // 2],
        "cut off in the middle": whole[:40],
        "no archive": b"garbage " * 40,
        "a pickle": b"\x80\x04N.",
        "a flipped bit": whole[:120] + bytes([whole[120] ^ 255]) + whole[121:],
    }


@pytest.mark.parametrize("fault", damaged(b"x" * 200))
def test_a_damaged_file_is_named_and_nothing_assigned(tmp_path, fault):
    path = tmp_path / "state.npz"
    write_state(path, [Variable(np.arange(64.0))], losses=[1.0])
    path.write_bytes(damaged(path.read_bytes())[fault])
    kept = Variable(np.ones(64))
    with pytest.raises(ValueError, match=r"state\.npz is damaged: put back a copy of it"):
        read_state(path, [kept], ("losses",))
    assert kept.value.all()


def test_a_state_that_lacks_what_a_run_needs(tmp_path):
    path = tmp_path / "state.npz"
    write_state(path, [Variable([1.0])])
    with pytest.raises(ValueError, match="is damaged"):
        read_state(path, [Variable([0.0])], ("losses",))
    with pytest.raises(FileNotFoundError):
        read_state(tmp_path / "none.npz", [])
