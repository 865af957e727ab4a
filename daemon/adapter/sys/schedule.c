#include "adapter/sys/schedule.h"

#include <sched.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TURN_NS 100000 /* the least that the kernel takes; its own is around 3 ms */

/* struct sched_attr of linux/sched/types.h, which the C library does not declare. */
struct turn_attr {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns;
    uint64_t deadline_ns;
    uint64_t period_ns;
};

void pawl_schedule_short_turns(void)
{
    struct turn_attr attr = { 0 };

    if (syscall(SYS_sched_getattr, 0, &attr, (unsigned)sizeof(attr), 0u) != 0 ||
        attr.policy != SCHED_OTHER) {
        return;
    }
    attr.size = sizeof(attr);
    attr.runtime_ns = TURN_NS;
    (void)syscall(SYS_sched_setattr, 0, &attr, 0u);
}
