"""Tiles: x, y, z in; a table or an image out."""

from __future__ import annotations

import asyncio

import mercantile
import numpy as np
import pytest

import fused


@fused.udf
def bounds_of(bounds: fused.types.Tile, n: int = 1):
    bounds = bounds.assign(n=n)
    return bounds[["x", "y", "z", "n", "geometry"]]


def check(frame, x, y, z):
    west, south, east, north = mercantile.bounds(x, y, z)
    assert frame[["x", "y", "z"]].iloc[0].tolist() == [x, y, z]
    assert frame.crs.to_epsg() == 4326
    assert np.allclose(frame.total_bounds, [west, south, east, north])


@pytest.mark.parametrize(("x", "y", "z"), [(0, 0, 0), (2, 1, 2), (1_234, 2_345, 12)])
def test_a_tile_run_has_its_bounds(run, x, y, z):
    check(run(bounds_of, x=x, y=y, z=z), x, y, z)


def test_a_tile_run_takes_parameters_too(run):
    assert run(bounds_of, x=2, y=1, z=2, n=6)["n"].tolist() == [6]


def test_the_older_name_bbox_works(run):
    @fused.udf
    def udf(bbox: fused.types.TileGDF, n: int = 1):
        return bbox

    check(run(udf, x=2, y=1, z=2), 2, 1, 2)


def test_bounds_as_four_numbers(run):
    @fused.udf
    def udf(bounds: fused.types.Bounds):
        import pandas as pd

        return pd.DataFrame({"b": [float(v) for v in bounds]})

    assert np.allclose(run(udf, x=2, y=1, z=2)["b"], list(mercantile.bounds(2, 1, 2)))


def test_an_image_tile_arrives_as_array_or_dataset(run):
    @fused.udf
    def udf(bounds: fused.types.Tile):
        import numpy as np

        return np.arange(3 * 64 * 64, dtype="uint8").reshape(3, 64, 64)

    value = run(udf, x=2, y=1, z=2)
    image = np.asarray(value["image"] if hasattr(value, "data_vars") else value)
    assert np.array_equal(image.reshape(3, 64, 64), np.arange(3 * 64 * 64, dtype="uint8").reshape(3, 64, 64))


@pytest.mark.v2
def test_async_tiles(run):
    check(asyncio.run(fused.run_async(bounds_of, x=2, y=1, z=2)), 2, 1, 2)


def test_type_tile_and_file(run, is_v2):
    @fused.udf
    def udf(x: int = 0, y: int = 0, z: int = 0):
        import pandas as pd

        return pd.DataFrame({"x": [x], "y": [y], "z": [z]})

    check(run(bounds_of, x=2, y=1, z=2, type="tile"), 2, 1, 2)
    if is_v2:
        assert run(udf, x=2, y=1, z=2, type="file").iloc[0].tolist() == [2, 1, 2]


def test_a_saved_function_as_tile(run, save, name, email, is_v2):
    save(bounds_of, name)
    frame = fused.run(name, x=2, y=1, z=2, n=4) if is_v2 else fused.run(email, name, x=2, y=1, z=2, n=4)
    check(frame, 2, 1, 2)
    assert frame["n"].tolist() == [4]


def test_a_shared_function_as_tile(run, save, name, is_v2):
    shared = save(bounds_of, name).create_access_token()
    frame = fused.run(shared.token, x=2, y=1, z=2, n=4) if is_v2 else fused.run(token=shared.token, x=2, y=1, z=2, n=4)
    check(frame, 2, 1, 2)


@pytest.mark.v1
def test_run_tile_of_the_old_client():
    step = fused.models.UdfJobStepConfig(udf=bounds_of)
    check(step.run_tile(x=2, y=1, z=2).data, 2, 1, 2)


@pytest.mark.v1
def test_run_file_of_the_old_client():
    @fused.udf
    def udf(n: int = 1):
        import pandas as pd

        return pd.DataFrame({"n": [n]})

    step = fused.models.UdfJobStepConfig(udf=udf)
    assert step.run_file(n=3).data["n"].tolist() == [3]
    assert asyncio.run(step.run_file_async(n=4)).data["n"].tolist() == [4]


@pytest.mark.v1
def test_run_tile_async_of_the_old_client():
    step = fused.models.UdfJobStepConfig(udf=bounds_of)
    check(asyncio.run(step.run_tile_async(x=2, y=1, z=2)).data, 2, 1, 2)


def test_a_tile_out_of_range_is_an_error(run):
    with pytest.raises(Exception):  # noqa: B017 (mercantile's or the server's)
        run(bounds_of, x=99, y=1, z=2)


def test_a_failing_tile_is_an_error(run):
    @fused.udf
    def udf(bounds: fused.types.Tile):
        raise ValueError("no such tile here")

    with pytest.raises(fused.types.UdfRuntimeError, match="no such tile here"):
        run(udf, x=2, y=1, z=2)
