/*
 * A family: all refresh tokens descended from one login, as one record.
 *
 * The record is O(1): the current token, the one before it, and hashes of the last 8. It owns its
 * bytes, so that a new version can be made beside the old one. Its state goes one way, ACTIVE to
 * REVOKED; "ended" (life or idle time over) is derived, never written. Two versions of one family
 * meet by pawl_family_merge(), a join. Pure; any thread.
 */
#ifndef PAWL_CORE_FAMILY_H
#define PAWL_CORE_FAMILY_H

#include "core/fact.h"
#include "core/keyhash.h"
#include "core/status.h"
#include "core/types.h"

#define PAWL_FAMILY_JTIS       8    /* how many of the last tokens are known by hash */
#define PAWL_FAMILY_GRACE_MAX  64   /* grace answers for one predecessor */
#define PAWL_FAMILY_BYTES_MAX  8192 /* any serialized record */
#define PAWL_FAMILY_KEY_BYTES  32   /* binding hash, at most */
#define PAWL_FAMILY_SEED_BYTES 16
/* A fork has no moment of its own: it sorts after every revocation that somebody asked for. */
#define PAWL_FAMILY_FORK_AT_MS UINT64_MAX

/** A name with its bytes; at most PAWL_NAME_MAX. */
struct pawl_name {
    uint16_t size;
    uint8_t data[PAWL_NAME_MAX];
};

enum pawl_family_state {
    PAWL_FAMILY_NONE = 0, /* no record */
    PAWL_FAMILY_ACTIVE = 1,
    PAWL_FAMILY_REVOKED = 2, /* terminal */
};

/** One refresh token of a family. */
struct pawl_family_token {
    enum pawl_scope scope; /* TOKEN: jti; SIGNED, OPAQUE: 32 bytes of hash. NONE: no token */
    struct pawl_name value;
    int64_t iat_s;
    int64_t exp_s;
    uint8_t seed[PAWL_FAMILY_SEED_BYTES]; /* what an opaque one was derived from, else zero */
};

struct pawl_family {
    /* Who: fixed at birth. */
    struct pawl_name ns;
    struct pawl_name issuer;
    struct pawl_name sid;
    struct pawl_name subject;
    struct pawl_name client;
    uint8_t binding[PAWL_FAMILY_KEY_BYTES];
    uint8_t binding_size; /* 0: not bound */
    uint64_t born_ms;     /* fleet clock */
    uint64_t abs_exp_s;   /* fleet clock; 0: none */
    uint64_t idle_s;      /* longest time between rotations; 0: any */
    /* Where. */
    uint64_t generation; /* of cur; the first token is generation 0 */
    uint64_t rotated_ms; /* last rotation, or the opening */
    struct pawl_family_token cur;
    struct pawl_family_token prev;         /* scope NONE before the first rotation */
    uint64_t superseded_ms;                /* when prev was */
    uint64_t grace_until_ms;               /* for prev; absolute, only ever shrinks */
    uint32_t grace_uses;                   /* grace answers for prev */
    uint8_t jtis_count;                    /* 1 to PAWL_FAMILY_JTIS */
    struct pawl_id jtis[PAWL_FAMILY_JTIS]; /* newest first: [0] is cur, [1] prev */
    /* State. */
    enum pawl_family_state state;
    enum pawl_reason reason;
    struct pawl_name actor;
    uint64_t revoked_ms;
    bool reuse_reported; /* the one event of this family went out */
};

/** What opens a family. Bytes are copied. */
struct pawl_family_open {
    struct pawl_bytes ns;      /* not empty */
    struct pawl_bytes issuer;  /* "" if none */
    struct pawl_bytes sid;     /* not empty: pawl_sid_mint(), or the caller's own */
    struct pawl_bytes subject; /* "" if not known */
    struct pawl_bytes client;
    struct pawl_bytes binding; /* at most PAWL_FAMILY_KEY_BYTES: a hash, not the thing itself */
    enum pawl_scope scope;     /* of the first refresh token: TOKEN, SIGNED, OPAQUE */
    struct pawl_bytes value;
    int64_t iat_s;         /* 0: now */
    int64_t exp_s;         /* > 0; lowered to the end of the family's life: see cur.exp_s */
    uint64_t born_ms;      /* from pawl_sid_mint(); 0: now */
    uint64_t family_max_s; /* rotation.family_max; 0: none */
    uint64_t idle_max_s;   /* rotation.idle_max; 0: none */
};

/** Copy @bytes; false (and empty) when longer than PAWL_NAME_MAX. */
bool pawl_name_set(struct pawl_name *name, struct pawl_bytes bytes);

static inline struct pawl_bytes pawl_name_bytes(const struct pawl_name *name)
{
    return pawl_bytes_of(name->data, name->size);
}

/**
 * How `jtis` knows a token: SHA-256 cut to 128 bits over scope and value. Not keyed, so that it
 * outlives a change of the root secret; the names themselves lie in clear beside it.
 */
struct pawl_id pawl_family_jti(enum pawl_scope scope, struct pawl_bytes value);

/** The key of the family's row and hash: pawl_scope_id() of scope FAMILY. */
struct pawl_id pawl_family_key(const struct pawl_subkey *facts, struct pawl_bytes ns,
                               struct pawl_bytes issuer, struct pawl_bytes sid);

/**
 * Fill @family, generation 0, ACTIVE. @error may be NULL.
 * Returns PAWL_OK, PAWL_EINVAL or PAWL_ETOOBIG (names what and the cap).
 */
PAWL_MUST_USE enum pawl_status pawl_family_init(struct pawl_family *family,
                                                const struct pawl_family_open *open,
                                                struct pawl_stamp now, struct pawl_error *error);

/** Whether its life or idle time is over at @now (derived: the state stays ACTIVE). */
bool pawl_family_has_ended(const struct pawl_family *family, struct pawl_stamp now);

/** Where in `jtis` a token (pawl_family_jti()) is: 0 current, -1 not among the last 8. */
int pawl_family_position(const struct pawl_family *family, struct pawl_id token);

/**
 * Revoke: the first reason, actor and time are kept, so a second time changes nothing.
 * @actor is cut at PAWL_ACTOR_MAX. Returns whether the record changed.
 */
bool pawl_family_revoke(struct pawl_family *family, enum pawl_reason reason,
                        struct pawl_bytes actor, uint64_t at_ms);

/**
 * Join two versions of one family into @out, which may be @a or @b. REVOKED absorbs,
 * the earliest reason stays; the higher generation wins; one generation with two different tokens
 * is a fork, which revokes; ends of life and of grace take the smaller value.
 *
 * A fork is seen as far back as both versions remember (8 generations); versions further apart
 * cannot be compared, and the higher generation wins.
 * Returns PAWL_OK, or PAWL_EINVAL (and @out untouched) when they are not of one family.
 */
PAWL_MUST_USE enum pawl_status pawl_family_merge(struct pawl_family *out,
                                                 const struct pawl_family *a,
                                                 const struct pawl_family *b);

/**
 * Serialize, version byte first; family.c has the form. PAWL_FAMILY_BYTES_MAX always suffices.
 * Returns PAWL_OK or PAWL_ETOOBIG.
 */
PAWL_MUST_USE enum pawl_status pawl_family_encode(const struct pawl_family *family, uint8_t *buffer,
                                                  size_t capacity, size_t *size);

/**
 * Read a record; safe on any bytes. Returns PAWL_OK, PAWL_ECORRUPT, or PAWL_EVERSION for one that
 * a newer version wrote; @family is all zero then.
 */
PAWL_MUST_USE enum pawl_status pawl_family_decode(struct pawl_family *family,
                                                  struct pawl_bytes bytes);

#endif
