/*
 * A store on a temporary directory with clocks made of variables, that remembers what it was
 * told. For the tests of the embedded store; each test program includes it once.
 */
#ifndef PAWL_TESTS_SUPPORT_STORE_RIG_H
#define PAWL_TESTS_SUPPORT_STORE_RIG_H

#include "adapter/sqlite/store.h"
#include "adapter/sys/data_dir.h"
#include "adapter/sys/entropy.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define RIG_FACTS_MAX 4096
#define RIG_NOW_S     1700000000
#define RIG_UNUSED    __attribute__((unused))

struct rig {
    char dir[64];
    int dir_fd;
    struct pawl_store_keys keys[2];
    unsigned keys_count;
    _Atomic uint64_t boottime_ns;
    _Atomic int64_t wall_us;
    _Atomic uint64_t stamp_floor_us;
    uint8_t boot_id[PAWL_BOOT_ID_BYTES];
    struct pawl_clock clock;
    struct pawl_entropy entropy;
    struct pawl_log log;
    struct pawl_store store;
    struct pawl_sqlite_options options;
    struct pawl_error error;
    /* what the store told */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    unsigned facts; /* all on_fact calls since open */
    char values[RIG_FACTS_MAX][24];
    enum pawl_scope scopes[RIG_FACTS_MAX];
    unsigned canceled;
    char remaining[24]; /* actor of what a cancel left */
    bool frozen;
    char reason[240];
    unsigned counters;
    uint64_t elapsed_ms; /* of the last counter */
    uint8_t counter[64]; /* the last counter */
    size_t counter_size;
    char last_event[64];
};

static RIG_UNUSED struct pawl_now rig_read(void *self)
{
    struct rig *rig = self;
    uint64_t wall_us = (uint64_t)atomic_load(&rig->wall_us);
    uint64_t floor = atomic_load(&rig->stamp_floor_us);

    return (struct pawl_now){
        .instant = { atomic_load(&rig->boottime_ns) },
        .wall = { (int64_t)(wall_us / 1000000) },
        .stamp = { wall_us > floor ? wall_us : floor },
    };
}

static RIG_UNUSED void rig_raise(void *self, struct pawl_stamp floor)
{
    struct rig *rig = self;

    if (floor.us > atomic_load(&rig->stamp_floor_us)) {
        atomic_store(&rig->stamp_floor_us, floor.us);
    }
}

static RIG_UNUSED void rig_on_fact(void *self, const struct pawl_fact *fact)
{
    struct rig *rig = self;
    size_t size = fact->value.size < 23 ? fact->value.size : 23;

    (void)pthread_mutex_lock(&rig->lock);
    if (rig->facts < RIG_FACTS_MAX) {
        if (size > 0) {
            memcpy(rig->values[rig->facts], fact->value.data, size);
        }
        rig->values[rig->facts][size] = '\0';
        rig->scopes[rig->facts] = fact->scope;
    }
    rig->facts++;
    (void)pthread_mutex_unlock(&rig->lock);
}

static RIG_UNUSED void rig_on_cancel(void *self, const struct pawl_fact *canceled,
                                     const struct pawl_fact *remaining)
{
    struct rig *rig = self;

    (void)canceled;
    (void)pthread_mutex_lock(&rig->lock);
    rig->canceled++;
    (void)snprintf(rig->remaining, sizeof(rig->remaining), "%.*s",
                   remaining != NULL ? (int)remaining->actor.size : 4,
                   remaining != NULL ? (const char *)remaining->actor.data : "none");
    (void)pthread_mutex_unlock(&rig->lock);
}

static RIG_UNUSED void rig_on_counter(void *self, struct pawl_bytes record, uint64_t elapsed_ms)
{
    struct rig *rig = self;

    rig->counters++;
    rig->elapsed_ms = elapsed_ms;
    rig->counter_size = record.size < sizeof(rig->counter) ? record.size : sizeof(rig->counter);
    memcpy(rig->counter, record.data, rig->counter_size);
}

static RIG_UNUSED void rig_on_frozen(void *self, bool frozen, const char *reason)
{
    struct rig *rig = self;

    (void)pthread_mutex_lock(&rig->lock);
    rig->frozen = frozen;
    (void)snprintf(rig->reason, sizeof(rig->reason), "%s", reason);
    (void)pthread_mutex_unlock(&rig->lock);
}

static RIG_UNUSED void rig_on_log(void *self, enum pawl_log_level level, const char *event,
                                  const struct pawl_field *fields, unsigned count)
{
    struct rig *rig = self;

    (void)level;
    (void)pthread_mutex_lock(&rig->lock);
    (void)snprintf(rig->last_event, sizeof(rig->last_event), "%s", event);
    (void)pthread_mutex_unlock(&rig->lock);
    if (getenv("PAWL_RIG_LOG") != NULL) {
        fprintf(stderr, "%s:", event);
        for (unsigned i = 0; i < count; i++) {
            if (fields[i].type == PAWL_FIELD_TEXT) {
                fprintf(stderr, " %s=%s", fields[i].name, fields[i].value.text);
            }
        }
        fprintf(stderr, "\n");
    }
}

static RIG_UNUSED void rig_init(struct rig *rig)
{
    uint8_t secret[PAWL_SECRET_BYTES];

    memset(rig, 0, sizeof(*rig));
    (void)snprintf(rig->dir, sizeof(rig->dir), "%s/pawl-store-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(rig->dir));
    rig->dir_fd = open(rig->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(rig->dir_fd >= 0);
    memset(secret, 7, sizeof(secret));
    pawl_store_keys_derive(&rig->keys[0], secret);
    memset(secret, 8, sizeof(secret));
    pawl_store_keys_derive(&rig->keys[1], secret);
    rig->keys_count = 1;
    atomic_store(&rig->boottime_ns, UINT64_C(1000000000000));
    atomic_store(&rig->wall_us, INT64_C(1000000) * RIG_NOW_S);
    memset(rig->boot_id, 3, sizeof(rig->boot_id));
    (void)pthread_mutex_init(&rig->lock, NULL);
    (void)pthread_cond_init(&rig->wake, NULL);
    rig->clock = (struct pawl_clock){ rig_read, rig_raise, rig };
    pawl_sys_entropy_init(&rig->entropy);
    rig->log = (struct pawl_log){ rig_on_log, rig };
    rig->options = (struct pawl_sqlite_options){
        .path = rig->dir,
        .dir_fd = rig->dir_fd,
        .clock = &rig->clock,
        .entropy = &rig->entropy,
        .log = &rig->log,
        .events = { rig_on_fact, rig_on_cancel, rig_on_counter, rig_on_frozen, rig },
        .interval_ms = 50,
    };
}

/* Remove every file in the directory. */
static RIG_UNUSED void rig_empty(struct rig *rig)
{
    DIR *dir = opendir(rig->dir);

    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (entry->d_name[0] != '.') {
            (void)unlinkat(rig->dir_fd, entry->d_name, 0);
        }
    }
    (void)closedir(dir);
}

static RIG_UNUSED void rig_deinit(struct rig *rig)
{
    rig_empty(rig);
    (void)close(rig->dir_fd);
    (void)rmdir(rig->dir);
    (void)pthread_mutex_destroy(&rig->lock);
    (void)pthread_cond_destroy(&rig->wake);
}

static RIG_UNUSED enum pawl_status rig_open(struct rig *rig)
{
    rig->facts = 0;
    rig->canceled = 0;
    rig->frozen = false;
    rig->reason[0] = '\0';
    rig->counters = 0;
    rig->options.keys = rig->keys;
    rig->options.keys_count = rig->keys_count;
    memcpy(rig->options.boot_id, rig->boot_id, sizeof(rig->boot_id));
    return pawl_sqlite_store_open(&rig->options, &rig->store, &rig->error);
}

static RIG_UNUSED void rig_must_open(struct rig *rig)
{
    enum pawl_status status = rig_open(rig);

    if (status != PAWL_OK) {
        print_error("open: %s\n", rig->error.text);
    }
    assert_int_equal(status, PAWL_OK);
}

static RIG_UNUSED void rig_close(struct rig *rig)
{
    rig->store.ops->close(rig->store.self);
}

/* ---- jobs, waited for ---- */

struct rig_job {
    struct pawl_job job; /* first: a decide function casts back */
    struct rig *rig;
    bool finished;
    bool found; /* family: there was a record */
    uint64_t generation;
};

static RIG_UNUSED void rig_done(struct pawl_job *job)
{
    struct rig_job *own = job->owner;

    (void)pthread_mutex_lock(&own->rig->lock);
    own->finished = true;
    (void)pthread_cond_broadcast(&own->rig->wake);
    (void)pthread_mutex_unlock(&own->rig->lock);
}

static RIG_UNUSED enum pawl_status rig_submit(struct rig *rig, struct rig_job *job)
{
    job->rig = rig;
    job->finished = false;
    job->job.done = rig_done;
    job->job.owner = job;
    return rig->store.ops->submit(rig->store.self, &job->job);
}

static RIG_UNUSED void rig_wait(struct rig *rig, struct rig_job *job)
{
    (void)pthread_mutex_lock(&rig->lock);
    while (!job->finished) {
        (void)pthread_cond_wait(&rig->wake, &rig->lock);
    }
    (void)pthread_mutex_unlock(&rig->lock);
}

static RIG_UNUSED enum pawl_status rig_run(struct rig *rig, struct rig_job *job)
{
    enum pawl_status status = rig_submit(rig, job);

    if (status == PAWL_OK) {
        rig_wait(rig, job);
        status = job->job.status;
    }
    return status;
}

static RIG_UNUSED struct pawl_bytes rig_text(const char *text)
{
    return pawl_bytes_of(text, strlen(text));
}

static RIG_UNUSED void rig_revocation(struct rig_job *job, const char *jti, uint64_t until_s)
{
    memset(job, 0, sizeof(*job));
    job->job.kind = PAWL_JOB_APPEND;
    job->job.fact = (struct pawl_fact){
        .kind = PAWL_FACT_REVOCATION,
        .scope = PAWL_SCOPE_TOKEN,
        .reason = PAWL_REASON_LOGOUT,
        .ns = rig_text("default"),
        .issuer = rig_text("iss"),
        .value = rig_text(jti),
        .actor = rig_text("me"),
        .at_ms = UINT64_C(1000) * RIG_NOW_S,
        .until_s = until_s,
    };
}

static RIG_UNUSED enum pawl_status rig_revoke(struct rig *rig, const char *jti)
{
    struct rig_job job;

    rig_revocation(&job, jti, RIG_NOW_S + 3600);
    return rig_run(rig, &job);
}

/* How often the store told of a fact about @value since it was opened. */
static RIG_UNUSED unsigned rig_told(struct rig *rig, const char *value)
{
    unsigned count = 0;

    (void)pthread_mutex_lock(&rig->lock);
    for (unsigned i = 0; i < rig->facts && i < RIG_FACTS_MAX; i++) {
        count += strcmp(rig->values[i], value) == 0 ? 1 : 0;
    }
    (void)pthread_mutex_unlock(&rig->lock);
    return count;
}

static RIG_UNUSED struct pawl_id rig_family_key(const struct rig *rig, const char *sid)
{
    return pawl_family_key(&rig->keys[0].facts, rig_text("default"), rig_text("iss"),
                           rig_text(sid));
}

/* Opens the family that the fact value of the job names, or makes a next version of it. */
static RIG_UNUSED void rig_decide(struct pawl_job *job, const struct pawl_family *old,
                                  struct pawl_now now, struct pawl_family_outcome *outcome)
{
    struct rig_job *own = job->owner;
    struct pawl_family_open open = {
        .ns = rig_text("default"),
        .issuer = rig_text("iss"),
        .sid = job->fact.value,
        .subject = rig_text("alice"),
        .scope = PAWL_SCOPE_TOKEN,
        .value = rig_text("jti-0"),
        .exp_s = RIG_NOW_S + 86400,
    };

    own->found = old != NULL;
    outcome->write = true;
    if (old == NULL) {
        if (pawl_family_init(&outcome->record, &open, now.stamp, NULL) != PAWL_OK) {
            abort();
        }
    } else {
        outcome->record = *old;
        outcome->record.idle_s++; /* a version number: the store knows nothing of rotation */
    }
    own->generation = outcome->record.idle_s;
}

static RIG_UNUSED void rig_look(struct pawl_job *job, const struct pawl_family *old,
                                struct pawl_now now, struct pawl_family_outcome *outcome)
{
    struct rig_job *own = job->owner;

    (void)now;
    (void)outcome;
    own->found = old != NULL;
    own->generation = old != NULL ? old->idle_s : 0;
}

static RIG_UNUSED void rig_family_job(const struct rig *rig, struct rig_job *job, const char *sid,
                                      pawl_family_decide decide)
{
    memset(job, 0, sizeof(*job));
    job->job.kind = PAWL_JOB_FAMILY;
    job->job.family = rig_family_key(rig, sid);
    job->job.fact.value = rig_text(sid);
    job->job.decide = decide;
}

static RIG_UNUSED enum pawl_status rig_thaw(struct rig *rig, struct rig_job *job)
{
    memset(job, 0, sizeof(*job));
    job->job.kind = PAWL_JOB_THAW;
    return rig_run(rig, job);
}

/* ---- files ---- */

static RIG_UNUSED size_t rig_read_file(const struct rig *rig, const char *name, uint8_t *out,
                                       size_t capacity)
{
    int fd = openat(rig->dir_fd, name, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        return 0;
    }
    ssize_t size = read(fd, out, capacity);

    (void)close(fd);
    assert_true(size >= 0 && (size_t)size < capacity);
    return (size_t)size;
}

static RIG_UNUSED void rig_write_file(const struct rig *rig, const char *name, const uint8_t *data,
                                      size_t size)
{
    int fd = openat(rig->dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), size);
    (void)close(fd);
}

static RIG_UNUSED bool rig_exists(const struct rig *rig, const char *name)
{
    return faccessat(rig->dir_fd, name, F_OK, 0) == 0;
}

/* Whether a file whose name begins with @prefix is there. */
static RIG_UNUSED bool rig_has_prefix(const struct rig *rig, const char *prefix)
{
    DIR *dir = opendir(rig->dir);
    bool found = false;

    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        found = found || strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    }
    (void)closedir(dir);
    return found;
}

/* What a kill -9 of the process now would leave on disk, into the directory of @to. */
static RIG_UNUSED void rig_copy(const struct rig *from, struct rig *to)
{
    static const char *const names[] = { "pawl.db",  "pawl.db-wal",    "mark",
                                         "counters", "pawl-frozen.db", "pawl-frozen.db-wal" };
    static uint8_t buffer[16 << 20];

    rig_empty(to);
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (rig_exists(from, names[i])) {
            size_t size = rig_read_file(from, names[i], buffer, sizeof(buffer));

            rig_write_file(to, names[i], buffer, size);
        }
    }
}

struct rig_stats {
    const char *name;
    uint64_t value;
};

static RIG_UNUSED void rig_on_number(void *self, const char *name, uint64_t value)
{
    struct rig_stats *wanted = self;

    if (strcmp(name, wanted->name) == 0) {
        wanted->value = value;
    }
}

static RIG_UNUSED void rig_on_flag(void *self, const char *name, bool value)
{
    rig_on_number(self, name, value ? 1 : 0);
}

static RIG_UNUSED void rig_on_text(void *self, const char *name, struct pawl_bytes value)
{
    (void)self;
    (void)name;
    (void)value;
}

static RIG_UNUSED uint64_t rig_stat(struct rig *rig, const char *name)
{
    struct rig_stats wanted = { name, UINT64_MAX };
    struct pawl_stats_sink sink = { rig_on_number, rig_on_flag, rig_on_text, &wanted };

    rig->store.ops->stats(rig->store.self, &sink);
    assert_true(wanted.value != UINT64_MAX);
    return wanted.value;
}

#endif
