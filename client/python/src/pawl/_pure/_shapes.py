"""Types of what comes in: each field of a request is of the type that pawl._types says.

A wrong one would otherwise be found deep in the encoding, or not at all: a str is a sequence, too.
"""

import itertools
import typing
from typing import Any, Dict, FrozenSet, Tuple, Type

from .. import _types

_WORDS = {int: "an int", str: "a str", bytes: "bytes", bool: "a bool", tuple: "a tuple"}


def _alternatives(hint: Any) -> Tuple[type, ...]:
    """The types of a hint: of Optional[Token] Token and that of None."""
    if typing.get_origin(hint) is typing.Union:
        return tuple(typing.get_args(hint))
    return (typing.get_origin(hint) or hint,)


class _Shape:
    """The types that the fields of one class may have."""

    def __init__(self, kind: Type[Any]) -> None:
        hints = typing.get_type_hints(kind)
        self.fields = {name: _alternatives(hints[name]) for name in kind._fields}
        #: All sequences of exactly these types, for one look instead of many.
        self.exact: FrozenSet[Tuple[type, ...]] = frozenset(
            itertools.product(*self.fields.values()))


_SHAPES: Dict[Type[Any], _Shape] = {
    kind: _Shape(kind) for name, kind in vars(_types).items()
    if isinstance(kind, type) and hasattr(kind, "_fields") and not name.endswith("Answer")}


def _wrong(name: str, wanted: Tuple[type, ...], value: Any) -> TypeError:
    words = " or ".join(_WORDS.get(one, repr(one)) for one in wanted)
    return TypeError(f"{name}: {words} is wanted, not {type(value)!r}")


def expect(value: Any, kind: Type[Any], name: str) -> None:
    """Raise TypeError where @value is not a @kind, or a field of it is of another type."""
    shape = _SHAPES.get(kind)
    if shape is not None and type(value) is kind and tuple(map(type, value)) in shape.exact:
        return
    if not isinstance(value, kind):
        raise _wrong(name, (kind,), value)
    if shape is not None:
        prefix = "" if name == "request" else f"{name}."
        for (field, wanted), one in zip(shape.fields.items(), value):
            if not isinstance(one, wanted):
                raise _wrong(prefix + field, wanted, one)
