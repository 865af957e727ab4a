/*
 * port/entropy.h by getrandom(2). No state; any thread.
 */
#ifndef PAWL_ADAPTER_SYS_ENTROPY_H
#define PAWL_ADAPTER_SYS_ENTROPY_H

#include "port/entropy.h"

/** Fill @entropy (out). Blocks only early in the machine's boot, until the kernel is seeded. */
void pawl_sys_entropy_init(struct pawl_entropy *entropy);

#endif
