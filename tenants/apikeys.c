#include "tenants/apikeys.h"

#include "core/clock.h"
#include "core/crypto.h"
#include "core/log.h"
#include "storage/apikeys.h"
#include "tenants/registry.h"
#include "tenants/scopes.h"

#include <arpa/inet.h>
#include <pthread.h>

#define ID_LEN 12
#define SECRET_LEN 43
#define CRC_LEN 6
#define CACHE_SLOTS 1024
#define FRESH_MS 5000

/* ---- form ---- */

static void finish(struct apikey_text *k)
{
    size_t len = strlen(k->text);
    snprintf(k->last4, sizeof(k->last4), "%s", k->text + len - 4);
    crypto_sha256(k->text, len, k->sha256);
}

void apikeys_generate(const char *mode, struct apikey_text *k_r)
{
    char secret[SECRET_LEN + 1], crc[CRC_LEN + 1];
    crypto_random_base62(k_r->public_id, ID_LEN);
    crypto_random_base62(secret, SECRET_LEN);
    int n = snprintf(k_r->text, sizeof(k_r->text), "ply_%s_%s_%s", mode, k_r->public_id, secret);
    crypto_base62_u32(crypto_crc32(k_r->text, (size_t)n), crc);
    snprintf(k_r->text + n, sizeof(k_r->text) - (size_t)n, "%s", crc);
    crypto_wipe(secret, sizeof(secret));
    finish(k_r);
}

int apikeys_parse(const char *text, struct apikey_text *k_r)
{
    static const char *const prefixes[] = {"ply_live_", "ply_test_", "ply_adm_"};
    static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    struct apikey_text k = {0};
    size_t prefix = 0, len = strnlen(text, APIKEY_TEXT_MAX);
    for (size_t i = 0; i < 3; i++) {
        if (strncmp(text, prefixes[i], strlen(prefixes[i])) == 0) {
            prefix = strlen(prefixes[i]);
        }
    }
    if (prefix == 0 || len != prefix + ID_LEN + 1 + SECRET_LEN + CRC_LEN) {
        return -1;
    }
    const char *id = text + prefix, *secret = id + ID_LEN + 1;
    if (strspn(id, base62) != ID_LEN || id[ID_LEN] != '_' || strspn(secret, base62) != SECRET_LEN + CRC_LEN) {
        return -1;
    }
    char crc[CRC_LEN + 1];
    crypto_base62_u32(crypto_crc32(text, len - CRC_LEN), crc);
    if (memcmp(crc, text + len - CRC_LEN, CRC_LEN) != 0) {
        return -1;
    }
    memcpy(k.text, text, len);
    memcpy(k.public_id, id, ID_LEN);
    finish(&k);
    *k_r = k;
    return 0;
}

/* ---- addresses ---- */

/* 16 bytes, IPv4 mapped into ::ffff:0:0/96. */
static int parse_address(const char *s, uint8_t out[16])
{
    struct in_addr v4;
    if (inet_pton(AF_INET, s, &v4) == 1) {
        memset(out, 0, 10);
        out[10] = out[11] = 0xff;
        memcpy(out + 12, &v4, 4);
        return 0;
    }
    return inet_pton(AF_INET6, s, out) == 1 ? 0 : -1;
}

static int parse_cidr(const char *s, uint8_t address[16], int *bits_r)
{
    char host[64];
    const char *slash = s == NULL ? NULL : strchr(s, '/');
    size_t len = s == NULL ? 0 : slash != NULL ? (size_t)(slash - s) : strlen(s);
    if (len == 0 || len >= sizeof(host)) {
        return -1;
    }
    memcpy(host, s, len);
    host[len] = '\0';
    if (parse_address(host, address) < 0) {
        return -1;
    }
    int max = strchr(host, ':') != NULL ? 128 : 32, bits = max;
    if (slash != NULL) {
        size_t digits = strspn(slash + 1, "0123456789");
        bits = digits >= 1 && digits <= 3 && slash[1 + digits] == '\0' ? atoi(slash + 1) : -1;
    }
    if (bits < 0 || bits > max) {
        return -1;
    }
    *bits_r = bits + 128 - max;
    return 0;
}

int apikeys_bad_cidr(const json_t *cidrs)
{
    for (size_t i = 0; i < json_array_size(cidrs); i++) {
        uint8_t address[16];
        int bits;
        if (parse_cidr(json_string_value(json_array_get(cidrs, i)), address, &bits) < 0) {
            return (int)i + 1;
        }
    }
    return 0;
}

static bool within(const uint8_t address[16], const uint8_t net[16], int bits)
{
    int whole = bits / 8, rest = bits % 8;
    uint8_t mask = (uint8_t)(0xff00 >> rest);
    return memcmp(address, net, (size_t)whole) == 0 && (rest == 0 || (address[whole] & mask) == (net[whole] & mask));
}

static bool address_allowed(const json_t *cidrs, const char *ip)
{
    uint8_t address[16], net[16];
    int bits;
    if (json_array_size(cidrs) == 0) {
        return true;
    }
    if (ip == NULL || parse_address(ip, address) < 0) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(cidrs); i++) {
        if (parse_cidr(json_string_value(json_array_get(cidrs, i)), net, &bits) == 0 && within(address, net, bits)) {
            return true;
        }
    }
    return false;
}

/* ---- verified keys, for a few seconds ---- */

struct verdict {
    uint8_t sha256[32];
    int64_t until_ms; /* 0: empty */
    struct app_id app;
    struct key_id key;
    uint64_t scopes;
    bool test;
    char *cidrs; /* JSON text, NULL = none */
    int64_t expires_ms;
};

static struct verdict verdicts[CACHE_SLOTS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct verdict *slot_of(const uint8_t sha256[32])
{
    return &verdicts[((unsigned)sha256[0] << 8 | sha256[1]) % CACHE_SLOTS];
}

static bool remembered(struct arena *a, const uint8_t sha256[32], struct verdict *v_r)
{
    pthread_mutex_lock(&lock);
    struct verdict *v = slot_of(sha256);
    bool hit = v->until_ms > clock_mono_ms() && crypto_equal(v->sha256, sha256, 32);
    if (hit) {
        *v_r = *v;
        v_r->cidrs = v->cidrs != NULL ? arena_strdup(a, v->cidrs) : NULL;
    }
    pthread_mutex_unlock(&lock);
    return hit;
}

static void remember(const struct verdict *v)
{
    pthread_mutex_lock(&lock);
    struct verdict *slot = slot_of(v->sha256);
    free(slot->cidrs);
    *slot = *v;
    slot->cidrs = v->cidrs != NULL ? strdup(v->cidrs) : NULL;
    pthread_mutex_unlock(&lock);
}

void apikeys_invalidate(const struct app_id *app)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < CACHE_SLOTS; i++) {
        if (app_id_equal(&verdicts[i].app, app)) {
            verdicts[i].until_ms = 0;
        }
    }
    pthread_mutex_unlock(&lock);
}

/* ---- verification ---- */

static int unknown(struct err *e)
{
    return err_set(e, ERR_INVALID_API_KEY, "This API key is not valid. Check that it was copied whole and has not been revoked.");
}

/* Every candidate is compared, and something is compared when there is none, so that time tells nothing. */
static const struct apikey_match *pick(const struct apikey_match *m, int n, const uint8_t sha256[32])
{
    static const uint8_t nothing[32];
    const struct apikey_match *found = NULL;
    if (n == 0 && crypto_equal(nothing, sha256, 32)) {
        return NULL;
    }
    for (int i = 0; i < n; i++) {
        if (crypto_equal(m[i].sha256, sha256, 32)) {
            found = &m[i];
        }
    }
    return found;
}

static int look_up(struct arena *a, const struct apikey_text *k, struct verdict *v_r, struct err *e)
{
    struct apikey_match *matches;
    int n;
    if (apikeys_match(platform_get(), a, k->public_id, &matches, &n, e) < 0) {
        return -1;
    }
    const struct apikey_match *m = pick(matches, n, k->sha256);
    if (m == NULL || m->key.revoked_ms != 0) {
        return unknown(e);
    }
    int64_t key_end = m->key.expires_ms, secret_end = m->secret_expires_ms;
    struct verdict v = {.app = m->app, .key = m->key.id, .test = strcmp(m->key.mode, "test") == 0};
    memcpy(v.sha256, k->sha256, 32);
    v.expires_ms = key_end == 0 || (secret_end != 0 && secret_end < key_end) ? secret_end : key_end;
    v.until_ms = clock_mono_ms() + FRESH_MS;
    v.cidrs = json_array_size(m->key.cidrs) > 0 ? json_write(a, m->key.cidrs, NULL) : NULL;
    if (scopes_parse(m->key.scopes, &v.scopes) != 0) {
        log_warn("unknown_scope", "a stored API key names a scope that this release does not know");
        return unknown(e);
    }
    remember(&v);
    *v_r = v;
    return 0;
}

static int check_address(struct arena *a, const struct verdict *v, const char *ip, struct err *e)
{
    if (v->cidrs == NULL) {
        return 0;
    }
    const json_t *cidrs = json_read(a, v->cidrs, strlen(v->cidrs), e);
    if (cidrs == NULL || !address_allowed(cidrs, ip)) {
        return err_set(e, ERR_IP_NOT_ALLOWED, "The key may not be used from this address.");
    }
    return 0;
}

int apikeys_verify(struct arena *a, const char *text, const char *ip, struct apikey_caller *caller_r, struct err *e)
{
    struct apikey_text k;
    struct verdict v;
    struct apikey_caller c = {0};
    if (text == NULL || apikeys_parse(text, &k) < 0 || strncmp(k.text, "ply_adm_", 8) == 0) {
        return unknown(e);
    }
    bool known = remembered(a, k.sha256, &v);
    if (!known && look_up(a, &k, &v, e) < 0) {
        return -1;
    }
    if (v.expires_ms != 0 && v.expires_ms <= clock_wall_ms()) {
        return err_set(e, ERR_EXPIRED_API_KEY, "This API key has expired. Create or rotate a key.");
    }
    if (check_address(a, &v, ip, e) < 0 || registry_get(a, &v.app, &c.tenant, e) < 0) {
        return -1;
    }
    c.key = v.key;
    c.scopes = v.scopes;
    c.test = v.test;
    struct err ignored;
    if (!known && apikeys_touch(c.tenant, a, &c.key, &ignored) < 0) {
        log_debug("touch_failed", "last use of an API key was not recorded: %s", ignored.msg);
    }
    *caller_r = c;
    return 0;
}

/* ---- the operator ---- */

static uint8_t admin_sha256[32];
static bool admin_set;

int apikeys_admin_start(const struct config *c, struct err *e)
{
    struct apikey_text k;
    if (apikeys_parse(c->admin_key, &k) < 0 || strncmp(k.text, "ply_adm_", 8) != 0) {
        return err_set(e, ERR_VALIDATION_FAILED, "PARLEY_ADMIN_KEY_FILE must name a file with a platform-admin key (parley-api --new-admin-key).");
    }
    memcpy(admin_sha256, k.sha256, 32);
    admin_set = true;
    return 0;
}

bool apikeys_is_admin(const char *text)
{
    uint8_t sha256[32];
    crypto_sha256(text, strlen(text), sha256);
    return admin_set && crypto_equal(sha256, admin_sha256, 32);
}
