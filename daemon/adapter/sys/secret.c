#include "adapter/sys/secret.h"

#include "adapter/sys/data_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEX_BYTES  ((size_t)2 * PAWL_SECRET_BYTES)
#define FILE_BYTES (HEX_BYTES + 2) /* digits, CR LF at most */

void pawl_store_keys_derive(struct pawl_store_keys *keys, const uint8_t *secret)
{
    struct pawl_subkey check;

    pawl_subkey_derive(&keys->facts, secret, PAWL_SUBKEY_FACTS);
    pawl_subkey_derive(&keys->limits, secret, PAWL_SUBKEY_LIMITS);
    pawl_subkey_derive(&check, secret, PAWL_SUBKEY_CHECK);
    keys->check = pawl_keyhash64(&check, "pawl store", 10);
    pawl_wipe(&check, sizeof(check));
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool parse_hex(uint8_t *secret, const uint8_t *text)
{
    for (size_t i = 0; i < PAWL_SECRET_BYTES; i++) {
        int high = hex_digit(text[2 * i]);
        int low = hex_digit(text[2 * i + 1]);

        if (high < 0 || low < 0) {
            return false;
        }
        secret[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool parse(uint8_t *secret, const uint8_t *text, size_t size)
{
    if (size == PAWL_SECRET_BYTES) {
        memcpy(secret, text, PAWL_SECRET_BYTES);
        return true;
    }
    while (size > HEX_BYTES && (text[size - 1] == '\n' || text[size - 1] == '\r')) {
        size--;
    }
    return size == HEX_BYTES && parse_hex(secret, text);
}

static enum pawl_status check_file(int fd, const char *name, struct pawl_error *error)
{
    struct stat info;

    if (fstat(fd, &info) != 0) {
        return pawl_error_set(error, PAWL_EIO, errno, "secret %s: %s", name, strerror(errno));
    }
    if (!S_ISREG(info.st_mode)) {
        return pawl_error_set(error, PAWL_EINVAL, 0, "secret %s is not a regular file", name);
    }
    if (info.st_uid != geteuid() && info.st_uid != 0) {
        return pawl_error_set(error, PAWL_EPERM, 0,
                              "secret %s belongs to user %u: it has to be this user's or root's",
                              name, (unsigned)info.st_uid);
    }
    /* What is root's, a group may read: that is how service managers and Kubernetes hand a secret
     * to a user. */
    mode_t refused = info.st_uid == 0 && geteuid() != 0 ? S_IWGRP | S_IRWXO : S_IRWXG | S_IRWXO;

    if ((info.st_mode & refused) != 0) {
        return pawl_error_set(error, PAWL_EPERM, 0,
                              "secret %s has mode %04o, others may read or change it: chmod 0600 "
                              "it, and replace it if it may have been read",
                              name, (unsigned)info.st_mode & 07777);
    }
    return PAWL_OK;
}

static enum pawl_status read_fd(int fd, const char *name, uint8_t *secret, struct pawl_error *error)
{
    uint8_t text[FILE_BYTES + 1];
    enum pawl_status status = check_file(fd, name, error);

    if (status != PAWL_OK) {
        return status;
    }
    ssize_t size = pread(fd, text, sizeof(text), 0);

    if (size < 0) {
        status = pawl_error_set(error, PAWL_EIO, errno, "secret %s: %s", name, strerror(errno));
    } else if (!parse(secret, text, (size_t)size)) {
        status = pawl_error_set(error, PAWL_EINVAL, 0,
                                "secret %s holds %zd%s bytes that are no secret: expected 64 "
                                "hexadecimal digits or 32 raw bytes",
                                name, size, (size_t)size == sizeof(text) ? " or more" : "");
    }
    pawl_wipe(text, sizeof(text));
    return status;
}

enum pawl_status pawl_secret_read(int dir_fd, const char *name, uint8_t secret[PAWL_SECRET_BYTES],
                                  struct pawl_error *error)
{
    pawl_wipe(secret, PAWL_SECRET_BYTES);
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0) {
        return pawl_error_set(error, errno == ENOENT ? PAWL_ENOENT : PAWL_EIO, errno,
                              "secret %s: %s", name, strerror(errno));
    }
    enum pawl_status status = read_fd(fd, name, secret, error);

    (void)close(fd);
    if (status != PAWL_OK) {
        pawl_wipe(secret, PAWL_SECRET_BYTES);
    }
    return status;
}

/* Write a new secret to @name, which must not exist, and sync it. */
static enum pawl_status write_new(int dir_fd, const char *name, const uint8_t *secret)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t text[HEX_BYTES + 1];
    int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    enum pawl_status status = PAWL_EIO;

    if (fd < 0) {
        return PAWL_EIO;
    }
    for (size_t i = 0; i < PAWL_SECRET_BYTES; i++) {
        text[2 * i] = (uint8_t)digits[secret[i] >> 4];
        text[2 * i + 1] = (uint8_t)digits[secret[i] & 15];
    }
    text[HEX_BYTES] = '\n';
    if (fchmod(fd, 0600) == 0 && write(fd, text, sizeof(text)) == (ssize_t)sizeof(text) &&
        fsync(fd) == 0) {
        status = PAWL_OK;
    }
    int saved = errno;

    pawl_wipe(text, sizeof(text));
    (void)close(fd);
    errno = saved;
    return status;
}

static enum pawl_status create(int dir_fd, const char *name, const struct pawl_entropy *entropy,
                               uint8_t *secret, struct pawl_error *error)
{
    char temp[256];

    if ((size_t)snprintf(temp, sizeof(temp), "%s.new", name) >= sizeof(temp)) {
        return pawl_error_set(error, PAWL_EINVAL, 0, "secret %s: the name is too long", name);
    }
    if (entropy->fill(entropy->self, secret, PAWL_SECRET_BYTES) != PAWL_OK) {
        return pawl_error_set(error, PAWL_EIO, 0, "secret %s: the system gives no randomness",
                              name);
    }
    (void)unlinkat(dir_fd, temp, 0); /* of a start that was cut short; nothing uses it */
    enum pawl_status status = write_new(dir_fd, temp, secret);

    if (status == PAWL_OK && renameat2(dir_fd, temp, dir_fd, name, RENAME_NOREPLACE) != 0) {
        status = PAWL_EIO;
    }
    if (status == PAWL_OK) {
        status = pawl_dir_sync(dir_fd);
    }
    if (status != PAWL_OK) {
        int saved = errno;

        (void)unlinkat(dir_fd, temp, 0);
        pawl_wipe(secret, PAWL_SECRET_BYTES);
        return pawl_error_set(error, PAWL_EIO, saved, "secret %s cannot be made: %s", name,
                              strerror(saved));
    }
    return PAWL_OK;
}

static bool exists(int dir_fd, const char *name)
{
    return faccessat(dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

enum pawl_status pawl_secret_open(int dir_fd, const char *name, const struct pawl_entropy *entropy,
                                  uint8_t secret[PAWL_SECRET_BYTES], struct pawl_error *error)
{
    enum pawl_status status = pawl_secret_read(dir_fd, name, secret, error);

    if (status != PAWL_ENOENT) {
        return status;
    }
    if (exists(dir_fd, "pawl.db") || exists(dir_fd, "mark")) {
        return pawl_error_set(error, PAWL_ENOENT, 0,
                              "secret %s is missing, but pawl.db was made with one: put it back; "
                              "without it nothing stored can be read",
                              name);
    }
    return create(dir_fd, name, entropy, secret, error);
}
