/*
 * One request and its answer, as the functions behind routes see it.
 *
 * Life: made when the request's line has come -> its headers and, where the route takes one, its
 * body -> route->handle, once, when all is there. The function either answers (pawl_http_reply) or
 * asks the dispatcher and waits (pawl_http_wait), to answer from the callback. Nothing of an
 * exchange may be kept after it was answered.
 *
 * All memory of an exchange is its pool's, and goes with it.
 */
#ifndef PAWL_OPS_HTTP_EXCHANGE_H
#define PAWL_OPS_HTTP_EXCHANGE_H

#include <pawl/pawl.h>

#include "ops/http/http.h"
#include "ops/http/parse.h"
#include "ops/http/process.h"
#include "ops/pool.h"

#define PAWL_HTTP_EXCHANGE_BYTES ((size_t)8 << 20) /* metrics of 4096 limits are the largest */
#define PAWL_HTTP_URI_BYTES      16384
#define PAWL_HTTP_BODY_BYTES     24576 /* a form; a token of 8 KiB may be escaped wholly */

struct pawl_http_exchange;

/** Methods, as bits. HEAD is answered wherever GET is. */
enum pawl_http_method {
    PAWL_HTTP_GET = 1u << 0,
    PAWL_HTTP_POST = 1u << 1,
    PAWL_HTTP_OTHER = 1u << 2, /* of a request that somebody asks about */
};

/** A row of the table of routes: all there is to add for a new path. */
struct pawl_http_route {
    const char *path;
    unsigned methods; /* bits of pawl_http_method */
    /** Everything that came is in @exchange. Answers, or asks and waits. */
    void (*handle)(struct pawl_http_exchange *exchange);
    bool console; /* only where http.console is on */
    /** Parameters stand behind @path, up to the next '/' or '?'; what follows them, and a body, is
     * of a request that somebody asks about: not read. */
    bool inside;
    /** NULL, or called before an answer goes: headers may be added. */
    void (*finish)(struct pawl_http_exchange *exchange, unsigned status);
};

/** Of routes.c: ends with a row whose path is NULL. */
extern const struct pawl_http_route pawl_http_routes[];

/** Client handles of a server, by what their sessions may do. */
enum pawl_http_client {
    PAWL_HTTP_CLIENT_CHECK = 0, /* check, read */
    PAWL_HTTP_CLIENT_REVOKE,    /* revoke */
    PAWL_HTTP_CLIENTS,
};

/* ---- what came ---- */

/** The query, and behind it a form in the body. */
const struct pawl_http_form *pawl_http_form_of(const struct pawl_http_exchange *exchange);

/** Pairs of the form that came in the query: the first so many. */
unsigned pawl_http_query_count(const struct pawl_http_exchange *exchange);

/** The first header of that name, or NULL. */
const char *pawl_http_header(const struct pawl_http_exchange *exchange, const char *name);

/** All headers of that name, in their order; returns how many, up to @max. */
unsigned pawl_http_headers(const struct pawl_http_exchange *exchange, const char *name,
                           const char **values, unsigned max);

const struct pawl_http_world *pawl_http_world_of(const struct pawl_http_exchange *exchange);

/** For the metrics of the process. */
struct pawl_process_reader *pawl_http_process_of(const struct pawl_http_exchange *exchange);

/** To be submitted to; never NULL. */
struct pawl_client *pawl_http_client_of(const struct pawl_http_exchange *exchange,
                                        enum pawl_http_client which);

/** Somebody showed a wrong credential: counted. */
void pawl_http_count_wrong(struct pawl_http_exchange *exchange);

/** Zeroed memory until the exchange ends; NULL when out of it (PAWL_HTTP_EXCHANGE_BYTES). */
void *pawl_http_take(struct pawl_http_exchange *exchange, size_t size);

/** What a route keeps while it waits; NULL at first. */
void **pawl_http_state(struct pawl_http_exchange *exchange);

/* ---- the answer ---- */

/** Add a header; @name stays, @value is copied, cut at what is no header text. */
void pawl_http_set(struct pawl_http_exchange *exchange, const char *name, const char *value);

/** Was a header of exactly this name added? */
bool pawl_http_is_set(const struct pawl_http_exchange *exchange, const char *name);

/** The same as pawl_http_set() with a number. */
void pawl_http_set_number(struct pawl_http_exchange *exchange, const char *name, uint64_t value);

/** @bytes percent-encoded but for visible ASCII other than '%': for names out of tokens. */
void pawl_http_set_bytes(struct pawl_http_exchange *exchange, const char *name,
                         struct pawl_bytes bytes);

/**
 * Answer. @type may be NULL without a body; @body lies in memory that was taken here, or is static.
 */
void pawl_http_reply(struct pawl_http_exchange *exchange, unsigned status, const char *type,
                     struct pawl_bytes body);

/** Answer with {"error": word, "error_description": text}, the form of RFC 6749, 5.2. */
void pawl_http_reply_error(struct pawl_http_exchange *exchange, unsigned status, const char *word,
                           const char *text);

/** The connection sleeps until pawl_http_reply(), which then comes from a callback. */
void pawl_http_wait(struct pawl_http_exchange *exchange);

/** Wait, after a submit that said @rc; what was not taken is answered here with 503. */
void pawl_http_wait_for(struct pawl_http_exchange *exchange, int rc);

/* ---- routes: metrics.c, health.c, check.c, ext_authz.c, oauth.c, console.c ---- */

void pawl_http_metrics(struct pawl_http_exchange *exchange);
void pawl_http_healthz(struct pawl_http_exchange *exchange);
void pawl_http_readyz(struct pawl_http_exchange *exchange);
void pawl_http_check(struct pawl_http_exchange *exchange);
void pawl_http_ext_authz_finish(struct pawl_http_exchange *exchange, unsigned status);
void pawl_http_revoke(struct pawl_http_exchange *exchange);
void pawl_http_introspect(struct pawl_http_exchange *exchange);
void pawl_http_console(struct pawl_http_exchange *exchange);
void pawl_http_console_data(struct pawl_http_exchange *exchange);

#endif
