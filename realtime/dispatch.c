#include "realtime/dispatch.h"

#include "core/clock.h"
#include "core/metrics.h"
#include "realtime/spec.h"

#define WORK_MAX 5000 /* jobs that wait for workers before queries are refused */

enum rate_class { RATE_EVENT, RATE_QUERY, RATE_MESSAGE };
static const struct rate_limit per_connection = {.per_second = 50, .burst = 200};

struct row {
    enum feature feature;
    enum rate_class rate;
    void (*handler)(struct op *op);
};
static const struct row rows[EV_COUNT] = {
#define IN(name, wire, where, need, class, ack, handler) [EV_##name] = {FEATURE_##need, RATE_##class, handler},
#define OUT(name, wire, where, feature, delivery)
    RT_EVENTS(IN, OUT)
#undef IN
#undef OUT
};

static void refuse(struct session *s, enum rt_event ev, int64_t ack_id, const struct err *e, int64_t retry_after_ms)
{
    if (ack_id < 0) {
        return;
    }
    struct arena *a = arena_new("refusal");
    char *text = op_error_text(a, e, retry_after_ms);
    spec_ack(s->conn, ev, ack_id, text, strlen(text));
    arena_free(&a);
}

static void unknown(struct session *s, const char *name, int64_t ack_id)
{
    struct err e = {0};
    metric_add(METRIC_EVENTS_UNKNOWN, NULL, NULL, 1);
    err_set(&e, ERR_UNKNOWN_EVENT, "There is no event %.64s that a client may send.", name);
    refuse(s, EV_SERVER_PING, ack_id, &e, 0);
}

/* Feature and load. -1 and *e; *retry_r: when to try again. */
static int admit(struct session *s, enum rt_event ev, int64_t *retry_r, struct err *e)
{
    const struct row *row = &rows[ev];
    if (s->leaving) {
        return err_set(e, ERR_DRAINING, "This gateway is shutting down; connect to another one.");
    }
    if (row->feature != FEATURE_CORE && !tenant_has(s->user->app->tenant, row->feature)) {
        return err_set(e, ERR_FEATURE_DISABLED, "The feature %s is switched off for this app.", feature_name(row->feature));
    }
    if (row->rate != RATE_MESSAGE && !rate_take(&s->events, &per_connection, 1, loop_now_ms(), retry_r)) {
        metric_add(METRIC_RATELIMITED, "connection", NULL, 1);
        return err_set(e, ERR_RATE_LIMITED, "Too many events on this connection; slow down.");
    }
    if (row->rate == RATE_QUERY && loop_work_pending() > WORK_MAX) {
        *retry_r = 1000;
        return err_set(e, ERR_BUSY, "The gateway is busy; try again in a moment.");
    }
    return 0;
}

static int check_shape(enum rt_event ev, const json_t *args, bool binary, struct err *e)
{
    if (binary || json_array_size(args) != 1) {
        return err_set(e, ERR_VALIDATION_FAILED, "This event takes exactly one argument: an object without binary attachments.");
    }
    return spec_check(ev, json_array_get(args, 0), e);
}

void session_event(struct conn *c, const char *name, json_t *args, bool binary, int64_t ack_id)
{
    struct session *s = conn_user(c);
    struct err e = {0};
    enum rt_event ev;
    int64_t retry = 0;
    if (s == NULL || s->state != SESSION_READY) {
        return;
    }
    if (event_find(name, &ev) != 1 || (event_where(ev) & s->where) == 0) {
        unknown(s, name, ack_id);
        return;
    }
    metric_add(METRIC_EVENTS_RECEIVED, event_name(ev), NULL, 1);
    if (admit(s, ev, &retry, &e) != 0 || check_shape(ev, args, binary, &e) != 0) {
        refuse(s, ev, ack_id, &e, retry);
        return;
    }
    rows[ev].handler(op_new(s, ev, json_array_get(args, 0), ack_id));
}

bool payload_conv(struct op *op, const char *key, struct conv_id *conv_r)
{
    if (conv_id_parse(json_str(op->payload, key, ""), conv_r) != 0) {
        err_set(&op->err, ERR_NOT_FOUND, "There is no such conversation.");
        return false;
    }
    return true;
}

bool payload_user(struct op *op, const char *key, struct user_id *user_r)
{
    if (user_id_parse(json_str(op->payload, key, ""), user_r) != 0) {
        err_set(&op->err, ERR_NOT_FOUND, "There is no such user.");
        return false;
    }
    return true;
}
