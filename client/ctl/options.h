/*
 * The command line of pawlctl: one table of commands and one of options, from which both parsing
 * and help are made. Pure: reads arguments, writes structs; no clock, no output.
 */
#ifndef PAWL_CTL_OPTIONS_H
#define PAWL_CTL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define ARGUMENTS_MAX   64 /* words after the command */
#define OPTION_TEXT_MAX 240

enum option_kind {
    OPTION_FLAG,
    OPTION_TEXT,
    OPTION_LIST,     /* text; may be given more than once */
    OPTION_NUMBER,   /* 0 to 2^63 - 1 */
    OPTION_HEX,      /* words of 64 bits, separated by commas */
    OPTION_DURATION, /* in milliseconds */
    OPTION_TIME,     /* milliseconds since 1970, resolved by options_resolve() */
};

/* X(id, name, argument, kind, help) */
#define OPTION_MAP(X)                                                                             \
    X(ADDR, "addr", "URI", TEXT,                                                                  \
      "the daemon: unix:/path, tcp:host:port, tls:host:port, or a list")                          \
    X(JSON, "json", "", FLAG, "print one JSON object")                                            \
    X(NS, "ns", "N", TEXT, "the namespace")                                                       \
    X(DEADLINE, "deadline", "D", DURATION, "for each request: 5s (the default), 500ms")           \
    X(NOW, "now", "MS", NUMBER, "time of the request, where pawld runs with --test-clock")        \
    X(TLS_CA, "tls-ca", "FILE", TEXT, "who signs the daemon's certificate, PEM")                  \
    X(TLS_CERT, "tls-cert", "FILE", TEXT, "certificate to show to the daemon, PEM")               \
    X(TLS_KEY, "tls-key", "FILE", TEXT, "its key, PEM")                                           \
    X(TLS_NAME, "tls-name", "HOST", TEXT, "name expected of the daemon, where not the address's") \
    X(CREDENTIAL, "credential", "ID", TEXT, "who asks, known by a shared secret")                 \
    X(CREDENTIAL_FILE, "credential-file", "FILE", TEXT, "file with that secret")                  \
    X(INSECURE, "insecure", "", FLAG, "send the secret in clear to another machine, too")         \
    X(HELP, "help", "", FLAG, "say what there is")                                                \
    X(VERSION, "version", "", FLAG, "print the version")                                          \
    X(RATE, "rate", "R", TEXT, "inline rates: 5/minute, or 60/minute,1000/day")                   \
    X(LIMIT, "limit", "NAME", TEXT, "a limit of the daemon's configuration")                      \
    X(COST, "cost", "N", NUMBER, "how much each takes (1)")                                       \
    X(PRECISION, "precision", "N", NUMBER, "of inline rates: 2 to 4096 entries (64)")             \
    X(PEEK, "peek", "", FLAG, "ask without charging")                                             \
    X(MODE, "mode", "M", TEXT, "atomic: all or none (the default); each: each for itself")        \
    X(CHARGE, "charge", "HEX", HEX, "the charge that check printed, one for each rate by comma")  \
    X(JTI, "jti", "J", TEXT, "id of the token")                                                   \
    X(ISS, "iss", "I", TEXT, "issuer; left out: the only one configured")                         \
    X(SUB, "sub", "S", TEXT, "subject: whose tokens")                                             \
    X(SID, "sid", "F", TEXT, "family: id of the login")                                           \
    X(CLIENT, "client", "C", TEXT, "client id")                                                   \
    X(KID, "kid", "K", TEXT, "id of the signing key")                                             \
    X(IAT, "iat", "T", TIME, "when the token was issued")                                         \
    X(EXP, "exp", "T", TIME, "when the token expires")                                            \
    X(BEFORE, "before", "T", TIME, "tokens issued up to then (now)")                              \
    X(OPAQUE, "opaque", "", FLAG, "an opaque token, on standard input")                           \
    X(ACK, "ack", "LEVEL", TEXT, "memory, durable, quorum or everywhere")                         \
    X(REASON, "reason", "WORD", TEXT, "why: logout, compromised, admin, ...")                     \
    X(ACTOR, "actor", "WHO", TEXT, "who asks, for the audit log")                                 \
    X(FROM, "from", "J1", TEXT, "id of the presented token")                                      \
    X(TO, "to", "J2", TEXT, "id proposed for its successor; left out: a new random one")          \
    X(FROM_IAT, "from-iat", "T", TIME, "when the presented token was issued")                     \
    X(FROM_EXP, "from-exp", "T", TIME, "when the presented token expires")                        \
    X(GEN, "gen", "N", NUMBER, "generation claim of the presented token")                         \
    X(LEEWAY, "leeway", "D", DURATION, "narrower than the daemon's: 0 is strict")                 \
    X(BINDING, "binding", "TEXT", TEXT, "what the family is bound to")                            \
    X(ADOPT, "adopt", "", FLAG, "take over a verified token from before pawl")                    \
    X(VERIFIED, "verified", "", FLAG, "signature and sid claim were verified")                    \
    X(LOST_SINCE, "lost-since", "T", TIME, "since when facts may be missing, for the audit log")  \
    X(KEYS, "keys", "N", NUMBER, "different random keys (100000)")                                \
    X(REQUESTS, "requests", "N", NUMBER, "stop after so many")                                    \
    X(SECONDS, "seconds", "S", NUMBER, "stop after so long (5)")                                  \
    X(CONNECTIONS, "connections", "C", NUMBER, "connections (50)")                                \
    X(IN_FLIGHT, "in-flight", "D", NUMBER, "requests in flight on each (1)")                      \
    X(ALGORITHM, "algorithm", "WORD", TEXT, "of inline rates: sliding, gcra or concurrency")      \
    X(BURST, "burst", "N", NUMBER, "of inline gcra rates: how much at once (the rate's count)")   \
    X(MIN, "min", "N", NUMBER, "the least that is of use (1)")                                    \
    X(MAX, "max", "N", NUMBER, "the most that may be needed (the least)")                         \
    X(LEASE, "lease", "D", DURATION, "how long commit and cancel are heard (60s)")                \
    X(USED, "used", "N", NUMBER, "how much of the reservation was used")                          \
    X(SINCE, "since", "ID", TEXT, "facts behind this one")                                        \
    X(SNAPSHOT, "snapshot", "", FLAG, "from the first fact held on, then those that come")        \
    X(COUNT, "count", "N", NUMBER, "end after so many")                                           \
    X(INTERVAL, "interval", "D", DURATION, "time between two looks (1s)")                         \
    X(OUT, "out", "FILE", TEXT, "write here, a new file")                                         \
    X(PROGRESS, "progress", "", FLAG, "show progress where standard error is no terminal, too")   \
    X(FAMILY, "family", "", FLAG, "of a jwt: its family, by its sid claim, not the token alone")  \
    X(AUD, "aud", "A", TEXT, "audience of the token")                                             \
    X(TYPE, "type", "T", TEXT, "typ or token_type that the token has to have")                    \
    X(ALG, "alg", "ALG", TEXT, "HS256, RS256, PS256, ES256, EdDSA and kin")                       \
    X(KEY, "key", "FILE", TEXT, "private key, PEM")                                               \
    X(SECRET_FILE, "secret-file", "FILE", TEXT, "secret of an HS algorithm")                      \
    X(TYP, "typ", "T", TEXT, "typ of the header (JWT)")                                           \
    X(CLAIM, "claim", "K=V", LIST, "another claim; V is JSON or text, null leaves it out")

enum option_id {
#define X(id, name, argument, kind, help) OPTION_##id##_ID,
    OPTION_MAP(X)
#undef X
    OPTION_COUNT
};

/** A set of options: a bit for each. */
typedef unsigned __int128 option_set;

struct option_spec {
    const char *name;
    const char *argument; /* "" for flags */
    enum option_kind kind;
    const char *help;
};

enum command_id {
    COMMAND_NONE,
    COMMAND_CHECK,
    COMMAND_PEEK,
    COMMAND_REFUND,
    COMMAND_RESET,
    COMMAND_LIMITS,
    COMMAND_REVOKE,
    COMMAND_UNREVOKE,
    COMMAND_TOKEN_CHECK,
    COMMAND_TOKEN_VERIFY,
    COMMAND_TOKEN_MINT,
    COMMAND_FAMILY_OPEN,
    COMMAND_FAMILY_END,
    COMMAND_ROTATE,
    COMMAND_STATUS,
    COMMAND_MEMBERS,
    COMMAND_THAW,
    COMMAND_PING,
    COMMAND_RESERVE,
    COMMAND_COMMIT,
    COMMAND_CANCEL,
    COMMAND_TOP,
    COMMAND_WATCH,
    COMMAND_EXPORT,
    COMMAND_IMPORT,
    COMMAND_COMPLETION,
    COMMAND_BENCH,
    COMMAND_HELP,
    COMMAND_COUNT
};

struct command_spec {
    enum command_id id;
    const char *name;      /* "check", "token check" */
    const char *arguments; /* for the help: "KEY..." */
    const char *summary;
    const char *details; /* further lines of its help, may be "" */
    option_set options;  /* those it takes, beside the ones every command takes */
    option_set required; /* those it needs */
    uint32_t words_min;
    uint32_t words_max;
};

struct option_value {
    bool given;
    const char *text; /* as written; lent from the arguments */
    uint64_t number;  /* numbers, milliseconds */
};

/** A command line, read. Texts are lent from the arguments. */
struct options {
    const struct command_spec *command; /* NULL: none was named */
    struct option_value values[OPTION_COUNT];
    const char *words[ARGUMENTS_MAX];
    uint32_t word_count;
    const char *list[ARGUMENTS_MAX]; /* of the one list option that a command takes */
    uint32_t list_count;
};

/** The table's line of @id. */
const struct option_spec *option_spec(enum option_id id);
const struct command_spec *command_spec(enum command_id id);

/**
 * Read the arguments of a program (without its name) into @options.
 *
 * @error  out on false: OPTION_TEXT_MAX bytes, what is wrong, and the nearest thing that exists.
 */
bool options_parse(struct options *options, int count, char **arguments, char *error);

/**
 * Turn times into milliseconds since 1970: @now_ms is "now" for relative ones. Returns false with
 * a text in @error.
 */
bool options_resolve(struct options *options, int64_t now_ms, char *error);

/** Read 64-bit words in hexadecimal, separated by commas. Returns how many; 0 = not valid. */
size_t options_hex_list(const char *text, uint64_t *words, size_t words_max);

static inline bool option_given(const struct options *options, enum option_id id)
{
    return options->values[id].given;
}

/** The text of an option, NULL where it was not given. */
static inline const char *option_text(const struct options *options, enum option_id id)
{
    return options->values[id].text;
}

static inline uint64_t option_number(const struct options *options, enum option_id id,
                                     uint64_t otherwise)
{
    return options->values[id].given ? options->values[id].number : otherwise;
}

/** Seconds since 1970 of a time, 0 where it was not given. */
static inline uint64_t option_seconds(const struct options *options, enum option_id id)
{
    return options->values[id].number / 1000;
}

/** All commands, or one of them (@command not NULL) with its options. */
void options_help(FILE *out, const struct command_spec *command);

/** The command whose name is @words joined by a blank; NULL when there is none. */
const struct command_spec *command_find(const char *const *words, uint32_t count, uint32_t *used);

#endif
