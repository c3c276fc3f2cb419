"""Arrays and pictures, read back by Pillow, numpy and rasterio."""

from __future__ import annotations

import io
import json
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import rasterio
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from fused._worker.encode import NoFormat, encode

FEW = settings(max_examples=100, deadline=None)


def encoded(value, name, *more, **others):
    return encode(value, [name, *more], format_from="query", **others)


def picture(value, name="png") -> np.ndarray:
    image = Image.open(io.BytesIO(bytes(encoded(value, name).body)))
    image.load()
    return np.asarray(image)


@dataclass
class Raster:
    pixels: np.ndarray
    dtypes: tuple[str, ...]
    tags: dict[str, str]
    crs: object
    bounds: tuple[float, ...]


def read_with_rasterio(body: bytes) -> Raster:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.MemoryFile(body) as memory, memory.open() as source:
            return Raster(source.read(), source.dtypes, source.tags(ns="fused"), source.crs, tuple(source.bounds))


def raster(value, *formats, **others) -> Raster:
    return read_with_rasterio(bytes(encoded(value, "tiff", *formats, **others).body))


# --- PNG

sides = st.integers(1, 40)


@FEW
@given(st.data())
def test_png_of_any_eight_bit_picture_is_lossless(data):
    channels = data.draw(st.sampled_from([None, 2, 3, 4]))
    shape = (data.draw(st.integers(5, 40)), data.draw(st.integers(5, 40)), *([channels] if channels else []))
    array = data.draw(hnp.arrays(np.uint8, shape))
    assert (picture(array) == array).all()
    if channels:
        assert (picture(array.transpose(2, 0, 1)) == array).all()  # bands first
        assert (picture(array[::-1, ::2]) == array[::-1, ::2]).all() or array[::-1, ::2].shape[1] < 5


@FEW
@given(hnp.arrays(np.uint16, st.tuples(sides, sides)))
def test_png_keeps_sixteen_bits(array):
    body = bytes(encoded(array, "png").body)
    assert body[24] == 16
    assert (np.asarray(Image.open(io.BytesIO(body))).astype(np.uint16) == array).all()


def test_png_of_sixteen_bit_colours_is_lossless():
    array = np.random.default_rng(0).integers(0, 65536, (9, 8, 3), dtype=np.uint16)
    back = read_with_rasterio(bytes(encoded(array, "png").body)).pixels
    assert (back.transpose(1, 2, 0) == array).all()


def test_smooth_and_noisy_pictures_come_back_and_smooth_ones_are_small():
    a, b = np.mgrid[0:256, 0:256]
    smooth = np.stack([a, b, (a + b) // 2], -1).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 4), dtype=np.uint8)
    for array in (smooth, noise, np.zeros((1, 1), np.uint8), np.full((300, 7), 9, np.uint8)):
        assert (picture(array) == array).all()
    assert len(encoded(smooth, "png").body) < 5_000


def test_a_palette_picture_keeps_its_palette_and_its_transparency():
    image = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4) % 5)
    image = image.convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9, 1, 2, 3])
    image.info["transparency"] = 1
    back = Image.open(io.BytesIO(bytes(encoded(image, "png").body)))
    assert back.mode == "P"
    assert (np.asarray(back) == np.asarray(image)).all()
    assert (np.asarray(back.convert("RGBA")) == np.asarray(image.convert("RGBA"))).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P", "CMYK", "YCbCr", "I;16", "F"])
def test_pictures_of_every_pillow_mode_are_png(mode):
    source = Image.fromarray((np.arange(192).reshape(8, 8, 3)).astype(np.uint8))
    image = source.convert("L").convert("I").convert("I;16") if mode == "I;16" else source.convert(mode)
    assert picture(image).shape[:2] == (8, 8)


# --- scaling


def test_integers_are_stretched_and_the_note_says_from_where():
    array = np.array([[-100, 0], [50, 300]], np.int32)
    result = encoded(array, "png")
    assert picture(array).tolist() == [[0, 64], [96, 255]]
    assert result.note == "-100 to 300 were scaled to 0 to 255"
    assert picture(np.full((2, 2), 7, np.int64)).tolist() == [[0, 0], [0, 0]]
    extreme = np.array([[-(2**63), 2**63 - 1]], np.int64)
    assert picture(extreme).tolist() == [[0, 255]]


def test_floats_from_0_to_1_are_brightness_and_others_are_stretched():
    assert picture(np.array([[0.0, 0.5], [1.0, 0.25]])).tolist() == [[0, 128], [255, 64]]
    assert encoded(np.eye(2), "png").note is None
    elevation = np.array([[1000.0, 1500.0], [2000.0, 1250.0]])
    assert picture(elevation).tolist() == [[0, 128], [255, 64]]
    assert "1000.0 to 2000.0" in encoded(elevation, "png").note


def test_missing_values_are_transparent():
    array = np.array([[0.0, np.nan], [1.0, np.inf]])
    assert picture(array).tolist() == [[[0, 255], [0, 0]], [[255, 255], [0, 0]]]
    colours = np.zeros((5, 6, 3))
    colours[1, 2, 0] = np.nan
    assert picture(colours).shape == (5, 6, 4)
    assert picture(colours)[..., 3].min() == picture(colours)[1, 2, 3] == 0
    masked = np.ma.masked_array(np.full((2, 2), 9, np.uint8), mask=[[True, False], [False, False]])
    assert picture(masked)[..., 1].tolist() == [[0, 255], [255, 255]]
    assert picture(np.full((2, 2), np.nan))[..., 1].max() == 0


def test_booleans_are_black_and_white():
    assert picture(np.eye(2, dtype=bool)).tolist() == [[255, 0], [0, 255]]


def test_more_dimensions_are_cut_to_the_first_picture_and_the_note_says_so():
    array = np.random.default_rng(0).integers(0, 256, (2, 3, 6, 7, 3), dtype=np.uint8)
    assert (picture(array) == array[0, 0]).all()
    assert "5 dimensions" in encoded(array, "png").note


@pytest.mark.parametrize(
    "array", [np.zeros(3), np.zeros((0, 3)), np.zeros((7, 8, 9)), np.zeros((2, 2), complex), np.zeros((1, 0, 3, 4))]
)
def test_what_is_no_picture_is_refused_with_what_it_could_be(array):
    with pytest.raises(NoFormat) as refused:
        encoded(array, "png")
    assert "png" not in refused.value.possible
    assert str(list(array.shape)) in str(refused.value) or "complex" in str(refused.value)
    for name in refused.value.possible:
        assert encoded(array, name).format == name


def test_sides_have_a_limit():
    with pytest.raises(NoFormat, match="65535"):
        encoded(np.zeros((1, 70_000), np.uint8), "png")


# --- other pictures


def test_webp_is_lossless_and_jpeg_is_close():
    a, b = np.mgrid[0:64, 0:64]
    array = np.stack([a * 4, b * 4, (a + b) * 2], -1).astype(np.uint8)
    assert (picture(array, "webp") == array).all()
    assert np.abs(picture(array, "jpeg").astype(int) - array).mean() < 3
    with_alpha = np.dstack([array, np.full((64, 64), 128, np.uint8)])
    assert picture(with_alpha, "jpeg").shape == (64, 64, 3)
    assert "transparency" in encoded(with_alpha, "jpeg").note


@pytest.mark.parametrize("name", ["gif", "apng", "webp"])
def test_four_dimensions_are_played_as_frames(name):
    frames = np.zeros((3, 8, 9, 3), np.uint8)
    for at in range(3):
        frames[at, :, at * 3 : at * 3 + 3] = 255
    image = Image.open(io.BytesIO(bytes(encoded(frames, name).body)))
    assert image.n_frames == 3
    image.seek(2)
    assert (np.asarray(image.convert("RGB")) == frames[2]).all()


def test_svg_and_html_hold_the_picture():
    array = np.zeros((8, 9, 3), np.uint8)
    assert b'width="9" height="8"' in encoded(array, "svg").body
    assert b"data:image/png;base64," in encoded(array, "html").body


# --- npy

dtypes = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(),
    hnp.unsigned_integer_dtypes(),
    hnp.floating_dtypes(),
    hnp.complex_number_dtypes(),
    hnp.datetime64_dtypes(),
    hnp.timedelta64_dtypes(),
    hnp.byte_string_dtypes(min_len=1),
    hnp.unicode_string_dtypes(min_len=1),
)
shapes = hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4)


@FEW
@given(st.data())
def test_npy_of_any_array_is_what_numpy_wrote(data):
    array = data.draw(hnp.arrays(data.draw(dtypes), data.draw(shapes)))
    for variant in (array, np.asfortranarray(array), array[::2], array.T):
        back = np.load(io.BytesIO(bytes(encoded(variant, "npy").body)))
        assert back.dtype == variant.dtype
        assert back.shape == variant.shape
        assert back.tobytes() == variant.tobytes()


def test_npy_keeps_structured_types_and_its_data_is_aligned():
    array = np.array([(1, 2.5, "a")], dtype=[("i", "<i4"), ("f", "<f8", ()), ("s", "<U3")])
    body = bytes(encoded(array, "npy").body)
    assert (np.load(io.BytesIO(body)) == array).all()
    assert (len(body) - array.nbytes) % 64 == 0


def test_npy_of_python_objects_is_refused():
    with pytest.raises(NoFormat, match="pickle"):
        encoded(np.array([object()]), "npy")


# --- TIFF

TIFF_TYPES = [
    "uint8",
    "int8",
    "uint16",
    "int16",
    "uint32",
    "int32",
    "uint64",
    "int64",
    "float32",
    "float64",
    "complex64",
    "complex128",
    ">i4",
    ">f8",
]


@pytest.mark.parametrize("dtype", TIFF_TYPES)
def test_tiff_of_every_number_type_is_lossless(dtype):
    rng = np.random.default_rng(0)
    array = (
        (rng.random((3, 40, 50)) * 200 - 60).astype(dtype)
        if dtype[0] != "u"
        else rng.integers(0, 250, (3, 40, 50)).astype(dtype)
    )
    assert (raster(array).pixels == array).all()


@FEW
@given(st.data())
def test_tiff_of_any_pixels_is_lossless(data):
    dtype = data.draw(st.sampled_from([np.uint8, np.int16, np.uint32, np.float32, np.float64]))
    array = data.draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=12)))
    back = raster(array, "json").pixels
    assert back.tobytes() == np.ascontiguousarray(array).tobytes()


def test_tiff_tags_tell_the_client_what_the_value_was():
    source = raster((np.zeros((2, 4, 5), np.uint8), [1, 2, 3.5, 4]))
    tags = source.tags
    assert tags["orig_type"] == "numpy.ndarray"
    assert json.loads(tags["shape"]) == [2, 4, 5]
    assert json.loads(tags["bounds"]) == [1, 2, 3.5, 4]
    assert source.crs.to_epsg() == 4326
    assert source.bounds == (1, 2, 3.5, 4)
    data_array = raster(xr.DataArray(np.eye(3), dims=("y", "x"))).tags
    assert data_array["orig_type"] == "xarray.DataArray"
    dataset = raster(xr.Dataset({"<v>&": (("y", "x"), np.eye(3))})).tags
    assert (dataset["key"], dataset["orig_type"]) == ("<v>&", "xarray.Dataset")


def test_an_array_without_bounds_lies_on_the_world_or_its_tile_for_viewers_only():
    nowhere = raster(np.eye(3))
    assert nowhere.crs.to_epsg() == 4326
    assert nowhere.bounds == (-180, -90, 180, 90)
    assert "bounds" not in nowhere.tags  # a client gets the array back without bounds, as it was given
    tile = raster(np.eye(3), tile=(1, 0, 1))
    assert tile.bounds == pytest.approx((-180, -85.0511287798, 0, 0))


def test_channels_last_are_bands_for_viewers_and_stay_as_they_are_for_clients():
    array = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    assert (raster(array).pixels == array.transpose(2, 0, 1)).all()
    assert raster(array, "json").pixels.tobytes() == array.tobytes()
    for_older_client = encode(array, [], dtype_out={"vector": "parquet", "raster": "tiff"})
    assert read_with_rasterio(bytes(for_older_client.body)).pixels.tobytes() == array.tobytes()


def test_big_tiffs_have_many_strips_and_come_back():
    array = np.random.default_rng(0).integers(0, 9, (2, 700, 900), dtype=np.uint16)
    assert (raster(array).pixels == array).all()


def test_other_types_become_the_nearest_that_tiff_has():
    assert (raster(np.eye(3, dtype=bool)).pixels == np.eye(3)).all()
    assert raster(np.eye(3, dtype=np.float16)).dtypes == ("float32",)
    assert raster(np.arange(4.0)).pixels.tolist() == [[[0, 1, 2, 3]]]


# --- JSON


def test_arrays_are_nested_lists_in_json():
    assert json.loads(encoded(np.array([[1, 2], [3, 4]]), "json").body) == [[1, 2], [3, 4]]
    assert json.loads(encoded(np.array([1.5, np.nan, np.inf]), "json").body) == [1.5, None, None]
    assert json.loads(encoded(np.array(["2024-01-01", "NaT"], "M8[D]"), "json").body) == ["2024-01-01", None]
    assert json.loads(encoded((np.eye(2), [0, 0, 1, 1]), "json").body) == [[[1, 0], [0, 1]], [0, 0, 1, 1]]
    assert json.loads(encoded(np.array(5), "json").body) == 5
