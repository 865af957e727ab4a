#include "adapter/sys/entropy.h"

#include <errno.h>
#include <sys/random.h>

static enum pawl_status entropy_fill(void *self, void *out, size_t size)
{
    uint8_t *at = out;

    (void)self;
    while (size > 0) {
        ssize_t got = getrandom(at, size, 0);

        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return PAWL_EIO;
        }
        at += got;
        size -= (size_t)got;
    }
    return PAWL_OK;
}

void pawl_sys_entropy_init(struct pawl_entropy *entropy)
{
    *entropy = (struct pawl_entropy){ .fill = entropy_fill, .self = NULL };
}
