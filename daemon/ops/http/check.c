/*
 * GET /v1/check: may this request go on? For gateways: nginx auth_request, Caddy and Traefik
 * forward_auth, HAProxy through Lua (deploy/gateways/).
 *
 *   read the parameters -> [by=subject, client: ask for the token alone, learn whose it is]
 *     -> ask for token and limits in one check -> answer
 *
 * 200 goes on. 401 and 403 and 429 are known facts: no token or a bad one; a cost that can never
 * fit; the pace. 503 is "cannot tell" (P5), and what a gateway makes of it is its operator's word.
 *
 * Nothing that the gateway's own client can send decides who is counted, unless a parameter says
 * so: the address is the last one of X-Forwarded-For, which the gateway appended; X-Pawl-Key is
 * looked at with by=header alone. A parameter that is not known is refused: a slip of the pen must
 * not leave a limit out.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ops/http/check_answer.h"

enum by {
    BY_ADDRESS = 0,
    BY_HEADER,
    BY_SUBJECT,
    BY_CLIENT,
};

struct check {
    struct pawl_check_item items[PAWL_HTTP_LIMITS_MAX];
    struct pawl_str parts[PAWL_HTTP_PARTS_MAX];
    unsigned part_count;
    struct pawl_token token;
    struct pawl_str ns;
    struct pawl_claims claims; /* of the first of two questions */
    struct pawl_http_verdict verdict;
    enum by by;
    bool has_token;
    bool asked_token; /* it was valid: the claims above are its */
    bool peek;
    char address[PAWL_TEXT_IP_BYTES];
};

/* ---- parameters ---- */

static const char *const known[] = {
    "limit",   "tier",     "cost",      "ns",         "key",      "by",
    "address", "hops",     "token",     "token_type", "audience", "issuer",
    "type",    "on_error", "undecided", "peek",       "realm",    NULL,
};

static bool is_known(struct pawl_bytes name)
{
    for (unsigned i = 0; known[i] != NULL; i++) {
        if (pawl_http_is(name, known[i])) {
            return true;
        }
    }
    return false;
}

/* Those that may stand more than once. */
static bool is_repeatable(struct pawl_bytes name)
{
    return pawl_http_is(name, "limit") || pawl_http_is(name, "key");
}

static const char *check_names(const struct pawl_http_form *form)
{
    for (unsigned i = 0; i < form->count; i++) {
        if (!is_known(form->pairs[i].name)) {
            return "a parameter that is not known";
        }
        for (unsigned j = 0; j < i && !is_repeatable(form->pairs[i].name); j++) {
            if (form->pairs[j].name.size == form->pairs[i].name.size &&
                memcmp(form->pairs[j].name.data, form->pairs[i].name.data,
                       form->pairs[i].name.size) == 0) {
                return "a parameter that stands twice; only limit and key may";
            }
        }
    }
    return NULL;
}

static struct pawl_str str_of(const struct pawl_bytes *bytes)
{
    struct pawl_str str = { NULL, 0 };

    if (bytes != NULL) {
        str.data = bytes->data;
        str.size = bytes->size;
    }
    return str;
}

/* The place of the parameter's word in @words; 0 when it is not there; -1 for another word. */
static int word_of(const struct pawl_http_form *form, const char *name, const char *const *words)
{
    const struct pawl_bytes *value = pawl_http_form_get(form, name);

    if (value == NULL) {
        return 0;
    }
    for (int i = 0; words[i] != NULL; i++) {
        if (pawl_http_is(*value, words[i])) {
            return i;
        }
    }
    return -1;
}

static const char *read_token(struct pawl_http_exchange *exchange, struct check *check)
{
    static const char *const needs[] = { "none", "optional", "required", NULL };
    static const char *const kinds[] = { "jwt", "opaque", NULL };
    const struct pawl_http_form *form = pawl_http_form_of(exchange);
    int need = word_of(form, "token", needs);
    int kind = word_of(form, "token_type", kinds);
    struct pawl_bytes raw;

    if (need < 0 || kind < 0) {
        return need < 0 ? "token is none, optional or required" : "token_type is jwt or opaque";
    }
    if (need == 0) {
        return check->by >= BY_SUBJECT ? "by=subject and by=client need token=required" : NULL;
    }
    if (check->by >= BY_SUBJECT && (need != 2 || kind != 0)) {
        return "by=subject and by=client need token=required and a token of type jwt";
    }
    enum pawl_http_scheme scheme =
        pawl_http_authorization(pawl_http_header(exchange, "Authorization"), &raw);

    check->token.struct_size = sizeof(check->token);
    check->verdict.token_required = need == 2;
    check->verdict.token_missing = scheme == PAWL_HTTP_SCHEME_NONE;
    check->verdict.token_malformed =
        scheme == PAWL_HTTP_SCHEME_OTHER || scheme == PAWL_HTTP_SCHEME_BASIC;
    if (scheme != PAWL_HTTP_SCHEME_BEARER) {
        return NULL;
    }
    check->has_token = true;
    if (kind == 1) {
        check->token.opaque = str_of(&raw);
        return NULL;
    }
    check->token.raw = str_of(&raw);
    check->token.audience = str_of(pawl_http_form_get(form, "audience"));
    check->token.issuer = str_of(pawl_http_form_get(form, "issuer"));
    check->token.type = str_of(pawl_http_form_get(form, "type"));
    return NULL;
}

/* X-Forwarded-For may stand several times: the last header's last address is the nearest. */
static bool find_address(struct pawl_http_exchange *exchange, char *out)
{
    static const char *const places[] = { "x-forwarded-for", "x-real-ip", NULL };
    const struct pawl_http_form *form = pawl_http_form_of(exchange);
    const struct pawl_bytes *hops_text = pawl_http_form_get(form, "hops");
    const char *values[PAWL_HTTP_HOPS_MAX];
    char list[2048] = "";
    size_t used = 0;
    uint64_t hops = 0;
    int place = word_of(form, "address", places);

    if (place < 0 ||
        (hops_text != NULL && !pawl_http_number(*hops_text, PAWL_HTTP_HOPS_MAX, &hops))) {
        return false;
    }
    unsigned count = pawl_http_headers(exchange, place == 0 ? "X-Forwarded-For" : "X-Real-IP",
                                       values, PAWL_HTTP_HOPS_MAX);

    if (place == 1) { /* exactly one, or a client has added its own */
        return count == 1 && pawl_http_address(pawl_bytes_of(values[0], strlen(values[0])), out);
    }
    for (unsigned i = 0; i < count; i++) {
        size_t size = strlen(values[i]);

        if (size + 2 > sizeof(list) - used) {
            return false;
        }
        used +=
            (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", i > 0 ? "," : "", values[i]);
    }
    return pawl_http_forwarded_for(list, (unsigned)hops, out);
}

static const char *read_key(struct pawl_http_exchange *exchange, struct check *check)
{
    const struct pawl_http_form *form = pawl_http_form_of(exchange);
    const char *values[PAWL_HTTP_PARTS_MAX + 1];
    char address[PAWL_HTTP_ADDRESS_BYTES];
    unsigned headers;

    for (unsigned i = 0; i < form->count; i++) {
        if (!pawl_http_is(form->pairs[i].name, "key")) {
            continue;
        }
        if (check->part_count == PAWL_HTTP_PARTS_MAX) {
            return "a key has at most 8 parts";
        }
        check->parts[check->part_count++] = str_of(&form->pairs[i].value);
    }
    if (check->part_count > 0) {
        return check->by == BY_ADDRESS ? NULL : "key and by are two answers to one question";
    }
    if (check->by == BY_HEADER) {
        headers = pawl_http_headers(exchange, "X-Pawl-Key", values, PAWL_HTTP_PARTS_MAX + 1);
        if (headers == 0 || headers > PAWL_HTTP_PARTS_MAX) {
            return "by=header wants X-Pawl-Key, 1 to 8 times";
        }
        for (; check->part_count < headers; check->part_count++) {
            check->parts[check->part_count] = pawl_str(values[check->part_count]);
        }
    } else if (check->by == BY_ADDRESS) {
        if (!find_address(exchange, address) ||
            pawl_key_from_ip(address, check->address) != PAWL_RC_OK) {
            return "no client address: let the gateway send X-Forwarded-For, or name a key";
        }
        check->parts[check->part_count++] = pawl_str(check->address);
    }
    return NULL;
}

static const char *read_limits(struct pawl_http_exchange *exchange, struct check *check)
{
    static const char *const errors[] = { "closed", "open", "local", NULL };
    static const enum pawl_fail fails[] = { PAWL_FAIL_CLOSED, PAWL_FAIL_OPEN, PAWL_FAIL_LOCAL };
    const struct pawl_http_form *form = pawl_http_form_of(exchange);
    const struct pawl_bytes *cost_text = pawl_http_form_get(form, "cost");
    uint64_t cost = 1;
    int on_error = word_of(form, "on_error", errors);

    if (on_error < 0) {
        return "on_error is closed, open or local";
    }
    if (cost_text != NULL && (!pawl_http_number(*cost_text, UINT64_MAX, &cost) || cost == 0)) {
        return "cost is a number from 1";
    }
    for (unsigned i = 0; i < form->count; i++) {
        struct pawl_http_verdict *verdict = &check->verdict;

        if (!pawl_http_is(form->pairs[i].name, "limit")) {
            continue;
        }
        if (verdict->limit_count == PAWL_HTTP_LIMITS_MAX || form->pairs[i].value.size == 0) {
            return "a limit has a name, and there are at most 16";
        }
        check->items[verdict->limit_count] = (struct pawl_check_item){
            .limit = str_of(&form->pairs[i].value),
            .key = check->parts,
            .cost = cost,
            .on_error = fails[on_error],
            .tier = str_of(pawl_http_form_get(form, "tier")),
        };
        verdict->limits[verdict->limit_count++] = form->pairs[i].value;
    }
    return NULL;
}

static const char *read_parameters(struct pawl_http_exchange *exchange, struct check *check)
{
    static const char *const bys[] = { "address", "header", "subject", "client", NULL };
    static const char *const undecided[] = { "refuse", "allow", NULL };
    static const char *const peeks[] = { "0", "1", NULL };
    const struct pawl_http_form *form = pawl_http_form_of(exchange);
    const char *wrong = check_names(form);
    int by = word_of(form, "by", bys);
    int open = word_of(form, "undecided", undecided);
    int peek = word_of(form, "peek", peeks);

    if (wrong == NULL && by < 0) {
        wrong = "by is address, header, subject or client";
    }
    if (wrong == NULL && (open < 0 || peek < 0)) {
        wrong = open < 0 ? "undecided is refuse or allow" : "peek is 0 or 1";
    }
    if (wrong != NULL) {
        return wrong;
    }
    check->by = (enum by)by;
    check->peek = peek == 1;
    check->verdict.undecided_allows = open == 1;
    check->verdict.realm = pawl_http_form_get(form, "realm");
    check->ns = str_of(pawl_http_form_get(form, "ns"));
    wrong = read_limits(exchange, check);
    wrong = wrong != NULL ? wrong : read_token(exchange, check);
    if (wrong == NULL && check->verdict.limit_count > 0) {
        wrong = read_key(exchange, check);
    }
    if (wrong == NULL && check->verdict.limit_count == 0 &&
        pawl_http_form_get(form, "token") == NULL) {
        wrong = "nothing is asked: name a limit, or say token=required";
    }
    return wrong;
}

/* ---- asking ---- */

static void on_checked(void *data, const struct pawl_answer *answer)
{
    struct pawl_http_exchange *exchange = data;
    struct check *check = *pawl_http_state(exchange);

    if (check->asked_token) { /* the second question had no token in it: the first had */
        check->verdict.claims = &check->claims;
    }
    pawl_http_check_answer(exchange, &check->verdict, answer->rc, answer->of.check);
}

static int submit_check(struct pawl_http_exchange *exchange, struct check *check)
{
    struct pawl_check_call call = {
        .struct_size = sizeof(call),
        .items = check->items,
        .item_count = check->verdict.limit_count,
        .token = check->has_token && !check->asked_token ? &check->token : NULL,
        .flags = check->peek ? PAWL_CHECK_PEEK : 0,
        .ns = check->ns,
    };

    check->verdict.token_asked = call.token != NULL;
    for (unsigned i = 0; i < check->verdict.limit_count; i++) {
        check->items[i].key_count = check->part_count;
    }
    return pawl_client_submit_check(pawl_http_client_of(exchange, PAWL_HTTP_CLIENT_CHECK), &call,
                                    on_checked, exchange, NULL);
}

/* The token alone was asked for: that is all, or the limits come now, by its name. */
static void on_token(void *data, const struct pawl_answer *answer)
{
    struct pawl_http_exchange *exchange = data;
    struct check *check = *pawl_http_state(exchange);
    const struct pawl_token_check_result *result = answer->of.token_check;
    const struct pawl_text *name;
    int rc;

    if (check->by < BY_SUBJECT || answer->rc != PAWL_RC_OK ||
        result->token.status != PAWL_TOKEN_STATE_VALID || result->token.claims == NULL ||
        !result->token.has_claims) {
        pawl_http_token_answer(exchange, &check->verdict, answer->rc, result);
        return;
    }
    check->claims = *result->token.claims;
    check->asked_token = true;
    name = check->by == BY_SUBJECT ? &check->claims.subject : &check->claims.client;
    if (name->size == 0) {
        pawl_http_check_refuse(exchange, &check->verdict, "the token names none to be counted by");
        return;
    }
    check->parts[0] = (struct pawl_str){ name->data, name->size };
    check->part_count = 1;
    rc = submit_check(exchange, check);
    if (rc != PAWL_RC_OK) {
        pawl_http_wait_for(exchange, rc);
    }
}

static int submit_token(struct pawl_http_exchange *exchange, struct check *check)
{
    struct pawl_token_check_call call = {
        .struct_size = sizeof(call),
        .token = &check->token,
        .ns = check->ns,
    };

    return pawl_client_submit_token_check(pawl_http_client_of(exchange, PAWL_HTTP_CLIENT_CHECK),
                                          &call, on_token, exchange, NULL);
}

void pawl_http_check(struct pawl_http_exchange *exchange)
{
    struct check *check = pawl_http_take(exchange, sizeof(*check));
    const char *wrong = check == NULL ? "no memory" : read_parameters(exchange, check);

    if (wrong != NULL) {
        pawl_http_reply_error(exchange, check == NULL ? 503 : 400, "invalid_request", wrong);
        return;
    }
    *pawl_http_state(exchange) = check;
    if (check->verdict.token_malformed ||
        (check->verdict.token_required && check->verdict.token_missing)) {
        pawl_http_check_refuse(exchange, &check->verdict, NULL);
    } else if (check->verdict.limit_count == 0 && !check->has_token) {
        pawl_http_reply(exchange, 200, NULL, pawl_bytes_of("", 0)); /* optional, and none came */
    } else if (check->by >= BY_SUBJECT || check->verdict.limit_count == 0) {
        pawl_http_wait_for(exchange, submit_token(exchange, check));
    } else {
        pawl_http_wait_for(exchange, submit_check(exchange, check));
    }
}
