#include "realtime/dispatch.h"

#include "core/clock.h"
#include "core/metrics.h"
#include "realtime/spec.h"

#define WORK_MAX 5000 /* jobs that wait for workers before queries are refused */

enum rate_class { RATE_EVENT, RATE_QUERY, RATE_MESSAGE };
#define REFUSED_PER_SECOND 10 /* that many refusals are forgotten */
#define RETRY_MS 1000

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
    if (e->code == ERR_RATE_LIMITED) {
        session_refused(s);
    }
    if (ack_id < 0) {
        return;
    }
    struct arena *a = arena_new("refusal");
    char *text = op_error_text(a, e, retry_after_ms);
    spec_ack(s->conn, ev, ack_id, text, strlen(text));
    arena_free(&a);
}

/* ---- rates ---- */

void session_refused(struct session *s)
{
    struct rate_limit limit = {.per_second = REFUSED_PER_SECOND, .burst = (uint32_t)node.config->refused_events};
    if (!rate_take(&s->refused, &limit, 1, loop_now_ms(), NULL)) {
        conn_close(s->conn, "rate limited");
    }
}

static bool take(struct rate_bucket *b, uint32_t per_second, uint32_t burst, const char *policy, int64_t *retry_r)
{
    struct rate_limit limit = {.per_second = per_second, .burst = burst};
    bool taken = rate_take(b, &limit, 1, loop_now_ms(), retry_r);
    if (!taken) {
        metric_add(METRIC_RATELIMITED, policy, NULL, 1);
    }
    return taken;
}

/* Of the connection, its user, its app. Messages have rates of their own (ev_message.c). -1 and *e; *retry_r: when to try again. */
static int within_rates(struct session *s, int64_t *retry_r, struct err *e)
{
    const struct tenant_limits *l = tenant_limits(s->user->app->tenant);
    const char *whose = !take(&s->events, l->events_per_second, l->events_burst, "connection", retry_r)               ? "on this connection"
                        : !take(&s->user->events, l->events_per_user, l->events_per_user * 4, "user_events", retry_r) ? "of this user"
                        : !take(&s->user->app->events, l->events_per_app, l->events_per_app * 2, "app_events", retry_r) ? "of this app"
                                                                                                                        : NULL;
    return whose == NULL ? 0 : err_set(e, ERR_RATE_LIMITED, "Too many events %s; slow down.", whose);
}

/* A name that nobody has, or an event of another namespace. It costs as much as a known one. */
static void unknown(struct session *s, const char *name, int64_t ack_id)
{
    struct err e = {0};
    int64_t retry = 0;
    metric_add(METRIC_EVENTS_UNKNOWN, NULL, NULL, 1);
    if (within_rates(s, &retry, &e) == 0) {
        err_set(&e, ERR_UNKNOWN_EVENT, "There is no event %.*s that a client may send here.", EVENT_NAME_MAX, name);
    }
    refuse(s, EV_SERVER_PING, ack_id, &e, retry);
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
    if (row->rate != RATE_MESSAGE && within_rates(s, retry_r, e) != 0) {
        return -1;
    }
    if (s->in_flight >= (int64_t)tenant_limits(s->user->app->tenant)->events_in_flight) {
        *retry_r = RETRY_MS;
        metric_add(METRIC_RATELIMITED, "in_flight", NULL, 1);
        return err_set(e, ERR_RATE_LIMITED, "Too many events of this connection wait for their answer; send the next ones behind these.");
    }
    if (row->rate == RATE_QUERY && loop_work_pending() > WORK_MAX) {
        *retry_r = RETRY_MS;
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
