/* ops/reload: a reload is taken whole, or nothing of it. */
#include "settings_loaded.h"

#include "ops/reload.h"

#define PARTS 3

/** A part that keeps what it last committed, and can be told to refuse. */
struct part {
    struct rig *rig;
    unsigned limits;      /* in use */
    unsigned next_limits; /* prepared */
    bool prepared;
    bool refuses;
    unsigned commits, aborts;
    char order; /* 'a' + its index, appended to the rig's tale */
};

struct rig {
    struct pawl_reload reload;
    struct pawl_settings *settings;
    struct pawl_problems problems;
    struct pawl_clock clock;
    struct pawl_log log;
    struct part parts[PARTS];
    const char *text; /* of the config at the next load */
    char tale[64];    /* "abcABC": prepared (small), committed (capital), aborted ('-' before) */
    char event[64];   /* the last one that was logged */
    char by[32], why[PAWL_PROBLEM_TEXT_BYTES], part[32];
};

static struct pawl_now read_clock(void *self)
{
    struct pawl_now now = { .wall = { 1800000000 } };

    (void)self;
    return now;
}

static void take_text(char *out, size_t size, const struct pawl_field *field, const char *name)
{
    if (field->type == PAWL_FIELD_TEXT && strcmp(field->name, name) == 0) {
        (void)snprintf(out, size, "%s", field->value.text);
    }
}

static void on_event(void *self, enum pawl_log_level level, const char *event,
                     const struct pawl_field *fields, unsigned count)
{
    struct rig *rig = self;

    (void)level;
    (void)snprintf(rig->event, sizeof(rig->event), "%s", event);
    for (unsigned i = 0; i < count; i++) {
        take_text(rig->by, sizeof(rig->by), &fields[i], "by");
        take_text(rig->why, sizeof(rig->why), &fields[i], "why");
        take_text(rig->part, sizeof(rig->part), &fields[i], "part");
    }
}

static void tell(const struct part *part, const char *what)
{
    struct rig *rig = part->rig;

    (void)strncat(rig->tale, what, sizeof(rig->tale) - strlen(rig->tale) - 1);
}

static enum pawl_status prepare(void *self, const struct pawl_settings *fresh,
                                const struct pawl_settings *current, struct pawl_error *error)
{
    struct part *part = self;
    char letter[2] = { part->order, '\0' };

    assert_false(part->prepared);
    assert_ptr_equal(current, part->rig->settings);
    if (part->refuses) {
        return pawl_error_set(error, PAWL_EPERM, 0, "part %c does not like it", part->order);
    }
    tell(part, letter);
    part->prepared = true;
    part->next_limits = fresh->limit_count;
    return PAWL_OK;
}

static void commit(void *self)
{
    struct part *part = self;
    char letter[2] = { (char)(part->order - 'a' + 'A'), '\0' };

    assert_true(part->prepared);
    tell(part, letter);
    part->prepared = false;
    part->limits = part->next_limits;
    part->commits++;
}

static void abort_part(void *self)
{
    struct part *part = self;
    char letter[3] = { '-', part->order, '\0' };

    assert_true(part->prepared);
    tell(part, letter);
    part->prepared = false;
    part->aborts++;
}

static enum pawl_status load_again(void *ctx, struct pawl_problems *problems,
                                   struct pawl_settings **fresh)
{
    struct rig *rig = ctx;
    struct loaded *loaded = load(rig->text);
    enum pawl_status status = loaded->status;

    *problems = loaded->problems;
    *fresh = loaded->settings;
    loaded->settings = NULL;
    done(loaded);
    return status;
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    struct loaded *loaded = load("limits: {a: {rate: 1/hour}}");

    assert_non_null(rig);
    assert_good(loaded);
    rig->settings = loaded->settings;
    loaded->settings = NULL;
    done(loaded);
    rig->clock.read = read_clock;
    rig->log = (struct pawl_log){ on_event, rig };
    const struct pawl_reload_options options = {
        load_again, rig, &rig->settings, &rig->problems, &rig->clock, &rig->log, NULL,
    };

    pawl_reload_init(&rig->reload, &options);
    for (unsigned i = 0; i < PARTS; i++) {
        static const char *const names[PARTS] = { "one", "two", "three" };
        const struct pawl_reload_part part = { names[i], prepare, commit, abort_part,
                                               &rig->parts[i] };

        rig->parts[i].rig = rig;
        rig->parts[i].order = (char)('a' + i);
        rig->parts[i].limits = 1;
        pawl_reload_add(&rig->reload, &part);
    }
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;

    pawl_settings_destroy(rig->settings);
    free(rig);
    return 0;
}

struct figures {
    uint64_t reloads, failures, generation, last_s;
    bool good;
};

static void on_number(void *self, const char *name, uint64_t value)
{
    struct figures *figures = self;

    figures->reloads = strcmp(name, "reloads") == 0 ? value : figures->reloads;
    figures->failures = strcmp(name, "reload_failures") == 0 ? value : figures->failures;
    figures->generation = strcmp(name, "config_generation") == 0 ? value : figures->generation;
    figures->last_s = strcmp(name, "reload_last_success_unix_s") == 0 ? value : figures->last_s;
}

static void on_flag(void *self, const char *name, bool value)
{
    struct figures *figures = self;

    figures->good = strcmp(name, "reload_ok") == 0 ? value : figures->good;
}

static struct figures figures_of(struct rig *rig)
{
    struct figures figures = { 0 };
    const struct pawl_stats_sink sink = { on_number, on_flag, NULL, &figures };

    pawl_reload_stats(&rig->reload, &sink);
    return figures;
}

static void all_parts_prepare_before_any_commits(void **state)
{
    struct rig *rig = *state;

    rig->text = "limits: {a: {rate: 1/hour}, b: {rate: 1/hour}}";
    assert_int_equal(pawl_reload_run(&rig->reload, "signal"), PAWL_OK);
    assert_string_equal(rig->tale, "abcABC");
    assert_int_equal(rig->settings->limit_count, 2);
    for (unsigned i = 0; i < PARTS; i++) {
        assert_int_equal(rig->parts[i].limits, 2);
    }
    assert_string_equal(rig->event, "reloaded");
    assert_string_equal(rig->by, "signal");
}

static void when_one_part_refuses_no_part_has_changed(void **state)
{
    struct rig *rig = *state;
    struct pawl_settings *before = rig->settings;

    rig->text = "limits: {a: {rate: 1/hour}, b: {rate: 1/hour}}";
    for (unsigned refusing = 0; refusing < PARTS; refusing++) {
        rig->parts[refusing].refuses = true;
        assert_int_equal(pawl_reload_run(&rig->reload, "watch"), PAWL_EPERM);
        rig->parts[refusing].refuses = false;
        assert_ptr_equal(rig->settings, before);
        for (unsigned i = 0; i < PARTS; i++) {
            assert_int_equal(rig->parts[i].limits, 1);
            assert_int_equal(rig->parts[i].commits, 0);
            assert_false(rig->parts[i].prepared);
        }
        assert_string_equal(rig->event, "reload_refused");
    }
    assert_string_equal(rig->part, "three");
    assert_string_equal(rig->why, "part c does not like it");
    assert_string_equal(rig->tale, "a-aab-b-a"); /* undone last first */
}

static void a_bad_file_reaches_no_part(void **state)
{
    struct rig *rig = *state;
    struct pawl_settings *before = rig->settings;

    rig->text = "limits: {a: {rate: 1/fortnight}}";
    assert_int_equal(pawl_reload_run(&rig->reload, "signal"), PAWL_EINVAL);
    assert_string_equal(rig->tale, "");
    assert_ptr_equal(rig->settings, before);
    assert_non_null(strstr(rig->why, "fortnight"));
}

static void a_setting_that_needs_a_restart_reaches_no_part(void **state)
{
    struct rig *rig = *state;

    rig->text = "memory_max: 99MiB";
    assert_int_equal(pawl_reload_run(&rig->reload, "signal"), PAWL_EINVAL);
    assert_string_equal(rig->tale, "");
    assert_string_equal(rig->why, "these need a restart: memory_max");
}

static void figures_tell_of_the_last_reload(void **state)
{
    struct rig *rig = *state;
    struct figures figures = figures_of(rig);

    assert_true(figures.good && figures.generation == 1 && figures.last_s == 1800000000);
    rig->text = "limits: {a: {rate: 1/fortnight}}";
    (void)pawl_reload_run(&rig->reload, "signal");
    figures = figures_of(rig);
    assert_false(figures.good);
    assert_true(figures.failures == 1 && figures.generation == 1 && figures.reloads == 0);
    rig->text = "limits: {}";
    (void)pawl_reload_run(&rig->reload, "signal");
    figures = figures_of(rig);
    assert_true(figures.good);
    assert_true(figures.failures == 1 && figures.generation == 2 && figures.reloads == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_parts_prepare_before_any_commits, setup, teardown),
        cmocka_unit_test_setup_teardown(when_one_part_refuses_no_part_has_changed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_bad_file_reaches_no_part, setup, teardown),
        cmocka_unit_test_setup_teardown(a_setting_that_needs_a_restart_reaches_no_part, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(figures_tell_of_the_last_reload, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
