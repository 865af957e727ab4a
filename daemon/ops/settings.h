/*
 * All settings of pawld: the values, and how they come from defaults, a config file and the
 * command line. settings_table*.c list every setting once; parser, --check-config,
 * --print-config and the reference page come from that list.
 *
 * Life: pawl_settings_load() makes an immutable object, pawl_settings_destroy() frees it. A
 * reload loads a second one from the same sources, asks pawl_settings_diff() whether it may
 * replace the first, and swaps. Reading one is safe from any thread.
 */
#ifndef PAWL_OPS_SETTINGS_H
#define PAWL_OPS_SETTINGS_H

#include <stdio.h>

#include "core/address.h"
#include "core/policy.h"
#include "core/rate_text.h"
#include "core/rotation.h"
#include "core/status.h"
#include "port/config_tree.h"
#include "port/log.h"

#define PAWL_SETTINGS_LISTEN_MAX  16   /* listeners */
#define PAWL_SETTINGS_LIMITS_MAX  1024 /* named limits */
#define PAWL_SETTINGS_SECRETS_MAX 2    /* secret_files: [new, old] */
#define PAWL_SETTINGS_PATH_MAX    1024 /* bytes of a file's path, its end included */

#define PAWL_SETTINGS_OVERRIDES_MAX   65536 /* of one limit */
#define PAWL_SETTINGS_BYPASS_MAX      1024  /* of one limit */
#define PAWL_SETTINGS_ISSUERS_MAX     64
#define PAWL_SETTINGS_KEYS_MAX        64  /* of one issuer, beside its JWKS */
#define PAWL_SETTINGS_AUDIENCES_MAX   16  /* of one issuer */
#define PAWL_SETTINGS_CLIENTS_MAX     256 /* tls.clients */
#define PAWL_SETTINGS_CREDENTIALS_MAX 256
#define PAWL_SETTINGS_NAMESPACES_MAX  32 /* of one client or credential */
#define PAWL_SETTINGS_HOSTS_MAX       32

/* ---- values ---------------------------------------------------------------------------------
 *
 * Texts are 0-terminated, never NULL, and live as long as the settings. Paths are absolute: a
 * relative one of the config file is taken from that file's folder, one of the command line from
 * the working directory.
 */

/** What a listener may grant; bit (ROLE - 1) of the wire's Role, as enum pawl_role of the edge. */
enum pawl_grant {
    PAWL_GRANT_CHECK = 1u << 0,
    PAWL_GRANT_READ = 1u << 1,
    PAWL_GRANT_REVOKE = 1u << 2,
    PAWL_GRANT_ADMIN = 1u << 3,
    PAWL_GRANT_PEER = 1u << 4,
};

/** A list of texts; NULL where count is 0. */
struct pawl_text_list {
    const char *const *items;
    unsigned count;
};

struct pawl_listen_settings {
    const char *uri; /* canonical: "unix:/run/pawl/pawld.sock", "tcp:[::1]:7401" */
    struct pawl_address
        address;        /* UNIX: an absolute path or an abstract name; TCP, TLS: a number */
    unsigned role;      /* bits of pawl_grant: at most these; never 0 */
    unsigned anonymous; /* TCP, TLS: bits for a peer with neither certificate nor credential; may
                           be 0 */
    uint32_t mode;      /* UNIX: of the socket's file, 0660; 0 where there is none */
    bool insecure;      /* TCP: open beyond loopback without TLS was written out */
};

enum pawl_consistency {
    PAWL_CONSISTENCY_NORMAL = 0, /* counters are saved behind the answer */
    PAWL_CONSISTENCY_EXACT,      /* durably saved before the answer */
};

/** Another rate for one key. A key of several parts is written "a|b": see key_count. */
struct pawl_override_settings {
    const char *key;                        /* as written: parts joined by '|'; a '\\' before
                                               '|' and '\\' makes it a letter of the part */
    struct pawl_rate rates[PAWL_RATES_MAX]; /* as many as the limit has, of the same windows */
    unsigned rate_count;
};

/** A named limit; plain values, from which main builds the core's struct pawl_limit. */
struct pawl_limit_settings {
    const char *id;   /* the key under limits: what --set and a reload know it by */
    const char *name; /* what requests ask for, 1 to 64 bytes; may hold a tier: "api.premium" */
    const char *ns;   /* namespace, 1 to 64 bytes; no two limits have both the same */
    struct pawl_rate rates[PAWL_RATES_MAX];
    unsigned rate_count;  /* 1 to PAWL_RATES_MAX */
    uint32_t precision;   /* PAWL_PRECISION_MIN to PAWL_PRECISION_MAX */
    unsigned on_error;    /* enum pawl_on_error; NONE: the client's own */
    unsigned when_full;   /* enum pawl_when_full of core/limiter.h */
    unsigned algorithm;   /* enum pawl_algorithm of core/limiter.h */
    unsigned consistency; /* enum pawl_consistency */
    bool count_denied;    /* denied calls are recorded too */
    bool shadow;          /* decide, count and report, never deny */
    uint64_t burst;       /* GCRA: at once; 0 = the rate's count */
    const char *zone;     /* CALENDAR: name of a time zone, "UTC" */
    uint32_t anchor_day;  /* CALENDAR: 1 to 31 (month, year), 1 to 7 (week: Monday is 1) */
    struct pawl_override_settings *overrides; /* sorted by key */
    unsigned override_count;
    struct pawl_text_list bypass; /* keys that are never limited, written as in overrides; one that
                                     ends in '*' is a prefix, "\\*" is a letter */
};

/** Durations that end in seconds in the core are whole seconds. */
struct pawl_tokens_settings {
    uint64_t max_lifetime_ms;     /* longer-lived tokens are invalid; the store's retention too */
    uint64_t skew_ms;             /* allowed between our clock and the issuers' */
    uint64_t staleness_max_ms;    /* older data is not called fresh */
    uint64_t stale_accept_max_ms; /* for when_stale: accept_until; else 0 */
    unsigned when_stale;          /* enum pawl_when_stale */
    unsigned older_than_store;    /* enum pawl_older_than_store */
};

struct pawl_rotation_settings {
    uint64_t leeway_ms;      /* 0 = strict */
    uint64_t family_max_ms;  /* from birth; 0 = none */
    uint64_t idle_max_ms;    /* since the last rotation; 0 = none */
    uint64_t adopt_before_s; /* iat of adopted tokens, seconds since 1970; 0 = off */
    unsigned mode;           /* enum pawl_rotation_mode */
    unsigned on_reuse;       /* enum pawl_on_reuse */
    unsigned on_mismatch;    /* enum pawl_on_mismatch */
};

struct pawl_server_settings {
    uint64_t workers;             /* 0 = one for each core the process may use */
    uint64_t connections_max;     /* of all listeners together */
    uint64_t in_flight_max;       /* requests of one connection that wait for their answer */
    uint64_t output_max_bytes;    /* answers of one connection that wait to be sent */
    uint64_t buffers_max_bytes;   /* input and output of all connections together */
    uint64_t backlog;             /* of listen(2) */
    uint64_t frame_timeout_ms;    /* from a frame's first byte to its last */
    uint64_t write_timeout_ms;    /* a peer that does not read */
    uint64_t idle_timeout_ms;     /* a connection with nothing in flight; 0 = none */
    uint64_t drain_timeout_ms;    /* SIGTERM: how long pending answers may take */
    uint64_t tcp_keepalive_ms;    /* silence before the peer is probed; whole seconds; 0 = never */
    uint64_t tcp_user_timeout_ms; /* sent and not acknowledged; 0 = the system's own */
};

struct pawl_store_settings {
    uint64_t queue_max;                /* jobs that wait for the writer */
    uint64_t batch_max;                /* jobs of one commit */
    uint64_t counters_interval_ms;     /* goal for the age of an unsaved count */
    uint64_t counters_write_max_bytes; /* a second */
};

/** Signing algorithms, and the numbers of the wire of nobody: ours alone. */
enum pawl_jwt_alg {
    PAWL_JWT_ALG_UNSET = 0, /* not an algorithm */
    PAWL_JWT_HS256,
    PAWL_JWT_HS384,
    PAWL_JWT_HS512,
    PAWL_JWT_RS256,
    PAWL_JWT_RS384,
    PAWL_JWT_RS512,
    PAWL_JWT_PS256,
    PAWL_JWT_PS384,
    PAWL_JWT_PS512,
    PAWL_JWT_ES256,
    PAWL_JWT_ES384,
    PAWL_JWT_ES512,
    PAWL_JWT_EDDSA, /* Ed25519 */
};

/** jwt.issuers.*.keys.*.state */
enum pawl_jwt_key_state {
    PAWL_JWT_STATE_ACTIVE = 0,
    PAWL_JWT_STATE_PENDING,     /* announced, not in use: its tokens are refused */
    PAWL_JWT_STATE_VERIFY_ONLY, /* signs nothing new; what it signed holds until it expires */
    PAWL_JWT_STATE_REVOKED,     /* its tokens are revoked, whatever their date */
};

/** jwt.issuers.*.ecdsa_s: which of the two signatures that each ES signature makes, s and n - s. */
enum pawl_jwt_ecdsa_s {
    PAWL_JWT_ECDSA_S_ANY = 0, /* RFC 7518 section 3.4 knows no difference */
    PAWL_JWT_ECDSA_S_LOW,     /* s of at most half the curve's order */
};

struct pawl_jwt_key_settings {
    const char *kid;         /* "" = of tokens without a kid */
    unsigned alg;            /* enum pawl_jwt_alg, never UNSET */
    const char *file;        /* PEM public key; "" = none */
    const char *secret_file; /* HMAC secret, HS* only; "" = none. One of the two is set */
    unsigned state;          /* enum pawl_jwt_key_state */
};

struct pawl_jwt_issuer_settings {
    const char *issuer;             /* the iss claim; "" = of tokens without one */
    struct pawl_text_list audience; /* one of them has to be in aud; none = aud is not looked at */
    const char *type;               /* the header's typ: "" = JWT or none; else exactly this */
    const char *token_type;         /* the token_type claim; "" = not looked at */
    const char *subject_claim;      /* "sub" */
    const char *client_claim;       /* "client_id" */
    const char *sid_claim;          /* "sid" */
    unsigned ecdsa_s;               /* enum pawl_jwt_ecdsa_s */
    const char *jwks_file;          /* a JWKS file, or a directory of them; "" = none */
    struct pawl_jwt_key_settings *keys;
    unsigned key_count;
};

struct pawl_jwt_settings {
    struct pawl_jwt_issuer_settings *issuers;
    unsigned issuer_count; /* 0: pawld verifies no signatures */
    uint64_t cache_max;    /* verified tokens remembered by each worker; 0 = none */
    uint64_t refresh_ms;   /* how often files are looked at where no watch tells */
};

/** tls.client_certificates */
enum pawl_client_certificates {
    PAWL_CLIENT_CERTIFICATES_NONE = 0, /* not asked for */
    PAWL_CLIENT_CERTIFICATES_OPTIONAL,
    PAWL_CLIENT_CERTIFICATES_REQUIRED,
};

/** What the holder of a certificate may do. */
struct pawl_client_settings {
    const char *san; /* "dns:api.internal", "uri:spiffe://prod/api", "email:a@b", "ip:10.0.0.1" */
    unsigned role;   /* bits of pawl_grant */
    struct pawl_text_list namespaces; /* "*" = all */
};

struct pawl_tls_settings {
    const char *certificate;      /* PEM, the chain; "" = no TLS */
    const char *key;              /* PEM */
    const char *ca;               /* PEM: who signs client certificates; "" = none */
    unsigned client_certificates; /* enum pawl_client_certificates */
    uint64_t handshake_timeout_ms;
    uint64_t handshakes_max; /* under way at once, of all listeners */
    struct pawl_client_settings *clients;
    unsigned client_count;
};

/** A client known by a shared secret. */
struct pawl_credential_settings {
    const char *id;
    const char *secret_file;          /* 16 bytes or more, the end of line not counted */
    unsigned role;                    /* bits of pawl_grant */
    struct pawl_text_list namespaces; /* "*" = all */
};

struct pawl_http_settings {
    bool on;
    bool insecure;               /* beyond loopback was written out */
    struct pawl_address address; /* TCP, a number */
    const char *text;            /* canonical: "127.0.0.1:7402", "[::1]:0", "off" */
    struct pawl_text_list hosts; /* further Host names that are answered */
    uint64_t connections_max;
    uint64_t timeout_ms; /* of a silent connection */
    bool console;        /* /console is served */
};

struct pawl_audit_settings {
    const char *file;      /* "" = the log's own output; else appended to, opened anew on reload */
    uint64_t denied_per_s; /* denials written a second, the rest is counted */
};

/** One server of an engine: "redis://host:port", "rediss://" with TLS, or "unix:/path". */
struct pawl_redis_settings {
    const char *uri; /* canonical */
    const char *host;
    uint16_t port;
    bool secure;
};

/** What a revocation in one namespace waits for. */
struct pawl_ack_settings {
    const char *ns;
    unsigned ack; /* enum pawl_ack, never DEFAULT */
};

#define PAWL_SETTINGS_REDIS_MAX 16 /* addresses of one engine, or of its sentinels */

/**
 * The fleet. Present: the store is the engine, and data_dir is "" unless it was written, where
 * facts are kept beside it. secret_files are set. advertise is never "". Members show each other
 * tls.certificate and are judged by tls.ca and tls.clients (role peer).
 */
struct pawl_cluster_settings {
    bool on;                           /* there is a cluster section */
    struct pawl_redis_settings *redis; /* cluster.redis: tried in order, the primary is kept */
    unsigned redis_count;
    struct pawl_text_list redis_list, sentinel_list; /* as written; the arrays are what they say */
    const char *sentinel_name;                       /* "" = no Sentinel: cluster.redis */
    struct pawl_redis_settings *sentinels;
    unsigned sentinel_count;
    const char *user;                   /* ACL user; "" = default */
    const char *password_file;          /* "" = none */
    const char *sentinel_user;          /* at the Sentinels; "" = default */
    const char *sentinel_password_file; /* at the Sentinels; "" = no login there */
    const char *tls_ca;                 /* PEM, for rediss://; "" = the system's */
    const char *tls_certificate;        /* PEM chain, with its key: client certificate; "" = none */
    const char *tls_key;
    const char *tls_name;  /* what the engine's certificate is for; "" = the host of its address */
    const char *prefix;    /* of all keys in the engine, "pawl" */
    const char *advertise; /* where the other members reach this one: canonical address */
    struct pawl_address advertise_address;
    const char
        *peer_name;    /* what members' certificates are for; "" = the hosts of their addresses */
    const char *seeds; /* "host:port" of a name with an address for each member; "" = none */
    unsigned ack;      /* enum pawl_ack of port/store.h: default level; DEFAULT = quorum where there
                          are replicas, else durable */
    struct pawl_ack_settings *acks; /* cluster.acks: NAMESPACE: level */
    unsigned ack_count;
    uint64_t command_timeout_ms; /* of one command at the engine */
    bool strict;                 /* an engine that may forget (eviction, version) is refused */
};

struct pawl_settings {
    struct pawl_listen_settings *listen;
    unsigned listen_count; /* at least 1 */
    const char *data_dir;  /* "" = none, in a cluster only */
    /* The place that defaults name, whether left out or written: pawld may make what is missing.
     * Elsewhere a missing folder is an error, for it may be a disk that is not there. */
    bool data_dir_is_default;
    const char *runtime_dir; /* the folder of a default socket that is listened on, or NULL */
    const char *secret_files[PAWL_SETTINGS_SECRETS_MAX]; /* [new, old]; "" where not given */
    unsigned secret_count;              /* 0 = data_dir/secret, made at the first start */
    uint64_t memory_max_bytes;          /* of the limiter's table */
    uint64_t revocations_max;           /* entries */
    struct pawl_limit_settings *limits; /* sorted by id */
    unsigned limit_count;
    struct pawl_tokens_settings tokens;
    struct pawl_rotation_settings rotation;
    struct pawl_server_settings server;
    struct pawl_store_settings store;
    unsigned log_level; /* enum pawl_log_level */
    struct pawl_jwt_settings jwt;
    struct pawl_tls_settings tls;
    struct pawl_credential_settings *credentials;
    unsigned credential_count;
    struct pawl_http_settings http;
    struct pawl_audit_settings audit;
    bool watch;          /* reload when a file that was read changes */
    bool sandbox;        /* give up what is not needed once started */
    uint64_t leases_max; /* reservations open at once */
    struct pawl_cluster_settings cluster;

    /* ---- private ---- */
    const char *config_file;       /* absolute; "" = none */
    const char *secret_file;       /* as written; secret_files above is what they come to */
    const char *names_secret_file; /* "": the first of secret_files */
    const char *secret_list[PAWL_SETTINGS_SECRETS_MAX];
    struct pawl_pool *pool;
};

/* ---- problems ------------------------------------------------------------------------------ */

#define PAWL_PROBLEMS_MAX       100
#define PAWL_PROBLEM_TEXT_BYTES 800

/** One complaint, whole: "pawld.yaml:7:12: limits.api.rate: what is wrong; what to do". */
struct pawl_problem {
    bool warning;                  /* the settings hold all the same */
    unsigned source, line, column; /* of the place, for sorting */
    char text[PAWL_PROBLEM_TEXT_BYTES];
};

/** All that is wrong, in the order of the sources; the caller's storage, zeroed before use. */
struct pawl_problems {
    unsigned count;
    unsigned errors;  /* that are no warnings, also those not kept */
    unsigned dropped; /* more than fit */
    struct pawl_problem items[PAWL_PROBLEMS_MAX];
};

/** One line each on @out, and how many more there are. */
void pawl_problems_print(const struct pawl_problems *problems, FILE *out);

/* ---- loading ------------------------------------------------------------------------------- */

/** What defaults depend on; NULL = not set. pawl_settings_env_read() fills it. */
struct pawl_settings_env {
    bool root;                        /* effective uid 0 */
    const char *runtime_directory;    /* RUNTIME_DIRECTORY, of systemd */
    const char *state_directory;      /* STATE_DIRECTORY */
    const char *xdg_runtime_dir;      /* XDG_RUNTIME_DIR */
    const char *xdg_state_home;       /* XDG_STATE_HOME */
    const char *home;                 /* HOME */
    char cwd[PAWL_SETTINGS_PATH_MAX]; /* "" = not known */
};

/** Fill @env from the process. Its texts are the environment's: do not change that meanwhile. */
void pawl_settings_env_read(struct pawl_settings_env *env);

/** Where settings come from, weakest first: defaults, file, --listen and kin, --set. Lent. */
struct pawl_settings_sources {
    const struct pawl_config_parser *parser;
    const struct pawl_settings_env *env;
    const char *config_file;   /* NULL = none */
    const char *const *listen; /* --listen; any replaces the listeners of file and defaults */
    unsigned listen_count;
    const char *http;        /* --http, or NULL */
    const char *data_dir;    /* --data-dir, or NULL */
    const char *const *sets; /* --set: "a.b=value", the value in the language of the file */
    unsigned set_count;
    bool reload; /* refuse a file with nothing in it: it is being written in place */
};

/**
 * Read all @sources, check everything, and build the settings.
 *
 * @problems  zeroed by the caller; gets all that is wrong at once, warnings included.
 * @out       the settings, the caller's to destroy; NULL unless PAWL_OK.
 * Returns PAWL_OK, PAWL_EINVAL (see @problems), PAWL_ENOMEM.
 */
PAWL_MUST_USE enum pawl_status pawl_settings_load(const struct pawl_settings_sources *sources,
                                                  struct pawl_problems *problems,
                                                  struct pawl_settings **out);

/** NULL is allowed. */
void pawl_settings_destroy(struct pawl_settings *settings);

/** Called with an absolute path, lent for the call; the same may come twice. */
typedef void (*pawl_settings_on_file)(void *ctx, const char *path);

/**
 * Name every file that the settings were read from or that they name to be read: the config file,
 * secrets, certificates, keys, JWKS files (which may be folders). Not what pawld itself writes.
 */
void pawl_settings_files(const struct pawl_settings *settings, pawl_settings_on_file on_file,
                         void *ctx);

/* ---- reload -------------------------------------------------------------------------------- */

/**
 * Called for each setting that differs: "limits.api.rate" and whether a reload may change it. A
 * list is one setting, whatever differs in it: "listen", "jwt.issuers", "tls.clients",
 * "credentials", "limits.api.overrides".
 */
typedef void (*pawl_settings_on_change)(void *ctx, const char *path, bool reloadable);

/**
 * Compare. A limit that is only in one of the two counts as a change of "limits.NAME".
 *
 * @on_change  may be NULL.
 * Returns how many differences are not reloadable: not 0 = the new ones must not be used.
 */
unsigned pawl_settings_diff(const struct pawl_settings *old_settings,
                            const struct pawl_settings *new_settings,
                            pawl_settings_on_change on_change, void *ctx);

/* ---- printing ------------------------------------------------------------------------------ */

/** The effective settings as a config file, with help; loading it gives the same settings. */
void pawl_settings_print(const struct pawl_settings *settings, FILE *out);

/** The reference page of all settings, as Markdown. */
void pawl_settings_print_reference(FILE *out);

/** The same as the manual page pawld.yaml(5). */
void pawl_settings_print_man(FILE *out);

#endif
