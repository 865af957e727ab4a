/*
 * For every setting: another value that it takes, how that is printed, and the test that sees its
 * effect: "integration:NAME" is in tests/integration, "unit_settings:NAME" in test_settings.c.
 * test_settings.c fails for a setting without a line here, for a line without a setting and for a
 * test that is not there.
 */
#ifndef TESTS_UNIT_SETTINGS_EFFECTS_H
#define TESTS_UNIT_SETTINGS_EFFECTS_H

#include <stddef.h>

struct setting_effect {
    const char *path;    /* of the table */
    const char *set;     /* an option of the command line that changes it, or NULL: tested apart */
    const char *printed; /* how its value is then printed; NULL with set NULL */
    const char *seen_by;
};

static const struct setting_effect setting_effects[] = {
    { "listen", NULL, NULL, "integration:test_roles_over_tcp_are_check_and_read" },
    { "listen.*.uri", NULL, NULL,
      "integration:test_a_limit_is_exact_over_unix_and_tcp_and_reconnects" },
    { "listen.*.role", NULL, NULL, "integration:test_a_listener_grants_its_role_only" },
    { "listen.*.mode", NULL, NULL, "integration:test_a_socket_has_the_mode_of_its_listener" },
    { "listen.*.insecure", NULL, NULL, "integration:test_plain_tcp_beyond_loopback_is_refused" },
    { "data_dir", "data_dir=/x", "\"/x\"", "integration:test_the_data_dir_is_private_and_locked" },
    { "secret_file", "secret_file=/s", "\"/s\"",
      "integration:test_the_secret_is_read_from_its_file" },
    { "secret_files", "secret_files=[/n, /o]", "[\"/n\", \"/o\"]",
      "integration:test_both_secrets_are_looked_up" },
    { "memory_max", "memory_max=8MiB", "8MiB",
      "integration:test_a_flood_of_keys_stays_under_the_ceiling" },
    { "revocations_max", "revocations_max=1024", "1024",
      "integration:test_revocations_beyond_the_maximum_are_refused" },
    { "limits", NULL, NULL, "integration:test_limits_are_listed" },
    { "limits.*.rate", "limits.l.rate=6/minute", "\"6/minute\"",
      "integration:test_reload_keeps_counts_and_a_bad_one_changes_nothing" },
    { "limits.*.name", "limits.l.name=m", "\"m\"",
      "integration:test_two_namespaces_have_a_limit_of_one_name" },
    { "limits.*.namespace", "limits.l.namespace=shop", "\"shop\"",
      "integration:test_a_limit_belongs_to_its_namespace" },
    { "limits.*.precision", "limits.l.precision=2", "2",
      "integration:test_precision_rules_how_late_room_opens" },
    { "limits.*.on_error", "limits.l.on_error=closed", "closed",
      "integration:test_limits_are_listed" },
    { "limits.*.when_full", "limits.l.when_full=closed", "closed",
      "integration:test_when_full_rules_new_keys" },
    { "limits.*.count_denied", "limits.l.count_denied=true", "true",
      "integration:test_count_denied_records_the_refused" },
    { "limits.*.consistency", "limits.l.consistency=exact", "exact",
      "integration:test_an_exact_limit_is_saved_before_the_answer" },
    { "limits.*.algorithm", NULL, NULL, "unit_settings:a_word_that_is_not_known_gets_a_hint" },
    { "tokens.max_lifetime", "tokens.max_lifetime=7d", "7d",
      "integration:test_a_token_that_lives_too_long_is_invalid" },
    { "tokens.skew", "tokens.skew=60s", "1m", "integration:test_exp_and_iat_have_the_skew" },
    { "tokens.staleness_max", "tokens.staleness_max=250ms", "250ms",
      "integration:test_stale_data_gives_what_when_stale_says" },
    { "tokens.when_stale", "tokens.when_stale=accept", "accept",
      "integration:test_stale_data_gives_what_when_stale_says" },
    { "tokens.stale_accept_max", NULL, NULL,
      "integration:test_stale_data_gives_what_when_stale_says" },
    { "tokens.older_than_store", "tokens.older_than_store=undecided", "undecided",
      "integration:test_a_token_older_than_the_store" },
    { "rotation.leeway", "rotation.leeway=0s", "0s",
      "integration:test_strict_mode_still_knows_the_retry" },
    { "rotation.mode", "rotation.mode=soft", "soft", "integration:test_soft_mode_only_says_raced" },
    { "rotation.on_reuse", "rotation.on_reuse=deny", "deny",
      "integration:test_on_reuse_rules_what_ends" },
    { "rotation.on_mismatch", "rotation.on_mismatch=revoke_family", "revoke_family",
      "integration:test_on_mismatch_may_end_the_family" },
    { "rotation.family_max", "rotation.family_max=90d", "90d",
      "integration:test_the_end_of_a_family_s_life_clamps_and_ends" },
    { "rotation.idle_max", "rotation.idle_max=36h", "36h", "integration:test_an_idle_family_ends" },
    { "rotation.adopt_before", "rotation.adopt_before=2025-12-31T23:59:59Z",
      "\"2025-12-31T23:59:59Z\"", "integration:test_adoption_has_a_deadline" },
    { "server.workers", "server.workers=3", "3", "integration:test_workers_are_as_many_as_set" },
    { "server.connections_max", "server.connections_max=7", "7",
      "integration:test_one_connection_over_connections_max_is_told_and_room_comes_back" },
    { "server.in_flight_max", "server.in_flight_max=8", "8",
      "integration:test_in_flight_max_is_in_hello_and_held" },
    { "server.output_max", "server.output_max=2MiB", "2MiB",
      "integration:test_answers_that_wait_are_capped" },
    { "server.buffers_max", "server.buffers_max=16MiB", "16MiB",
      "integration:test_buffers_of_all_connections_are_capped" },
    { "server.backlog", "server.backlog=5", "5", "integration:test_backlog_is_that_of_the_socket" },
    { "server.frame_timeout", "server.frame_timeout=200ms", "200ms",
      "integration:test_half_a_frame_is_closed_after_its_time" },
    { "server.write_timeout", "server.write_timeout=200ms", "200ms",
      "integration:test_unread_answers_are_closed_after_their_time" },
    { "server.idle_timeout", "server.idle_timeout=1h", "1h",
      "integration:test_an_idle_connection_is_closed_only_where_asked" },
    { "server.drain_timeout", "server.drain_timeout=1s", "1s",
      "integration:test_drain_ends_at_its_time" },
    { "server.tcp_keepalive", "server.tcp_keepalive=0s", "0s",
      "integration:test_tcp_sockets_have_keepalive_and_user_timeout_as_set" },
    { "server.tcp_user_timeout", "server.tcp_user_timeout=5s", "5s",
      "integration:test_tcp_sockets_have_keepalive_and_user_timeout_as_set" },
    { "store.queue_max", "store.queue_max=2048", "2048",
      "integration:test_writes_beyond_the_queue_are_refused" },
    { "store.batch_max", "store.batch_max=1", "1",
      "integration:test_batches_are_no_larger_than_set" },
    { "store.counters_interval", "store.counters_interval=100ms", "100ms",
      "integration:test_unsaved_counts_are_no_older_than_the_interval" },
    { "store.counters_write_max", "store.counters_write_max=1MiB", "1MiB",
      "integration:test_counters_are_written_no_faster_than_set" },
    { "log.level", "log.level=error", "error", "integration:test_the_log_level_silences" },
};

#endif
