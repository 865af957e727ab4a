"""The pure client's codec against Google's: messages of pawl.proto by protoc, no line in common."""

import re
from hashlib import sha256

import pytest
import rig
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pawl._types as types
from pawl._pure import _answers, _calls, _requests, _tables, _wire
from pawl._pure._wire import WireError, read

SLOW = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=60)
RATE = types.Rate(100, 60_000)
BODIES = {number: field.message for number, field in
          ((tag >> 3, field) for tag, (_, _, field) in _tables.REPLY.by_tag.items())
          if field.kind == _wire.BODY}
KINDS = [kind for kind in vars(_calls).values() if isinstance(kind, _calls.Kind)]


def message_of(kind, request, wire_id=1, now_ms=0, deadline_ms=20):
    """The request as it leaves, without the frame's header."""
    rest, note = _calls.encode(kind, request, now_ms)
    call = _calls.Call(1, kind, rest, note, deadline_ms * 1_000_000)
    call.wire_id = wire_id
    frame = call.frame(0)
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4 <= _tables.REQUEST_BYTES_MAX
    return frame[4:], note


def sent(wire, kind, request, **options):
    """As Google's library reads it; a second writing of that has to be the same bytes."""
    message, _ = message_of(kind, request, **options)
    parsed = wire.Request.FromString(message)
    assert parsed.SerializeToString(deterministic=True) == message
    return parsed


CHECK = _calls.CHECK[False, False]


# ---- tables against the .proto and the caps ----------------------------------------------------


def test_the_caps_are_those_of_the_header():
    text = (rig.ROOT / "proto/pawl/v1/caps.h").read_text()
    caps = {name: eval(value.replace("UINT64_C(1)", "1").replace("UINT32_C", ""))
            for name, value in re.findall(r"#define PAWL_(\w+) +([^/\n]+)", text)}
    names = [name for name in vars(_tables) if name in caps]
    assert {name: getattr(_tables, name) for name in names} == {name: caps[name] for name in names}
    assert len(names) >= 17 and caps["LIST_MAX"] == _wire.messages(1, _tables.PING).count_max
    assert caps["FIELD_BYTES_MAX"] == _wire.data(1).maximum


def test_each_field_has_the_cap_that_the_daemons_reader_gives_it(wire):
    text = (rig.ROOT / "proto/pawl/v1/cold.c").read_text()
    constants = vars(_tables)
    capped = {}
    for name, number, size, count in re.findall(
            r"MESSAGE\((\w+)\), (\d+), (\w+), (\w+) }", text):
        capped[name, int(number)] = tuple(
            constants.get(word[5:], 0) if word.startswith("PAWL_") else int(word)
            for word in (size, count))
    seen = 0
    for name, table in vars(_tables).items():
        if isinstance(table, _wire.Message):
            for _, _, field in table.by_tag.values():
                size, count = capped.get((name.lower(), field.number), (0, 0))
                seen += bool(size or count)
                if field.kind in (_wire.DATA, _wire.TEXT, _wire.DATAS):
                    assert field.maximum == (size or 512), (name, field.number)
                if field.count_max:
                    assert field.count_max == (count or 16384), (name, field.number)
    assert seen > 40


@pytest.mark.parametrize("enum, words, prefix, other", [
    ("Verdict", "VERDICTS", "VERDICT_", {"none": "undecided"}),
    ("OnError", "ON_ERRORS", "ON_ERROR_", {"none": ""}),
    ("Algorithm", "ALGORITHMS", "ALGORITHM_", {}),
    ("TokenStatus", "TOKEN_STATES", "TOKEN_", {"none": "undecided"}),
    ("Reason", "REASONS", "REASON_", {"none": ""}),
    ("Scope", "SCOPES", "SCOPE_", {"none": ""}),
    ("Ack", "LEVELS", "ACK_", {"default": ""}),
    ("RotateResult", "ROTATIONS", "ROTATE_", {"none": "unavailable"}),
    ("Status", "STATUSES", "STATUS_", {"none": "unsupported", "denied": "not_permitted",
                                       "late": "timeout", "moved": "unavailable"}),
])
def test_the_words_are_those_of_the_proto(wire, enum, words, prefix, other):
    expected = {}
    for name, number in getattr(wire, enum).items():
        word = name[len(prefix):].lower()
        expected[number] = other.get(word, word)
    assert getattr(_tables, words) == expected


# ---- requests ----------------------------------------------------------------------------------

identifiers = st.text(max_size=60)
counts = st.integers(0, _tables.COUNT_MAX)
u64s = st.integers(0, 2**64 - 1)
u32s = st.integers(0, 2**32 - 1)
blobs = st.binary(max_size=40)
rates = st.builds(types.Rate, counts, st.integers(1, _tables.WINDOW_MS_MAX))
names = st.text("abc.é", min_size=1, max_size=20)
levels = st.sampled_from(types.LEVELS)
reasons = st.sampled_from(sorted(_requests._REASONS))
items = st.builds(
    types.Item, st.lists(st.binary(max_size=200), min_size=1, max_size=8).map(tuple),
    st.lists(rates, min_size=1, max_size=8).map(tuple), st.just("") | names,
    st.integers(1, _tables.COUNT_MAX), st.sampled_from(types.FAIL_WORDS),
    st.just(0) | st.integers(2, 4096), st.just("") | names, st.sampled_from(types.ALGORITHMS),
    counts)
tokens = st.builds(
    types.Token, identifiers, identifiers, identifiers, identifiers, identifiers, identifiers,
    u64s, u64s, blobs, blobs, st.binary(max_size=2000), identifiers, identifiers)


def as_rates(wire, item):
    number = {"sliding": 0, "gcra": 1, "concurrency": 3}[item.algorithm]
    return [] if item.limit else [
        wire.Rate(count=rate.count, window_ms=rate.window_ms, algorithm=number, burst=item.burst)
        for rate in item.rates]


def as_item(wire, item, charged=True):
    return wire.CheckItem(
        limit=item.limit.encode(), key=item.key, cost=item.cost if charged else 0,
        rates=as_rates(wire, item), precision=item.precision, tier=item.tier.encode())


def as_token(wire, token):
    return wire.Token(
        issuer=token.issuer.encode(), jti=token.jti.encode(), subject=token.subject.encode(),
        client=token.client.encode(), key=token.key.encode(), sid=token.sid.encode(),
        iat=token.iat_s, exp=token.exp_s,
        opaque_sha256=sha256(token.opaque).digest() if token.opaque else b"",
        signed_sha256=sha256(token.signed_text).digest() if token.signed_text else b"",
        raw=token.raw, audience=token.audience.encode(), type=token.type.encode())


@SLOW
@given(st.lists(items, max_size=5), st.none() | tokens, st.booleans(), st.booleans(), identifiers,
       u64s)
def test_a_check_is_read_as_it_was_meant(wire, asked, token, peek, each, namespace, now_ms):
    namespace = namespace[:16]
    if not asked and token is None:
        return
    request = types.CheckRequest(tuple(asked), token, peek, each, namespace)
    expected = wire.Check(items=[as_item(wire, item) for item in asked], op=peek, mode=each,
                          token=token and as_token(wire, token))
    read_back = sent(wire, CHECK, request, now_ms=now_ms, wire_id=77)
    assert read_back == wire.Request(id=77, deadline_ms=20, namespace=namespace.encode(),
                                     now_ms=now_ms, check=expected)


@SLOW
@given(tokens)
def test_a_token_check_is_read_as_it_was_meant(wire, token):
    read_back = sent(wire, _calls.TOKEN_CHECK, types.TokenCheckRequest(token))
    assert read_back.token_check.token == as_token(wire, token)
    assert read_back.WhichOneof("body") == "token_check"


def test_a_token_that_says_nothing_is_sent_as_a_token(wire):
    """Left out, the check would admit whoever shows nothing."""
    read_back = sent(wire, CHECK, types.CheckRequest((), types.Token()))
    assert read_back.check.HasField("token")


@SLOW
@given(st.lists(st.tuples(items, st.lists(u64s, max_size=8)), min_size=1, max_size=4))
def test_a_refund_is_read_as_it_was_meant(wire, asked):
    request = types.RefundRequest(tuple(types.RefundItem(item, tuple(charges))
                                        for item, charges in asked))
    expected = [wire.RefundItem(limit=item.limit.encode(), key=item.key, cost=item.cost,
                                rates=as_rates(wire, item), charges=charges)
                for item, charges in asked]
    assert list(sent(wire, _calls.REFUND, request).refund.items) == expected


@SLOW
@given(st.lists(items, min_size=1, max_size=4), counts, u32s)
def test_a_reservation_is_read_as_it_was_meant(wire, asked, least, lease_ms):
    request = types.ReserveRequest(tuple(asked), least, _tables.COUNT_MAX, lease_ms)
    expected = wire.Reserve(items=[as_item(wire, item, charged=False) for item in asked],
                            min=least, max=_tables.COUNT_MAX, lease_ms=lease_ms)
    assert sent(wire, _calls.RESERVE, request).reserve == expected


@SLOW
@given(items, st.binary(min_size=16, max_size=16), u64s, identifiers)
def test_small_requests_are_read_as_they_were_meant(wire, item, lease, used, name):
    assert sent(wire, _calls.RESET, types.ResetRequest(item)).reset == wire.Reset(
        limit=item.limit.encode(), key=item.key, rates=as_rates(wire, item))
    assert sent(wire, _calls.COMMIT, types.CommitRequest(lease, used)).commit == wire.Commit(
        lease=lease, used=used)
    assert sent(wire, _calls.CANCEL_LEASE, types.CancelRequest(lease)).cancel.lease == lease
    assert sent(wire, _calls.LIMITS, types.LimitsRequest(name, name)).limits == wire.Limits(
        limit=name.encode(), after=name.encode())
    assert sent(wire, _calls.STATS, types.StatsRequest(name)).stats.prefix == name.encode()
    assert sent(wire, _calls.PING, types.PingRequest()).WhichOneof("body") == "ping"


@SLOW
@given(st.sampled_from(types.SCOPES), st.binary(min_size=1, max_size=300), reasons, identifiers,
       u64s, u64s, identifiers, levels)
def test_a_revocation_is_read_as_it_was_meant(wire, scope, value, reason, issuer, before_ms, exp_s,
                                              actor, level):
    request = types.RevokeRequest(scope, value, reason, issuer, before_ms, exp_s, actor, level)
    is_raw, is_hashed = scope.startswith("jwt"), scope in ("opaque", "signed")
    kind = {"jwt": "token", "jwt_family": "family"}.get(scope, scope)
    expected = wire.Revoke(
        scope=wire.Scope.Value(f"SCOPE_{kind.upper()}"), issuer=issuer.encode(),
        value=b"" if is_raw else sha256(value).digest() if is_hashed else value,
        raw=value if is_raw else b"", before_ms=before_ms, exp=exp_s, actor=actor.encode(),
        reason=wire.Reason.Value(f"REASON_{reason.upper() or 'NONE'}"),
        ack=wire.Ack.Value(f"ACK_{level.upper() or 'DEFAULT'}"))
    assert sent(wire, _calls.REVOKE, request).revoke == expected


@SLOW
@given(st.lists(st.tuples(st.binary(min_size=16, max_size=16), u64s), min_size=1, max_size=64),
       identifiers)
def test_an_unrevoke_is_read_as_it_was_meant(wire, ids, actor):
    request = types.UnrevokeRequest(tuple(types.FactName(*one) for one in ids), actor, "memory")
    assert sent(wire, _calls.UNREVOKE, request).unrevoke == wire.Unrevoke(
        ids=[wire.FactId(origin=origin, sequence=number) for origin, number in ids],
        actor=actor.encode(), ack=wire.ACK_MEMORY)


@SLOW
@given(tokens, u64s, identifiers, blobs, blobs, st.none() | u64s, st.none() | u32s, st.booleans(),
       st.booleans(), blobs, blobs, levels)
def test_a_rotation_is_read_as_it_was_meant(wire, presented, exp_s, jti, opaque, seed, generation,
                                            leeway_ms, adopt, verified, binding, request_id,
                                            level):
    request = types.RotateRequest(presented, exp_s, jti, opaque, seed, 5, generation, leeway_ms,
                                  adopt, verified, binding, request_id, level)
    message, proposed = message_of(_calls.ROTATE, request)
    expected = wire.Rotate(
        presented=as_token(wire, presented), generation=generation or 0,
        has_generation=generation is not None, next_iat=5, next_exp=exp_s, binding=binding,
        leeway_ms=leeway_ms or 0, has_leeway=leeway_ms is not None, adopt=adopt, verified=verified,
        request_id=request_id, ack=wire.Ack.Value(f"ACK_{level.upper() or 'DEFAULT'}"))
    if opaque:
        expected.next_opaque_sha256 = sha256(opaque).digest()
        expected.next_seed = seed
        assert proposed == ""
    else:
        expected.next_jti = proposed.encode()
        assert proposed == jti if jti else re.fullmatch(r"[A-Za-z0-9_-]{22}", proposed)
    assert wire.Request.FromString(message).rotate == expected


@SLOW
@given(identifiers, u64s, identifiers, blobs, identifiers, identifiers, blobs, u64s, reasons)
def test_families_are_read_as_they_were_meant(wire, subject, exp_s, jti, opaque, issuer, client,
                                              binding, iat_s, reason):
    request = types.FamilyOpenRequest(subject, exp_s, jti, opaque, issuer, client, binding, iat_s)
    message, proposed = message_of(_calls.FAMILY_OPEN, request)
    assert wire.Request.FromString(message).family_open == wire.FamilyOpen(
        issuer=issuer.encode(), subject=subject.encode(), client=client.encode(), binding=binding,
        jti=proposed.encode(), iat=iat_s, exp=exp_s,
        opaque_sha256=sha256(opaque).digest() if opaque else b"")
    ended = types.FamilyEndRequest(subject or "s", issuer, reason, client, exp_s)
    number = wire.Reason.Value(f"REASON_{(reason or 'logout').upper()}")
    assert sent(wire, _calls.FAMILY_END, ended).family_end == wire.FamilyEnd(
        issuer=issuer.encode(), sid=(subject or "s").encode(), reason=number,
        actor=client.encode(), exp=exp_s)


def test_two_minted_names_are_never_the_same():
    request = types.FamilyOpenRequest("s", 1)
    assert len({message_of(_calls.FAMILY_OPEN, request)[1] for _ in range(200)}) == 200


def test_opaque_tokens_and_signed_texts_never_leave_raw():
    secret = b"a-credential-that-must-not-travel"
    token = types.Token(opaque=secret, signed_text=secret)
    for kind, request in (
            (CHECK, types.CheckRequest((), token)),
            (_calls.TOKEN_CHECK, types.TokenCheckRequest(token)),
            (_calls.ROTATE, types.RotateRequest(token, 1, next_opaque=secret)),
            (_calls.FAMILY_OPEN, types.FamilyOpenRequest("s", 1, opaque=secret)),
            (_calls.REVOKE, types.RevokeRequest("opaque", secret)),
            (_calls.REVOKE, types.RevokeRequest("signed", secret))):
        assert secret not in message_of(kind, request)[0]


ITEM = types.Item((b"k",), (RATE,))


def checking(**fields):
    return types.CheckRequest((ITEM, ITEM._replace(**fields)))


@pytest.mark.parametrize("kind, asked, error, words", [
    (CHECK, types.CheckRequest(()), ValueError, "an item or a token"),
    (CHECK, types.CheckRequest((ITEM,) * 65), ValueError, "items: at most 64"),
    (CHECK, checking(key=()), ValueError, "items[1].key: a key has 1 to 8 parts"),
    (CHECK, checking(key=(b"",) * 9), ValueError, "items[1].key: a key has 1 to 8 parts"),
    (CHECK, checking(key=(b"x" * 1025,)), ValueError, "items[1].key: a part has"),
    (CHECK, checking(key="abc"), TypeError, "items[1].key: a tuple is wanted, not <class 'str'>"),
    (CHECK, checking(key=("abc",)), TypeError, "items[1].key: "),
    (CHECK, checking(rates=()), ValueError, "items[1].limit: name a limit or give rates"),
    (CHECK, checking(rates=(RATE,) * 9), ValueError, "items[1].rates: at most 8"),
    (CHECK, checking(rates=(types.Rate(1, 0),)), ValueError, "1 ms to 45 days"),
    (CHECK, checking(rates=(types.Rate(-1, 5),)), ValueError, "below 2^40"),
    (CHECK, checking(rates=((1, 5),)), TypeError, "items[1].rates: "),
    (CHECK, checking(rates=(types.Rate("1", 5),)), TypeError, "items[1].rates.count: an int"),
    (CHECK, checking(cost=0), ValueError, "items[1].cost: at least 1"),
    (CHECK, checking(cost=2**40), ValueError, "items[1].cost: below"),
    (CHECK, checking(burst=2**40), ValueError, "items[1].burst: below"),
    (CHECK, checking(precision=1), ValueError, "items[1].precision: 2 to 4096"),
    (CHECK, checking(algorithm="calendar"), ValueError, "items[1].algorithm: 'calendar'"),
    (CHECK, checking(limit="x" * 65), ValueError, "items[1].limit: a name has at most 64 bytes"),
    (CHECK, checking(limit="\udcff"), ValueError, "a lone surrogate"),
    (CHECK, types.CheckRequest([ITEM]), TypeError, "items: a tuple is wanted"),
    (CHECK, types.CheckRequest((("k",),)), TypeError, "items[0]: "),
    (CHECK, types.CheckRequest((ITEM,), peek=1), TypeError, "peek: a bool is wanted"),
    (CHECK, types.CheckRequest((ITEM,), token="t"), TypeError, "token: "),
    (CHECK, types.CheckRequest((ITEM,), namespace="n" * 65), ValueError, "namespace: at most 64"),
    (CHECK, types.PingRequest(), TypeError, "request: "),
    (CHECK, types.CheckRequest((), types.Token(iat_s=-1)), ValueError,
     "iat_s: -1 is out of range (0 to 18446744073709551615)"),
    (CHECK, types.CheckRequest((), types.Token(jti=5)), TypeError, "token.jti: a str is wanted"),
    (CHECK, types.CheckRequest((), types.Token(raw=b"x" * 70000)), ValueError, "too big"),
    (_calls.REFUND, types.RefundRequest(()), ValueError, "a refund has 1 to 64"),
    (_calls.REFUND, types.RefundRequest((ITEM,)), TypeError, "items[0]: "),
    (_calls.REFUND, types.RefundRequest((types.RefundItem(ITEM, (1,) * 9),)), ValueError,
     "items[0].charges: at most 8"),
    (_calls.REFUND, types.RefundRequest((types.RefundItem(ITEM, (-1,)),)), ValueError,
     "charges: -1 is out of range"),
    (_calls.RESERVE, types.ReserveRequest((ITEM,), 5, 4), ValueError, "max is not below min"),
    (_calls.RESERVE, types.ReserveRequest((ITEM,), lease_ms=2**32), ValueError, "lease_ms: "),
    (_calls.COMMIT, types.CommitRequest(b"short", 1), ValueError, "lease: 16 bytes are wanted"),
    (_calls.COMMIT, types.CommitRequest(b"x" * 16, -1), ValueError, "used: -1"),
    (_calls.REVOKE, types.RevokeRequest("everything", b"v"), ValueError, "scope: 'everything'"),
    (_calls.REVOKE, types.RevokeRequest("", b"v"), ValueError, "scope: ''"),
    (_calls.REVOKE, types.RevokeRequest("token"), ValueError, "value: "),
    (_calls.REVOKE, types.RevokeRequest("token", b"v", reason="boredom"), ValueError,
     "reason: 'boredom'"),
    (_calls.REVOKE, types.RevokeRequest("token", b"v", level="most"), ValueError, "level: 'most'"),
    (_calls.REVOKE, types.RevokeRequest("opaque", b"v", hashed=True), ValueError,
     "value: 32 bytes are wanted, not 1"),
    (_calls.UNREVOKE, types.UnrevokeRequest(()), ValueError, "1 to 64 facts"),
    (_calls.UNREVOKE, types.UnrevokeRequest((types.FactName(b"x" * 17, 1),)), ValueError,
     "ids[0].origin: 16 bytes are wanted"),
    (_calls.ROTATE, types.RotateRequest(types.Token(), 1, next_jti="x" * 513), ValueError,
     "next_jti: at most 512 bytes"),
    (_calls.ROTATE, types.RotateRequest(types.Token(), 1, generation="1"), TypeError,
     "generation: an int or"),
    (_calls.FAMILY_END, types.FamilyEndRequest(""), ValueError, "which family"),
])
def test_a_request_that_is_wrong_says_where(kind, asked, error, words):
    with pytest.raises(error, match=re.escape(words)):
        message_of(kind, asked)


# ---- replies -----------------------------------------------------------------------------------


def values_of(field):
    """What a field of a table may hold, as Google's message takes it."""
    kind = field.kind
    if kind in (_wire.U64, _wire.FIXED):
        return u64s
    if kind == _wire.U32:
        return u32s
    if kind == _wire.BOOL:
        return st.booleans()
    if kind == _wire.ENUM:
        return st.sampled_from([*field.words, 62])  # 62: a word of a later version
    if kind == _wire.DATA:
        return st.binary(max_size=min(field.maximum, 40))
    if kind == _wire.TEXT:
        return st.text(max_size=10).map(lambda text: text.encode()[:field.maximum])
    raise AssertionError(kind)


def fill(draw, message, table):
    """Fill Google's @message with drawn values for every field of @table."""
    by_number = {one.number: one for one in message.DESCRIPTOR.fields}
    for tag, (_, _, field) in table.by_tag.items():
        name = by_number[field.number].name
        if field.kind == _wire.MESSAGE:
            if draw(st.booleans()):
                getattr(message, name).SetInParent()
                fill(draw, getattr(message, name), field.message)
        elif field.kind == _wire.MESSAGES:
            for _ in range(draw(st.integers(0, 3))):
                fill(draw, getattr(message, name).add(), field.message)
        elif field.kind in (_wire.U64S, _wire.FIXEDS):
            if tag & 7 == _wire.LENGTH:
                getattr(message, name).extend(draw(st.lists(u64s, max_size=5)))
        elif field.kind != _wire.BODY:
            setattr(message, name, draw(values_of(field)))


def expected(message, table):
    """The values that reading @message by @table has to give."""
    by_number = {one.number: one for one in message.DESCRIPTOR.fields}
    values = table.zeros[:]
    for place, _, field in table.by_tag.values():
        value = getattr(message, by_number[field.number].name)
        if field.kind == _wire.MESSAGE:
            present = message.HasField(by_number[field.number].name)
            value = expected(value, field.message) if present else None
        elif field.kind == _wire.MESSAGES:
            value = [expected(one, field.message) for one in value] or ()
        elif field.kind in (_wire.U64S, _wire.FIXEDS, _wire.DATAS):
            value = list(value) or ()
        elif field.kind == _wire.ENUM:
            value = field.words.get(value, field.words[0])
        elif field.kind == _wire.TEXT:
            value = value.decode("utf-8", "replace")
        elif field.kind == _wire.BODY:
            if message.WhichOneof("body") != by_number[field.number].name:
                continue
            value = (field.number, expected(value, field.message))
        values[place] = value
    return values


@st.composite
def replies(draw, wire, number):
    reply = wire.Reply(id=draw(u64s), status=draw(st.integers(0, 9)),
                       error=draw(st.text(max_size=20)).encode())
    if draw(st.booleans()):
        reply.hello.version = 1
        reply.hello.in_flight_max = draw(u32s)
        reply.hello.roles.extend([1, 2, 3])
        reply.hello.server = b"unknown fields are passed over"
    if draw(st.booleans()):
        reply.goaway.last_id = draw(u64s)
    name = {one.number: one.name for one in wire.Reply.DESCRIPTOR.fields}[number]
    getattr(reply, name).SetInParent()
    fill(draw, getattr(reply, name), BODIES[number])
    return reply


@pytest.mark.parametrize("number", sorted(BODIES))
def test_every_reply_that_google_writes_is_read(wire, number):
    @settings(SLOW, max_examples=40)
    @given(replies(wire, number))
    def run(reply):
        values = read(_tables.REPLY, reply.SerializeToString())
        assert values == expected(reply, _tables.REPLY)
        for kind in KINDS:
            if kind.body == number:
                answer = kind.decode(values[5][1], "note")
                assert answer.info.source == "daemon"
    run()


@pytest.mark.parametrize("number", sorted(BODIES))
def test_mutated_replies_raise_one_error_or_are_read(wire, number):
    """And never anything else, whatever stands in them."""
    @settings(SLOW, max_examples=60)
    @given(replies(wire, number), st.data())
    def run(reply, data):
        damaged = bytearray(reply.SerializeToString())
        for _ in range(data.draw(st.integers(1, 6))):
            at = data.draw(st.integers(0, max(0, len(damaged) - 1)))
            what = data.draw(st.sampled_from(("flip", "cut", "insert", "repeat")))
            if what == "flip" and damaged:
                damaged[at] = data.draw(st.integers(0, 255))
            elif what == "cut":
                del damaged[at:]
            elif what == "insert":
                damaged[at:at] = data.draw(st.binary(min_size=1, max_size=12))
            else:
                damaged += damaged[at:]
        try:
            values = read(_tables.REPLY, bytes(damaged))
        except WireError:
            return
        if values[5] is not None:
            for kind in KINDS:
                if kind.body == values[5][0]:
                    kind.decode(values[5][1], "")
    run()


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200))
def test_noise_raises_one_error_or_is_read(noise):
    try:
        read(_tables.REPLY, noise)
    except WireError:
        pass


def field_bytes(number, wire_type, content):
    return _wire.varint(number << 3 | wire_type) + content


OK = _wire.varint(2 << 3) + b"\x01"


@pytest.mark.parametrize("message, why", [
    (b"\x08", "cut short"),
    (b"\x08\x80", "cut short"),
    (b"\x1a\x05abc", "beyond"),
    (b"\x1a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "beyond"),
    (b"\x08" + b"\x80" * 10 + b"\x01", "64 bits"),
    (b"\x08" + b"\xff" * 9 + b"\x02", "64 bits"),
    (b"\x00\x01", "not a field"),
    (b"\x0a\x01a", "another type"),  # id as bytes
    (field_bytes(200, 3, b""), "group"),
    (field_bytes(200, 6, b""), "group"),
    (field_bytes(200, 1, b"1234567"), "beyond"),
    (field_bytes(200, 2, b"\x05abc"), "beyond"),
    (field_bytes(3, 2, _wire.sized(b"x" * 513)), "over its cap"),
    (field_bytes(16, 2, _wire.sized(field_bytes(2, 2, b"\x00") * 65)), "list over its cap"),
    (field_bytes(16, 2, _wire.sized(b"\x08")), "cut short|beyond"),
    (field_bytes(18, 2, _wire.sized(b"\x0a\x42" + b"\x01" * 65 + b"\x80")), "cut short|over"),
    (field_bytes(27, 2, _wire.sized(field_bytes(1, 2, b"\x00") * 16385)), "list over its cap"),
    (field_bytes(4, 2, b"\x00") * 2, "twice"),
    (field_bytes(17, 2, _wire.sized(field_bytes(7, 2, b"\x00") * 2)), "twice"),
])
def test_what_no_reply_can_be_is_refused(message, why):
    with pytest.raises(WireError, match=why):
        read(_tables.REPLY, message)


def test_a_number_may_not_reach_beyond_its_message():
    inner = _wire.sized(b"\x08\x80") + OK  # the verdict's number goes on in the status
    with pytest.raises(WireError, match="beyond"):
        read(_tables.REPLY, field_bytes(16, 2, inner))


def test_what_is_not_known_is_passed_over_and_what_is_long_is_taken():
    message = (b"\x88\x00\x85\x80\x00" + field_bytes(1000, 0, b"\xff\x01") +
               field_bytes(1001, 1, b"12345678") + field_bytes(1002, 2, b"\x03abc") +
               field_bytes(1003, 5, b"1234") + OK)
    assert read(_tables.REPLY, message)[:2] == [5, 1]


def test_fields_that_stand_twice_are_merged_and_the_last_body_holds(wire):
    first = wire.Reply(status=1, check=wire.CheckReply(verdict=1, results=[wire.RateResult()]))
    second = wire.Reply(status=2, check=wire.CheckReply(results=[wire.RateResult(count=3)]))
    merged = first.SerializeToString() + second.SerializeToString()
    assert read(_tables.REPLY, merged) == expected(wire.Reply.FromString(merged), _tables.REPLY)
    other = merged + wire.Reply(reset=wire.ResetReply(records=4)).SerializeToString()
    assert read(_tables.REPLY, other)[5] == (19, [4])
    back = other + first.SerializeToString()
    assert len(read(_tables.REPLY, back)[5][1][1]) == 1


def test_lists_are_read_packed_and_unpacked():
    packed = field_bytes(18, 2, _wire.sized(b"\x0a\x03\x01\xac\x02"))
    unpacked = field_bytes(18, 2, _wire.sized(b"\x08\x01\x08\xac\x02"))
    assert read(_tables.REPLY, packed)[5] == read(_tables.REPLY, unpacked)[5] == (18, [[1, 300]])


def test_a_word_of_a_later_version_reads_as_none():
    assert read(_tables.CHECK_REPLY, b"\x08\x09")[0] == "undecided"
    assert read(_tables.TOKEN_VERDICT, b"\x08\x09\x10\x63\x18\x63")[:3] == ["undecided", "", ""]
    answer = _answers.rotate(read(_tables.ROTATE_REPLY, b"\x08\x63"), "p")
    assert (answer.result, answer.info.cause, answer.info.effect) == (
        "unavailable", "unavailable", "unknown")  # and no 401


def test_identifiers_that_are_no_text_are_marked():
    assert read(_tables.FAMILY_OPEN_REPLY, b"\x0a\x03a\xffb")[0] == "a\ufffdb"
