#!/usr/bin/env python3
"""Write the seeds of the wire fuzzers: messages with each field, each body, and each way to be bad.

    tests/fuzz/make_corpus.py FOLDER

fills FOLDER/frame, FOLDER/hot and FOLDER/cold. The kept corpus under tests/fuzz/corpus is these,
grown by a run and minimised:

    fuzz_hot -merge=1 tests/fuzz/corpus/hot FOLDER/hot SCRATCH/hot

Only Python's standard library: the encoder below is a third one, beside pawl's and protobuf-c's.
"""
import pathlib
import struct
import sys


def varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def number(field, value):
    return varint(field << 3) + varint(value)


def fixed64(field, value):
    return varint(field << 3 | 1) + struct.pack("<Q", value)


def data(field, value):
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value


def message(field, *parts):
    return data(field, b"".join(parts))


RATE = number(1, 100) + number(2, 60000) + number(3, 1)
ITEM = (data(1, "api") + data(2, "user") + data(2, "") + number(3, 5) + data(4, RATE)
        + number(5, 64) + number(6, 1) + data(7, "gold"))
TOKEN = (b"".join(data(i, "claim%d" % i) for i in range(1, 7)) + number(7, 1700000000)
         + number(8, 1700003600) + data(9, b"\1" * 32) + data(10, b"\2" * 32) + data(11, "a.b.c")
         + data(12, "aud") + data(13, "at+jwt"))
HELLO = (number(1, 1) + number(2, 1) + number(3, 1) + data(4, b"b" * 16) + data(5, "tenant")
         + data(6, "id") + data(7, "secret") + data(8, "test 1"))
ENVELOPE = (number(1, 123456) + number(2, 20) + data(3, "default") + number(4, 1700000000000)
            + data(5, HELLO) + number(6, 1) + number(7, 3))
RESULT = (b"".join(number(i, 100 ** i % (1 << 32)) for i in range(1, 10)) + number(10, 1)
          + number(11, 1) + number(12, 1) + fixed64(13, 2 ** 64 - 1) + number(14, 1)
          + number(15, 1) + number(16, 3))
VERDICT = (number(1, 2) + number(2, 3) + number(3, 4) + number(4, 1) + number(5, 1500)
           + data(6, "why") + data(7, TOKEN))
FACT_ID = data(1, b"o" * 16) + number(2, 9)
HELLO_REPLY = (number(1, 1) + number(2, 0) + data(3, "pawld") + data(4, b"n" * 16)
               + data(5, b"b" * 16) + number(6, 65536) + number(7, 1024) + data(8, bytes([1, 2]))
               + number(8, 3) + data(9, b"k" * 16))
LIMIT_INFO = (data(1, "api") + data(2, RATE) + number(3, 64) + number(4, 1) + number(5, 1)
              + number(6, 1) + data(7, "overflow") + data(8, "default"))

REQUESTS = {
    "check": message(16, data(1, ITEM), data(1, data(2, "k")), number(2, 1), number(3, 1),
                     data(4, TOKEN)),
    "token_check": message(17, data(1, TOKEN)),
    "refund": message(18, message(1, data(1, "api"), data(2, "k"), number(3, 1), data(4, RATE),
                                  fixed64(5, 7), data(5, struct.pack("<QQ", 1, 2)))),
    "reset": message(19, data(1, "api"), data(2, "k"), data(3, RATE)),
    "revoke": message(20, number(1, 1), data(2, "iss"), data(3, "jti"), number(4, 1), number(5, 2),
                      number(6, 2), data(7, "admin"), number(8, 2), data(9, "a.b.c")),
    "unrevoke": message(21, data(1, FACT_ID), data(2, "admin"), number(3, 1)),
    "rotate": message(22, data(1, TOKEN), number(2, 4), number(3, 1), data(4, "next"),
                      number(5, 5), number(6, 6), data(7, b"h" * 32), number(8, 1000),
                      number(9, 1), number(10, 1), number(11, 1), data(12, "r"), number(13, 2)),
    "family_open": message(23, data(1, "iss"), data(2, "sub"), data(3, "cli"), data(4, b"h" * 32),
                           data(5, "jti"), number(6, 1), number(7, 2), number(8, 2)),
    "family_end": message(24, data(1, "iss"), data(2, "sid"), number(3, 2), data(4, "admin"),
                          number(5, 1), number(6, 9)),
    "watch": message(25, data(1, FACT_ID), number(2, 1)),
    "view": message(26),
    "stats": message(27, data(1, "checks")),
    "limits": message(28, data(1, "api"), data(2, "b")),
    "thaw": message(29, number(1, 5), data(2, "admin")),
    "ping": message(30),
}

REPLIES = {
    "check": message(16, number(1, 1), data(2, RESULT), data(2, b""), data(3, VERDICT)),
    "token_check": message(17, VERDICT),
    "refund": message(18, data(1, bytes([1, 2])), number(1, 3)),
    "reset": message(19, number(1, 1)),
    "revoke": message(20, number(1, 2), number(2, 2), data(3, FACT_ID), number(4, 9)),
    "unrevoke": message(21, number(1, 1), number(2, 1), data(3, FACT_ID)),
    "rotate": message(22, number(1, 1), number(2, 2), number(3, 3), data(4, "n"), number(5, 4),
                      number(6, 5), data(7, "sid"), number(8, 1), number(9, 7), number(10, 8),
                      number(11, 9), data(12, "sub")),
    "family_open": message(23, data(1, "sid"), number(2, 1), number(3, 2), number(4, 3)),
    "family_end": message(24, number(1, 1)),
    "watch": message(25, data(1, "fact"), number(2, 1), number(3, 1)),
    "view": message(26, number(1, 4), message(2, data(1, b"n" * 16), data(2, "tls:h:1"),
                                              number(3, 4), data(4, "live"), number(5, 60),
                                              data(6, "0.1"))),
    "stats": message(27, message(1, data(1, "x_total"), number(2, 3), data(3, "w"), number(4, 1))),
    "limits": message(28, data(1, LIMIT_INFO), number(2, 1)),
    "thaw": message(29, number(1, 1), number(2, 2), number(3, 3), data(4, "pawl.db.bad")),
    "ping": message(30),
}

REPLY_HEAD = number(1, 123456) + number(2, 1)
REPLY_ENVELOPE = REPLY_HEAD + data(3, "why") + data(4, HELLO_REPLY)
UNKNOWN = number(1000, 1) + fixed64(1000, 1) + data(1000, "x") + varint(1000 << 3 | 5) + b"1234"
ZERO_10 = b"\x80" * 9

BAD = {  # behind a message's own fields, or alone
    "cut_tag": b"\x80",
    "cut_varint": b"\x08\x80",
    "cut_length": b"\x1a\x05a",
    "group": b"\x0b\x0c",
    "type_7": b"\x0f",
    "number_0": b"\x02\x00",
    "number_0_long": b"\x80\x00\x00",
    "tag_6_bytes": b"\x88\x80\x80\x80\x80\x00\x01",
    "tag_over_32_bits": b"\x88\x80\x80\x80\x10\x01",
    "varint_65_bits": b"\x08" + ZERO_10 + b"\x02",
    "varint_11_bytes": b"\x08" + b"\x80" * 10 + b"\x00",
    "length_over_32_bits": b"\x1a\x81\x80\x80\x80\x10a",
    "length_max": b"\x1a\xff\xff\xff\xff\x0f",
    "length_6_bytes": b"\x1a\x80\x80\x80\x80\x80\x00",
    "bool_fixed32": b"\x35\x01\x02\x03\x04",
    "bool_fixed64": b"\x31\x01\x02\x03\x04\x05\x06\x07\x08",
    "wrong_type": b"\x0a\x01a",
    "cut_fixed64": varint(1000 << 3 | 1) + b"1234567",
    "cut_fixed32": varint(1000 << 3 | 5) + b"123",
    "padded": b"\x88\x80\x00\x85\x80\x00\x9a\x00\x81\x00a",
}


def hot_requests():
    yield "empty_check", message(16)
    yield "id_only", number(1, 5)
    yield "later_body", number(1, 5) + data(31, "later")
    yield "not_a_body", number(1, 5) + data(128, "x") + number(31, 1)
    yield "check_twice", REQUESTS["check"] * 2
    yield "token_twice", message(17, data(1, data(2, "a") + number(7, 1)), data(1, data(3, "b")))
    yield "bodies", REQUESTS["check"] + REQUESTS["token_check"] + REQUESTS["ping"]
    yield "bodies_back", REQUESTS["ping"] + REQUESTS["token_check"] + REQUESTS["check"]
    yield "hello_twice", data(5, HELLO) + data(5, HELLO) + message(16)
    yield "hello_bad", data(5, b"\x0f") + message(16)
    yield "cold_bad", data(20, b"\x0f")
    yield "op_unknown", message(16, number(2, 9))
    yield "namespace_64", data(3, b"n" * 64) + message(16)
    yield "namespace_65", data(3, b"n" * 65) + number(1, 4) + message(16)
    yield "namespace_65_then_1", data(3, b"n" * 65) + data(3, "n") + message(16)
    yield "key_1024", message(16, message(1, data(2, b"k" * 1024)))
    yield "key_1025", message(16, message(1, data(2, b"k" * 1025)))
    yield "keys_8", message(16, message(1, *[data(2, "k")] * 8))
    yield "keys_9", message(16, message(1, *[data(2, "k")] * 9))
    yield "rates_8", message(16, message(1, *[data(4, RATE)] * 8))
    yield "rates_9", message(16, message(1, *[data(4, RATE)] * 9))
    yield "rates_64", message(16, *[message(1, *[data(4, b"")] * 8)] * 8)
    yield "rates_65", message(16, *[message(1, *[data(4, b"")] * 8)] * 8, message(1, data(4, b"")))
    yield "items_64", message(16, *[data(1, b"")] * 64)
    yield "items_65", message(16, *[data(1, b"")] * 65)
    yield "tier_64", message(16, message(1, data(1, b"l" * 40), data(7, b"t" * 23)))
    yield "tier_65", message(16, message(1, data(1, b"l" * 40), data(7, b"t" * 24)))
    yield "claim_255", message(17, data(1, data(2, b"j" * 255)))
    yield "claim_256", message(17, data(1, data(2, b"j" * 256)))
    for name, place in (("top", lambda x: x + message(16)), ("check", lambda x: message(16, x)),
                        ("item", lambda x: message(16, data(1, x))),
                        ("rate", lambda x: message(16, message(1, data(4, x)))),
                        ("token_check", lambda x: message(17, x)),
                        ("token", lambda x: message(17, data(1, x)))):
        yield "unknown_" + name, place(UNKNOWN)
        for bad, value in BAD.items():
            yield "%s_%s" % (bad, name), place(value)


def hot_replies():
    yield "envelope", REPLY_ENVELOPE
    yield "goaway", message(5, number(1, 9), data(2, "drain"), number(3, 5000))
    yield "goaway_check", message(5) + REPLIES["check"]
    yield "goaway_bad", data(5, b"\x0f")
    yield "hello_twice", data(4, HELLO_REPLY) * 2
    yield "claims_twice", message(17, data(7, TOKEN), data(7, TOKEN))
    yield "claims_bad", message(17, data(7, b"\x0f"))
    yield "claims_over_cap", message(17, data(7, data(2, b"j" * 256)))
    yield "check_twice", REPLIES["check"] * 2
    yield "bodies", REPLIES["check"] + REPLIES["token_check"] + REPLIES["ping"]
    yield "on_error_259", message(16, message(2, number(16, 259)))
    yield "error_512", data(3, b"e" * 512)
    yield "error_513", data(3, b"e" * 513)
    yield "results_64", message(16, *[message(2, number(1, 1))] * 64)
    yield "results_65", message(16, *[message(2, number(1, 1))] * 65)
    for name, place in (("top", lambda x: REPLY_HEAD + x), ("check", lambda x: message(16, x)),
                        ("result", lambda x: message(16, data(2, x))),
                        ("verdict", lambda x: message(17, x))):
        yield "unknown_" + name, place(UNKNOWN)
        for bad, value in BAD.items():
            yield "%s_%s" % (bad, name), place(value)


def wire_seeds(folder):
    seeds = {}
    for name, body in REQUESTS.items():
        seeds["request_" + name] = b"\0" + ENVELOPE + body
    for name, body in REPLIES.items():
        seeds["reply_" + name] = b"\1" + REPLY_ENVELOPE + body
    for name, value in hot_requests():
        seeds["request_" + name] = b"\0" + value
    for name, value in hot_replies():
        seeds["reply_" + name] = b"\1" + value
    if folder == "cold":
        small = {"small_" + k: bytes([v[0] | 2]) + v[1:] for k, v in list(seeds.items())[:40]}
        seeds.update(small)
        seeds["request_raw_8193"] = b"\0" + message(20, data(9, b"r" * 8193))
        seeds["request_ids_65"] = b"\0" + message(21, *[data(1, b"")] * 65)
        seeds["request_refund_65"] = b"\0" + message(18, *[data(1, b"")] * 65)
        seeds["request_refund_rates_65"] = b"\0" + message(
            18, *[message(1, *[data(4, b"")] * 8)] * 8, message(1, data(4, b"")))
        seeds["reply_role_77"] = b"\1" + message(4, data(8, bytes([1, 77])))
        seeds["request_too_big"] = b"\0" + data(1000, b"x" * 65536)
        seeds["reply_rotate_unknown"] = b"\1" + message(22, number(1, 200))
    return seeds


def frame_seeds():
    def frame(value):
        return struct.pack(">I", len(value)) + value

    return {
        "empty": b"", "cap_only": b"\0", "cut_header": b"\0\0\0\0",
        "two": b"\0" + frame(b"ab") + frame(b"c"),
        "cut": b"\0" + frame(b"abc")[:-1],
        "zero": b"\0" + frame(b""),
        "over": b"\0" + struct.pack(">I", 65537), "at_cap": b"\0" + struct.pack(">I", 65536),
        "reply_over": b"\1" + struct.pack(">I", 1048577),
        "reply_at_cap": b"\1" + struct.pack(">I", 1048576),
        "wrap": b"\0" + b"\xff" * 8,
    }


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for folder, seeds in (("frame", frame_seeds()), ("hot", wire_seeds("hot")),
                          ("cold", wire_seeds("cold"))):
        target = pathlib.Path(sys.argv[1]) / folder
        target.mkdir(parents=True, exist_ok=True)
        for name, value in seeds.items():
            (target / name).write_bytes(value)


if __name__ == "__main__":
    main()
