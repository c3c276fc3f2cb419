"""Warnings of the SDK; filter them by class with ``warnings.filterwarnings``."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

_OURS = str(Path(__file__).parent) + "/"


class FusedWarning(UserWarning):
    """Every warning of ``fused`` is one of these."""


class FusedIgnoredWarning(FusedWarning):
    """Something given has no effect on the path that was chosen (the seed's "warnings are issued for ignored
    parameters").
    """


class FusedDeprecationWarning(FusedWarning):
    """An older spelling was used; the message names the newer one."""


class FusedTypeWarning(FusedWarning):
    """A result does not have the schema that the decorator states."""


class FusedVersionWarning(FusedWarning):
    """SDK and server are of different versions."""


class FusedInProgressWarning(FusedWarning):
    """What was asked for is not final yet: the job goes on."""


class FusedPathWarning(FusedWarning):
    """A path of this machine goes into a job that runs on another."""


def warn_caller(message: str, category: type[FusedWarning]) -> None:
    """Warns of the line outside of this package that led here, however deep inside it that was noticed."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
