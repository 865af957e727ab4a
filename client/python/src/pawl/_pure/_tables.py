"""The messages of proto/pawl/v1/pawl.proto that this client writes and reads, with the caps of
caps.h. The order of a table's fields is that of the named tuple which is made from its values.
"""

from ._wire import (Message, body, data, datas, fixed, fixeds, flag, message, messages, text, u32,
                    u64, u64s, word)

FRAME_HEADER_BYTES = 4
REQUEST_BYTES_MAX = 65536
REPLY_BYTES_MAX = 1048576
ITEMS_MAX = 64
KEY_PARTS_MAX = 8
KEY_BYTES_MAX = 1024
RATES_MAX = 8
RESULTS_MAX = 64
LIMIT_NAME_MAX = 64
NAMESPACE_MAX = 64
CLAIM_MAX = 255
TOKEN_MAX = 8192
ACTOR_MAX = 128
FACT_IDS_MAX = 64
FIELD_BYTES_MAX = 512
PRECISION_MIN = 2
PRECISION_MAX = 4096
COUNT_MAX = (1 << 40) - 1
WINDOW_MS_MAX = 3888000000

# ---- enumerations: number to word ---------------------------------------------------------------

STATUSES = {0: "unsupported", 1: "ok", 2: "invalid", 3: "not_permitted", 4: "unavailable",
            5: "timeout", 6: "unsupported", 7: "full", 8: "not_found", 9: "frozen",
            10: "unavailable"}
VERDICTS = {0: "undecided", 1: "allow", 2: "deny", 3: "undecided"}
ON_ERRORS = {0: "", 1: "open", 2: "closed", 3: "local"}
ALGORITHMS = {0: "sliding", 1: "gcra", 2: "calendar", 3: "concurrency"}
TOKEN_STATES = {0: "undecided", 1: "valid", 2: "revoked", 3: "expired", 4: "invalid",
                5: "undecided"}
REASONS = {0: "", 1: "logout", 2: "logout_all", 3: "password_change", 4: "compromised", 5: "reuse",
           6: "admin", 7: "key_compromised", 8: "account_disabled", 9: "superseded", 10: "thaw",
           11: "mismatch", 12: "fork", 63: "other"}
SCOPES = {0: "", 1: "token", 2: "signed", 3: "opaque", 4: "family", 5: "subject", 6: "client",
          7: "key", 8: "namespace"}
LEVELS = {0: "", 1: "memory", 2: "durable", 3: "quorum", 4: "everywhere"}
ROTATIONS = {0: "unavailable", 1: "rotated", 2: "grace", 3: "adopted", 4: "raced", 5: "reuse",
             6: "revoked", 7: "expired", 8: "not_yet_valid", 9: "mismatch", 10: "family_expired",
             11: "unknown", 12: "invalid", 13: "denied", 14: "unavailable"}

# ---- what stands in requests ---------------------------------------------------------------------

HELLO = Message(u32(1), u32(2), u64(3), data(4), data(5, NAMESPACE_MAX), data(6), data(7), data(8))
RATE = Message(u64(1), u32(2), word(3, ALGORITHMS), u64(4))
CHECK_ITEM = Message(data(1, LIMIT_NAME_MAX), datas(2, KEY_BYTES_MAX, KEY_PARTS_MAX), u64(3),
                     messages(4, RATE, RATES_MAX), u32(5), word(6, ON_ERRORS),
                     data(7, LIMIT_NAME_MAX))
TOKEN = Message(data(1, CLAIM_MAX), data(2, CLAIM_MAX), data(3, CLAIM_MAX), data(4, CLAIM_MAX),
                data(5, CLAIM_MAX), data(6, CLAIM_MAX), u64(7, "iat_s"), u64(8, "exp_s"), data(9),
                data(10), data(11, TOKEN_MAX), data(12), data(13))
CHECK = Message(messages(1, CHECK_ITEM, ITEMS_MAX), u32(2), u32(3), message(4, TOKEN))
TOKEN_CHECK = Message(message(1, TOKEN))
REFUND_ITEM = Message(data(1, LIMIT_NAME_MAX), datas(2, KEY_BYTES_MAX, KEY_PARTS_MAX), u64(3),
                      messages(4, RATE, RATES_MAX), fixeds(5, RATES_MAX, "charges"))
REFUND = Message(messages(1, REFUND_ITEM, ITEMS_MAX))
RESET = Message(data(1, LIMIT_NAME_MAX), datas(2, KEY_BYTES_MAX, KEY_PARTS_MAX),
                messages(3, RATE, RATES_MAX))
RESERVE = Message(messages(1, CHECK_ITEM, ITEMS_MAX), u64(2), u64(3), u32(4, "lease_ms"))
COMMIT = Message(data(1), u64(2, "used"))
CANCEL = Message(data(1))
REVOKE = Message(word(1, SCOPES), data(2, CLAIM_MAX), data(3, CLAIM_MAX), u64(4, "before_ms"),
                 u64(5, "exp_s"), word(6, REASONS), data(7, ACTOR_MAX), word(8, LEVELS),
                 data(9, TOKEN_MAX))
FACT_ID = Message(data(1), u64(2, "sequence"))
UNREVOKE = Message(messages(1, FACT_ID, FACT_IDS_MAX), data(2, ACTOR_MAX), word(3, LEVELS))
FAMILY_OPEN = Message(data(1, CLAIM_MAX), data(2, CLAIM_MAX), data(3, CLAIM_MAX), data(4),
                      data(5, CLAIM_MAX), u64(6, "iat_s"), u64(7, "exp_s"), word(8, LEVELS),
                      data(9))
FAMILY_END = Message(data(1, CLAIM_MAX), data(2, CLAIM_MAX), word(3, REASONS),
                     data(4, ACTOR_MAX), word(5, LEVELS), u64(6, "exp_s"))
ROTATE = Message(message(1, TOKEN), u64(2, "generation"), flag(3), data(4, CLAIM_MAX),
                 u64(5, "next_iat_s"), u64(6, "next_exp_s"), data(7), u32(8, "leeway_ms"), flag(9),
                 flag(10), flag(11), data(12), word(13, LEVELS), data(14), data(15))
LIMITS = Message(data(1, LIMIT_NAME_MAX), data(2, LIMIT_NAME_MAX))
STATS = Message(data(1))
PING = Message()

# ---- what stands in replies ----------------------------------------------------------------------

HELLO_REPLY = Message(u32(1), u32(7))
GO_AWAY = Message(u64(1), data(2), u32(3))
#: as RateAnswer
RATE_RESULT = Message(u32(1), u32(2), u32(3), u64(4), u64(5), u64(6), u64(7), u64(8), u64(9),
                      fixed(13), flag(10), flag(11), flag(12), flag(14), flag(15), flag(17),
                      flag(18), word(16, ON_ERRORS))
#: as Claims
CLAIMS = Message(text(1), text(2), text(3), text(4), text(5), text(6), u64(7), u64(8))
#: as TokenAnswer
TOKEN_VERDICT = Message(word(1, TOKEN_STATES), word(2, REASONS), word(3, SCOPES), flag(4), u64(5),
                        text(6), message(7, CLAIMS, once=True))
CHECK_REPLY = Message(word(1, VERDICTS), messages(2, RATE_RESULT, RESULTS_MAX),
                      message(3, TOKEN_VERDICT))
REFUND_REPLY = Message(u64s(1, ITEMS_MAX))
RESET_REPLY = Message(u32(1))
RESERVE_REPLY = Message(word(1, VERDICTS), u64(2), data(3), u32(4),
                        messages(5, RATE_RESULT, RESULTS_MAX))
COMMIT_REPLY = Message(u64(1))
REVOKE_REPLY = Message(word(1, LEVELS), word(2, LEVELS), message(3, FACT_ID), u64(4))
UNREVOKE_REPLY = Message(u32(1), word(2, LEVELS), message(3, FACT_ID))
FAMILY_OPEN_REPLY = Message(text(1, CLAIM_MAX), u64(2), word(3, LEVELS), u64(4))
ROTATE_REPLY = Message(word(1, ROTATIONS), word(2, REASONS), u64(3), text(4, CLAIM_MAX), u64(5),
                       u64(6), text(7, CLAIM_MAX), flag(8), u32(9), u32(10), u64(11),
                       text(12, CLAIM_MAX), data(13), data(14))
LISTED_RATE = Message(u64(1), u32(2))
LIMIT_INFO = Message(text(1, LIMIT_NAME_MAX), messages(2, LISTED_RATE, RATES_MAX), u32(3),
                     word(4, ON_ERRORS), flag(5), flag(6), text(7), text(8, NAMESPACE_MAX),
                     word(9, ALGORITHMS))
LIMITS_REPLY = Message(messages(1, LIMIT_INFO), flag(2))
STAT = Message(text(1), u64(2), text(3), flag(4))
STATS_REPLY = Message(messages(1, STAT))

#: id, status (as a number: an unknown one is not none), error, hello, goaway, body, effect unknown
REPLY = Message(u64(1), u32(2), text(3), message(4, HELLO_REPLY, once=True), message(5, GO_AWAY),
                body(16, CHECK_REPLY), body(17, TOKEN_VERDICT), body(18, REFUND_REPLY),
                body(19, RESET_REPLY), body(20, REVOKE_REPLY), body(21, UNREVOKE_REPLY),
                body(22, ROTATE_REPLY), body(23, FAMILY_OPEN_REPLY), body(24, REVOKE_REPLY),
                body(27, STATS_REPLY), body(28, LIMITS_REPLY), body(30, PING),
                body(31, RESERVE_REPLY), body(32, COMMIT_REPLY), body(33, COMMIT_REPLY), flag(7))
