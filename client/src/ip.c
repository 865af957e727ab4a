#include "private.h"

#include <arpa/inet.h>
#include <stdio.h>

int pawl_key_from_ip(const char *text, char *out)
{
    char address[INET6_ADDRSTRLEN];
    uint8_t v6[16];
    uint8_t v4[4];
    size_t size;

    out[0] = '\0';
    if (text == NULL) {
        return PAWL_RC_INVALID;
    }
    text += text[0] == '[' ? 1 : 0;
    size = strcspn(text, "%]");
    if (size == 0 || size >= sizeof(address)) {
        return PAWL_RC_INVALID;
    }
    memcpy(address, text, size);
    address[size] = '\0';
    if (inet_pton(AF_INET, address, v4) == 1) {
        return inet_ntop(AF_INET, v4, out, PAWL_TEXT_IP_BYTES) != NULL ? PAWL_RC_OK
                                                                       : PAWL_RC_INVALID;
    }
    if (inet_pton(AF_INET6, address, v6) != 1) {
        return PAWL_RC_INVALID;
    }
    if (IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)(const void *)v6)) {
        (void)inet_ntop(AF_INET, v6 + 12, out, PAWL_TEXT_IP_BYTES);
        return PAWL_RC_OK;
    }
    memset(v6 + 8, 0, 8);
    (void)inet_ntop(AF_INET6, v6, address, sizeof(address));
    (void)snprintf(out, PAWL_TEXT_IP_BYTES, "%.39s/64", address);
    return PAWL_RC_OK;
}
