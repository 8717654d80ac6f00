#include "api/auth.h"

#include "api/limits.h"
#include "api/routes.h"
#include "core/crypto.h"
#include "core/log.h"
#include "core/metrics.h"
#include "tenants/registry.h"

#define CREDENTIAL_MAX TOKEN_MAX

/* RFC 4648 4, for HTTP Basic; stops at the first byte outside the alphabet. */
static size_t base64_decode(const char *s, char *out, size_t size)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    int have = 0;
    size_t n = 0;
    for (const char *p; *s != '\0' && (p = strchr(alphabet, *s)) != NULL && n + 1 < size; s++) {
        bits = bits << 6 | (uint32_t)(p - alphabet);
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[n++] = (char)(bits >> have & 0xff);
        }
    }
    out[n] = '\0';
    return n;
}

/* Basic carries a key as the user name and no password. */
static char *basic_user(struct arena *a, const char *encoded)
{
    char *text = arena_alloc(a, CREDENTIAL_MAX + 1);
    base64_decode(encoded, text, CREDENTIAL_MAX + 1);
    text[strcspn(text, ":")] = '\0';
    return text;
}

/* The credential's text, or NULL: there is none. */
static const char *credential(struct req *r)
{
    const char *h = r->headers.authorization;
    if (h == NULL) {
        return NULL;
    }
    size_t scheme = strcspn(h, " ");
    const char *rest = h + scheme + strspn(h + scheme, " ");
    if (*rest == '\0' || strlen(rest) > CREDENTIAL_MAX) {
        return NULL;
    }
    if (scheme == 6 && strncasecmp(h, "Bearer", 6) == 0) {
        return rest;
    }
    return scheme == 5 && strncasecmp(h, "Basic", 5) == 0 ? basic_user(r->arena, rest) : NULL;
}

static bool is_key(const char *text)
{
    return strncmp(text, "ply_", 4) == 0;
}

static int check_platform(struct req *r, const char *text, struct err *e)
{
    if (!is_key(text) || !apikeys_is_admin(text)) {
        return err_set(e, ERR_INVALID_API_KEY, "The operator's listener takes the platform-admin key alone.");
    }
    r->caller = CALLER_PLATFORM;
    if (r->route->auth == AUTH_P) {
        return 0;
    }
    struct app_id app;
    if (r->headers.parley_app == NULL) {
        return err_set(e, ERR_BAD_REQUEST, "Name the app in the header Parley-App.");
    }
    if (app_id_parse(r->headers.parley_app, &app) < 0) {
        return err_set(e, ERR_NOT_FOUND, "Parley-App names no app.");
    }
    r->scopes = scopes_all();
    return registry_get(r->arena, &app, &r->tenant, e);
}

static int check_key(struct req *r, const char *text, struct err *e)
{
    if (r->headers.origin != NULL) {
        return err_set(e, ERR_SECRET_KEY_IN_BROWSER,
                       "A browser sent this key, so it is no secret any more: revoke it, and give browsers user tokens.");
    }
    if (strncmp(text, "ply_adm_", 8) == 0) {
        return err_set(e, ERR_INVALID_API_KEY, "The platform-admin key works on the operator's listener alone.");
    }
    struct apikey_caller caller;
    if (apikeys_verify(r->arena, text, r->ip, &caller, e) < 0) {
        return -1;
    }
    if (r->route->auth == AUTH_U) {
        return err_set(e, ERR_INSUFFICIENT_SCOPE, "This operation takes a user token, not an API key.");
    }
    r->caller = CALLER_KEY;
    r->tenant = caller.tenant;
    r->key = caller.key;
    r->scopes = caller.scopes;
    return 0;
}

static int check_token(struct req *r, const char *text, struct err *e)
{
    static const char wanted[] = "This operation takes an API key (ply_live_… or ply_test_…), not a user token.";
    bool good = tokens_verify(r->arena, text, &r->token, &r->user, e) == 0;
    if (r->route->auth == AUTH_K && (good || err_http_status(e->code) < 500)) {
        return err_set(e, good ? ERR_INSUFFICIENT_SCOPE : ERR_INVALID_API_KEY, "%s", wanted);
    }
    if (!good) {
        return -1;
    }
    r->caller = CALLER_USER;
    r->tenant = r->token.tenant;
    return 0;
}

static int identify(struct req *r, struct err *e)
{
    const char *text = credential(r);
    if (r->route->auth == AUTH_NONE) {
        return 0;
    }
    if (text == NULL) {
        return err_set(e, ERR_MISSING_CREDENTIALS, "Send \"Authorization: Bearer …\" with %s.",
                       r->admin                    ? "the platform-admin key"
                       : r->route->auth == AUTH_U  ? "a user token"
                       : r->route->auth == AUTH_KU ? "an API key or a user token"
                                                   : "an API key");
    }
    if (r->admin) {
        return check_platform(r, text, e);
    }
    return is_key(text) ? check_key(r, text, e) : check_token(r, text, e);
}

static bool guesses(enum err_code code)
{
    return code == ERR_INVALID_API_KEY || code == ERR_EXPIRED_API_KEY || code == ERR_INVALID_TOKEN || code == ERR_UNKNOWN_KID;
}

/* Whoever tries credentials is slowed down; who holds a good one is not, even at the same address. */
static int count_refusal(struct req *r, struct err *e)
{
    if (err_http_status(e->code) < 500) {
        metric_add(METRIC_AUTH_FAILED, err_name(e->code), NULL, 1);
    }
    if (guesses(e->code) && !limits_auth_failed(r->ip, &r->retry_after_ms)) {
        metric_add(METRIC_RATELIMITED, "failed_auth", NULL, 1);
        r->violated[0] = "failed_auth";
        return err_set(e, ERR_RATE_LIMITED, "Too many refused credentials from this address; wait, then use a valid one.");
    }
    return -1;
}

static int check_scope(struct req *r, struct err *e)
{
    if (r->route->scope == SCOPE_NONE || r->caller == CALLER_USER || (r->scopes >> r->route->scope & 1) != 0) {
        return 0;
    }
    r->extra_name = "required_scope";
    r->extra_value = scope_name((enum scope)r->route->scope);
    return err_set(e, ERR_INSUFFICIENT_SCOPE, "This operation needs a key with the scope %s.", r->extra_value);
}

static int check_feature(struct req *r, struct err *e)
{
    if (r->tenant == NULL || tenant_has(r->tenant, r->route->feature)) {
        return 0;
    }
    r->extra_name = "feature";
    r->extra_value = feature_name(r->route->feature);
    return err_set(e, ERR_FEATURE_DISABLED, "The app has switched off the feature %s.", r->extra_value);
}

int auth_check(struct req *r, struct err *e)
{
    if (identify(r, e) < 0) {
        return count_refusal(r, e);
    }
    log_context(r->tenant != NULL ? tenant_app(r->tenant) : NULL, r->request_id);
    return check_scope(r, e) < 0 ? -1 : check_feature(r, e);
}
