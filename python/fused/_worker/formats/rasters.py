"""Arrays and images: numpy, xarray, Pillow, (array, bounds) pairs."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import _native
from . import values
from .base import (
    CONTENT_TYPES,
    Encoded,
    NotSerialisable,
    Request,
    ResultTooLarge,
    Unsuited,
    remembered_by_type,
    type_name,
)

FORMATS = ("png", "tiff", "npy", "jpeg", "webp", "gif", "apng", "svg", "html", "json")
_PILLOW = {"jpeg": "JPEG", "webp": "WEBP", "gif": "GIF"}
_CONVERTED_PIXELS_MAX = 64 << 20
_WORLD = [-180.0, -90.0, 180.0, 90.0]  # where an array lies of which nothing is said, as in the hosted product
_TIFF_FORMATS = {"u": 1, "i": 2, "f": 3, "c": 6}


@dataclass(slots=True)
class Raster:
    array: Any
    bounds: list[float] | None = None
    orig_type: str = "numpy.ndarray"
    key: str | None = None
    image: Any = None  # the PIL image it came from


@remembered_by_type
def family(kind: type) -> str | None:
    for base in kind.__mro__:
        package = base.__module__.partition(".")[0]
        if package == "numpy" and base.__name__ == "ndarray":
            return "numpy"
        if package == "xarray" and base.__name__ in ("DataArray", "Dataset"):
            return "xarray"
        if package == "PIL" and base.__name__ == "Image":
            return "pillow"
    return None


def is_raster(value: Any) -> bool:
    if type(value) is tuple:
        return _is_pair(value)
    return family(type(value)) is not None


def _is_pair(value: tuple[Any, ...]) -> bool:
    """(array, [minx, miny, maxx, maxy])."""
    if len(value) != 2 or family(type(value[0])) is None:
        return False
    bounds = value[1]
    if not hasattr(bounds, "__len__") or len(bounds) != 4 or isinstance(bounds, str | bytes | dict):
        return False
    try:
        return all(np.isfinite(float(edge)) for edge in bounds)
    except (TypeError, ValueError):
        return False


def several_variables(value: Any) -> dict[str, Any] | None:
    """The variables of an xarray Dataset that has more than one: it travels as an archive."""
    if family(type(value)) == "xarray" and type(value).__name__ == "Dataset" and len(value.data_vars) != 1:
        return {str(name): array for name, array in value.data_vars.items()}
    return None


def to_raster(value: Any) -> Raster:
    if type(value) is tuple:
        raster = to_raster(value[0])
        raster.bounds = [float(edge) for edge in value[1]]
        return raster
    which = family(type(value))
    if which == "numpy":
        return Raster(value)
    if which == "pillow":
        return Raster(_pillow_array(value), image=value)
    if type(value).__name__ == "Dataset":
        (name,) = value.data_vars
        return Raster(value[name].values, orig_type="xarray.Dataset", key=str(name))
    return Raster(value.values, orig_type="xarray.DataArray")


def _pillow_array(image: Any) -> Any:
    if image.mode in ("P", "PA", "CMYK", "YCbCr", "LAB", "HSV", "RGBX", "RGBa", "La"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return np.asarray(image)


def is_lossless(raster: Raster, name: str) -> bool:
    """Does the format give back the same value: array, type, bounds. Lists of formats prefer one that does."""
    if name == "npy":
        return raster.bounds is None and raster.orig_type == "numpy.ndarray"
    return name == "tiff"


def possible(raster: Raster) -> list[str]:
    array = raster.array
    names = []
    if array.dtype.kind in "buif" and array.ndim >= 2 and array.size and (array.ndim > 2 or min(array.shape) > 0):
        try:
            _channels_last(_three_dimensions(array))
            names += ["png", "jpeg", "webp", "gif", "apng", "svg", "html"]
        except Unsuited:
            pass
    if array.dtype.kind in "buifc" and array.ndim and array.size:
        names.append("tiff")
    if not array.dtype.hasobject:
        names.append("npy")
    return [*names, "json"]


def encode(raster: Raster, name: str, request: Request) -> Encoded:
    array = raster.array
    note = None
    try:
        if name == "npy":
            body = _npy(array)
        elif name == "tiff":
            body = _tiff(raster, request)
        elif name == "png":
            body, note = _png(raster)
        elif name == "json":
            body = values.dumps(array if raster.bounds is None else [array, raster.bounds])
        elif name in ("svg", "html"):
            body, note = _embedded(raster, name)
        else:
            body, note = _pillow(raster, name)
    except _native.EncodeError as error:
        kind, message = error.args
        if kind == "too_large":
            raise ResultTooLarge(message) from None
        if kind == "not_acceptable":
            raise Unsuited(message) from None
        raise NotSerialisable(f"cannot write the {type_name(array)} as {name}: {message}") from None
    rows = int(array.shape[0]) if array.ndim else None
    return Encoded(CONTENT_TYPES[name], name, body, rows=rows, schema=f"{array.dtype}{list(array.shape)}", note=note)


def _filled(array: Any) -> Any:
    """Masked cells as NaN; whole numbers have no value that says "nothing here"."""
    if not isinstance(array, np.ma.MaskedArray):
        return array
    if array.dtype.kind in "fc":
        return array.filled(np.nan)
    if np.ma.getmaskarray(array).any():
        raise Unsuited(f"masked cells of {array.dtype} have no value here; use json or png, floats, or .filled(value)")
    return array.data


def _npy(array: Any) -> Any:
    array = _filled(array)
    if array.dtype.hasobject:
        raise Unsuited("an array of Python objects has no npy form without pickle; give it a dtype")
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    if not fortran:
        array = np.ascontiguousarray(array).reshape(array.shape)
    descr = repr(np.lib.format.dtype_to_descr(array.dtype))
    flat = (array.T if fortran else array).reshape(-1)
    raw = flat.view(np.uint8) if array.dtype.itemsize and array.size else b""
    return _native.encode_npy(raw, descr, fortran, list(array.shape))


def _place(raster: Raster, request: Request) -> list[float]:
    """The box for GeoTIFF's own keys; the ``bounds`` tag, which clients read back, is written only for given bounds."""
    if raster.bounds is not None:
        return raster.bounds
    return list(_native.tile_bounds(*request.tile)) if request.tile is not None else _WORLD


def _tiff(raster: Raster, request: Request) -> Any:
    """Height and width are the last two axes, which keeps any array as it is; for viewers channels become bands."""
    array = raster.array
    for_viewers = not (request.is_preference_list or request.for_client)
    if for_viewers and array.ndim == 3 and array.shape[2] in (3, 4) and array.shape[0] > 4:
        array = array.transpose(2, 0, 1)
    shape = [int(side) for side in array.shape]
    array = _filled(array)
    if array.dtype.kind == "b":
        array = array.view(np.uint8)
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    if array.dtype.kind not in _TIFF_FORMATS or array.dtype.itemsize > 16 or array.size == 0:
        raise Unsuited(f"TIFF has no form for an array of {raster.array.dtype} with shape {list(raster.array.shape)}")
    if array.dtype.kind in "fc" and array.dtype.itemsize not in (4, 8) and array.dtype != np.complex128:
        array = array.astype(np.float64 if array.dtype.kind == "f" else np.complex128)
    height, width = (1, 1, *array.shape)[-2:]
    bands = array.size // (height * width)
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    tags = [("orig_type", raster.orig_type), ("shape", json.dumps(shape))]
    if raster.bounds is not None:
        tags.append(("bounds", json.dumps(raster.bounds)))
    if raster.key is not None:
        tags.append(("key", raster.key))
    raw = array.reshape(-1).view(np.uint8)
    box = _place(raster, request)
    return _native.encode_tiff(
        raw, bands, height, width, array.dtype.itemsize, _TIFF_FORMATS[array.dtype.kind], tags, box
    )


# --- pictures


def _png(raster: Raster) -> tuple[Any, str | None]:
    image = raster.image
    if image is not None and image.mode == "P":
        return _native.encode_png(np.asarray(image), _palette(image)), None
    array = raster.array
    if (
        array.dtype == np.uint8
        and array.ndim == 3
        and 1 <= array.shape[2] <= 4
        and array.shape[0] > 4
        and type(array) is np.ndarray
    ):
        return _native.encode_png(array), None  # the hot path: no questions left
    pixels, note = to_pixels(array, keep_16=True)
    return _native.encode_png(pixels), note


def _palette(image: Any) -> bytes:
    colours = image.getpalette("RGBA")
    transparent = image.info.get("transparency")
    out = bytearray(colours)
    if isinstance(transparent, int) and transparent * 4 + 3 < len(out):
        out[transparent * 4 + 3] = 0
    elif isinstance(transparent, bytes):
        for at, alpha in enumerate(transparent[: len(out) // 4]):
            out[at * 4 + 3] = alpha
    used = int(np.asarray(image).max(initial=0)) + 1
    out.extend(b"\x00\x00\x00\xff" * (used - len(out) // 4))
    return bytes(out)


def to_pixels(array: Any, keep_16: bool) -> tuple[Any, str | None]:
    """(height, width) or (height, width, 1–4) of uint8 (or uint16), and what was changed on the way."""
    note: str | None = None
    if array.ndim > 3:
        note = f"an array of {array.ndim} dimensions was cut to its first image"
    array = _channels_last(_three_dimensions(array))
    hidden = None
    if isinstance(array, np.ma.MaskedArray):
        hidden = np.ma.getmaskarray(array)
        array = array.data if array.dtype.kind != "f" else array.filled(np.nan)
    kind = array.dtype.kind
    if kind == "b":
        array = array.view(np.uint8) * np.uint8(255)
    elif array.dtype == np.uint8 or (keep_16 and array.dtype == np.uint16):
        pass
    elif kind in "ui":
        array, change = _stretched(array, hidden)
        note = _joined(note, change)
    elif kind == "f":
        missing = ~np.isfinite(array)
        hidden = missing if hidden is None else hidden | missing
        array, maybe_change = _from_float(array, hidden)
        note = _joined(note, maybe_change)
    else:
        raise Unsuited(f"an array of {array.dtype} is no picture; use npy, tiff or json")
    if hidden is not None and hidden.any():
        array = _with_alpha(array, hidden.any(axis=2) if hidden.ndim == 3 else hidden)
    return np.asarray(array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))), note


def _joined(first: str | None, second: str | None) -> str | None:
    return "; ".join(part for part in (first, second) if part) or None


def _three_dimensions(array: Any) -> Any:
    if array.ndim < 2 or 0 in array.shape:
        raise Unsuited(f"an array of shape {list(array.shape)} is no picture; it needs a height and a width")
    return array[(0,) * max(0, array.ndim - 3)]


def _channels_last(array: Any) -> Any:
    """Bands first (as rasterio reads) or last (as Pillow has it); where both could be, bands come first."""
    if array.ndim == 2:
        return array
    if array.shape[0] in (1, 2, 3, 4) and (array.shape[2] not in (1, 2, 3, 4) or array.shape[0] in (1, 3)):
        array = array.transpose(1, 2, 0)
    elif array.shape[2] not in (1, 2, 3, 4):
        raise Unsuited(
            f"an array of shape {list(array.shape)} has no axis of 1 to 4 channels, first or last; choose bands or tiff"
        )
    return array[..., 0] if array.shape[2] == 1 else array


def _stretched(array: Any, hidden: Any) -> tuple[Any, str]:
    """Smallest visible value to 0, largest to 255."""
    seen = array if hidden is None else array[~hidden]
    if seen.size == 0:
        return np.zeros(array.shape, np.uint8), "no finite value"
    low, high = seen.min(), seen.max()
    wide = np.float64 if array.dtype.itemsize > 2 else np.float32
    span = float(high) - float(low)
    if span == 0 or not np.isfinite(span):
        return np.zeros(array.shape, np.uint8), f"all values are {low}"
    with np.errstate(all="ignore"):
        scaled = (array.astype(wide) - wide(low)) * wide(255 / span)
        if hidden is not None:
            scaled = np.where(hidden, 0, scaled)
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8), f"{low} to {high} were scaled to 0 to 255"


def _from_float(array: Any, hidden: Any) -> tuple[Any, str | None]:
    """0 to 1 becomes 0 to 255; what goes beyond is stretched from its smallest to its largest value."""
    seen = array[~hidden] if hidden.any() else array
    if seen.size and (seen.min() < 0 or seen.max() > 1):
        return _stretched(array, hidden)
    with np.errstate(all="ignore"):
        scaled = np.where(hidden, 0, np.rint(array * 255))
    return scaled.astype(np.uint8), None


def _with_alpha(array: Any, hidden: Any) -> Any:
    top = np.iinfo(array.dtype).max
    if array.ndim == 3 and array.shape[2] in (2, 4):
        array = array.copy()
        array[..., -1][hidden] = 0
        return array
    colour = array if array.ndim == 3 else array[..., None]
    alpha = np.where(hidden, 0, top).astype(array.dtype)[..., None]
    return np.concatenate([colour, alpha], axis=2)


def _images(raster: Raster, animated: bool) -> tuple[list[Any], str | None]:
    image_module = _pillow_module()
    array = raster.array
    if not animated or array.ndim != 4:
        pixels, note = to_pixels(array, keep_16=False)
        return [image_module.fromarray(np.ascontiguousarray(pixels))], note
    frames = [to_pixels(frame, keep_16=False) for frame in array]
    return [image_module.fromarray(np.ascontiguousarray(pixels)) for pixels, _ in frames], frames[0][
        1
    ] if frames else None


def _pillow_module() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise Unsuited("jpeg, webp, gif and apng need the package Pillow, which is not installed") from None
    return Image


def _pillow(raster: Raster, name: str) -> tuple[bytes, str | None]:
    image = raster.image
    if image is not None and name in ("gif", "webp") and getattr(image, "n_frames", 1) > 1:
        out = io.BytesIO()
        image.save(out, _PILLOW[name], save_all=True)
        return out.getvalue(), None
    images, note = _images(raster, animated=name in ("gif", "apng", "webp"))
    if not images:
        raise Unsuited(f"an array of shape {list(raster.array.shape)} holds no picture")
    first = images[0]
    if name == "jpeg":
        if first.mode in ("RGBA", "LA"):
            first = first.convert("RGB" if first.mode == "RGBA" else "L")
            note = _joined(note, "JPEG has no transparency; it was dropped")
        if max(first.size) > 65_500:
            raise Unsuited(f"JPEG sides have at most 65500 pixels; this picture has {first.size}")
    if name == "webp" and max(first.size) > 16_383:
        raise Unsuited(f"WebP sides have at most 16383 pixels; this picture has {first.size}")
    if name == "gif" and max(first.size) > 65_535:
        raise Unsuited(f"GIF sides have at most 65535 pixels; this picture has {first.size}")
    options: dict[str, Any] = {"quality": 90} if name == "jpeg" else {"lossless": True} if name == "webp" else {}
    if len(images) > 1:
        options |= {"save_all": True, "append_images": images[1:], "duration": 100, "loop": 0}
    out = io.BytesIO()
    first.save(out, _PILLOW.get(name, "PNG"), **options)
    return out.getvalue(), note


def _embedded(raster: Raster, name: str) -> tuple[bytes, str | None]:
    png, note = _png(raster)
    data = base64.b64encode(png).decode()
    if name == "html":
        from .documents import PAGE

        return PAGE.format(f'<img alt="result" src="data:image/png;base64,{data}">').encode(), note
    width, height = (int.from_bytes(bytes(png[at : at + 4]), "big") for at in (16, 20))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        f'<image width="{width}" height="{height}" href="data:image/png;base64,{data}"/></svg>'
    ).encode(), note


def from_bytes(data: bytes, name: str, request: Request) -> Encoded:
    """Image bytes in another image format."""
    try:
        image = _pillow_module().open(io.BytesIO(data))
        if image.width * image.height > _CONVERTED_PIXELS_MAX:
            raise Unsuited(
                f"a picture of {image.width} × {image.height} pixels is not converted; ask for its own format"
            )
        raster = to_raster(image)
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for broken files
        raise Unsuited(f"the bytes begin like a picture but cannot be read: {error}") from None
    return encode(raster, name, request)
