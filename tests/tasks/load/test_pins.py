"""Inputs that change during a run: under pins they are refused or left out; without pins they are read anew."""

from __future__ import annotations

import contextvars
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.errors import ConfigError, DataUnavailable, Incomplete, ModelError
from tasks.load import (
    Pins,
    load_data,
    load_model,
    locate_model,
    open_data,
    open_model,
    open_subject,
    pinned,
    tables,
)
from tasks.load.digests import digest_of
from tasks.watch import Watch
from tests.tasks.load.web import site


def pins_of(config):
    """What the two load steps say of model and data."""
    return Pins.of_facts(load_model(config, Watch()).facts, load_data(config, Watch()).facts)


@pytest.fixture
def versions(shop, make_network):
    """A config of a folder of versions 0, 1 and 2 with one table."""
    for version in (0, 1, 2):
        shop.model(make_network(2, seed=version), f"models/{version}/model.keras")
    table = shop.table({"a": [1.0, 2.0], "b": [3.0, 4.0], "y": ["no", "yes"]})
    return shop.config(str(shop.folder / "models"), table)


def _refused(open_it, config, *said):
    with pytest.raises(Incomplete) as caught:
        open_it(config)
    assert (caught.value.code, caught.value.exit_code) == ("inputs_changed", 4)
    for text in said:
        assert str(text) in str(caught.value)


def test_the_pins_are_the_digests_of_the_files(census):
    folder, data = Path(census.model.path), census.data
    pins = pins_of(census)
    assert pins == Pins(
        data=digest_of(Path(data.path)),
        reference=digest_of(Path(data.reference)),
        model=digest_of(folder / "model.keras"),
        preprocessor=digest_of(folder / "preprocessor.skops"),
        version=None,
    )


def test_facts_without_reference_preprocessor_and_with_a_version(versions):
    pins = Pins.of_facts(load_model(versions, Watch()).facts, load_data(versions, Watch()).facts)
    assert pins == pins_of(versions)
    assert (pins.reference, pins.preprocessor, pins.version) == (None, None, 2)


def test_what_does_not_change_is_opened_as_ever(census):
    subject = open_subject(census)
    with pinned(pins_of(census)):
        assert open_subject(census) is subject


@pytest.mark.parametrize(("key", "open_it"), [("path", open_data), ("reference", open_data), ("path", open_subject)])
def test_a_table_replaced_during_a_run_is_refused(census, key, open_it):
    path = Path(getattr(census.data, key))
    pins = pins_of(census)
    other = census.data.reference if key == "path" else census.data.path
    with pinned(pins):
        open_it(census)
        shutil.copy(other, path)
        _refused(open_it, census, path, getattr(pins, "data" if key == "path" else key), digest_of(path))
    assert open_data(census).sha256 == digest_of(Path(census.data.path))  # without pins as before


@pytest.mark.parametrize("content", [None, b"no table at all"])
def test_a_table_gone_or_damaged_during_a_run_is_no_mistake_of_the_config(census, content):
    path = Path(census.data.path)
    with pinned(pins_of(census)):
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        _refused(open_data, census, path)
    with pytest.raises(ConfigError):
        open_data(census)


@pytest.mark.parametrize("open_it", [locate_model, open_model, open_subject])
def test_a_model_replaced_during_a_run_is_refused(versions, open_it):
    folder = Path(versions.model.path)
    before, after = digest_of(folder / "2/model.keras"), digest_of(folder / "1/model.keras")
    with pinned(pins_of(versions)):
        open_it(versions)
        shutil.copy(folder / "1/model.keras", folder / "2/model.keras")
        _refused(open_it, versions, folder / "2/model.keras", before, after)
    open_it(versions)


def test_a_preprocessor_replaced_or_gone_during_a_run_is_refused(census):
    path = Path(census.model.path) / "preprocessor.skops"
    pins = pins_of(census)
    with pinned(pins):
        with path.open("ab") as stream:
            stream.write(b"more")
        _refused(open_model, census, path, pins.preprocessor, digest_of(path))
        path.unlink()
        _refused(open_model, census, path, pins.preprocessor, "is none")


def test_a_preprocessor_that_turns_up_during_a_run_is_refused(versions, census):
    with pinned(pins_of(versions)):
        there = Path(versions.model.path) / "2/preprocessor.skops"
        shutil.copy(Path(census.model.path) / "preprocessor.skops", there)
        _refused(open_model, versions, there, "was none")


def test_latest_stays_what_it_was_at_the_start(versions):
    folder = Path(versions.model.path)
    with pinned(pins_of(versions)):
        shutil.copytree(folder / "1", folder / "3")
        assert locate_model(versions) == (folder / "2/model.keras", 2)
        assert open_model(versions).version == 2
    assert open_model(versions).version == 3


def test_a_version_taken_away_during_a_run_is_no_mistake_of_the_config(versions):
    folder = Path(versions.model.path)
    with pinned(pins_of(versions)):
        shutil.rmtree(folder / "2")
        _refused(locate_model, versions, "has no version 2")
        shutil.rmtree(folder)
        _refused(open_model, versions, "does not exist")


def test_the_same_bytes_in_another_place_are_not_that_version(versions):
    folder = Path(versions.model.path)
    with pinned(pins_of(versions)):
        shutil.copy(folder / "2/model.keras", folder / "model.keras")
        _refused(locate_model, versions, "there is no version 2")


def test_version_0_is_a_version(shop, versions):
    config = shop.config(versions.model.path, versions.data.path, model={"version": 0})
    with pinned(pins_of(config)):
        assert open_model(config).version == 0
        assert locate_model(versions).version == 0  # and the latest, as far as this run goes


def test_threads_see_the_pins_of_the_context_they_are_given(versions):
    folder = Path(versions.model.path)
    with ThreadPoolExecutor(2) as pool:
        pool.submit(int).result()  # a thread that began before the pins
        with pinned(pins_of(versions)):
            shutil.copytree(folder / "1", folder / "3")
            inside = pool.submit(contextvars.copy_context().run, locate_model, versions)
            outside = pool.submit(contextvars.Context().run, locate_model, versions)
    assert (inside.result().version, outside.result().version) == (2, 3)


def test_pins_end_with_their_block_even_on_an_error(versions):
    outer = pins_of(versions)
    with pytest.raises(ModelError, match="on purpose"), pinned(outer):
        raise ModelError("on purpose")
    shutil.copytree(Path(versions.model.path) / "1", Path(versions.model.path) / "3")
    assert locate_model(versions).version == 3


def test_a_pinned_table_from_far_away_is_not_fetched_again(shop, versions):
    with site() as server:
        config = shop.config(versions.model.path, server.address)
        pins = pins_of(config)
        asked = server.asked
        server.content = b"a,y\n2,yes\n"
        with pinned(pins):
            assert open_data(config).table.to_pydict() == {"a": [1], "y": ["no"]}
        assert server.asked == asked
    with pinned(pins):
        assert open_data(config).sha256 == pins.data  # the server is gone
    with pytest.raises(DataUnavailable):
        open_data(config)


def test_a_pinned_table_that_memory_has_lost_is_fetched_and_compared(shop, versions):
    with site() as server:
        config = shop.config(versions.model.path, server.address)
        with pinned(pins_of(config)):
            tables._tables.clear()
            assert open_data(config).table.to_pydict() == {"a": [1], "y": ["no"]}
            tables._tables.clear()
            server.content = b"a,y\n2,yes\n"
            _refused(open_data, config, server.address)
            server.status = 503
            with pytest.raises(DataUnavailable):
                open_data(config)
