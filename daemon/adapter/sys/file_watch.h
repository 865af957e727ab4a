/*
 * Whether files that were read have changed: the config, certificates, keys, folders of keys.
 *
 * inotify on every folder that has a say in what a path leads to (each folder on the way that holds
 * a link, the folder of the file itself, the nearest one that is there where something is missing)
 * says that something happened; what decides is a look at the files: where the path leads now
 * (device, inode), size, times. So a Kubernetes `..data` swap, an edit in place, a file renamed
 * over another, deleted and made again, and a folder that vanished and came back all count, and
 * traffic beside the files does not. As a net below it (network file systems) the files are looked
 * at every poll_ms; where inotify does not serve (its limits are for all processes of a user, those
 * of other containers included), every blind_ms.
 *
 * A change counts once nothing has happened for quiet_ms, or wait_max_ms after its first sign.
 *
 * Life: open, then begin/add/use (a set of files), step about ten times a second; a reload makes
 * the next set with begin/add and ends with use (that set), also (both: the reload was refused,
 * and what mends it may lie in either) or drop. Close. One thread.
 */
#ifndef PAWL_ADAPTER_SYS_FILE_WATCH_H
#define PAWL_ADAPTER_SYS_FILE_WATCH_H

#include "core/status.h"

#define PAWL_FILE_WATCH_FILES_MAX   16384 /* of a set */
#define PAWL_FILE_WATCH_FOLDERS_MAX 1024
#define PAWL_FILE_WATCH_ENTRIES_MAX 4096 /* of a watched folder that are looked at */

struct pawl_file_watch_options {
    unsigned quiet_ms;
    unsigned wait_max_ms;
    unsigned poll_ms;
    bool no_inotify;   /* look now and then, nothing else */
    unsigned blind_ms; /* in place of poll_ms where inotify does not serve; 0: poll_ms */
};

struct pawl_file_watch;

/** PAWL_OK or PAWL_ENOMEM. @watch is the caller's to close; NULL after an error. */
PAWL_MUST_USE enum pawl_status pawl_file_watch_open(const struct pawl_file_watch_options *options,
                                                    struct pawl_file_watch **watch);

/** NULL is nothing. */
void pawl_file_watch_close(struct pawl_file_watch *watch);

/** Other times between looks, from now on: a setting may change. */
void pawl_file_watch_set_poll(struct pawl_file_watch *watch, unsigned poll_ms);

/** An empty next set. One that was not ended is dropped. */
void pawl_file_watch_begin(struct pawl_file_watch *watch);

/**
 * @path, absolute, belongs to the next set, be it a file, a folder (its entries count) or nothing
 * yet. As it looks now is how it is known, or as pawl_file_watch_look() last saw it: so look, then
 * load, then add. Twice is once. PAWL_OK, PAWL_ENOMEM, PAWL_EFULL.
 */
PAWL_MUST_USE enum pawl_status pawl_file_watch_add(struct pawl_file_watch *watch, const char *path);

/** The next set in place of the one in use. */
void pawl_file_watch_use(struct pawl_file_watch *watch);

/** The next set beside the one in use. */
void pawl_file_watch_also(struct pawl_file_watch *watch);

/** Know every file of the set in use as it is now: what follows is read after this. */
void pawl_file_watch_look(struct pawl_file_watch *watch);

/**
 * Whether files have changed and it is quiet again. True once for a change: it has been looked at.
 *
 * @now_ms  of any clock that does not go back.
 */
bool pawl_file_watch_step(struct pawl_file_watch *watch, uint64_t now_ms);

/** Folders watched by inotify, and whether each folder that should be is. */
unsigned pawl_file_watch_folders(const struct pawl_file_watch *watch);
bool pawl_file_watch_is_whole(const struct pawl_file_watch *watch);

#endif
