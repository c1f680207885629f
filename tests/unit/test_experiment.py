"""Claims: criteria can fail, verdicts mean what they say, bad input is named."""

import json
import logging

import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from kexian_utils import catalogue, experiment, mime
from kexian_utils.experiment import claims, criteria

ARTICLE = 7533


@pytest.fixture
def shell():
    """A live shell, so that display() publishes instead of printing."""
    shell = InteractiveShell.instance()
    yield shell
    InteractiveShell.clear_instance()


@pytest.fixture
def exp():
    return experiment.start(ARTICLE, keras=False)


def check(exp, measured=1.0, criterion=None, claim="C1", kind="theorem", **kwargs):
    criterion = experiment.at_most(2) if criterion is None else criterion
    return exp.check(claim, measured, criterion, sentence="A statement.", kind=kind, **kwargs)


def captured(mime, call):
    with capture_output() as out:
        call()
    return [o.data[mime] for o in out.outputs if mime in o.data]


# -- criteria -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("criterion", "good", "bad"),
    [
        (experiment.at_most(2), 2, 2.0001),
        (experiment.at_least(2), 2, 1.9999),
        (experiment.between(1, 2), 1.5, 2.1),
        (experiment.between(1, 2), 1, 0.9),
        (experiment.close_to(10, rtol=0.01), 10.09, 10.11),
        (experiment.close_to(0, atol=0.1), -0.1, -0.11),
        (experiment.equal_to(3), 3, 3.0000001),
        (experiment.below(1e-10), -9e-11, 1.1e-10),
        (experiment.is_true(), True, False),
    ],
)
def test_each_criterion_accepts_and_rejects(exp, criterion, good, bad):
    check(exp, good, criterion)
    assert exp._claims["C1"].verdict == "holds"
    with pytest.raises(experiment.ClaimMissed, match="C2 of article 7533 is missed"):
        check(exp, bad, criterion, claim="C2")
    assert exp._claims["C2"].verdict == claims.MISSED


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_never_pass(exp, value):
    with pytest.raises(experiment.ClaimMissed):
        check(exp, value, experiment.at_least(-1))


def test_every_value_of_a_sequence_must_pass(exp):
    check(exp, [1.0, 1.9], claim="C1")
    with pytest.raises(experiment.ClaimMissed):
        check(exp, [1.0, 2.1], claim="C2")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: experiment.at_most(np.inf), "could not fail"),
        (lambda: experiment.at_least(np.nan), "could not fail"),
        (lambda: experiment.between(2, 1), "low must not exceed high"),
        (lambda: experiment.close_to(1), "not both 0"),
        (lambda: experiment.close_to(1, rtol=1.0), "rtol < 1"),
        (lambda: experiment.below(0), "must be positive"),
    ],
)
def test_criteria_that_cannot_fail_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("limit", ["2", None, True])
def test_limits_must_be_numbers(limit):
    with pytest.raises(TypeError, match="limit must be a number"):
        experiment.at_most(limit)


@pytest.mark.parametrize(
    ("measured", "criterion", "error", "message"),
    [
        ([], experiment.at_most(1), ValueError, "nothing was measured"),
        (np.zeros((2, 2)), experiment.at_most(1), ValueError, "1-D"),
        ("3", experiment.at_most(1), TypeError, "expected numbers"),
        (True, experiment.at_most(1), TypeError, "does not fit"),
        (1.0, experiment.is_true(), TypeError, "does not fit"),
        ({"a": 1.0}, experiment.at_most(1), TypeError, "both be dicts"),
        ({"a": 1.0}, {"b": experiment.at_most(1)}, ValueError, "same quantities"),
        ({}, {}, ValueError, "at least one"),
        (1.0, 2.0, TypeError, "criterion must come from"),
    ],
)
def test_wrong_measurements_are_named(exp, measured, criterion, error, message):
    with pytest.raises(error, match=message):
        check(exp, measured, criterion)


# -- claims ---------------------------------------------------------------------------------------


def test_a_record_holds_what_ledger_and_regression_need(exp, shell):
    (record,) = captured(
        mime.CLAIM_MIME,
        lambda: check(
            exp,
            {"ratio": 14.97123456789, "error": 1e-14},
            {"ratio": experiment.between(14, 16), "error": experiment.below(1e-10)},
            equation="(7)",
        ),
    )
    assert record["measured"] == [
        {"name": "ratio", "value": 14.9712346, "text": "15.0", "criterion": "between 14 and 16"},
        {"name": "error", "value": None, "text": "below 1e-10", "criterion": "below 1e-10"},
    ]
    assert (record["verdict"], record["kind"], record["equation"]) == ("holds", "theorem", "(7)")
    json.dumps(record, allow_nan=False)


def test_a_missed_claim_leaves_its_record_before_it_raises(exp, shell):
    def call():
        with pytest.raises(experiment.ClaimMissed):
            check(exp, 3.0)

    (record,) = captured(mime.CLAIM_MIME, call)
    assert record["verdict"] == "missed"
    assert record["measured"][0]["value"] == 3.0


def test_the_verdict_is_what_meeting_the_criterion_means(exp):
    check(exp, 1.0, verdict="refuted", claim="C1", kind="empirical")
    check(exp, 1.0, verdict="not shown", claim="C2", kind="empirical")
    assert [exp._claims[c].verdict for c in ("C1", "C2")] == ["refuted", "not shown"]
    with pytest.raises(experiment.ClaimMissed):
        check(exp, 3.0, verdict="refuted", claim="C3")


def test_rivals_are_shown_and_must_fail(exp, shell):
    rivals = {"share": {"uniform circle": [0.37, 0.41]}, "right": {"always": False}}
    measured, criteria = (
        {"share": 0.56, "right": True},
        {"share": experiment.at_least(0.5), "right": experiment.is_true()},
    )
    (record,) = captured(
        mime.CLAIM_MIME, lambda: check(exp, measured, criteria, rivals=lambda: rivals)
    )
    assert record["verdict"] == "holds"
    assert [part["name"] for part in record["measured"]][2:] == [
        "share, uniform circle",
        "right, always",
    ]
    assert record["measured"][2]["criterion"] == "must fail: at least 0.5"
    assert [part["text"] for part in record["measured"][1::2]] == ["true", "false"]
    for score in ([0.37, 0.5], float("nan")):
        with pytest.raises(experiment.ClaimMissed, match="share, uniform circle"):
            check(exp, measured, criteria, rivals={"share": {"uniform circle": score}})
    check(exp, 1.0, rivals={"value": {"constant": 5.0}})
    for wrong in ({"shares": {"circle": 0.1}}, {"share": {}}):
        with pytest.raises(ValueError, match="rival"):
            check(exp, measured, criteria, rivals=wrong)


@pytest.mark.parametrize("verdict", ["quoted", "not run", "missed", "true"])
def test_a_check_cannot_claim_other_verdicts(exp, verdict):
    with pytest.raises(ValueError, match="verdict must be"):
        check(exp, verdict=verdict)


def test_smoke_decides_theorems_and_leaves_empirical_claims_not_run():
    exp = experiment.start(ARTICLE, profile="smoke", keras=False)
    check(exp, kind="theorem", claim="C1")
    check(exp, lambda: pytest.fail("was called"), kind="empirical", claim="C2")
    check(exp, None, kind="advice", claim="C3")
    with pytest.raises(experiment.ClaimMissed):
        check(exp, 3.0, kind="erratum", claim="C4")
    assert [exp._claims[c].verdict for c in ("C1", "C2", "C3")] == ["holds"] + ["not run"] * 2


def test_needs_moves_the_decision_to_a_larger_profile(exp):
    check(exp, None, kind="empirical", needs="study")
    assert exp._claims["C1"].verdict == "not run"
    study = experiment.start(ARTICLE, profile="study", keras=False)
    check(study, lambda: 1.0, kind="empirical", needs="study")
    assert study._claims["C1"].verdict == "holds"


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"claim": "C99"}, "has no claim 'C99'"),
        ({"kind": "opinion"}, "kind must be one of"),
        ({"needs": "fast"}, "unknown profile 'fast'"),
    ],
)
def test_wrong_claims_are_named(exp, kwargs, message):
    with pytest.raises(ValueError, match=message):
        check(exp, **kwargs)


def test_sentences_must_fit_a_table(exp):
    for sentence in ("", "a | b", "a\nb"):
        with pytest.raises(ValueError, match="sentence"):
            exp.check("C1", 1.0, experiment.at_most(2), sentence=sentence, kind="theorem")


def test_a_cell_may_be_run_again_but_a_claim_has_one_place(exp):
    with pytest.raises(experiment.ClaimMissed):
        check(exp, 3.0)
    check(exp, 1.0)
    check(exp, 1.5)
    assert exp._claims["C1"].measured[0]["value"] == 1.5
    with pytest.raises(ValueError, match="already decided by another cell"):
        exp.check("C1", 1.0, experiment.at_most(2), sentence="Another.", kind="theorem")


def test_quoted_claims_need_a_source(exp):
    exp.quote("C1", sentence="Somebody measured 3.", kind="empirical", source="A paper, 2018")
    assert exp._claims["C1"].verdict == "quoted"
    with pytest.raises(ValueError, match="source"):
        exp.quote("C2", sentence="Somebody measured 3.", kind="empirical", source=" ")


def test_finish_demands_every_claim_and_the_headline(exp, shell):
    first, *others = catalogue.load().article(str(ARTICLE)).claims
    with capture_output() as out:
        exp.headline()
        check(exp, claim=first)
        with pytest.raises(RuntimeError, match=f"left undecided: {', '.join(others)}"):
            exp.finish()
        for name in others:
            check(exp, claim=name)
        with pytest.raises(RuntimeError, match="headline was reserved"):
            exp.finish()
        exp.headline("**Measured: 3.**")
        exp.finish()
    tables = [o.data["text/markdown"] for o in out.outputs if "| C1<br>" in str(o.data)]
    assert tables[0].startswith("**Measured: 3.**")
    assert tables[0].count("\n| C") == 1 + len(others)


def test_the_study_is_shown_as_dated_where_a_claim_is_not_run(exp, shell, tmp_path, monkeypatch):
    part = {"name": "loss", "value": 0.1, "text": "0.1", "criterion": "at most 2"}
    other = {"name": "gain", "value": 3.0, "text": "3", "criterion": "at least 1"}
    decided = claims.ClaimRecord(
        *("7533", "C1", "A sentence.", "empirical", "holds", "", "", "study"),
        *("study", 0, "tensorflow", (part, other)),
    )
    study = {
        "schema": 1,
        "article": "7533",
        "profile": "study",
        "seed": 0,
        "backend": "tensorflow",
        "date": "2026-11-21T10:00:00Z",
        "claims": [decided.to_json()],
    }
    monkeypatch.chdir(tmp_path)
    (tmp_path / exp.article.study_path.name).write_text(json.dumps(study), encoding="utf-8")
    exp = experiment.start(ARTICLE, keras=False)
    (record,) = captured(mime.CLAIM_MIME, lambda: check(exp, None, kind="empirical", needs="study"))
    assert record["verdict"] == "not run"
    assert record["study"]["verdict"] == "holds"
    assert exp.recorded("C1") == {"loss": 0.1, "gain": 3.0}
    assert exp.recorded("C2") == {}
    table = claims.claims_markdown([claims.ClaimRecord.from_json(record)])
    assert "study of 2026-11-21" in table
    for each in (part, other):  # a line of its own, with what was required
        assert f"<br>{each['name']}: {each['text']} ({each['criterion']})" in table
    (tmp_path / exp.article.study_path.name).write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="not a study record"):
        experiment.start(ARTICLE, keras=False)


# -- start, sizes, randomness ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"profile": "smok"}, ValueError, "Did you mean 'smoke'"),
        ({"seed": -1}, ValueError, "between 0"),
        ({"seed": 2**32}, ValueError, "between 0"),
        ({"seed": 1.5}, TypeError, "integer"),
        ({"seed": "0"}, TypeError, "integer"),
        ({"seed": True}, TypeError, "integer"),
        ({"threads": -1}, ValueError, "threads"),
        ({"backend": "theano", "keras": True}, ValueError, "unknown backend 'theano'"),
    ],
)
def test_bad_settings_are_named(kwargs, error, message):
    with pytest.raises(error, match=message):
        experiment.start(ARTICLE, **{"keras": False, **kwargs})


def test_an_unknown_article_names_the_nearest():
    with pytest.raises(ValueError, match="6992"):
        experiment.start(6993, keras=False)


def test_bad_thread_variable_is_named(monkeypatch):
    monkeypatch.setenv("KEXIAN_THREADS", "many")
    with pytest.raises(ValueError, match="KEXIAN_THREADS"):
        experiment.start(ARTICLE, keras=False)


def test_sizes_pick_the_row_and_refuse_unequal_tables(exp):
    table = {"smoke": {"steps": 1}, "default": {"steps": 2}}
    assert exp.sizes(table).steps == 2
    with pytest.raises(ValueError, match="same sizes"):
        exp.sizes({"smoke": {"steps": 1}, "default": {"step": 2}})
    with pytest.raises(ValueError, match="no profile 'default'"):
        exp.sizes({"smoke": {"steps": 1}})
    with pytest.raises(ValueError, match="unknown profile"):
        exp.sizes({"huge": {"steps": 1}})


def test_randomness_derives_from_seed_and_name():
    a, b = (experiment.start(ARTICLE, seed=s, keras=False) for s in (0, 1))
    assert a.seed_for("data") == experiment.start(ARTICLE, keras=False).seed_for("data")
    assert (
        len({a.seed_for("data"), a.seed_for("init"), b.seed_for("data"), a.seed_for("data", 1)})
        == 4
    )
    np.random.seed(123)  # noqa: NPY002
    assert a.keras_seed("init", 1) == a.seed_for("init", 1) % 10**6
    assert len({a.keras_seed("init", k) for k in range(300)}) > 290
    assert all(0 <= a.keras_seed("init", k) < 10**6 for k in range(300))
    assert a.rng("x").normal() == experiment.start(ARTICLE, keras=False).rng("x").normal()


def test_run_record_says_with_what(shell):
    (record,) = captured(mime.RUN_MIME, lambda: experiment.start(ARTICLE, seed=3, keras=False))
    assert (record["profile"], record["seed"], record["threads"]) == ("default", 3, 1)
    assert {"python", "numpy", "keras", "tensorflow"} <= record["versions"].keys()
    assert record["processor"]


def test_full_without_a_gpu_says_what_to_do(exp):
    with pytest.raises(RuntimeError, match="needs a GPU"):
        exp.require_gpu("This run")


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (14.97, 3, "15.0"),
        (0.155999, 3, "0.156"),
        (2677.5, 3, "2678"),
        (0, 3, "0"),
        (12, 3, "12"),
        (1.5e-7, 3, "1.50e-07"),
        (1e20, 2, "1.0e+20"),
        (-0.5, 2, "-0.50"),
        (np.nan, 3, "nan"),
    ],
)
def test_numbers_are_shown_to_stable_digits(value, digits, text):
    assert criteria.format_number(value, digits) == text


def test_tensorflows_count_of_traces_is_left_out_and_nothing_else():
    from kexian_utils.experiment.backend import _is_no_retracing

    def record(text, *values):
        return logging.LogRecord("tensorflow", logging.WARNING, "", 0, text, values, None)

    assert not _is_no_retracing(record("%d calls to %s triggered tf.function retracing.", 5, "f"))
    assert _is_no_retracing(record("5 calls failed"))


def test_a_claim_travels_as_json_and_back():
    part = {"name": "loss", "value": 0.1, "text": "0.1", "criterion": "at most 2"}
    study = claims.StudyVerdict("holds", "2026-11-21T10:00:00Z", 0, "jax", (part,))
    claim = claims.ClaimRecord(
        *("7533", "C1", "A sentence.", "empirical", "not run", "(1)", "", "study"),
        *("default", 0, "tensorflow", (), study),
    )
    record = json.loads(json.dumps(claim.to_json()))
    assert claims.ClaimRecord.from_json(record) == claim
    assert claim.verdicts == ("not run", "holds")
    assert claim.verdict_text() == "not run here; holds in the study of 2026-11-21"
    assert claim.measured_text() == "loss: 0.1"
    for broken in (record | {"schema": 2}, record | {"more": 1}, {"schema": 1}):
        with pytest.raises(ValueError, match="not a record of a claim"):
            claims.ClaimRecord.from_json(broken)


def test_the_stored_claims_read_back_to_the_letter():
    """What the committed notebooks hold is what `ClaimRecord` writes, line and all."""
    import nbformat

    from kexian_utils import catalogue

    root = catalogue.project_root()
    read = 0
    for article in catalogue.load(root).articles:
        if not (root / article.path).is_file():
            continue
        for cell in nbformat.read(root / article.path, as_version=4)["cells"]:
            for output in cell.get("outputs", ()):
                data = output.get("data", {})
                if mime.CLAIM_MIME in data:
                    claim = claims.ClaimRecord.from_json(data[mime.CLAIM_MIME])
                    assert claim.to_json() == data[mime.CLAIM_MIME]
                    if claim.measured:
                        assert claim.line() == data["text/plain"]
                    read += 1
    assert read > 100
