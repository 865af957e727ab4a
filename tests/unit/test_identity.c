/* edge/identity: what a proof is worth, where, and for how long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "edge/handler.h"
#include "edge/identity.h"

#define ALL    (PAWL_ROLE_CHECK | PAWL_ROLE_READ | PAWL_ROLE_REVOKE | PAWL_ROLE_ADMIN)
#define SECRET "0123456789abcdef"

static const uint8_t key[PAWL_DIGEST_BYTES] = { 7 };

static struct pawl_bytes text(const char *from)
{
    return pawl_bytes_of((const uint8_t *)from, strlen(from));
}

/** Two clients, two credentials; a test changes them before guard_of(). */
struct entries {
    struct pawl_client_settings clients[3];
    struct pawl_credential_settings credentials[2];
    struct pawl_bytes secrets[2];
    const char *ns_a[1], *ns_b[1], *everywhere[1];
    struct pawl_settings settings;
};

static void entries_init(struct entries *entries)
{
    memset(entries, 0, sizeof(*entries));
    entries->ns_a[0] = "a";
    entries->ns_b[0] = "b";
    entries->everywhere[0] = "*";
    entries->clients[0] =
        (struct pawl_client_settings){ "dns:One.example", PAWL_ROLE_ADMIN, { entries->ns_a, 1 } };
    entries->clients[1] =
        (struct pawl_client_settings){ "ip:0:0::1", PAWL_ROLE_CHECK, { entries->ns_b, 1 } };
    entries->clients[2] =
        (struct pawl_client_settings){ "uri:x:y", PAWL_ROLE_READ, { entries->everywhere, 1 } };
    entries->credentials[0] =
        (struct pawl_credential_settings){ "web", "f", PAWL_ROLE_CHECK, { entries->ns_a, 1 } };
    entries->credentials[1] =
        (struct pawl_credential_settings){ "ops", "f", ALL, { entries->everywhere, 1 } };
    entries->secrets[0] = text(SECRET);
    entries->secrets[1] = text("another secret of some length");
    entries->settings.tls.clients = entries->clients;
    entries->settings.tls.client_count = 3;
    entries->settings.credentials = entries->credentials;
    entries->settings.credential_count = 2;
}

static struct pawl_guard *guard_of(const struct entries *entries, struct pawl_error *error)
{
    const struct pawl_guard_options options = { .settings = &entries->settings,
                                                .key = key,
                                                .secrets = entries->secrets };

    return pawl_guard_create(&options, error);
}

static struct pawl_tls_peer peer_of(const char *first, const char *second)
{
    struct pawl_tls_peer peer = { .has_certificate = true, .san_count = second == NULL ? 1 : 2 };

    (void)snprintf(peer.sans[0], sizeof(peer.sans[0]), "%s", first);
    (void)snprintf(peer.sans[1], sizeof(peer.sans[1]), "%s", second == NULL ? "" : second);
    return peer;
}

/** Roles in @ns, or 0 where it may not enter. */
static unsigned roles_in(struct pawl_identity *identity, const char *ns)
{
    return pawl_identity_enter(identity, text(ns)) ? identity->roles : 0;
}

static void roles_count_together_with_their_namespaces(void **state)
{
    struct entries entries;
    struct pawl_identity identity;
    struct pawl_tls_peer peer = peer_of("dns:one.example", "ip:::1");

    (void)state;
    entries_init(&entries);
    struct pawl_guard *guard = guard_of(&entries, NULL);

    assert_non_null(guard);
    pawl_identity_init(&identity, ALL, PAWL_ROLE_READ, false);
    assert_int_equal(roles_in(&identity, "a"), PAWL_ROLE_READ);
    assert_int_equal(pawl_identity_certify(&identity, guard, &peer), PAWL_OK);
    for (int i = 0; i < 3; i++) { /* in any order, from its memory of the last one too */
        assert_int_equal(roles_in(&identity, "a"), PAWL_ROLE_ADMIN);
        assert_int_equal(roles_in(&identity, "a"), PAWL_ROLE_ADMIN);
        assert_int_equal(roles_in(&identity, "b"), PAWL_ROLE_CHECK);
        assert_int_equal(roles_in(&identity, "ab"), 0);
        assert_int_equal(roles_in(&identity, ""), 0);
    }
    pawl_identity_deinit(&identity);
    pawl_guard_unref(guard);
}

static void a_name_matches_whole_and_by_its_kind(void **state)
{
    static const char *const names[] = { "dns:one.example.evil", "dns:one.exampl",
                                         "uri:one.example",      "dns:",
                                         "email:one.example",    "ip:::2",
                                         "one.example" };
    struct entries entries;

    (void)state;
    entries_init(&entries);
    struct pawl_guard *guard = guard_of(&entries, NULL);

    assert_non_null(guard);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct pawl_tls_peer peer = peer_of(names[i], NULL);
        struct pawl_identity identity;

        pawl_identity_init(&identity, ALL, 0, false);
        assert_int_equal(pawl_identity_certify(&identity, guard, &peer), PAWL_EPERM);
        assert_int_equal(roles_in(&identity, "a"), 0);
        pawl_identity_deinit(&identity);
    }
    pawl_guard_unref(guard);
}

static void a_secret_matches_whole_and_with_its_own_id(void **state)
{
    static const struct {
        const char *id, *secret;
        enum pawl_status status;
    } cases[] = { { "web", SECRET, PAWL_OK },        { "web", "0123456789abcde", PAWL_EPERM },
                  { "web", SECRET "0", PAWL_EPERM }, { "web", "", PAWL_EPERM },
                  { "ops", SECRET, PAWL_EPERM },     { "we", SECRET, PAWL_EPERM },
                  { "webx", SECRET, PAWL_EPERM },    { "", SECRET, PAWL_EPERM },
                  { "uri:x:y", SECRET, PAWL_EPERM }, { "nobody", "", PAWL_EPERM } };
    struct entries entries;

    (void)state;
    entries_init(&entries);
    struct pawl_guard *guard = guard_of(&entries, NULL);

    assert_non_null(guard);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pawl_identity identity;

        pawl_identity_init(&identity, ALL, 0, false);
        assert_int_equal(pawl_identity_credit(&identity, guard, text(cases[i].id),
                                              text(cases[i].secret)),
                         cases[i].status);
        assert_int_equal(roles_in(&identity, "a"),
                         cases[i].status == PAWL_OK ? PAWL_ROLE_CHECK : 0);
        pawl_identity_deinit(&identity);
    }
    pawl_guard_unref(guard);
}

static void a_proof_replaces_anonymous_adds_to_a_uid_and_never_widens_a_listener(void **state)
{
    struct entries entries;
    struct pawl_identity identity;

    (void)state;
    entries_init(&entries);
    struct pawl_guard *guard = guard_of(&entries, NULL);

    assert_non_null(guard);
    pawl_identity_init(&identity, ALL, PAWL_ROLE_READ, false);
    assert_int_equal(pawl_identity_credit(&identity, guard, text("web"), text(SECRET)), PAWL_OK);
    assert_int_equal(roles_in(&identity, "a"), PAWL_ROLE_CHECK);
    assert_int_equal(roles_in(&identity, "b"), 0);
    pawl_identity_deinit(&identity);
    pawl_identity_init(&identity, ALL, PAWL_ROLE_READ, true);
    assert_int_equal(pawl_identity_credit(&identity, guard, text("web"), text(SECRET)), PAWL_OK);
    assert_int_equal(roles_in(&identity, "a"), PAWL_ROLE_CHECK | PAWL_ROLE_READ);
    assert_int_equal(roles_in(&identity, "b"), PAWL_ROLE_READ);
    pawl_identity_deinit(&identity);
    pawl_identity_init(&identity, PAWL_ROLE_READ, ALL, false);
    assert_int_equal(roles_in(&identity, "a"), PAWL_ROLE_READ);
    assert_int_equal(pawl_identity_credit(&identity, guard, text("ops"),
                                          text("another secret of some length")),
                     PAWL_OK);
    assert_int_equal(roles_in(&identity, "anywhere"), PAWL_ROLE_READ);
    assert_true(identity.everywhere);
    pawl_identity_deinit(&identity);
    pawl_guard_unref(guard);
}

static void a_later_set_counts_for_those_who_are_there(void **state)
{
    struct entries entries;
    struct pawl_identity identity;
    struct pawl_tls_peer peer = peer_of("uri:x:y", NULL);

    (void)state;
    entries_init(&entries);
    struct pawl_guard *guard = guard_of(&entries, NULL);

    assert_non_null(guard);
    pawl_identity_init(&identity, ALL, 0, false);
    assert_int_equal(pawl_identity_certify(&identity, guard, &peer), PAWL_OK);
    assert_int_equal(pawl_identity_credit(&identity, guard, text("web"), text(SECRET)), PAWL_OK);
    entries.clients[2].role = PAWL_ROLE_REVOKE;
    struct pawl_guard *wider = guard_of(&entries, NULL);

    assert_int_equal(pawl_identity_renew(&identity, wider, &peer), PAWL_OK);
    assert_int_equal(roles_in(&identity, "a"), PAWL_ROLE_REVOKE | PAWL_ROLE_CHECK);
    entries.secrets[0] = text("not the secret of before");
    struct pawl_guard *changed = guard_of(&entries, NULL);

    assert_int_equal(pawl_identity_renew(&identity, changed, &peer), PAWL_EPERM);
    assert_int_equal(roles_in(&identity, "a"), PAWL_ROLE_REVOKE | PAWL_ROLE_CHECK);
    entries_init(&entries);
    entries.settings.tls.client_count = 2;
    struct pawl_guard *fewer = guard_of(&entries, NULL);

    assert_int_equal(pawl_identity_renew(&identity, fewer, &peer), PAWL_EPERM);
    pawl_identity_deinit(&identity);
    pawl_guard_unref(guard);
    pawl_guard_unref(wider);
    pawl_guard_unref(changed);
    pawl_guard_unref(fewer);
}

static void entries_that_mean_nothing_are_refused(void **state)
{
    struct entries entries;
    struct pawl_error error = { PAWL_OK, 0, "" };

    (void)state;
    entries_init(&entries);
    entries.clients[1].san = "ip:example.org";
    assert_null(guard_of(&entries, &error));
    assert_non_null(strstr(error.text, "no IP number"));
    entries_init(&entries);
    entries.secrets[1] = text("fifteen bytes!!");
    assert_null(guard_of(&entries, &error));
    assert_non_null(strstr(error.text, "15 bytes"));
    assert_null(strstr(error.text, "fifteen"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roles_count_together_with_their_namespaces),
        cmocka_unit_test(a_name_matches_whole_and_by_its_kind),
        cmocka_unit_test(a_secret_matches_whole_and_with_its_own_id),
        cmocka_unit_test(a_proof_replaces_anonymous_adds_to_a_uid_and_never_widens_a_listener),
        cmocka_unit_test(a_later_set_counts_for_those_who_are_there),
        cmocka_unit_test(entries_that_mean_nothing_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
