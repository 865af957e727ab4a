/*
 * Where a pawld without a config file listens, as seen by whoever asks: the same folders that the
 * daemon's settings take from the environment.
 */
#ifndef PAWL_CLIENT_DEFAULT_ADDRESSES_H
#define PAWL_CLIENT_DEFAULT_ADDRESSES_H

#define PAWL_DEFAULT_ADDRESSES_BYTES 256

/**
 * The list for those who name no address, in the order to try: for an ordinary user the socket of a
 * pawld of their own, then the machine's, then TCP on loopback.
 *
 * @out  PAWL_DEFAULT_ADDRESSES_BYTES bytes. Returns @out. Any thread that leaves the environment
 *       alone.
 */
const char *pawl_client_default_addresses(char *out);

#endif
