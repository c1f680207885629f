"""Runs in folders: the same one goes on, another is refused, and every end is saved."""

import json

import numpy as np
import pytest

from kexian_utils.training.resume import open_run, run_steps, unchanged, write_record

RUN = {"recipe": {"steps": 9, "width": 8}, "text": "0a1b", "seconds": 0.0}


def test_a_run_is_made_once_and_found_again(tmp_path):
    path = tmp_path / "runs" / "record.json"
    assert open_run(path, RUN) is None
    write_record(path, RUN | {"seconds": 5.0})
    assert open_run(path, RUN, ("recipe", "text"))["seconds"] == 5.0
    with pytest.raises(ValueError, match=r"another seconds \(5.0 there, 0.0 asked for\)"):
        open_run(path, RUN)
    other = RUN | {"recipe": {"steps": 8, "width": 8}}
    with pytest.raises(ValueError, match=r"another recipe \(steps: 9 there, 8 asked for\): choose"):
        open_run(path, other, ("recipe", "text"))
    assert [p.name for p in path.parent.iterdir()] == ["record.json"]


@pytest.mark.parametrize("content", ["", "{", "[]", "5", "null", "[" * 100_000, "\x00"])
def test_a_damaged_record_is_named(tmp_path, content):
    path = tmp_path / "record.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"record\.json is damaged: choose another folder"):
        open_run(path, RUN)


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    for path in (tmp_path / "record.json", tmp_path / "letter.txt" / "record.json"):
        with pytest.raises(ValueError, match="must be empty or hold a run"):
            open_run(path, RUN)
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("end", [None, KeyboardInterrupt, MemoryError])
def test_every_end_is_saved(end):
    made, saved, told = [], [], []

    def step(number):
        if number == 5 and end:
            raise end
        made.append(number)
        return {"loss": 0.5}

    def run():
        run_steps(2, 8, step, lambda: saved.append(len(made)), 1e9, told.append)

    if end:
        with pytest.raises(end):
            run()
    else:
        run()
    assert made == list(range(2, 5 if end else 8))
    assert saved == [len(made)]
    assert [t["step"] for t in told] == [number + 1 for number in made]
    assert set(told[0]) == {"step", "steps", "loss", "seconds_left"}
    assert told[-1]["seconds_left"] == 0 or end


def test_saved_now_and_then_and_after_the_last_step():
    saved = []
    run_steps(0, 3, lambda _: {}, lambda: saved.append(1), -1.0)
    assert len(saved) == 4
    run_steps(3, 3, lambda _: {}, lambda: saved.append(1), -1.0)
    assert len(saved) == 5


def test_a_warm_up_changes_nothing():
    class Variable:
        def __init__(self, value):
            self.value = np.array(value)

        def __array__(self, dtype=None, copy=None):
            return self.value

        def assign(self, value):
            self.value = value

    variables = [Variable([1.0, 2.0]), Variable(3)]
    with unchanged(variables):
        variables[0].value += 1  # in place: a view would change as well
        variables[1].assign(7)
    assert variables[0].value.tolist() == [1.0, 2.0]
    assert variables[1].value == 3


def test_the_record_is_json(tmp_path):
    write_record(tmp_path / "a.json", RUN)
    assert json.loads((tmp_path / "a.json").read_text()) == RUN
