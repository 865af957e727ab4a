#include "adapter/sys/counter_file.h"

#include "adapter/sys/data_dir.h"
#include "adapter/sys/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_MAGIC 0x4b4c4250u /* "PBLK" */

static const uint8_t file_magic[8] = { 'p', 'a', 'w', 'l', 'c', 'n', 't', '\n' };

/* ---- numbers in bytes ---- */

static void put(uint8_t *out, unsigned bytes, uint64_t value)
{
    for (unsigned i = 0; i < bytes; i++) {
        out[i] = (uint8_t)(value >> (8 * i));
    }
}

static uint64_t get(const uint8_t *in, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)in[i] << (8 * i);
    }
    return value;
}

/* ---- header and block ---- */

static void header_write(uint8_t out[PAWL_COUNTER_HEADER_BYTES], const struct pawl_store_keys *keys,
                         const uint8_t *birth, uint64_t nonce)
{
    memset(out, 0, PAWL_COUNTER_HEADER_BYTES);
    memcpy(out, file_magic, sizeof(file_magic));
    put(out + 8, 4, PAWL_COUNTER_FILE_VERSION);
    put(out + 16, 8, keys->check);
    memcpy(out + 24, birth, PAWL_BIRTH_BYTES);
    put(out + 40, 8, nonce);
    put(out + 56, 8, pawl_keyhash64(&keys->limits, out, 56));
}

/* The keyed hash of a block: over nonce, block header without the hash, and the payload's hash. */
static uint64_t block_hash(const struct pawl_store_keys *keys, uint64_t nonce,
                           const uint8_t block[PAWL_COUNTER_BLOCK_BYTES], struct pawl_bytes payload)
{
    uint8_t all[8 + PAWL_COUNTER_BLOCK_BYTES];

    put(all, 8, nonce);
    memcpy(all + 8, block, PAWL_COUNTER_BLOCK_BYTES - 8);
    put(all + PAWL_COUNTER_BLOCK_BYTES, 8,
        pawl_keyhash64(&keys->limits, payload.data, payload.size));
    return pawl_keyhash64(&keys->limits, all, sizeof(all));
}

static void block_write(uint8_t out[PAWL_COUNTER_BLOCK_BYTES], const struct pawl_store_keys *keys,
                        uint64_t nonce, uint64_t number, uint64_t commits,
                        const struct pawl_counter_anchor *anchor, struct pawl_bytes payload,
                        uint32_t records)
{
    memset(out, 0, PAWL_COUNTER_BLOCK_BYTES);
    put(out, 4, BLOCK_MAGIC);
    put(out + 4, 4, payload.size);
    put(out + 8, 4, records);
    memcpy(out + 16, anchor->boot_id, PAWL_BOOT_ID_BYTES);
    put(out + 32, 8, anchor->boottime_ns);
    put(out + 40, 8, anchor->wall_us);
    put(out + 48, 8, anchor->stamp_us);
    put(out + 56, 8, number);
    put(out + 64, 8, commits);
    put(out + 72, 8, block_hash(keys, nonce, out, payload));
}

uint64_t pawl_counter_elapsed_ms(const struct pawl_counter_anchor *then,
                                 const struct pawl_counter_anchor *now)
{
    static const uint8_t no_boot[PAWL_BOOT_ID_BYTES];

    if (memcmp(then->boot_id, now->boot_id, PAWL_BOOT_ID_BYTES) != 0 ||
        memcmp(then->boot_id, no_boot, PAWL_BOOT_ID_BYTES) == 0 ||
        now->boottime_ns < then->boottime_ns) {
        return 0;
    }
    return (now->boottime_ns - then->boottime_ns) / 1000000;
}

bool pawl_counter_payload_check(struct pawl_bytes payload, uint32_t *records)
{
    size_t at = 0;

    *records = 0;
    while (at < payload.size) {
        if (payload.size - at < 4) {
            return false;
        }
        uint64_t size = get(payload.data + at, 4);

        if (size == 0 || size > payload.size - at - 4) {
            return false;
        }
        at += 4 + (size_t)size;
        (*records)++;
    }
    return true;
}

/* ---- reading ---- */

struct parse {
    struct pawl_bytes data;
    const struct pawl_store_keys *keys;
    unsigned keys_count;
    const struct pawl_counter_anchor *now;
    pawl_counter_record on_record;
    void *record_data;
    struct pawl_counter_report *report;
    uint64_t nonce;
    uint64_t number;
    size_t at;
};

static enum pawl_status parse_header(struct parse *p)
{
    const uint8_t *in = p->data.data;
    bool known_secret = false;

    if (p->data.size < PAWL_COUNTER_HEADER_BYTES ||
        memcmp(in, file_magic, sizeof(file_magic)) != 0) {
        return PAWL_ECORRUPT;
    }
    for (unsigned i = 0; i < p->keys_count; i++) {
        known_secret = known_secret || get(in + 16, 8) == p->keys[i].check;
        if (get(in + 56, 8) == pawl_keyhash64(&p->keys[i].limits, in, 56)) {
            if (get(in + 8, 4) != PAWL_COUNTER_FILE_VERSION) {
                return PAWL_EVERSION;
            }
            memcpy(p->report->birth, in + 24, PAWL_BIRTH_BYTES);
            p->report->from_store = true;
            p->nonce = get(in + 40, 8);
            p->at = PAWL_COUNTER_HEADER_BYTES;
            return PAWL_OK;
        }
    }
    if (get(in + 8, 4) > PAWL_COUNTER_FILE_VERSION) {
        return PAWL_EVERSION; /* its hash may be made in another way */
    }
    return known_secret ? PAWL_ECORRUPT : PAWL_ESECRET;
}

static bool block_holds(const struct parse *p, const uint8_t *block, struct pawl_bytes payload)
{
    for (unsigned i = 0; i < p->keys_count; i++) {
        if (get(block + 72, 8) == block_hash(&p->keys[i], p->nonce, block, payload)) {
            return true;
        }
    }
    return false;
}

static void deliver(struct parse *p, const uint8_t *block, struct pawl_bytes payload)
{
    struct pawl_counter_anchor then = {
        .boottime_ns = get(block + 32, 8),
        .wall_us = get(block + 40, 8),
        .stamp_us = get(block + 48, 8),
    };

    memcpy(then.boot_id, block + 16, PAWL_BOOT_ID_BYTES);
    uint64_t elapsed_ms = pawl_counter_elapsed_ms(&then, p->now);

    for (size_t at = 0; p->on_record != NULL && at < payload.size;) {
        size_t size = (size_t)get(payload.data + at, 4);

        p->on_record(p->record_data, pawl_bytes_of(payload.data + at + 4, size), elapsed_ms);
        at += 4 + size;
    }
}

/* One block at p->at. PAWL_EAGAIN: the file ends in the middle of it. */
static enum pawl_status parse_block(struct parse *p)
{
    const uint8_t *block = p->data.data + p->at;
    size_t left = p->data.size - p->at;
    uint32_t records = 0;

    if (left < PAWL_COUNTER_BLOCK_BYTES) {
        return PAWL_EAGAIN;
    }
    uint64_t size = get(block + 4, 4);

    if (get(block, 4) != BLOCK_MAGIC || size > PAWL_COUNTER_PAYLOAD_MAX ||
        get(block + 56, 8) != p->number) {
        return PAWL_ECORRUPT;
    }
    if (left - PAWL_COUNTER_BLOCK_BYTES < size) {
        return PAWL_EAGAIN;
    }
    struct pawl_bytes payload = pawl_bytes_of(block + PAWL_COUNTER_BLOCK_BYTES, (size_t)size);

    if (!block_holds(p, block, payload) || !pawl_counter_payload_check(payload, &records) ||
        records != get(block + 8, 4)) {
        return PAWL_ECORRUPT;
    }
    deliver(p, block, payload);
    uint64_t commits = get(block + 64, 8);

    p->report->commits = commits > p->report->commits ? commits : p->report->commits;
    p->report->blocks++;
    p->report->records += records;
    p->number++;
    p->at += PAWL_COUNTER_BLOCK_BYTES + (size_t)size;
    return PAWL_OK;
}

enum pawl_status pawl_counter_parse(struct pawl_bytes data, const struct pawl_store_keys *keys,
                                    unsigned keys_count, const struct pawl_counter_anchor *now,
                                    pawl_counter_record on_record, void *record_data,
                                    struct pawl_counter_report *report, size_t *good,
                                    uint64_t *nonce, uint64_t *number)
{
    struct parse p = { .data = data,
                       .keys = keys,
                       .keys_count = keys_count,
                       .now = now,
                       .on_record = on_record,
                       .record_data = record_data,
                       .report = report };
    enum pawl_status status = parse_header(&p);

    while (status == PAWL_OK && p.at < data.size) {
        status = parse_block(&p);
    }
    if (status == PAWL_EAGAIN) {
        report->torn_bytes = data.size - p.at;
        status = PAWL_OK;
    }
    report->bytes = p.at;
    *good = p.at;
    *nonce = p.nonce;
    *number = p.number;
    return status;
}

/* ---- files ---- */

static enum pawl_status io_error(struct pawl_error *error, const char *what)
{
    return pawl_error_set(error, PAWL_EIO, errno, PAWL_COUNTER_FILE ": %s: %s", what,
                          strerror(errno));
}

static bool write_all(int fd, uint64_t offset, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t got = pwrite(fd, data, size, (off_t)offset);

        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            errno = got == 0 ? ENOSPC : errno;
            return false;
        }
        data += got;
        size -= (size_t)got;
        offset += (uint64_t)got;
    }
    return true;
}

/* A new file with nothing but a header, under the temporary name. -1 and errno, or its fd. */
static int create_temp(const struct pawl_counter_file *file, uint64_t nonce)
{
    uint8_t header[PAWL_COUNTER_HEADER_BYTES];
    int fd =
        openat(file->dir_fd, PAWL_COUNTER_FILE_TEMP, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0) {
        return -1;
    }
    header_write(header, file->keys, file->birth, nonce);
    if (!write_all(fd, 0, header, sizeof(header))) {
        int saved = errno;

        (void)close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

static enum pawl_status append_to(int fd, struct pawl_counter_file *file, uint64_t nonce,
                                  uint64_t number, uint64_t *size,
                                  const struct pawl_counter_anchor *anchor, uint64_t commits,
                                  struct pawl_bytes payload, uint32_t records,
                                  struct pawl_error *error)
{
    uint8_t block[PAWL_COUNTER_BLOCK_BYTES];

    block_write(block, file->keys, nonce, number, commits, anchor, payload, records);
    if (!write_all(fd, *size, block, sizeof(block)) ||
        !write_all(fd, *size + sizeof(block), payload.data, payload.size)) {
        enum pawl_status status = io_error(error, "cannot be written");

        if (ftruncate(fd, (off_t)*size) != 0) {
            /* The next append overwrites the same place; a start in between sees a torn tail. */
            return status;
        }
        return status;
    }
    *size += sizeof(block) + payload.size;
    return PAWL_OK;
}

enum pawl_status pawl_counter_file_append(struct pawl_counter_file *file,
                                          const struct pawl_counter_anchor *anchor,
                                          uint64_t commits, struct pawl_bytes payload,
                                          uint32_t records, struct pawl_error *error)
{
    enum pawl_status status = append_to(file->fd, file, file->nonce, file->number, &file->size,
                                        anchor, commits, payload, records, error);

    if (status == PAWL_OK) {
        file->number++;
        if (file->snapshot_fd >= 0) {
            /* A snapshot that refuses has dropped itself; the journal has the block. */
            enum pawl_status ignored =
                pawl_counter_snapshot_append(file, anchor, commits, payload, records, NULL);
            (void)ignored;
        }
    }
    return status;
}

enum pawl_status pawl_counter_file_sync(struct pawl_counter_file *file, struct pawl_error *error)
{
    return fdatasync(file->fd) == 0 ? PAWL_OK : io_error(error, "cannot be synced");
}

enum pawl_status pawl_counter_snapshot_begin(struct pawl_counter_file *file, uint64_t nonce,
                                             struct pawl_error *error)
{
    pawl_counter_snapshot_abort(file);
    file->snapshot_fd = create_temp(file, nonce);
    if (file->snapshot_fd < 0) {
        return io_error(error, "a new " PAWL_COUNTER_FILE_TEMP " cannot be made");
    }
    file->snapshot_nonce = nonce;
    file->snapshot_number = 0;
    file->snapshot_size = PAWL_COUNTER_HEADER_BYTES;
    return PAWL_OK;
}

enum pawl_status pawl_counter_snapshot_append(struct pawl_counter_file *file,
                                              const struct pawl_counter_anchor *anchor,
                                              uint64_t commits, struct pawl_bytes payload,
                                              uint32_t records, struct pawl_error *error)
{
    if (file->snapshot_fd < 0) {
        return pawl_error_set(error, PAWL_EIO, 0, PAWL_COUNTER_FILE ": the snapshot was dropped");
    }
    enum pawl_status status =
        append_to(file->snapshot_fd, file, file->snapshot_nonce, file->snapshot_number,
                  &file->snapshot_size, anchor, commits, payload, records, error);

    if (status == PAWL_OK) {
        file->snapshot_number++;
    } else {
        pawl_counter_snapshot_abort(file);
    }
    return status;
}

enum pawl_status pawl_counter_snapshot_commit(struct pawl_counter_file *file,
                                              struct pawl_error *error)
{
    if (file->snapshot_fd < 0) {
        return pawl_error_set(error, PAWL_EIO, 0, PAWL_COUNTER_FILE ": the snapshot was dropped");
    }
    if (fsync(file->snapshot_fd) != 0 ||
        renameat(file->dir_fd, PAWL_COUNTER_FILE_TEMP, file->dir_fd, PAWL_COUNTER_FILE) != 0) {
        enum pawl_status status = io_error(error, "the snapshot cannot be put in place");

        pawl_counter_snapshot_abort(file);
        return status;
    }
    (void)close(file->fd);
    file->fd = file->snapshot_fd;
    file->nonce = file->snapshot_nonce;
    file->number = file->snapshot_number;
    file->size = file->snapshot_size;
    file->snapshot_fd = -1;
    if (pawl_dir_sync(file->dir_fd) != PAWL_OK) {
        return io_error(error, "the directory cannot be synced");
    }
    return PAWL_OK;
}

void pawl_counter_snapshot_abort(struct pawl_counter_file *file)
{
    if (file->snapshot_fd >= 0) {
        (void)close(file->snapshot_fd);
        (void)unlinkat(file->dir_fd, PAWL_COUNTER_FILE_TEMP, 0);
        file->snapshot_fd = -1;
    }
}

/* ---- opening ---- */

static enum pawl_status read_whole(int fd, struct pawl_region *region, size_t size,
                                   struct pawl_error *error)
{
    size_t at = 0;

    if (size == 0) {
        *region = (struct pawl_region){ .fd = -1 };
        return PAWL_OK;
    }
    enum pawl_status status = pawl_region_map(region, size, error);

    while (status == PAWL_OK && at < size) {
        ssize_t got = pread(fd, (uint8_t *)region->data + at, size - at, (off_t)at);

        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            status = io_error(error, "cannot be read");
            pawl_region_unmap(region);
            break;
        }
        at += (size_t)got;
    }
    return status;
}

/*
 * Put the damaged file aside under a new name, and a new one with the good bytes in its place. The
 * new one is whole before the old one moves.
 */
static enum pawl_status replace_damaged(struct pawl_counter_file *file, struct pawl_bytes good,
                                        int64_t unix_s, char *aside, struct pawl_error *error)
{
    int fd = create_temp(file, file->nonce);

    if (fd < 0 || !write_all(fd, 0, good.data, good.size) || fsync(fd) != 0 ||
        pawl_dir_set_aside(file->dir_fd, PAWL_COUNTER_FILE, unix_s, aside) != PAWL_OK ||
        renameat(file->dir_fd, PAWL_COUNTER_FILE_TEMP, file->dir_fd, PAWL_COUNTER_FILE) != 0) {
        enum pawl_status status = io_error(error, "a new one cannot be put in its place");

        if (fd >= 0) {
            (void)close(fd);
        }
        return status;
    }
    (void)close(file->fd);
    file->fd = fd;
    return pawl_dir_sync(file->dir_fd) == PAWL_OK
               ? PAWL_OK
               : io_error(error, "its directory cannot be synced");
}

static enum pawl_status load(struct pawl_counter_file *file, unsigned keys_count, size_t size,
                             const struct pawl_counter_anchor *now, pawl_counter_record on_record,
                             void *record_data, uint64_t nonce, struct pawl_counter_report *report,
                             struct pawl_error *error)
{
    struct pawl_region region;
    size_t good = 0;
    enum pawl_status status = read_whole(file->fd, &region, size, error);

    if (status != PAWL_OK) {
        return status;
    }
    struct pawl_bytes data = pawl_bytes_of(region.data, size);

    report->damage = pawl_counter_parse(data, file->keys, keys_count, now, on_record, record_data,
                                        report, &good, &file->nonce, &file->number);
    if (report->damage != PAWL_OK) {
        if (good < PAWL_COUNTER_HEADER_BYTES) {
            file->nonce = nonce;
            file->number = 0;
        }
        status = replace_damaged(file, pawl_bytes_of(data.data, good),
                                 (int64_t)(now->wall_us / 1000000), report->set_aside, error);
        good = good < PAWL_COUNTER_HEADER_BYTES ? PAWL_COUNTER_HEADER_BYTES : good;
    } else if (report->torn_bytes > 0 && ftruncate(file->fd, (off_t)good) != 0) {
        status = io_error(error, "its torn end cannot be cut off");
    }
    file->size = good;
    pawl_region_unmap(&region);
    return status;
}

static enum pawl_status create(struct pawl_counter_file *file, uint64_t nonce,
                               struct pawl_error *error)
{
    file->nonce = nonce;
    file->number = 0;
    file->size = PAWL_COUNTER_HEADER_BYTES;
    file->fd = create_temp(file, nonce);
    if (file->fd < 0 || fsync(file->fd) != 0 ||
        renameat(file->dir_fd, PAWL_COUNTER_FILE_TEMP, file->dir_fd, PAWL_COUNTER_FILE) != 0 ||
        pawl_dir_sync(file->dir_fd) != PAWL_OK) {
        return io_error(error, "cannot be made");
    }
    return PAWL_OK;
}

enum pawl_status pawl_counter_file_open(struct pawl_counter_file *file, int dir_fd,
                                        const struct pawl_store_keys *keys, unsigned keys_count,
                                        const uint8_t birth[PAWL_BIRTH_BYTES], uint64_t nonce,
                                        const struct pawl_counter_anchor *now,
                                        pawl_counter_record on_record, void *record_data,
                                        struct pawl_counter_report *report,
                                        struct pawl_error *error)
{
    struct stat info;
    enum pawl_status status;

    *file =
        (struct pawl_counter_file){ .dir_fd = dir_fd, .fd = -1, .snapshot_fd = -1, .keys = keys };
    memcpy(file->birth, birth, PAWL_BIRTH_BYTES);
    *report = (struct pawl_counter_report){ .existed = false };
    file->fd = openat(dir_fd, PAWL_COUNTER_FILE, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (file->fd < 0 && errno == ENOENT) {
        status = create(file, nonce, error);
    } else if (file->fd < 0 || fstat(file->fd, &info) != 0) {
        status = io_error(error, "cannot be opened");
    } else {
        report->existed = true;
        status = load(file, keys_count, (size_t)info.st_size, now, on_record, record_data, nonce,
                      report, error);
    }
    if (status != PAWL_OK) {
        pawl_counter_file_close(file);
    }
    return status;
}

void pawl_counter_file_close(struct pawl_counter_file *file)
{
    pawl_counter_snapshot_abort(file);
    if (file->fd >= 0) {
        (void)close(file->fd);
    }
    file->fd = -1;
}
