/*
 * Signed tokens: the keys of the configured issuers, and verifiers over them.
 *
 * A keyring holds one immutable set of keys at a time. It is built whole from the settings and the
 * files they name, or not at all; pawl_jwt_replace() and pawl_jwt_refresh() put a new one in its
 * place, and every verifier takes it up at its next token. What goes wrong leaves the old one.
 *
 * Life: pawl_jwt_create, pawl_jwt_port for those who verify, any number of replacements,
 * pawl_jwt_destroy after every verifier is closed. Replacing is for any thread, one at a time (a
 * second one waits); a verifier is for one thread.
 */
#ifndef PAWL_ADAPTER_JWT_JWT_H
#define PAWL_ADAPTER_JWT_JWT_H

#include "core/status.h"
#include "ops/settings.h"
#include "port/jwt.h"

#define PAWL_JWT_WARNINGS_MAX  8
#define PAWL_JWT_WARNING_BYTES 320

/** What a load found; for the log. */
struct pawl_jwt_report {
    unsigned issuers;
    unsigned keys;
    unsigned skipped; /* entries of JWKS files that are of no use here; RFC 7517 section 5 */
    unsigned warnings;
    char warning[PAWL_JWT_WARNINGS_MAX][PAWL_JWT_WARNING_BYTES]; /* the first of them, in full */
};

struct pawl_jwt_keyring; /* private */

/**
 * Load the keys that @settings name. No issuers is no error: then every token is `no_keys`.
 *
 * @settings  copied. Paths as pawl_settings gives them.
 * @report    out, may be NULL.
 * Returns PAWL_OK; PAWL_EINVAL, PAWL_ENOENT, PAWL_EPERM, PAWL_EIO, PAWL_ETOOBIG (@error says which
 * file, which entry, what to do), PAWL_ENOMEM. *@out is NULL then.
 */
PAWL_MUST_USE enum pawl_status pawl_jwt_create(struct pawl_jwt_keyring **out,
                                               const struct pawl_jwt_settings *settings,
                                               struct pawl_jwt_report *report,
                                               struct pawl_error *error);

/** The port over @keyring, which has to outlive it. */
struct pawl_jwt pawl_jwt_port(struct pawl_jwt_keyring *keyring);

/**
 * Load what @settings name and put it in the place of what is there (a reload). On failure, as of
 * pawl_jwt_create(), the old keys stay.
 */
PAWL_MUST_USE enum pawl_status pawl_jwt_replace(struct pawl_jwt_keyring *keyring,
                                                const struct pawl_jwt_settings *settings,
                                                struct pawl_jwt_report *report,
                                                struct pawl_error *error);

/**
 * The same in two steps, for a reload of several parts: load and check beside what is in use, then
 * put it in its place, which cannot fail, or drop it. One thread at a time for the three. A
 * prepare drops what an earlier one left.
 */
PAWL_MUST_USE enum pawl_status pawl_jwt_prepare(struct pawl_jwt_keyring *keyring,
                                                const struct pawl_jwt_settings *settings,
                                                struct pawl_jwt_report *report,
                                                struct pawl_error *error);
void pawl_jwt_commit(struct pawl_jwt_keyring *keyring);
void pawl_jwt_abort(struct pawl_jwt_keyring *keyring);

/**
 * Look at the files of the settings in use, and load them again if one of them changed: its time,
 * size or inode, or which *.json files a directory holds. Cheap when nothing did (one stat for each
 * file). For a timer, and for a watch. On failure the old keys stay, and the next call tries again.
 *
 * @changed  out: new keys are in use.
 * Returns as pawl_jwt_create().
 */
PAWL_MUST_USE enum pawl_status pawl_jwt_refresh(struct pawl_jwt_keyring *keyring, bool *changed,
                                                struct pawl_jwt_report *report,
                                                struct pawl_error *error);

/** Wipe and free all keys; NULL is allowed. No verifier may be open. */
void pawl_jwt_destroy(struct pawl_jwt_keyring *keyring);

#endif
