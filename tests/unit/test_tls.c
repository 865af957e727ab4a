/* adapter/tls: two ends of a connection side by side, and what a peer may do to one of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "adapter/tls/connection.h"
#include "tls_rig.h"

#define OPS (&pawl_tls_ops)

static struct {
    char folder[64];
    struct tls_pair ca, other_ca, server, client, foreign;
    struct pawl_tls_context *context, *client_context, *foreign_context, *nobody;
} world;

static int make_world(void **state)
{
    (void)state;
    (void)snprintf(world.folder, sizeof(world.folder), "/tmp/pawl_tls_XXXXXX");
    assert_non_null(mkdtemp(world.folder));
    tls_pair_make(&world.ca, world.folder, "ca", NULL, NULL);
    tls_pair_make(&world.other_ca, world.folder, "other", NULL, NULL);
    tls_pair_make(&world.server, world.folder, "server", &world.ca, "DNS:localhost,IP:127.0.0.1");
    tls_pair_make(&world.client, world.folder, "client", &world.ca,
                  "DNS:API.internal,URI:spiffe://a/b,email:a@b,IP:10.0.0.1,IP:::1,DNS:*.x");
    tls_pair_make(&world.foreign, world.folder, "foreign", &world.other_ca, "DNS:api.internal");
    world.context = tls_server_of(&world.server, world.ca.certificate_file);
    world.client_context = tls_client_of(world.ca.certificate_file, &world.client);
    world.foreign_context = tls_client_of(world.ca.certificate_file, &world.foreign);
    world.nobody = tls_client_of(world.ca.certificate_file, NULL);
    return 0;
}

static int free_world(void **state)
{
    (void)state;
    pawl_tls_context_unref(world.context);
    pawl_tls_context_unref(world.client_context);
    pawl_tls_context_unref(world.foreign_context);
    pawl_tls_context_unref(world.nobody);
    tls_pair_free(&world.ca);
    tls_pair_free(&world.other_ca);
    tls_pair_free(&world.server);
    tls_pair_free(&world.client);
    tls_pair_free(&world.foreign);
    (void)rmdir(world.folder);
    return 0;
}

struct ends {
    struct pawl_tls_connection *server, *client;
};

static struct ends ends_open(struct pawl_tls_context *client, const char *name, size_t step)
{
    struct ends ends = { OPS->accept(world.context), OPS->connect(client, name) };

    assert_non_null(ends.server);
    assert_non_null(ends.client);
    tls_settle(ends.client, ends.server, step);
    return ends;
}

static void ends_close(struct ends *ends)
{
    OPS->close(ends->server);
    OPS->close(ends->client);
}

static void a_handshake_and_what_follows_may_come_byte_by_byte(void **state)
{
    struct ends ends = ends_open(world.client_context, "localhost", 1);
    uint8_t out[16];

    (void)state;
    assert_int_equal(OPS->state(ends.server), PAWL_TLS_OPEN);
    assert_int_equal(OPS->state(ends.client), PAWL_TLS_OPEN);
    assert_int_equal(OPS->write(ends.client, (const uint8_t *)"hello", 5), PAWL_OK);
    while (OPS->pending(ends.client) > 0) {
        struct pawl_bytes first = OPS->peek(ends.client);

        assert_int_equal(OPS->read(ends.server, out, sizeof(out)), 0);
        assert_int_equal(OPS->give(ends.server, first.data, 1), PAWL_OK);
        OPS->sent(ends.client, 1);
        if (OPS->pending(ends.client) > 0) {
            assert_int_equal(OPS->read(ends.server, out, sizeof(out)), 0);
            assert_true(OPS->is_partial(ends.server));
        }
    }
    assert_int_equal(OPS->read(ends.server, out, sizeof(out)), 5);
    assert_memory_equal(out, "hello", 5);
    assert_false(OPS->is_partial(ends.server));
    ends_close(&ends);
}

static void a_megabyte_comes_out_as_it_went_in(void **state)
{
    struct ends ends = ends_open(world.nobody, "127.0.0.1", 4096);
    size_t size = (size_t)1 << 20;
    uint8_t *in = malloc(size);
    uint8_t *out = malloc(size);
    size_t got = 0;

    (void)state;
    assert_non_null(in);
    assert_non_null(out);
    for (size_t i = 0; i < size; i++) {
        in[i] = (uint8_t)(i * 31 + i / 251);
    }
    assert_int_equal(OPS->write(ends.server, in, size), PAWL_OK);
    while (OPS->pending(ends.server) > 0) {
        struct pawl_bytes first = OPS->peek(ends.server);
        size_t step = first.size < 5000 ? first.size : 5000;

        assert_int_equal(OPS->give(ends.client, first.data, step), PAWL_OK);
        OPS->sent(ends.server, step);
        got += OPS->read(ends.client, out + got, size - got);
    }
    assert_int_equal(got, size);
    assert_memory_equal(in, out, size);
    free(in);
    free(out);
    ends_close(&ends);
}

static void bytes_to_be_sent_stay_where_they_are_while_more_are_written(void **state)
{
    struct ends ends = ends_open(world.nobody, "localhost", 4096);
    uint8_t large[20000] = { 0 };
    uint8_t copy[64];
    struct pawl_bytes first;

    (void)state;
    assert_int_equal(OPS->write(ends.server, (const uint8_t *)"a", 1), PAWL_OK);
    first = OPS->peek(ends.server);
    assert_true(first.size <= sizeof(copy));
    memcpy(copy, first.data, first.size);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(OPS->write(ends.server, large, sizeof(large)), PAWL_OK);
    }
    assert_ptr_equal(OPS->peek(ends.server).data, first.data);
    assert_memory_equal(first.data, copy, first.size);
    ends_close(&ends);
}

static void garbage_ends_the_connection_with_an_alert_and_a_reason(void **state)
{
    struct pawl_tls_connection *server = OPS->accept(world.context);
    struct ends ends = ends_open(world.nobody, "localhost", 4096);
    uint8_t out[16];

    (void)state;
    assert_int_equal(OPS->give(server, (const uint8_t *)"GET / HTTP/1.0\r\n\r\n", 18), PAWL_OK);
    assert_int_equal(OPS->state(server), PAWL_TLS_FAILED);
    assert_string_not_equal(OPS->failure(server), "");
    OPS->close(server);
    assert_int_equal(OPS->give(ends.server,
                               (const uint8_t *)"\x17\x03\x03\x00\x13nineteen bytes here", 24),
                     PAWL_OK);
    assert_int_equal(OPS->read(ends.server, out, sizeof(out)), 0);
    assert_int_equal(OPS->state(ends.server), PAWL_TLS_FAILED);
    assert_true(OPS->pending(ends.server) > 0);
    assert_int_equal(OPS->write(ends.server, out, 1), PAWL_ECONN);
    ends_close(&ends);
}

static void who_says_close_notify_is_still_answered(void **state)
{
    struct ends ends = ends_open(world.nobody, "localhost", 4096);
    uint8_t out[16];

    (void)state;
    assert_int_equal(OPS->write(ends.client, (const uint8_t *)"q", 1), PAWL_OK);
    OPS->finish(ends.client);
    (void)tls_carry(ends.client, ends.server, 4096);
    assert_int_equal(OPS->read(ends.server, out, sizeof(out)), 1);
    assert_int_equal(OPS->read(ends.server, out, sizeof(out)), 0);
    assert_int_equal(OPS->state(ends.server), PAWL_TLS_PEER_DONE);
    assert_int_equal(OPS->write(ends.server, (const uint8_t *)"a", 1), PAWL_OK);
    OPS->finish(ends.server);
    assert_int_equal(OPS->write(ends.server, (const uint8_t *)"b", 1), PAWL_ECONN);
    (void)tls_carry(ends.server, ends.client, 4096);
    assert_int_equal(OPS->read(ends.client, out, sizeof(out)), 1);
    assert_int_equal(out[0], 'a');
    ends_close(&ends);
}

static void key_updates_are_answered_until_they_are_a_flood(void **state)
{
    struct ends ends = ends_open(world.nobody, "localhost", 4096);
    unsigned updates = 0;
    uint8_t out[16];

    (void)state;
    while (OPS->state(ends.server) == PAWL_TLS_OPEN && updates < 1000) {
        assert_int_equal(SSL_key_update(ends.client->ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        assert_int_equal(OPS->write(ends.client, (const uint8_t *)"k", 1), PAWL_OK);
        (void)tls_carry(ends.client, ends.server, 4096);
        updates++;
        if (OPS->read(ends.server, out, sizeof(out)) == 1) {
            (void)tls_carry(ends.server, ends.client, 4096);
            (void)OPS->read(ends.client, out, sizeof(out));
        }
    }
    assert_int_equal(updates, PAWL_TLS_KEY_UPDATES_MAX + 1);
    assert_string_equal(OPS->failure(ends.server), "too many key updates");
    ends_close(&ends);
}

static void what_nobody_takes_has_a_ceiling(void **state)
{
    struct ends ends = ends_open(world.nobody, "localhost", 4096);
    uint8_t large[65536] = { 0 };
    enum pawl_status status = PAWL_OK;

    (void)state;
    while (status == PAWL_OK) {
        status = OPS->write(ends.server, large, sizeof(large));
        assert_true(OPS->pending(ends.server) <= PAWL_TLS_OUT_MAX);
    }
    assert_int_equal(status, PAWL_ENOMEM);
    assert_int_equal(OPS->state(ends.server), PAWL_TLS_FAILED);
    ends_close(&ends);
}

static void the_names_of_a_certificate_are_told_with_their_kind(void **state)
{
    static const char *const names[] = { "dns:api.internal", "uri:spiffe://a/b", "email:a@b",
                                         "ip:10.0.0.1",      "ip:::1",           "dns:*.x" };
    struct ends ends = ends_open(world.client_context, "localhost", 4096);
    struct pawl_tls_peer peer;

    (void)state;
    OPS->peer(ends.server, &peer);
    assert_true(peer.has_certificate);
    assert_int_equal(peer.san_count, 6);
    for (unsigned i = 0; i < 6; i++) {
        assert_string_equal(peer.sans[i], names[i]);
    }
    assert_int_equal(strlen(peer.issuer_sha256), 64);
    ends_close(&ends);
    ends = ends_open(world.nobody, "localhost", 4096);
    OPS->peer(ends.server, &peer);
    assert_false(peer.has_certificate);
    ends_close(&ends);
}

static void a_certificate_of_another_ca_is_refused_by_both_sides(void **state)
{
    struct ends ends = ends_open(world.foreign_context, "localhost", 4096);
    struct pawl_tls_peer peer;

    (void)state;
    assert_int_equal(OPS->state(ends.server), PAWL_TLS_FAILED);
    assert_non_null(strstr(OPS->failure(ends.server), "certificate"));
    OPS->peer(ends.server, &peer);
    assert_false(peer.has_certificate);
    ends_close(&ends);
    struct pawl_tls_context *mistrusts = tls_client_of(world.other_ca.certificate_file, NULL);

    ends = ends_open(mistrusts, "localhost", 4096);
    assert_int_equal(OPS->state(ends.client), PAWL_TLS_FAILED);
    assert_int_not_equal(OPS->state(ends.server), PAWL_TLS_OPEN);
    ends_close(&ends);
    pawl_tls_context_unref(mistrusts);
}

static void a_client_wants_the_name_it_asked_for(void **state)
{
    static const struct {
        const char *name;
        enum pawl_tls_state state;
    } cases[] = { { "localhost", PAWL_TLS_OPEN },     { "LOCALHOST", PAWL_TLS_OPEN },
                  { "127.0.0.1", PAWL_TLS_OPEN },     { "127.0.0.2", PAWL_TLS_FAILED },
                  { "server", PAWL_TLS_FAILED }, /* its subject is no name (RFC 9525) */
                  { "x.localhost", PAWL_TLS_FAILED }, { "", PAWL_TLS_FAILED } };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ends ends = ends_open(world.nobody, cases[i].name, 4096);

        assert_int_equal(OPS->state(ends.client), cases[i].state);
        ends_close(&ends);
    }
}

static void a_connection_knows_whether_a_later_set_would_trust_it(void **state)
{
    struct ends ends = ends_open(world.client_context, "localhost", 4096);
    struct pawl_tls_context *same = tls_server_of(&world.server, world.ca.certificate_file);
    struct pawl_tls_context *other = tls_server_of(&world.server, world.other_ca.certificate_file);
    struct pawl_tls_context *none = tls_server_of(&world.server, NULL);

    (void)state;
    assert_true(OPS->is_trusted(ends.server, same));
    assert_false(OPS->is_trusted(ends.server, other));
    assert_false(OPS->is_trusted(ends.server, none));
    ends_close(&ends);
    ends = ends_open(world.nobody, "localhost", 4096);
    assert_true(OPS->is_trusted(ends.server, other));
    ends_close(&ends);
    pawl_tls_context_unref(same);
    pawl_tls_context_unref(other);
    pawl_tls_context_unref(none);
}

static void no_session_is_ever_resumed(void **state)
{
    struct ends ends = ends_open(world.client_context, "localhost", 4096);
    SSL_SESSION *session;
    uint8_t out[4];

    (void)state;
    assert_int_equal(OPS->read(ends.client, out, sizeof(out)), 0); /* takes tickets, if there are */
    session = SSL_get1_session(ends.client->ssl);
    assert_non_null(session);
    assert_int_equal(SSL_SESSION_is_resumable(session), 0);
    assert_int_equal(SSL_session_reused(ends.server->ssl), 0);
    ends_close(&ends);
    SSL_SESSION_free(session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_handshake_and_what_follows_may_come_byte_by_byte),
        cmocka_unit_test(a_megabyte_comes_out_as_it_went_in),
        cmocka_unit_test(bytes_to_be_sent_stay_where_they_are_while_more_are_written),
        cmocka_unit_test(garbage_ends_the_connection_with_an_alert_and_a_reason),
        cmocka_unit_test(who_says_close_notify_is_still_answered),
        cmocka_unit_test(key_updates_are_answered_until_they_are_a_flood),
        cmocka_unit_test(what_nobody_takes_has_a_ceiling),
        cmocka_unit_test(the_names_of_a_certificate_are_told_with_their_kind),
        cmocka_unit_test(a_certificate_of_another_ca_is_refused_by_both_sides),
        cmocka_unit_test(a_client_wants_the_name_it_asked_for),
        cmocka_unit_test(a_connection_knows_whether_a_later_set_would_trust_it),
        cmocka_unit_test(no_session_is_ever_resumed),
    };

    return cmocka_run_group_tests(tests, make_world, free_world);
}
