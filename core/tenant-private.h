/* tenant-private.h: the inside of struct tenant. Readers: core/tenant.c, tenants/registry.c. */
#ifndef CORE_TENANT_PRIVATE_H
#define CORE_TENANT_PRIVATE_H

#include "core/tenant.h"

#include <stdatomic.h>

enum tenant_status { TENANT_ACTIVE, TENANT_SUSPENDED, TENANT_DELETED };

struct tenant {
    atomic_int refs;
    struct app_id app;
    enum tenant_status status;
    int64_t version;
    uint64_t features;
    uint8_t id_key[32];
    struct tenant_limits limits;
    uint32_t token_ttl_seconds;
    int64_t tokens_valid_after_ms;
    char **origins; /* NULL-terminated list, or NULL: any */
};

struct tenant *tenant_new(const struct app_id *app); /* one reference, limits and features at their defaults */

#endif
