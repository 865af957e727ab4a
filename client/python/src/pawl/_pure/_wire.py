"""Protobuf's encoding, as much of it as pawl's protocol has (protobuf.dev, "Encoding").

A message is a table of fields (the tables are in ``_tables``). :func:`read` makes a list of values
in the order of the table, :func:`write` takes one. Nothing here trusts a length: a field has a cap
on its bytes and on how often it may stand, and what is over it is refused before it is copied.
Nesting is as deep as the tables are, and none of them holds itself.

What a reader tolerates and refuses is said in proto/pawl/v1/COMPAT.md: unknown fields are skipped,
unknown words of an enumeration read as zero, of a field that stands twice the last one holds.
"""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

#: Wire types.
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5

#: Kinds of fields; those up to ENUM are varints.
U64, U32, BOOL, ENUM, FIXED, DATA, TEXT, MESSAGE, BODY, DATAS, MESSAGES, U64S, FIXEDS = range(13)

_WIRE_TYPES = {U64: VARINT, U32: VARINT, BOOL: VARINT, ENUM: VARINT, FIXED: FIXED64,
               U64S: VARINT, FIXEDS: FIXED64}
_ZEROS: Dict[int, Any] = {BOOL: False, DATA: b"", TEXT: "", MESSAGE: None, BODY: None, DATAS: (),
                          MESSAGES: (), U64S: (), FIXEDS: ()}
_MASK_32 = 0xFFFFFFFF
_LIST_MAX = 16384
_BYTES_MAX = 512

# One byte as bytes, for tags and small numbers.
_SMALL = tuple(bytes((value,)) for value in range(128))


class WireError(ValueError):
    """Bytes that are not pawl's protocol: cut short, over a cap, or no protobuf at all."""


class Field(NamedTuple):
    """A field of a message, as the makers below say it."""

    number: int
    kind: int
    maximum: int = 0  #: bytes of DATA, TEXT and DATAS; value of a number
    count_max: int = 0  #: of what is repeated
    message: Optional["Message"] = None
    words: Mapping[int, str] = {}  #: of ENUM when it is read
    once: bool = False  #: a second one is refused, not merged
    name: str = ""  #: for the error where a request's number does not fit


class Message:
    """A table of fields. Values are lists in the order of the table."""

    def __init__(self, *fields: Field) -> None:
        self.zeros: List[Any] = []
        self.numbers = frozenset(field.number for field in fields)
        self.by_tag: Dict[int, Tuple[int, int, Field]] = {}  #: place, kind, field
        self.writers: List[Tuple[int, bytes, Field]] = []
        for field in fields:
            bodies = [place for place, kind, _ in self.by_tag.values() if kind == BODY]
            if field.kind == BODY and bodies:  # all bodies share one place
                place = bodies[0]
            else:
                place = len(self.zeros)
                self.zeros.append(field.words[0] if field.kind == ENUM
                                  else _ZEROS.get(field.kind, 0))
            wire_type = _WIRE_TYPES.get(field.kind, LENGTH)
            self.by_tag[field.number << 3 | wire_type] = (place, field.kind, field)
            if field.kind in (U64S, FIXEDS):  # packed
                self.by_tag[field.number << 3 | LENGTH] = (place, field.kind, field)
            written = LENGTH if field.kind in (U64S, FIXEDS) else wire_type
            self.writers.append((field.kind, varint(field.number << 3 | written), field))


# ---- tables are made of these --------------------------------------------------------------------


def u64(number: int, name: str = "") -> Field:
    return Field(number, U64, (1 << 64) - 1, name=name)


def u32(number: int, name: str = "") -> Field:
    return Field(number, U32, _MASK_32, name=name)


def flag(number: int) -> Field:
    return Field(number, BOOL)


def word(number: int, words: Mapping[int, str]) -> Field:
    """An enumeration: read as its word, written as its number."""
    return Field(number, ENUM, _MASK_32, words=words)


def fixed(number: int) -> Field:
    return Field(number, FIXED, (1 << 64) - 1)


def data(number: int, bytes_max: int = _BYTES_MAX) -> Field:
    return Field(number, DATA, bytes_max)


def text(number: int, bytes_max: int = _BYTES_MAX) -> Field:
    return Field(number, TEXT, bytes_max)


def datas(number: int, bytes_max: int = _BYTES_MAX, count_max: int = _LIST_MAX) -> Field:
    return Field(number, DATAS, bytes_max, count_max)


def message(number: int, table: Message, once: bool = False) -> Field:
    return Field(number, MESSAGE, message=table, once=once)


def messages(number: int, table: Message, count_max: int = _LIST_MAX) -> Field:
    return Field(number, MESSAGES, 0, count_max, table)


def u64s(number: int, count_max: int = _LIST_MAX) -> Field:
    return Field(number, U64S, (1 << 64) - 1, count_max)


def fixeds(number: int, count_max: int = _LIST_MAX, name: str = "") -> Field:
    return Field(number, FIXEDS, (1 << 64) - 1, count_max, name=name)


def body(number: int, table: Message) -> Field:
    """One of the bodies of an envelope; its value is (number, values). The last one holds."""
    return Field(number, BODY, message=table)


# ---- text ----------------------------------------------------------------------------------------


def to_bytes(value: str) -> bytes:
    """As UTF-8. Raises ValueError where that cannot be."""
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{value!r}: a lone surrogate cannot be written as UTF-8") from None


def to_text(value: bytes) -> str:
    """Identifiers are UTF-8 where Python wrote them; bytes of others that are not are marked."""
    return value.decode("utf-8", "replace")


# ---- writing -------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    """@value is not negative."""
    if value < 128:
        return _SMALL[value]
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def sized(value: bytes) -> bytes:
    """Length and bytes."""
    size = len(value)
    return (_SMALL[size] if size < 128 else varint(size)) + value


def write(table: Message, values: Sequence[Any]) -> bytes:
    """The message with @values, in the order of the table; zeros are left out.

    Sub-messages are given as what this function made of them, None for none. Raises ValueError for
    a number that its field cannot hold.
    """
    out: List[bytes] = []
    for (kind, tag, field), value in zip(table.writers, values):
        if not value and (kind != MESSAGE or value is None):
            continue
        if kind <= ENUM:
            if kind != BOOL and not 0 <= value <= field.maximum:
                raise _out_of_range(field, value)
            out.append(tag + (_SMALL[value] if value < 128 else varint(value)))
        elif kind in (DATA, TEXT, MESSAGE):
            out.append(tag + sized(value))
        elif kind in (DATAS, MESSAGES):
            out += [tag + sized(part) for part in value]
        else:
            out.append(tag + sized(b"".join(_number(field, part) for part in value)))
    return b"".join(out)


def _out_of_range(field: Field, value: int) -> ValueError:
    return ValueError(f"{field.name}: {value} is out of range (0 to {field.maximum})")


def _number(field: Field, value: int) -> bytes:
    if not 0 <= value <= field.maximum:
        raise _out_of_range(field, value)
    return varint(value) if field.kind == U64S else value.to_bytes(8, "little")


# ---- reading -------------------------------------------------------------------------------------


def read(table: Message, message_bytes: bytes) -> List[Any]:
    """The values of a whole message. Raises :class:`WireError` and nothing else."""
    try:
        return _read(table, message_bytes, 0, len(message_bytes), None)
    except IndexError:
        raise WireError("cut short") from None


def _read(table: Message, source: bytes, at: int, end: int,
          values: Optional[List[Any]]) -> List[Any]:
    # A number may be read past @end, which lies before the end of @source; that is seen after it.
    if values is None:
        values = table.zeros[:]
    by_tag = table.by_tag
    while at < end:
        tag = source[at]
        at += 1
        if tag > 0x7F:
            tag, at = _long_varint(source, at - 1)
        known = by_tag.get(tag)
        if known is None:
            at = _skip(table, source, at, end, tag)
            continue
        place, kind, field = known
        if kind <= ENUM:  # most fields are: so it is done here, and not in a function
            value = source[at]
            at += 1
            if value > 0x7F:
                value, at = _long_varint(source, at - 1)
            if kind == U64:
                values[place] = value
            elif kind == BOOL:
                values[place] = value != 0
            elif kind == U32:  # low bits, as protobuf reads what was sent wider
                values[place] = value & _MASK_32
            else:
                values[place] = field.words.get(value & _MASK_32) or field.words[0]
            continue
        if tag & 7 != LENGTH:
            at = _read_number(source, at, values, place, field)
            continue
        size = source[at]
        at += 1
        if size > 0x7F:
            size, at = _long_varint(source, at - 1)
        stop = at + size
        if stop > end:
            raise WireError("a length beyond its message")
        _read_sized(source, at, stop, values, place, field)
        at = stop
    if at != end:
        raise WireError("a number beyond its message")
    return values


def _long_varint(source: bytes, at: int) -> Tuple[int, int]:
    value = shift = 0
    while shift < 70:
        byte = source[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                break
            return value, at
        shift += 7
    raise WireError("a number of more than 64 bits")


def _read_number(source: bytes, at: int, values: List[Any], place: int, field: Field) -> int:
    """One of a fixed size, or of a list."""
    if field.kind == U64S:
        value, at = _long_varint(source, at)
    else:
        value = int.from_bytes(source[at:at + 8], "little")
        at += 8
    if field.kind == FIXED:
        values[place] = value
    else:
        _append(values, place, field, value)
    return at


def _read_sized(source: bytes, at: int, stop: int, values: List[Any], place: int,
                field: Field) -> None:
    kind = field.kind
    if kind == DATA or kind == TEXT:
        if stop - at > field.maximum:
            raise WireError("a field over its cap")
        value = source[at:stop]
        values[place] = value if kind == DATA else to_text(value)
    elif kind == MESSAGES:
        assert field.message is not None
        _append(values, place, field, _read(field.message, source, at, stop, None))
    elif kind == MESSAGE:
        assert field.message is not None
        if field.once and values[place] is not None:
            raise WireError("a message twice that stands once")
        values[place] = _read(field.message, source, at, stop, values[place])
    elif kind == BODY:
        assert field.message is not None
        before = values[place]
        same = before[1] if before is not None and before[0] == field.number else None
        values[place] = (field.number, _read(field.message, source, at, stop, same))
    elif kind == DATAS:
        if stop - at > field.maximum:
            raise WireError("a field over its cap")
        _append(values, place, field, source[at:stop])
    else:
        _read_packed(source, at, stop, values, place, field)


def _read_packed(source: bytes, at: int, stop: int, values: List[Any], place: int,
                 field: Field) -> None:
    while at < stop:
        at = _read_number(source, at, values, place, field)
    if at != stop:
        raise WireError("a number beyond its list")


def _append(values: List[Any], place: int, field: Field, value: Any) -> None:
    if not values[place]:
        values[place] = []
    if len(values[place]) >= field.count_max:
        raise WireError("a list over its cap")
    values[place].append(value)


def _skip(table: Message, source: bytes, at: int, end: int, tag: int) -> int:
    """Pass over a field that the table does not know."""
    wire_type = tag & 7
    if not 0 < tag >> 3 < 1 << 29:
        raise WireError("not a field")
    if tag >> 3 in table.numbers:
        raise WireError("a known field of another type")
    if wire_type == VARINT:
        return _long_varint(source, at)[1]
    if wire_type == FIXED64:
        at += 8
    elif wire_type == FIXED32:
        at += 4
    elif wire_type == LENGTH:
        size, at = _long_varint(source, at)
        at += size
    else:
        raise WireError("a group, or no protobuf")
    if at > end:
        raise WireError("a length beyond its message")
    return at
