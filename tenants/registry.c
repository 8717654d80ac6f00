#include "tenants/registry.h"

#include "core/clock.h"
#include "core/crypto.h"
#include "core/log.h"
#include "core/tenant-private.h"
#include "storage/apps.h"
#include "tenants/cache.h"

#define FRESH_MS 5000
#define ORIGINS_MAX 100
#define ORIGIN_LEN_MAX 255

static uint8_t master[32];
static uint8_t sealing[SEAL_KEY_LEN];

CACHE_DEFINE(apps, 512);

/* ---- the master key ---- */

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdefABCDEF";
    const char *at = c != '\0' ? strchr(digits, c) : NULL;
    return at == NULL ? -1 : at - digits < 16 ? (int)(at - digits) : (int)(at - digits) - 6;
}

int registry_start(const struct config *c, struct err *e)
{
    const char *hex = c->master_key != NULL ? c->master_key : "";
    bool good = strlen(hex) == 2 * sizeof(master);
    for (size_t i = 0; good && i < sizeof(master); i++) {
        int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);
        good = high >= 0 && low >= 0;
        master[i] = (uint8_t)((high & 15) << 4 | (low & 15));
    }
    if (!good) {
        crypto_wipe(master, sizeof(master));
        return err_set(e, ERR_VALIDATION_FAILED,
                       "PARLEY_MASTER_KEY_FILE must name a file with 64 hexadecimal digits (openssl rand -hex 32).");
    }
    registry_derive("seal", sealing);
    tenant_limits_start(c);
    return 0;
}

void registry_derive(const char *purpose, uint8_t out[32])
{
    crypto_hkdf_sha256(master, sizeof(master), purpose, out, 32);
}

static char *place(struct arena *a, const struct app_id *app, const char *what)
{
    char id[ID_TEXT_MAX];
    return arena_printf(a, "%s|%s", app_id_print(app, id), what);
}

uint8_t *registry_seal(struct arena *a, const struct app_id *app, const char *what, const void *secret, size_t len, size_t *len_r)
{
    const char *aad = place(a, app, what);
    return crypto_seal(a, sealing, aad, strlen(aad), secret, len, len_r);
}

int registry_open(struct arena *a, const struct app_id *app, const char *what, const void *sealed, size_t len, uint8_t **secret_r,
                  size_t *len_r, struct err *e)
{
    const char *aad = place(a, app, what);
    return crypto_open(a, sealing, aad, strlen(aad), sealed, len, secret_r, len_r, e);
}

/* ---- from a row to a tenant ---- */

static void set_features(struct tenant *t, const json_t *features)
{
    const char *name;
    json_t *on;
    json_object_foreach ((json_t *)features, name, on) {
        enum feature f;
        if (feature_find(name, &f) == 1 && json_is_boolean(on)) {
            t->features = (t->features & ~(UINT64_C(1) << f)) | (uint64_t)json_is_true(on) << f;
        }
    }
}

static void set_limits(struct tenant *t, const json_t *limits)
{
    int64_t n;
#define L(name, otherwise, doc) \
    n = json_int(limits, #name, 0); \
    if (n > 0) { /* the deployment's may be lower now than when it was set */ \
        t->limits.name = n < (int64_t)tenant_limits_most.name ? (uint32_t)n : tenant_limits_most.name; \
    }
    TENANT_LIMITS(L, L)
#undef L
}

static void set_origins(struct tenant *t, const json_t *origins)
{
    if (!json_is_array(origins)) {
        return;
    }
    size_t n = json_array_size(origins);
    t->origins = calloc(n + 1, sizeof(*t->origins));
    for (size_t i = 0; t->origins != NULL && i < n; i++) {
        const char *text = json_string_value(json_array_get(origins, i));
        t->origins[i] = strdup(text != NULL ? text : "");
        if (t->origins[i] == NULL) {
            break;
        }
    }
    if (t->origins == NULL || (n > 0 && t->origins[n - 1] == NULL)) { /* a list that is not there would mean: any */
        fputs("out of memory: origins\n", stderr);
        abort();
    }
}

static int tenant_of(struct arena *a, const struct app *row, struct tenant **t_r, struct err *e)
{
    uint8_t *id_key;
    size_t len;
    if (registry_open(a, &row->id, "id_key", row->id_key_sealed, row->id_key_sealed_len, &id_key, &len, e) < 0) {
        return -1;
    }
    struct tenant *t = tenant_new(&row->id);
    if (len != sizeof(t->id_key)) {
        tenant_unref(t);
        return err_set(e, ERR_INTERNAL, "the id key of an app has the wrong length");
    }
    memcpy(t->id_key, id_key, len);
    crypto_wipe(id_key, len);
    t->status = strcmp(row->status, "active") == 0    ? TENANT_ACTIVE
                : strcmp(row->status, "deleted") == 0 ? TENANT_DELETED
                                                      : TENANT_SUSPENDED;
    t->version = row->version;
    set_features(t, row->features);
    set_limits(t, row->limits);
    set_origins(t, row->origins);
    t->token_ttl_seconds = row->token_ttl_seconds != 0 ? row->token_ttl_seconds : t->token_ttl_seconds;
    t->tokens_valid_after_ms = row->tokens_valid_after_ms;
    *t_r = t;
    return 0;
}

/* ---- handing out ---- */

struct known_app {
    struct cache_value value;
    struct tenant *tenant;
};

static void free_known(void *p)
{
    struct known_app *k = p;
    tenant_unref(k->tenant);
    free(k);
}

struct load {
    struct arena *a;
    const struct app_id *app;
};

static int load_app(void *ctx, struct cache_value **value_r, struct err *e)
{
    const struct load *l = ctx;
    struct app row;
    struct tenant *t = NULL;
    int found = apps_load(l->a, l->app, &row, e);
    if (found != 1) {
        return found;
    }
    if (tenant_of(l->a, &row, &t, e) < 0) {
        log_error("app_unreadable", "an app cannot be used: %s", e->msg);
        return -1;
    }
    struct known_app *k = cache_value_new(sizeof(*k), free_known);
    k->tenant = t;
    *value_r = &k->value;
    return 1;
}

int registry_find(struct arena *a, const struct app_id *app, const struct tenant **t_r, struct err *e)
{
    struct load l = {.a = a, .app = app};
    struct cache_want want = {.app = *app, .fresh_ms = FRESH_MS, .load = load_app, .ctx = &l};
    struct cache_value *value;
    struct err away;
    cache_key(want.key, app, NULL, NULL);
    int found = cache_get(&apps, a, &want, &value, &away, e);
    if (found == 1) {
        *t_r = ((const struct known_app *)(const void *)value)->tenant;
    }
    return found;
}

int registry_get(struct arena *a, const struct app_id *app, const struct tenant **t_r, struct err *e)
{
    const struct tenant *t;
    int found = registry_find(a, app, &t, e);
    if (found != 1) {
        return found == 0 ? err_set(e, ERR_NOT_FOUND, "There is no such app.") : -1;
    }
    if (!tenant_active(t)) {
        return registry_inactive(t, e);
    }
    *t_r = t;
    return 0;
}

int registry_inactive(const struct tenant *t, struct err *e)
{
    return err_set(e, ERR_APP_SUSPENDED, "The app is %s.",
                   t->status == TENANT_DELETED ? "deleted" : "suspended; its operator can reactivate it");
}

struct tenant *registry_current(const struct tenant *t)
{
    uint8_t key[CACHE_KEY_LEN];
    int64_t at_ms;
    cache_key(key, &t->app, NULL, NULL);
    struct known_app *k = cache_find(&apps, key, &at_ms);
    struct tenant *newest = tenant_ref(k != NULL ? k->tenant : t);
    cache_release(k);
    return newest;
}

void registry_invalidate(const struct app_id *app)
{
    cache_drop(&apps, app, NULL, NULL);
}

/* ---- settings ---- */

/* A member's pointer, or the object's own when the name would need escaping. */
static const char *pointer_to(char out[96], const char *object, const char *name)
{
    size_t plain = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");
    bool usable = name[plain] == '\0' && plain <= 64;
    snprintf(out, 96, "%s%s%s", object, usable ? "/" : "", usable ? name : "");
    return out;
}

static int check_features(const json_t *features, struct err *e)
{
    char pointer[96];
    const char *name;
    json_t *on;
    json_object_foreach ((json_t *)features, name, on) {
        enum feature f;
        if (feature_find(name, &f) != 1) {
            return err_at(e, ERR_VALIDATION_FAILED, pointer_to(pointer, "/features", name), "There is no such feature.");
        }
        if (!json_is_boolean(on) && !json_is_null(on)) {
            return err_at(e, ERR_VALIDATION_FAILED, pointer_to(pointer, "/features", name), "It must be true or false.");
        }
        if (f == FEATURE_CORE && json_is_false(on)) {
            return err_at(e, ERR_VALIDATION_FAILED, pointer_to(pointer, "/features", name), "It is always on.");
        }
    }
    return 0;
}

static uint32_t limit_most(const char *name)
{
#define L(field, otherwise, doc) \
    if (strcmp(name, #field) == 0) { \
        return tenant_limits_most.field; \
    }
    TENANT_LIMITS(L, L)
#undef L
    return 0;
}

static int check_limits(const json_t *limits, struct err *e)
{
    char pointer[96];
    const char *name;
    json_t *n;
    json_object_foreach ((json_t *)limits, name, n) {
        int64_t most = limit_most(name);
        if (most == 0) {
            return err_at(e, ERR_VALIDATION_FAILED, pointer_to(pointer, "/limits", name), "There is no such limit.");
        }
        if (!json_is_null(n) && (!json_is_integer(n) || json_integer_value(n) < 1 || json_integer_value(n) > most)) {
            return err_at(e, ERR_VALIDATION_FAILED, pointer_to(pointer, "/limits", name), "It must be an integer from 1 to %lld.",
                          (long long)most);
        }
    }
    return 0;
}

/* scheme://host[:port], as browsers send it (RFC 6454 6.2): no path, no wildcard. */
static bool is_origin(const char *s)
{
    static const char lower[] = "abcdefghijklmnopqrstuvwxyz", host[] = "abcdefghijklmnopqrstuvwxyz0123456789.-_";
    size_t scheme = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789+.-");
    if (strlen(s) > ORIGIN_LEN_MAX || scheme == 0 || strchr(lower, s[0]) == NULL || strncmp(s + scheme, "://", 3) != 0) {
        return false;
    }
    const char *p = s + scheme + 3;
    size_t n = *p == '[' ? strspn(p + 1, "0123456789abcdef:.") + 1 : strspn(p, host);
    n += *p == '[' && p[n] == ']';
    if (n == 0 || (*p == '[' && (n < 4 || p[n - 1] != ']'))) {
        return false;
    }
    p += n;
    if (*p == ':') {
        size_t digits = strspn(++p, "0123456789");
        if (digits < 1 || digits > 5 || atoi(p) < 1 || atoi(p) > 65535) {
            return false;
        }
        p += digits;
    }
    return *p == '\0';
}

static int check_origins(const json_t *origins, struct err *e)
{
    char pointer[96];
    if (origins == NULL || json_is_null(origins)) {
        return 0;
    }
    if (!json_is_array(origins) || json_array_size(origins) > ORIGINS_MAX) {
        return err_at(e, ERR_VALIDATION_FAILED, "/origins", "It must be null or a list of at most %d origins.", ORIGINS_MAX);
    }
    for (size_t i = 0; i < json_array_size(origins); i++) {
        const char *text = json_string_value(json_array_get(origins, i));
        if (text == NULL || !is_origin(text)) {
            snprintf(pointer, sizeof(pointer), "/origins/%zu", i);
            return err_at(e, ERR_VALIDATION_FAILED, pointer, "It must be an origin such as https://chat.example.com: lower case, no path.");
        }
    }
    return 0;
}

int registry_check_settings(const json_t *features, const json_t *limits, const json_t *origins, struct err *e)
{
    return check_features(features, e) < 0 || check_limits(limits, e) < 0 || check_origins(origins, e) < 0 ? -1 : 0;
}
