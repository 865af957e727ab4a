/*
 * The file of a shared secret (credentials.*.secret_file): its bytes, less the end of line.
 */
#ifndef PAWL_ADAPTER_SYS_CREDENTIAL_H
#define PAWL_ADAPTER_SYS_CREDENTIAL_H

#include "core/status.h"

#define PAWL_CREDENTIAL_FILE_BYTES_MAX 1024

/**
 * Read @path into @out (PAWL_CREDENTIAL_FILE_BYTES_MAX), which the caller wipes.
 *
 * @size   out: bytes, line ends at the end not counted; 0 for an empty file.
 * @error  may be NULL: which file, what is wrong, what to do.
 *
 * Returns PAWL_OK; PAWL_ENOENT; PAWL_EPERM (not readable; or everybody may read, or others write
 * it); PAWL_ETOOBIG; PAWL_EINVAL (no regular file); PAWL_EIO. Blocks on the file.
 */
PAWL_MUST_USE enum pawl_status pawl_credential_read(const char *path, uint8_t *out, size_t *size,
                                                    struct pawl_error *error);

#endif
