#include "adapter/sqlite/mark.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define MARK_BYTES 64

static const uint8_t mark_magic[8] = { 'p', 'a', 'w', 'l', 'm', 'r', 'k', '1' };

static void put(uint8_t *out, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        out[i] = (uint8_t)(value >> (8 * i));
    }
}

static uint64_t get(const uint8_t *in)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < 8; i++) {
        value |= (uint64_t)in[i] << (8 * i);
    }
    return value;
}

static enum pawl_status parse(const uint8_t in[MARK_BYTES], const struct pawl_store_keys *keys,
                              unsigned keys_count, struct pawl_mark *mark)
{
    if (memcmp(in, mark_magic, 7) != 0) {
        return PAWL_ECORRUPT;
    }
    for (unsigned i = 0; i < keys_count; i++) {
        if (get(in + 8) != keys[i].check) {
            continue;
        }
        if (get(in + 56) != pawl_keyhash64(&keys[i].facts, in, 56)) {
            return PAWL_ECORRUPT;
        }
        if (in[7] != mark_magic[7]) {
            return PAWL_EVERSION;
        }
        memcpy(mark->birth, in + 16, PAWL_BIRTH_BYTES);
        mark->commits = get(in + 32);
        return PAWL_OK;
    }
    return PAWL_ESECRET;
}

enum pawl_status pawl_mark_read(int dir_fd, const struct pawl_store_keys *keys, unsigned keys_count,
                                struct pawl_mark *mark)
{
    uint8_t in[MARK_BYTES + 1];

    *mark = (struct pawl_mark){ .commits = 0 };
    int fd = openat(dir_fd, PAWL_MARK_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0) {
        return errno == ENOENT ? PAWL_ENOENT : PAWL_EIO;
    }
    ssize_t size = pread(fd, in, sizeof(in), 0);

    (void)close(fd);
    if (size < 0) {
        return PAWL_EIO;
    }
    return size == MARK_BYTES ? parse(in, keys, keys_count, mark) : PAWL_ECORRUPT;
}

int pawl_mark_open(int dir_fd)
{
    return openat(dir_fd, PAWL_MARK_FILE, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

enum pawl_status pawl_mark_write(int fd, const struct pawl_store_keys *keys,
                                 const struct pawl_mark *mark)
{
    uint8_t out[MARK_BYTES] = { 0 };

    memcpy(out, mark_magic, sizeof(mark_magic));
    put(out + 8, keys->check);
    memcpy(out + 16, mark->birth, PAWL_BIRTH_BYTES);
    put(out + 32, mark->commits);
    put(out + 56, pawl_keyhash64(&keys->facts, out, 56));
    return pwrite(fd, out, sizeof(out), 0) == (ssize_t)sizeof(out) ? PAWL_OK : PAWL_EIO;
}
