#include "adapter/sys/file_watch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_MAX 40 /* on the way of one path, as the kernel has it */
#define SIGNS                                                                           \
    (IN_CREATE | IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_MOVED_TO | IN_MOVED_FROM | \
     IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)
#define READS_MAX 64 /* of 4 KiB in one step: the rest comes with the next */

struct file {
    char *path;
    uint64_t print; /* how it looked */
};

struct set {
    struct file *files; /* sorted by path */
    unsigned count, room;
};

struct pawl_file_watch {
    struct pawl_file_watch_options options;
    int fd; /* of inotify; -1 = none */
    struct set used, next;
    int wds[PAWL_FILE_WATCH_FOLDERS_MAX];
    bool wanted[PAWL_FILE_WATCH_FOLDERS_MAX]; /* by the walk that is under way */
    unsigned wd_count;
    bool whole;
    bool sign; /* something happened since the last look */
    uint64_t first_ms, last_ms;
    uint64_t looked_ms; /* 0 = not yet */
};

/* ---- how a file looks ---------------------------------------------------------------------- */

static uint64_t mix_name(uint64_t print, const char *name)
{
    for (; *name != '\0'; name++) { /* FNV-1a: against accidents, which are all there is */
        print = (print ^ (uint8_t)*name) * UINT64_C(0x100000001b3);
    }
    return print;
}

static uint64_t mix_word(uint64_t print, uint64_t word)
{
    print = (print ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return print ^ (print >> 32);
}

static uint64_t print_of_stat(uint64_t print, const struct stat *info)
{
    print = mix_word(print, (uint64_t)info->st_dev);
    print = mix_word(print, (uint64_t)info->st_ino);
    print = mix_word(print, (uint64_t)info->st_mode);
    print = mix_word(print, (uint64_t)info->st_size);
    print = mix_word(print, (uint64_t)info->st_mtim.tv_sec);
    print = mix_word(print, (uint64_t)info->st_mtim.tv_nsec);
    print = mix_word(print, (uint64_t)info->st_ctim.tv_sec);
    return mix_word(print, (uint64_t)info->st_ctim.tv_nsec);
}

/* Entries in any order: their prints are added. */
static uint64_t print_of_entries(const char *path)
{
    DIR *folder = opendir(path);
    const struct dirent *entry;
    unsigned left = PAWL_FILE_WATCH_ENTRIES_MAX;
    uint64_t sum = 0;

    if (folder == NULL) {
        return (uint64_t)errno;
    }
    while (left-- > 0 && (entry = readdir(folder)) != NULL) {
        uint64_t print = mix_name(1, entry->d_name);
        struct stat info;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        sum += fstatat(dirfd(folder), entry->d_name, &info, 0) == 0 ? print_of_stat(print, &info)
                                                                    : print;
    }
    (void)closedir(folder);
    return sum;
}

static uint64_t print_of(const char *path)
{
    struct stat info;

    if (stat(path, &info) != 0) {
        return (uint64_t)errno;
    }
    if (!S_ISDIR(info.st_mode)) {
        return print_of_stat(2, &info);
    }
    /* Its own times do not count: a file made and removed beside the others changes them. */
    return mix_word(print_of_entries(path), (uint64_t)info.st_ino);
}

/* ---- sets ---------------------------------------------------------------------------------- */

static void set_clear(struct set *set)
{
    for (unsigned i = 0; i < set->count; i++) {
        free(set->files[i].path);
    }
    free(set->files);
    *set = (struct set){ NULL, 0, 0 };
}

/* Where @path is, or belongs. */
static unsigned place_of(const struct set *set, const char *path, bool *there)
{
    unsigned low = 0;
    unsigned high = set->count;

    *there = false;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        int order = strcmp(set->files[middle].path, path);

        if (order == 0) {
            *there = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static enum pawl_status set_grow(struct set *set)
{
    unsigned room = set->room > 0 ? set->room * 2 : 16;
    struct file *files;

    if (set->count < set->room) {
        return PAWL_OK;
    }
    if (set->count >= PAWL_FILE_WATCH_FILES_MAX) {
        return PAWL_EFULL;
    }
    files = realloc(set->files, room * sizeof(*files));
    if (files == NULL) {
        return PAWL_ENOMEM;
    }
    set->files = files;
    set->room = room;
    return PAWL_OK;
}

static enum pawl_status set_add(struct set *set, const char *path, uint64_t print)
{
    bool there;
    unsigned place = place_of(set, path, &there);
    enum pawl_status status = there ? PAWL_OK : set_grow(set);

    if (there || status != PAWL_OK) {
        return status;
    }
    char *copy = strdup(path);

    if (copy == NULL) {
        return PAWL_ENOMEM;
    }
    memmove(&set->files[place + 1], &set->files[place], (set->count - place) * sizeof(*set->files));
    set->files[place].path = copy;
    set->files[place].print = print;
    set->count++;
    return PAWL_OK;
}

/* ---- folders ------------------------------------------------------------------------------- */

static void watch_folder(struct pawl_file_watch *watch, const char *path)
{
    int wd = inotify_add_watch(watch->fd, path, SIGNS);

    for (unsigned i = 0; wd >= 0 && i < watch->wd_count; i++) {
        if (watch->wds[i] == wd) { /* the same folder gives the same number */
            watch->wanted[i] = true;
            return;
        }
    }
    if (wd < 0 || watch->wd_count == PAWL_FILE_WATCH_FOLDERS_MAX) {
        watch->whole = watch->whole && wd < 0 && errno == ENOENT;
        if (wd >= 0) {
            (void)inotify_rm_watch(watch->fd, wd);
        }
        return;
    }
    watch->wds[watch->wd_count] = wd;
    watch->wanted[watch->wd_count] = true;
    watch->wd_count++;
}

/* The path that the link at @done (its last part begins at @part) makes of the way: its target and
 * the @rest. False: too long, or no link any more. */
static bool follow(char *done, size_t part, const char *rest, char way[PATH_MAX])
{
    char target[PATH_MAX];
    char joined[PATH_MAX];
    ssize_t size = readlink(done, target, sizeof(target) - 1);
    int wrote;

    if (size <= 0) {
        return false;
    }
    target[size] = '\0';
    if (target[0] != '/') {
        done[part] = '\0';
    } else {
        done[0] = '\0';
    }
    wrote = snprintf(joined, sizeof(joined), "%s%s/%s", done, target, rest);
    if (wrote < 0 || (size_t)wrote >= sizeof(joined)) {
        return false;
    }
    memcpy(way, joined, (size_t)wrote + 1);
    return true;
}

/**
 * Watch the folders that have a say in where @path leads, part by part: one that holds a link, one
 * in which something is missing, and the last.
 */
static void watch_way(struct pawl_file_watch *watch, const char *path)
{
    char way[PATH_MAX];  /* absolute; what is still to go begins at `at` */
    char done[PATH_MAX]; /* "/a/b/": every part so far is a real folder */
    unsigned links = 0;
    size_t at = 1;
    size_t end = 1;

    if (path[0] != '/' || strlen(path) >= sizeof(way)) {
        return;
    }
    memcpy(way, path, strlen(path) + 1);
    memcpy(done, "/", 2);
    for (;;) {
        struct stat info;
        size_t size;

        at += strspn(way + at, "/");
        size = strcspn(way + at, "/");
        if (size == 0) {
            watch_folder(watch, done); /* the path names a folder: its entries count */
            return;
        }
        if (end + size + 2 > sizeof(done)) {
            return;
        }
        memcpy(done + end, way + at, size);
        done[end + size] = '\0';
        at += size;
        if (lstat(done, &info) != 0 || (!S_ISDIR(info.st_mode) && !S_ISLNK(info.st_mode))) {
            done[end] = '\0'; /* missing, or the file itself */
            watch_folder(watch, done);
            return;
        }
        if (S_ISDIR(info.st_mode)) {
            end += size;
            done[end++] = '/';
            done[end] = '\0';
            continue;
        }
        /* A link: the folder that holds it counts, and the way begins anew with its target. */
        char saved = done[end];

        done[end] = '\0';
        watch_folder(watch, done);
        done[end] = saved;
        if (++links > LINKS_MAX || !follow(done, end, way + at, way)) {
            return;
        }
        memcpy(done, "/", 2);
        end = at = 1;
    }
}

/* Walk all ways anew; folders that no way needs any more are let go. */
static void watch_all(struct pawl_file_watch *watch)
{
    unsigned kept = 0;

    watch->whole = watch->fd >= 0;
    if (watch->fd < 0) {
        return;
    }
    memset(watch->wanted, 0, sizeof(watch->wanted));
    for (unsigned i = 0; i < watch->used.count; i++) {
        watch_way(watch, watch->used.files[i].path);
    }
    for (unsigned i = 0; i < watch->wd_count; i++) {
        if (watch->wanted[i]) {
            watch->wanted[kept] = true;
            watch->wds[kept++] = watch->wds[i];
        } else {
            (void)inotify_rm_watch(watch->fd, watch->wds[i]);
        }
    }
    watch->wd_count = kept;
}

/* ---- life ---------------------------------------------------------------------------------- */

enum pawl_status pawl_file_watch_open(const struct pawl_file_watch_options *options,
                                      struct pawl_file_watch **watch)
{
    struct pawl_file_watch *made = calloc(1, sizeof(*made));

    *watch = made;
    if (made == NULL) {
        return PAWL_ENOMEM;
    }
    made->options = *options;
    made->fd = options->no_inotify ? -1 : inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    return PAWL_OK;
}

void pawl_file_watch_close(struct pawl_file_watch *watch)
{
    if (watch == NULL) {
        return;
    }
    if (watch->fd >= 0) {
        (void)close(watch->fd);
    }
    set_clear(&watch->used);
    set_clear(&watch->next);
    free(watch);
}

void pawl_file_watch_set_poll(struct pawl_file_watch *watch, unsigned poll_ms)
{
    watch->options.poll_ms = poll_ms;
}

void pawl_file_watch_begin(struct pawl_file_watch *watch)
{
    set_clear(&watch->next);
}

enum pawl_status pawl_file_watch_add(struct pawl_file_watch *watch, const char *path)
{
    bool known;
    unsigned place = place_of(&watch->used, path, &known);

    return set_add(&watch->next, path, known ? watch->used.files[place].print : print_of(path));
}

void pawl_file_watch_use(struct pawl_file_watch *watch)
{
    set_clear(&watch->used);
    watch->used = watch->next;
    watch->next = (struct set){ NULL, 0, 0 };
    watch_all(watch);
}

void pawl_file_watch_also(struct pawl_file_watch *watch)
{
    for (unsigned i = 0; i < watch->next.count; i++) {
        const struct file *file = &watch->next.files[i];

        if (set_add(&watch->used, file->path, file->print) != PAWL_OK) {
            watch->whole = false;
            break; /* the config itself is there, and mending it is enough */
        }
    }
    set_clear(&watch->next);
    watch_all(watch);
}

/* ---- looking ------------------------------------------------------------------------------- */

/* Returns whether any looks otherwise. */
static bool look(struct pawl_file_watch *watch)
{
    bool changed = false;

    for (unsigned i = 0; i < watch->used.count; i++) {
        struct file *file = &watch->used.files[i];
        uint64_t print = print_of(file->path);

        changed = changed || print != file->print;
        file->print = print;
    }
    return changed;
}

void pawl_file_watch_look(struct pawl_file_watch *watch)
{
    (void)look(watch);
}

/* Whether @size bytes of events say more than that a watch of ours has ended. */
static bool says_something(const char *bytes, size_t size)
{
    struct inotify_event event;

    for (size_t at = 0; at + sizeof(event) <= size; at += sizeof(event) + event.len) {
        memcpy(&event, bytes + at, sizeof(event));
        if ((event.mask & IN_IGNORED) == 0) {
            return true;
        }
    }
    return false;
}

/* Empty the queue; what it says in detail does not matter, the look decides. */
static bool hear(struct pawl_file_watch *watch)
{
    bool heard = false;

    for (unsigned i = 0; watch->fd >= 0 && i < READS_MAX; i++) {
        char bytes[4096];
        ssize_t size = read(watch->fd, bytes, sizeof(bytes));

        if (size <= 0) {
            break;
        }
        heard = says_something(bytes, (size_t)size) || heard;
    }
    return heard;
}

/* How long from one look to the next where nothing is heard. */
static uint64_t patience_ms(const struct pawl_file_watch *watch)
{
    const struct pawl_file_watch_options *options = &watch->options;
    bool soon = !watch->whole && options->blind_ms > 0 && options->blind_ms < options->poll_ms;

    return soon ? options->blind_ms : options->poll_ms;
}

bool pawl_file_watch_step(struct pawl_file_watch *watch, uint64_t now_ms)
{
    bool due = false;

    if (hear(watch)) {
        watch_all(watch); /* at once: a folder that went and came back is to be seen from now on */
        watch->first_ms = watch->sign ? watch->first_ms : now_ms;
        watch->last_ms = now_ms;
        watch->sign = true;
    }
    if (watch->sign) {
        due = now_ms - watch->last_ms >= watch->options.quiet_ms ||
              now_ms - watch->first_ms >= watch->options.wait_max_ms;
    } else if (watch->looked_ms == 0) {
        watch->looked_ms = now_ms;
    } else {
        due = now_ms - watch->looked_ms >= patience_ms(watch);
    }
    if (!due) {
        return false;
    }
    watch->sign = false;
    watch->looked_ms = now_ms;
    watch_all(watch);
    return look(watch);
}

unsigned pawl_file_watch_folders(const struct pawl_file_watch *watch)
{
    return watch->wd_count;
}

bool pawl_file_watch_is_whole(const struct pawl_file_watch *watch)
{
    return watch->whole;
}
