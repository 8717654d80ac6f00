/* keys.c: API keys and signing keys of an app. */
#include "api/after.h"
#include "api/page.h"
#include "api/routes.h"
#include "core/clock.h"
#include "storage/apikeys.h"
#include "storage/signing.h"
#include "tenants/registry.h"
#include "tenants/signing_keys.h"

#define OVERLAP_SECONDS 86400

static int no_key(struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, "There is no such key in this app.");
}

/* ---- API keys ---- */

int api_keys_list(struct req *r, struct err *e)
{
    struct page page;
    struct key_id after = {.b = {0}};
    if (page_start(r, &page, e) < 0) {
        return -1;
    }
    if (page.continued && key_id_parse(page.at.id, &after) < 0) {
        return err_set(e, ERR_INVALID_CURSOR, "The cursor names no key.");
    }
    struct apikey *keys;
    int count;
    if (apikeys_list(r->tenant, r->arena, page.at.ms, &after, page.limit + 1, &keys, &count, e) < 0) {
        return -1;
    }
    json_t *data = json_own(r->arena, json_array());
    struct cursor last = {.ms = 0};
    int shown = count < page.limit ? count : page.limit;
    for (int i = 0; i < shown; i++) {
        json_array_append(data, apikey_json(r->arena, &keys[i]));
        last.ms = keys[i].created_ms;
        key_id_print(&keys[i].id, last.id);
    }
    return page_reply(r, &page, data, count > shown, &last);
}

static int check_scopes(struct req *r, const json_t *names, uint64_t *set_r, struct err *e)
{
    char pointer[32];
    int bad = scopes_parse(names, set_r);
    if (bad > 0) {
        snprintf(pointer, sizeof(pointer), "/scopes/%d", bad - 1);
        return err_at(e, ERR_VALIDATION_FAILED, pointer, "There is no such scope.");
    }
    if ((*set_r & ~r->scopes) != 0) {
        return err_at(e, ERR_INSUFFICIENT_SCOPE, "/scopes", "A key cannot grant scopes that it does not have itself.");
    }
    return 0;
}

static int check_cidrs(const json_t *cidrs, struct err *e)
{
    char pointer[32];
    int bad = cidrs != NULL ? apikeys_bad_cidr(cidrs) : 0;
    if (bad == 0) {
        return 0;
    }
    snprintf(pointer, sizeof(pointer), "/cidrs/%d", bad - 1);
    return err_at(e, ERR_VALIDATION_FAILED, pointer, "It must be an address or a block such as 10.0.0.0/8.");
}

/* The wanted end of a key's life; 0 = none. */
static int wanted_expiry(const struct req *r, int64_t *ms_r, struct err *e)
{
    int64_t ms = req_time(r->body, "expires_at");
    if (json_is_string(json_object_get(r->body, "expires_at")) && ms <= clock_wall_ms()) {
        return err_at(e, ERR_VALIDATION_FAILED, "/expires_at", "It must lie in the future.");
    }
    *ms_r = ms;
    return 0;
}

static bool listed(const json_t *list, const json_t *item)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (json_equal(json_array_get(list, i), item)) {
            return true;
        }
    }
    return false;
}

/* A key that is itself bounded in time or to addresses cannot make or become one that is not. */
static int check_bounds(struct req *r, const json_t *cidrs, int64_t expires_ms, struct err *e)
{
    struct apikey own;
    if (r->caller != CALLER_KEY) {
        return 0;
    }
    int found = apikeys_get(r->tenant, r->arena, &r->key, &own, e);
    if (found < 0) {
        return -1;
    }
    if (found == 1 && own.expires_ms != 0 && (expires_ms == 0 || expires_ms > own.expires_ms)) {
        return err_at(e, ERR_INSUFFICIENT_SCOPE, "/expires_at", "A key cannot grant a longer life than its own.");
    }
    bool bounded = found == 1 && json_array_size(own.cidrs) > 0;
    for (size_t i = 0; bounded && i < json_array_size(cidrs); i++) {
        if (!listed(own.cidrs, json_array_get(cidrs, i))) {
            return err_at(e, ERR_INSUFFICIENT_SCOPE, "/cidrs", "A key cannot grant addresses that are not its own.");
        }
    }
    return bounded && json_array_size(cidrs) == 0
               ? err_at(e, ERR_INSUFFICIENT_SCOPE, "/cidrs", "A key that is bound to addresses cannot grant the use from everywhere.")
               : 0;
}

static int reply_with_secret(struct req *r, const struct apikey *k, const struct apikey_text *secret)
{
    json_t *body = apikey_json(r->arena, k);
    json_object_set_new(body, "secret", json_string(secret->text));
    return reply_resource(r, 201, body, k->version);
}

int api_keys_create(struct req *r, struct err *e)
{
    uint64_t scopes;
    struct apikey k = {.id = key_id_new(), .name = json_str(r->body, "name", ""), .mode = json_str(r->body, "mode", "live")};
    json_t *cidrs = json_object_get(r->body, "cidrs");
    if (check_scopes(r, json_object_get(r->body, "scopes"), &scopes, e) < 0 || check_cidrs(cidrs, e) < 0 ||
        wanted_expiry(r, &k.expires_ms, e) < 0 || check_bounds(r, cidrs, k.expires_ms, e) < 0) {
        return -1;
    }
    struct apikey_text text;
    apikeys_generate(k.mode, &text);
    struct apikey_secret secret = {.public_id = text.public_id, .last4 = text.last4, .sha256 = text.sha256};
    k.scopes = json_own(r->arena, scopes_json(scopes));
    k.cidrs = cidrs != NULL ? cidrs : json_own(r->arena, json_array());
    if (apikeys_create(r->tenant, r->arena, &k, &secret, &k, e) < 0) {
        return -1;
    }
    return reply_with_secret(r, &k, &text);
}

/* A key that has been revoked can only be listed. */
static int live_key(struct req *r, struct apikey *k_r, struct err *e)
{
    struct key_id id;
    if (key_id_parse(req_param(r, "key_id"), &id) < 0) {
        return no_key(e);
    }
    int found = apikeys_get(r->tenant, r->arena, &id, k_r, e);
    if (found < 0) {
        return -1;
    }
    return found == 0 || k_r->revoked_ms != 0 ? no_key(e) : 0;
}

/* Whoever changes, renews or ends a key must hold all that it holds. */
static int governed_key(struct req *r, struct apikey *k_r, struct err *e)
{
    uint64_t scopes;
    return live_key(r, k_r, e) < 0 ? -1 : check_scopes(r, k_r->scopes, &scopes, e);
}

int api_keys_update(struct req *r, struct err *e)
{
    struct apikey k;
    struct apikey_change c = {.name = json_str(r->body, "name", NULL), .cidrs = json_object_get(r->body, "cidrs")};
    c.set_expiry = json_object_get(r->body, "expires_at") != NULL;
    if (governed_key(r, &k, e) < 0 || req_if_match(r, &c.expected_version, e) < 0) {
        return -1;
    }
    if (json_is_null(c.cidrs)) {
        c.cidrs = json_own(r->arena, json_array());
    }
    if (check_cidrs(c.cidrs, e) < 0 || wanted_expiry(r, &c.expires_ms, e) < 0 ||
        check_bounds(r, c.cidrs != NULL ? c.cidrs : k.cidrs, c.set_expiry ? c.expires_ms : k.expires_ms, e) < 0) {
        return -1;
    }
    int done = apikeys_update(r->tenant, r->arena, &k.id, &c, &k, e);
    if (done != 1) {
        return done == 0 ? no_key(e) : -1;
    }
    after_keys(tenant_app(r->tenant));
    return reply_resource(r, 200, apikey_json(r->arena, &k), k.version);
}

int api_keys_revoke(struct req *r, struct err *e)
{
    struct apikey k;
    if (governed_key(r, &k, e) < 0) {
        return -1;
    }
    int done = apikeys_revoke(r->tenant, r->arena, &k.id, e);
    if (done != 1) {
        return done == 0 ? no_key(e) : -1;
    }
    after_keys(tenant_app(r->tenant));
    return reply_empty(r, 204);
}

int api_keys_rotate(struct req *r, struct err *e)
{
    struct apikey k;
    struct apikey_text text;
    if (governed_key(r, &k, e) < 0) {
        return -1;
    }
    apikeys_generate(k.mode, &text);
    struct apikey_secret secret = {.public_id = text.public_id, .last4 = text.last4, .sha256 = text.sha256};
    int overlap = (int)json_int(r->body, "overlap_seconds", OVERLAP_SECONDS);
    int done = apikeys_rotate(r->tenant, r->arena, &k.id, &secret, overlap, &k, e);
    if (done != 1) {
        return done == 0 ? no_key(e) : -1;
    }
    after_keys(tenant_app(r->tenant));
    return reply_with_secret(r, &k, &text);
}

/* ---- signing keys ---- */

int api_signing_keys_list(struct req *r, struct err *e)
{
    struct signing_key *keys;
    int count;
    if (signing_list(r->tenant, r->arena, &keys, &count, e) < 0) {
        return -1;
    }
    json_t *data = json_own(r->arena, json_array());
    for (int i = 0; i < count; i++) {
        json_array_append(data, signing_key_json(r->arena, &keys[i]));
    }
    return page_reply_all(r, data);
}

static int check_alg(const char *alg, const json_t *jwk, const char *issuer, struct err *e)
{
    bool secret = strcmp(alg, "HS256") == 0;
    if (secret && jwk != NULL) {
        return err_at(e, ERR_VALIDATION_FAILED, "/jwk", "The secret of an HS256 key is made here; leave jwk out.");
    }
    if (secret && issuer != NULL) {
        return err_at(e, ERR_VALIDATION_FAILED, "/issuer", "The issuer of an HS256 key is this deployment; leave issuer out.");
    }
    return secret || jwk != NULL ? 0 : err_at(e, ERR_VALIDATION_FAILED, "/jwk", "A key of this algorithm needs its public key as a JWK.");
}

int api_signing_keys_create(struct req *r, struct err *e)
{
    const char *alg = json_str(r->body, "alg", ""), *issuer = json_str(r->body, "issuer", NULL), *secret = NULL;
    const json_t *jwk = json_object_get(r->body, "jwk");
    struct signing_key k = {.kid = NULL};
    if ((r->scopes >> SCOPE_TOKENS_WRITE & 1) == 0) { /* whoever holds a signing key can speak as any user */
        return err_set(e, ERR_INSUFFICIENT_SCOPE, "A signing key mints tokens: this operation also needs the scope tokens:write.");
    }
    if (check_alg(alg, jwk, issuer, e) < 0) {
        return -1;
    }
    if (jwk == NULL) {
        signing_keys_new_hs256(r->arena, tenant_app(r->tenant), &k, &secret);
    } else if (signing_keys_from_jwk(r->arena, alg, jwk, issuer, &k, e) < 0) {
        return -1;
    }
    if (signing_create(r->tenant, r->arena, &k, &k, e) < 0) {
        return -1;
    }
    after_keys(tenant_app(r->tenant));
    json_t *body = signing_key_json(r->arena, &k);
    if (secret != NULL) {
        json_object_set_new(body, "secret", json_string(secret));
    }
    reply_location(r, "/v1/signing-keys/%s", k.kid);
    return reply_json(r, 201, body);
}

int api_signing_keys_get(struct req *r, struct err *e)
{
    struct signing_key k;
    int found = signing_get(r->tenant, r->arena, req_param(r, "kid"), &k, e);
    if (found != 1) {
        return found == 0 ? no_key(e) : -1;
    }
    return reply_json(r, 200, signing_key_json(r->arena, &k));
}

int api_signing_keys_revoke(struct req *r, struct err *e)
{
    int done = signing_revoke(r->tenant, r->arena, req_param(r, "kid"), e);
    if (done != 1) {
        return done == 0 ? no_key(e) : -1;
    }
    after_keys(tenant_app(r->tenant));
    return reply_empty(r, 204);
}

/* Public: whoever checks the app's tokens reads it. */
int api_apps_jwks(struct req *r, struct err *e)
{
    struct app_id app;
    const struct tenant *t;
    struct signing_key *keys;
    int count;
    if (app_id_parse(req_param(r, "app_id"), &app) < 0 || (registry_get(r->arena, &app, &t, e) < 0 && err_http_status(e->code) < 500)) {
        return err_set(e, ERR_NOT_FOUND, "There is no such app.");
    }
    if (e->code != ERR_OK || signing_list(t, r->arena, &keys, &count, e) < 0) {
        return -1;
    }
    json_t *list = json_own(r->arena, json_array());
    for (int i = 0; i < count; i++) {
        if (keys[i].revoked_ms == 0 && keys[i].public_jwk != NULL) {
            json_t *jwk = json_own(r->arena, json_copy(keys[i].public_jwk));
            json_object_set_new(jwk, "kid", json_string(keys[i].kid));
            json_object_set_new(jwk, "alg", json_string(keys[i].alg));
            json_object_set_new(jwk, "use", json_string("sig"));
            json_array_append(list, jwk);
        }
    }
    r->reply.cache_control = "public, max-age=300";
    return reply_json(r, 200, json_own(r->arena, json_pack("{s:O}", "keys", list)));
}
