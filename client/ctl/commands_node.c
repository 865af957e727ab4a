#include "commands.h"
#include "memory.h"
#include "output.h"
#include "time_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define STATS_MAX   1024
#define MEMBERS_MAX 256

/* Ask for the figures that begin with @prefix. Exit code; @entries has room for STATS_MAX. */
static int stats_get(struct ctl *ctl, const char *prefix, struct pawl_stat_entry *entries,
                     size_t *count)
{
    struct pawl_stats_call call = { .struct_size = sizeof(call),
                                    .prefix = pawl_str(prefix),
                                    .now_ms = ctl->now_ms };
    struct pawl_stats_result result = { .struct_size = sizeof(result),
                                        .stats = entries,
                                        .stats_max = STATS_MAX };
    int rc = pawl_client_stats(ctl->client, &call, &result);

    if (rc != PAWL_RC_OK) {
        return ctl_failed(ctl, rc, &result.info);
    }
    *count = result.stat_count;
    if (result.stat_total > result.stat_count) {
        fprintf(stderr,
                "pawlctl: %s: the daemon has %zu figures, only %d are shown; name a prefix\n",
                ctl->options.command->name, result.stat_total, STATS_MAX);
    }
    return EXIT_YES;
}

static json_t *stat_json(const struct pawl_stat_entry *entry)
{
    return entry->is_text   ? output_text(entry->text, strlen(entry->text))
           : entry->is_flag ? json_boolean(entry->value != 0)
                            : output_number(entry->value);
}

static void stat_line(const struct pawl_stat_entry *entry)
{
    if (entry->is_text || entry->is_flag) {
        printf("%-32s %20s\n", entry->name,
               entry->is_text      ? entry->text
               : entry->value != 0 ? "yes"
                                   : "no");
    } else {
        printf("%-32s %20" PRIu64 "\n", entry->name, entry->value);
    }
}

int command_status(struct ctl *ctl)
{
    struct pawl_stat_entry *entries = memory_zeroed(STATS_MAX, sizeof(*entries));
    json_t *object = json_object();
    size_t count = 0;
    int code =
        stats_get(ctl, ctl->options.word_count > 0 ? ctl->options.words[0] : "", entries, &count);

    for (size_t i = 0; i < count && code == EXIT_YES; i++) {
        if (ctl->json) {
            json_object_set_new(object, entries[i].name, stat_json(&entries[i]));
        } else {
            stat_line(&entries[i]);
        }
    }
    if (ctl->json && code == EXIT_YES) {
        output_json(json_incref(object));
    }
    json_decref(object);
    memory_release(entries);
    return code;
}

static void uptime_text(uint64_t seconds, char *out, size_t capacity)
{
    if (seconds == 0) {
        (void)snprintf(out, capacity, "-");
    } else if (seconds >= 86400) {
        (void)snprintf(out, capacity, "%" PRIu64 "d%" PRIu64 "h", seconds / 86400,
                       seconds % 86400 / 3600);
    } else if (seconds >= 3600) {
        (void)snprintf(out, capacity, "%" PRIu64 "h%" PRIu64 "m", seconds / 3600,
                       seconds % 3600 / 60);
    } else {
        (void)snprintf(out, capacity, "%" PRIu64 "m%" PRIu64 "s", seconds / 60, seconds % 60);
    }
}

static json_t *member_json(const struct pawl_member_info *member, const char *node)
{
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:b}", "node", node, "address",
                     output_text_or_null(member->address, strlen(member->address)), "state",
                     output_text(member->state, strlen(member->state)), "version",
                     output_text_or_null(member->version, strlen(member->version)), "uptime_s",
                     output_number(member->uptime_s), "view", output_number(member->view), "frozen",
                     strcmp(member->state, "frozen") == 0);
}

int command_members(struct ctl *ctl)
{
    struct pawl_member_info *members = memory_zeroed(MEMBERS_MAX, sizeof(*members));
    struct pawl_members_call call = { .struct_size = sizeof(call), .now_ms = ctl->now_ms };
    struct pawl_members_result result = { .struct_size = sizeof(result),
                                          .members = members,
                                          .members_max = MEMBERS_MAX };
    json_t *array = json_array();
    int rc = pawl_client_members(ctl->client, &call, &result);
    int code = rc == PAWL_RC_OK ? EXIT_YES : ctl_failed(ctl, rc, &result.info);

    if (code == EXIT_YES && !ctl->json) {
        printf("%-32s %-28s %-8s %-10s %8s %12s\n", "node", "address", "state", "version", "uptime",
               "view");
    }
    for (size_t i = 0; i < result.member_count && code == EXIT_YES; i++) {
        char node[2 * sizeof(members->node) + 1];
        char uptime[48];

        hex_format(members[i].node, sizeof(members[i].node), node);
        uptime_text(members[i].uptime_s, uptime, sizeof(uptime));
        if (ctl->json) {
            json_array_append_new(array, member_json(&members[i], node));
        } else {
            printf("%-32s %-28s %-8s %-10s %8s %12" PRIx64 "\n", node,
                   members[i].address[0] != '\0' ? members[i].address : "-", members[i].state,
                   members[i].version, uptime, members[i].view);
        }
    }
    if (ctl->json && code == EXIT_YES) {
        output_json(json_pack("{s:o, s:O}", "view", output_number(result.view), "members", array));
    }
    json_decref(array);
    memory_release(members);
    return code;
}

int command_thaw(struct ctl *ctl)
{
    struct pawl_thaw_call call = { .struct_size = sizeof(call),
                                   .lost_since_s =
                                       option_seconds(&ctl->options, OPTION_LOST_SINCE_ID),
                                   .actor = ctl_str(ctl, OPTION_ACTOR_ID),
                                   .now_ms = ctl->now_ms };
    struct pawl_thaw_result result = { .struct_size = sizeof(result) };
    char cutoff[TIME_TEXT_BYTES];
    int rc = pawl_client_thaw(ctl->client, &call, &result);

    if (rc != PAWL_RC_OK) {
        return ctl_failed(ctl, rc, &result.info);
    }
    if (ctl->json) {
        output_json(json_pack(
            "{s:o, s:o, s:o, s:o}", "facts_kept", output_number(result.facts_kept), "families_kept",
            output_number(result.families_kept), "cutoff_ms", output_number(result.cutoff_ms),
            "set_aside", output_text_or_null(result.set_aside.data, result.set_aside.size)));
        return EXIT_YES;
    }
    time_text_format(result.cutoff_ms / 1000, cutoff);
    puts("thawed");
    output_line("  facts kept", "%" PRIu64, result.facts_kept);
    output_line("  families kept", "%" PRIu64, result.families_kept);
    output_line("  refused up to", "%s", cutoff);
    if (result.set_aside.size > 0) {
        output_line("  set aside", "%.*s", (int)result.set_aside.size, result.set_aside.data);
    }
    return EXIT_YES;
}

int command_ping(struct ctl *ctl)
{
    struct pawl_ping_call call = { .struct_size = sizeof(call), .now_ms = ctl->now_ms };
    struct pawl_ping_result result = { .struct_size = sizeof(result) };
    int rc = pawl_client_ping(ctl->client, &call, &result);

    if (rc != PAWL_RC_OK) {
        return ctl_failed(ctl, rc, &result.info);
    }
    if (ctl->json) {
        output_json(json_pack("{s:b}", "answered", 1));
    } else {
        puts("answered");
    }
    return EXIT_YES;
}

/* "token", "family": the commands that begin with @word. False: none does. */
static bool help_group(const char *word)
{
    bool found = false;

    for (int id = COMMAND_NONE + 1; id < COMMAND_COUNT; id++) {
        const struct command_spec *command = command_spec((enum command_id)id);
        size_t size = strlen(word);

        if (strncmp(command->name, word, size) == 0 && command->name[size] == ' ') {
            (void)printf("  %-14s %s\n", command->name, command->summary);
            found = true;
        }
    }
    if (found) {
        (void)printf("\npawlctl help %s ... says more of each.\n", word);
    }
    return found;
}

int command_help(struct ctl *ctl)
{
    uint32_t used = 0;
    const struct command_spec *command = NULL;

    if (ctl->options.word_count > 0) {
        command = command_find(ctl->options.words, ctl->options.word_count, &used);
        if (command == NULL && ctl->options.word_count == 1 && help_group(ctl->options.words[0])) {
            return EXIT_YES;
        }
        if (command == NULL) {
            return ctl_usage(ctl, "help: no such command", "pawlctl --help lists all of them");
        }
    }
    options_help(stdout, command);
    return EXIT_YES;
}
