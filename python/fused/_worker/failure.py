"""What a run's end by an exception looks like to its caller: class, message, the user's own lines."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from typing import Any

MESSAGE_CHARACTERS_MAX = 64 << 10
TRACEBACK_CHARACTERS_MAX = 256 << 10

# Where the package to install has another name than the module.
_PACKAGES = {
    "Bio": "biopython", "Crypto": "pycryptodome", "OpenSSL": "pyOpenSSL", "PIL": "pillow", "attr": "attrs",
    "bs4": "beautifulsoup4", "cv2": "opencv-python-headless", "dateutil": "python-dateutil", "docx": "python-docx",
    "dotenv": "python-dotenv", "ee": "earthengine-api", "fitz": "PyMuPDF", "git": "GitPython",
    "google": "google-cloud-storage",
    "jose": "python-jose", "jwt": "PyJWT", "kneed": "kneed", "magic": "python-magic", "mpl_toolkits": "matplotlib",
    "osgeo": "GDAL", "pptx": "python-pptx", "psycopg2": "psycopg2-binary", "rio_tiler": "rio-tiler",
    "shapefile": "pyshp",
    "skimage": "scikit-image", "sklearn": "scikit-learn", "slugify": "python-slugify", "yaml": "PyYAML", "zmq": "pyzmq",
}  # fmt: skip


def shorten(text: str, characters: int) -> str:
    """Head and tail of a long text; what is left out is counted."""
    if len(text) <= characters:
        return text
    half = characters // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"


def message_of(error: BaseException) -> str:
    """``str(error)``, also of exceptions whose own ``__str__`` fails."""
    try:
        return shorten(str(error), MESSAGE_CHARACTERS_MAX)
    except BaseException as inner:
        return f"<{type(error).__name__}, whose text raised {type(inner).__name__}>"


def missing_import(error: ImportError) -> str:
    """What to install for a module that is not there."""
    name = error.name or ""
    root = name.partition(".")[0]
    if not root or root in sys.modules or _is_there(root):
        return message_of(error)
    package = _PACKAGES.get(root, root.replace("_", "-"))
    return f"{message_of(error)}. It is not installed where the server runs: `pip install {package}` there"


def _is_there(root: str) -> bool:
    try:
        return importlib.util.find_spec(root) is not None
    except (ImportError, ValueError, AttributeError):
        return False


def describe(error: BaseException, filename: str, own_files: frozenset[str]) -> dict[str, Any]:
    """The ``error`` of a result: class, message, traceback and line; of the traceback only the user's frames stay.

    ``filename`` is the function's own file, whose last line is ``line``; ``own_files`` are that and its header modules.
    """
    line = _last_line(error, filename, own_files)
    try:
        shown = traceback.TracebackException(type(error), error, error.__traceback__, compact=True)
        _keep_user_frames(shown, own_files, set())
        text = "".join(shown.format())
    except BaseException:  # a hostile __str__, __cause__ or __notes__, or no memory left for it
        text = f"{type(error).__name__}: {message_of(error)}\n"
    message = missing_import(error) if isinstance(error, ModuleNotFoundError) else message_of(error)
    return {
        "class": type(error).__name__,
        "message": message,
        "traceback": shorten(text, TRACEBACK_CHARACTERS_MAX),
        "line": line,
    }


def _last_line(error: BaseException, filename: str, own_files: frozenset[str]) -> int | None:
    if isinstance(error, SyntaxError) and error.filename in own_files:
        return error.lineno
    in_file, elsewhere = None, None
    step = error.__traceback__
    while step is not None:
        name = step.tb_frame.f_code.co_filename
        if name == filename:
            in_file = step.tb_lineno
        elif name in own_files:
            elsewhere = step.tb_lineno
        step = step.tb_next
    return in_file if in_file is not None else elsewhere


def _keep_user_frames(shown: traceback.TracebackException, own_files: frozenset[str], seen: set[int]) -> None:
    if id(shown) in seen:
        return
    seen.add(id(shown))
    kept = [frame for frame in shown.stack if frame.filename in own_files]
    shown.stack[:] = kept
    for inner in (shown.__cause__, shown.__context__, *(shown.exceptions or ())):
        if inner is not None:
            _keep_user_frames(inner, own_files, seen)
