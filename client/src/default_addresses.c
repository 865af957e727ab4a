#include "default_addresses.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/address.h"

#define OF_THE_MACHINE "unix:/run/pawl/pawld.sock,tcp:127.0.0.1:7401"

/* As the daemon's default_socket(): the runtime directory, or without one the state directory. */
static int own_socket(char *out, size_t size)
{
    const char *runtime = secure_getenv("XDG_RUNTIME_DIR");
    const char *state = secure_getenv("XDG_STATE_HOME");
    const char *home = secure_getenv("HOME");

    if (runtime != NULL && runtime[0] == '/') {
        return snprintf(out, size, "%s/pawl/pawld.sock", runtime);
    }
    if (state != NULL && state[0] == '/') {
        return snprintf(out, size, "%s/pawl/pawld.sock", state);
    }
    if (home != NULL && home[0] == '/') {
        return snprintf(out, size, "%s/.local/state/pawl/pawld.sock", home);
    }
    return -1;
}

const char *pawl_client_default_addresses(char *out)
{
    char path[PAWL_ADDRESS_PATH_MAX + 1];
    int size = geteuid() != 0 ? own_socket(path, sizeof(path)) : -1;

    /* A path that no socket can have, or that the list could not hold, has no pawld. */
    if (size > 0 && (size_t)size < sizeof(path) && strchr(path, ',') == NULL) {
        (void)snprintf(out, PAWL_DEFAULT_ADDRESSES_BYTES, "unix:%s,%s", path, OF_THE_MACHINE);
    } else {
        (void)snprintf(out, PAWL_DEFAULT_ADDRESSES_BYTES, "%s", OF_THE_MACHINE);
    }
    return out;
}
