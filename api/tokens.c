/* tokens.c: minting, judging and revoking user tokens. */
#include "api/after.h"
#include "api/routes.h"
#include "core/clock.h"
#include "storage/apps.h"
#include "storage/signing.h"
#include "storage/users.h"

static int no_user(struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, "There is no such user in this app.");
}

/* ---- minting ---- */

static int user_to_mint_for(struct req *r, struct user *user_r, struct err *e)
{
    struct user_id id;
    bool made;
    if (user_id_parse(json_str(r->body, "user_id", ""), &id) < 0) {
        return no_user(e);
    }
    int found = users_get(r->tenant, r->arena, &id, user_r, e);
    if (found < 0) {
        return -1;
    }
    if (found == 0 && !json_bool(r->body, "create_user", false)) {
        return err_set(e, ERR_NOT_FOUND, "There is no such user; make it with PUT /v1/users/{user_id}, or send create_user.");
    }
    if (found == 0) {
        struct user_change c = {.id = id};
        return users_upsert(r->tenant, r->arena, &c, 1, user_r, &made, e);
    }
    return user_r->deactivated_ms != 0 ? err_set(e, ERR_USER_BANNED, "The user is deactivated; reactivate it first.") : 0;
}

int api_tokens_mint(struct req *r, struct err *e)
{
    struct user user;
    char *text, when[CLOCK_TEXT_MAX];
    int64_t exp_ms;
    uint32_t ttl = (uint32_t)json_int(r->body, "ttl_seconds", tenant_token_ttl_seconds(r->tenant));
    if (user_to_mint_for(r, &user, e) < 0 ||
        tokens_mint(r->tenant, r->arena, &user.id, ttl, json_str(r->body, "device_id", NULL), &text, &exp_ms, e) < 0) {
        return -1;
    }
    json_t *body =
        json_pack("{s:s, s:s, s:O}", "token", text, "expires_at", clock_format(exp_ms, when), "user", user_json(r->arena, &user));
    return reply_json(r, 201, json_own(r->arena, body));
}

/* ---- introspection ---- */

static bool is_for_app(const struct req *r, const json_t *claims)
{
    char app[ID_TEXT_MAX];
    return strcmp(json_str(claims, "aud", ""), app_id_print(tenant_app(r->tenant), app)) == 0;
}

/* Another app's token is as unknown here as a forged one: its keys are not even looked at. */
int api_tokens_introspect(struct req *r, struct err *e)
{
    const char *text = json_str(r->body, "token", "");
    json_t *claims = tokens_claims(r->arena, text), *body = json_own(r->arena, json_object());
    struct err why = {.code = ERR_INVALID_TOKEN};
    struct token token;
    if (claims != NULL && is_for_app(r, claims)) {
        why.code = ERR_OK;
        if (tokens_verify(r->arena, text, &token, NULL, &why) < 0 && err_http_status(why.code) >= 500) {
            *e = why;
            return -1;
        }
    } else {
        err_set(&why, ERR_INVALID_TOKEN, "%s",
                claims == NULL ? "It is not a token of three base64url parts." : "Its aud does not name this app.");
    }
    json_object_set_new(body, "active", json_boolean(why.code == ERR_OK));
    if (why.code != ERR_OK) {
        json_object_set_new(body, "code", json_string(err_name(why.code)));
        json_object_set_new(body, "detail", json_string(why.msg));
    }
    json_object_set(body, "claims", claims != NULL ? claims : json_null());
    return reply_json(r, 200, body);
}

/* ---- revocation ---- */

static int issued_before(struct req *r, int64_t *ms_r, struct err *e)
{
    int64_t ms = req_time(r->body, "issued_before"), now = clock_wall_ms();
    if (ms > now + 1000) {
        return err_at(e, ERR_VALIDATION_FAILED, "/issued_before", "It must not lie in the future.");
    }
    *ms_r = json_object_get(r->body, "issued_before") == NULL ? now : ms > 0 ? ms : 1; /* 0 is "none" in the row */
    return 0;
}

int api_users_revoke_tokens(struct req *r, struct err *e)
{
    struct user_id id;
    struct user user;
    int64_t before = 0;
    const char *jti = json_str(r->body, "jti", NULL);
    if (req_param_user(r, "user_id", &id, e) < 0 || issued_before(r, &before, e) < 0) {
        return -1;
    }
    int found = jti != NULL ? users_get(r->tenant, r->arena, &id, &user, e) : users_revoke_tokens(r->tenant, r->arena, &id, before, e);
    if (found != 1) {
        return found == 0 ? no_user(e) : -1;
    }
    int64_t until = clock_wall_ms() + (TOKEN_TTL_MAX_SECONDS + 2 * TOKEN_LEEWAY_SECONDS) * 1000LL;
    if (jti != NULL && signing_revoke_token(r->tenant, r->arena, jti, until, e) < 0) {
        return -1;
    }
    after_tokens(tenant_app(r->tenant), &id);
    return reply_empty(r, 204);
}

int api_tokens_revoke(struct req *r, struct err *e)
{
    struct app_change c = {.name = NULL};
    struct app app;
    char when[CLOCK_TEXT_MAX];
    if (issued_before(r, &c.tokens_valid_after_ms, e) < 0) {
        return -1;
    }
    int done = apps_update_own(r->tenant, r->arena, &c, &app, e);
    if (done != 1) {
        return done == 0 ? err_set(e, ERR_NOT_FOUND, "There is no such app.") : -1;
    }
    after_app(&app.id);
    after_tokens(&app.id, NULL);
    return reply_json(r, 202, json_own(r->arena, json_pack("{s:s}", "issued_before", clock_format(app.tokens_valid_after_ms, when))));
}
