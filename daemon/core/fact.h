/*
 * Facts: records about tokens that are never taken back.
 *
 * A fact is a revocation (this token, this family, or everything of X), a cutoff (all tokens of X
 * up to a moment) or a cancel (these facts about tokens no longer count). Facts are joined only:
 * the set of facts grows, the set of cancelled ids grows, until and cutoff take the larger value.
 * Nodes therefore agree whatever order facts arrive in, and however often.
 *
 * A struct pawl_fact lends its bytes: from its maker, or from the buffer it was decoded from. One
 * serialized form serves the log, the rows of the store and the wire between nodes.
 *
 * Everything here is pure and may be called from any thread.
 */
#ifndef PAWL_CORE_FACT_H
#define PAWL_CORE_FACT_H

#include "core/keyhash.h"
#include "core/siphash.h"
#include "core/status.h"
#include "core/types.h"

/* Caps; what is longer is refused with PAWL_ETOOBIG, never cut. */
#define PAWL_NS_MAX                 64
#define PAWL_NAME_MAX               512 /* issuer, jti, sid, sub, client, kid */
#define PAWL_ACTOR_MAX              128
#define PAWL_FACT_CANCELS_MAX       64
#define PAWL_FACT_EXTRA_MAX         1024
#define PAWL_ORIGIN_BYTES           16
#define PAWL_FACT_ID_BYTES          24
#define PAWL_FACT_CANCELS_BYTES_MAX ((size_t)PAWL_FACT_CANCELS_MAX * PAWL_FACT_ID_BYTES)
#define PAWL_FACT_BYTES_MAX         8192 /* any serialized fact, of unknown kinds too */

/* Kept this much longer than the token lives: more than any clock skew that is allowed. */
#define PAWL_FACT_SLACK_S 3600
/* A cutoff reaches this far past "now": how far the clocks of a fleet may lie apart. */
#define PAWL_CUTOFF_BOUND_MS 100
/* A "cutoff" that spares nothing, not even what is minted later: see PAWL_FACT_REVOCATION. */
#define PAWL_CUTOFF_ALL_MS ((UINT64_C(1) << 42) - 1)

/** What a fact is about; the numbers are stored. */
enum pawl_scope {
    PAWL_SCOPE_NONE = 0,
    PAWL_SCOPE_TOKEN = 1,     /* issuer + jti */
    PAWL_SCOPE_SIGNED = 2,    /* a JWT without jti: SHA-256 of header.payload */
    PAWL_SCOPE_OPAQUE = 3,    /* SHA-256 of an opaque token or API key */
    PAWL_SCOPE_FAMILY = 4,    /* issuer + sid */
    PAWL_SCOPE_SUBJECT = 5,   /* issuer + sub */
    PAWL_SCOPE_CLIENT = 6,    /* issuer + client */
    PAWL_SCOPE_KEY = 7,       /* issuer + kid */
    PAWL_SCOPE_NAMESPACE = 8, /* everything in the namespace */
};
#define PAWL_SCOPES 9 /* a table indexed by scope */

/** Why; a closed list, the numbers are stored (6 bits). Newer ones are kept and read "other". */
#define PAWL_REASON_MAP(X)                                                                     \
    X(NONE, 0, "none")                                                                         \
    X(LOGOUT, 1, "logout")                                                                     \
    X(LOGOUT_ALL, 2, "logout_all")                                                             \
    X(PASSWORD_CHANGE, 3, "password_change")                                                   \
    X(COMPROMISED, 4, "compromised")                                                           \
    X(REUSE, 5, "reuse")                                                                       \
    X(ADMIN, 6, "admin")                                                                       \
    X(KEY_COMPROMISED, 7, "key_compromised")                                                   \
    X(ACCOUNT_DISABLED, 8, "account_disabled")                                                 \
    X(SUPERSEDED, 9, "superseded")                                                             \
    X(THAW, 10, "thaw")                                                                        \
    X(MISMATCH, 11, "mismatch") /* a token of the family came from another client or device */ \
    X(FORK, 12, "fork")         /* two winners of one generation, found when versions met */   \
    X(OTHER, 63, "other")

enum pawl_reason {
#define X(name, value, text) PAWL_REASON_##name = (value),
    PAWL_REASON_MAP(X)
#undef X
};

enum pawl_fact_kind {
    PAWL_FACT_NONE = 0,
    /* Token scopes and family: refused until `until_s`. Subject, client, key, namespace: every
     * token of it is refused until then, whatever its age, new ones too (a stolen signing key
     * mints tokens of any date). */
    PAWL_FACT_REVOCATION = 1,
    PAWL_FACT_CUTOFF = 2, /* subject, client, key, namespace: tokens up to `cutoff_ms` */
    PAWL_FACT_CANCEL = 3, /* the facts named in `cancels` no longer count */
};

/** One node's life: node id (8 bytes), then boot nonce (8 bytes). */
struct pawl_origin {
    uint8_t bytes[PAWL_ORIGIN_BYTES];
};

/** The name of a fact, given once by the node that took it; sequences start at 1. */
struct pawl_fact_id {
    struct pawl_origin origin;
    uint64_t sequence;
};

struct pawl_fact {
    struct pawl_fact_id id;
    unsigned kind; /* enum pawl_fact_kind, or a number of a newer version */
    enum pawl_scope scope;
    enum pawl_reason reason;
    struct pawl_bytes ns;
    struct pawl_bytes issuer;  /* "" when none; not used by signed, opaque and namespace scope */
    struct pawl_bytes value;   /* jti, sid, sub, client, kid in clear; 32 bytes of hash; "" */
    struct pawl_bytes actor;   /* who asked, "" when not known */
    uint64_t cutoff_ms;        /* fleet clock; 0 unless a cutoff */
    uint64_t at_ms;            /* fleet clock: when it was taken */
    uint64_t until_s;          /* kept until; see pawl_fact_until() */
    struct pawl_bytes cancels; /* PAWL_FACT_ID_BYTES for each id; pawl_fact_id_write() */
    struct pawl_bytes extra;   /* of a newer version: kept and passed on */
    struct pawl_bytes raw;     /* unknown kind or version: all its bytes, else empty */
};

/** The name of @reason, never NULL; numbers that are not known here read "other". */
const char *pawl_reason_name(enum pawl_reason reason);

/** The reason called @name, or PAWL_REASON_NONE. */
enum pawl_reason pawl_reason_parse(struct pawl_bytes name);

/** The name of @scope ("token", "family", ...), never NULL. */
const char *pawl_scope_name(enum pawl_scope scope);

/** Whether @scope is ruled by cutoffs (subject, client, key, namespace). */
static inline bool pawl_scope_has_cutoff(enum pawl_scope scope)
{
    return scope >= PAWL_SCOPE_SUBJECT && scope <= PAWL_SCOPE_NAMESPACE;
}

/** Whether @scope names one token (by jti, by text, opaque). */
static inline bool pawl_scope_is_token(enum pawl_scope scope)
{
    return scope >= PAWL_SCOPE_TOKEN && scope <= PAWL_SCOPE_OPAQUE;
}

/**
 * The identity of a scope key: 126 bits of keyed hash over length-prefixed (ns, issuer, scope,
 * value), and two bits that say tokens, families, subjects or the rest. The same in memory, on disk
 * and between nodes. Signed, opaque and namespace scope leave out @issuer (a hash is its own name);
 * number and string forms of a sub are made one by the caller.
 *
 * @facts  the `facts` subkey. @ns, @issuer, @value: within the caps above (asserted).
 */
struct pawl_id pawl_scope_id(const struct pawl_subkey *facts, enum pawl_scope scope,
                             struct pawl_bytes ns, struct pawl_bytes issuer,
                             struct pawl_bytes value);

/** Makes several identities of one (ns, issuer): what they share is hashed once. */
struct pawl_scope_keyer {
    const struct pawl_subkey *facts;
    struct pawl_bytes ns;
    struct pawl_siphash shared; /* after ns and issuer */
};

/** @ns and @issuer are lent until the last pawl_scope_keyer_id(). */
void pawl_scope_keyer_init(struct pawl_scope_keyer *keyer, const struct pawl_subkey *facts,
                           struct pawl_bytes ns, struct pawl_bytes issuer);

/** pawl_scope_id() of (@scope, ns, issuer, @value). */
PAWL_HOT struct pawl_id pawl_scope_keyer_id(const struct pawl_scope_keyer *keyer,
                                            enum pawl_scope scope, struct pawl_bytes value);

/** The identity of what @fact is about; for revocations and cutoffs that were checked. */
struct pawl_id pawl_fact_scope_id(const struct pawl_subkey *facts, const struct pawl_fact *fact);

/**
 * Until when a fact has to be kept, in unix seconds: for one token its exp plus the
 * slack, but never later than a token can live; for anything else the longest life.
 *
 * @exp_s           the largest exp ever claimed for the token; <= 0: not known.
 * @now_s           the later one of fleet clock and civil time.
 * @max_lifetime_s  tokens.max_lifetime.
 */
uint64_t pawl_fact_until(enum pawl_scope scope, int64_t exp_s, uint64_t now_s,
                         uint64_t max_lifetime_s);

/**
 * The moment to store in a cutoff: now + PAWL_CUTOFF_BOUND_MS or the last birth, whichever is
 * later, or @before_ms if that is earlier still.
 * @before_ms     what the caller asked for, fleet clock; 0: everything up to now.
 * @birth_max_ms  of any login that was acknowledged: pawl_revocations_birth_max_ms(). Logins after
 * a cutoff are born later than now, and the next cutoff has to reach them.
 */
uint64_t pawl_cutoff_ms(struct pawl_stamp now, uint64_t before_ms, uint64_t birth_max_ms);

/** Whether a cancel may name @fact: revocations of tokens only, never families or cutoffs. */
bool pawl_fact_cancellable(const struct pawl_fact *fact);

/** Whether @fact (of kind cancel) names @id. */
bool pawl_fact_cancels(const struct pawl_fact *fact, const struct pawl_fact_id *id);

/**
 * Check that @fact can be stored: kind and scope fit each other, sizes within the caps, what must
 * be there is there. @error may be NULL. Returns PAWL_OK, PAWL_EINVAL or PAWL_ETOOBIG.
 */
PAWL_MUST_USE enum pawl_status pawl_fact_check(const struct pawl_fact *fact,
                                               struct pawl_error *error);

/**
 * Serialize @fact into @buffer; a fact with `raw` passes through byte for byte. Checks it first.
 *
 * @size  out: bytes written. Returns PAWL_OK, what pawl_fact_check() says, or PAWL_ETOOBIG when
 * @capacity is too small (PAWL_FACT_BYTES_MAX always suffices).
 *
 * Form (little endian): version u8 = 1, kind u8, origin 16, sequence u64, at_ms u64, until_s u64,
 * ns u16+bytes; these stay so in every version. Then scope u8, reason u8, cutoff_ms u64, and
 * u16+bytes each: issuer, value, actor, cancels, extra. Nothing may follow.
 */
PAWL_MUST_USE enum pawl_status pawl_fact_encode(const struct pawl_fact *fact, uint8_t *buffer,
                                                size_t capacity, size_t *size);

/**
 * Read a serialized fact; @fact lends from @bytes. A kind or version that is not known here gives
 * PAWL_OK with id, at, until, ns and `raw` filled: keep it and pass it on.
 * Returns PAWL_OK or PAWL_ECORRUPT (never a partly filled fact).
 */
PAWL_MUST_USE enum pawl_status pawl_fact_decode(struct pawl_fact *fact, struct pawl_bytes bytes);

/** Whether pawl_fact_decode() knew the kind and version. */
static inline bool pawl_fact_is_known(const struct pawl_fact *fact)
{
    return fact->raw.size == 0;
}

/** Total order of ids: by origin, then sequence. Negative, 0, positive. */
int pawl_fact_id_compare(const struct pawl_fact_id *a, const struct pawl_fact_id *b);

/** Write @id as PAWL_FACT_ID_BYTES bytes (origin, then sequence little endian), and back. */
void pawl_fact_id_write(uint8_t *out, const struct pawl_fact_id *id);
struct pawl_fact_id pawl_fact_id_read(const uint8_t *bytes);

/** Text form of an id, "<origin in hex>-<sequence>": for people, JSON and unrevoke. */
#define PAWL_FACT_ID_TEXT_BYTES 54 /* with the closing NUL */
void pawl_fact_id_format(char *text, const struct pawl_fact_id *id);
PAWL_MUST_USE enum pawl_status pawl_fact_id_parse(struct pawl_fact_id *id, struct pawl_bytes text);

#endif
