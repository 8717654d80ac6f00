#include "tenants/signing_keys.h"

#include "core/clock.h"
#include "core/crypto.h"
#include "storage/apikeys.h"
#include "storage/apps.h"
#include "tenants/apikeys.h"
#include "tenants/jws.h"
#include "tenants/registry.h"
#include "tenants/scopes.h"
#include "tenants/tokens.h"

#define SECRET_LEN 32

/* ---- HS256 ---- */

static const char *place_of(struct arena *a, const char *kid)
{
    return arena_printf(a, "signing|%s", kid);
}

void signing_keys_new_hs256(struct arena *a, const struct app_id *app, struct signing_key *k_r, const char **secret_r)
{
    uint8_t secret[SECRET_LEN];
    struct signing_key k = {.kid = signing_keys_new_kid(a), .alg = "HS256", .issuer = tokens_issuer()};
    crypto_random(secret, sizeof(secret));
    k.secret_sealed = registry_seal(a, app, place_of(a, k.kid), secret, sizeof(secret), &k.secret_sealed_len);
    *secret_r = crypto_base64url(a, secret, sizeof(secret));
    crypto_wipe(secret, sizeof(secret));
    *k_r = k;
}

const char *signing_keys_new_kid(struct arena *a)
{
    uint8_t kid[16];
    crypto_random(kid, sizeof(kid));
    return crypto_base64url(a, kid, sizeof(kid));
}

int signing_keys_open(struct arena *a, const struct app_id *app, const struct signing_key *k, uint8_t **secret_r, size_t *len_r,
                      struct err *e)
{
    return registry_open(a, app, place_of(a, k->kid), k->secret_sealed, k->secret_sealed_len, secret_r, len_r, e);
}

/* ---- as JSON ---- */

static void set_time(json_t *v, const char *name, int64_t ms)
{
    char text[CLOCK_TEXT_MAX];
    if (ms != 0) {
        json_object_set_new(v, name, json_string(clock_format(ms, text)));
    }
}

json_t *signing_key_json(struct arena *a, const struct signing_key *k)
{
    json_t *v = json_own(a, json_pack("{s:s, s:s, s:s}", "kid", k->kid, "alg", k->alg, "issuer", k->issuer));
    if (k->public_jwk != NULL) {
        json_object_set(v, "jwk", k->public_jwk);
    }
    json_object_set_new(v, "status", json_string(k->revoked_ms != 0 ? "revoked" : "active"));
    set_time(v, "created_at", k->created_ms);
    set_time(v, "revoked_at", k->revoked_ms);
    return v;
}

/* ---- a new app ---- */

static json_t *first_key_json(struct arena *a, const struct app_new *n, const json_t *scopes, const char *secret, int64_t created_ms)
{
    struct apikey k = {
        .id = n->key_id, .name = "initial", .mode = "live", .last4 = n->last4, .scopes = (json_t *)scopes, .created_ms = created_ms};
    k.cidrs = json_own(a, json_array());
    json_t *v = apikey_json(a, &k);
    json_object_set_new(v, "secret", json_string(secret));
    return v;
}

int signing_keys_provision(const struct platform *p, struct arena *a, const char *name, const json_t *features, const json_t *limits,
                           const json_t *metadata, const json_t *origins, struct app *app_r, json_t **initial_key_r, struct err *e)
{
    uint8_t id_key[SECRET_LEN];
    struct apikey_text secret;
    struct signing_key signing;
    const char *signing_secret;
    struct app_new n = {.id = app_id_new(),
                        .key_id = key_id_new(),
                        .name = name,
                        .features = features,
                        .limits = limits,
                        .metadata = metadata,
                        .origins = origins};
    json_t *scopes = json_own(a, scopes_json(scopes_all()));
    apikeys_generate("live", &secret);
    signing_keys_new_hs256(a, &n.id, &signing, &signing_secret);
    crypto_random(id_key, sizeof(id_key));
    n.id_key_sealed = registry_seal(a, &n.id, "id_key", id_key, sizeof(id_key), &n.id_key_sealed_len);
    crypto_wipe(id_key, sizeof(id_key));
    n.public_id = secret.public_id;
    n.secret_sha256 = secret.sha256;
    n.last4 = secret.last4;
    n.scopes = scopes;
    n.kid = signing.kid;
    n.signing_sealed = signing.secret_sealed;
    n.signing_sealed_len = signing.secret_sealed_len;
    n.issuer = signing.issuer;
    int result = apps_create(p, a, &n, app_r, e);
    if (result == 0) {
        *initial_key_r = first_key_json(a, &n, scopes, secret.text, app_r->created_ms);
    }
    crypto_wipe(&secret, sizeof(secret));
    return result;
}
