/*
 * Giving up what is not needed once started, so that whoever takes the process over finds little:
 *
 *  - no new privileges; no core file, and no look into our memory by others of our user;
 *  - Landlock: files can be opened in the named folders alone, TCP connected to nowhere (in a
 *    cluster: anywhere, and what names are looked up in can be read);
 *  - seccomp: the system calls of a running daemon and no other. What only an intruder asks for
 *    (another program, other processes, mounts, kernel keys and modules) ends the process; anything
 *    else that is unknown is refused with EPERM.
 *
 * Life: pawl_sandbox_files() while there is one thread (threads made later inherit it), then
 * pawl_sandbox_calls() when listeners are bound and all is open (all threads at once). Nothing of
 * it can be undone. What the kernel or the build lacks is left out and said.
 */
#ifndef PAWL_ADAPTER_SYS_SANDBOX_H
#define PAWL_ADAPTER_SYS_SANDBOX_H

#include "core/status.h"

/** What may be done below a folder. */
enum pawl_sandbox_use {
    PAWL_SANDBOX_READ = 0,
    PAWL_SANDBOX_WRITE,   /* read, make, write, rename and remove files */
    PAWL_SANDBOX_SOCKETS, /* make and remove Unix sockets */
};

struct pawl_sandbox {
    bool files;             /* Landlock is in force */
    bool calls;             /* seccomp is in force */
    char files_missing[80]; /* why not; "" = it is, or is still to come */
    char calls_missing[80];
    /* private */
    int ruleset;  /* of Landlock, until it is in force; -1 = none */
    unsigned abi; /* of Landlock */
};

/**
 * Nothing is allowed yet and nothing in force. Where the build cannot have a sandbox (sanitizers
 * and coverage need calls and files of their own) or the kernel has no Landlock, that is noted
 * here. Cannot fail.
 */
void pawl_sandbox_init(struct pawl_sandbox *sandbox);

/** Allow @use of the folder or file @path and all below it; one that is not there is nothing. Not
 * after pawl_sandbox_files(). */
void pawl_sandbox_allow(struct pawl_sandbox *sandbox, const char *path, enum pawl_sandbox_use use);

/**
 * Allow reading @path and what may come in its place: of a folder all below it; of a file, there or
 * not, the folder that the path names, and the one where links lead now.
 */
void pawl_sandbox_allow_file(struct pawl_sandbox *sandbox, const char *path);

/**
 * Outgoing TCP is part of the job (a cluster): it is not forbidden, and the files of the system's
 * resolver and its list of CAs can be read. Before any other allow, for those begin anew.
 */
void pawl_sandbox_allow_network(struct pawl_sandbox *sandbox);

/**
 * No new privileges, no core files, Landlock: of the calling thread and those that it makes.
 * Returns whether Landlock is in force; else files_missing says why.
 */
bool pawl_sandbox_files(struct pawl_sandbox *sandbox);

/**
 * seccomp, of all threads. Returns whether it is in force; else calls_missing says why.
 *
 * @may_connect  outgoing connections are part of the job (a cluster).
 */
bool pawl_sandbox_calls(struct pawl_sandbox *sandbox, bool may_connect);

/**
 * Whether @path can be opened as far as the sandbox goes, for a clear word before something fails
 * at it. PAWL_OK (also where it is not there, or the file's own mode is against it); PAWL_EPERM: it
 * lies outside of what was allowed at start, and only a restart helps.
 */
PAWL_MUST_USE enum pawl_status pawl_sandbox_check_file(const struct pawl_sandbox *sandbox,
                                                       const char *path, struct pawl_error *error);

/**
 * What is in force: "seccomp+landlock", "seccomp (landlock: not in this kernel)", "off (...)", at
 * @out of @capacity bytes.
 */
void pawl_sandbox_text(const struct pawl_sandbox *sandbox, char *out, size_t capacity);

/** Close what is open; what is in force stays. */
void pawl_sandbox_deinit(struct pawl_sandbox *sandbox);

#endif
