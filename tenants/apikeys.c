#include "tenants/apikeys.h"

#include "core/clock.h"
#include "core/crypto.h"
#include "core/log.h"
#include "storage/apikeys.h"
#include "tenants/cache.h"
#include "tenants/cidr.h"
#include "tenants/registry.h"
#include "tenants/scopes.h"

#define ID_LEN 12
#define SECRET_LEN 43
#define CRC_LEN 6
#define FRESH_MS 5000
#define TOUCH_MS 3600000
#define CIDRS_MAX 100

CACHE_DEFINE(known_keys, 128); /* by the SHA-256 of the text; only keys that exist */

static struct apikey_text admin; /* public_id "" = none */

/* ---- text ---- */

static void describe(struct apikey_text *k, size_t id_at)
{
    size_t len = strlen(k->text);
    memcpy(k->public_id, k->text + id_at, ID_LEN);
    memcpy(k->last4, k->text + len - 4, 4);
    crypto_sha256(k->text, len, k->sha256);
}

void apikeys_generate(const char *mode, struct apikey_text *k_r)
{
    struct apikey_text k = {.text = ""};
    char id[ID_LEN + 1], secret[SECRET_LEN + 1], crc[CRC_LEN + 1];
    crypto_random_base62(id, ID_LEN);
    crypto_random_base62(secret, SECRET_LEN);
    int n = snprintf(k.text, sizeof(k.text), "ply_%s_%s_%s", mode, id, secret);
    crypto_base62_u32(crypto_crc32(k.text, (size_t)n), crc);
    snprintf(k.text + n, sizeof(k.text) - (size_t)n, "%s", crc);
    describe(&k, strlen("ply_") + strlen(mode) + 1);
    crypto_wipe(secret, sizeof(secret));
    *k_r = k;
}

int apikeys_parse(const char *text, struct apikey_text *k_r)
{
    static const char *const heads[] = {"ply_live_", "ply_test_", "ply_adm_"};
    static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    char crc[CRC_LEN + 1];
    for (size_t i = 0; i < sizeof(heads) / sizeof(*heads); i++) {
        size_t head = strlen(heads[i]), signed_len = head + ID_LEN + 1 + SECRET_LEN;
        if (strncmp(text, heads[i], head) != 0) {
            continue;
        }
        const char *id = text + head, *secret = id + ID_LEN + 1;
        if (strnlen(text, APIKEY_TEXT_MAX) != signed_len + CRC_LEN || strspn(id, base62) != ID_LEN || id[ID_LEN] != '_' ||
            strspn(secret, base62) != SECRET_LEN + CRC_LEN) {
            return -1;
        }
        crypto_base62_u32(crypto_crc32(text, signed_len), crc);
        if (strcmp(text + signed_len, crc) != 0) {
            return -1;
        }
        struct apikey_text k = {.text = ""};
        memcpy(k.text, text, signed_len + CRC_LEN);
        describe(&k, head);
        *k_r = k;
        return 0;
    }
    return -1;
}

/* ---- the operator's key ---- */

int apikeys_admin_start(const struct config *c, struct err *e)
{
    struct apikey_text k;
    const char *text = c->admin_key != NULL ? c->admin_key : "";
    if (strncmp(text, "ply_adm_", 8) != 0 || apikeys_parse(text, &k) < 0) {
        return err_set(e, ERR_VALIDATION_FAILED,
                       "PARLEY_ADMIN_KEY_FILE must name a file with a platform-admin key (parley-api --new-admin-key prints one).");
    }
    admin = k;
    crypto_wipe(admin.text, sizeof(admin.text));
    crypto_wipe(k.text, sizeof(k.text));
    return 0;
}

bool apikeys_is_admin(const char *text)
{
    uint8_t sha256[SHA256_LEN];
    crypto_sha256(text, strlen(text), sha256);
    return crypto_equal(sha256, admin.sha256, sizeof(sha256)) && admin.public_id[0] != '\0';
}

/* ---- verifying ---- */

struct known_key {
    struct cache_value value;
    struct app_id app;
    struct key_id key;
    uint64_t scopes;
    bool test;
    int64_t expires_ms, secret_expires_ms, revoked_ms, last_used_ms;
    size_t cidr_count;
    struct cidr cidrs[];
};

struct look_up {
    struct arena *a;
    const struct apikey_text *text;
    bool loaded;
};

static int refuse(struct err *e)
{
    return err_set(e, ERR_INVALID_API_KEY, "The API key is unknown or revoked.");
}

/* An entry that is no block holds no address; the list stays one. */
static void read_cidrs(const json_t *list, struct known_key *k)
{
    for (size_t i = 0; i < k->cidr_count; i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (text == NULL || cidr_parse(text, &k->cidrs[i]) < 0) {
            k->cidrs[i] = (struct cidr){.prefix = 128};
        }
    }
}

static struct known_key *keep(const struct apikey_match *m)
{
    size_t n = json_array_size(m->key.cidrs);
    struct known_key *k = cache_value_new(sizeof(*k) + n * sizeof(k->cidrs[0]), free);
    k->app = m->app;
    k->key = m->key.id;
    k->test = strcmp(m->key.mode, "test") == 0;
    k->expires_ms = m->key.expires_ms;
    k->secret_expires_ms = m->secret_expires_ms;
    k->revoked_ms = m->key.revoked_ms;
    k->last_used_ms = m->key.last_used_ms;
    k->cidr_count = n;
    read_cidrs(m->key.cidrs, k);
    if (scopes_parse(m->key.scopes, &k->scopes) != 0) {
        log_warn("scope_unknown", "an API key holds a scope that this version does not know; it has none");
    }
    return k;
}

static int load_key(void *ctx, struct cache_value **value_r, struct err *e)
{
    static const uint8_t nobody[SHA256_LEN];
    struct look_up *l = ctx;
    struct apikey_match *m;
    const struct apikey_match *hit = NULL;
    int n;
    if (apikeys_match(platform_get(), l->a, l->text->public_id, &m, &n, e) < 0) {
        return -1;
    }
    for (int i = 0; i < n || i == 0; i++) { /* an id that does not exist is compared too */
        bool same = crypto_equal(n > 0 ? m[i].sha256 : nobody, l->text->sha256, SHA256_LEN);
        hit = same && n > 0 ? &m[i] : hit;
    }
    if (hit == NULL) {
        return 0;
    }
    l->loaded = true;
    *value_r = &keep(hit)->value;
    return 1;
}

static int check_address(const struct known_key *k, const char *ip, struct err *e)
{
    for (size_t i = 0; i < k->cidr_count; i++) {
        if (cidr_holds(&k->cidrs[i], ip)) {
            return 0;
        }
    }
    return k->cidr_count == 0 ? 0
                              : err_set(e, ERR_IP_NOT_ALLOWED, "The key may not be used from this address; its cidrs list those that may.");
}

static int check_life(const struct known_key *k, struct err *e)
{
    int64_t now = clock_wall_ms();
    if (k->revoked_ms != 0) {
        return refuse(e);
    }
    if ((k->expires_ms != 0 && now >= k->expires_ms) || (k->secret_expires_ms != 0 && now >= k->secret_expires_ms)) {
        return err_set(e, ERR_EXPIRED_API_KEY, "The API key has expired; use its successor.");
    }
    return 0;
}

static void touch(struct arena *a, const struct tenant *t, const struct known_key *k)
{
    struct err e;
    if (clock_wall_ms() - k->last_used_ms >= TOUCH_MS && apikeys_touch(t, a, &k->key, &e) < 0) {
        log_debug("last_use_unwritten", "the last use of an API key could not be written: %s", e.msg);
    }
}

int apikeys_verify(struct arena *a, const char *text, const char *ip, struct apikey_caller *caller_r, struct err *e)
{
    struct apikey_text parsed;
    struct look_up l = {.a = a, .text = &parsed};
    struct cache_want want = {.fresh_ms = FRESH_MS, .load = load_key, .ctx = &l};
    struct cache_value *value;
    struct err away;
    if (apikeys_parse(text, &parsed) < 0) {
        return err_set(e, ERR_INVALID_API_KEY,
                       "This is no API key: it is ply_live_ or ply_test_ and 62 further characters, and its last six are a checksum.");
    }
    memcpy(want.key, parsed.sha256, sizeof(want.key));
    int found = cache_get(&known_keys, a, &want, &value, &away, e);
    if (found != 1) {
        return found == 0 ? refuse(e) : -1;
    }
    if (away.code != ERR_OK) {
        *e = away;
        return -1;
    }
    const struct known_key *k = (const void *)value;
    struct apikey_caller caller = {.key = k->key, .scopes = k->scopes, .test = k->test};
    if (check_life(k, e) < 0 || check_address(k, ip, e) < 0) {
        return -1;
    }
    if (registry_get(a, &k->app, &caller.tenant, e) < 0) {
        return e->code == ERR_NOT_FOUND ? refuse(e) : -1;
    }
    if (l.loaded) {
        touch(a, caller.tenant, k);
    }
    *caller_r = caller;
    return 0;
}

static bool is_of_app(const void *value, const void *app)
{
    static const struct app_id every;
    const struct known_key *k = value;
    return app_id_equal(app, &every) || app_id_equal(&k->app, app);
}

/* A key's app is not known before it is loaded, so the table cannot tell apps apart. */
void apikeys_invalidate(const struct app_id *app)
{
    static const struct app_id every;
    cache_drop(&known_keys, &every, is_of_app, app);
}

int apikeys_bad_cidr(const json_t *cidrs)
{
    struct cidr c;
    for (size_t i = 0; i < json_array_size(cidrs); i++) {
        const char *text = json_string_value(json_array_get(cidrs, i));
        if (i >= CIDRS_MAX || text == NULL || cidr_parse(text, &c) < 0) {
            return (int)i + 1;
        }
    }
    return 0;
}
