/* Reading of key files: capped, regular, and noticed when they change. */
#include "adapter/jwt/keys.h"
#include "core/keyhash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum pawl_status open_status(int code)
{
    if (code == ENOENT || code == ENOTDIR) {
        return PAWL_ENOENT;
    }
    return code == EACCES || code == EPERM ? PAWL_EPERM : PAWL_EIO;
}

static enum pawl_status check(int fd, const char *path, size_t max, struct stat *info,
                              struct pawl_error *error)
{
    if (fstat(fd, info) != 0) {
        return pawl_error_set(error, PAWL_EIO, errno, "%s: %s", path, strerror(errno));
    }
    if (!S_ISREG(info->st_mode)) {
        return pawl_error_set(error, PAWL_EINVAL, 0, "%s is not a regular file", path);
    }
    if (info->st_size == 0) {
        return pawl_error_set(error, PAWL_EINVAL, 0, "%s is empty", path);
    }
    if ((uint64_t)info->st_size > max) {
        return pawl_error_set(error, PAWL_ETOOBIG, 0,
                              "%s has %lld bytes: at most %zu are read, is it the right file?",
                              path, (long long)info->st_size, max);
    }
    return PAWL_OK;
}

/* The size may change between fstat and read: what counts is what is read. */
static enum pawl_status read_all(int fd, const char *path, size_t size, uint8_t **out, size_t *got,
                                 struct pawl_error *error)
{
    uint8_t *data = malloc(size + 1);

    if (data == NULL) {
        return pawl_error_set(error, PAWL_ENOMEM, 0, "%s: out of memory", path);
    }
    *got = 0;
    while (*got < size) {
        ssize_t more = read(fd, data + *got, size - *got);

        if (more < 0 && errno == EINTR) {
            continue;
        }
        if (more <= 0) {
            int code = more < 0 ? errno : 0;

            pawl_wipe(data, size);
            free(data);
            return pawl_error_set(error, PAWL_EIO, code, "%s: %s", path,
                                  code != 0 ? strerror(code)
                                            : "became shorter while it was read; write key files "
                                              "under another name, then rename them");
        }
        *got += (size_t)more;
    }
    data[*got] = 0;
    *out = data;
    return PAWL_OK;
}

enum pawl_status pawl_jwt_file_read(const char *path, size_t max, struct pawl_bytes *out,
                                    unsigned *mode, struct pawl_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat info;
    uint8_t *data = NULL;
    size_t size = 0;

    *out = pawl_bytes_of(NULL, 0);
    if (fd < 0) {
        return pawl_error_set(error, open_status(errno), errno, "%s: %s", path, strerror(errno));
    }
    enum pawl_status status = check(fd, path, max, &info, error);

    if (status == PAWL_OK) {
        status = read_all(fd, path, (size_t)info.st_size, &data, &size, error);
    }
    (void)close(fd);
    if (status == PAWL_OK) {
        *out = pawl_bytes_of(data, size);
        if (mode != NULL) {
            *mode = (unsigned)info.st_mode & 07777;
        }
    }
    return status;
}

void pawl_jwt_file_free(struct pawl_bytes *file)
{
    union {
        const uint8_t *lent;
        uint8_t *own;
    } data = { file->data };

    if (data.own != NULL) {
        pawl_wipe(data.own, file->size);
        free(data.own);
    }
    *file = pawl_bytes_of(NULL, 0);
}

/* ---- directories --------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp((const char *)a, (const char *)b);
}

/* Names that begin with a dot are of the tools that put the files there ("..data"). */
static bool is_jwks_name(const char *name)
{
    size_t size = strlen(name);

    return name[0] != '.' && size > 5 && size < 256 && strcmp(name + size - 5, ".json") == 0;
}

static enum pawl_status fill(DIR *directory, const char *path, struct pawl_jwt_listing *listing,
                             struct pawl_error *error)
{
    const struct dirent *entry;

    for (;;) {
        errno = 0;
        entry = readdir(directory);
        if (entry == NULL) {
            break;
        }
        if (!is_jwks_name(entry->d_name)) {
            continue;
        }
        if (listing->count == PAWL_JWT_JWKS_FILES_MAX) {
            return pawl_error_set(error, PAWL_ETOOBIG, 0,
                                  "%s holds more than %d *.json files: join some of them", path,
                                  PAWL_JWT_JWKS_FILES_MAX);
        }
        memcpy(listing->name[listing->count++], entry->d_name, strlen(entry->d_name) + 1);
    }
    if (errno != 0) {
        return pawl_error_set(error, PAWL_EIO, errno, "%s: %s", path, strerror(errno));
    }
    qsort(listing->name, listing->count, sizeof(listing->name[0]), by_name);
    return PAWL_OK;
}

enum pawl_status pawl_jwt_list(const char *path, struct pawl_jwt_listing *listing,
                               bool *is_directory, struct pawl_error *error)
{
    DIR *directory = opendir(path);

    listing->count = 0;
    *is_directory = directory != NULL;
    if (directory == NULL) {
        return errno == ENOTDIR || errno == ENOENT
                   ? PAWL_OK /* a file; or nothing, which reading it will say */
                   : pawl_error_set(error, open_status(errno), errno, "%s: %s", path,
                                    strerror(errno));
    }
    enum pawl_status status = fill(directory, path, listing, error);

    (void)closedir(directory);
    return status;
}

/* ---- fingerprints -------------------------------------------------------------------------- */

/** A chain: each step hashes what it was before and what is added. */
struct chain {
    uint8_t hash[PAWL_SHA256_BYTES];
    int64_t words[7];
    char path[4096 + 256];
};

/* Links are followed: in Kubernetes it is what "..data" points to that changes. */
static void add_file(struct chain *chain, const char *path)
{
    struct stat info;

    memset(chain->words, 0, sizeof(chain->words));
    memset(chain->path, 0, sizeof(chain->path));
    (void)snprintf(chain->path, sizeof(chain->path), "%s", path);
    if (stat(path, &info) == 0) {
        chain->words[0] = 1;
        chain->words[1] = (int64_t)info.st_dev;
        chain->words[2] = (int64_t)info.st_ino;
        chain->words[3] = info.st_size;
        chain->words[4] = info.st_mtim.tv_sec;
        chain->words[5] = info.st_mtim.tv_nsec;
        chain->words[6] = info.st_ctim.tv_sec * 1000000000 + info.st_ctim.tv_nsec;
    }
    pawl_sha256(chain->hash, chain, sizeof(*chain));
}

static void add_source(struct chain *chain, const char *path)
{
    struct pawl_jwt_listing *listing = malloc(sizeof(*listing));
    char joined[4096 + 256];
    bool is_directory;

    if (listing == NULL || pawl_jwt_list(path, listing, &is_directory, NULL) != PAWL_OK ||
        !is_directory) {
        add_file(chain, path);
    } else {
        for (unsigned i = 0; i < listing->count; i++) {
            (void)snprintf(joined, sizeof(joined), "%s/%s", path, listing->name[i]);
            add_file(chain, joined);
        }
    }
    free(listing);
}

void pawl_jwt_fingerprint(const struct pawl_jwt_settings *settings,
                          uint8_t out[PAWL_JWT_FINGERPRINT])
{
    struct chain chain;

    memset(&chain, 0, sizeof(chain));
    for (unsigned i = 0; i < settings->issuer_count; i++) {
        const struct pawl_jwt_issuer_settings *issuer = &settings->issuers[i];

        for (unsigned j = 0; j < issuer->key_count; j++) {
            const struct pawl_jwt_key_settings *key = &issuer->keys[j];

            add_file(&chain, key->file[0] != '\0' ? key->file : key->secret_file);
        }
        if (issuer->jwks_file[0] != '\0') {
            add_source(&chain, issuer->jwks_file);
        }
    }
    memcpy(out, chain.hash, PAWL_JWT_FINGERPRINT);
}
