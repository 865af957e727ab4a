/* core/address: what people write as an address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/address.h"

static enum pawl_status parse(const char *text, struct pawl_address *address,
                              struct pawl_error *error)
{
    return pawl_address_parse(pawl_bytes_of(text, strlen(text)), address, error);
}

static void expect_refusal(const char *text, enum pawl_status status, const char *word)
{
    static const struct pawl_address nothing;
    struct pawl_address address;
    struct pawl_error error = { PAWL_OK, 0, "" };

    memset(&address, 0xff, sizeof(address));
    if (parse(text, &address, &error) != status) {
        fail_msg("\"%s\" gave %s: %s", text, pawl_status_name(error.status), error.text);
    }
    assert_int_equal(error.status, status);
    if (strstr(error.text, word) == NULL) {
        fail_msg("\"%s\": no \"%s\" in: %s", text, word, error.text);
    }
    assert_memory_equal(&address, &nothing, sizeof(address));
}

static void a_unix_path_is_taken_as_it_is(void **state)
{
    struct pawl_address address;

    (void)state;
    assert_int_equal(parse("unix:/run/pawl/pawld.sock", &address, NULL), PAWL_OK);
    assert_int_equal(address.kind, PAWL_ADDRESS_UNIX);
    assert_false(address.is_abstract);
    assert_string_equal(address.path, "/run/pawl/pawld.sock");
    assert_int_equal(parse("unix:here.sock", &address, NULL), PAWL_OK);
    assert_string_equal(address.path, "here.sock");
    assert_int_equal(parse("unix:/with space:and colon", &address, NULL), PAWL_OK);
    assert_string_equal(address.path, "/with space:and colon");
}

static void an_abstract_name_loses_its_sign(void **state)
{
    struct pawl_address address;

    (void)state;
    assert_int_equal(parse("unix:@pawl", &address, NULL), PAWL_OK);
    assert_true(address.is_abstract);
    assert_string_equal(address.path, "pawl");
    expect_refusal("unix:@", PAWL_EINVAL, "unix:@name");
}

static void a_path_of_107_bytes_fits_and_one_of_108_is_refused(void **state)
{
    char text[5 + 109];
    struct pawl_address address;

    (void)state;
    memset(text, 'a', sizeof(text));
    memcpy(text, "unix:", 5);
    text[5 + 107] = '\0';
    assert_int_equal(parse(text, &address, NULL), PAWL_OK);
    assert_int_equal(strlen(address.path), 107);
    text[5 + 107] = 'a';
    text[5 + 108] = '\0';
    expect_refusal(text, PAWL_ETOOBIG, "107");
    expect_refusal("unix:", PAWL_EINVAL, "no path");
}

static void tcp_takes_names_numbers_and_bracketed_v6(void **state)
{
    struct pawl_address address;

    (void)state;
    assert_int_equal(parse("tcp:127.0.0.1:7401", &address, NULL), PAWL_OK);
    assert_int_equal(address.kind, PAWL_ADDRESS_TCP);
    assert_string_equal(address.host, "127.0.0.1");
    assert_int_equal(address.port, 7401);
    assert_int_equal(parse("tcp:node-1.example:0", &address, NULL), PAWL_OK);
    assert_string_equal(address.host, "node-1.example");
    assert_int_equal(address.port, 0);
    assert_int_equal(parse("tcp:[fe80::1%eth0]:65535", &address, NULL), PAWL_OK);
    assert_string_equal(address.host, "fe80::1%eth0");
    assert_int_equal(address.port, 65535);
}

static void wrong_tcp_addresses_say_what_to_write(void **state)
{
    (void)state;
    expect_refusal("tcp:127.0.0.1", PAWL_EINVAL, "no port");
    expect_refusal("tcp:", PAWL_EINVAL, "no port");
    expect_refusal("tcp::7401", PAWL_EINVAL, "no host");
    expect_refusal("tcp:[]:7401", PAWL_EINVAL, "no host");
    expect_refusal("tcp:::1:7401", PAWL_EINVAL, "no host");
    expect_refusal("tcp:fe80::1:7401", PAWL_EINVAL, "brackets");
    expect_refusal("tcp:[%et0]:1", PAWL_EINVAL, "brackets hold an IPv6 number");
    expect_refusal("tcp:[127.0.0.1]:1", PAWL_EINVAL, "leave them out");
    expect_refusal("tcp:[::1:7401", PAWL_EINVAL, "without \"]\"");
    expect_refusal("tcp:[::1]7401", PAWL_EINVAL, "no port");
    expect_refusal("tcp:[::1]", PAWL_EINVAL, "no port");
    expect_refusal("tcp:h:", PAWL_EINVAL, "0 to 65535");
    expect_refusal("tcp:h:65536", PAWL_EINVAL, "0 to 65535");
    expect_refusal("tcp:h:000080", PAWL_EINVAL, "0 to 65535");
    expect_refusal("tcp:h:-1", PAWL_EINVAL, "0 to 65535");
    expect_refusal("tcp:h:80 ", PAWL_EINVAL, "0 to 65535");
    expect_refusal("tcp:h h:80", PAWL_EINVAL, "no host name");
}

static void a_host_has_at_most_253_bytes(void **state)
{
    char text[4 + 254 + 4];
    struct pawl_address address;

    (void)state;
    memset(text, 'a', sizeof(text));
    memcpy(text, "tcp:", 4);
    memcpy(text + 4 + 253, ":80", 4);
    assert_int_equal(parse(text, &address, NULL), PAWL_OK);
    assert_int_equal(strlen(address.host), 253);
    text[4 + 253] = 'a';
    memcpy(text + 4 + 254, ":80", 4);
    expect_refusal(text, PAWL_ETOOBIG, "253");
}

static void tls_takes_what_tcp_takes_and_says_so_in_its_kind(void **state)
{
    struct pawl_address address;

    (void)state;
    assert_int_equal(parse("tls:node-1.example:7401", &address, NULL), PAWL_OK);
    assert_int_equal(address.kind, PAWL_ADDRESS_TLS);
    assert_string_equal(address.host, "node-1.example");
    assert_int_equal(address.port, 7401);
    assert_int_equal(parse("tls:[::1]:7401", &address, NULL), PAWL_OK);
    assert_string_equal(address.host, "::1");
    expect_refusal("tls:10.0.0.7", PAWL_EINVAL, "no port");
    expect_refusal("tls::7401", PAWL_EINVAL, "no host");
    expect_refusal("tls:h:65536", PAWL_EINVAL, "0 to 65535");
}

static void unknown_kinds_are_refused_and_the_known_ones_named(void **state)
{
    (void)state;
    expect_refusal("tlsx:10.0.0.7:7401", PAWL_EINVAL, "tls:host:port");
    expect_refusal("/run/pawl.sock", PAWL_EINVAL, "unknown kind");
    expect_refusal("http://x", PAWL_EINVAL, "unknown kind");
    expect_refusal("UNIX:/x", PAWL_EINVAL, "unknown kind");
    expect_refusal("", PAWL_EINVAL, "empty");
}

static void control_characters_never_get_into_a_path_or_an_error(void **state)
{
    static const char with_nul[] = "unix:/a\0b";
    struct pawl_address address;
    struct pawl_error error = { PAWL_OK, 0, "" };

    (void)state;
    assert_int_equal(pawl_address_parse(pawl_bytes_of(with_nul, sizeof(with_nul) - 1), &address,
                                        &error),
                     PAWL_EINVAL);
    assert_non_null(strstr(error.text, "byte 8"));
    expect_refusal("unix:/a\nb", PAWL_EINVAL, "control");
    expect_refusal("tcp:\x7f:1", PAWL_EINVAL, "control");
}

static void what_is_printed_parses_to_the_same(void **state)
{
    static const char *const texts[] = { "unix:/run/p.sock", "unix:@p",         "tcp:localhost:1",
                                         "tcp:[::1]:7401",   "tls:localhost:1", "tls:[::1]:7401" };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct pawl_address address;
        char text[PAWL_ADDRESS_TEXT_MAX];

        assert_int_equal(parse(texts[i], &address, NULL), PAWL_OK);
        assert_int_equal(pawl_address_format(&address, text, sizeof(text)), strlen(texts[i]));
        assert_string_equal(text, texts[i]);
        assert_int_equal(pawl_address_format(&address, text, 5), 4);
        assert_int_equal(strlen(text), 4);
        assert_int_equal(pawl_address_format(&address, NULL, 0), 0);
    }
}

static void every_string_of_three_bytes_behind_each_kind_is_survived(void **state)
{
    static const char *const kinds[] = { "", "unix:", "tcp:", "tcp:[", "tls:" };
    static const uint8_t bytes[] = "\0 :[]@/%.a1\xff";

    (void)state;
    for (size_t kind = 0; kind < sizeof(kinds) / sizeof(kinds[0]); kind++) {
        for (size_t i = 0; i < 12 * 12 * 12; i++) {
            size_t size = strlen(kinds[kind]);
            uint8_t *text = malloc(size + 3); /* exact, so that a sanitizer sees one byte more */
            struct pawl_address address;
            struct pawl_error error;

            assert_non_null(text);
            memcpy(text, kinds[kind], size);
            text[size] = bytes[i % 12];
            text[size + 1] = bytes[i / 12 % 12];
            text[size + 2] = bytes[i / 144];
            if (pawl_address_parse(pawl_bytes_of(text, size + 3), &address, &error) == PAWL_OK) {
                assert_int_not_equal(address.kind, PAWL_ADDRESS_NONE);
            }
            free(text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_unix_path_is_taken_as_it_is),
        cmocka_unit_test(an_abstract_name_loses_its_sign),
        cmocka_unit_test(a_path_of_107_bytes_fits_and_one_of_108_is_refused),
        cmocka_unit_test(tcp_takes_names_numbers_and_bracketed_v6),
        cmocka_unit_test(wrong_tcp_addresses_say_what_to_write),
        cmocka_unit_test(a_host_has_at_most_253_bytes),
        cmocka_unit_test(tls_takes_what_tcp_takes_and_says_so_in_its_kind),
        cmocka_unit_test(unknown_kinds_are_refused_and_the_known_ones_named),
        cmocka_unit_test(control_characters_never_get_into_a_path_or_an_error),
        cmocka_unit_test(what_is_printed_parses_to_the_same),
        cmocka_unit_test(every_string_of_three_bytes_behind_each_kind_is_survived),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
