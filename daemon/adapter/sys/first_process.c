#include "adapter/sys/first_process.h"

#include <signal.h>
#include <unistd.h>

#define EXIT_BY_SIGNAL 128 /* and its number: as shells and engines of containers count */

static void end_at_once(int number)
{
    _exit(EXIT_BY_SIGNAL + number);
}

void pawl_first_process_signals(void)
{
    struct sigaction end = { .sa_handler = end_at_once };
    struct sigaction ignore = { .sa_handler = SIG_IGN };

    if (getpid() != 1) {
        return;
    }
    (void)sigemptyset(&end.sa_mask);
    (void)sigemptyset(&ignore.sa_mask);
    (void)sigaction(SIGTERM, &end, NULL);
    (void)sigaction(SIGINT, &end, NULL);
    (void)sigaction(SIGCHLD, &ignore, NULL);
}
