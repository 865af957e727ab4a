/*
 * Rotation: one table decides every refresh, in the embedded store and the cluster.
 *
 * A pure function of (record, request, facts, policy, now) to (result, new record, effects); its
 * rows are numbered as in rotation.c, and the number is in the outcome. The caller persists what
 * the effects say, all of it and before any answer, or answers UNAVAILABLE.
 *
 *   pawl_rotation_sid(...)                  which record to read
 *   pawl_rotation_gather(...)               what the revocation table says
 *   pawl_rotation_decide(...)               the table
 */
#ifndef PAWL_CORE_ROTATION_H
#define PAWL_CORE_ROTATION_H

#include "core/fact.h"
#include "core/family.h"
#include "core/revocations.h"
#include "core/sid.h"
#include "core/status.h"
#include "core/types.h"

#define PAWL_ROTATION_LEEWAY_DEFAULT_MS 10000
#define PAWL_ROTATION_LEEWAY_SOFT_MS    60000  /* more is warned about */
#define PAWL_ROTATION_LEEWAY_HARD_MS    300000 /* more is refused */
#define PAWL_ROTATION_RETRY_MS          200    /* hint with UNAVAILABLE */

/** Results, with the words of the wire and of pawlctl. */
#define PAWL_ROTATION_MAP(X)                \
    X(NONE, 0, "none")                      \
    X(ROTATED, 1, "rotated")                \
    X(GRACE, 2, "grace")                    \
    X(ADOPTED, 3, "adopted")                \
    X(RACED, 4, "raced")                    \
    X(REUSE, 5, "reuse")                    \
    X(REVOKED, 6, "revoked")                \
    X(EXPIRED, 7, "expired")                \
    X(NOT_YET_VALID, 8, "not_yet_valid")    \
    X(MISMATCH, 9, "mismatch")              \
    X(FAMILY_EXPIRED, 10, "family_expired") \
    X(UNKNOWN, 11, "unknown")               \
    X(INVALID, 12, "invalid")               \
    X(DENIED, 13, "denied")                 \
    X(UNAVAILABLE, 14, "unavailable")

enum pawl_rotation_result {
#define X(name, value, text) PAWL_ROTATION_##name = (value),
    PAWL_ROTATION_MAP(X)
#undef X
};

/** What made a request INVALID, for the answer's text. */
#define PAWL_ROTATION_FAULT_MAP(X)                                                          \
    X(NONE, 0, "nothing")                                                                   \
    X(NAMESPACE, 1, "namespace is empty, too long or not that of the family")               \
    X(PRESENTED, 2, "presented token is missing or too long")                               \
    X(PROPOSED, 3, "proposed successor is missing or too long")                             \
    X(PROPOSED_SAME, 4, "proposed successor is one of the family's last tokens")            \
    X(PROPOSED_TIMES, 5, "proposed successor needs iat <= now < exp <= iat + max_lifetime") \
    X(LIFETIME, 6, "presented token claims to live longer than max_lifetime")               \
    X(CLAIM, 7, "a claim is too long")

enum pawl_rotation_fault {
#define X(name, value, text) PAWL_ROTATION_FAULT_##name = (value),
    PAWL_ROTATION_FAULT_MAP(X)
#undef X
};

enum pawl_rotation_mode {
    PAWL_ROTATION_IDEMPOTENT = 0, /* in grace: the same successor again */
    PAWL_ROTATION_SOFT = 1,       /* in grace: nothing is minted, nothing revoked */
};

enum pawl_on_reuse {
    PAWL_ON_REUSE_REVOKE_FAMILY = 0,
    PAWL_ON_REUSE_DENY = 1,
    PAWL_ON_REUSE_REVOKE_SUBJECT = 2, /* the family, and a cutoff for its subject */
};

enum pawl_on_mismatch {
    PAWL_ON_MISMATCH_DENY = 0,
    PAWL_ON_MISMATCH_REVOKE_FAMILY = 1,
};

/** Whether the store may decide now; zero is closed (row 1). */
enum pawl_rotation_gate {
    PAWL_ROTATION_CLOSED = 0, /* frozen, not reachable, epoch gate shut, clock out of bounds */
    PAWL_ROTATION_OPEN = 1,
};

struct pawl_rotation_policy {
    uint64_t leeway_ms; /* 0: strict; at most PAWL_ROTATION_LEEWAY_HARD_MS */
    enum pawl_rotation_mode mode;
    enum pawl_on_reuse on_reuse;
    enum pawl_on_mismatch on_mismatch;
    uint64_t family_max_s; /* for adopted families; 0: none */
    uint64_t idle_max_s;
    int64_t adopt_until_s; /* adoption's deadline on iat; 0: off */
    uint64_t skew_s;
    uint64_t max_lifetime_s;
};

/** A token by name: scope TOKEN (jti), SIGNED or OPAQUE (32 bytes of hash). */
struct pawl_token_ref {
    enum pawl_scope scope;
    struct pawl_bytes value;
};

/** What a caller asks; lent for the call. Empty or false: left out. */
struct pawl_rotation_request {
    struct pawl_bytes ns;     /* not empty */
    struct pawl_bytes issuer; /* after pawl_issuer_default(), or empty */
    struct pawl_bytes subject;
    struct pawl_bytes client;
    struct pawl_bytes kid;
    struct pawl_bytes binding;
    struct pawl_bytes sid;
    struct pawl_bytes actor; /* for the record and its facts */
    struct pawl_token_ref presented;
    int64_t iat_s;
    int64_t exp_s;
    uint64_t generation;
    struct pawl_token_ref proposed;
    int64_t proposed_iat_s; /* 0: now */
    int64_t proposed_exp_s;
    uint8_t proposed_seed[PAWL_FAMILY_SEED_BYTES]; /* opaque successors, else zero */
    uint64_t leeway_ms;                            /* narrower than the policy's */
    bool has_iat;
    bool has_exp;
    bool has_generation;
    bool has_leeway;
    bool verified;   /* the caller checked signature and claims (row 13) */
    bool adopt;      /* the same, and it asks for adoption (row 15) */
    bool authorised; /* the edge: this caller may rotate in this namespace */
};

/** What the revocation table says about the presented token; all zero: nothing. */
struct pawl_rotation_hits {
    struct pawl_revocation token;
    struct pawl_revocation family;
    struct pawl_revocation cutoffs[PAWL_SCOPES]; /* by scope, SUBJECT to NAMESPACE */
    uint64_t sid_birth_ms; /* the request's sid is ours: its birth time, else 0 */
};

struct pawl_rotation_time {
    struct pawl_wall wall;
    struct pawl_stamp stamp;
    uint64_t slow_s;       /* as in struct pawl_token_view */
    uint64_t birth_max_ms; /* as in pawl_cutoff_ms() */
};

/** Security events: the store's writer passes them to the audit log. */
enum pawl_rotation_event {
    PAWL_ROTATION_EVENT_NONE = 0,
    PAWL_ROTATION_EVENT_REUSE = 1, /* theft; once for each family */
    PAWL_ROTATION_EVENT_MISMATCH = 2,
    PAWL_ROTATION_EVENT_LOST_STATE = 3, /* a token from the future of our record: alarm */
    PAWL_ROTATION_EVENT_CLOCK = 4,      /* iat in the future: some clock is off */
};

#define PAWL_ROTATION_FACTS_MAX 2

/** What has to be done, all of it in the transaction that the answer waits for. */
struct pawl_rotation_effects {
    bool write_family;         /* `family` is the new record */
    bool create_family;        /* it must not exist yet (adoption) */
    struct pawl_family family; /* the new record, or a copy of the old one if there was one */
    unsigned facts_count;      /* facts to append; ids are the store's to give */
    struct pawl_fact facts[PAWL_ROTATION_FACTS_MAX]; /* lend from `family` of this struct */
    enum pawl_rotation_event event;
};

/** Not to be copied or moved while `effects.facts` are in use: they point into it. */
struct pawl_rotation_outcome {
    enum pawl_rotation_result result;
    unsigned row;                   /* of the table in rotation.c, 1 to 15 */
    enum pawl_reason reason;        /* when REVOKED or REUSE */
    enum pawl_rotation_fault fault; /* when INVALID */
    bool superseded;                /* REVOKED: the presented token was not the current one */
    bool clamped;                   /* the successor's exp was lowered to the family's end */
    uint64_t generation;            /* of the successor when there is one, else of the record */
    bool has_successor;             /* ROTATED, GRACE, ADOPTED: mint exactly this */
    struct pawl_family_token successor;
    struct pawl_name sid;    /* the family's id for the successor's claim; ADOPTED: the new one */
    uint32_t retry_after_ms; /* UNAVAILABLE */
    struct pawl_rotation_effects effects;
};

/** The defaults of the settings. */
struct pawl_rotation_policy pawl_rotation_policy_default(void);

/**
 * Refuse values beyond the caps. @soft  out, may be NULL: leeway beyond the soft cap, to be warned
 * about. @error may be NULL. Returns PAWL_OK or PAWL_EINVAL.
 */
PAWL_MUST_USE enum pawl_status pawl_rotation_policy_check(const struct pawl_rotation_policy *policy,
                                                          bool *soft, struct pawl_error *error);

/** Whether @ref names a token: a jti within its cap, or 32 bytes of hash. */
bool pawl_token_ref_is_well_formed(const struct pawl_token_ref *ref);

/** Whether the claims of @request are within their caps; namespace and tokens apart. */
bool pawl_rotation_claims_fit(const struct pawl_rotation_request *request);

/** The id of the family that adopting the presented token makes; names within their caps. */
void pawl_rotation_adopted_sid(const struct pawl_rotation_request *request,
                               const struct pawl_subkey *key, struct pawl_sid *sid);

/**
 * A sid of the family that @request may belong to: its own, else the one that adopting its token
 * gives (which finds a family adopted earlier, under an older secret too).
 *
 * @candidate  0, 1, ...: read the record of each until one is found. The record of none of them:
 *             decide with NULL. Returns false when there are no more.
 */
bool pawl_rotation_sid(const struct pawl_rotation_request *request,
                       const struct pawl_token_keys *keys, unsigned candidate,
                       struct pawl_name *sid);

/**
 * Look up every scope of the presented token. @record NULL when there is none; its subject,
 * client and issuer are used where the request leaves them out.
 */
void pawl_rotation_gather(const struct pawl_revocations_view *table,
                          const struct pawl_token_keys *keys, const struct pawl_family *record,
                          const struct pawl_rotation_request *request,
                          const struct pawl_rotation_time *now, uint64_t skew_s,
                          struct pawl_rotation_hits *hits);

/**
 * Decide. @record  the family, NULL or state NONE: not known. @hits  from gather, at the same now.
 * Fills all of @out; cannot fail. The same arguments give the same outcome, always.
 */
void pawl_rotation_decide(const struct pawl_family *record,
                          const struct pawl_rotation_request *request,
                          const struct pawl_rotation_hits *hits,
                          const struct pawl_rotation_policy *policy,
                          const struct pawl_token_keys *keys, const struct pawl_rotation_time *now,
                          enum pawl_rotation_gate gate, struct pawl_rotation_outcome *out);

/** Make of @out what row 1 says: nothing happened. For a batch whose commit did not hold. */
void pawl_rotation_unavailable(struct pawl_rotation_outcome *out);

/**
 * Make an existing family REVOKED and the fact for it: log-out, family end. @record is changed.
 * @fact lends from @record and @actor. Returns whether the record changed.
 */
bool pawl_rotation_revoke(struct pawl_family *record, enum pawl_reason reason,
                          struct pawl_bytes actor, const struct pawl_rotation_time *now,
                          uint64_t max_lifetime_s, struct pawl_fact *fact);

/**
 * The secret of an opaque successor: a keyed hash of (family, generation, seed),
 * so that GRACE can give the same one again without storing it. Its SHA-256 is what is proposed.
 *
 * @generation  of the successor. @seed  PAWL_FAMILY_SEED_BYTES fresh random bytes of this HTTP
 * request; the record keeps them (they give nothing without the subkey). @token  32 bytes out.
 */
void pawl_rotation_opaque(const struct pawl_token_keys *keys, const struct pawl_family *family,
                          uint64_t generation, const uint8_t *seed, uint8_t token[32]);

/** The words of the maps above, never NULL. */
const char *pawl_rotation_result_name(enum pawl_rotation_result result);
const char *pawl_rotation_fault_text(enum pawl_rotation_fault fault);

#endif
