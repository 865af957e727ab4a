#include "ops/settings_table.h"

#include <stddef.h>
#include <string.h>

#include "core/limiter.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)

#define MS     UINT64_C(1)
#define SECOND (MS * 1000)
#define MINUTE (SECOND * 60)
#define HOUR   (MINUTE * 60)
#define DAY    (HOUR * 24)

#define RELOAD PAWL_SETTING_RELOADABLE

/* NOLINTBEGIN(bugprone-macro-parentheses): a type cannot stand in parentheses in _Generic. */
/* A field's place; the array's size is negative, and the build ends, where its type is not the one
 * that the row's type writes. */
#define FIELD(scope_, struct_, member, ctype)                                                  \
    .scope = (scope_),                                                                         \
    .offset = offsetof(struct struct_, member) +                                               \
              0 * sizeof(char[_Generic(&((struct struct_ *)NULL)->member, ctype * : 1, default \
                                       : -1)])
/* NOLINTEND(bugprone-macro-parentheses) */

#define ROOT(member, ctype)     FIELD(PAWL_SCOPE_ROOT, pawl_settings, member, ctype)
#define LISTENER(member, ctype) FIELD(PAWL_SCOPE_LISTENER, pawl_listen_settings, member, ctype)
#define LIMIT(member, ctype)    FIELD(PAWL_SCOPE_LIMIT, pawl_limit_settings, member, ctype)

#define LATER(path_, scope_, help_)                                                      \
    {                                                                                    \
        .path = (path_), .scope = (scope_), .flags = PAWL_SETTING_LATER, .help = (help_) \
    }

static const struct pawl_setting_word role_words[] = {
    { "check", PAWL_GRANT_CHECK },
    { "read", PAWL_GRANT_READ },
    { "revoke", PAWL_GRANT_REVOKE },
    { "admin", PAWL_GRANT_ADMIN },
    { NULL, 0 },
};

static const struct pawl_setting_word on_error_words[] = {
    { "client", PAWL_ON_ERROR_NONE },
    { "open", PAWL_ON_ERROR_OPEN },
    { "closed", PAWL_ON_ERROR_CLOSED },
    { "local", PAWL_ON_ERROR_LOCAL },
    { NULL, 0 },
};

static const struct pawl_setting_word when_full_words[] = {
    { "overflow", PAWL_WHEN_FULL_OVERFLOW },
    { "open", PAWL_WHEN_FULL_OPEN },
    { "closed", PAWL_WHEN_FULL_CLOSED },
    { NULL, 0 },
};

static const struct pawl_setting_word consistency_words[] = {
    { "normal", PAWL_CONSISTENCY_NORMAL },
    { "exact", PAWL_CONSISTENCY_EXACT },
    { NULL, 0 },
};

static const struct pawl_setting_word algorithm_words[] = {
    { "sliding", PAWL_ALGORITHM_SLIDING },
    { NULL, 0 },
};

static const struct pawl_setting_word when_stale_words[] = {
    { "undecided", PAWL_STALE_UNDECIDED },
    { "accept", PAWL_STALE_OPEN },
    { "accept_until", PAWL_STALE_OPEN_UNTIL },
    { NULL, 0 },
};

static const struct pawl_setting_word older_words[] = {
    { "accept", PAWL_OLDER_ACCEPT },
    { "undecided", PAWL_OLDER_UNDECIDED },
    { NULL, 0 },
};

static const struct pawl_setting_word mode_words[] = {
    { "idempotent", PAWL_ROTATION_IDEMPOTENT },
    { "soft", PAWL_ROTATION_SOFT },
    { NULL, 0 },
};

static const struct pawl_setting_word reuse_words[] = {
    { "revoke_family", PAWL_ON_REUSE_REVOKE_FAMILY },
    { "deny", PAWL_ON_REUSE_DENY },
    { "revoke_subject", PAWL_ON_REUSE_REVOKE_SUBJECT },
    { NULL, 0 },
};

static const struct pawl_setting_word mismatch_words[] = {
    { "deny", PAWL_ON_MISMATCH_DENY },
    { "revoke_family", PAWL_ON_MISMATCH_REVOKE_FAMILY },
    { NULL, 0 },
};

static const struct pawl_setting_word level_words[] = {
    { "debug", PAWL_LOG_DEBUG },
    { "info", PAWL_LOG_INFO },
    { "warn", PAWL_LOG_WARN },
    { "error", PAWL_LOG_ERROR },
    { NULL, 0 },
};

const struct pawl_setting pawl_settings_table[] = {
    /* ---- where to listen ---- */
    { .path = "listen",
      .type = PAWL_SETTING_LISTENERS,
      .max = PAWL_SETTINGS_LISTEN_MAX,
      .initial_help = "pawld.sock in the runtime directory, and tcp:127.0.0.1:7401",
      .help = "Addresses to answer on: a list of texts or of mappings with the keys below." },
    { .path = "listen.*.uri",
      .type = PAWL_SETTING_URI,
      LISTENER(uri, const char *),
      .flags = PAWL_SETTING_REQUIRED,
      .help = "unix:/path, unix:@name or tcp:address:port." },
    { .path = "listen.*.role",
      .type = PAWL_SETTING_WORDS,
      LISTENER(role, unsigned),
      .words = role_words,
      .initial_help = "unix: all; tcp: [check, read]",
      .help = "The most that a peer of this listener may do." },
    { .path = "listen.*.mode",
      .type = PAWL_SETTING_MODE,
      LISTENER(mode, uint32_t),
      .max = 0777,
      .initial = "0660",
      .help = "Permissions of a Unix socket's file, octal." },
    { .path = "listen.*.insecure",
      .type = PAWL_SETTING_BOOL,
      LISTENER(insecure, bool),
      .initial = "false",
      .help = "Written out, it permits plain TCP beyond loopback: anyone on the way can read and "
              "forge." },
    LATER("listen.*.tls", PAWL_SCOPE_LISTENER, "TLS for this listener"),
    LATER("http", PAWL_SCOPE_ROOT, "the HTTP port for metrics, health and gateways"),

    /* ---- state and memory ---- */
    { .path = "data_dir",
      .type = PAWL_SETTING_PATH,
      ROOT(data_dir, const char *),
      .initial_help = "the state directory: /var/lib/pawl for root, else ~/.local/state/pawl",
      .help = "Folder of pawl.db, counters and secret; made 0700 and locked." },
    { .path = "secret_file",
      .type = PAWL_SETTING_PATH,
      ROOT(secret_file, const char *),
      .initial = "",
      .initial_help = "data_dir/secret, made at the first start",
      .help = "File with the root secret." },
    { .path = "secret_files",
      .type = PAWL_SETTING_PATHS,
      ROOT(secret_list[0], const char *),
      .max = PAWL_SETTINGS_SECRETS_MAX,
      .initial_help = "none",
      .help = "In place of secret_file while the secret is changed: [new, old]." },
    { .path = "memory_max",
      .type = PAWL_SETTING_SIZE,
      ROOT(memory_max_bytes, uint64_t),
      .min = 8 * MIB,
      .max = 32 * GIB,
      .initial = "256MiB",
      .help = "Ceiling of the table of counted keys." },
    { .path = "revocations_max",
      .type = PAWL_SETTING_UINT,
      ROOT(revocations_max, uint64_t),
      .min = 1024,
      .max = PAWL_REVOCATIONS_MAX_CAP,
      .initial = "16777216",
      .help = "Revocations and cutoffs held at most; more are refused, none is evicted." },

    /* ---- limits ---- */
    { .path = "limits",
      .type = PAWL_SETTING_LIMITS,
      .flags = RELOAD,
      .max = PAWL_SETTINGS_LIMITS_MAX,
      .initial_help = "none",
      .help = "Named limits: a mapping from the limit's name to the keys below." },
    { .path = "limits.*.rate",
      .type = PAWL_SETTING_RATES,
      .scope = PAWL_SCOPE_LIMIT,
      .flags = RELOAD | PAWL_SETTING_REQUIRED,
      .help = "Count per window: 5/minute, 100/5m, or a list of up to 8 that all hold." },
    { .path = "limits.*.name",
      .type = PAWL_SETTING_NAME,
      LIMIT(name, const char *),
      .flags = RELOAD,
      .min = 1,
      .max = PAWL_LIMIT_NAME_MAX,
      .initial_help = "its key under limits",
      .help = "What requests ask for; set it where two namespaces have a limit of one name." },
    { .path = "limits.*.namespace",
      .type = PAWL_SETTING_NAME,
      LIMIT(ns, const char *),
      .flags = RELOAD,
      .min = 1,
      .max = PAWL_LIMIT_NAME_MAX,
      .initial = "default",
      .help = "The tenant whose limit it is; in one namespace a name stands once." },
    { .path = "limits.*.precision",
      .type = PAWL_SETTING_UINT32,
      LIMIT(precision, uint32_t),
      .flags = RELOAD,
      .min = PAWL_PRECISION_MIN,
      .max = PAWL_PRECISION_MAX,
      .initial = "64",
      .help = "Events remembered one by one; beyond, room opens up to window/(precision-1) late." },
    { .path = "limits.*.on_error",
      .type = PAWL_SETTING_WORD,
      LIMIT(on_error, unsigned),
      .flags = RELOAD,
      .words = on_error_words,
      .initial = "client",
      .help = "What callers do when no pawld answers; client: what each call says." },
    { .path = "limits.*.when_full",
      .type = PAWL_SETTING_WORD,
      LIMIT(when_full, unsigned),
      .flags = RELOAD,
      .words = when_full_words,
      .initial = "overflow",
      .help = "A new key when memory_max is reached: count in a shared cell, allow, or deny." },
    { .path = "limits.*.count_denied",
      .type = PAWL_SETTING_BOOL,
      LIMIT(count_denied, bool),
      .flags = RELOAD,
      .initial = "false",
      .help = "Denied calls count too." },
    { .path = "limits.*.consistency",
      .type = PAWL_SETTING_WORD,
      LIMIT(consistency, unsigned),
      .flags = RELOAD,
      .words = consistency_words,
      .initial = "normal",
      .help = "exact: the count is on disk before the answer, so a crash forgets nothing." },
    { .path = "limits.*.algorithm",
      .type = PAWL_SETTING_WORD,
      LIMIT(algorithm, unsigned),
      .flags = RELOAD,
      .words = algorithm_words,
      .initial = "sliding",
      .help = "How events are counted." },
    LATER("limits.*.shadow", PAWL_SCOPE_LIMIT, "deciding and counting without denying"),
    LATER("limits.*.overrides", PAWL_SCOPE_LIMIT, "other rates for single keys"),
    LATER("limits.*.bypass", PAWL_SCOPE_LIMIT, "keys that are never limited"),

    /* ---- tokens ---- */
    { .path = "tokens.max_lifetime",
      .type = PAWL_SETTING_DURATION,
      ROOT(tokens.max_lifetime_ms, uint64_t),
      /* Not reloadable: the store keeps families and cutoffs by it, and two values at work in one
       * process, however short the time, could drop a cutoff that a longer life still needs. */
      .min = MINUTE,
      .max = (uint64_t)PAWL_TOKEN_LIFETIME_MAX_S * SECOND,
      .step = SECOND,
      .initial = "30d",
      .help = "A token that claims to live longer is invalid; cutoffs are kept this long." },
    { .path = "tokens.skew",
      .type = PAWL_SETTING_DURATION,
      ROOT(tokens.skew_ms, uint64_t),
      .flags = RELOAD,
      .max = PAWL_TOKEN_SKEW_MAX_S * SECOND,
      .step = SECOND,
      .initial = "5s",
      .help = "Allowed between this clock and that of whoever issued a token." },
    { .path = "tokens.staleness_max",
      .type = PAWL_SETTING_DURATION,
      ROOT(tokens.staleness_max_ms, uint64_t),
      .flags = RELOAD,
      .min = 100 * MS,
      .max = HOUR,
      .initial = "5s",
      .help = "A verdict on older data is not called fresh." },
    { .path = "tokens.when_stale",
      .type = PAWL_SETTING_WORD,
      ROOT(tokens.when_stale, unsigned),
      .flags = RELOAD,
      .words = when_stale_words,
      .initial = "undecided",
      .help = "The verdict on a token with no revocation in stale data." },
    { .path = "tokens.stale_accept_max",
      .type = PAWL_SETTING_DURATION,
      ROOT(tokens.stale_accept_max_ms, uint64_t),
      .flags = RELOAD,
      .max = DAY,
      .initial = "0s",
      .help = "For when_stale: accept_until: older data than this gives undecided." },
    { .path = "tokens.older_than_store",
      .type = PAWL_SETTING_WORD,
      ROOT(tokens.older_than_store, unsigned),
      .flags = RELOAD,
      .words = older_words,
      .initial = "accept",
      .help = "Tokens issued before this store was made." },

    /* ---- rotation ---- */
    { .path = "rotation.leeway",
      .type = PAWL_SETTING_DURATION,
      ROOT(rotation.leeway_ms, uint64_t),
      .flags = RELOAD,
      .max = PAWL_ROTATION_LEEWAY_HARD_MS,
      .initial = "10s",
      .help = "How long the predecessor of a refresh token may still be presented; 0s: strict." },
    { .path = "rotation.mode",
      .type = PAWL_SETTING_WORD,
      ROOT(rotation.mode, unsigned),
      .flags = RELOAD,
      .words = mode_words,
      .initial = "idempotent",
      .help = "Within the leeway: name the same successor again, or only say that it raced." },
    { .path = "rotation.on_reuse",
      .type = PAWL_SETTING_WORD,
      ROOT(rotation.on_reuse, unsigned),
      .flags = RELOAD,
      .words = reuse_words,
      .initial = "revoke_family",
      .help = "What a stolen (reused) refresh token ends." },
    { .path = "rotation.on_mismatch",
      .type = PAWL_SETTING_WORD,
      ROOT(rotation.on_mismatch, unsigned),
      .flags = RELOAD,
      .words = mismatch_words,
      .initial = "deny",
      .help = "What a refresh with another subject, client or binding ends." },
    { .path = "rotation.family_max",
      .type = PAWL_SETTING_DURATION,
      ROOT(rotation.family_max_ms, uint64_t),
      .flags = RELOAD,
      .max = 3660 * DAY,
      .step = SECOND,
      .initial = "0s",
      .help = "Age at which a login ends however often it is refreshed; 0s: none." },
    { .path = "rotation.idle_max",
      .type = PAWL_SETTING_DURATION,
      ROOT(rotation.idle_max_ms, uint64_t),
      .flags = RELOAD,
      .max = 3660 * DAY,
      .step = SECOND,
      .initial = "0s",
      .help = "Time without a refresh after which a login ends; 0s: none." },
    { .path = "rotation.adopt_before",
      .type = PAWL_SETTING_TIME,
      ROOT(rotation.adopt_before_s, uint64_t),
      .flags = RELOAD,
      .initial = "off",
      .help = "Refresh tokens from before pawl that were issued until then become families." },

    /* ---- server ---- */
    { .path = "server.workers",
      .type = PAWL_SETTING_UINT,
      ROOT(server.workers, uint64_t),
      .max = 64,
      .initial = "0",
      .help = "Threads that answer; 0: one for each core, at most 4." },
    { .path = "server.connections_max",
      .type = PAWL_SETTING_UINT,
      ROOT(server.connections_max, uint64_t),
      .min = 1,
      .max = 1000000,
      .initial = "16384",
      .help = "Connections of all listeners together." },
    { .path = "server.in_flight_max",
      .type = PAWL_SETTING_UINT,
      ROOT(server.in_flight_max, uint64_t),
      .min = 1,
      .max = 65536,
      .initial = "1024",
      .help = "Requests of one connection that wait for an answer." },
    { .path = "server.output_max",
      .type = PAWL_SETTING_SIZE,
      ROOT(server.output_max_bytes, uint64_t),
      .min = 2 * MIB,
      .max = GIB,
      .initial = "4MiB",
      .help = "Answers of one connection that wait to be sent; beyond, it is closed." },
    { .path = "server.buffers_max",
      .type = PAWL_SETTING_SIZE,
      ROOT(server.buffers_max_bytes, uint64_t),
      .min = 8 * MIB,
      .max = 64 * GIB,
      .initial = "256MiB",
      .help = "Buffers of all connections together." },
    { .path = "server.backlog",
      .type = PAWL_SETTING_UINT,
      ROOT(server.backlog, uint64_t),
      .min = 1,
      .max = 65535,
      .initial = "1024",
      .help = "Connections of one listener that wait to be accepted." },
    { .path = "server.frame_timeout",
      .type = PAWL_SETTING_DURATION,
      ROOT(server.frame_timeout_ms, uint64_t),
      .min = 100 * MS,
      .max = HOUR,
      .initial = "10s",
      .help = "From the first byte of a request to its last." },
    { .path = "server.write_timeout",
      .type = PAWL_SETTING_DURATION,
      ROOT(server.write_timeout_ms, uint64_t),
      .min = 100 * MS,
      .max = HOUR,
      .initial = "10s",
      .help = "How long a peer may leave answers unread." },
    { .path = "server.idle_timeout",
      .type = PAWL_SETTING_DURATION,
      ROOT(server.idle_timeout_ms, uint64_t),
      .max = 7 * DAY,
      .initial = "0s",
      .help = "A connection that says nothing is closed after it; 0s: never." },
    { .path = "server.drain_timeout",
      .type = PAWL_SETTING_DURATION,
      ROOT(server.drain_timeout_ms, uint64_t),
      .min = 100 * MS,
      .max = HOUR,
      .initial = "10s",
      .help = "After SIGTERM: how long answers still due may take." },

    { .path = "server.tcp_keepalive",
      .type = PAWL_SETTING_DURATION,
      ROOT(server.tcp_keepalive_ms, uint64_t),
      .max = 32767 * SECOND, /* the kernel takes no more */
      .step = SECOND,
      .initial = "60s",
      .help = "TCP: a connection silent that long is probed and closed if dead; 0s: never." },
    { .path = "server.tcp_user_timeout",
      .type = PAWL_SETTING_DURATION,
      ROOT(server.tcp_user_timeout_ms, uint64_t),
      .max = HOUR,
      .initial = "30s",
      .help = "TCP: close when sent bytes stay unacknowledged that long; 0s: the system's time." },

    /* ---- store ---- */
    { .path = "store.queue_max",
      .type = PAWL_SETTING_UINT,
      ROOT(store.queue_max, uint64_t),
      .min = 16,
      .max = 1048576,
      .initial = "65536",
      .help = "Writes that wait for the disk; more are refused: full." },
    { .path = "store.batch_max",
      .type = PAWL_SETTING_UINT,
      ROOT(store.batch_max, uint64_t),
      .min = 1,
      .max = 65536,
      .initial = "1024",
      .help = "Writes that share one commit." },
    { .path = "store.counters_interval",
      .type = PAWL_SETTING_DURATION,
      ROOT(store.counters_interval_ms, uint64_t),
      .min = 100 * MS,
      .max = MINUTE,
      .initial = "1s",
      .help = "Age that an unsaved count should not pass: what a crash may forget." },
    { .path = "store.counters_write_max",
      .type = PAWL_SETTING_SIZE,
      ROOT(store.counters_write_max_bytes, uint64_t),
      .min = MIB,
      .max = 4 * GIB,
      .initial = "32MiB",
      .help = "Counts written to disk in a second." },

    /* ---- log ---- */
    { .path = "log.level",
      .type = PAWL_SETTING_WORD,
      ROOT(log_level, unsigned),
      .flags = RELOAD,
      .words = level_words,
      .initial = "info",
      .help = "The least important lines that are written." },

    LATER("jwt", PAWL_SCOPE_ROOT, "verification of signatures"),
    LATER("cluster", PAWL_SCOPE_ROOT, "more than one node"),
    LATER("tls", PAWL_SCOPE_ROOT, "TLS certificates"),
    LATER("credentials", PAWL_SCOPE_ROOT, "clients known by a shared secret"),
    LATER("audit", PAWL_SCOPE_ROOT, "the audit log"),
};

const size_t pawl_settings_table_count =
    sizeof(pawl_settings_table) / sizeof(pawl_settings_table[0]);

const char *pawl_setting_key(const struct pawl_setting *row)
{
    const char *dot = strrchr(row->path, '.');

    return dot != NULL ? dot + 1 : row->path;
}

const struct pawl_setting *pawl_setting_find(const char *path)
{
    size_t i;

    for (i = 0; i < pawl_settings_table_count; i++) {
        if (strcmp(pawl_settings_table[i].path, path) == 0) {
            return &pawl_settings_table[i];
        }
    }
    return NULL;
}

const struct pawl_setting *pawl_setting_find_in(enum pawl_setting_scope scope, const char *key)
{
    size_t i;

    for (i = 0; i < pawl_settings_table_count; i++) {
        const struct pawl_setting *row = &pawl_settings_table[i];

        if (row->scope == scope && strcmp(pawl_setting_key(row), key) == 0) {
            return row;
        }
    }
    return NULL;
}
