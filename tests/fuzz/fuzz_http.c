/*
 * What HTTP requests hold that libmicrohttpd does not read. The first byte says which parser: a
 * form (or query), an Authorization header, a Host, X-Forwarded-For.
 *
 * What must hold: results lie in the text; nothing grows by decoding; what was refused left nothing
 * behind; an address is one that inet_pton() takes; and a Host that is known is a literal address,
 * localhost or the one name that is configured.
 */
#include "fuzz/require.h"
#include "ops/http/parse.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_form(const uint8_t *data, size_t size)
{
    uint8_t *text = malloc(size > 0 ? size : 1);
    struct pawl_http_form form = { .count = 0 };
    const char *why = NULL;

    require(text != NULL);
    memcpy(text, data, size);
    enum pawl_status status = pawl_http_form_parse(text, size, &form, &why);

    require((status == PAWL_OK) == (why == NULL));
    require(form.count <= PAWL_HTTP_PAIRS_MAX);
    for (unsigned i = 0; i < form.count; i++) {
        const struct pawl_http_pair *pair = &form.pairs[i];

        require(pair->name.size > 0);
        require(pair->name.data >= text && pair->name.data + pair->name.size <= text + size);
        require(pair->value.data >= text && pair->value.data + pair->value.size <= text + size);
    }
    (void)pawl_http_form_get(&form, "token");
    (void)pawl_http_form_count(&form, "token");
    free(text);
}

static void check_authorization(const char *header)
{
    uint8_t room[PAWL_HTTP_BASIC_MAX];
    struct pawl_bytes rest;
    struct pawl_bytes id;
    struct pawl_bytes secret;
    enum pawl_http_scheme scheme = pawl_http_authorization(header, &rest);

    require(scheme != PAWL_HTTP_SCHEME_NONE);
    require((rest.size > 0) == (scheme != PAWL_HTTP_SCHEME_OTHER));
    if (pawl_http_basic(rest, room, &id, &secret)) {
        require(id.size > 0 && id.size + 1 + secret.size <= sizeof(room));
        require(memchr(id.data, ':', id.size) == NULL);
        require(rest.size == (id.size + 1 + secret.size + 2) / 3 * 4); /* one text for each */
    } else {
        require(id.size == 0 && secret.size == 0);
    }
}

static bool is_address(const char *text)
{
    uint8_t out[16];

    return inet_pton(AF_INET, text, out) == 1 || inet_pton(AF_INET6, text, out) == 1;
}

static void check_host(const char *host)
{
    static const char *const names[] = { "pawl.internal" };
    static const struct pawl_text_list hosts = { names, 1 };
    static const struct pawl_text_list none = { NULL, 0 };
    bool known = pawl_http_host_known(host, &hosts);

    require(known || !pawl_http_host_known(host, &none));
    if (known && strncasecmp(host, "localhost", 9) != 0 &&
        strncasecmp(host, "pawl.internal", 13) != 0) {
        require(strspn(host, "0123456789abcdefABCDEF.:[] \t") == strlen(host));
    }
}

static void check_forwarded(const char *list)
{
    char out[PAWL_HTTP_ADDRESS_BYTES];

    for (unsigned hops = 0; hops <= PAWL_HTTP_HOPS_MAX + 1; hops++) {
        memset(out, 'x', sizeof(out));
        require(pawl_http_forwarded_for(list, hops, out) == (out[0] != '\0'));
        require(memchr(out, '\0', sizeof(out)) != NULL);
        require(out[0] == '\0' || is_address(out));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t number = 0;
    char *text;

    if (size == 0) {
        return 0;
    }
    text = malloc(size); /* the rest and its end */
    require(text != NULL);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    switch (data[0] % 4) {
    case 0:
        check_form(data + 1, size - 1);
        break;
    case 1:
        check_authorization(text);
        break;
    case 2:
        check_host(text);
        break;
    default:
        check_forwarded(text);
        break;
    }
    require(!pawl_http_number(pawl_bytes_of(data + 1, size - 1), 65535, &number) ||
            number <= 65535);
    free(text);
    return 0;
}
