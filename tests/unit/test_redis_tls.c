/*
 * The redis adapter over the daemon's own outgoing connections, in clear and over TLS, to a real
 * server that asks for certificates.
 */
#include "unit/redis_rig.h"
#include "unit/tls_rig.h"

#include "edge/outbound.h"

static struct rig rig;
static struct rig_server server;
static struct tls_pair ca, other_ca, engine_pair, client_pair;
static uv_loop_t loop;
static struct pawl_outbound outbound;
static struct pawl_net port;
static uv_timer_t watch;
static char folder[64];
static uint16_t tls_port;
static bool outbound_closed;

#define NEED_REDIS()                                     \
    do {                                                 \
        if (!rig_has_redis()) {                          \
            print_message("no /usr/bin/redis-server\n"); \
            skip();                                      \
        }                                                \
    } while (0)

static void on_watch(uv_timer_t *timer)
{
    (void)timer; /* the turn ends, so that the test looks at its deadline */
}

static void turn(void)
{
    (void)uv_run(&loop, UV_RUN_ONCE);
}

static void on_outbound_closed(void *ctx)
{
    (void)ctx;
    outbound_closed = true;
}

static void start_server(void)
{
    char number[8];

    tls_port = rig_free_port();
    (void)snprintf(number, sizeof(number), "%u", tls_port);
    const char *const more[] = { "--tls-port",
                                 number,
                                 "--tls-cert-file",
                                 engine_pair.certificate_file,
                                 "--tls-key-file",
                                 engine_pair.key_file,
                                 "--tls-ca-cert-file",
                                 ca.certificate_file,
                                 NULL };

    rig_server_start(&server, 0, more);
}

static int begin(void **state)
{
    (void)state;
    memset(&server, 0, sizeof(server));
    (void)snprintf(folder, sizeof(folder), "/tmp/pawl-redis-tls-XXXXXX");
    assert_non_null(mkdtemp(folder));
    tls_pair_make(&ca, folder, "ca", NULL, NULL);
    tls_pair_make(&other_ca, folder, "other", NULL, NULL);
    tls_pair_make(&engine_pair, folder, "engine", &ca, "DNS:engine.test,IP:127.0.0.1");
    tls_pair_make(&client_pair, folder, "client", &ca, "DNS:pawld.test");
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(uv_timer_init(&loop, &watch), 0);
    assert_int_equal(uv_timer_start(&watch, on_watch, 20, 20), 0);
    assert_int_equal(pawl_outbound_init(&outbound, &loop, &pawl_tls_ops), PAWL_OK);
    port = pawl_outbound_net(&outbound);
    outbound_closed = false;
    if (rig_has_redis()) {
        start_server();
    }
    return 0;
}

static int end(void **state)
{
    DIR *files = opendir(folder);

    (void)state;
    pawl_outbound_close(&outbound, on_outbound_closed, NULL);
    while (!outbound_closed) {
        turn();
    }
    uv_close((uv_handle_t *)&watch, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0); /* nothing was left behind */
    if (server.folder[0] != '\0') {
        rig_server_end(&server);
    }
    tls_pair_free(&ca);
    tls_pair_free(&other_ca);
    tls_pair_free(&engine_pair);
    tls_pair_free(&client_pair);
    for (struct dirent *at; (at = readdir(files)) != NULL;) {
        (void)unlinkat(dirfd(files), at->d_name, 0);
    }
    (void)closedir(files);
    (void)rmdir(folder);
    return 0;
}

static void aim(uint16_t at, struct pawl_tls_context *context)
{
    rig_init(&rig, at);
    rig.turn = turn;
    rig.options.net = &port;
    rig.addresses[0].context = context;
}

static struct pawl_tls_context *context_of(const struct tls_pair *trusted, bool certificate)
{
    const struct pawl_tls_client_options options = {
        .ca = trusted->certificate_file,
        .certificate = certificate ? client_pair.certificate_file : NULL,
        .key = certificate ? client_pair.key_file : NULL,
    };
    struct pawl_tls_context *context = NULL;
    struct pawl_error error;

    assert_int_equal(pawl_tls_client_context(&options, &context, NULL, &error), PAWL_OK);
    return context;
}

static void verbs_go_over_the_daemons_connections(void **state)
{
    (void)state;
    NEED_REDIS();
    aim(server.port, NULL);
    rig_start(&rig);
    rig_until(&rig, rig.ups == 1);
    for (uint64_t i = 1; i <= 500; i++) {
        (void)rig_emit(&rig, rig_append(1, i, "pipelined"));
    }
    assert_int_equal(rig_do(&rig, rig_announce(1, "")), PAWL_ENGINE_WON);
    assert_int_equal(rig.tops[0].top, 500);
    rig_admin_do(&server, "CLIENT KILL TYPE normal SKIPME yes");
    rig_until(&rig, rig.ups == 2);
    rig_stop(&rig);
}

static void the_engine_is_reached_over_tls_with_a_certificate(void **state)
{
    struct pawl_tls_context *context = NULL;

    (void)state;
    NEED_REDIS();
    context = context_of(&ca, true);
    aim(tls_port, context);
    rig_start(&rig);
    rig_until(&rig, rig.ups == 1);
    assert_int_equal(rig_do(&rig, rig_announce(1, "secret")), PAWL_ENGINE_WON);
    for (uint64_t i = 1; i <= 300; i++) {
        (void)rig_emit(&rig, rig_append(1, i, "pipelined"));
    }
    assert_int_equal(rig_do(&rig, rig_announce(1, "")), PAWL_ENGINE_WON);
    assert_int_equal(rig.tops[0].top, 300);
    rig_stop(&rig);
    pawl_tls_context_unref(context);
}

static void refused(struct pawl_tls_context *context, const char *name)
{
    aim(tls_port, context);
    rig.options.tls_name = name;
    rig_start(&rig);
    rig_until(&rig, rig.refused[0] != '\0');
    rig_turn_for(&rig, 300);
    print_message("%s\n", rig.refused);
    assert_int_equal(rig.ups, 0);
    rig_stop(&rig);
    pawl_tls_context_unref(context);
}

static void who_cannot_prove_who_it_is_is_no_engine(void **state)
{
    (void)state;
    NEED_REDIS();
    refused(context_of(&ca, true), "another.test"); /* not the name */
    refused(context_of(&other_ca, true), NULL);     /* not our CA */
    refused(context_of(&ca, false), NULL);          /* and we have to prove it too */
    aim(tls_port, context_of(&ca, true));
    rig.options.tls_name = "engine.test";
    rig_start(&rig);
    rig_until(&rig, rig.ups == 1);
    rig_stop(&rig);
    pawl_tls_context_unref(rig.addresses[0].context);
}

static void other_certificates_are_used_by_the_next_connection(void **state)
{
    struct pawl_tls_context *wrong = NULL;
    struct pawl_tls_context *right = NULL;

    (void)state;
    NEED_REDIS();
    wrong = context_of(&other_ca, true);
    right = context_of(&ca, true);
    aim(tls_port, wrong);
    rig_start(&rig);
    rig_until(&rig, rig.refused[0] != '\0');
    pawl_redis_set_contexts(rig.redis, right, NULL);
    rig_until(&rig, rig.ups == 1);
    rig_stop(&rig);
    pawl_tls_context_unref(wrong);
    pawl_tls_context_unref(right);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(verbs_go_over_the_daemons_connections, begin, end),
        cmocka_unit_test_setup_teardown(the_engine_is_reached_over_tls_with_a_certificate, begin,
                                        end),
        cmocka_unit_test_setup_teardown(who_cannot_prove_who_it_is_is_no_engine, begin, end),
        cmocka_unit_test_setup_teardown(other_certificates_are_used_by_the_next_connection, begin,
                                        end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
