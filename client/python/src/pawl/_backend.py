"""Which handle this process uses: the C extension over libpawl, or the pure-Python client."""

import importlib
import os
from typing import Any, Tuple, Type

#: Why the extension is not there; "" when it is.
native_missing = ""

_native: Any = None
try:
    _native = importlib.import_module("pawl._native")
except ImportError as error:
    native_missing = str(error)


def handle_class(backend: str = "auto") -> Tuple[str, Type[Any]]:
    """The name and the class: "native" where it can be had, else "pure".

    @backend  "auto" (the environment's PAWL_BACKEND, else what there is), "native", "pure". Raises
    RuntimeError when "native" is asked for and is missing, ValueError for another word.
    """
    if backend == "auto":
        backend = os.environ.get("PAWL_BACKEND") or "auto"
    if backend not in ("auto", "native", "pure"):
        raise ValueError(f"backend {backend!r}: write 'auto', 'native' or 'pure'")
    if backend == "native" and _native is None:
        raise RuntimeError(f"pawl's extension is not installed here ({native_missing}); install a "
                           f"wheel with it, or libpawl-dev and build again")
    if backend != "pure" and _native is not None:
        return "native", _native.Handle
    pure: Any = importlib.import_module("pawl._pure")  # not loaded where it is not used
    return "pure", pure.Handle
