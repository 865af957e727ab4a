#include "adapter/jwt/jwt.h"

#include "adapter/jwt/verifier.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pawl_jwt_keyring {
    pthread_mutex_t loading; /* held by who builds a set; outer */
    pthread_mutex_t lock;    /* the rest, for moments */
    _Atomic uint64_t version;
    struct pawl_jwt_keys *current;
    struct pawl_jwt_keys *previous; /* kept for whoever still reads a name in it */
    struct pawl_jwt_keys *prepared; /* of pawl_jwt_prepare(), its caller's thread */
    struct pawl_jwt_verifier *verifiers;
    struct pawl_jwt_figures gone; /* of verifiers that were closed */
    uint64_t loads;
    bool failed; /* the last load did */
};

static void install(struct pawl_jwt_keyring *keyring, struct pawl_jwt_keys *keys)
{
    struct pawl_jwt_keys *old;

    (void)pthread_mutex_lock(&keyring->lock);
    keys->version = atomic_load_explicit(&keyring->version, memory_order_relaxed) + 1;
    old = keyring->previous;
    keyring->previous = keyring->current;
    keyring->current = keys;
    keyring->loads++;
    atomic_store_explicit(&keyring->version, keys->version, memory_order_release);
    (void)pthread_mutex_unlock(&keyring->lock);
    pawl_jwt_keys_unref(old);
}

/* Under `loading`. */
static enum pawl_status load(struct pawl_jwt_keyring *keyring,
                             const struct pawl_jwt_settings *settings,
                             struct pawl_jwt_report *report, struct pawl_error *error)
{
    struct pawl_jwt_keys *keys;
    enum pawl_status status = pawl_jwt_keys_load(&keys, settings, report, error);

    if (status == PAWL_OK) {
        install(keyring, keys);
    }
    (void)pthread_mutex_lock(&keyring->lock);
    keyring->failed = status != PAWL_OK;
    (void)pthread_mutex_unlock(&keyring->lock);
    return status;
}

enum pawl_status pawl_jwt_create(struct pawl_jwt_keyring **out,
                                 const struct pawl_jwt_settings *settings,
                                 struct pawl_jwt_report *report, struct pawl_error *error)
{
    struct pawl_jwt_keyring *keyring = calloc(1, sizeof(*keyring));

    *out = NULL;
    if (keyring == NULL) {
        return pawl_error_set(error, PAWL_ENOMEM, 0, "keys of tokens: out of memory");
    }
    (void)pthread_mutex_init(&keyring->loading, NULL);
    (void)pthread_mutex_init(&keyring->lock, NULL);
    enum pawl_status status = load(keyring, settings, report, error);

    if (status != PAWL_OK) {
        pawl_jwt_destroy(keyring);
        return status;
    }
    *out = keyring;
    return PAWL_OK;
}

void pawl_jwt_destroy(struct pawl_jwt_keyring *keyring)
{
    if (keyring == NULL) {
        return;
    }
    if (keyring->verifiers != NULL) {
        abort(); /* somebody would go on reading freed keys */
    }
    pawl_jwt_keys_unref(keyring->current);
    pawl_jwt_keys_unref(keyring->previous);
    pawl_jwt_keys_unref(keyring->prepared);
    (void)pthread_mutex_destroy(&keyring->lock);
    (void)pthread_mutex_destroy(&keyring->loading);
    free(keyring);
}

enum pawl_status pawl_jwt_replace(struct pawl_jwt_keyring *keyring,
                                  const struct pawl_jwt_settings *settings,
                                  struct pawl_jwt_report *report, struct pawl_error *error)
{
    (void)pthread_mutex_lock(&keyring->loading);
    enum pawl_status status = load(keyring, settings, report, error);

    (void)pthread_mutex_unlock(&keyring->loading);
    return status;
}

enum pawl_status pawl_jwt_prepare(struct pawl_jwt_keyring *keyring,
                                  const struct pawl_jwt_settings *settings,
                                  struct pawl_jwt_report *report, struct pawl_error *error)
{
    pawl_jwt_abort(keyring);
    (void)pthread_mutex_lock(&keyring->loading);
    enum pawl_status status = pawl_jwt_keys_load(&keyring->prepared, settings, report, error);

    (void)pthread_mutex_lock(&keyring->lock);
    keyring->failed = status != PAWL_OK;
    (void)pthread_mutex_unlock(&keyring->lock);
    (void)pthread_mutex_unlock(&keyring->loading);
    return status;
}

void pawl_jwt_commit(struct pawl_jwt_keyring *keyring)
{
    (void)pthread_mutex_lock(&keyring->loading); /* a refresh may be at work */
    if (keyring->prepared != NULL) {
        install(keyring, keyring->prepared);
        keyring->prepared = NULL;
    }
    (void)pthread_mutex_unlock(&keyring->loading);
}

void pawl_jwt_abort(struct pawl_jwt_keyring *keyring)
{
    pawl_jwt_keys_unref(keyring->prepared);
    keyring->prepared = NULL;
}

enum pawl_status pawl_jwt_refresh(struct pawl_jwt_keyring *keyring, bool *changed,
                                  struct pawl_jwt_report *report, struct pawl_error *error)
{
    uint8_t fingerprint[PAWL_JWT_FINGERPRINT];
    enum pawl_status status = PAWL_OK;

    *changed = false;
    if (report != NULL) {
        memset(report, 0, sizeof(*report));
    }
    (void)pthread_mutex_lock(&keyring->loading); /* who holds it alone replaces `current` */
    const struct pawl_jwt_keys *keys = keyring->current;

    pawl_jwt_fingerprint(&keys->settings, fingerprint);
    if (memcmp(fingerprint, keys->fingerprint, sizeof(fingerprint)) != 0) {
        status = load(keyring, &keys->settings, report, error);
        *changed = status == PAWL_OK;
    }
    (void)pthread_mutex_unlock(&keyring->loading);
    return status;
}

/* ---- the port -------------------------------------------------------------------------------- */

static void unlink_verifier(struct pawl_jwt_keyring *keyring, struct pawl_jwt_verifier *verifier)
{
    if (verifier->previous != NULL) {
        verifier->previous->next = verifier->next;
    } else {
        keyring->verifiers = verifier->next;
    }
    if (verifier->next != NULL) {
        verifier->next->previous = verifier->previous;
    }
}

static void add_figure(_Atomic uint64_t *sum, const _Atomic uint64_t *figure)
{
    atomic_store_explicit(sum,
                          atomic_load_explicit(sum, memory_order_relaxed) +
                              atomic_load_explicit(figure, memory_order_relaxed),
                          memory_order_relaxed);
}

static void add_figures(struct pawl_jwt_figures *sum, const struct pawl_jwt_figures *figures)
{
    for (unsigned i = 0; i < PAWL_JWT_REASON_COUNT; i++) {
        add_figure(&sum->answered[i], &figures->answered[i]);
    }
    add_figure(&sum->cache_hits, &figures->cache_hits);
    add_figure(&sum->cache_evicted, &figures->cache_evicted);
    add_figure(&sum->cache_too_big, &figures->cache_too_big);
}

/* The newest set, if the verifier has an older one. One load where there is none. */
static void take_newest(struct pawl_jwt_verifier *verifier)
{
    struct pawl_jwt_keyring *keyring = verifier->keyring;

    if (verifier->keys != NULL &&
        verifier->keys->version == atomic_load_explicit(&keyring->version, memory_order_acquire)) {
        return;
    }
    (void)pthread_mutex_lock(&keyring->lock);
    struct pawl_jwt_keys *keys = pawl_jwt_keys_ref(keyring->current);

    (void)pthread_mutex_unlock(&keyring->lock);
    pawl_jwt_verifier_use(verifier, keys); /* without memory: tried again with the next token */
}

static void *open_verifier(void *self)
{
    struct pawl_jwt_keyring *keyring = self;
    struct pawl_jwt_verifier *verifier = calloc(1, sizeof(*verifier));

    if (verifier == NULL) {
        return NULL;
    }
    verifier->keyring = keyring;
    take_newest(verifier);
    (void)pthread_mutex_lock(&keyring->lock);
    verifier->next = keyring->verifiers;
    if (verifier->next != NULL) {
        verifier->next->previous = verifier;
    }
    keyring->verifiers = verifier;
    (void)pthread_mutex_unlock(&keyring->lock);
    return verifier;
}

static void close_verifier(void *opened)
{
    struct pawl_jwt_verifier *verifier = opened;
    struct pawl_jwt_keyring *keyring = verifier->keyring;

    (void)pthread_mutex_lock(&keyring->lock);
    unlink_verifier(keyring, verifier);
    add_figures(&keyring->gone, &verifier->figures);
    (void)pthread_mutex_unlock(&keyring->lock);
    pawl_jwt_verifier_deinit(verifier);
    free(verifier);
}

static enum pawl_jwt_reason verify(void *opened, const struct pawl_jwt_request *request,
                                   struct pawl_jwt_claims *claims)
{
    struct pawl_jwt_verifier *verifier = opened;

    take_newest(verifier);
    return pawl_jwt_verifier_verify(verifier, request, claims);
}

static unsigned issuers(void *self, struct pawl_bytes *issuer)
{
    struct pawl_jwt_keyring *keyring = self;

    (void)pthread_mutex_lock(&keyring->lock);
    const struct pawl_jwt_keys *keys = keyring->current;
    unsigned count = keys->issuer_count;

    *issuer = count == 1 ? keys->issuers[0].name : pawl_bytes_of(NULL, 0);
    (void)pthread_mutex_unlock(&keyring->lock);
    return count;
}

static void number(const struct pawl_stats_sink *sink, const char *name, uint64_t value)
{
    sink->number(sink->self, name, value);
}

static void show_sums(const struct pawl_jwt_figures *sum, uint64_t entries,
                      const struct pawl_stats_sink *sink)
{
    char name[48];

    number(sink, "jwt_verified", sum->answered[PAWL_JWT_OK]);
    for (unsigned i = PAWL_JWT_OK + 1; i < PAWL_JWT_REASON_COUNT; i++) {
        (void)snprintf(name, sizeof(name), "jwt_refused_%s",
                       pawl_jwt_reason_text((enum pawl_jwt_reason)i));
        number(sink, name, sum->answered[i]);
    }
    number(sink, "jwt_cache_hits", sum->cache_hits);
    number(sink, "jwt_cache_entries", entries);
    number(sink, "jwt_cache_evicted", sum->cache_evicted);
    number(sink, "jwt_cache_too_big", sum->cache_too_big);
}

static void stats(void *self, const struct pawl_stats_sink *sink)
{
    struct pawl_jwt_keyring *keyring = self;
    struct pawl_jwt_figures sum = { 0 };
    uint64_t entries = 0;

    (void)pthread_mutex_lock(&keyring->lock);
    add_figures(&sum, &keyring->gone);
    for (const struct pawl_jwt_verifier *verifier = keyring->verifiers; verifier != NULL;
         verifier = verifier->next) {
        add_figures(&sum, &verifier->figures);
        entries += atomic_load_explicit(&verifier->figures.cache_entries, memory_order_relaxed);
    }
    unsigned issuer_count = keyring->current->issuer_count;
    unsigned key_count = keyring->current->key_count;
    uint64_t loads = keyring->loads;
    bool failed = keyring->failed;

    (void)pthread_mutex_unlock(&keyring->lock);
    number(sink, "jwt_issuers", issuer_count);
    number(sink, "jwt_keys", key_count);
    number(sink, "jwt_key_loads", loads);
    sink->flag(sink->self, "jwt_key_load_failed", failed);
    show_sums(&sum, entries, sink);
}

struct pawl_jwt pawl_jwt_port(struct pawl_jwt_keyring *keyring)
{
    static const struct pawl_jwt_ops ops = { .open = open_verifier,
                                             .close = close_verifier,
                                             .verify = verify,
                                             .issuers = issuers,
                                             .stats = stats };
    struct pawl_jwt port = { &ops, keyring };

    return port;
}
