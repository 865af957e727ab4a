#include "ops/http/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "core/keyhash.h"
#include "ops/http/exchange.h"
#include "ops/http/socket.h"
#include "ops/json.h"

#define CHECK_DEADLINE_MS   500 /* a bound, not an expectation: what asks has its own time-outs */
#define DURABLE_DEADLINE_MS 2000
#define IN_FLIGHT_MAX       1024
#define HEADERS_MAX         32
#define CONNECTION_BYTES    32768 /* of libmicrohttpd: a request's line and headers, an answer's */
#define BODY_SWALLOW_MAX    (1 << 20) /* read and thrown away, to say 413 where it can be heard */

struct header {
    const char *name;
    const char *value;
};

struct pawl_http_exchange {
    struct pawl_http *http;
    struct pawl_pool *pool;
    struct MHD_Connection *connection;
    const struct pawl_http_route *route;
    struct pawl_http_form form;
    unsigned query_count;
    uint8_t *uri; /* the query in it is decoded in place */
    size_t uri_size;
    uint8_t *query; /* in @uri, or NULL */
    size_t query_size;
    uint8_t *body;
    size_t body_size;
    size_t body_seen;
    void *state;
    bool begun;     /* its headers were looked at */
    bool too_long;  /* the line */
    bool asked;     /* the route's function was called */
    bool answered;  /* status and the rest below are filled in */
    bool suspended; /* waits for the dispatcher */
    bool refused;   /* by us, before a route saw it */
    unsigned status;
    const char *type;
    struct pawl_bytes content;
    unsigned header_count;
    struct header headers[HEADERS_MAX];
};

/** A client handle, and what its connections may do. */
struct asker {
    struct pawl_http *http;
    unsigned roles;
    struct pawl_client *client;
};

struct pawl_http {
    struct pawl_http_world world;
    struct pawl_pool *pool; /* itself, and copies of settings */
    struct pawl_text_list hosts;
    bool console;
    unsigned port;
    struct MHD_Daemon *daemon;
    bool woken; /* a connection was resumed: without threads, libmicrohttpd tells nobody */
    struct asker clients[PAWL_HTTP_CLIENTS];
    struct pawl_process_reader process;
    uint64_t connections_max;
    /* written by the main loop, read by anybody who asks for status */
    _Atomic uint64_t requests, refused, unauthorized, unavailable, connections, credentials_wrong;
};

static void count(_Atomic uint64_t *figure, uint64_t change)
{
    (void)atomic_fetch_add_explicit(figure, change, memory_order_relaxed);
}

/* ---- what came ---- */

const struct pawl_http_form *pawl_http_form_of(const struct pawl_http_exchange *exchange)
{
    return &exchange->form;
}

unsigned pawl_http_query_count(const struct pawl_http_exchange *exchange)
{
    return exchange->query_count;
}

const char *pawl_http_header(const struct pawl_http_exchange *exchange, const char *name)
{
    return MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, name);
}

struct collected {
    const char *name;
    const char **values;
    unsigned count, max;
};

static enum MHD_Result collect(void *ctx, enum MHD_ValueKind kind, const char *name,
                               const char *value)
{
    struct collected *collected = ctx;

    (void)kind;
    if (strcasecmp(name, collected->name) == 0 && value != NULL &&
        collected->count < collected->max) {
        collected->values[collected->count++] = value;
    }
    return MHD_YES;
}

unsigned pawl_http_headers(const struct pawl_http_exchange *exchange, const char *name,
                           const char **values, unsigned max)
{
    struct collected collected = { name, values, 0, max };

    (void)MHD_get_connection_values(exchange->connection, MHD_HEADER_KIND, collect, &collected);
    return collected.count;
}

const struct pawl_http_world *pawl_http_world_of(const struct pawl_http_exchange *exchange)
{
    return &exchange->http->world;
}

struct pawl_process_reader *pawl_http_process_of(const struct pawl_http_exchange *exchange)
{
    return &exchange->http->process;
}

struct pawl_client *pawl_http_client_of(const struct pawl_http_exchange *exchange,
                                        enum pawl_http_client which)
{
    return exchange->http->clients[which].client;
}

void pawl_http_count_wrong(struct pawl_http_exchange *exchange)
{
    count(&exchange->http->credentials_wrong, 1);
}

void *pawl_http_take(struct pawl_http_exchange *exchange, size_t size)
{
    return pawl_pool_take(exchange->pool, size);
}

void **pawl_http_state(struct pawl_http_exchange *exchange)
{
    return &exchange->state;
}

/* ---- the answer ---- */

void pawl_http_set(struct pawl_http_exchange *exchange, const char *name, const char *value)
{
    size_t size = 0;

    while (value[size] != '\0' && (unsigned char)value[size] >= 0x20 && value[size] != 0x7f) {
        size++;
    }
    if (exchange->header_count < HEADERS_MAX && size > 0) {
        char *copy = pawl_pool_text(exchange->pool, value, size);

        if (copy != NULL) {
            exchange->headers[exchange->header_count++] = (struct header){ name, copy };
        }
    }
}

bool pawl_http_is_set(const struct pawl_http_exchange *exchange, const char *name)
{
    for (unsigned i = 0; i < exchange->header_count; i++) {
        if (strcmp(exchange->headers[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

void pawl_http_set_number(struct pawl_http_exchange *exchange, const char *name, uint64_t value)
{
    char text[24];

    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    pawl_http_set(exchange, name, text);
}

void pawl_http_set_bytes(struct pawl_http_exchange *exchange, const char *name,
                         struct pawl_bytes bytes)
{
    static const char digits[] = "0123456789ABCDEF";
    char text[3 * PAWL_TEXT_ID_MAX + 1];
    size_t used = 0;

    for (size_t i = 0; i < bytes.size && used + 4 <= sizeof(text); i++) {
        uint8_t c = bytes.data[i];

        if (c > 0x20 && c < 0x7f && c != '%') {
            text[used++] = (char)c;
        } else {
            text[used++] = '%';
            text[used++] = digits[c >> 4];
            text[used++] = digits[c & 15];
        }
    }
    text[used] = '\0';
    pawl_http_set(exchange, name, text);
}

void pawl_http_reply(struct pawl_http_exchange *exchange, unsigned status, const char *type,
                     struct pawl_bytes body)
{
    if (exchange->route != NULL && exchange->route->finish != NULL) {
        exchange->route->finish(exchange, status);
    }
    exchange->answered = true;
    exchange->status = status;
    exchange->type = type;
    exchange->content = body;
    if (status == MHD_HTTP_UNAUTHORIZED) {
        count(&exchange->http->unauthorized, 1);
    } else if (status == MHD_HTTP_SERVICE_UNAVAILABLE) {
        count(&exchange->http->unavailable, 1);
    }
    if (exchange->suspended) {
        exchange->suspended = false;
        exchange->http->woken = true;
        MHD_resume_connection(exchange->connection);
    }
}

void pawl_http_reply_error(struct pawl_http_exchange *exchange, unsigned status, const char *word,
                           const char *text)
{
    char data[512];
    struct pawl_json json = { .data = data, .capacity = sizeof(data) - 1 };
    char *copy;

    pawl_json_text(&json, "error", pawl_bytes_of(word, strlen(word)));
    pawl_json_text(&json, "error_description", pawl_bytes_of(text, strlen(text)));
    pawl_json_raw(&json, "}");
    data[0] = '{';
    copy = pawl_pool_text(exchange->pool, data, json.used);
    pawl_http_reply(exchange, status, "application/json",
                    pawl_bytes_of(copy, copy != NULL ? json.used : 0));
}

void pawl_http_wait(struct pawl_http_exchange *exchange)
{
    exchange->suspended = true;
    MHD_suspend_connection(exchange->connection);
}

void pawl_http_wait_for(struct pawl_http_exchange *exchange, int rc)
{
    if (rc == PAWL_RC_OK) {
        pawl_http_wait(exchange);
    } else if (rc == PAWL_RC_INVALID || rc == PAWL_RC_TOO_BIG) {
        pawl_http_reply_error(exchange, MHD_HTTP_BAD_REQUEST, "invalid_request", pawl_rc_text(rc));
    } else {
        pawl_http_set(exchange, "Retry-After", "1");
        pawl_http_reply_error(exchange, MHD_HTTP_SERVICE_UNAVAILABLE, "temporarily_unavailable",
                              pawl_rc_text(rc));
    }
}

static void add_headers(struct MHD_Response *response, const struct pawl_http_exchange *exchange)
{
    if (exchange->type != NULL) {
        (void)MHD_add_response_header(response, "Content-Type", exchange->type);
    }
    /* Nothing here may be kept by anybody: verdicts, figures, tokens' states. */
    (void)MHD_add_response_header(response, "Cache-Control", "no-store");
    (void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    for (unsigned i = 0; i < exchange->header_count; i++) {
        (void)MHD_add_response_header(response, exchange->headers[i].name,
                                      exchange->headers[i].value);
    }
}

static enum MHD_Result send_answer(struct pawl_http_exchange *exchange)
{
    enum MHD_Result result = MHD_NO;
    /* The content lives in the pool until the request is completed. */
    struct MHD_Response *response = MHD_create_response_from_buffer(
        exchange->content.size, (void *)(uintptr_t)exchange->content.data, MHD_RESPMEM_PERSISTENT);

    if (response != NULL) {
        add_headers(response, exchange);
        result = MHD_queue_response(exchange->connection, exchange->status, response);
        MHD_destroy_response(response);
    }
    return result;
}

/* ---- from a request's line to its route ---- */

static void refuse(struct pawl_http_exchange *exchange, unsigned status, const char *word,
                   const char *text)
{
    exchange->refused = true;
    count(&exchange->http->refused, 1);
    pawl_http_reply_error(exchange, status, word, text);
}

static unsigned method_of(const char *method)
{
    if (strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0) {
        return PAWL_HTTP_GET;
    }
    return strcmp(method, MHD_HTTP_METHOD_POST) == 0 ? PAWL_HTTP_POST : PAWL_HTTP_OTHER;
}

/* @path is decoded; a route with parameters inside is found by what came. */
static const struct pawl_http_route *find_route(const struct pawl_http_exchange *exchange,
                                                const char *path)
{
    const char *uri = (const char *)exchange->uri;

    for (const struct pawl_http_route *route = pawl_http_routes; route->path != NULL; route++) {
        bool found = route->inside ? strncmp(uri, route->path, strlen(route->path)) == 0
                                   : strcmp(route->path, path) == 0;

        if (found && (!route->console || exchange->http->console)) {
            return route;
        }
    }
    return NULL;
}

static void find_parameters(struct pawl_http_exchange *exchange)
{
    if (exchange->route->inside) {
        exchange->query = exchange->uri + strlen(exchange->route->path);
        exchange->query_size = strcspn((const char *)exchange->query, "/?");
    }
}

static bool is_form(const char *type)
{
    static const char form[] = "application/x-www-form-urlencoded";

    return type != NULL && strncasecmp(type, form, sizeof(form) - 1) == 0 &&
           (type[sizeof(form) - 1] == '\0' || strchr("; \t", type[sizeof(form) - 1]) != NULL);
}

/* Two readers of one request must not find two ends of its body (RFC 9112, 6.3). */
static bool has_one_end(const struct pawl_http_exchange *exchange)
{
    const char *lengths[2];
    const char *codings[2];
    unsigned length_count = pawl_http_headers(exchange, "Content-Length", lengths, 2);
    unsigned coding_count = pawl_http_headers(exchange, "Transfer-Encoding", codings, 2);

    return length_count + coding_count <= 1 &&
           (coding_count == 0 || strcasecmp(codings[0], "chunked") == 0);
}

/* A body is announced: may it come? */
static void look_at_body(struct pawl_http_exchange *exchange, const char *method)
{
    const char *length = pawl_http_header(exchange, "Content-Length");
    bool chunked = pawl_http_header(exchange, "Transfer-Encoding") != NULL;
    uint64_t size = 0;

    if (!has_one_end(exchange)) {
        refuse(exchange, MHD_HTTP_BAD_REQUEST, "invalid_request",
               "a body has one Content-Length, or Transfer-Encoding: chunked");
        return;
    }
    if (!chunked && (length == NULL || strcmp(length, "0") == 0)) {
        return;
    }
    if (exchange->route->inside) {
        refuse(exchange, MHD_HTTP_BAD_REQUEST, "invalid_request",
               "no body is read here: leave with_request_body out");
    } else if (length != NULL && !pawl_http_number(pawl_bytes_of(length, strlen(length)),
                                                   PAWL_HTTP_BODY_BYTES, &size)) {
        refuse(exchange, MHD_HTTP_CONTENT_TOO_LARGE, "too_large",
               "a body has at most 24576 bytes here");
    } else if (strcmp(method, MHD_HTTP_METHOD_POST) != 0) {
        refuse(exchange, MHD_HTTP_BAD_REQUEST, "invalid_request", "a body belongs to POST");
    } else if (!is_form(pawl_http_header(exchange, "Content-Type"))) {
        refuse(exchange, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type",
               "send application/x-www-form-urlencoded");
    } else {
        exchange->body = pawl_http_take(exchange, PAWL_HTTP_BODY_BYTES);
        if (exchange->body == NULL) {
            refuse(exchange, MHD_HTTP_SERVICE_UNAVAILABLE, "temporarily_unavailable", "no memory");
        }
    }
}

static void look_at_host(struct pawl_http_exchange *exchange)
{
    const char *hosts[2];
    unsigned count = pawl_http_headers(exchange, "Host", hosts, 2);

    if (count != 1) {
        refuse(exchange, MHD_HTTP_BAD_REQUEST, "invalid_request", "one Host header is needed");
    } else if (!pawl_http_host_known(hosts[0], &exchange->http->hosts)) {
        refuse(exchange, MHD_HTTP_MISDIRECTED_REQUEST, "unknown_host",
               "this Host is not served here; add its name to http.hosts");
    }
}

/* The headers are here: everything that can be refused without the body is. */
static void begin(struct pawl_http_exchange *exchange, const char *path, const char *method)
{
    const char *why = "";

    look_at_host(exchange);
    if (exchange->answered) {
        return;
    }
    if (exchange->too_long) {
        refuse(exchange, MHD_HTTP_URI_TOO_LONG, "too_large", "the request's line is too long");
        return;
    }
    exchange->route = find_route(exchange, path);
    if (exchange->route == NULL) {
        refuse(exchange, MHD_HTTP_NOT_FOUND, "not_found", "there is nothing at this path");
        return;
    }
    if ((exchange->route->methods & method_of(method)) == 0) {
        pawl_http_set(exchange, "Allow",
                      exchange->route->methods == PAWL_HTTP_POST  ? "POST"
                      : exchange->route->methods == PAWL_HTTP_GET ? "GET, HEAD"
                                                                  : "GET, HEAD, POST");
        refuse(exchange, MHD_HTTP_METHOD_NOT_ALLOWED, "method_not_allowed",
               "the methods of this path are in Allow");
        return;
    }
    find_parameters(exchange);
    if (exchange->query != NULL && pawl_http_form_parse(exchange->query, exchange->query_size,
                                                        &exchange->form, &why) != PAWL_OK) {
        refuse(exchange, MHD_HTTP_BAD_REQUEST, "invalid_request", why);
        return;
    }
    exchange->query_count = exchange->form.count;
    look_at_body(exchange, method);
}

/* A piece of the body. False: too much of it, the connection is to be closed. */
static bool take_body(struct pawl_http_exchange *exchange, const char *data, size_t size)
{
    exchange->body_seen += size;
    if (exchange->body != NULL && exchange->body_seen <= PAWL_HTTP_BODY_BYTES) {
        memcpy(exchange->body + exchange->body_size, data, size);
        exchange->body_size += size;
    }
    return exchange->body_seen <= BODY_SWALLOW_MAX;
}

static void call_route(struct pawl_http_exchange *exchange)
{
    const char *why = "";

    exchange->asked = true;
    if (exchange->body_seen > exchange->body_size) {
        refuse(exchange, MHD_HTTP_CONTENT_TOO_LARGE, "too_large",
               "a body has at most 24576 bytes here");
    } else if (exchange->body_size > 0 && pawl_http_form_parse(exchange->body, exchange->body_size,
                                                               &exchange->form, &why) != PAWL_OK) {
        refuse(exchange, MHD_HTTP_BAD_REQUEST, "invalid_request", why);
    } else {
        exchange->route->handle(exchange);
    }
}

static enum MHD_Result on_access(void *ctx, struct MHD_Connection *connection, const char *path,
                                 const char *method, const char *version, const char *data,
                                 size_t *size, void **con_cls)
{
    struct pawl_http_exchange *exchange = *con_cls;

    (void)ctx;
    (void)version;
    if (exchange == NULL) {
        return MHD_NO; /* there was no memory for it */
    }
    exchange->connection = connection;
    if (!exchange->begun) {
        exchange->begun = true;
        begin(exchange, path, method);
        /* Refused before its body: the answer goes now, and the connection with it. */
        return exchange->answered ? send_answer(exchange) : MHD_YES;
    }
    if (*size > 0) {
        bool go_on = take_body(exchange, data, *size);

        *size = 0;
        return go_on ? MHD_YES : MHD_NO;
    }
    if (!exchange->asked) {
        call_route(exchange);
    }
    return exchange->answered ? send_answer(exchange) : MHD_YES;
}

/* The request's line is here, still encoded: an exchange begins. */
static void *on_uri(void *ctx, const char *uri, struct MHD_Connection *connection)
{
    struct pawl_http *http = ctx;
    struct pawl_pool *pool = pawl_pool_create(PAWL_HTTP_EXCHANGE_BYTES);
    struct pawl_http_exchange *exchange =
        pool != NULL ? pawl_pool_take(pool, sizeof(*exchange)) : NULL;
    size_t size = strlen(uri);

    count(&http->requests, 1);
    if (exchange == NULL) {
        pawl_pool_destroy(pool);
        return NULL;
    }
    exchange->http = http;
    exchange->pool = pool;
    exchange->connection = connection;
    exchange->too_long = size > PAWL_HTTP_URI_BYTES;
    exchange->uri_size = exchange->too_long ? 0 : size;
    exchange->uri = (uint8_t *)pawl_pool_text(pool, uri, exchange->uri_size);
    if (exchange->uri == NULL) {
        pawl_pool_destroy(pool);
        return NULL;
    }
    exchange->query = memchr(exchange->uri, '?', exchange->uri_size);
    if (exchange->query != NULL) {
        exchange->query++;
        exchange->query_size = exchange->uri_size - (size_t)(exchange->query - exchange->uri);
    }
    return exchange;
}

static void on_completed(void *ctx, struct MHD_Connection *connection, void **con_cls,
                         enum MHD_RequestTerminationCode code)
{
    struct pawl_http_exchange *exchange = *con_cls;

    (void)ctx;
    (void)connection;
    (void)code;
    *con_cls = NULL;
    if (exchange == NULL) {
        return;
    }
    /* Tokens and secrets may have come in both. */
    pawl_wipe(exchange->uri, exchange->uri_size);
    if (exchange->body != NULL) {
        pawl_wipe(exchange->body, PAWL_HTTP_BODY_BYTES);
    }
    pawl_pool_destroy(exchange->pool);
}

static void on_connection(void *ctx, struct MHD_Connection *connection, void **socket_ctx,
                          enum MHD_ConnectionNotificationCode code)
{
    struct pawl_http *http = ctx;

    (void)connection;
    (void)socket_ctx;
    count(&http->connections, code == MHD_CONNECTION_NOTIFY_STARTED ? 1 : UINT64_MAX);
}

/* ---- life ---- */

static int connect_client(void *ctx)
{
    const struct asker *asker = ctx;

    return asker->http->world.connect(asker->http->world.self, asker->roles);
}

static enum pawl_status make_clients(struct pawl_http *http)
{
    static const unsigned roles[PAWL_HTTP_CLIENTS] = { PAWL_GRANT_CHECK | PAWL_GRANT_READ,
                                                       PAWL_GRANT_REVOKE };

    for (unsigned i = 0; i < PAWL_HTTP_CLIENTS; i++) {
        struct pawl_client_options options = {
            .struct_size = sizeof(options),
            .name = "http",
            .check_deadline_ms = CHECK_DEADLINE_MS,
            .durable_deadline_ms = DURABLE_DEADLINE_MS,
            .in_flight_max = IN_FLIGHT_MAX,
            .connect = connect_client,
            .connect_ctx = &http->clients[i],
        };

        http->clients[i].http = http;
        http->clients[i].roles = roles[i];
        if (pawl_client_create(&options, &http->clients[i].client, NULL, 0) != PAWL_RC_OK ||
            pawl_client_fd(http->clients[i].client) < 0) {
            return PAWL_ENOMEM;
        }
    }
    return PAWL_OK;
}

static enum pawl_status copy_settings(struct pawl_http *http,
                                      const struct pawl_http_settings *settings)
{
    const char **items = pawl_pool_take(http->pool, (settings->hosts.count + 1) * sizeof(*items));

    if (items == NULL) {
        return PAWL_ENOMEM;
    }
    for (unsigned i = 0; i < settings->hosts.count; i++) {
        const char *host = settings->hosts.items[i];

        items[i] = pawl_pool_text(http->pool, host, strlen(host));
        if (items[i] == NULL) {
            return PAWL_ENOMEM;
        }
    }
    http->hosts = (struct pawl_text_list){ items, settings->hosts.count };
    http->console = settings->console;
    http->connections_max = settings->connections_max;
    return PAWL_OK;
}

static enum pawl_status start_server(struct pawl_http *http,
                                     const struct pawl_http_settings *settings,
                                     struct pawl_error *error)
{
    unsigned timeout_s = (unsigned)((settings->timeout_ms + 999) / 1000);
    int fd = pawl_http_socket_open(settings);

    if (fd < 0) {
        enum pawl_status status = errno == EADDRINUSE                         ? PAWL_EBUSY
                                  : errno == EACCES                           ? PAWL_EPERM
                                  : errno == EINVAL || errno == EADDRNOTAVAIL ? PAWL_EINVAL
                                                                              : PAWL_EIO;

        return pawl_error_set(error, status, errno, "http: %.80s: %s", settings->text,
                              strerror(errno));
    }
    http->port = pawl_http_socket_port(fd);
    http->daemon =
        MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_access, http,
                         MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
                         (unsigned)settings->connections_max, MHD_OPTION_CONNECTION_TIMEOUT,
                         timeout_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES,
                         MHD_OPTION_URI_LOG_CALLBACK, on_uri, http, MHD_OPTION_NOTIFY_COMPLETED,
                         on_completed, http, MHD_OPTION_NOTIFY_CONNECTION, on_connection, http,
                         MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,
                         MHD_OPTION_END);
    if (http->daemon == NULL) {
        (void)close(fd);
        return pawl_error_set(error, PAWL_EIO, errno, "http: %.80s: the server did not start",
                              settings->text);
    }
    return PAWL_OK;
}

enum pawl_status pawl_http_create(const struct pawl_http_settings *settings,
                                  const struct pawl_http_world *world, struct pawl_http **http,
                                  struct pawl_error *error)
{
    struct pawl_pool *pool = pawl_pool_create(PAWL_HTTP_EXCHANGE_BYTES);
    struct pawl_http *made = pool != NULL ? pawl_pool_take(pool, sizeof(*made)) : NULL;
    enum pawl_status status;

    *http = NULL;
    if (made == NULL) {
        pawl_pool_destroy(pool);
        return pawl_error_set(error, PAWL_ENOMEM, 0, "http: no memory");
    }
    made->pool = pool;
    made->world = *world;
    pawl_process_open(&made->process);
    status = copy_settings(made, settings);
    status = status != PAWL_OK ? status : make_clients(made);
    if (status != PAWL_OK) {
        (void)pawl_error_set(error, status, 0, "http: no memory");
    } else {
        status = start_server(made, settings, error);
    }
    if (status != PAWL_OK) {
        pawl_http_destroy(made);
        return status;
    }
    *http = made;
    return PAWL_OK;
}

void pawl_http_destroy(struct pawl_http *http)
{
    if (http == NULL) {
        return;
    }
    for (unsigned i = 0; i < PAWL_HTTP_CLIENTS; i++) {
        pawl_client_destroy(http->clients[i].client); /* its callbacks wake who waits for them */
    }
    if (http->daemon != NULL) {
        MHD_stop_daemon(http->daemon);
    }
    pawl_process_close(&http->process);
    pawl_pool_destroy(http->pool);
}

/* ---- in the loop ---- */

static void on_ready(void *ctx)
{
    struct pawl_http *http = ctx;

    http->woken = false;
    (void)MHD_run(http->daemon);
}

static int server_timeout_ms(void *ctx)
{
    struct pawl_http *http = ctx;
    MHD_UNSIGNED_LONG_LONG timeout_ms = 0;

    if (http->woken) {
        return 0;
    }
    if (MHD_get_timeout(http->daemon, &timeout_ms) != MHD_YES) {
        return -1;
    }
    return timeout_ms < 1000 ? (int)timeout_ms : 1000;
}

static void on_client_ready(void *ctx)
{
    (void)pawl_client_process(ctx, 0);
}

static int client_timeout_ms(void *ctx)
{
    pawl_client_flush(ctx);
    return pawl_client_timeout_ms(ctx);
}

unsigned pawl_http_watches(struct pawl_http *http, struct pawl_watch *watches)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    unsigned count = 0;

    /* Clients first: the answers that their callbacks give leave in the same turn. */
    for (unsigned i = 0; i < PAWL_HTTP_CLIENTS; i++) {
        struct pawl_client *client = http->clients[i].client;

        watches[count++] = (struct pawl_watch){ .fd = pawl_client_fd(client),
                                                .ready = on_client_ready,
                                                .timeout_ms = client_timeout_ms,
                                                .ctx = client };
    }
    watches[count++] = (struct pawl_watch){
        .fd = info->epoll_fd, .ready = on_ready, .timeout_ms = server_timeout_ms, .ctx = http
    };
    return count;
}

unsigned pawl_http_port(const struct pawl_http *http)
{
    return http->port;
}

void pawl_http_stats(const struct pawl_http *http, const struct pawl_stats_sink *sink)
{
    sink->number(sink->self, "http_requests", atomic_load(&http->requests));
    sink->number(sink->self, "http_refused", atomic_load(&http->refused));
    sink->number(sink->self, "http_unauthorized", atomic_load(&http->unauthorized));
    sink->number(sink->self, "http_unavailable", atomic_load(&http->unavailable));
    sink->number(sink->self, "http_credentials_wrong", atomic_load(&http->credentials_wrong));
    sink->number(sink->self, "http_connections", atomic_load(&http->connections));
    sink->number(sink->self, "http_connections_max", http->connections_max);
}
