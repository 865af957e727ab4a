/*
 * libpawl: ask pawld "may this caller go on, at this pace?" and "is this token still good?".
 *
 *     struct pawl_client *client = NULL;
 *     char error[PAWL_TEXT_BYTES];
 *
 *     if (pawl_client_create(NULL, &client, error, sizeof(error)) != PAWL_RC_OK) { ... }
 *     struct pawl_str user = pawl_str("alice");
 *     struct pawl_check_item item = {
 *         .rates = "5/minute", .key = &user, .key_count = 1, .on_error = PAWL_FAIL_CLOSED,
 *     };
 *     struct pawl_check_call check = {
 *         .struct_size = sizeof(check), .items = &item, .item_count = 1,
 *     }; struct pawl_check_result result = { .struct_size = sizeof(result) };
 *
 *     pawl_client_check(client, &check, &result);
 *     if (result.outcome == PAWL_OUTCOME_ALLOW) { serve(); }
 *
 * Outcomes. ALLOW, DENY and UNDECIDED: "cannot tell" is an outcome of its own, and what becomes of
 * it is written by the caller in each item's on_error. An answer says where it came from
 * (info.source: the daemon, or the policy in this process), why (info.cause), and whether a charge
 * or write took place (info.effect). Answer a request with 401 only for a known fact (a token that
 * is REVOKED, EXPIRED or INVALID), with 503 where nothing is known.
 *
 * Deadlines. Every call has one: 20 ms for checks, peeks, token checks and refunds; 1 s for what
 * has to be durable, and for listings; other values in the options or in the call. Connecting is
 * part of it. A breaker answers at once when the daemon has been silent several times in a row.
 *
 * Nothing is sent twice. A request of which a byte may have left this process is never sent
 * again: its outcome is that of the policy, with info.effect PAWL_EFFECT_UNKNOWN. A request of
 * which nothing has left may go to the next address. A daemon that says goaway names the requests
 * that it did not begin; these go to the next connection.
 *
 * Threads. A handle belongs to one thread at a time: one handle for each thread is the simple
 * way. With PAWL_CLIENT_LOCKED a handle may be shared: a mutex is held for the whole time of each
 * call, so that blocking calls of several threads queue behind each other (and a call may then
 * take the sum of their deadlines). Different handles never share anything. The library has no
 * threads, no signal handlers, no global state, and it does not log.
 *
 * Fork. Handles may be made before a fork (gunicorn --preload). The first call in a child sees the
 * other process id, closes its copies of the parent's sockets without sending a byte, forgets the
 * parent's pending requests (their callbacks do not fire in the child) and connects anew; the
 * parent is not disturbed. Local fallback windows and learned policies start as copies. With
 * PAWL_CLIENT_LOCKED make that first call before the child starts threads.
 *
 * Memory. Arguments are lent for the call and copied; nothing is kept but the `data` of callbacks.
 * Results go to the caller's structs, with strings in buffers inside them. Every queue, buffer and
 * table of a handle has a ceiling; a full one answers PAWL_RC_FULL.
 *
 * Versions. Structs that begin with struct_size may grow at their end; set it to the sizeof that
 * you were compiled with, and everything else to zero (a designated initializer does). Zero is
 * always the default. Structs without it never change their layout.
 *
 * Names. A number's unit ends its name: _ms milliseconds, _s seconds since 1970.
 */
#ifndef PAWL_PAWL_H
#define PAWL_PAWL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define PAWL_API __attribute__((visibility("default")))
#else
#define PAWL_API
#endif

#define PAWL_TEXT_BYTES    160 /* texts for a person, with the ending zero */
#define PAWL_TEXT_ID_MAX   512 /* an identifier: jti, sid, subject, issuer, client, kid */
#define PAWL_TEXT_RATES    8   /* rates of one limit */
#define PAWL_TEXT_IP_BYTES 44  /* pawl_key_from_ip() */
#define PAWL_CHECK_ITEMS   64  /* items of one check */
#define PAWL_CHECK_RATES   64  /* limit and rate pairs of one check: rates_max that always fits */

struct pawl_client;

/* ---- words ------------------------------------------------------------------------------- */

/** What a call returns. 0 is good. */
enum pawl_rc {
    PAWL_RC_OK = 0,
    PAWL_RC_INVALID = -1,     /* an argument, or what the daemon refuses to read: a mistake here */
    PAWL_RC_NOMEM = -2,       /* out of memory */
    PAWL_RC_FULL = -3,        /* too many requests in flight, or the daemon's ceiling is reached */
    PAWL_RC_UNAVAILABLE = -4, /* the daemon answers, but cannot now (draining, store, overload) */
    PAWL_RC_CANCELED = -5,    /* by pawl_client_cancel(), pawl_client_destroy(), or a fork */
    PAWL_RC_TIMEOUT = -6,     /* the deadline passed */
    PAWL_RC_NOT_FOUND = -7,   /* no such limit or fact */
    PAWL_RC_NOT_PERMITTED = -8, /* the daemon grants this connection no such role */
    PAWL_RC_PROTOCOL = -9,      /* the peer's bytes are not pawl's; its connection was closed */
    PAWL_RC_UNSUPPORTED = -10,  /* the daemon is of a version that does not know this */
    PAWL_RC_TOO_BIG = -11,      /* over a cap of the protocol */
    PAWL_RC_FROZEN = -14,       /* the daemon's store is frozen until thaw */
    PAWL_RC_BUSY = -16,         /* a blocking call from inside a callback of the same handle */
    PAWL_RC_CONNECT = -17,      /* no address of the list can be reached */
    PAWL_RC_LOST = -18,         /* the connection broke before the answer came */
    PAWL_RC_BREAKER = -19,      /* the breaker is open: nobody was asked */
    PAWL_RC_NO_RATES = -20,     /* PAWL_FAIL_LOCAL without rates: the daemon never told them */
};

/** The answer to a check. */
enum pawl_outcome {
    PAWL_OUTCOME_NONE = 0, /* not filled in */
    PAWL_OUTCOME_ALLOW = 1,
    PAWL_OUTCOME_DENY = 2,
    PAWL_OUTCOME_UNDECIDED = 3, /* cannot tell */
};

/** What an item's answer is when no daemon gives one. There is no default: say it. */
enum pawl_fail {
    PAWL_FAIL_UNSET = 0,  /* refused with PAWL_RC_INVALID, but see PAWL_CLIENT_NO_FALLBACK */
    PAWL_FAIL_OPEN = 1,   /* allow */
    PAWL_FAIL_CLOSED = 2, /* deny */
    PAWL_FAIL_LOCAL = 3,  /* count in this process, against limit / expected_workers (at least 1) */
};

/** Who gave the answer. */
enum pawl_source {
    PAWL_SOURCE_NONE = 0, /* nobody: the outcome is UNDECIDED, or the call failed */
    PAWL_SOURCE_DAEMON = 1,
    PAWL_SOURCE_FALLBACK = 2, /* on_error, in this process */
};

/** Whether something was charged or written in the daemon. */
enum pawl_effect {
    PAWL_EFFECT_NONE = 0, /* surely not */
    PAWL_EFFECT_DONE = 1, /* yes: the daemon said so */
    /* perhaps: a byte of the request may have left, and no answer came; or the daemon had passed it
     * on to the member of its fleet that counts it, and that one did not answer */
    PAWL_EFFECT_UNKNOWN = 2,
};

enum pawl_token_state {
    PAWL_TOKEN_STATE_NONE = 0,
    PAWL_TOKEN_STATE_VALID = 1,
    PAWL_TOKEN_STATE_REVOKED = 2,
    PAWL_TOKEN_STATE_EXPIRED = 3,
    PAWL_TOKEN_STATE_INVALID = 4,
    PAWL_TOKEN_STATE_UNDECIDED = 5,
};

/** What a revocation is about, and what a token verdict was hit by. */
enum pawl_revoke_scope {
    PAWL_REVOKE_NONE = 0,
    PAWL_REVOKE_TOKEN = 1,     /* issuer and jti */
    PAWL_REVOKE_SIGNED = 2,    /* a JWT without jti, by its header.payload; its SHA-256 is sent */
    PAWL_REVOKE_OPAQUE = 3,    /* an opaque token or API key; only its SHA-256 is sent */
    PAWL_REVOKE_FAMILY = 4,    /* issuer and sid */
    PAWL_REVOKE_SUBJECT = 5,   /* all tokens of a subject before a time */
    PAWL_REVOKE_CLIENT = 6,    /* all of a client */
    PAWL_REVOKE_KEY = 7,       /* all signed by a key (kid) */
    PAWL_REVOKE_NAMESPACE = 8, /* all of the namespace */
    PAWL_REVOKE_JWT = 100,     /* a whole JWT that pawld reads and verifies */
    PAWL_REVOKE_JWT_FAMILY = 101, /* the family of such a JWT, by its sid claim */
};

/** Why something was revoked. A reason that a later daemon knows reads PAWL_WHY_NONE or OTHER. */
enum pawl_why {
    PAWL_WHY_NONE = 0,
    PAWL_WHY_LOGOUT = 1,
    PAWL_WHY_LOGOUT_ALL = 2,
    PAWL_WHY_PASSWORD_CHANGE = 3,
    PAWL_WHY_COMPROMISED = 4,
    PAWL_WHY_REUSE = 5,
    PAWL_WHY_ADMIN = 6,
    PAWL_WHY_KEY_COMPROMISED = 7,
    PAWL_WHY_ACCOUNT_DISABLED = 8,
    PAWL_WHY_SUPERSEDED = 9,
    PAWL_WHY_THAW = 10,
    PAWL_WHY_MISMATCH = 11, /* a token of the family came from another client or device */
    PAWL_WHY_FORK = 12,     /* two winners of one generation met */
    PAWL_WHY_OTHER = 63,
};

/** How safe a write is before it is acknowledged; the answer states the level reached. */
enum pawl_level {
    PAWL_LEVEL_DEFAULT = 0, /* what the daemon's store can: durable, or quorum */
    PAWL_LEVEL_MEMORY = 1,
    PAWL_LEVEL_DURABLE = 2,
    PAWL_LEVEL_QUORUM = 3,
    PAWL_LEVEL_EVERYWHERE = 4,
};

/** The result of a rotation: what the caller does stands behind each. */
enum pawl_refresh {
    PAWL_REFRESH_NONE = 0,
    PAWL_REFRESH_ROTATED = 1,         /* mint the pair with the successor's jti, iat, exp */
    PAWL_REFRESH_GRACE = 2,           /* hand out the same successor again */
    PAWL_REFRESH_ADOPTED = 3,         /* mint the pair: a family from before pawl */
    PAWL_REFRESH_RACED = 4,           /* 409: another call won; read your own store again */
    PAWL_REFRESH_REUSE = 5,           /* 401 and alarm: stolen */
    PAWL_REFRESH_REVOKED = 6,         /* 401 */
    PAWL_REFRESH_EXPIRED = 7,         /* 401 */
    PAWL_REFRESH_NOT_YET_VALID = 8,   /* 401 */
    PAWL_REFRESH_MISMATCH = 9,        /* 401: another subject, client or binding */
    PAWL_REFRESH_FAMILY_EXPIRED = 10, /* 401 */
    PAWL_REFRESH_UNKNOWN = 11,        /* 401 */
    PAWL_REFRESH_INVALID = 12,        /* 400 */
    PAWL_REFRESH_DENIED = 13,         /* 403: the caller has not the role */
    PAWL_REFRESH_UNAVAILABLE = 14,    /* 503, keep the cookie; ask again with the same proposal */
};

/* ---- pieces ------------------------------------------------------------------------------ */

/** Lent bytes. They may hold zeros; empty is { NULL, 0 }. */
struct pawl_str {
    const void *data;
    size_t size;
};

/** @text up to its zero; NULL is empty. */
static inline struct pawl_str pawl_str(const char *text)
{
    struct pawl_str str;

    str.data = text;
    str.size = text != NULL ? strlen(text) : 0;
    return str;
}

/** An identifier in a result: @size bytes, then a zero. */
struct pawl_text {
    uint32_t size;
    char data[PAWL_TEXT_ID_MAX + 4];
};

/** How a rate counts. */
enum pawl_rate_algorithm {
    PAWL_RATE_SLIDING = 0,     /* count in any window */
    PAWL_RATE_GCRA = 1,        /* count flow in a window, burst at once */
    PAWL_RATE_CALENDAR = 2,    /* count in a period of civil time; named limits only */
    PAWL_RATE_CONCURRENCY = 3, /* count slots; each is free again after window_ms, or when the
                                  charge of its check is refunded */
};

/** So many in each window. */
struct pawl_rate_spec {
    uint64_t count;
    uint32_t window_ms; /* 1 to 45 days; 0 where there is a period */
    uint32_t algorithm; /* enum pawl_rate_algorithm */
    uint64_t burst;     /* GCRA: at once; 0: count */
    uint32_t period;    /* CALENDAR, in listings: 1 hour, 2 day, 3 week, 4 month, 5 year */
    uint32_t reserved;  /* 0 */
};

/** A fact's name. */
struct pawl_fact_name {
    uint8_t origin[16];
    uint32_t origin_size; /* 16 */
    uint32_t reserved;
    uint64_t sequence;
};

/** Beside every answer: where it comes from. */
struct pawl_info {
    enum pawl_source source;
    enum pawl_rc cause; /* why not the daemon's answer; PAWL_RC_OK with PAWL_SOURCE_DAEMON */
    enum pawl_effect effect;
    uint32_t reserved[5];
    char text[PAWL_TEXT_BYTES]; /* for a person, when cause is not PAWL_RC_OK; never a secret */
};

/* ---- the handle -------------------------------------------------------------------------- */

#define PAWL_CLIENT_LOCKED      1u /* a mutex around each call: may be shared by threads */
#define PAWL_CLIENT_NO_FALLBACK 2u /* on_error is not needed or used: no answer is UNDECIDED */
#define PAWL_CLIENT_NO_BREAKER  4u /* always try */
#define PAWL_CLIENT_INSECURE    8u /* send the credential in clear to another machine, too */

#define PAWL_CLIENT_ROUTE                                                                          \
    16u /* in a fleet: a check whose keys have one owner goes straight to it, over connections of  \
           its own to up to 16 members. Saves a hop; every member answers everything all the same. \
           For handles that live long and ask much: each of them connects to each member */

/** How a handle is made. Everything 0 or NULL is the default in brackets. */
struct pawl_client_options {
    size_t struct_size; /* sizeof(struct pawl_client_options) */
    /**
     * Addresses, tried in order: "unix:/path,tcp:host:port" [the environment's PAWL_ADDR, else
     * where a pawld without settings listens: unless root, pawl/pawld.sock in XDG_RUNTIME_DIR; then
     * unix:/run/pawl/pawld.sock, then tcp:127.0.0.1:7401]. At most 8. See pawl_client_resolve()
     * for host names.
     */
    const char *addresses;
    const char *ns;               /* namespace [of the daemon: "default"]; at most 64 bytes */
    const char *name;             /* who asks, for the daemon's logs ["libpawl"] */
    uint32_t flags;               /* PAWL_CLIENT_* */
    uint32_t check_deadline_ms;   /* check, peek, token check, refund [20] */
    uint32_t durable_deadline_ms; /* everything else [1000] */
    uint32_t breaker_failures;    /* timeouts and failed connects in a row that open it [5] */
    uint32_t breaker_open_ms;     /* open for about this long, then one request probes [100] */
    uint32_t breaker_open_max_ms; /* doubled after each failed probe, up to this [1000] */
    uint32_t expected_workers; /* processes like this one that share a PAWL_FAIL_LOCAL limit [1] */
    uint32_t local_keys_max;   /* keys counted in this process [1024]; at most 65536 */
    uint32_t in_flight_max;    /* requests pending at once [256]; at most 4096 */
    uint32_t reserved;
    /**
     * Where connections come from, in place of @addresses: returns a connected stream socket, which
     * the handle takes over and sets to non-blocking, or -1 with errno. Called from inside the
     * handle's calls whenever it needs a connection; may not call the handle. For programs that
     * hold one end of a socketpair(2), or get sockets from somebody else. [NULL]
     */
    int (*connect)(void *connect_ctx);
    void *connect_ctx;
    /*
     * TLS 1.3, for addresses of the form tls:host:port. The daemon's certificate has to be signed
     * by tls_ca and made out for the host of the address; with PAWL_CLIENT_ROUTE a member that goes
     * by a number has to prove the host of the address whose daemon named it. Files are PEM, read
     * once, here.
     */
    const char *tls_ca;          /* who signs the daemon's certificate [PAWL_TLS_CA, else what the
                                    system trusts] */
    const char *tls_certificate; /* shown to the daemon, chain included [PAWL_TLS_CERTIFICATE] */
    const char *tls_key;         /* of it, not encrypted [PAWL_TLS_KEY] */
    const char *tls_name;        /* expected in place of the address's host */
    /*
     * A shared secret: who asks, where there is no certificate. Kept until pawl_client_destroy(),
     * wiped then. Not sent over tcp: to another machine, unless PAWL_CLIENT_INSECURE.
     */
    const char *credential_id;   /* [PAWL_CREDENTIAL_ID] */
    struct pawl_str credential;  /* the secret [the first line of the file ...] */
    const char *credential_file; /* [... of this name; PAWL_CREDENTIAL_FILE] */
};

/**
 * Make a handle. Reads PAWL_ADDR where @options name no addresses (not in set-uid programs).
 * Resolves host names (this may block on the name server); does not connect: that happens with
 * the first request, so the daemon may start later.
 *
 * @options  NULL: all defaults. Lent.
 * @client   out; NULL on failure.
 * @error    may be NULL: @error_size bytes for a text saying what is wrong with which option.
 *
 * Returns PAWL_RC_OK, PAWL_RC_INVALID, PAWL_RC_NOMEM.
 */
PAWL_API int pawl_client_create(const struct pawl_client_options *options,
                                struct pawl_client **client, char *error, size_t error_size);

/**
 * End a handle: pending callbacks fire once each with PAWL_RC_CANCELED, from inside this call,
 * then the memory goes. NULL is fine. From inside a callback of the handle the end is put off
 * until the call that runs the callback returns.
 */
PAWL_API void pawl_client_destroy(struct pawl_client *client);

/**
 * Look up the host names of the address list again; blocks for as long as the name server takes.
 *
 * Checks never do this by themselves: a look-up cannot be bounded by a deadline. Names are looked
 * up by pawl_client_create() and here and nowhere else (numeric addresses and Unix sockets need
 * no look-up). Call it where waiting does no harm when connects keep failing and addresses may
 * have moved. Names that cannot be resolved keep what they had. With PAWL_CLIENT_ROUTE the members
 * of a fleet that go by names are looked up here too: until then they are asked over the others.
 *
 * Returns PAWL_RC_OK, or PAWL_RC_CONNECT if a name has no address at all.
 */
PAWL_API int pawl_client_resolve(struct pawl_client *client);

/** What a handle has seen; counts since it was made. */
struct pawl_client_figures {
    size_t struct_size;
    uint64_t requests; /* submitted */
    uint64_t answers;  /* by the daemon */
    uint64_t timeouts;
    uint64_t lost;          /* connection broken after a byte had left */
    uint64_t fallbacks;     /* checks answered by on_error */
    uint64_t connects;      /* made */
    uint64_t connect_fails; /* address by address */
    uint64_t breaker_opens;
    uint64_t goaways;
    uint64_t protocol_errors;
    uint64_t moved;     /* requests that went to another connection, nothing having left */
    uint32_t in_flight; /* now */
    uint32_t in_flight_max;
    uint32_t local_keys;   /* counted in this process now */
    uint32_t breaker_open; /* 1: open */
    uint64_t direct;       /* checks that went straight to the owner of their keys */
};

/** Fill @figures (its struct_size set). Never blocks on the network. */
PAWL_API void pawl_client_figures(struct pawl_client *client, struct pawl_client_figures *figures);

/* ---- calls ------------------------------------------------------------------------------- *
 *
 * Each exists as pawl_client_X(client, &X, &result), which blocks until the answer or the
 * deadline, and as pawl_client_submit_X(), which does not (below). Common members:
 *
 *   struct_size  of the struct
 *   deadline_ms  0: the handle's
 *   now_ms       time of this request, for pawld --test-clock only; else 0
 *   ns           namespace; empty: the handle's
 *
 * Results: set struct_size (and arrays, where there are some), zero the rest. They are filled
 * whatever is returned. pawl_client_check, _token_check and _rotate return PAWL_RC_OK when the
 * result holds an outcome, by the daemon or by the policy, UNDECIDED or UNAVAILABLE being one;
 * the others return PAWL_RC_OK when the daemon did it, else the same as info.cause.
 */

/**
 * What is counted, and how. Either @limit names a limit of the daemon's configuration, or @rates
 * (text such as "100/minute, 1000/day") or @rate_list says the rates.
 */
struct pawl_check_item {
    struct pawl_str limit;
    const char *rates;                      /* inline; beside @limit: see below */
    const struct pawl_rate_spec *rate_list; /* inline, instead of the text */
    size_t rate_count;                      /* of rate_list */
    const struct pawl_str *key;             /* parts: ("a_b","c") and ("a","b_c") differ */
    size_t key_count;                       /* 1 to 8 */
    uint64_t cost;                          /* 0 means 1 */
    uint32_t precision;                     /* of inline rates: 2 to 4096 [64] */
    enum pawl_fail on_error;                /* required */
    struct pawl_str tier;                   /* "premium": the limit api.premium */
    uint64_t burst;                         /* of @rates where they are GCRA; 0: their count */
    uint32_t algorithm;                     /* of @rates: enum pawl_rate_algorithm */
    uint32_t spare;                         /* 0 */
    uint64_t reserved[2];                   /* 0 */
    /*
     * Beside a limit's name, @rates or @rate_list are not sent: they are what PAWL_FAIL_LOCAL
     * counts against until the daemon has told the limit's own rates. The daemon's on_error for a
     * limit, once seen, wins over the item's (the last 64 limits seen are remembered).
     */
};

/** The claims of a token that the caller has verified, or a raw token for pawld to verify. */
struct pawl_token {
    size_t struct_size;
    struct pawl_str issuer; /* empty: the only one configured */
    struct pawl_str jti;
    struct pawl_str subject;
    struct pawl_str client;
    struct pawl_str key;         /* kid */
    struct pawl_str sid;         /* family */
    uint64_t iat_s;              /* 0: the token has none */
    uint64_t exp_s;              /* 0: not said */
    struct pawl_str opaque;      /* an opaque token or API key; only its SHA-256 is sent */
    struct pawl_str signed_text; /* header.payload of a JWT without jti; its SHA-256 is sent */
    struct pawl_str raw;         /* a JWT that pawld verifies; then leave out the claims */
    struct pawl_str audience;    /* expected, with raw */
    struct pawl_str type;        /* expected typ or token_type, with raw */
};

/** What pawld found in a token that it verified. */
struct pawl_claims {
    struct pawl_text issuer, jti, subject, client, key, sid;
    uint64_t iat_s, exp_s;
};

/** A token's verdict. */
struct pawl_token_answer {
    enum pawl_token_state status;
    enum pawl_why reason;         /* with REVOKED */
    enum pawl_revoke_scope scope; /* which one hit */
    bool fresh;                   /* the data under it is not older than the daemon's bound */
    bool has_claims;              /* claims below were filled */
    uint64_t staleness_ms;        /* how old it may be */
    char detail[64];              /* why INVALID or UNDECIDED, a word of a closed list */
    struct pawl_claims *claims;   /* in: NULL, or where to put them */
    uint64_t reserved[4];
};

#define PAWL_CHECK_PEEK 1u /* flags: ask without charging */
#define PAWL_CHECK_EACH 2u /* flags: each limit for itself; without: all or none */

struct pawl_check_call {
    size_t struct_size;
    const struct pawl_check_item *items;
    size_t item_count;              /* 1 to 64 */
    const struct pawl_token *token; /* NULL, or admit a request in one round trip */
    uint32_t flags;                 /* PAWL_CHECK_* */
    uint32_t deadline_ms;
    uint64_t now_ms;
    struct pawl_str ns;
};

/** The answer for one rate of one item. */
struct pawl_rate_result {
    uint32_t item;       /* index in items */
    uint32_t rate_index; /* in that limit */
    uint32_t window_ms;
    enum pawl_fail on_error; /* the daemon's for this limit; UNSET: none */
    uint64_t limit_count;
    uint64_t count; /* in the window, this call included where it was charged */
    uint64_t remaining;
    uint64_t oldest_age_ms;  /* 0: none, or just now */
    uint64_t reset_after_ms; /* until the window is empty */
    uint64_t retry_after_ms; /* until this cost fits; 0: it did, or see never */
    uint64_t charge;         /* for pawl_client_refund; 0: nothing was charged */
    bool never;              /* the cost is above the limit */
    bool allowed;
    bool shadow;    /* decided and counted, never denied */
    bool overflow;  /* counted in a cell shared with other keys: the daemon's table is full */
    bool contended; /* denied because of a reservation of another check */
    bool bypass;    /* the key is on the limit's bypass list: nothing was counted */
    bool full;      /* no room to count in: the limit's when_full decided */
    bool spare;
    uint64_t reserved[4];
};

struct pawl_check_result {
    size_t struct_size;
    enum pawl_outcome outcome;
    bool has_token;
    struct pawl_info info;
    struct pawl_token_answer token; /* with has_token */
    struct pawl_rate_result *rates; /* in: NULL, or an array for rates_max entries */
    size_t rates_max;               /* PAWL_CHECK_RATES is always enough */
    size_t rate_count;              /* out: filled; never more than rates_max */
    uint64_t retry_after_ms;        /* longest of those denied; 0: none, or never */
    uint64_t retry_never;           /* 1: a denied cost can never fit */
};

/** Ask, and charge unless PAWL_CHECK_PEEK. Token and limits: DENY if any of them says no. */
PAWL_API int pawl_client_check(struct pawl_client *client, const struct pawl_check_call *check,
                               struct pawl_check_result *result);

struct pawl_token_check_call {
    size_t struct_size;
    const struct pawl_token *token;
    uint32_t flags; /* 0 */
    uint32_t deadline_ms;
    uint64_t now_ms;
    struct pawl_str ns;
};

struct pawl_token_check_result {
    size_t struct_size;
    struct pawl_info info;
    struct pawl_token_answer token; /* UNDECIDED when nobody answers: there is no fallback */
};

PAWL_API int pawl_client_token_check(struct pawl_client *client,
                                     const struct pawl_token_check_call *check,
                                     struct pawl_token_check_result *result);

/** Take a charge back. @charges as pawl_rate_result.charge, by rate index. */
struct pawl_refund_item {
    struct pawl_str limit;
    const char *rates;
    const struct pawl_rate_spec *rate_list;
    size_t rate_count;
    const struct pawl_str *key;
    size_t key_count;
    uint64_t cost;           /* 0 means 1 */
    const uint64_t *charges; /* NULL or 0: the oldest entry */
    size_t charge_count;
    uint64_t burst;     /* of @rates, as in the check */
    uint32_t algorithm; /* of @rates, as in the check */
    uint32_t reserved;  /* 0 */
};

struct pawl_refund_call {
    size_t struct_size;
    const struct pawl_refund_item *items;
    size_t item_count; /* 1 to 64 */
    uint32_t flags;    /* 0 */
    uint32_t deadline_ms;
    uint64_t now_ms;
    struct pawl_str ns;
};

struct pawl_refund_result {
    size_t struct_size;
    struct pawl_info info;
    uint32_t item_count;
    uint64_t refunded[PAWL_CHECK_ITEMS]; /* by item: given back on its first rate */
};

PAWL_API int pawl_client_refund(struct pawl_client *client, const struct pawl_refund_call *refund,
                                struct pawl_refund_result *result);

/**
 * Reserve: take between min and max of every item's limits now, and say later how much it was.
 *
 *     reserve (at most 4000 tokens) -> ALLOW, granted 2500 -> work -> commit (used 1800)
 *
 * The items' cost is not looked at. What is not committed goes back at commit, all of it at
 * cancel. A lease that is neither committed nor canceled in time stays charged: never over. There
 * is no fallback: where no daemon answers the outcome is UNDECIDED and nothing is granted.
 */
struct pawl_reserve_call {
    size_t struct_size;
    const struct pawl_check_item *items; /* on_error is not needed */
    size_t item_count;                   /* 1 to 64 */
    uint64_t min;                        /* 0 means 1; less is a refusal */
    uint64_t max;                        /* 0 means min */
    uint32_t lease_ms;                   /* for commit or cancel [60 s]; at most 1 h */
    uint32_t flags;                      /* 0 */
    uint32_t deadline_ms;
    uint64_t now_ms;
    struct pawl_str ns;
};

#define PAWL_LEASE_BYTES 16

struct pawl_reserve_result {
    size_t struct_size;
    enum pawl_outcome outcome;
    uint32_t lease_ms; /* as used */
    struct pawl_info info;
    uint64_t granted;                /* of each item; 0: refused, nothing is charged */
    uint8_t lease[PAWL_LEASE_BYTES]; /* for commit and cancel; works once */
    struct pawl_rate_result *rates;  /* in: NULL, or an array for rates_max entries */
    size_t rates_max;
    size_t rate_count;
    uint64_t retry_after_ms; /* longest of those denied, for min */
    uint64_t retry_never;    /* 1: min can never fit */
};

PAWL_API int pawl_client_reserve(struct pawl_client *client,
                                 const struct pawl_reserve_call *reserve,
                                 struct pawl_reserve_result *result);

/** How much of a reservation was used; the rest goes back. */
struct pawl_commit_call {
    size_t struct_size;
    uint8_t lease[PAWL_LEASE_BYTES];
    uint64_t used;  /* 0 to granted */
    uint32_t flags; /* 0 */
    uint32_t deadline_ms;
    uint64_t now_ms;
    struct pawl_str ns;
};

/** PAWL_RC_NOT_FOUND: the lease is unknown, over or used; its charge stays. */
struct pawl_commit_result {
    size_t struct_size;
    struct pawl_info info;
    uint64_t refunded; /* of each item */
};

PAWL_API int pawl_client_commit(struct pawl_client *client, const struct pawl_commit_call *commit,
                                struct pawl_commit_result *result);

/** Nothing of a reservation was used. */
struct pawl_cancel_lease_call {
    size_t struct_size;
    uint8_t lease[PAWL_LEASE_BYTES];
    uint32_t flags; /* 0 */
    uint32_t deadline_ms;
    uint64_t now_ms;
    struct pawl_str ns;
};

PAWL_API int pawl_client_cancel_lease(struct pawl_client *client,
                                      const struct pawl_cancel_lease_call *cancel,
                                      struct pawl_commit_result *result);

/** Forget a key of a limit. */
struct pawl_reset_call {
    size_t struct_size;
    struct pawl_str limit;
    const char *rates;
    const struct pawl_rate_spec *rate_list;
    size_t rate_count;
    const struct pawl_str *key;
    size_t key_count;
    uint32_t flags; /* 0 */
    uint32_t deadline_ms;
    uint64_t now_ms;
    struct pawl_str ns;
    uint64_t burst;     /* of @rates, as in the check */
    uint32_t algorithm; /* of @rates, as in the check */
    uint32_t reserved;  /* 0 */
};

struct pawl_reset_result {
    size_t struct_size;
    struct pawl_info info;
    uint32_t records; /* forgotten */
};

PAWL_API int pawl_client_reset(struct pawl_client *client, const struct pawl_reset_call *reset,
                               struct pawl_reset_result *result);

#define PAWL_REVOKE_HASHED                                                 \
    1u /* flags: value is the SHA-256 of the opaque or signed text already \
        */

struct pawl_revoke_call {
    size_t struct_size;
    enum pawl_revoke_scope scope;
    enum pawl_why reason;   /* NONE: the daemon's default for the scope */
    struct pawl_str issuer; /* empty: the only one configured */
    struct pawl_str value;  /* jti, sid, sub, client, kid, token, header.payload; none: namespace */
    uint64_t before_ms;     /* cutoffs: milliseconds since 1970; 0: now */
    uint64_t exp_s;         /* of the token; 0: not known (kept for the longest life) */
    struct pawl_str actor;  /* who asks, for the audit log */
    enum pawl_level level;
    uint32_t deadline_ms;
    uint64_t now_ms;
    struct pawl_str ns;
    uint32_t flags; /* PAWL_REVOKE_HASHED */
    uint32_t reserved;
};

struct pawl_revoke_result {
    size_t struct_size;
    struct pawl_info info;
    enum pawl_level acknowledged; /* the level reached; compare with asked */
    enum pawl_level asked;
    struct pawl_fact_name id;
    uint64_t until_s; /* kept until */
};

PAWL_API int pawl_client_revoke(struct pawl_client *client, const struct pawl_revoke_call *revoke,
                                struct pawl_revoke_result *result);

/** Cancel revocations of tokens by the ids they were given. */
struct pawl_unrevoke_call {
    size_t struct_size;
    const struct pawl_fact_name *ids;
    size_t id_count; /* 1 to 64 */
    struct pawl_str actor;
    enum pawl_level level;
    uint32_t deadline_ms;
    uint64_t now_ms;
    struct pawl_str ns;
};

struct pawl_unrevoke_result {
    size_t struct_size;
    struct pawl_info info;
    enum pawl_level acknowledged;
    uint32_t canceled;
    struct pawl_fact_name id; /* of the cancel */
};

PAWL_API int pawl_client_unrevoke(struct pawl_client *client,
                                  const struct pawl_unrevoke_call *unrevoke,
                                  struct pawl_unrevoke_result *result);

/** A login: a family of refresh tokens begins. */
struct pawl_family_open_call {
    size_t struct_size;
    struct pawl_str issuer;
    struct pawl_str subject;
    struct pawl_str client;
    struct pawl_str binding; /* hash of what the family is bound to; empty: nothing */
    struct pawl_str jti;     /* of the first refresh token; empty: minted, see result */
    struct pawl_str opaque;  /* in place of jti: an opaque first token; its SHA-256 is sent */
    uint64_t iat_s;          /* 0: now */
    uint64_t exp_s;
    enum pawl_level level;
    uint32_t deadline_ms;
    uint64_t now_ms;
    struct pawl_str ns;
};

struct pawl_family_open_result {
    size_t struct_size;
    struct pawl_info info;
    enum pawl_level acknowledged;
    struct pawl_text sid;  /* goes into the tokens as a signed claim */
    struct pawl_text jti;  /* as given or minted */
    uint64_t exp_s;        /* as asked, or clamped to the family's end: sign this one */
    uint64_t family_exp_s; /* 0: none */
};

PAWL_API int pawl_client_family_open(struct pawl_client *client,
                                     const struct pawl_family_open_call *open,
                                     struct pawl_family_open_result *result);

/** A log-out: the family ends, all its tokens with it. The result is that of a revocation. */
struct pawl_family_end_call {
    size_t struct_size;
    struct pawl_str issuer;
    struct pawl_str sid;
    enum pawl_why reason; /* NONE is sent as LOGOUT */
    struct pawl_str actor;
    uint64_t exp_s;
    enum pawl_level level;
    uint32_t deadline_ms;
    uint64_t now_ms;
    struct pawl_str ns;
};

PAWL_API int pawl_client_family_end(struct pawl_client *client,
                                    const struct pawl_family_end_call *end,
                                    struct pawl_revoke_result *result);

#define PAWL_ROTATE_HAS_GENERATION 1u /* flags: generation is a claim of the presented token */
#define PAWL_ROTATE_HAS_LEEWAY     2u /* flags: leeway_ms narrows the daemon's */
#define PAWL_ROTATE_ADOPT          4u /* flags: adopt a family from before pawl */
#define PAWL_ROTATE_VERIFIED       8u /* flags: signature and sid claim were verified */

/** Exchange a refresh token for its successor. */
struct pawl_rotate_call {
    size_t struct_size;
    const struct pawl_token
        *presented; /* sid, jti (or opaque), iat, exp, subject, client, issuer */
    uint64_t generation;
    /**
     * The successor's jti. Empty: minted, 128 random bits as 22 characters of base64url, and told
     * in result.proposed. Fresh for each request of a browser; the same again when that one call is
     * repeated after UNAVAILABLE, so that pawld sees it is the same call.
     */
    struct pawl_str next_jti;
    struct pawl_str next_opaque; /* in place of next_jti: an opaque token; its SHA-256 is sent */
    struct pawl_str next_seed;   /* 16 bytes that next_opaque was derived from, or empty */
    uint64_t next_iat_s;         /* 0: now, by the daemon */
    uint64_t next_exp_s;
    struct pawl_str binding;
    struct pawl_str request_id;
    uint32_t leeway_ms;
    uint32_t flags; /* PAWL_ROTATE_* */
    enum pawl_level level;
    uint32_t deadline_ms;
    uint64_t now_ms;
    struct pawl_str ns;
};

struct pawl_rotate_result {
    size_t struct_size;
    struct pawl_info info;
    enum pawl_refresh result;
    enum pawl_why reason; /* with REVOKED and REUSE */
    uint64_t generation;
    struct pawl_text successor; /* jti */
    uint64_t successor_iat_s;
    uint64_t successor_exp_s; /* clamped to the family's end: sign this one */
    struct pawl_text sid;     /* of an adopted family */
    struct pawl_text subject;
    struct pawl_text proposed;    /* next_jti as given or minted */
    bool superseded;              /* with REVOKED: the presented token had been superseded */
    uint32_t row;                 /* of the decision table, for support */
    uint32_t retry_after_ms;      /* with UNAVAILABLE */
    uint64_t family_exp_s;        /* 0: none */
    uint8_t successor_sha256[32]; /* of an opaque successor, with successor_is_opaque */
    struct pawl_text successor_seed;
    bool successor_is_opaque;
};

PAWL_API int pawl_client_rotate(struct pawl_client *client, const struct pawl_rotate_call *rotate,
                                struct pawl_rotate_result *result);

/** List the named limits, a page at a time. */
struct pawl_limits_call {
    size_t struct_size;
    struct pawl_str limit; /* only this one; empty: all */
    struct pawl_str after; /* the last name of the page before; empty: from the start */
    uint32_t flags;        /* 0 */
    uint32_t deadline_ms;
    uint64_t now_ms;
    struct pawl_str ns;
};

struct pawl_limit_info {
    char name[132];
    char ns[68];
    char when_full[16];
    struct pawl_rate_spec rates[PAWL_TEXT_RATES];
    uint32_t rate_count;
    uint32_t precision;
    enum pawl_fail on_error;
    bool count_denied;
    bool shadow;
    bool spare[2];
    uint32_t algorithm;  /* enum pawl_rate_algorithm */
    uint32_t anchor_day; /* of a calendar quota */
    uint32_t overrides;  /* keys with rates of their own */
    uint32_t bypass;     /* keys and prefixes that are never limited */
    char zone[68];       /* of a calendar quota */
};

struct pawl_limits_result {
    size_t struct_size;
    struct pawl_info info;
    struct pawl_limit_info *limits; /* in: an array for limits_max entries */
    size_t limits_max;
    size_t limit_count; /* out: filled */
    bool more;          /* ask again with after = the last name */
};

PAWL_API int pawl_client_limits(struct pawl_client *client, const struct pawl_limits_call *limits,
                                struct pawl_limits_result *result);

/** Who is in the fleet, as the daemon that answers knows it; one that is alone is its only member.
 */
struct pawl_members_call {
    size_t struct_size;
    uint32_t flags; /* 0 */
    uint32_t deadline_ms;
    uint64_t now_ms;
    struct pawl_str ns;
};

struct pawl_member_info {
    uint8_t node[16];  /* of this life of it: a restart makes another */
    char address[268]; /* where the others reach it, as in pawl_client_options; "": it is alone */
    char state[20];    /* "serving", "leaving", "frozen": serves limits, and tokens after a thaw */
    char version[36];
    uint64_t uptime_s; /* 0: not known to the one that answers */
    uint64_t view;     /* the number of the view that it was last seen with; 0: not known */
};

struct pawl_members_result {
    size_t struct_size;
    struct pawl_info info;
    struct pawl_member_info *members; /* in: an array for members_max entries */
    size_t members_max;
    size_t member_count; /* out: filled */
    size_t member_total; /* out: there are */
    uint64_t view;       /* its number; rises with each change; 0: alone */
};

PAWL_API int pawl_client_members(struct pawl_client *client,
                                 const struct pawl_members_call *members,
                                 struct pawl_members_result *result);

/** The daemon's figures. */
struct pawl_stats_call {
    size_t struct_size;
    struct pawl_str prefix; /* empty: all */
    uint32_t flags;         /* 0 */
    uint32_t deadline_ms;
    uint64_t now_ms;
    struct pawl_str ns;
};

struct pawl_stat_entry {
    char name[68]; /* snake case with unit */
    bool is_flag;  /* value is 0 or 1: false or true */
    bool is_text;  /* the figure is a word: text */
    bool spare[2];
    uint64_t value;
    char text[132];
    uint32_t reserved;
};

struct pawl_stats_result {
    size_t struct_size;
    struct pawl_info info;
    struct pawl_stat_entry *stats; /* in: an array for stats_max entries */
    size_t stats_max;
    size_t stat_count; /* out: filled */
    size_t stat_total; /* out: how many the daemon sent */
};

PAWL_API int pawl_client_stats(struct pawl_client *client, const struct pawl_stats_call *stats,
                               struct pawl_stats_result *result);

/** What an operator looks at: figures of each limit, the keys denied most, the last revocations. */
struct pawl_top_call {
    size_t struct_size;
    uint32_t keys_max;   /* [20] */
    uint32_t events_max; /* [20] */
    uint32_t flags;      /* 0 */
    uint32_t deadline_ms;
    uint64_t now_ms;
    struct pawl_str ns;
};

/** Counts since the limit was first asked, reloads included. */
struct pawl_limit_figures {
    char limit[132]; /* "": all inline rates together */
    char ns[68];
    uint64_t allowed;
    uint64_t denied;
    uint64_t shadow_denied;
    uint64_t bypassed;
    uint64_t overflowed;
};

struct pawl_denied_key {
    char limit[132];
    char ns[68];
    char key[132];    /* masked */
    uint64_t denied;  /* an estimate, not below the truth */
    uint64_t last_ms; /* since 1970 */
};

struct pawl_revocation_event {
    enum pawl_revoke_scope scope;
    enum pawl_why reason;
    char ns[68];
    char value[132]; /* masked */
    uint64_t at_ms;  /* since 1970 */
};

struct pawl_top_result {
    size_t struct_size;
    struct pawl_info info;
    struct pawl_limit_figures *limits; /* in: an array for limits_max entries, or NULL; as the */
    size_t limits_max;                 /* other two */
    size_t limit_count;
    struct pawl_denied_key *keys;
    size_t keys_max;
    size_t key_count;
    struct pawl_revocation_event *events;
    size_t events_max;
    size_t event_count;
};

PAWL_API int pawl_client_top(struct pawl_client *client, const struct pawl_top_call *top,
                             struct pawl_top_result *result);

/**
 * Follow revocations: the facts behind the cursors, or where there are none the next one, waited
 * for until wait_ms. Ask again with the result's cursors.
 */
struct pawl_watch_call {
    size_t struct_size;
    const struct pawl_fact_name *cursors; /* the last one seen of each origin */
    size_t cursor_count;
    uint32_t wait_ms;   /* 0: answer at once; has to lie below the deadline */
    uint32_t facts_max; /* [as many as fit] */
    uint32_t flags;     /* PAWL_WATCH_SNAPSHOT */
    uint32_t deadline_ms;
    uint64_t now_ms;
    struct pawl_str ns; /* not looked at: all namespaces are told */
};

#define PAWL_WATCH_SNAPSHOT 1u  /* flags: from the first fact held on; wants the role admin */
#define PAWL_WATCH_FACTS    128 /* facts_max that is always enough */

/** A revocation, a cutoff, or a cancel of some (scope NONE, cancel_count not 0). */
struct pawl_fact_info {
    struct pawl_fact_name id;
    enum pawl_revoke_scope scope;
    enum pawl_why reason;
    struct pawl_text ns;
    struct pawl_text issuer;
    struct pawl_text value; /* 32 raw bytes where it is a SHA-256 */
    struct pawl_text actor;
    uint64_t before_ms; /* of a cutoff; 0: none */
    uint64_t at_ms;     /* made, since 1970 */
    uint64_t until_s;   /* kept until */
    uint64_t exp_s;     /* of the token; 0: not known */
    uint32_t cancel_count;
    uint32_t reserved;
    struct pawl_fact_name cancels[64];
};

struct pawl_watch_result {
    size_t struct_size;
    struct pawl_info info;
    struct pawl_fact_info *facts; /* in: an array for facts_max entries */
    size_t facts_max;
    size_t fact_count;
    struct pawl_fact_name *cursors; /* in: an array for cursors_max entries, at least 1 */
    size_t cursors_max;
    size_t cursor_count;
    bool gap;          /* facts in between are gone: take a snapshot */
    bool snapshot_end; /* nothing more is held at the moment */
};

PAWL_API int pawl_client_watch(struct pawl_client *client, const struct pawl_watch_call *watch,
                               struct pawl_watch_result *result);

/** End the frozen state of the daemon's store. */
struct pawl_thaw_call {
    size_t struct_size;
    uint64_t lost_since_s; /* for the audit log */
    struct pawl_str actor;
    uint32_t flags; /* 0 */
    uint32_t deadline_ms;
    uint64_t now_ms;
    struct pawl_str ns;
};

struct pawl_thaw_result {
    size_t struct_size;
    struct pawl_info info;
    uint64_t facts_kept;
    uint64_t families_kept;
    uint64_t cutoff_ms;         /* since 1970 */
    struct pawl_text set_aside; /* file name of an unreadable database */
};

PAWL_API int pawl_client_thaw(struct pawl_client *client, const struct pawl_thaw_call *thaw,
                              struct pawl_thaw_result *result);

struct pawl_ping_call {
    size_t struct_size;
    uint32_t flags; /* 0 */
    uint32_t deadline_ms;
    uint64_t now_ms;
    struct pawl_str ns;
};

struct pawl_ping_result {
    size_t struct_size;
    struct pawl_info info;
};

/** Does somebody answer? @ping NULL: all defaults. */
PAWL_API int pawl_client_ping(struct pawl_client *client, const struct pawl_ping_call *ping,
                              struct pawl_ping_result *result);

/* ---- without blocking -------------------------------------------------------------------- *
 *
 *   submit ... submit, then loop { poll(fd, events, timeout_ms); process(revents); }
 *
 * A submit that returns PAWL_RC_OK has its callback called exactly once, and never from inside the
 * submit; any other return means never. Callbacks run inside pawl_client_process(),
 * pawl_client_destroy(), and any blocking call on the same handle. They may submit and cancel;
 * a blocking call from inside one returns PAWL_RC_BUSY. What was submitted goes out with the next
 * pawl_client_process() or pawl_client_flush(), in one write: submit a batch, then flush once.
 */

enum pawl_call_kind {
    PAWL_CALL_NONE = 0,
    PAWL_CALL_CHECK = 16,
    PAWL_CALL_TOKEN_CHECK = 17,
    PAWL_CALL_REFUND = 18,
    PAWL_CALL_RESET = 19,
    PAWL_CALL_REVOKE = 20,
    PAWL_CALL_UNREVOKE = 21,
    PAWL_CALL_ROTATE = 22,
    PAWL_CALL_FAMILY_OPEN = 23,
    PAWL_CALL_FAMILY_END = 24,
    PAWL_CALL_MEMBERS = 26,
    PAWL_CALL_STATS = 27,
    PAWL_CALL_LIMITS = 28,
    PAWL_CALL_THAW = 29,
    PAWL_CALL_PING = 30,
    PAWL_CALL_WATCH = 25,
    PAWL_CALL_RESERVE = 31,
    PAWL_CALL_COMMIT = 32,
    PAWL_CALL_CANCEL_LEASE = 33,
    PAWL_CALL_TOP = 34,
};

/** What a callback is handed; lent to it until it returns, arrays and claims included. */
struct pawl_answer {
    uint64_t id; /* as submit told it */
    enum pawl_call_kind kind;
    int rc; /* what the blocking call would have returned */
    union {
        const struct pawl_check_result *check;
        const struct pawl_token_check_result *token_check;
        const struct pawl_refund_result *refund;
        const struct pawl_reset_result *reset;
        const struct pawl_revoke_result *revoke; /* and family end */
        const struct pawl_unrevoke_result *unrevoke;
        const struct pawl_rotate_result *rotate;
        const struct pawl_family_open_result *family_open;
        const struct pawl_limits_result *limits;
        const struct pawl_stats_result *stats;
        const struct pawl_thaw_result *thaw;
        const struct pawl_ping_result *ping;
        const struct pawl_reserve_result *reserve;
        const struct pawl_commit_result *commit; /* and cancel_lease */
        const struct pawl_top_result *top;
        const struct pawl_watch_result *watch;
        const struct pawl_members_result *members;
        const struct pawl_info *info_of_none; /* reserved */
    } of;
};

typedef void (*pawl_on_answer)(void *data, const struct pawl_answer *answer);

/*
 * Submit a call. @id (may be NULL) is for pawl_client_cancel(). Returns PAWL_RC_OK,
 * PAWL_RC_INVALID, PAWL_RC_TOO_BIG, PAWL_RC_FULL (in_flight_max, or 4 MiB waiting), PAWL_RC_NOMEM.
 */
PAWL_API int pawl_client_submit_check(struct pawl_client *client,
                                      const struct pawl_check_call *call, pawl_on_answer on_answer,
                                      void *data, uint64_t *id);
PAWL_API int pawl_client_submit_token_check(struct pawl_client *client,
                                            const struct pawl_token_check_call *call,
                                            pawl_on_answer on_answer, void *data, uint64_t *id);
PAWL_API int pawl_client_submit_refund(struct pawl_client *client,
                                       const struct pawl_refund_call *call,
                                       pawl_on_answer on_answer, void *data, uint64_t *id);
PAWL_API int pawl_client_submit_reset(struct pawl_client *client,
                                      const struct pawl_reset_call *call, pawl_on_answer on_answer,
                                      void *data, uint64_t *id);
PAWL_API int pawl_client_submit_revoke(struct pawl_client *client,
                                       const struct pawl_revoke_call *call,
                                       pawl_on_answer on_answer, void *data, uint64_t *id);
PAWL_API int pawl_client_submit_unrevoke(struct pawl_client *client,
                                         const struct pawl_unrevoke_call *call,
                                         pawl_on_answer on_answer, void *data, uint64_t *id);
PAWL_API int pawl_client_submit_rotate(struct pawl_client *client,
                                       const struct pawl_rotate_call *call,
                                       pawl_on_answer on_answer, void *data, uint64_t *id);
PAWL_API int pawl_client_submit_family_open(struct pawl_client *client,
                                            const struct pawl_family_open_call *call,
                                            pawl_on_answer on_answer, void *data, uint64_t *id);
PAWL_API int pawl_client_submit_family_end(struct pawl_client *client,
                                           const struct pawl_family_end_call *call,
                                           pawl_on_answer on_answer, void *data, uint64_t *id);
PAWL_API int pawl_client_submit_limits(struct pawl_client *client,
                                       const struct pawl_limits_call *call,
                                       pawl_on_answer on_answer, void *data, uint64_t *id);
PAWL_API int pawl_client_submit_members(struct pawl_client *client,
                                        const struct pawl_members_call *call,
                                        pawl_on_answer on_answer, void *data, uint64_t *id);
PAWL_API int pawl_client_submit_stats(struct pawl_client *client,
                                      const struct pawl_stats_call *call, pawl_on_answer on_answer,
                                      void *data, uint64_t *id);
PAWL_API int pawl_client_submit_thaw(struct pawl_client *client, const struct pawl_thaw_call *call,
                                     pawl_on_answer on_answer, void *data, uint64_t *id);
PAWL_API int pawl_client_submit_ping(struct pawl_client *client, const struct pawl_ping_call *call,
                                     pawl_on_answer on_answer, void *data, uint64_t *id);
PAWL_API int pawl_client_submit_reserve(struct pawl_client *client,
                                        const struct pawl_reserve_call *call,
                                        pawl_on_answer on_answer, void *data, uint64_t *id);
PAWL_API int pawl_client_submit_commit(struct pawl_client *client,
                                       const struct pawl_commit_call *call,
                                       pawl_on_answer on_answer, void *data, uint64_t *id);
PAWL_API int pawl_client_submit_cancel_lease(struct pawl_client *client,
                                             const struct pawl_cancel_lease_call *call,
                                             pawl_on_answer on_answer, void *data, uint64_t *id);
PAWL_API int pawl_client_submit_top(struct pawl_client *client, const struct pawl_top_call *call,
                                    pawl_on_answer on_answer, void *data, uint64_t *id);
PAWL_API int pawl_client_submit_watch(struct pawl_client *client,
                                      const struct pawl_watch_call *call, pawl_on_answer on_answer,
                                      void *data, uint64_t *id);

/**
 * Why the last submit returned PAWL_RC_INVALID, for a person: "item 3: a key has 1 to 8 parts".
 * Empty where there is no more to say than the code. Lent until the next submit.
 */
PAWL_API const char *pawl_client_refusal(const struct pawl_client *client);

/**
 * The descriptor to wait on, for reading. It is an epoll instance that holds the handle's sockets,
 * so it stays the same over reconnects and goaways for the life of the handle; only the first
 * call after a fork gives the child another one (its copy of the parent's is closed). Made by the
 * first call. -1 when the system refuses.
 */
PAWL_API int pawl_client_fd(struct pawl_client *client);

/** What to wait for on it, as poll(2) names it. Always POLLIN in this version. */
PAWL_API int pawl_client_events(struct pawl_client *client);

/**
 * Time until pawl_client_process() has something to do though the descriptor is silent: a
 * deadline, a request not yet sent. -1: nothing pending. 0: now.
 */
PAWL_API int pawl_client_timeout_ms(struct pawl_client *client);

/**
 * Do what can be done without waiting: connect, send, receive, let deadlines pass, call back.
 *
 * @revents  what poll(2) said; 0 is fine (a timeout). A hint only.
 *
 * Returns the number of callbacks called, or PAWL_RC_BUSY from inside a callback, or
 * PAWL_RC_CANCELED when a callback destroyed the handle (do not touch it again).
 */
PAWL_API int pawl_client_process(struct pawl_client *client, int revents);

/** Send what was submitted, as far as it goes without waiting; calls nobody back. */
PAWL_API void pawl_client_flush(struct pawl_client *client);

/**
 * Give up a pending request: its callback fires with PAWL_RC_CANCELED from the next process (its
 * info.effect says whether it may have happened). Returns PAWL_RC_OK, or PAWL_RC_NOT_FOUND when it
 * is not pending any more.
 */
PAWL_API int pawl_client_cancel(struct pawl_client *client, uint64_t id);

/* ---- pure functions: any thread ---------------------------------------------------------- */

/**
 * The key part under which an IP address is counted: IPv4 as it is, IPv4 mapped into IPv6
 * (::ffff:a.b.c.d) as that IPv4, IPv6 by its /64 ("2001:db8:1:2::/64"), for one customer
 * commonly holds that many. A zone ("%eth0") and brackets are dropped.
 *
 * @out  PAWL_TEXT_IP_BYTES bytes; ends in a zero.
 *
 * Returns PAWL_RC_OK, or PAWL_RC_INVALID (then @out is empty).
 */
PAWL_API int pawl_key_from_ip(const char *text, char *out);

/** Words in lower case, as pawlctl prints them ("allow", "not found"); never NULL. */
PAWL_API const char *pawl_rc_text(int rc);
PAWL_API const char *pawl_outcome_text(enum pawl_outcome outcome);
PAWL_API const char *pawl_fail_text(enum pawl_fail fail);
PAWL_API const char *pawl_source_text(enum pawl_source source);
PAWL_API const char *pawl_effect_text(enum pawl_effect effect);
PAWL_API const char *pawl_token_state_text(enum pawl_token_state status);
PAWL_API const char *pawl_revoke_scope_text(enum pawl_revoke_scope scope);
PAWL_API const char *pawl_why_text(enum pawl_why why);
PAWL_API const char *pawl_level_text(enum pawl_level level);
PAWL_API const char *pawl_refresh_text(enum pawl_refresh refresh);

/** The other way round: PAWL_WHY_NONE, PAWL_LEVEL_DEFAULT or PAWL_REVOKE_NONE for unknown words. */
PAWL_API enum pawl_why pawl_why_from_text(const char *text);
PAWL_API enum pawl_level pawl_level_from_text(const char *text);
PAWL_API enum pawl_revoke_scope pawl_revoke_scope_from_text(const char *text);

/** "0.1.0" of the library that runs. */
PAWL_API const char *pawl_client_version(void);

#ifdef __cplusplus
}
#endif

#endif
