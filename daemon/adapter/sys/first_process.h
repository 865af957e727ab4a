/*
 * Being process 1 of a container.
 *
 * The kernel takes the default actions of signals away from process 1: a SIGTERM that nobody has
 * asked for does not end it. And children that lost their parents become its own.
 */
#ifndef PAWL_ADAPTER_SYS_FIRST_PROCESS_H
#define PAWL_ADAPTER_SYS_FIRST_PROCESS_H

/**
 * Where this is process 1: SIGTERM and SIGINT end it at once with 128 + their number, as they would
 * any other process, whenever nobody else listens to them; and what is left to it by others is no
 * zombie when it ends. Elsewhere: nothing.
 *
 * Call it at the start, and again when whoever listened to the signals has stopped. It makes no
 * child of its own, and nothing may wait for one.
 */
void pawl_first_process_signals(void);

#endif
