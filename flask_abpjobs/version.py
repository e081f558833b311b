"""The version of this package, said once, in its metadata."""

from importlib.metadata import PackageNotFoundError, version
from typing import Final


def _installed() -> str:
    try:
        return version("Flask-AbpJobs")
    except PackageNotFoundError:  # used from a checkout that is not installed
        return "0"


__version__: Final = _installed()
