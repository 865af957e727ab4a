/*
 * Bytes given to the server's end of a TLS connection, before its handshake and after it.
 *
 * The first byte of the input says how: bit 0, after a handshake; bit 1, the rest goes in through a
 * client's own records (plain text, so that the framing behind it is met), else raw; the other bits
 * are how many bytes go in at a time.
 *
 * What must hold: no state but the four; what waits to be sent is bounded and stays; a connection
 * that has failed takes anything and gives nothing; what went in as plain text comes out the same.
 */
#include "adapter/tls/connection.h"
#include "fuzz/require.h"
#include "unit/tls_rig.h"

#define OPS (&pawl_tls_ops)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct pawl_tls_context *server_context;
static struct pawl_tls_context *client_context;

static void make_world(void)
{
    char folder[] = "/tmp/pawl_fuzz_tls_XXXXXX";
    struct tls_pair ca, server, client;

    TLS_MUST(mkdtemp(folder) != NULL);
    tls_pair_make(&ca, folder, "ca", NULL, NULL);
    tls_pair_make(&server, folder, "server", &ca, "DNS:localhost");
    tls_pair_make(&client, folder, "client", &ca, "DNS:client");
    server_context = tls_server_of(&server, ca.certificate_file);
    client_context = tls_client_of(ca.certificate_file, &client);
    tls_pair_free(&ca);
    tls_pair_free(&server);
    tls_pair_free(&client);
    (void)rmdir(folder);
}

static void look(const struct pawl_tls_connection *connection)
{
    struct pawl_bytes first = OPS->peek(connection);

    require(OPS->state(connection) <= PAWL_TLS_FAILED);
    require(OPS->failure(connection) != NULL);
    require(OPS->pending(connection) <= PAWL_TLS_OUT_MAX);
    require((first.size == 0) == (OPS->pending(connection) == 0));
    (void)OPS->is_partial(connection);
}

/** Give @size bytes in steps and read all there is; how many came out. */
static size_t feed(struct pawl_tls_connection *connection, const uint8_t *data, size_t size,
                   size_t step, uint8_t *out, size_t room)
{
    size_t got = 0;

    for (size_t at = 0; at < size; at += step) {
        size_t part = size - at < step ? size - at : step;
        size_t more;

        require(OPS->give(connection, data + at, part) == PAWL_OK);
        while ((more = OPS->read(connection, out + got, room - got)) > 0) {
            got += more;
            require(got <= room);
        }
        look(connection);
    }
    return got;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t out[1 << 17];
    struct pawl_tls_connection *server;
    struct pawl_tls_connection *client;
    struct pawl_tls_peer peer;
    uint8_t how;
    size_t step;

    if (server_context == NULL) {
        make_world();
    }
    if (size == 0 || size > 65536) {
        return 0;
    }
    how = data[0];
    step = (size_t)(how >> 2) + 1;
    data++;
    size--;
    server = OPS->accept(server_context);
    client = OPS->connect(client_context, "localhost");
    require(server != NULL && client != NULL);
    if ((how & 1) != 0) {
        tls_settle(client, server, 65536);
        require(OPS->state(server) == PAWL_TLS_OPEN);
    }
    if ((how & 3) == 3) {
        require(OPS->write(client, data, size) == PAWL_OK);
        size_t got = 0;

        while (OPS->pending(client) > 0) {
            struct pawl_bytes first = OPS->peek(client);

            got += feed(server, first.data, first.size, step * 64, out + got, sizeof(out) - got);
            OPS->sent(client, first.size);
        }
        require(got == size && (size == 0 || memcmp(out, data, size) == 0));
    } else {
        (void)feed(server, data, size, step, out, sizeof(out));
    }
    if (OPS->state(server) == PAWL_TLS_FAILED) {
        require(OPS->give(server, data, size) == PAWL_OK);
        require(OPS->read(server, out, sizeof(out)) == 0);
        require(OPS->write(server, (const uint8_t *)"x", 1) == PAWL_ECONN);
        require(OPS->failure(server)[0] != '\0');
    }
    OPS->peer(server, &peer);
    require(!peer.has_certificate || (how & 1) != 0);
    OPS->finish(server);
    OPS->sent(server, OPS->pending(server));
    look(server);
    OPS->close(server);
    OPS->close(client);
    return 0;
}
