from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.errors import ConfigError, ModelError
from tasks.load import open_model
from tasks.load.preprocessors import open_preprocessor

FRAME = pd.DataFrame({"n": [1.0, 2.0, 4.0], "c": ["a", "b", None], "i": [3, 4, 3]})


def column_transformer():
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

    return ColumnTransformer(
        [
            ("n", make_pipeline(SimpleImputer(), StandardScaler()), ["n"]),
            ("c", OneHotEncoder(), ["c"]),
            ("i", make_pipeline(SimpleImputer(strategy="most_frequent"), OrdinalEncoder()), [2]),
        ]
    ).fit(FRAME)


def test_a_skops_file_is_opened_and_tells_columns_and_categories(shop):
    transformer = column_transformer()
    found = open_preprocessor(shop.preprocessor(transformer))
    assert found.columns == ("n", "c", "i")
    assert found.known == {"c": ["a", "b"], "i": [3, 4]}
    assert list(found.missing) == ["c"]
    matrix = found.transform(FRAME)  # a sparse one, from one-hot columns
    assert matrix.dtype == np.float64
    expected = transformer.transform(FRAME)
    assert np.array_equal(matrix, expected.toarray() if hasattr(expected, "toarray") else expected)


def test_fitted_on_an_array_it_is_given_one(shop):
    from sklearn.preprocessing import StandardScaler

    values = FRAME[["n", "i"]].to_numpy()
    found = open_preprocessor(shop.preprocessor(StandardScaler().fit(values)))
    assert found.columns is None
    assert np.allclose(found.transform(FRAME[["n", "i"]]).mean(axis=0), 0)


class Foreign:
    """A type that skops does not know."""

    def __init__(self) -> None:
        self.offset = 1.0

    def transform(self, frame):
        return frame.to_numpy() + self.offset


def test_types_that_nobody_vouched_for_are_refused_by_name(shop):
    path = shop.preprocessor(Foreign())
    with pytest.raises(ModelError, match="holds types that are not trusted") as caught:
        open_preprocessor(path)
    assert caught.value.exit_code == 2
    assert any(name.endswith("Foreign") for name in caught.value.values)
    assert "model.trusted_types" in caught.value.hint
    found = open_preprocessor(path, caught.value.values)
    assert found.transform(pd.DataFrame({"a": [1.0]})).tolist() == [[2.0]]


@pytest.mark.parametrize("content", [b"", b"junk", None])
def test_a_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "preprocessor.skops"
    if content is None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("schema.json", '{"__class__": "dict"')
    else:
        path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        open_preprocessor(path)
    assert "skops.io.dump" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_refused(shop):
    path = Path(shop.preprocessor(column_transformer()))
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ModelError, match="is not a skops file"):
        open_preprocessor(path)


def test_something_that_is_no_transformer_is_refused(shop):
    with pytest.raises(ModelError, match="has no transform and is no function"):
        open_preprocessor(shop.preprocessor({"a": 1}))


def test_code_runs_only_from_a_trusted_module(shop, make_network, monkeypatch):
    (shop.folder / "shop_encode.py").write_text("def encode(frame):\n    return frame[['a']].to_numpy() * 2.0\n")
    monkeypatch.syspath_prepend(str(shop.folder))
    monkeypatch.delenv("KERAS_AUDIT_TRUST", raising=False)
    config = shop.config(shop.model(make_network(1)), "x.csv", model={"preprocessor": "shop_encode:encode"})
    with pytest.raises(ModelError, match=r"not trusted: shop_encode; .*KERAS_AUDIT_TRUST=shop_encode") as caught:
        open_model(config)
    assert caught.value.exit_code == 2
    monkeypatch.setenv("KERAS_AUDIT_TRUST", "shop_encode")
    model = open_model(config)
    assert model.preprocessor.transform(pd.DataFrame({"a": [1, 2]})).tolist() == [[2.0], [4.0]]
    assert model.preprocessor_sha256 is None
    assert any("is code, not a file" in sentence for sentence in model.limitations)
    with pytest.raises(ModelError, match="the module shop_encode has no gone"):
        open_preprocessor("shop_encode:gone")


def test_a_preprocessor_that_is_not_there_is_an_error(shop, make_network):
    config = shop.config(shop.model(make_network(1)), "x.csv", model={"preprocessor": "gone.skops"})
    with pytest.raises(ConfigError, match=r"gone\.skops is no file and not module:function"):
        open_model(config)


def test_the_default_lies_beside_the_model_and_is_hashed(shop, make_network):
    path = shop.model(make_network(5))
    shop.preprocessor(column_transformer())
    model = open_model(shop.config(path, "x.csv"))
    assert model.preprocessor_path.endswith("preprocessor.skops")
    assert len(model.preprocessor_sha256) == 64
    assert model.feature_names == ("n", "c", "i")
    assert model.feature_kinds == {"c": "category", "i": "category"}


def test_a_card_that_states_another_preprocessor_is_refused(shop, make_network):
    path = Path(shop.model(make_network(5)))
    shop.preprocessor(column_transformer())
    (path.parent / "card.yaml").write_text(f"files: {{preprocessor.skops: {{sha256: {'0' * 64}}}}}")
    with pytest.raises(ModelError, match="its card states"):
        open_model(shop.config(str(path), "x.csv"))


def test_a_column_that_it_drops_is_not_asked_for(shop):
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    transformer = ColumnTransformer([("n", StandardScaler(), ["i", "n"]), ("c", "drop", ["c"])]).fit(FRAME)
    assert open_preprocessor(shop.preprocessor(transformer)).columns == ("n", "i")
    kept = ColumnTransformer([("n", StandardScaler(), ["n"])], remainder="passthrough")
    assert open_preprocessor(shop.preprocessor(kept.fit(FRAME))).columns == ("n", "c", "i")
    rest = make_pipeline(ColumnTransformer([("n", StandardScaler(), ["n"])]), StandardScaler()).fit(FRAME)
    assert open_preprocessor(shop.preprocessor(rest)).columns == ("n",)
