/* daemon/outward.c: what a node shows to its engine and to the other members, and its reload. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "outward.c" /* NOLINT(bugprone-suspicious-include): a part of main, in no library */

#include "tls_rig.h"

static struct {
    char folder[64], password[96], empty[96];
    struct tls_pair ca, node, other_ca;
    struct pawl_settings settings;
    struct pawl_redis_settings redis;
    struct pawl_outward outward;
    unsigned changes;
    const struct pawl_outward_set *told;
} world;

static void drop_line(void *self, enum pawl_log_level level, const char *event,
                      const struct pawl_field *fields, unsigned count)
{
    (void)self;
    (void)level;
    (void)event;
    (void)fields;
    (void)count;
}

static const struct pawl_log log_to_nowhere = { .event = drop_line };

static struct pawl_now read_clock(void *self)
{
    struct pawl_now now = { { 0 }, { 1800000000 }, { 0 } };

    (void)self;
    return now;
}

static const struct pawl_clock fixed_clock = { .read = read_clock };

static void write_file(const char *path, const char *text, mode_t mode)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fchmod(fileno(file), mode), 0);
    assert_int_equal(fclose(file), 0);
}

static int open_world(void **state)
{
    (void)state;
    memset(&world, 0, sizeof(world));
    (void)snprintf(world.folder, sizeof(world.folder), "/tmp/pawl_outw_XXXXXX");
    assert_non_null(mkdtemp(world.folder));
    (void)snprintf(world.password, sizeof(world.password), "%s/password", world.folder);
    (void)snprintf(world.empty, sizeof(world.empty), "%s/empty", world.folder);
    write_file(world.password, "hush\n", 0600);
    write_file(world.empty, "\n", 0600);
    tls_pair_make(&world.ca, world.folder, "ca", NULL, NULL);
    tls_pair_make(&world.other_ca, world.folder, "other", NULL, NULL);
    tls_pair_make(&world.node, world.folder, "node", &world.ca, "DNS:node.pawl");
    world.redis.secure = true;
    world.settings.cluster = (struct pawl_cluster_settings){
        .on = true,
        .redis = &world.redis,
        .redis_count = 1,
        .password_file = world.password,
        .sentinel_password_file = "",
        .tls_ca = world.ca.certificate_file,
        .tls_certificate = "",
        .tls_key = "",
        .advertise_address = { .kind = PAWL_ADDRESS_TLS },
    };
    world.settings.tls.ca = world.ca.certificate_file;
    world.settings.tls.certificate = world.node.certificate_file;
    world.settings.tls.key = world.node.key_file;
    pawl_outward_init(&world.outward, &fixed_clock, &log_to_nowhere);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    pawl_outward_deinit(&world.outward);
    pawl_outward_deinit(&world.outward);
    tls_pair_free(&world.ca);
    tls_pair_free(&world.other_ca);
    tls_pair_free(&world.node);
    (void)unlink(world.password);
    (void)unlink(world.empty);
    return rmdir(world.folder);
}

static void on_changed(void *ctx, const struct pawl_outward_set *set)
{
    (void)ctx;
    world.changes++;
    world.told = set;
}

static const struct pawl_outward_set *start(void)
{
    struct pawl_error error = { PAWL_OK, 0, "" };

    if (pawl_outward_build(&world.outward, &world.settings, &error) != PAWL_OK) {
        fail_msg("%s", error.text);
    }
    return pawl_outward_start(&world.outward, on_changed, NULL);
}

static void assert_refused(enum pawl_status status, const char *text)
{
    struct pawl_error error = { PAWL_OK, 0, "" };

    assert_int_equal(pawl_outward_build(&world.outward, &world.settings, &error), status);
    if (strstr(error.text, text) == NULL) {
        fail_msg("\"%s\" is not in: %s", text, error.text);
    }
}

/* The contexts are what they should be: a node of the same CA is believed, and believes. */
static void members_show_each_other_their_certificates(void **state)
{
    const struct pawl_outward_set *set = start();
    struct pawl_tls_context *serving = tls_server_of(&world.node, world.ca.certificate_file);
    struct pawl_tls_connection *here = pawl_tls_ops.connect(set->peers, "node.pawl");
    struct pawl_tls_connection *there = pawl_tls_ops.accept(serving);
    struct pawl_tls_peer peer;

    (void)state;
    tls_settle(here, there, 4096);
    assert_int_equal(pawl_tls_ops.state(here), PAWL_TLS_OPEN);
    pawl_tls_ops.peer(there, &peer);
    assert_true(peer.has_certificate);
    assert_string_equal(peer.sans[0], "dns:node.pawl");
    pawl_tls_ops.close(here);
    pawl_tls_ops.close(there);

    here = pawl_tls_ops.connect(set->engine, "node.pawl"); /* to the engine nothing is shown */
    there = pawl_tls_ops.accept(serving);
    tls_settle(here, there, 4096);
    pawl_tls_ops.peer(there, &peer);
    assert_false(peer.has_certificate);
    pawl_tls_ops.close(here);
    pawl_tls_ops.close(there);
    pawl_tls_context_unref(serving);
    assert_string_equal(set->password, "hush");
    assert_string_equal(set->sentinel_password, "");
}

static void in_clear_and_alone_there_is_nothing_to_show(void **state)
{
    const struct pawl_outward_set *set;

    (void)state;
    world.redis.secure = false;
    world.settings.cluster.advertise_address.kind = PAWL_ADDRESS_UNIX;
    set = start();
    assert_null(set->engine);
    assert_null(set->peers);
    world.settings.cluster.on = false;
    world.settings.cluster.password_file = "/nowhere";
    set = start();
    assert_string_equal(set->password, "");
}

static void a_reload_brings_new_files_or_changes_nothing(void **state)
{
    const struct pawl_outward_set *set = start();
    struct pawl_reload_part part = pawl_outward_part(&world.outward);
    struct pawl_tls_context *before = set->engine;
    struct pawl_error error = { PAWL_OK, 0, "" };

    (void)state;
    struct pawl_outward_set copy;

    write_file(world.password, "louder", 0600);
    assert_int_equal(part.prepare(part.self, &world.settings, &world.settings, &error), PAWL_OK);
    assert_string_equal(set->password, "hush"); /* not yet */
    pawl_outward_get(&world.outward, &copy);
    part.commit(part.self);
    assert_string_equal(copy.password, "hush"); /* whoever had it still has it, the contexts too */
    assert_ptr_equal(copy.engine, before);
    assert_true(pawl_tls_ops.expires_s(copy.peers) > 0);
    pawl_outward_put(&copy);
    assert_string_equal(copy.password, "");
    assert_null(copy.engine);
    assert_int_equal(world.changes, 1);
    assert_ptr_equal(world.told, set);
    assert_string_equal(set->password, "louder");
    assert_ptr_not_equal(set->engine, before);

    before = set->engine;
    write_file(world.ca.certificate_file, "nothing", 0600);
    assert_int_not_equal(part.prepare(part.self, &world.settings, &world.settings, &error),
                         PAWL_OK);
    assert_ptr_equal(set->engine, before);
    assert_string_equal(set->password, "louder");
    assert_int_equal(world.changes, 1);
    assert_null(world.outward.next.engine);
}

static void a_file_that_cannot_be_used_is_named_with_its_setting(void **state)
{
    (void)state;
    world.settings.cluster.password_file = "/nowhere/at/all";
    assert_refused(PAWL_ENOENT, "cluster.password_file: ");
    world.settings.cluster.password_file = world.empty;
    assert_refused(PAWL_EINVAL, "is empty; write the password into it");
    world.settings.cluster.password_file = "";
    world.settings.cluster.sentinel_password_file = world.password;
    assert_int_equal(chmod(world.password, 0644), 0);
    assert_refused(PAWL_EPERM, "cluster.sentinel.password_file: ");
    world.settings.cluster.sentinel_password_file = "";
    world.settings.cluster.tls_ca = world.empty;
    assert_refused(PAWL_EINVAL, "cluster.tls: ca ");
    world.settings.cluster.tls_ca = world.ca.certificate_file;
    world.settings.tls.key = world.other_ca.key_file;
    assert_refused(PAWL_EINVAL, "tls: key ");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        TEST(members_show_each_other_their_certificates),
        TEST(in_clear_and_alone_there_is_nothing_to_show),
        TEST(a_reload_brings_new_files_or_changes_nothing),
        TEST(a_file_that_cannot_be_used_is_named_with_its_setting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
