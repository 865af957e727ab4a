/*
 * import: revocations from lines of JSON, many in flight, so that they share commits.
 */
#include "commands.h"
#include "facts.h"
#include "memory.h"
#include "output.h"
#include "progress.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>

#define IN_FLIGHT  256
#define LINE_BYTES 65536
#define SAID_MAX   20 /* complaints in full */

struct import {
    struct ctl *ctl;
    FILE *in;
    struct progress progress;
    enum pawl_level level;
    uint64_t line;  /* read last */
    uint64_t bytes; /* read */
    uint64_t taken;
    uint64_t skipped; /* headings, cancels, blank lines */
    uint64_t refused;
    unsigned in_flight;
    bool stopped; /* nobody answers: no use in going on */
};

/** One revocation under way. */
struct flight {
    struct import *import;
    uint64_t line;
};

static void complain(struct import *import, uint64_t line, const char *what)
{
    if (import->refused++ < SAID_MAX) {
        fprintf(stderr, "pawlctl: import: line %" PRIu64 ": %s\n", line, what);
    }
}

static void on_answer(void *data, const struct pawl_answer *answer)
{
    struct flight *flight = data;
    struct import *import = flight->import;

    import->in_flight--;
    if (answer->rc == PAWL_RC_OK && answer->of.revoke->acknowledged >= answer->of.revoke->asked) {
        import->taken++;
    } else {
        const char *text = answer->of.revoke->info.text;

        complain(import, flight->line, text[0] != '\0' ? text : pawl_rc_text(answer->rc));
        import->stopped =
            import->stopped || (answer->rc != PAWL_RC_OK && answer->rc != PAWL_RC_INVALID &&
                                answer->rc != PAWL_RC_TOO_BIG);
    }
    flight->import = NULL;
}

/* Wait until fewer than @below are under way. */
static void drain(struct import *import, unsigned below)
{
    struct pawl_client *client = import->ctl->client;

    pawl_client_flush(client);
    while (import->in_flight >= below && import->in_flight > 0) {
        struct pollfd wait = { pawl_client_fd(client), POLLIN, 0 };

        if (poll(&wait, 1, pawl_client_timeout_ms(client)) < 0 && errno != EINTR) {
            import->stopped = true;
            return;
        }
        (void)pawl_client_process(client, wait.revents);
    }
}

static struct flight *flight_find(struct flight *flights)
{
    for (unsigned i = 0; i < IN_FLIGHT; i++) {
        if (flights[i].import == NULL) {
            return &flights[i];
        }
    }
    return NULL;
}

static void submit(struct import *import, struct flight *flights, struct fact_line *line)
{
    struct flight *flight = NULL;
    int rc;

    if (import->in_flight >= IN_FLIGHT) {
        drain(import, IN_FLIGHT / 2);
    }
    flight = flight_find(flights);
    if (flight == NULL) { /* only when waiting failed */
        return;
    }
    line->call.level = import->level;
    flight->import = import;
    flight->line = import->line;
    rc = pawl_client_submit_revoke(import->ctl->client, &line->call, on_answer, flight, NULL);
    if (rc != PAWL_RC_OK) {
        flight->import = NULL;
        complain(import, import->line, pawl_rc_text(rc));
        return;
    }
    import->in_flight++;
}

/* False at the end of the input, or of the use of going on. */
static bool line_next(struct import *import, struct flight *flights, char *text)
{
    struct fact_line line;
    char error[PAWL_TEXT_BYTES] = "";
    size_t size;

    if (import->stopped || fgets(text, LINE_BYTES, import->in) == NULL) {
        return false;
    }
    size = strlen(text);
    import->line++;
    import->bytes += size;
    if (size == LINE_BYTES - 1 && text[size - 1] != '\n') {
        complain(import, import->line, "longer than 64 KiB; nothing behind it was read");
        return false;
    }
    if (!fact_line_read(&line, text, size, error)) {
        complain(import, import->line, error);
    } else if (line.object == NULL) {
        import->skipped++;
    } else {
        submit(import, flights, &line);
        fact_line_end(&line);
    }
    progress_step(&import->progress, import->bytes, import->taken);
    return true;
}

static int import_run(struct import *import)
{
    struct flight *flights = memory_zeroed(IN_FLIGHT, sizeof(*flights));
    char *text = memory_zeroed(LINE_BYTES, 1);
    struct stat file;
    uint64_t total = 0;

    if (fstat(fileno(import->in), &file) == 0 && S_ISREG(file.st_mode)) {
        total = (uint64_t)file.st_size;
    }
    progress_begin(&import->progress, "facts", total,
                   option_given(&import->ctl->options, OPTION_PROGRESS_ID));
    while (line_next(import, flights, text)) {
    }
    drain(import, 1);
    progress_end(&import->progress, import->bytes, import->taken);
    if (import->in_flight > 0) { /* their callbacks need the flights: have them now */
        pawl_client_destroy(import->ctl->client);
        import->ctl->client = NULL;
    }
    memory_release(text);
    memory_release(flights);
    if (ferror(import->in) != 0) {
        fprintf(stderr, "pawlctl: import: %s\n", strerror(errno));
        import->stopped = true;
    }
    return import->stopped ? EXIT_UNKNOWN : import->refused > 0 ? EXIT_NO : EXIT_YES;
}

static void import_print(const struct import *import)
{
    if (import->refused > SAID_MAX) {
        fprintf(stderr, "pawlctl: import: and %" PRIu64 " lines more\n",
                import->refused - SAID_MAX);
    }
    if (import->stopped) {
        fprintf(stderr,
                "pawlctl: import: stopped near line %" PRIu64 "; import the same file again, what "
                "is held already does no harm\n",
                import->line);
    }
    if (import->ctl->json) {
        output_json(json_pack("{s:o, s:o, s:o, s:b}", "taken", output_number(import->taken),
                              "refused", output_number(import->refused), "skipped",
                              output_number(import->skipped), "complete", !import->stopped));
    } else {
        printf("taken %" PRIu64 ", refused %" PRIu64 "\n", import->taken, import->refused);
    }
}

int command_import(struct ctl *ctl)
{
    struct import import = { .ctl = ctl, .in = stdin };
    const char *path = ctl->options.word_count > 0 ? ctl->options.words[0] : NULL;
    int code = ctl_level_read(ctl, &import.level);

    if (code != EXIT_YES) {
        return code;
    }
    if (path != NULL && strcmp(path, "-") != 0) {
        import.in = fopen(path, "r");
        if (import.in == NULL) {
            char what[OPTION_TEXT_MAX];

            snprintf(what, sizeof(what), "%.120s: %s", path, strerror(errno));
            return ctl_usage(ctl, what, "");
        }
    }
    code = import_run(&import);
    import_print(&import);
    if (import.in != stdin) {
        (void)fclose(import.in);
    }
    return code;
}
