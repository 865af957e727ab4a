/*
 * The system calls of a running pawld, as a seccomp filter. Part of the sandbox (sandbox.h).
 */
#ifndef PAWL_ADAPTER_SYS_SYSCALLS_H
#define PAWL_ADAPTER_SYS_SYSCALLS_H

#include <stdbool.h>

/**
 * Allow the calls listed in syscalls.c and no other, in every thread of the process, for ever. The
 * process needs no_new_privs or to be root.
 *
 * @may_connect  sockets may be made and connected.
 * Returns 0, or the errno of what went wrong; then nothing is in force.
 */
int pawl_syscalls_restrict(bool may_connect);

#endif
