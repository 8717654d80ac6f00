#include "core/tenant-private.h"

#include "core/config.h"

#include <assert.h>

#define FACTOR_MAX 100 /* an app's own limit, by the default */

struct tenant_limits tenant_limits_default = {
#define L(name, otherwise, doc) .name = otherwise,
    TENANT_LIMITS(L, L)
#undef L
};
struct tenant_limits tenant_limits_most = {
#define L(name, otherwise, doc) .name = otherwise * FACTOR_MAX,
#define D(name, otherwise, doc) .name = otherwise,
    TENANT_LIMITS(L, D)
#undef L
#undef D
};

void tenant_limits_start(const struct config *c)
{
#define L(name, otherwise, doc)
#define D(name, otherwise, doc) \
    if (c->name > 0) { \
        tenant_limits_default.name = tenant_limits_most.name = (uint32_t)c->name; \
    }
    TENANT_LIMITS(L, D)
#undef L
#undef D
}

struct tenant *tenant_new(const struct app_id *app)
{
    struct tenant *t = calloc(1, sizeof(*t));
    if (t == NULL) {
        fputs("out of memory: tenant\n", stderr);
        abort();
    }
    atomic_init(&t->refs, 1);
    t->app = *app;
    t->features = feature_defaults();
    t->token_ttl_seconds = 3600;
    t->limits = tenant_limits_default;
    return t;
}

const struct app_id *tenant_app(const struct tenant *t)
{
    return &t->app;
}

int64_t tenant_version(const struct tenant *t)
{
    return t->version;
}

bool tenant_active(const struct tenant *t)
{
    return t->status == TENANT_ACTIVE;
}

bool tenant_has(const struct tenant *t, enum feature f)
{
    return f == FEATURE_CORE || (t->features >> f & 1) != 0;
}

const uint8_t *tenant_id_key(const struct tenant *t)
{
    return t->id_key;
}

const struct tenant_limits *tenant_limits(const struct tenant *t)
{
    return &t->limits;
}

uint32_t tenant_token_ttl_seconds(const struct tenant *t)
{
    return t->token_ttl_seconds;
}

int64_t tenant_tokens_valid_after_ms(const struct tenant *t)
{
    return t->tokens_valid_after_ms;
}

bool tenant_origin_allowed(const struct tenant *t, const char *origin)
{
    if (t->origins == NULL || origin == NULL) {
        return true;
    }
    for (char **o = t->origins; *o != NULL; o++) {
        if (strcasecmp(*o, origin) == 0) {
            return true;
        }
    }
    return false;
}

struct tenant *tenant_ref(const struct tenant *t)
{
    struct tenant *mine = (struct tenant *)t; /* counting does not change what the tenant is */
    atomic_fetch_add(&mine->refs, 1);
    return mine;
}

void tenant_unref(void *p)
{
    struct tenant *t = p;
    if (t == NULL || atomic_fetch_sub(&t->refs, 1) > 1) {
        return;
    }
    for (char **o = t->origins; o != NULL && *o != NULL; o++) {
        free(*o);
    }
    free(t->origins);
    explicit_bzero(t->id_key, sizeof(t->id_key));
    free(t);
}
