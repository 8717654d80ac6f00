/* op.h: one event in flight: its memory, who sent it, and the steps that lead to its ack. Handlers are lists of steps; reading the list is reading what happens.
 *
 * A step runs on the loop thread, or, when the list says so, on a worker, where storage may block and nothing of the hub, a session or a connection may be
 * touched. The connection may be gone when a step runs: op_session() is NULL then; the steps go on all the same, only the ack is dropped. */
#ifndef REALTIME_OP_H
#define REALTIME_OP_H

#include "core/arena.h"
#include "core/err.h"
#include "core/json.h"
#include "realtime/conn.h"
#include "realtime/hub.h"
#include "realtime/session.h"

enum step_result {
    STEP_NEXT,
    STEP_WAIT, /* op_resume() will be called (loop steps only) */
    STEP_DONE, /* answer with ok */
    STEP_FAIL  /* answer with op->err */
};

struct op;
struct op_step {
    enum step_result (*run)(struct op *op);
    bool worker;
};

struct op {
    struct arena *arena;
    struct conn_ref conn;
    enum rt_event event;
    int64_t ack_id;              /* -1: no answer is wanted */
    struct hub_app *app;         /* one reference */
    const struct tenant *tenant; /* as it was when the event came; lives as long as the arena */
    struct user_id user;
    struct device_id device;
    const json_t *payload;  /* checked by its schema */
    void *data;             /* the handler's, in the arena */
    json_t *reply;          /* STEP_DONE: members beside "ok"; NULL = none. In the arena */
    const char *reply_text; /* or the whole ack's text, where it is hot */
    struct err err;
    int64_t retry_after_ms; /* STEP_FAIL: 0 = does not say */
    /* op.c's own */
    struct op *next; /* waits its turn */
    const struct op_step *step;
    enum step_result result;
    bool answered;
    struct loop_timer deadline, drained;
};

/* An op of s. The payload's object is kept alive. */
struct op *op_new(struct session *s, enum rt_event ev, json_t *payload, int64_t ack_id);

/* Runs the steps (the last one is {0}; running off the end is STEP_DONE) and frees the op. After deadline_ms without an answer it is answered with
 * upstream_timeout and goes on unheard; 0 = no deadline: for writes, whose answer waits for the commit. */
void op_run(struct op *op, const struct op_step *steps, int64_t deadline_ms);
/* The same for what reads much: one op of a session at a time, the others in order; too many are refused with busy. */
void op_run_in_turn(struct op *op, const struct op_step *steps, int64_t deadline_ms);
void op_drop_waiting(struct session *s); /* the session has ended */
void op_resume(struct op *op, enum step_result r);

struct session *op_session(const struct op *op); /* NULL: gone, or not ready any more */

/* For steps: sets op->err and returns STEP_FAIL. */
enum step_result op_fail(struct op *op, enum err_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The text of a failed ack. retry_after_ms 0 = is left out. */
char *op_error_text(struct arena *a, const struct err *e, int64_t retry_after_ms);

#define OP_DEADLINE_MS 10000

#endif
