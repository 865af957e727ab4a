/*
 * Addresses as people write them.
 *
 * What must hold: an address or an error that says something; what was read is within its bounds
 * and writes a text that reads to the same address; no byte behind the text is read; a text cut
 * short by its buffer still ends.
 */
#include "core/address.h"
#include "fuzz/require.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_address(const struct pawl_address *address)
{
    char text[PAWL_ADDRESS_TEXT_MAX];
    char cut[16];
    struct pawl_address again;
    size_t size = pawl_address_format(address, text, sizeof(text));

    require(address->kind == PAWL_ADDRESS_UNIX || address->kind == PAWL_ADDRESS_TCP ||
            address->kind == PAWL_ADDRESS_TLS);
    require(memchr(address->path, '\0', sizeof(address->path)) != NULL);
    require(memchr(address->host, '\0', sizeof(address->host)) != NULL);
    require((address->path[0] != '\0') == (address->kind == PAWL_ADDRESS_UNIX));
    require((address->host[0] != '\0') == (address->kind != PAWL_ADDRESS_UNIX));
    require(size < sizeof(text) && strlen(text) == size);
    require(pawl_address_parse(pawl_bytes_of(text, size), &again, NULL) == PAWL_OK);
    require(again.kind == address->kind && again.is_abstract == address->is_abstract &&
            again.port == address->port && strcmp(again.path, address->path) == 0 &&
            strcmp(again.host, address->host) == 0);
    require(pawl_address_format(address, cut, sizeof(cut)) == strlen(cut));
    require(strncmp(cut, text, strlen(cut)) == 0);
    require(pawl_address_format(address, cut, 0) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct pawl_address nothing;
    struct pawl_error error = { PAWL_OK, 0, "" };
    struct pawl_address address;
    uint8_t *copy = malloc(size > 0 ? size : 1);
    char text[32];

    require(copy != NULL);
    memcpy(copy, data, size);
    enum pawl_status status = pawl_address_parse(pawl_bytes_of(copy, size), &address, &error);

    if (status == PAWL_OK) {
        check_address(&address);
    } else {
        require(status == PAWL_EINVAL || status == PAWL_ETOOBIG);
        require(error.status == status && error.text[0] != '\0');
        require(memcmp(&address, &nothing, sizeof(address)) == 0);
        require(pawl_address_format(&address, text, sizeof(text)) == strlen(text));
    }
    require(pawl_address_parse(pawl_bytes_of(copy, size), &address, NULL) == status);
    free(copy);
    return 0;
}
