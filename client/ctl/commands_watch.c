/*
 * watch and export: revocations as lines, those that come and those that are held.
 */
#include "commands.h"
#include "facts.h"
#include "memory.h"
#include "output.h"
#include "progress.h"
#include "time_text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define CURSORS_MAX 16

/** How far one has come, and the page at hand. */
struct follower {
    struct ctl *ctl;
    struct pawl_fact_info *facts; /* PAWL_WATCH_FACTS of them */
    struct pawl_fact_name cursors[CURSORS_MAX];
    struct pawl_watch_result result;
    size_t cursor_count;
    bool snapshot; /* from the first fact held on */
    uint32_t wait_ms;
};

static void follower_begin(struct follower *follower, struct ctl *ctl)
{
    memset(follower, 0, sizeof(*follower));
    follower->ctl = ctl;
    follower->facts = memory_zeroed(PAWL_WATCH_FACTS, sizeof(*follower->facts));
}

/* The next page, and the cursors moved behind it. */
static int follower_next(struct follower *follower)
{
    struct pawl_fact_name cursors[CURSORS_MAX];
    struct pawl_watch_call call = { .struct_size = sizeof(call),
                                    .cursors = follower->cursors,
                                    .cursor_count = follower->cursor_count,
                                    .wait_ms = follower->wait_ms,
                                    .now_ms = follower->ctl->now_ms };
    int rc;

    memset(cursors, 0, sizeof(cursors));
    if (follower->snapshot && follower->cursor_count == 0) {
        call.flags = PAWL_WATCH_SNAPSHOT;
    }
    call.deadline_ms = follower->ctl->deadline_ms + follower->wait_ms;
    memset(&follower->result, 0, sizeof(follower->result));
    follower->result.struct_size = sizeof(follower->result);
    follower->result.facts = follower->facts;
    follower->result.facts_max = PAWL_WATCH_FACTS;
    follower->result.cursors = cursors;
    follower->result.cursors_max = CURSORS_MAX;
    rc = pawl_client_watch(follower->ctl->client, &call, &follower->result);
    if (rc != PAWL_RC_OK) {
        return ctl_failed(follower->ctl, rc, &follower->result.info);
    }
    if (follower->result.cursor_count > 0) {
        follower->cursor_count = follower->result.cursor_count;
        memcpy(follower->cursors, cursors, follower->cursor_count * sizeof(cursors[0]));
    }
    return EXIT_YES;
}

/* ---- watch --------------------------------------------------------------------------------- */

static void fact_line(const struct pawl_fact_info *fact)
{
    char at[TIME_TEXT_BYTES];
    char digest[2 * 8 + 1];

    time_text_format(fact->at_ms / 1000, at);
    if (fact->cancel_count > 0) {
        printf("%s  cancel     %u fact%s\n", at, fact->cancel_count,
               fact->cancel_count == 1 ? "" : "s");
        return;
    }
    printf("%s  %-10s %-12s ", at, pawl_revoke_scope_text(fact->scope), fact->ns.data);
    if (fact->scope == PAWL_REVOKE_SIGNED || fact->scope == PAWL_REVOKE_OPAQUE) {
        hex_format((const uint8_t *)fact->value.data, fact->value.size < 8 ? fact->value.size : 8,
                   digest);
        printf("%s...", digest);
    } else {
        for (uint32_t i = 0; i < fact->value.size; i++) { /* no control characters on a terminal */
            unsigned char c = (unsigned char)fact->value.data[i];

            putchar(c < ' ' || c == 0x7f ? '?' : c);
        }
    }
    printf("  %s\n", pawl_why_text(fact->reason));
}

static int since_read(struct follower *follower)
{
    const char *since = option_text(&follower->ctl->options, OPTION_SINCE_ID);

    follower->snapshot = option_given(&follower->ctl->options, OPTION_SNAPSHOT_ID);
    if (since == NULL) {
        return EXIT_YES;
    }
    if (follower->snapshot) {
        return ctl_usage(follower->ctl, "--since and --snapshot together", "give one of the two");
    }
    if (!fact_text_parse(since, &follower->cursors[0])) {
        return ctl_usage(follower->ctl, "--since: not the id of a fact",
                         "write one that watch --json or revoke printed");
    }
    follower->cursor_count = 1;
    return EXIT_YES;
}

/* Prints the page; true when the count that was asked for is reached. */
static bool page_print(const struct follower *follower, uint64_t *left)
{
    for (size_t i = 0; i < follower->result.fact_count; i++) {
        if (follower->ctl->json) {
            output_json(fact_json(&follower->facts[i]));
        } else {
            fact_line(&follower->facts[i]);
        }
        if (--*left == 0) {
            return true;
        }
    }
    return fflush(stdout) != 0; /* nobody reads any more */
}

int command_watch(struct ctl *ctl)
{
    struct follower follower;
    uint64_t left = option_number(&ctl->options, OPTION_COUNT_ID, UINT64_MAX);
    int code;

    if (left == 0) {
        return ctl_usage(ctl, "--count 0", "a watch ends after one fact at least");
    }
    follower_begin(&follower, ctl);
    code = since_read(&follower);
    /* Where it begins is asked for first, so that nothing is missed between two waits. */
    while (code == EXIT_YES) {
        code = follower_next(&follower);
        if (code != EXIT_YES) {
            break;
        }
        if (follower.result.gap) {
            fputs("pawlctl: watch: facts behind --since are gone; take an export\n", stderr);
            code = EXIT_UNKNOWN;
            break;
        }
        if (page_print(&follower, &left)) {
            break;
        }
        follower.wait_ms = follower.result.snapshot_end ? 30000 : 0;
    }
    memory_release(follower.facts);
    return code;
}

/* ---- export -------------------------------------------------------------------------------- */

/** Names of canceled facts, sorted once they are all there. */
struct canceled {
    struct pawl_fact_name *names;
    size_t count;
    size_t max;
};

static int name_compare(const void *left, const void *right)
{
    const struct pawl_fact_name *a = left;
    const struct pawl_fact_name *b = right;
    int order = memcmp(a->origin, b->origin, sizeof(a->origin));

    return order != 0 ? order : (a->sequence > b->sequence) - (a->sequence < b->sequence);
}

static void canceled_add(struct canceled *canceled, const struct pawl_fact_info *fact)
{
    for (uint32_t i = 0; i < fact->cancel_count; i++) {
        if (canceled->count == canceled->max) {
            size_t max = canceled->max == 0 ? 256 : 2 * canceled->max;
            struct pawl_fact_name *names = memory_zeroed(max, sizeof(*names));

            if (canceled->count > 0) {
                memcpy(names, canceled->names, canceled->count * sizeof(*names));
            }
            memory_release(canceled->names);
            canceled->names = names;
            canceled->max = max;
        }
        canceled->names[canceled->count++] = fact->cancels[i];
    }
}

static bool is_canceled(const struct canceled *canceled, const struct pawl_fact_name *id)
{
    return canceled->count > 0 && bsearch(id, canceled->names, canceled->count,
                                          sizeof(canceled->names[0]), name_compare) != NULL;
}

/* One walk over all facts: first to hear of cancels, then to print what they leave. */
static int walk(struct follower *follower, FILE *out, struct canceled *canceled, uint64_t *written,
                struct progress *progress)
{
    int code = EXIT_YES;

    follower->snapshot = true;
    follower->cursor_count = 0;
    do {
        code = follower_next(follower);
        for (size_t i = 0; i < follower->result.fact_count && code == EXIT_YES; i++) {
            const struct pawl_fact_info *fact = &follower->facts[i];

            if (out == NULL) {
                canceled_add(canceled, fact);
            } else if (fact->scope != PAWL_REVOKE_NONE && !is_canceled(canceled, &fact->id)) {
                json_t *object = fact_json(fact);

                (void)json_dumpf(object, out, JSON_COMPACT);
                (void)fputc('\n', out);
                json_decref(object);
                (*written)++;
            }
        }
        if (out != NULL) {
            progress_step(progress, 0, *written);
        }
    } while (code == EXIT_YES && !follower->result.snapshot_end);
    return code;
}

static int export_to(struct ctl *ctl, FILE *out)
{
    struct follower follower;
    struct canceled canceled = { NULL, 0, 0 };
    struct progress progress = { .on = false };
    uint64_t written = 0;
    int code;

    follower_begin(&follower, ctl);
    code = walk(&follower, NULL, &canceled, &written, &progress);
    if (code == EXIT_YES && canceled.count > 0) {
        qsort(canceled.names, canceled.count, sizeof(canceled.names[0]), name_compare);
    }
    if (code == EXIT_YES) {
        (void)fputs("{\"pawl_export\":1}\n", out);
        progress_begin(&progress, "facts", 0, option_given(&ctl->options, OPTION_PROGRESS_ID));
        code = walk(&follower, out, &canceled, &written, &progress);
        progress_end(&progress, 0, written);
    }
    memory_release(canceled.names);
    memory_release(follower.facts);
    return code;
}

int command_export(struct ctl *ctl)
{
    const char *path = option_text(&ctl->options, OPTION_OUT_ID);
    FILE *out = stdout;
    int code;

    if (path != NULL) { /* it names subjects: for its owner alone */
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

        out = fd >= 0 ? fdopen(fd, "w") : NULL;
    }
    if (out == NULL) {
        char what[OPTION_TEXT_MAX];

        snprintf(what, sizeof(what), "--out: %.120s: %s", path, strerror(errno));
        return ctl_usage(ctl, what, "an export does not overwrite a file");
    }
    code = export_to(ctl, out);
    bool torn = path != NULL && ferror(out) != 0;

    if (path != NULL && (fclose(out) != 0 || torn)) {
        fprintf(stderr, "pawlctl: export: %s is not whole: %s\n", path, strerror(errno));
        return EXIT_UNKNOWN;
    }
    return code;
}
