/*
 * A descriptor that somebody else's code wants to hear of in the main loop: the HTTP server's, a
 * client handle's. The loop itself (libuv) stays in edge/; whoever is watched knows no loop.
 */
#ifndef PAWL_PORT_WATCH_H
#define PAWL_PORT_WATCH_H

/** Main loop's thread, all of it. What is pointed at must outlive the loop. */
struct pawl_watch {
    int fd; /* looked at for reading; stays its owner's */
    /** @fd is readable, or the time that timeout_ms said has passed. */
    void (*ready)(void *ctx);
    /**
     * Before the loop sleeps, each turn: do what is to be done before (send what was put off), and
     * say in how many milliseconds ready() is wanted though @fd is silent. 0: at once; -1: never.
     */
    int (*timeout_ms)(void *ctx);
    void *ctx;
};

#endif
