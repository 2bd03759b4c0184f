from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tasks.errors import ModelError
from tasks.load.arrangement import Blocks, Frames, Sums
from tasks.load.backend import tensorflow
from tasks.load.encoding import make_encoder
from tasks.load.preprocessors import Preprocessor, open_preprocessor
from tasks.load.probing import arrange


def data(n: int = 400, seed: int = 0, nulls: bool = True) -> pa.Table:
    generator = np.random.default_rng(seed)
    words = np.array(["red", "green", "blue", "never seen" if seed else "red", None if nulls else "red"], dtype=object)
    return pa.table(
        {
            "x": generator.normal(5, 3, n),
            "count": generator.integers(0, 1000, n),
            "colour": pa.array(words[generator.integers(0, 5, n)].tolist(), pa.string()),
            "flag": pa.array((generator.integers(0, 2, n) == 1).tolist()),
            "size": pa.array(np.array(["S", "M", "L"])[generator.integers(0, 3, n)].tolist()),
        }
    )


def fitted(make, table: pa.Table, tmp_path) -> Preprocessor:
    import skops.io

    path = tmp_path / "p.skops"
    skops.io.dump(make().fit(table.to_pandas()), path)
    return open_preprocessor(path, skops.io.get_untrusted_types(file=path))


def arranged(preprocessor: Preprocessor, table: pa.Table, reference: pa.Table):
    encoder = make_encoder(
        table.column_names,
        table,
        reference,
        kinds=dict.fromkeys(preprocessor.known, "category"),
        preprocessor=preprocessor,
    )
    codes = np.concatenate([encoder.codes(table), encoder.codes(reference)])
    arrangement, said = arrange(encoder, preprocessor, codes, [table, reference])
    return encoder, arrangement, said


def transformer(numbers, categories, *, rest="drop"):
    from sklearn.compose import ColumnTransformer

    def make():
        return ColumnTransformer(
            [("n", numbers, ["x", "count"]), ("c", categories, ["colour", "size"])],
            remainder=rest,
        )

    return make


def one_hot(**settings):
    from sklearn.preprocessing import OneHotEncoder

    return OneHotEncoder(**{"handle_unknown": "ignore", **settings})


def pipelines():
    from sklearn.decomposition import PCA
    from sklearn.feature_selection import VarianceThreshold
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import (
        KBinsDiscretizer,
        MaxAbsScaler,
        MinMaxScaler,
        OrdinalEncoder,
        PolynomialFeatures,
        RobustScaler,
        StandardScaler,
    )

    scaled = StandardScaler()
    filled = make_pipeline(SimpleImputer(strategy="constant", fill_value="none"), one_hot())
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    return {
        "scaled, one-hot": (transformer(scaled, one_hot()), Blocks),
        "scaled, one-hot, the flag passed through": (transformer(scaled, one_hot(), rest="passthrough"), Blocks),
        "imputed": (transformer(make_pipeline(SimpleImputer(add_indicator=True), RobustScaler()), filled), Blocks),
        "ordinal": (transformer(MinMaxScaler(), ordinal), Blocks),
        "dropped categories": (transformer(MaxAbsScaler(), one_hot(drop="first")), Blocks),
        "rare categories together": (transformer(scaled, one_hot(min_frequency=0.3)), Blocks),
        "a constant column": (transformer(make_pipeline(VarianceThreshold(), scaled), one_hot()), Blocks),
        "rotated": (lambda: make_pipeline(transformer(scaled, one_hot(sparse_output=False))(), PCA(4)), Sums),
        "products": (transformer(PolynomialFeatures(2), one_hot()), Frames),
        "bins": (transformer(KBinsDiscretizer(3, encode="ordinal", strategy="uniform"), one_hot()), Frames),
        "clipped": (transformer(MinMaxScaler(clip=True), one_hot()), Frames),
    }  # fmt: skip


CASES = [
    "scaled, one-hot", "scaled, one-hot, the flag passed through", "imputed", "ordinal", "dropped categories",
    "rare categories together", "a constant column", "rotated", "products", "bins", "clipped",
]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_arrangement_is_the_preprocessor_on_every_real_row(case, tmp_path):
    tf = tensorflow()
    make, kind = pipelines()[case]
    reference, table = data(), data(300, seed=1)
    preprocessor = fitted(make, reference, tmp_path)
    encoder, arrangement, said = arranged(preprocessor, table, reference)
    assert type(arrangement) is kind
    assert bool(said) == (kind is Frames)
    for part in (table, reference):
        codes = encoder.codes(part)
        truth = preprocessor.transform(part.to_pandas())
        assert np.allclose(arrangement.matrix(codes), truth, rtol=1e-6, atol=1e-9, equal_nan=True)
        graph = tf.function(arrangement.__call__, input_signature=[tf.TensorSpec(codes.shape, tf.float64)])
        assert np.allclose(graph(codes).numpy(), truth.astype(np.float32), rtol=1e-6, atol=1e-6, equal_nan=True)


def test_encoded_columns_know_the_raw_feature_they_come_from(tmp_path):
    make, _ = pipelines()["scaled, one-hot, the flag passed through"]
    table = data(nulls=False)
    preprocessor = fitted(make, table, tmp_path)
    encoder, arrangement, _ = arranged(preprocessor, table, table)
    owners = [encoder.names[j] for j in arrangement.owners]
    assert owners == ["x", "count", *["colour"] * 3, *["size"] * 3, "flag"]


def test_a_rotation_mixes_columns_and_says_no_owner(tmp_path):
    make, _ = pipelines()["rotated"]
    table = data(nulls=False)
    _, arrangement, _ = arranged(fitted(make, table, tmp_path), table, table)
    assert arrangement.owners is None


def test_values_beyond_the_data_are_encoded_as_the_preprocessor_does(tmp_path):
    make, _ = pipelines()["scaled, one-hot"]
    table = data()
    preprocessor = fitted(make, table, tmp_path)
    encoder, arrangement, _ = arranged(preprocessor, table, table)
    codes = np.repeat(encoder.codes(table)[:1], 3, axis=0)
    codes[:, 0] = [-1e6, 0.25, 1e6]
    assert np.allclose(arrangement.matrix(codes), preprocessor.transform(encoder.frame(codes)))


def test_nulls_and_categories_that_it_refuses_are_known(tmp_path):
    make = transformer(pipelines_scaled(), one_hot(handle_unknown="error"))
    reference, table = data(nulls=False), data(200, seed=1, nulls=False)
    preprocessor = fitted(make, reference, tmp_path)
    encoder, arrangement, _ = arranged(preprocessor, table, reference)
    assert type(arrangement) is Blocks
    refused = arrangement.refused(encoder)
    at = {name: j for j, name in enumerate(encoder.names)}
    colours = encoder.features[at["colour"]].categories
    assert colours == ("blue", "green", "red", "never seen")
    assert refused[at["colour"]].tolist() == [False, False, False, True, True]  # the last is null
    assert refused[at["size"]].tolist() == [False, False, False, True]
    assert refused[at["x"]].tolist() == [True]  # scaled, NaN stays NaN
    assert refused[at["flag"]].tolist() == [False, False, False]  # dropped


def pipelines_scaled():
    from sklearn.preprocessing import StandardScaler

    return StandardScaler()


def test_an_imputer_takes_nulls(tmp_path):
    make, _ = pipelines()["imputed"]
    table = data()
    encoder, arrangement, _ = arranged(fitted(make, table, tmp_path), table, table)
    assert not any(refused.any() for refused in arrangement.refused(encoder))


def test_what_the_slow_path_refuses_is_known_too():
    def encode(frame: pd.DataFrame) -> np.ndarray:
        if frame["x"].isna().any() or (frame["size"] == "L").any():
            raise ValueError("not this")
        return (frame["x"] ** 2).to_numpy()[:, None]

    table = data().select(["x", "size"])
    table = table.filter(pa.array([v != "L" for v in table["size"].to_pylist()]))
    reference = pa.table({"x": [1.0], "size": ["S"]})
    known = Preprocessor(lambda frame: encode(frame), None, {"size": ["S", "M", "L"]})
    encoder, arrangement, said = arranged(known, table, reference)
    assert type(arrangement) is Frames
    assert "x is not scaled on a straight line" in said[0]
    assert [part.tolist() for part in arrangement.refused(encoder)] == [[True], [False, False, True, False]]


def test_a_preprocessor_that_looks_at_the_batch_is_refused():
    def standardised(frame: pd.DataFrame) -> np.ndarray:
        values = frame[["x", "count"]].to_numpy()
        return (values - values.mean(axis=0)) / (values.std(axis=0) + 1)

    with pytest.raises(ModelError, match="its answer for a row depends on the other rows") as caught:
        arranged(Preprocessor(standardised, None), data(), data())
    assert caught.value.exit_code == 2


def test_a_preprocessor_that_fails_on_the_data_is_refused():
    def broken(frame: pd.DataFrame) -> np.ndarray:
        raise KeyError("no such\ncolumn")

    with pytest.raises(ModelError, match=r"fails on a row of the data; KeyError: 'no such") as caught:
        arranged(Preprocessor(broken, None), data(), data())
    assert "\n" not in str(caught.value)


def test_a_preprocessor_that_gives_no_matrix_is_refused():
    with pytest.raises(ModelError, match=r"it answered with the shape \(2, 3\) for one row"):
        arranged(Preprocessor(lambda frame: np.zeros((2, 3)), None), data(), data())


def test_a_preprocessor_of_categories_as_pandas_has_them_is_refused():
    def by_code(frame: pd.DataFrame) -> np.ndarray:
        column = frame["size"]
        return (column.cat.codes if hasattr(column, "cat") else column.str.len()).to_numpy()[:, None].astype(float) ** 2

    table = data(nulls=False).select(["size"])
    table = table.set_column(0, "size", table["size"].dictionary_encode())
    with pytest.raises(ModelError, match="other numbers for the same values read from a file"):
        arranged(Preprocessor(by_code, None), table, table)


@pytest.mark.parametrize("rows", [0, 1])
def test_one_row_and_none_are_enough_beside_a_reference(rows, tmp_path):
    make, _ = pipelines()["scaled, one-hot"]
    reference = data()
    preprocessor = fitted(make, reference, tmp_path)
    encoder, arrangement, _ = arranged(preprocessor, data().slice(0, rows), reference)
    assert type(arrangement) is Blocks
    assert np.allclose(
        arrangement.matrix(encoder.codes(reference)), preprocessor.transform(reference.to_pandas()), equal_nan=True
    )


def test_a_column_of_nulls_alone_is_encoded_as_the_preprocessor_does(tmp_path):
    make, _ = pipelines()["imputed"]
    reference = data()
    table = reference.slice(0, 20)
    for name in ("x", "colour"):
        at = table.column_names.index(name)
        table = table.set_column(at, name, pa.nulls(20, table.schema.field(name).type))
    preprocessor = fitted(make, reference, tmp_path)
    encoder, arrangement, _ = arranged(preprocessor, table, reference)
    assert np.allclose(arrangement.matrix(encoder.codes(table)), preprocessor.transform(table.to_pandas()))


def test_the_bundled_adult_rows_are_encoded_exactly(tmp_path):
    import pyarrow.parquet as pq

    table, reference = (pq.read_table(f"data/adult/{name}.parquet") for name in ("test", "train"))
    preprocessor = open_preprocessor("data/models/adult_income/1/preprocessor.skops")
    table, reference = table.select(list(preprocessor.columns)), reference.select(list(preprocessor.columns))
    encoder, arrangement, said = arranged(preprocessor, table, reference)
    assert type(arrangement) is Blocks
    assert said == ()
    truth = preprocessor.transform(table.to_pandas())
    assert np.abs(arrangement.matrix(encoder.codes(table)) - truth).max() <= 1e-12
