"""Tables of results: what may be compared stands in one column, and nothing else does."""

import json

import pytest

from score_jax.errors import InputError
from score_jax.evaluation.result_table import (
    Column,
    Result,
    check_same_terms,
    checked_result,
    columns_of,
    differing,
    latex,
    markdown,
    page,
    terms_of,
)
from score_jax.runtime.results import SCHEMA
from tiny import here

EVALUATION = {
    "schema": SCHEMA,
    "kind": "evaluation",
    "measured": ["fid50k", "kid", "fid_infinity"],
    "fid50k": 2.345,
    "kid": 0.00123,
    "kid_spread": 0.0004,
    "kid_subset_size": 1000,
    "fid_infinity": 2.1,
    "protocol": "adm",
    "rounding": "truncated",
    "labels": "random of 10 classes",
    "n": 50_000,
    "resize": "tf1",
    "identity": "abc",
    "seed": 0,
    "reference": {"n": 50_000, "data": "cifar10", "pixels": "f00"},
}
LIKELIHOOD = {
    "schema": SCHEMA,
    "kind": "likelihood",
    "measured": ["bpd_ode_uniform"],
    "bpd_ode_uniform": 3.0123,
    "bpd_ode_uniform_standard_error": 0.0123,
    "method": "ode",
    "count": 1000,
    "data": "d00",
    "conventions": {"dequantisation": "uniform", "levels": 256, "conditions": "none"},
}


def metrics_of(results):
    return [column.metric for column in columns_of(results)]


def test_models_of_the_same_terms_share_their_columns():
    results = [Result("a", EVALUATION), Result("b", EVALUATION | {"fid50k": 3.5, "seed": 7}), Result("a", LIKELIHOOD)]
    columns = columns_of(results)
    assert [column.metric for column in columns] == ["fid50k", "kid", "bpd_ode_uniform"]
    fid, kid, bits = columns.values()
    assert fid == {"a": "2.345", "b": "3.5"} and bits == {"a": "3.012 ± 0.012"}
    assert kid == dict.fromkeys("ab", "0.00123 ± 0.00040")
    assert differing(columns) == {}
    check_same_terms(columns)


@pytest.mark.parametrize(
    ("change", "keys"),
    [
        ({"protocol": "jax_fid"}, ["protocol"]),
        ({"rounding": "rounded"}, ["rounding"]),
        ({"labels": "balanced over 10 classes"}, ["labels"]),
        ({"resize": "torch", "identity": "other"}, ["identity", "resize"]),
        ({"reference": {"n": 10_000, "pixels": "f01"}}, ["reference", "reference images"]),
        ({"reference": {"n": 50_000, "moments": "f02"}}, ["reference"]),
    ],
)
def test_other_terms_are_another_column(change, keys):
    results = [Result("a", EVALUATION), Result("b", EVALUATION | change)]
    assert metrics_of(results) == ["fid50k", "fid50k", "kid", "kid"]
    columns = columns_of(results)
    assert differing(columns) == {"fid50k": keys, "kid": keys}
    with pytest.raises(InputError, match=f"fid50k was measured under different terms, by {', '.join(keys)}"):
        check_same_terms(columns)


def test_the_number_of_samples_parts_distances_and_not_kernel_distances():
    fewer = EVALUATION | {"n": 10_000, "measured": ["fid", "kid"], "fid": 3.0}
    more = EVALUATION | {"measured": ["fid", "kid"], "fid": 3.0}
    assert metrics_of([Result("a", fewer), Result("b", more)]) == ["fid", "fid", "kid"]
    assert len(metrics_of([Result("a", fewer), Result("b", more | {"kid_subset_size": 500})])) == 4


def test_likelihoods_of_other_methods_data_or_dequantisations_are_apart():
    others = [{"data": "d01"}, {"count": 500}, {"conventions": LIKELIHOOD["conventions"] | {"levels": 32}}]
    results = [Result("a", LIKELIHOOD), *(Result("b", LIKELIHOOD | other) for other in others)]
    assert len(columns_of(results)) == 4
    assert terms_of(LIKELIHOOD, "bpd_ode_uniform")["dequantisation"] == "uniform"


def test_numbers_are_chosen_by_the_beginning_of_their_names():
    columns = columns_of([Result("a", EVALUATION)], ["fid"])
    assert [column.metric for column in columns] == ["fid50k", "fid_infinity"]
    with pytest.raises(InputError, match="No result has sfid: the numbers are fid50k, fid_infinity, kid"):
        columns_of([Result("a", EVALUATION)], ["fid", "sfid"])


def test_one_place_has_one_number():
    with pytest.raises(InputError, match="Two results of 'a' have fid50k under the same terms: give them names"):
        columns_of([Result("a", EVALUATION), Result("a", EVALUATION)])


def test_the_three_forms_hold_every_number_and_term():
    columns = columns_of([Result("a_b|c", EVALUATION), Result("d", EVALUATION | {"labels": "none"})], ["fid50k"])
    for text in (markdown(columns), latex(columns), page(columns)):
        assert "2.345" in text and "random of 10 classes" in text and "[2]" in text
    assert markdown(columns).splitlines()[2] == "| a_b\\|c | 2.345 | – |"
    assert r"a\_b|c & 2.345 & -- \\" in latex(columns) and r"\begin{tabular}{lrr}" in latex(columns)
    assert "<td>a_b|c</td>" in page(columns)


BAD = {
    "no schema": ({"fid": 1.0}, "is no result of a measurement"),
    "no object": ([1], "is no result of a measurement"),
    "another version": (EVALUATION | {"schema": "score_jax/result/9"}, "has the schema 'score_jax/result/9': expected"),
    "no list": (EVALUATION | {"measured": 3}, "does not say what was measured"),
    "no number": (EVALUATION | {"measured": ["protocol"]}, "lists 'protocol' as measured, and has no number"),
    "null": (EVALUATION | {"fid50k": None}, "lists 'fid50k' as measured, and has no number"),
    "escape": (EVALUATION | {"measured": ["\x1b[31m"]}, r"lists '\\x1b\[31m' as measured"),
    "reference": (EVALUATION | {"reference": "x"}, "does not say what its `reference` was"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_result_is_said(name):
    values, message = BAD[name]
    with pytest.raises(InputError, match=message):
        checked_result(values, "a.json")


def test_a_file_writes_nothing_into_a_terminal():
    column = next(iter(columns_of([Result("a", EVALUATION | {"labels": "\x1b[31m\n" + "x" * 1000})])))
    assert isinstance(column, Column) and all(text.isprintable() and len(text) < 120 for _, text in column.terms)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, values in (("a", EVALUATION), ("b", EVALUATION | {"fid50k": 9.0})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "evaluation_adm.json").write_text(json.dumps(values))
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / "a" / "likelihood.json").write_text(json.dumps(LIKELIHOOD))
    (tmp_path / "bad.json").write_text("{")
    return tmp_path


def test_the_verb_takes_files_and_folders(folder, capsys):
    assert here("table", "a", "b/evaluation_adm.json") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "|  | fid50k [1] | kid [2] | bpd_ode_uniform [3] |"
    assert lines[2].startswith("| a | 2.345 |") and lines[3].startswith("| b | 9 |")
    assert here("table", "ours=a/evaluation_adm.json", "b", "--metric=fid50k", "--format=latex", "--out=t.tex") == 0
    assert "ours & 2.345" in (folder / "t.tex").read_text()


def test_the_verb_refuses_in_one_line(folder, capsys):
    for arguments, message in (
        (["bad.json"], "bad.json: Expecting property name"),
        (["none.json"], "none.json: "),
        (["a/config.json"], "a/config.json is no result of a measurement"),
        (["."], "holds no results"),
    ):
        (folder / "bad.json").unlink(missing_ok=True) if arguments == ["."] else None
        assert here("table", *arguments) == 2
        error = capsys.readouterr().err
        assert message in error and len(error.splitlines()) == 1


def test_tests_of_copies_are_compared_by_equal_held_out_images_alone():
    measured = {"measured": ["fid", "c_t", "fdr"], "fid": 3.0, "c_t": -1.0, "fdr": 1.5}
    one, other = (EVALUATION | measured | {"held_out": {"n": 100, "pixels": pixels}} for pixels in ("f01", "f02"))
    assert metrics_of([Result("a", one), Result("b", other)]) == ["fid", "c_t", "c_t", "fdr", "fdr"]
    assert differing(columns_of([Result("a", one), Result("b", other)])) == {"c_t": ["held out"], "fdr": ["held out"]}
