/*
 * How the kernel shares processors out to this process.
 */
#ifndef PAWL_ADAPTER_SYS_SCHEDULE_H
#define PAWL_ADAPTER_SYS_SCHEDULE_H

/**
 * Ask for short turns on the processor: where more threads want to run than there are processors,
 * who asks for short turns gets its next one sooner, and no larger share (EEVDF, Linux 6.12 and
 * later; see sched_setattr(2)). A check takes microseconds, and its caller waits.
 *
 * For the calling thread and those that it makes from now on: call it before threads. Keeps policy
 * and nice value; another policy than the usual one is left alone. Needs no privilege. Where the
 * kernel does not know this, nothing happens.
 */
void pawl_schedule_short_turns(void);

#endif
