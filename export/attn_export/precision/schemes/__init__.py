"""Precision schemes, one a file: put a file here and `--precision` takes its name. `_base.py` is the contract."""

from ._base import Scheme, get, names, scheme_of

__all__ = ["Scheme", "get", "names", "scheme_of"]
