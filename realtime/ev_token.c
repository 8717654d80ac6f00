/* ev_token.c: the life of a session's token, and token.refresh, which prolongs it. */
#include "realtime/dispatch.h"

#include "core/clock.h"
#include "core/metrics.h"
#include "tenants/tokens.h"

#include <stddef.h>

#define WARNING_MS 60000 /* before exp */

/* Verifying is dear; a client needs it once in a token's life. */
static const struct rate_limit refreshes = {.per_second = 1, .burst = 5};

/* ---- how long it lives ---- */

static void warn(struct session *s)
{
    char when[CLOCK_TEXT_MAX], payload[CLOCK_TEXT_MAX + 32];
    int n = snprintf(payload, sizeof(payload), "{\"expires_at\":\"%s\"}", clock_format(s->exp_ms, when));
    s->warned = true;
    session_emit(s, EV_TOKEN_EXPIRING, payload, (size_t)n);
}

static void on_life(struct loop_timer *t);

static void wait(struct session *s)
{
    int64_t until = s->warned ? s->exp_ms + TOKEN_LEEWAY_SECONDS * 1000 : s->exp_ms - WARNING_MS, left = until - clock_wall_ms();
    loop_timer_start(&s->life, left > 0 ? left : 0, on_life);
}

/* Said twice before: at token.expiring, and by its own exp. A client that came back with it would be refused, so it is told not to. */
static void on_life(struct loop_timer *t)
{
    struct session *s = (struct session *)((char *)t - offsetof(struct session, life));
    if (s->warned) {
        session_disconnect(s, "token_expired");
        return;
    }
    warn(s);
    wait(s);
}

void session_live(struct session *s)
{
    s->warned = false;
    if (node.draining) {
        return; /* the timer is the drain's */
    }
    if (s->exp_ms - WARNING_MS <= clock_wall_ms()) {
        warn(s);
    }
    wait(s);
}

/* ---- token.refresh ---- */

struct refresh {
    const char *text;
    struct token token;
    uint64_t revocations;
};

static enum step_result within_rate(struct op *op)
{
    struct session *s = op_session(op);
    if (s != NULL && !rate_take(&s->refreshes, &refreshes, 1, loop_now_ms(), &op->retry_after_ms)) {
        metric_add(METRIC_RATELIMITED, "refresh", NULL, 1);
        return op_fail(op, ERR_RATE_LIMITED, "Refresh when token.expiring comes, not all the time.");
    }
    return STEP_NEXT;
}

static enum step_result verify(struct op *op)
{
    struct refresh *r = op->data;
    if (tokens_verify(op->arena, r->text, &r->token, NULL, &op->err) == 0) {
        return STEP_NEXT;
    }
    if (op->err.code == ERR_UNKNOWN_KID || op->err.code == ERR_NOT_FOUND) {
        op->err.code = ERR_INVALID_TOKEN;
    }
    return STEP_FAIL;
}

/* The same app, user and device as the session's. */
static bool is_of(const struct token *t, const struct session *s)
{
    return app_id_equal(tenant_app(t->tenant), &s->user->app->id) && strcmp(t->user.s, s->user->id) == 0 &&
           (t->device.s[0] == '\0' || strcmp(t->device.s, s->device.s) == 0);
}

static enum step_result take_over(struct op *op)
{
    struct refresh *r = op->data;
    struct session *s = op_session(op);
    char when[CLOCK_TEXT_MAX];
    if (s == NULL) {
        return STEP_DONE;
    }
    if (!is_of(&r->token, s) || !tenant_origin_allowed(r->token.tenant, conn_origin(s->conn))) {
        err_at(&op->err, ERR_INVALID_TOKEN, "/token", "The token must be of the session's own app, user, device and origin.");
        return STEP_FAIL;
    }
    char *text = strdup(r->text);
    if (text == NULL) {
        return op_fail(op, ERR_INTERNAL, "Out of memory.");
    }
    free(s->token);
    s->token = text;
    s->exp_ms = r->token.exp_ms;
    session_set_tenant(s->user->app, r->token.tenant);
    session_live(s);
    if (r->revocations != session_revocations()) {
        session_recheck(&op->app->id, &op->user);
    }
    op->reply = json_own(op->arena, json_pack("{s:s}", "expires_at", clock_format(s->exp_ms, when)));
    return STEP_DONE;
}

void ev_token_refresh(struct op *op)
{
    static const struct op_step steps[] = {{within_rate, false}, {verify, true}, {take_over, false}, {0}};
    struct refresh *r = arena_alloc(op->arena, sizeof(*r));
    r->text = json_str(op->payload, "token", "");
    r->revocations = session_revocations();
    op->data = r;
    op_run(op, steps, OP_DEADLINE_MS);
}
