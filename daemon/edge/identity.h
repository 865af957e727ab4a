/*
 * Who a session is: which roles it has, in which namespaces, and why.
 *
 * A guard is one immutable set of what proves something: the TLS context with the CA behind it, the
 * clients known by their certificates, the clients known by a shared secret. A reload makes a new
 * one; sessions are judged again by it (session.c).
 *
 * An identity is what one session has proved so far. Sources, in this order:
 *   - a Unix peer's uid: the listener's roles, everywhere;
 *   - TCP and TLS without a proof: the listener's `anonymous`, everywhere;
 *   - a certificate: the entries of tls.clients that one of its names matches;
 *   - a credential in hello: its entry.
 * A proof takes the place of `anonymous`. Roles count together with their namespaces: {admin in a}
 * and {check in b} is no admin in b. Never more than the listener's `role`.
 *
 * A secret is kept as a keyed BLAKE2b alone, and compared in constant time.
 *
 * Guards are counted and may be shared by threads; an identity belongs to its session's thread.
 */
#ifndef PAWL_EDGE_IDENTITY_H
#define PAWL_EDGE_IDENTITY_H

#include "core/keyhash.h"
#include "core/status.h"
#include "ops/settings.h"
#include "pawl/v1/caps.h"
#include "port/tls.h"

#define PAWL_IDENTITY_GRANTS_MAX 8   /* entries that count for one peer */
#define PAWL_CREDENTIAL_MIN      16  /* bytes of a shared secret */
#define PAWL_CREDENTIAL_MAX      512 /* and at most: what fits hello */

/** What the holder of something may do. */
struct pawl_guard_entry {
    char *name;     /* "dns:api.internal", or a credential's id */
    unsigned roles; /* bits of pawl_role */
    bool everywhere;
    char **namespaces;
    unsigned namespace_count;
    bool is_credential;
    uint8_t digest[PAWL_DIGEST_BYTES]; /* of a credential's secret */
};

struct pawl_guard {
    /* ---- private, but for tls, context and the two limits, which the network reads ---- */
    _Atomic unsigned refs;
    const struct pawl_tls_ops *tls;   /* NULL: no TLS */
    struct pawl_tls_context *context; /* a reference */
    uint64_t handshake_timeout_ms;
    unsigned handshakes_max;
    uint8_t key[PAWL_DIGEST_BYTES];
    struct pawl_guard_entry *grants; /* certificates', then credentials' */
    unsigned grant_count;
    unsigned client_count; /* of them certificates' */
};

/** What a guard is made of; all lent for the call but @tls. */
struct pawl_guard_options {
    const struct pawl_settings *settings; /* tls, credentials */
    const struct pawl_tls_ops *tls;       /* kept; NULL where the settings have no certificate */
    struct pawl_tls_context *context;     /* the guard takes a reference of its own; or NULL */
    const uint8_t *key;                   /* PAWL_DIGEST_BYTES, random, the same for every guard */
    const struct pawl_bytes *secrets;     /* one for each of settings->credentials */
};

/**
 * Build a guard; the caller holds its one reference.
 *
 * Returns NULL with @error filled: a name that is written wrong (an ip: that is no number), a
 * secret that is too short or too long, no memory.
 */
PAWL_MUST_USE struct pawl_guard *pawl_guard_create(const struct pawl_guard_options *options,
                                                   struct pawl_error *error);
struct pawl_guard *pawl_guard_ref(struct pawl_guard *guard);
/** NULL is allowed. The last reference wipes and frees. */
void pawl_guard_unref(struct pawl_guard *guard);

struct pawl_identity {
    unsigned cap;             /* the most the listener grants */
    unsigned base;            /* in every namespace: by uid, or for lack of a proof */
    bool by_uid;              /* a proof adds to @base in place of taking its place */
    struct pawl_guard *guard; /* a reference, where grants are of it; else NULL */
    uint16_t grants[PAWL_IDENTITY_GRANTS_MAX]; /* indices in the guard's */
    uint8_t grant_count;
    bool everywhere; /* @roles are the same in all namespaces */
    uint8_t ns_size; /* what @roles are for, where not everywhere */
    uint8_t ns[PAWL_NAMESPACE_MAX];
    unsigned roles; /* in the namespace entered last */
};

/** Somebody who has proved nothing, or (@by_uid) only who it is on this machine. */
void pawl_identity_init(struct pawl_identity *identity, unsigned cap, unsigned base, bool by_uid);

/** Let go of the guard. */
void pawl_identity_deinit(struct pawl_identity *identity);

/**
 * Take the entries that match @peer's certificate. PAWL_OK; PAWL_EPERM: it has a certificate,
 * entries are configured and none matches.
 */
PAWL_MUST_USE enum pawl_status pawl_identity_certify(struct pawl_identity *identity,
                                                     struct pawl_guard *guard,
                                                     const struct pawl_tls_peer *peer);

/** Take the entry of a credential, if @secret is its own. PAWL_OK, PAWL_EPERM. */
PAWL_MUST_USE enum pawl_status pawl_identity_credit(struct pawl_identity *identity,
                                                    struct pawl_guard *guard, struct pawl_bytes id,
                                                    struct pawl_bytes secret);

/**
 * Judge again by @guard, a reload's. @peer is the certificate's, or NULL for none.
 *
 * PAWL_OK; PAWL_EPERM: what it had proved counts no more (entry gone, secret changed).
 */
PAWL_MUST_USE enum pawl_status pawl_identity_renew(struct pawl_identity *identity,
                                                   struct pawl_guard *guard,
                                                   const struct pawl_tls_peer *peer);

/** As pawl_identity_enter(), where the answer is not at hand. */
bool pawl_identity_look(struct pawl_identity *identity, struct pawl_bytes ns);

/** From here on @roles are those in @ns. False: there is nothing it may do there. */
static inline bool pawl_identity_enter(struct pawl_identity *identity, struct pawl_bytes ns)
{
    return PAWL_LIKELY(identity->everywhere) || pawl_identity_look(identity, ns);
}

/** The roles that it has in all namespaces. */
unsigned pawl_identity_everywhere(const struct pawl_identity *identity);

/** The name of what it has proved, for audit: "dns:api", a credential's id, "". Lent. */
const char *pawl_identity_name(const struct pawl_identity *identity);

#endif
