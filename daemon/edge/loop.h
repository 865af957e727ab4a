/*
 * Event loops that do not end the process when memory runs out.
 *
 * libuv keeps a table of watchers by descriptor number, and aborts when that cannot grow: at the
 * start of a loop, or later under whoever opens the next connection. So a loop gets the whole table
 * when it is opened, from memory that was taken before, and never asks for more.
 */
#ifndef PAWL_EDGE_LOOP_H
#define PAWL_EDGE_LOOP_H

#include "core/status.h"

#include <uv.h>

#define PAWL_FDS_BESIDE 256 /* descriptors that are no connections: store, logs, loops */

/**
 * uv_loop_init(), with a table for the descriptor numbers below @fds.
 *
 * @fds  more than the process can open is cut to that. Numbers above may still abort.
 *
 * Returns PAWL_OK; PAWL_ENOMEM or PAWL_EIO with errno set, and @loop is then nothing. Call it
 * before the loop's thread runs; one thread at a time.
 */
PAWL_MUST_USE enum pawl_status pawl_loop_open(uv_loop_t *loop, unsigned fds);

#endif
