#include "realtime/op.h"

#include "realtime/spec.h"

#include <stdarg.h>
#include <stddef.h>

#define WAITING_MAX 64    /* of one session, behind the one that runs */
#define BACKLOG_MAX 65536 /* bytes that the transport still has to take before the next large answer is made */
#define LOOK_AGAIN_MS 50

struct op *op_new(struct session *s, enum rt_event ev, json_t *payload, int64_t ack_id)
{
    struct arena *a = arena_new("event");
    struct op *op = arena_alloc(a, sizeof(*op));
    struct tenant *t = tenant_ref(s->user->app->tenant);
    arena_defer(a, tenant_unref, t);
    hub_app_ref(s->user->app);
    s->in_flight++;
    op->arena = a;
    op->conn = conn_ref_of(s->conn);
    op->event = ev;
    op->ack_id = ack_id;
    op->app = s->user->app;
    op->tenant = t;
    op->user = hub_user_id(s->user);
    op->device = s->device;
    op->payload = json_own(a, json_incref(payload));
    return op;
}

struct session *op_session(const struct op *op)
{
    struct conn *c = conn_get(op->conn);
    struct session *s = c == NULL ? NULL : conn_user(c);
    return s != NULL && s->state == SESSION_READY ? s : NULL;
}

enum step_result op_fail(struct op *op, enum err_code code, const char *fmt, ...)
{
    char text[sizeof(op->err.msg)];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    err_set(&op->err, code, "%s", text);
    return STEP_FAIL;
}

char *op_error_text(struct arena *a, const struct err *e, int64_t retry_after_ms)
{
    json_t *error = json_pack("{s:s, s:s, s:b}", "code", err_name(e->code), "message", e->msg, "retryable", err_retryable(e->code));
    if (retry_after_ms > 0) {
        json_object_set_new(error, "retry_after_ms", json_integer(retry_after_ms));
    }
    if (e->pointer[0] != '\0') {
        json_object_set_new(error, "pointer", json_string(e->pointer));
    }
    return json_write(a, json_own(a, json_pack("{s:b, s:o}", "ok", 0, "error", error)), NULL);
}

static const char *success_text(struct op *op)
{
    if (op->reply_text != NULL || op->reply == NULL) {
        return op->reply_text != NULL ? op->reply_text : "{\"ok\":true}";
    }
    json_t *ack = json_own(op->arena, json_pack("{s:b}", "ok", 1));
    json_object_update(ack, op->reply);
    return json_write(op->arena, ack, NULL);
}

static void answer(struct op *op, const char *text)
{
    struct session *s = op_session(op);
    if (!op->answered && s != NULL && op->ack_id >= 0) {
        spec_ack(s->conn, op->event, op->ack_id, text, strlen(text));
    }
    op->answered = true;
}

static void next_turn(struct session *s);

static void finish(struct op *op)
{
    struct conn *c = conn_get(op->conn);
    struct session *s = c == NULL ? NULL : conn_user(c);
    bool had_turn = s != NULL && s->turn == op;
    loop_timer_stop(&op->deadline);
    answer(op, op->result == STEP_FAIL ? op_error_text(op->arena, &op->err, op->retry_after_ms) : success_text(op));
    hub_app_unref(op->app);
    if (s != NULL) {
        s->in_flight--;
    }
    if (s != NULL && op->result == STEP_FAIL && op->err.code == ERR_RATE_LIMITED) {
        session_refused(s);
    }
    struct arena *a = op->arena;
    arena_free(&a); /* the op with it */
    if (had_turn) {
        next_turn(s);
    }
}

static void on_deadline(struct loop_timer *t)
{
    struct op *op = (struct op *)((char *)t - offsetof(struct op, deadline));
    struct arena *a = arena_new("deadline"); /* the op's own may be with a worker */
    struct err e = {0};
    err_set(&e, ERR_UPSTREAM_TIMEOUT, "Storage did not answer in time; try again.");
    answer(op, op_error_text(a, &e, 0));
    arena_free(&a);
}

static void work(void *arg)
{
    struct op *op = arg;
    op->result = op->step->run(op);
}

static void proceed(struct op *op);

static void worked(void *arg)
{
    proceed(arg);
}

/* The step before has ended with op->result. */
static void proceed(struct op *op)
{
    while (op->result == STEP_NEXT) {
        op->step++;
        if (op->step->run == NULL) {
            op->result = STEP_DONE;
        } else if (op->step->worker) {
            loop_work(work, worked, op);
            return;
        } else {
            op->result = op->step->run(op);
        }
    }
    if (op->result != STEP_WAIT) {
        finish(op);
    }
}

void op_resume(struct op *op, enum step_result r)
{
    op->result = r;
    proceed(op);
}

static void prepare(struct op *op, const struct op_step *steps, int64_t deadline_ms)
{
    if (deadline_ms > 0) {
        loop_timer_start(&op->deadline, deadline_ms, on_deadline);
    }
    op->step = steps - 1;
    op->result = STEP_NEXT;
}

void op_run(struct op *op, const struct op_step *steps, int64_t deadline_ms)
{
    prepare(op, steps, deadline_ms);
    proceed(op);
}

/* ---- one at a time ---- */

static void drop(struct op *op)
{
    op->result = STEP_FAIL;
    finish(op);
}

/* Its answer waits until the client has taken those before it: a client that asks and does not read gets no further. */
static void take_turn(struct op *op);

static void on_drained(struct loop_timer *t)
{
    take_turn((struct op *)((char *)t - offsetof(struct op, drained)));
}

static void take_turn(struct op *op)
{
    struct session *s = op_session(op);
    if (op->answered || s == NULL) { /* its deadline has passed, or nobody waits */
        drop(op);
    } else if (conn_backlog(s->conn) > BACKLOG_MAX) {
        loop_timer_start(&op->drained, LOOK_AGAIN_MS, on_drained);
    } else {
        proceed(op);
    }
}

static void next_turn(struct session *s)
{
    struct op *op = s->queue;
    s->turn = op;
    if (op != NULL) {
        s->queue = op->next;
        take_turn(op);
    }
}

void op_run_in_turn(struct op *op, const struct op_step *steps, int64_t deadline_ms)
{
    struct session *s = op_session(op);
    struct op **end = &s->queue;
    int waiting = 0;
    for (; *end != NULL; end = &(*end)->next) {
        waiting++;
    }
    prepare(op, steps, deadline_ms);
    if (waiting >= WAITING_MAX) {
        op->retry_after_ms = 1000;
        err_set(&op->err, ERR_BUSY, "Too many requests of this connection wait; send the next ones when these are answered.");
        drop(op);
        return;
    }
    *end = op;
    if (s->turn == NULL) {
        next_turn(s);
    }
}

void op_drop_waiting(struct session *s)
{
    while (s->queue != NULL) {
        struct op *op = s->queue;
        s->queue = op->next;
        drop(op);
    }
}
