/* What HTTP requests hold that libmicrohttpd does not read: forms, credentials, hosts, addresses.
 */
#include "ops/http/parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- forms ---- */

static enum pawl_status parse(const char *text, uint8_t *room, struct pawl_http_form *form)
{
    const char *why = NULL;

    form->count = 0;
    memcpy(room, text, strlen(text));
    enum pawl_status status = pawl_http_form_parse(room, strlen(text), form, &why);

    assert_true((status == PAWL_OK) == (why == NULL));
    return status;
}

static void a_form_is_names_and_values_decoded(void **state)
{
    uint8_t room[256];
    struct pawl_http_form form;

    (void)state;
    assert_int_equal(parse("a=1&b=x+y%21&&c&a=%e4%BD%A0&d==", room, &form), PAWL_OK);
    assert_int_equal(form.count, 5);
    assert_true(pawl_http_is(*pawl_http_form_get(&form, "a"), "1"));
    assert_true(pawl_http_is(*pawl_http_form_get(&form, "b"), "x y!"));
    assert_true(pawl_http_is(*pawl_http_form_get(&form, "c"), ""));
    assert_true(pawl_http_is(form.pairs[3].value, "\xe4\xbd\xa0"));
    assert_true(pawl_http_is(*pawl_http_form_get(&form, "d"), "="));
    assert_null(pawl_http_form_get(&form, "e"));
    assert_int_equal(pawl_http_form_count(&form, "a"), 2);
    assert_int_equal(parse("", room, &form), PAWL_OK);
    assert_int_equal(form.count, 0);
}

static void a_form_that_is_wrong_is_refused(void **state)
{
    static const char *const wrong[] = { "a=%", "a=%1", "a=%1g", "%zz=1", "=1", "&=", "a=1&=2" };
    uint8_t room[256];
    struct pawl_http_form form;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(parse(wrong[i], room, &form), PAWL_EINVAL);
    }
}

static void a_form_has_64_pairs_at_most(void **state)
{
    char text[65 * 2 + 1] = "";
    uint8_t room[256];
    struct pawl_http_form form;

    (void)state;
    for (unsigned i = 0; i < 64; i++) {
        memcpy(text + 2 * (size_t)i, "a&", 3);
    }
    assert_int_equal(parse(text, room, &form), PAWL_OK);
    assert_int_equal(form.count, 64);
    memcpy(text + 128, "a", 2);
    assert_int_equal(parse(text, room, &form), PAWL_EFULL);
    assert_int_equal(form.count, 64);
}

static void a_number_is_decimal_and_bounded(void **state)
{
    uint64_t value = 0;

    (void)state;
    assert_true(pawl_http_number(pawl_bytes_of("0", 1), 0, &value));
    assert_true(pawl_http_number(pawl_bytes_of("18446744073709551615", 20), UINT64_MAX, &value));
    assert_true(value == UINT64_MAX);
    assert_false(pawl_http_number(pawl_bytes_of("18446744073709551616", 20), UINT64_MAX, &value));
    assert_false(pawl_http_number(pawl_bytes_of("17", 2), 16, &value));
    assert_false(pawl_http_number(pawl_bytes_of("", 0), 16, &value));
    assert_false(pawl_http_number(pawl_bytes_of("-1", 2), 16, &value));
    assert_false(pawl_http_number(pawl_bytes_of("1 ", 2), 16, &value));
}

/* ---- Authorization ---- */

static void schemes_are_told_apart_and_their_form_is_looked_at(void **state)
{
    static const struct {
        const char *header;
        enum pawl_http_scheme scheme;
        const char *rest;
    } cases[] = {
        { NULL, PAWL_HTTP_SCHEME_NONE, "" },
        { "Bearer abc.def-_~+/==", PAWL_HTTP_SCHEME_BEARER, "abc.def-_~+/==" },
        { "bEARER   x", PAWL_HTTP_SCHEME_BEARER, "x" },
        { "Basic YTpi", PAWL_HTTP_SCHEME_BASIC, "YTpi" },
        { "Bearer", PAWL_HTTP_SCHEME_OTHER, "" },
        { "Bearer ", PAWL_HTTP_SCHEME_OTHER, "" },
        { "Bearer a b", PAWL_HTTP_SCHEME_OTHER, "" },
        { "Bearer a=b", PAWL_HTTP_SCHEME_OTHER, "" },
        { "Bearer ==", PAWL_HTTP_SCHEME_OTHER, "" },
        { "Bearer a, Basic b", PAWL_HTTP_SCHEME_OTHER, "" },
        { "Digest x", PAWL_HTTP_SCHEME_OTHER, "" },
        { "", PAWL_HTTP_SCHEME_OTHER, "" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pawl_bytes rest;

        assert_int_equal(pawl_http_authorization(cases[i].header, &rest), cases[i].scheme);
        assert_true(pawl_http_is(rest, cases[i].rest));
    }
}

static void basic_credentials_are_canonical_base64_of_id_and_secret(void **state)
{
    static const struct {
        const char *text;
        const char *id, *secret; /* NULL: refused */
    } cases[] = {
        { "YTpi", "a", "b" },       { "YTo=", "a", "" },
        { "YTpiOmM=", "a", "b:c" }, { "d2ViOsOp", "web", "\xc3\xa9" },
        { "YTpi=", NULL, NULL },                            /* a length that is none */
        { "YTpi====", NULL, NULL }, { "YTo", NULL, NULL },  /* without its padding */
        { "YTp=", NULL, NULL },                             /* stray bits */
        { "YR==", NULL, NULL },     { "YQ==", NULL, NULL }, /* no colon */
        { "OmI=", NULL, NULL },                             /* no id */
        { "YT-_", NULL, NULL },                             /* of another alphabet */
        { "", NULL, NULL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t room[PAWL_HTTP_BASIC_MAX];
        struct pawl_bytes id;
        struct pawl_bytes secret;
        bool good = pawl_http_basic(pawl_bytes_of(cases[i].text, strlen(cases[i].text)), room, &id,
                                    &secret);

        assert_int_equal(good, cases[i].id != NULL);
        assert_true(!good ||
                    (pawl_http_is(id, cases[i].id) && pawl_http_is(secret, cases[i].secret)));
    }
}

static void basic_credentials_have_a_cap(void **state)
{
    char text[2000];
    uint8_t room[PAWL_HTTP_BASIC_MAX];
    struct pawl_bytes id;
    struct pawl_bytes secret;

    (void)state;
    memset(text, 'Q', sizeof(text));
    memcpy(text, "YTpi", 4);
    assert_true(pawl_http_basic(pawl_bytes_of(text, 1364), room, &id, &secret)); /* 1023 bytes */
    assert_false(pawl_http_basic(pawl_bytes_of(text, 1368), room, &id, &secret));
}

/* ---- hosts and addresses ---- */

static void hosts_are_literal_addresses_localhost_and_names_that_were_configured(void **state)
{
    static const char *const names[] = { "pawl.internal" };
    static const struct pawl_text_list hosts = { names, 1 };
    static const char *const good[] = { "localhost",     "LOCALHOST:1",     "127.0.0.1",
                                        "10.0.0.1:7402", "[::1]",           "[::1]:65535",
                                        "pawl.internal", "Pawl.Internal:80" };
    static const char *const bad[] = { "",
                                       "evil",
                                       "localhost.evil",
                                       "localhost:",
                                       "127.0.0.1.evil",
                                       "[::1",
                                       "[::1]x",
                                       "localhost:65536",
                                       "1.2.3",
                                       "0x7f.1",
                                       "[127.0.0.1]",
                                       "pawl.internal.",
                                       "localhost:1x",
                                       "xpawl.internal",
                                       ":80",
                                       "127.0.0.1:" };

    (void)state;
    assert_false(pawl_http_host_known(NULL, &hosts));
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(pawl_http_host_known(good[i], &hosts));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(pawl_http_host_known(bad[i], &hosts));
    }
}

static void the_address_is_counted_from_the_right(void **state)
{
    static const struct {
        const char *list;
        unsigned hops;
        const char *address; /* NULL: refused */
    } cases[] = {
        { "1.2.3.4", 0, "1.2.3.4" },
        { "6.6.6.6, 1.2.3.4", 0, "1.2.3.4" },
        { "6.6.6.6, 1.2.3.4 ", 1, "6.6.6.6" },
        { "lies, 5.5.5.5,\t1.2.3.4:80", 1, "5.5.5.5" },
        { "a,[2001:db8::1]:443", 0, "2001:db8::1" },
        { "2001:db8::1", 0, "2001:db8::1" },
        { "1.2.3.4", 1, NULL },
        { "1.2.3.4,", 0, NULL },
        { "", 0, NULL },
        { ",", 0, NULL },
        { "unknown", 0, NULL },
        { "1.2.3.4:x", 0, NULL },
        { "[1.2.3.4]", 0, NULL },
        { "1.2.3.4 5.6.7.8", 0, NULL },
        { "1.2.3.4,1.2.3.4", 17, NULL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char out[PAWL_HTTP_ADDRESS_BYTES];
        bool good = pawl_http_forwarded_for(cases[i].list, cases[i].hops, out);

        assert_int_equal(good, cases[i].address != NULL);
        assert_string_equal(out, good ? cases[i].address : "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_form_is_names_and_values_decoded),
        cmocka_unit_test(a_form_that_is_wrong_is_refused),
        cmocka_unit_test(a_form_has_64_pairs_at_most),
        cmocka_unit_test(a_number_is_decimal_and_bounded),
        cmocka_unit_test(schemes_are_told_apart_and_their_form_is_looked_at),
        cmocka_unit_test(basic_credentials_are_canonical_base64_of_id_and_secret),
        cmocka_unit_test(basic_credentials_have_a_cap),
        cmocka_unit_test(hosts_are_literal_addresses_localhost_and_names_that_were_configured),
        cmocka_unit_test(the_address_is_counted_from_the_right),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
