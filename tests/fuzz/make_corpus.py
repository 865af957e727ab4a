#!/usr/bin/env python3
"""Write the seeds of the fuzzers: for the wire messages with each field, each body, and each way to
be bad; for records and texts one of each kind, whole and spoilt.

    tests/fuzz/make_corpus.py FOLDER

fills FOLDER/frame, FOLDER/hot, FOLDER/cold and so on. The kept corpus under tests/fuzz/corpus is
these, grown by a run and minimised:

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


RATE = number(1, 100) + number(2, 60000) + number(3, 1) + number(4, 20) + number(5, 4)
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
          + number(15, 1) + number(16, 3) + number(17, 1) + number(18, 1))
VERDICT = (number(1, 2) + number(2, 3) + number(3, 4) + number(4, 1) + number(5, 1500)
           + data(6, "why") + data(7, TOKEN))
FACT_ID = data(1, b"o" * 16) + number(2, 9)
HELLO_REPLY = (number(1, 1) + number(2, 0) + data(3, "pawld") + data(4, b"n" * 16)
               + data(5, b"b" * 16) + number(6, 65536) + number(7, 1024) + data(8, bytes([1, 2]))
               + number(8, 3) + data(9, b"k" * 16))
LIMIT_INFO = (data(1, "api") + data(2, RATE) + number(3, 64) + number(4, 1) + number(5, 1)
              + number(6, 1) + data(7, "overflow") + data(8, "default") + number(9, 2)
              + data(10, "Europe/Vienna") + number(11, 31) + number(12, 3) + number(13, 2))

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
    "reserve": message(31, data(1, ITEM), data(1, data(2, "k")), number(2, 1), number(3, 4000),
                       number(4, 60000)),
    "commit": message(32, data(1, b"l" * 16), number(2, 1800)),
    "cancel": message(33, data(1, b"l" * 16)),
    "top": message(34, number(1, 20), number(2, 5)),
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
    "reserve": message(31, number(1, 1), number(2, 2500), data(3, b"l" * 16), number(4, 60000),
                       data(5, RESULT), data(5, b"")),
    "commit": message(32, number(1, 700)),
    "cancel": message(33, number(1, 2500)),
    "top": message(34, message(1, data(1, "api"), data(2, "default"),
                               *[number(i, 100 ** i) for i in range(3, 8)]),
                   message(2, data(1, "api"), data(2, "default"), data(3, "al***00c0ffee"),
                           number(4, 9), number(5, 1700000000000)),
                   message(3, number(1, 5), number(2, 2), data(3, "default"),
                           data(4, "al***00c0ffee"), number(5, 1700000000000))),
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
        seeds["request_reserve_65"] = b"\0" + message(31, *[data(1, b"")] * 65)
        seeds["request_reserve_rates_65"] = b"\0" + message(
            31, *[message(1, *[data(4, b"")] * 8)] * 8, message(1, data(4, b"")))
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


def spoilt(seeds):
    """Each seed, and it cut short, with a byte more, and with a byte of its head changed."""
    for name, value in dict(seeds).items():
        yield name, value
        yield name + "_cut", value[:-1]
        yield name + "_more", value + b"x"
        yield name + "_changed", value[:2] + bytes([value[2] ^ 0x80
                                                    if len(value) > 2 else 1]) + value[3:]


def little(value, count):
    return (value & (1 << 8 * count) - 1).to_bytes(count, "little")


def part(value):
    return little(len(value), 2) + value


def fact(kind, scope, value, cutoff=0, cancels=b"", version=1, extra=b"", ns=b"default"):
    return (bytes([version, kind]) + b"o" * 16 + little(7, 8) + little(1700000000000, 8)
            + little(1800000000, 8) + part(ns) + bytes([scope, 1]) + little(cutoff, 8)
            + part(b"iss")
            + part(value) + part(b"admin") + part(cancels) + part(extra))


def fact_seeds():
    seeds = {"revoked_%d" % scope: fact(1, scope, b"v" * 32) for scope in range(1, 8)}
    seeds["everything"] = fact(1, 8, b"")
    seeds["cutoff"] = fact(2, 5, b"ann", cutoff=1700000000100)
    seeds["cutoff_all"] = fact(2, 8, b"", cutoff=1700000000100)
    seeds["cancel"] = fact(3, 0, b"", cancels=b"i" * 48)
    seeds["later_kind"] = fact(9, 200, b"")
    seeds["later_version"] = fact(1, 1, b"j", version=2)
    seeds["extra"] = fact(1, 1, b"j", extra=b"e" * 1024)
    seeds["no_namespace"] = fact(1, 1, b"j", ns=b"")
    made = {"bytes_" + name: b"\0" + value for name, value in spoilt(seeds)}
    for name, text in (("id", "00112233445566778899aabbccddeeff-1"),
                       ("id_max", "f" * 32 + "-" + str(2 ** 64 - 1)),
                       ("id_over", "f" * 32 + "-" + str(2 ** 64)), ("id_zero", "0" * 32 + "-0"),
                       ("id_upper", "F" * 32 + "-1"), ("id_sign", "0" * 32 + "-1x"),
                       ("reason", "logout"),
                       ("reason_other", "other"), ("reason_none", "x")):
        made["text_" + name] = b"\1" + text.encode()
    for kind in range(5):
        for scope in range(9):
            sizes = [kind, scope, 1, 3, 4, 32 if scope in (2, 3) else 0 if scope in (0, 8) else 5,
                     2,
                     48 if kind == 3 else 0, 0, 77 if kind == 2 else 0, 3, 9, 4, 8, 1]
            made["made_%d_%d" % (kind, scope)] = b"\2" + b"".join(n.to_bytes(2, "big")
                                                                  for n in sizes)
    for place, size in ((3, 65), (4, 513), (5, 513), (6, 129), (7, 1537), (8, 1025)):
        sizes = [1, 1, 1, 3, 4, 5, 2, 0, 0, 0, 3, 9, 4, 8, 1]
        sizes[place] = size
        made["made_over_%d" % place] = b"\2" + b"".join(n.to_bytes(2, "big") for n in sizes)
    return made


def family_token(scope, value, exp=2000000000):
    return bytes([scope]) + little(1700000000, 8) + little(exp, 8) + b"s" * 16 + part(value)


def family(state=1, reason=0, generation=0, jtis=1, version=1, prev=None, revoked=0, actor=b"",
           flags=0,
           grace_uses=0, cur=None):
    numbers = [1700000000000, 1900000000, 86400, generation, 1700000001000, 1700000001000,
               1700000011000,
               revoked]
    prev = prev if prev is not None else family_token(1,
                                                      b"before") if generation else family_token(0,
                                                                                                 b"")
    return (bytes([version, state, reason, flags]) + b"".join(little(n, 8) for n in numbers)
            + little(grace_uses, 4) + part(b"default") + part(b"iss") + part(b"sid") + part(b"ann")
            + part(b"web") + part(b"b" * 32) + part(actor) + (cur or family_token(1, b"now")) + prev
            + bytes([jtis]) + b"".join(little(i + 1, 16) for i in range(jtis)))


def family_seeds():
    young = family()
    old = family(generation=9, jtis=8, grace_uses=64)
    revoked = family(state=2, reason=5, generation=3, jtis=3, revoked=1700000002000,
                     actor=b"admin", flags=1)
    records = {"young": young, "old": old, "revoked": revoked,
               "later": family(version=2), "none": family(version=0), "flags": family(flags=2),
               "state": family(state=3), "active_with_reason": family(reason=1),
               "jtis_0": family(jtis=0),
               "jtis_9": family(generation=20, jtis=9), "grace_65": family(grace_uses=65),
               "token_none": family(cur=family_token(0, b"")),
               "hash_short": family(cur=family_token(3, b"x")),
               "hash": family(cur=family_token(3, b"h" * 32))}
    seeds = {"pair_" + name: b"\1" + len(value).to_bytes(2, "big") + value + young
             for name, value in spoilt(records)}
    seeds["pair_old_revoked"] = b"\1" + len(old).to_bytes(2, "big") + old + revoked
    for name in ("young", "old", "revoked"):
        head = b"\0" + len(records[name]).to_bytes(2, "big") + records[name]
        for field in range(12):
            change = bytes([1, field, 77, 3, 0]) + bytes([0, field, 5, 1, 0]) + bytes([2, field, 9,
                                                                                       2, 1])
            seeds["change_%s_%d" % (name, field)] = head + change
        seeds["fork_"
              + name] = head + bytes([0, 0, 1, 0, 0, 1, 0, 2, 0, 0, 2, 0, 1, 0, 0, 2, 0, 3, 0, 0])
        seeds["apart_" + name] = head + bytes([1, 0, 1, 0, 0]) * 10 + bytes([2, 1, 4, 40, 0])
    for scope in range(5):
        seeds["open_%d" % scope] = b"\2\0\0" + bytes([scope, 3 if scope == 1 else 32, 3, 3, 32,
                                                      200, 9, 9])
    seeds["open_over"] = b"\2\0\0" + bytes([1, 255, 3, 3, 32, 200, 9, 9])
    seeds["open_bound"] = b"\2\0\0" + bytes([1, 3, 3, 3, 33, 200, 0, 0])
    seeds["open_late"] = b"\2\0\0" + bytes([1, 3, 3, 3, 0, 255, 9, 0])
    return seeds


def view_member(number, state=1, address=b"tls:a.example:7400"):
    return bytes([number]) * 16 + bytes([state]) + part(address)


def view(members, number=7 << 16 | 5, version=1, count=None):
    return (bytes([version]) + little(number, 8)
            + little(len(members) if count is None else count, 2) + b"".join(members))


def member_info(state=2, version=1, address=b"tcp:a:1", program=b"0.5.0", blob=b"digests"):
    return (bytes([version, state]) + little(7 << 16 | 5, 8) + b"e" * 16 + little(1800000000, 8)
            + part(address) + part(program) + part(blob))


def view_seeds():
    """The first byte: 1 an info, 2 with a good seal behind it; see fuzz_view.c."""
    one, two = view_member(1), view_member(2, state=2, address=b"tcp:[::1]:1")
    views = {"empty": view([]), "one": view([one]), "two": view([one, two]),
             "twice": view([one, one]), "order": view([two, one]), "none": view([], number=0),
             "later": view([one], version=2), "state": view([view_member(1, state=3)]),
             "no_address": view([view_member(1, address=b"")]),
             "nul": view([view_member(1, address=b"a\0b")]),
             "long": view([view_member(1, address=b"x" * 256)]),
             "full": view([view_member(i, address=b"a") for i in range(128)]),
             "over": view([view_member(i, address=b"a") for i in range(129)]),
             "count": view([one, two], count=3), "counts": view([one], count=0xFFFF)}
    infos = {"whole": member_info(), "joining": member_info(state=1), "state": member_info(state=4),
             "none": member_info(state=0), "later": member_info(version=2),
             "bare": member_info(address=b"", program=b"", blob=b""),
             "largest": member_info(address=b"a" * 255, program=b"v" * 32, blob=b"b" * 176),
             "over": member_info(blob=b"b" * 177)}
    seeds = {"view_" + name: b"\2" + value for name, value in spoilt(views)}
    seeds.update({"info_" + name: b"\3" + value for name, value in spoilt(infos)})
    seeds.update({"bare_view": b"\0" + view([one]) + b"s" * 8,
                  "bare_info": b"\1" + member_info() + b"s" * 8, "nothing": b"\0", "void": b"\2"})
    return seeds


def record(entries, window=60000, kind=0x11, flags=0, wide=False, count=None):
    body = b"".join(little(age, 4) + little(n, 5 if wide else 1) for age, n in entries)
    return (bytes([kind, flags | (1 if wide else 0)])
            + little(len(entries) if count is None else count, 2)
            + little(window, 4) + b"i" * 16 + body)


def record_seeds():
    some = [(59999, 1), (30000, 254), (30000, 3), (1, 2), (0, 1)]
    records = {
        "narrow": record(some), "wide": record([(59999, 1 << 39), (0, (1 << 40) - 1)], wide=True),
        "gone": record([]), "full": record([(4095 - i, 1) for i in range(4096)]),
        "full_wide": record([(4095 - i, 300) for i in range(4096)], wide=True),
        "cell": record(some, flags=2), "later": record(some, kind=0x12),
        "gcra": record(some, kind=0x21),
        "none": record(some, kind=0x01), "window_0": record(some, window=0),
        "window_1": record([(0, 5)], window=1),
        "window_45d": record([(3887999999, 5), (0, 1)], window=3888000000),
        "window_over": record(some, window=3888000001), "younger": record([(1, 1), (2, 1)]),
        "too_old": record([(60000, 1)]), "count_0": record([(1, 0)]),
        "narrow_255": record([(1, 255)]),
        "count_off": record(some, count=4), "over": record([], count=4097)}
    heads = {"now": bytes([0x00, 255, 0, 0]), "later": bytes([0x31, 9, 16, 39]),
             "fresh_boot": bytes([0x13, 3, 1, 20]),
             "long": bytes([0xff, 200, 255, 255])}
    seeds = {}
    for name, value in spoilt(records):
        for head, times in heads.items():
            if head == "now" or not name.endswith(("_cut", "_more", "_changed")):
                seeds[name + "_" + head] = times + little(300, 5) + value
    return seeds


def slot_value_seeds():
    some = [(59999, 1), (30000, 254), (30000, 3), (1, 2), (0, 1)]
    held = b"".join(little(age, 4) + little(slots, 2) + little(handle, 8)
                    for age, slots, handle in [(59000, 2, 7), (30, 1, 0), (0, 4096, 9)])
    head = lambda kind, entries, window: (bytes([kind, 0]) + little(entries, 2)
                                          + little(window, 4) + little(9, 8) + little(3, 8))
    records = {
        "narrow": record(some), "wide": record([(59999, 1 << 39), (0, (1 << 40) - 1)], wide=True),
        "gone": record([]), "full": record([(4095 - i, 1) for i in range(4096)]),
        "later": record(some, kind=0x12), "future": record(some, kind=0xF1),
        "window_1": record([(0, 5)], window=1),
        "gcra": head(0x21, 1, 1000) + little(5 << 40, 16) + little(100, 8),
        "calendar": head(0x31, 1, 86400000) + little(1790035200, 8) + little(1790121600, 8)
                    + little(30, 8) + little(86390, 4),
        "held": head(0x41, 3, 60000) + held}
    sized = {name: little(len(value), 4) + value for name, value in records.items()}
    seeds = {}
    for name, value in records.items():
        anchor = little(1000, 8) + little(900, 8)
        seeds["bare_" + name] = bytes([0, 3, 16, 39]) + anchor + value + bytes(8)
        seeds["sealed_" + name] = bytes([1, 3, 16, 39]) + anchor + value
        for other in ("narrow", "wide", "gcra", "calendar", "held", "full"):
            seeds["join_%s_%s" % (name, other)] = bytes([3, 1, 90, 0]) + sized[name] + sized[other]
    seeds["run"] = bytes([2, 3, 0, 0]) + b"".join(sized.values())
    seeds["run_cut"] = seeds["run"][:-5]
    return seeds


def limiter_seeds():
    seeds = {}
    for setup in (0, 1, 4, 7, 0x44, 0x84, 0xC4, 8, 0x18, 0x0C):
        seeds["all_ops_%02x" % setup] = bytes([
            setup, 0xF1, 0, 0x10, 0xF1, 0, 0x14, 0x31, 1, 0x24, 0x30, 0xF4, 4, 0x88, 13, 5, 5, 0,
            0x10,
            6, 0x10, 1, 6, 0x14, 8, 12, 6, 0xF0, 0, 0x18, 9, 255, 0x50, 0, 0x08, 9, 3, 10, 5, 200,
            1, 2, 3, 4, 5, 6,
            0x30, 0, 0x10, 6, 0x10, 0, 7, 0x10, 8, 64, 0x18, 255, 11, 0x51, 0x41, 0, 0x11, 12,
            0xC2, 0x20, 0, 0x11,
            10, 0x81, 9, 9, 9, 9, 9, 9, 9, 0x20, 0, 0x0D, 12, 14, 8, 255, 0x18, 255])
        for limit in range(6):
            ask = bytes([0xF3, 0, limit << 2 | 0x21])
            seeds["stream_%02x_%d" % (setup, limit)] = bytes([setup]) + (bytes([11, limit | 0xD0])
                                                                         + ask * 6
                                                                         + bytes([12, 8]) + ask * 2)
    return seeds


def sid_seeds():
    text = b"0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"
    made = little(1700000000000000, 8) + little(1600000000000, 8) + b"\0" * 6
    return {"text": text, "minted": text + made + b"\x23\1", "far": text + b"\xff" * 22 + b"\0\0",
            "zero": text + b"\0" * 24, "upper": text.upper(), "short": text[:-1], "longer": b"1"
            + text,
            "no_hyphen": text.replace(b"-", b"0"), "version_4": text.replace(b"-7", b"-4"),
            "variant": text.replace(b"-8", b"-c")} | {
                "hyphen_%d" % at: text[:at] + b"x" + text[at + 1:] for at in (0, 8, 13, 18, 23, 35)}


def address_seeds():
    texts = ["", "unix:", "unix:/run/pawl/pawld.sock", "unix:@name", "unix:@", "unix:relative",
             "unix:/" + "p" * 106,
             "unix:/" + "p" * 107, "unix:@" + "n" * 106, "unix:@" + "n" * 107,
             "tcp:127.0.0.1:7401", "tcp:[::1]:7401",
             "tcp:[::1]", "tcp:[::1", "tcp:::1:7401", "tcp:host", "tcp:host:", "tcp::7401",
             "tcp:host:65535",
             "tcp:host:65536", "tcp:host:-1", "tcp:host:07", "tcp:host:0", "tcp:[]:1", "tcp:a b:1",
             "tcp:h_o-s.t:1",
             "tcp:" + "h" * 253 + ":1", "tcp:" + "h" * 254 + ":1", "tls:host:7401", "http://x",
             "tcp:[fe80::1%eth0]:1",
             "unix:/a\tb", "tcp:\u00e9:1", "unix:/\u00e9", "tcp:[x]:1", "tcp:[::1]:x",
             "tcp:host:99999999999", "tcp:[%et0]:1", "tcp:[1.2.3.4]:1"]
    return {"address_%d" % i: text.encode() for i,
            text in enumerate(texts)} | {"control": b"tcp:\x01:1"}


def time_seeds():
    texts = ["", "now", "1790000000", "1790000000.25", "1790000000000", "+1h", "-5m", "-999999d",
             "+x", "2026-09-21",
             "2026-09-21T12:00:00Z", "2026-09-21 12:00", "2026-09-21T12:00:60.5+02:00",
             "2026-09-21T12:00:00-23:59",
             "2024-02-29", "2100-02-29", "1970-01-01T00:00:00Z", "1970-01-01T00:00:00+01:00",
             "9999-12-31T23:59:59Z",
             "2026-13-01", "2026-09-21x", "2026-09-21T25:00", "2026-09-21T12:00:61",
             "2026-09-21T12:00Zz",
             "2026-09-21T12:0x", "2026-09-21T12:00:0x", "5s", "1.5h", "1h30m", "500ms", "1000000d",
             "1000001d", "1w",
             "1.2345s", "5x", "5 s", "1h5", "99999999999999999", "1d2h", "90ms",
             "2026-09-21T12:00:00+0200",
             "2026-09-21T12:00:00+24:00", "1969-12-31", "2026-00-10", "2026-01-00", "253402300799",
             "100000000000"]
    seeds = {"time_%d" % i: little(1790000000000 << 2, 8) + text.encode() for i,
             text in enumerate(texts)}
    for i, ms in enumerate((0, 5, 999, 1000, 1099, 1100, 59999, 61000, 3661000, 86400000, 90000000,
                            2 ** 63)):
        seeds["shown_%d" % i] = little(ms, 8) + b"x"
    return seeds


def reply_seeds():
    calls = ["check", "check", "check", "token_check", "refund", "reset", "revoke", "unrevoke",
             "rotate",
             "family_open", "family_end", "limits", "stats", "thaw", "ping"]

    def piece(which, value):
        return bytes([which]) + len(value).to_bytes(2, "big") + value

    hello = piece(16, number(2, 1) + data(4, HELLO_REPLY))
    answers = [piece(i + 1, number(2, 1) + REPLIES[name]) for i, name in enumerate(calls)]
    refusals = [piece(i + 1, number(2, i + 2) + data(3, "why")) for i in range(len(calls))]
    wrong = [piece(i + 1, number(2, 1) + REPLIES["ping" if name != "ping" else "reset"]) for i,
             name in enumerate(calls)]
    policy = number(10, 1) + number(4, 1 << 32) + number(3, 60000)
    result = message(16, number(1, 1),
                     *[data(2, number(1, i) + number(3, 4000000000) + number(4, 1 << 50)
                                                 + number(16, 3)) for i in range(3)])
    named = message(16, number(1, 1),
                    *[data(2, number(2, i) + number(3, 1000 + i) + number(4, 9) + number(16, 3))
                                        for i in range(9)])
    goaway = [piece(0, message(5, number(1, last << 12), data(2, "drain"), number(3, 5000)))
              for last in (0, 3, 14, 99)]
    stats = message(27, *[message(1, data(1, "n" * 80), data(3, "w" * 200)) for _ in range(40)])
    limits = message(28, *[data(1, LIMIT_INFO)] * 40)
    lines = {"all": hello + b"".join(answers), "all_at_once": b"".join(answers), "refused": hello
             + b"".join(refusals),
             "no_frame": bytes([200]) + b"\0\4" + b"\xff" * 4, "huge": bytes([200]) + b"\0\4"
             + b"\0\x20\0\0",
             "half": answers[0] + bytes([200]) + b"\0\6" + b"\0\0\0\x10ab",
             "twice": answers[0] * 2 + answers[5] * 2,
             "not_asked": piece(0, number(1, 999999) + REPLIES["check"]),
             "view": piece(0, REPLIES["view"]),
             "policy": piece(2, number(2, 1) + data(16, number(1, 1) + data(2, policy))),
             "learned": piece(2, number(2, 1) + result),
             "learned_rates": piece(2, number(2, 1) + named),
             "each": piece(3, number(2, 1) + result), "stats": piece(13, number(2, 1) + stats),
             "limits": piece(12, number(2, 1) + limits), "unsupported": piece(16, number(2, 6)),
             "hello_bad": piece(16, data(4, b"\x0f")),
             "in_flight_1": piece(16, number(2, 1) + data(4, number(7, 1))),
             "notice_bad": piece(0, data(5, b"\x0f"))}
    for i, value in enumerate(wrong):
        lines["wrong_%d" % i] = value
    for i, value in enumerate(goaway):
        lines["goaway_%d" % i] = hello + answers[0] + value + answers[1] + value
    for word in (0, 1, 2, 14, 15, 200):
        lines["rotate_%d" % word] = piece(9, number(2, 1) + message(22, number(1, word)))
        lines["token_%d" % word] = piece(4, number(2, 1)
                                         + message(17, number(1, word), data(6, "w" * 80)))
    return {"%s_%d" % (name, flags): bytes([flags]) + value for name, value in lines.items()
            for flags in (0, 3)}


def tls_seeds():
    """First how the bytes go in (fuzz_tls.c), then the bytes."""
    import ssl
    hello = ssl.MemoryBIO()
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client = client.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    first = hello.read()
    return {"hello": b"\xfc" + first, "hello_bytewise": b"\x00" + first,
            "hello_twice": b"\xfc" + first + first, "http": b"\xfcGET / HTTP/1.1\r\n\r\n",
            "record": b"\xfd\x17\x03\x03\x00\x20" + b"x" * 32,
            "record_too_long": b"\xfd\x17\x03\x03\xff\xff" + b"x" * 64,
            "alert": b"\xfd\x15\x03\x03\x00\x02\x02\x28",
            "change_cipher": b"\xfd\x14\x03\x03\x00\x01\x01" * 40,
            "plain": b"\xff" + b"hello" * 40}


def http_seeds():
    """The first byte says which parser: 0 form, 1 Authorization, 2 Host, 3 X-Forwarded-For."""
    texts = {0: ["", "token=a&token_type_hint=b", "a=%41+%e4%BD%A0&&b==&c", "a=%", "a=%4", "a=%zz",
                 "=1", "&&", "&".join("abcdefgh" * 8), "&".join(["x=1"] * 65), "limit=api&key=1",
                 "a%00=%00"],
             1: ["Bearer abc.def.ghi", "bearer  x==", "Basic d2ViOnNlY3JldA==", "Basic YTo=",
                 "Basic YTpi", "Basic OmI=", "Basic YQ==", "Basic YTp=", "Basic YR==", "Basic Y=",
                 "Basic ", "Bearer", "Bearer a b", "Digest x", "", "Basic " + "QUFB" * 400,
                 "Basic " + "Oj9+" * 8, "Basic a-_b", "Basic YTo/", "Basic YTo+"],
             2: ["localhost", "LOCALHOST:80", "localhost:", "localhost:70000", "127.0.0.1:7402",
                 "[::1]:7402", "[::1]", "[::1", "[::1]x", "[1.2.3.4]", "pawl.internal",
                 "pawl.internal:1", "evil.example", "1.2.3.4.evil", "", "::1", "1.2.3.4:x",
                 "[" + "1" * 70 + "]", "9" * 70],
             3: ["1.2.3.4", "6.6.6.6, 1.2.3.4", "a,b,[2001:db8::1]:443", "1.2.3.4,", ",", "",
                 "unknown", "1.2.3.4:80,\t5.6.7.8 ", ",".join(["1.1.1.1"] * 20), "1.2.3.4:99999"]}
    return {"http_%d_%d" % (kind, i): bytes([kind]) + text.encode()
            for kind, some in texts.items() for i, text in enumerate(some)}


def resp(value):
    """A value as RESP2: bytes a bulk, str a status (or "-" an error), int, None, list."""
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, bytes):
        return b"$%d\r\n%s\r\n" % (len(value), value)
    if isinstance(value, str):
        return (value if value[:1] == "-" else "+" + value).encode() + b"\r\n"
    if isinstance(value, int):
        return b":%d\r\n" % value
    return b"*%d\r\n%s" % (len(value), b"".join(map(resp, value)))


def redis_seeds():
    """The first byte is the verb, the second how it is cut; see fuzz_redis_reply.c."""
    server = b"# Server\r\nredis_version:7.2.4\r\nvalkey_version:8.1.0\r\nrun_id:%s\r\n" % (b"a" * 40)
    replication = (b"role:master\r\nconnected_slaves:2\r\n"
                   b"slave0:ip=10.0.0.2,port=6379,state=online,offset=9,lag=1\r\n"
                   b"slave1:ip=10.0.0.3,port=6379,state=wait_bgsave,offset=0,lag=0\r\n"
                   b"master_replid:%s\r\n" % (b"b" * 40))
    one, two = b"0a" * 16, b"0b" * 16
    tops = [one, b"1", b"7", two, b"0", b"0"]

    def announce(**changes):
        parts = dict(s=b"1700000000", us=b"123456", server=server, replication=replication,
                     view=b"view", members=[one, b"1700000000000001", two, b"1700000000000002"],
                     infos=[b"info", None], tops=tops, gate=one, ready=[two])
        parts.update(changes)
        return list(parts.values())

    entries = [[b"{pawl:rl:0}:o:" + one, [[b"1-0", [b"d", b"sealed"]], [b"2-0", [b"x", b"y"]],
                                          [b"3-1", [b"d", b"z"]]]]]
    record = [b"i" * 16, b"record"]
    values = {
        "announce": (1, announce()),
        "announce_nothing": (1, announce(server=b"", replication=b"", view=b"", members=[],
                                         infos=[], tops=[], gate=b"", ready=[])),
        "announce_foreign": (1, announce(members=[b"x", b"1", two, b"1.5"], tops=[b"x", b"1",
                                         b"2", one, b"1", b"2-0"], ready=[b"x"], gate=b"x")),
        "announce_uneven": (1, announce(infos=[b""])), "announce_short": (1, announce()[:9]),
        "announce_late": (1, announce(s=b"99999999999999")),
        "announce_replica": (1, announce(replication=b"role:slave\r\n")),
        "announce_view": (1, announce(view=b"v" * 65537)),
        "view_won": (2, [1]), "view_refused": (2, [0, b"view"]), "view_bare": (2, [0]),
        "retire": (3, [1]), "append": (4, [1]), "append_refused": (4, [0]), "append_odd": (4, [3]),
        "read": (5, entries), "read_none": (5, None), "read_other": (5, [[b"k", []]]),
        "read_key": (5, [[b"x" * 40, []]]), "read_shape": (5, 1), "trim": (6, [1]),
        "trim_bad": (6, -1), "drop": (7, [0]), "ready": (8, [1]), "open": (9, [2]),
        "get": (10, [b"0" * 15 + b"7", b"sealed"]), "get_none": (10, [None, None]),
        "get_short": (10, [None]), "get_version": (10, [b"7", b"x"]),
        "set": (11, [1]), "set_refused": (11, [0, b"0" * 15 + b"a", b"sealed"]),
        "set_closed": (11, [2]), "set_upper": (11, [0, b"0" * 15 + b"A", b""]),
        "save": (12, [1]), "save_refused": (12, [0, b"f" * 16]), "save_bad": (12, [0, b"x"]),
        "load": (13, [1, [b"o", b"0" * 16] + record]), "load_none": (13, [1, []]),
        "load_many": (13, [0, 40000]), "load_foreign": (13, [1, [b"xy", b"z"]]),
        "load_shape": (13, [1, 7]), "wait": (14, 2), "wait_much": (14, 2 ** 40),
        "wait_text": (14, b"2"),
        "error": (1, "-ERR no"), "error_readonly": (1, "-READONLY You can't write"),
        "error_unblocked": (5, "-UNBLOCKED force unblock"), "error_moved": (4, "-MOVED 1 h:1"),
        "info": (0, server + replication), "info_memory":
        (0, b"maxmemory:104857600\r\nmaxmemory_policy:allkeys-lru\nfoo\n:\n"),
        "info_odd": (0, b"redis_version:x\r\nrole:\r\nslave9:state=online,lag=9\r\nrun_id:a b"),
        "deep": (0, [[[[[[[1]]]]]]]), "deeper": (0, [[[[[[[[1]]]]]]]]),
    }
    made = {name: bytes([verb, i % 64]) + resp(value)
            for i, (name, (verb, value)) in enumerate(values.items())}
    raw = {"two": b":1\r\n:2\r\n", "http": b"HTTP/1.1 400\r\n", "resp3": b">1\r\n+x\r\n",
           "bulk_huge": b"$1000000000\r\nx", "bulk_line": b"$" + b"a" * 40, "many": b"*600000\r\n",
           "claimed": b"*524288\r\n:1\r\n", "negative": b"*-1\r\n", "number": b":99999999999999999999\r\n",
           "line": b"+" + b"a" * 9000}
    made.update({"raw_" + name: b"\0\3" + value for name, value in raw.items()})
    return made


FOLDERS = {
    "redis_reply": redis_seeds,
    "frame": frame_seeds, "hot": lambda: wire_seeds("hot"), "cold": lambda: wire_seeds("cold"),
    "envelope": lambda: {**wire_seeds("hot"), **wire_seeds("cold")},
    "fact": fact_seeds, "family": family_seeds, "view": view_seeds, "limiter_record": record_seeds,
    "limiter": limiter_seeds, "slot_value": slot_value_seeds,
    "sid": sid_seeds, "address": address_seeds, "time_text": time_seeds, "reply": reply_seeds,
    "http": http_seeds,
    "tls": tls_seeds,
}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for folder, make in FOLDERS.items():
        seeds = make()
        target = pathlib.Path(sys.argv[1]) / folder
        target.mkdir(parents=True, exist_ok=True)
        for name, value in seeds.items():
            (target / name).write_bytes(value)


if __name__ == "__main__":
    main()
