#include "adapter/sqlite/walcheck.h"

#include "adapter/sys/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WAL_MAGIC        0x377f0682u /* lowest bit: checksums over big-endian words */
#define WAL_VERSION      3007000u
#define WAL_HEADER_BYTES 32
#define WAL_FRAME_BYTES  24

struct sum {
    uint32_t s0;
    uint32_t s1;
};

struct wal {
    const uint8_t *data;
    size_t frame_size; /* header and page */
    uint64_t frames;   /* whole ones in the file */
    bool big;
};

static uint32_t word(const uint8_t *in, bool big)
{
    return big ? (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3]
               : (uint32_t)in[3] << 24 | (uint32_t)in[2] << 16 | (uint32_t)in[1] << 8 | in[0];
}

static struct sum sum_add(struct sum sum, const uint8_t *data, size_t size, bool big)
{
    for (size_t i = 0; i + 8 <= size; i += 8) {
        sum.s0 += word(data + i, big) + sum.s1;
        sum.s1 += word(data + i + 4, big) + sum.s0;
    }
    return sum;
}

static struct sum sum_read(const uint8_t *in)
{
    return (struct sum){ word(in, true), word(in + 4, true) };
}

static bool sum_equal(struct sum a, struct sum b)
{
    return a.s0 == b.s0 && a.s1 == b.s1;
}

static const uint8_t *frame_at(const struct wal *wal, uint64_t number)
{
    return wal->data + WAL_HEADER_BYTES + (size_t)number * wal->frame_size;
}

static bool same_salt(const struct wal *wal, const uint8_t *frame)
{
    return memcmp(frame + 8, wal->data + 16, 8) == 0;
}

/* Whether @frame carries on from @before; it is left as the sum after the frame. */
static bool frame_holds(const struct wal *wal, const uint8_t *frame, struct sum *before)
{
    struct sum sum = sum_add(*before, frame, 8, wal->big);

    sum = sum_add(sum, frame + WAL_FRAME_BYTES, wal->frame_size - WAL_FRAME_BYTES, wal->big);
    *before = sum;
    return word(frame, true) != 0 && same_salt(wal, frame) && sum_equal(sum, sum_read(frame + 16));
}

static bool is_commit(const uint8_t *frame)
{
    return word(frame + 4, true) != 0;
}

static bool header_holds(const uint8_t *data, size_t size, struct wal *wal)
{
    uint32_t magic = word(data, true);
    uint32_t page = word(data + 8, true);

    if ((magic & ~1u) != WAL_MAGIC || word(data + 4, true) != WAL_VERSION || page < 512 ||
        page > 65536 || (page & (page - 1)) != 0) {
        return false;
    }
    wal->data = data;
    wal->big = (magic & 1) != 0;
    wal->frame_size = WAL_FRAME_BYTES + (size_t)page;
    wal->frames = (size - WAL_HEADER_BYTES) / wal->frame_size;
    return sum_equal(sum_add((struct sum){ 0, 0 }, data, 24, wal->big), sum_read(data + 24));
}

/*
 * Frames behind the first bad one. Frames of an older life of the log have other salts and do not
 * count. A frame behind a finished transaction was written after that transaction was synced, so
 * if the bad frame comes before it, what was once on disk is damaged. The bad frame itself may
 * be the one that finished its transaction, if its header still says so. Checksums run through the
 * log, so behind the bad frame only the salt can tell a frame of this life.
 */
static bool damaged_behind(const struct wal *wal, struct pawl_walcheck *out)
{
    const uint8_t *bad = frame_at(wal, out->bad_frame);
    bool finished = same_salt(wal, bad) && is_commit(bad);
    bool damaged = false;

    for (uint64_t i = out->bad_frame + 1; i < wal->frames; i++) {
        const uint8_t *frame = frame_at(wal, i);

        if (!same_salt(wal, frame)) {
            continue;
        }
        out->frames_after++;
        damaged = damaged || finished;
        finished = finished || is_commit(frame);
    }
    return damaged;
}

static bool all_zero(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (data[i] != 0) {
            return false;
        }
    }
    return true;
}

enum pawl_status pawl_walcheck(struct pawl_bytes data, struct pawl_walcheck *out)
{
    struct wal wal = { .data = NULL };

    *out = (struct pawl_walcheck){ .frames = 0 };
    if (data.size < WAL_HEADER_BYTES || all_zero(data.data, WAL_HEADER_BYTES)) {
        return PAWL_OK; /* a log that had only begun */
    }
    if (!header_holds(data.data, data.size, &wal)) {
        return PAWL_ECORRUPT; /* 32 bytes in one sector are not torn by a power cut */
    }
    struct sum sum = sum_read(data.data + 24);

    for (uint64_t i = 0; i < wal.frames; i++) {
        if (!frame_holds(&wal, frame_at(&wal, i), &sum)) {
            out->bad_frame = i;
            return damaged_behind(&wal, out) ? PAWL_ECORRUPT : PAWL_OK;
        }
        out->frames++;
        out->commits += is_commit(frame_at(&wal, i)) ? 1 : 0;
    }
    return PAWL_OK;
}

static enum pawl_status check_fd(int fd, const char *name, struct pawl_walcheck *out,
                                 struct pawl_error *error)
{
    struct pawl_region region;
    struct stat info;
    size_t at = 0;

    if (fstat(fd, &info) != 0) {
        return pawl_error_set(error, PAWL_EIO, errno, "%s: %s", name, strerror(errno));
    }
    if (info.st_size == 0) {
        return PAWL_OK;
    }
    enum pawl_status status = pawl_region_map(&region, (size_t)info.st_size, error);

    if (status != PAWL_OK) {
        return status;
    }
    while (at < region.size) {
        ssize_t got = pread(fd, (uint8_t *)region.data + at, region.size - at, (off_t)at);

        if (got <= 0) {
            status = pawl_error_set(error, PAWL_EIO, errno, "%s cannot be read: %s", name,
                                    strerror(errno));
            break;
        }
        at += (size_t)got;
    }
    if (status == PAWL_OK) {
        status = pawl_walcheck(pawl_bytes_of(region.data, region.size), out);
    }
    if (status == PAWL_ECORRUPT) {
        (void)pawl_error_set(error, PAWL_ECORRUPT, 0,
                             "%s is damaged at frame %llu, %llu frames stand behind it", name,
                             (unsigned long long)out->bad_frame,
                             (unsigned long long)out->frames_after);
    }
    pawl_region_unmap(&region);
    return status;
}

enum pawl_status pawl_walcheck_file(int dir_fd, const char *name, struct pawl_walcheck *out,
                                    struct pawl_error *error)
{
    *out = (struct pawl_walcheck){ .frames = 0 };
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0) {
        return errno == ENOENT
                   ? PAWL_OK
                   : pawl_error_set(error, PAWL_EIO, errno, "%s: %s", name, strerror(errno));
    }
    enum pawl_status status = check_fd(fd, name, out, error);

    (void)close(fd);
    return status;
}
