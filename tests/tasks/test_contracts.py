"""What passes between stages: frozen, small, JSON-able and picklable records, and the tables' columns."""

from __future__ import annotations

import dataclasses
import json
import pickle
import typing

import pyarrow as pa
import pytest

from tasks import contracts
from tasks.contracts import TABLES, Done, Failed, Finding, NotApplicable, TableRef, schema_of

RECORDS = [
    TableRef("attributions/shap", "/reports/x/artifacts/attributions/shap.parquet", "0" * 64, 20),
    Finding("warning", "small_group", "a sentence", evidence="groups", stage="bias"),
    Done("bias", tables=(TableRef("groups", "/g", "0" * 64, 3),), facts={"rows": 3}),
    NotApplicable("explain/gradcam", "not_an_image", "the model takes tables"),
    Failed("explain/lime", "memory", "memory ran out"),
]

#: columns of the contract; text, real, whole, flag, or the type itself
COLUMNS = {
    "predictions": "row_id:id output:text y_true:text score:real decision:text",
    "validation": "expectation:text column:text severity:text success:flag element_count:whole unexpected_count:whole"
    " unexpected_percent:real detail:text",
    "attributions": "row_id:id output:text feature:text value:text attribution:real std_error:real base_value:real"
    " prediction:real",
    "importance": "technique:text output:text feature:text importance:real std_error:real ci_low:real ci_high:real"
    " rank:whole n_rows:whole",
    "effects": "row_id:id output:text feature:text with_feature:text measure:text point:whole position:real value:text"
    " with_position:real with_value:text effect:real std_error:real ci_low:real ci_high:real n_rows:whole",
    "saliency": "row_id:id output:text layer:text height:whole width:whole heatmap:float32s image:text",
    "groups": "row_id:id attribute:text group:text weight:real",
    "group_metrics": "attribute:text group:text output:text feature:text technique:text metric:text value:real"
    " status:text reason:text numerator:real denominator:real n:whole ci_low:real ci_high:real method:text",
    "disparities": "attribute:text output:text feature:text technique:text metric:text comparison:text group:text"
    " reference:text value:real status:text reason:text ci_low:real ci_high:real p_value:real p_adjusted:real"
    " q_value:real test:text",
    "agreement": "technique_a:text technique_b:text output:text measure:text k:whole value:real ci_low:real"
    " ci_high:real n_rows:whole",
    "explanation_quality": "technique:text output:text measure:text value:real std_error:real direction:text"
    " n_rows:whole status:text",
    "reason_codes": "row_id:id rank:whole code:text text:text features:texts contribution:real",
    "letters": "row_id:id language:text text:text",
    "counterfactuals": "row_id:id rank:whole feature:text from:text to:text score:real crosses:flag text:text",
    "curves": "attribute:text group:text output:text curve:text point:whole x:real y:real ci_low:real ci_high:real"
    " n:whole",
    "proxies": "attribute:text group:text feature:text measure:text value:real status:text reason:text ci_low:real"
    " ci_high:real p_value:real p_adjusted:real n:whole method:text",
    "slices": "rank:whole slice:text parts:texts metric:text value:real rest:real difference:real ci_low:real"
    " ci_high:real numerator:real denominator:real n:whole p_value:real q_value:real status:text test:text",
    "thresholds": "attribute:text aim:text kind:text sample:text group:text threshold:real n:whole selected:real"
    " selection_rate:real true_positive_rate:real false_positive_rate:real accuracy:real gained:real lost:real"
    " value:real ci_low:real ci_high:real met:flag",
    "tradeoffs": "attribute:text aim:text kind:text point:whole threshold:real limit:real value:real accuracy:real"
    " selection_rate:real changed:real",
    "faithfulness": "row_id:id technique:text output:text measure:text value:real",
    "drift": "kind:text attribute:text feature:text measure:text value:real threshold:real status:text",
}
TYPES = {
    "text": pa.string(), "real": pa.float64(), "whole": pa.int64(), "flag": pa.bool_(), "id": pa.int64(),
    "float32s": pa.list_(pa.float32()), "texts": pa.list_(pa.string()),
}  # fmt: skip


@pytest.mark.parametrize("name", COLUMNS)
def test_a_table_has_the_columns_order_and_types_of_the_contract(name):
    expected = [(column, TYPES[kind]) for column, _, kind in (part.partition(":") for part in COLUMNS[name].split())]
    assert [(column.name, column.type) for column in TABLES[name]] == expected


def test_there_is_no_table_beyond_the_contract():
    assert set(TABLES) == set(COLUMNS)


@pytest.mark.parametrize(
    ("name", "table"),
    [("predictions", "predictions"), ("attributions/shap", "attributions"), ("saliency/x/y", "saliency")],
)  # fmt: skip
def test_a_table_is_found_by_its_family(name, table):
    assert schema_of(name) == TABLES[table]


@pytest.mark.parametrize("name", ["", "nothing", "Predictions", "/predictions"])
def test_a_table_that_is_not_in_the_contract_has_no_schema(name):
    with pytest.raises(KeyError):
        schema_of(name)


@pytest.mark.parametrize("kind", [pa.string(), pa.int32(), pa.uint64(), pa.dictionary(pa.int8(), pa.string())])
def test_row_ids_take_the_type_of_the_data(kind):
    schema = schema_of("attributions/shap", kind)
    assert schema.field("row_id").type == kind
    assert schema.names == TABLES["attributions"].names
    assert schema_of("attributions/shap") == TABLES["attributions"]  # the contract itself is not touched


def test_a_table_without_row_ids_stays_as_it_is():
    assert schema_of("importance", pa.string()) == TABLES["importance"]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_is_frozen_and_crosses_processes(record):
    assert pickle.loads(pickle.dumps(record)) == record
    first = dataclasses.fields(record)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, first, "changed")
    json.dumps(dataclasses.asdict(record))


def test_every_record_is_tested():
    declared = {kind for kind in vars(contracts).values() if dataclasses.is_dataclass(kind)}
    assert declared == {type(record) for record in RECORDS}


def test_done_not_applicable_and_failed_are_three_types():
    assert set(typing.get_args(contracts.StageResult)) == {Done, NotApplicable, Failed}
    assert Failed("x", "y", "z").exit_code == 4


def test_the_words_of_the_contract():
    assert typing.get_args(contracts.Verdict) == (
        "satisfied", "not_satisfied", "insufficient_data", "not_applicable", "human_required",
    )  # fmt: skip
    assert typing.get_args(contracts.AuditVerdict) == (
        "satisfied", "not_satisfied", "inconclusive", "refused", "incomplete",
    )  # fmt: skip
    assert typing.get_args(contracts.ValueStatus) == ("ok", "undefined", "insufficient_data")
    assert typing.get_args(contracts.Severity) == ("critical", "warning", "info")
    assert contracts.MISSING == "(missing)"
