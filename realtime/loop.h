/* loop.h: the gateway's one libuv loop, its workers and its timer tick. */
#ifndef REALTIME_LOOP_H
#define REALTIME_LOOP_H

#include "core/config.h"

#include <stdint.h>
#include <uv.h>

/* What every part of the gateway shares; made by main.c, constant after start. */
struct node {
    const struct config *config;
    uv_loop_t *loop;
    char id[32]; /* this process's node id, drawn at start (storage/leases.h) */
    int64_t started_ms;
    bool draining;
};
extern struct node node;

/* Runs work(arg) on a worker thread, where storage may block, then done(arg) on the loop thread. Never fails; order is not kept. At most WORKERS at once. */
void loop_work(void (*work)(void *arg), void (*done)(void *arg), void *arg);

/* The same on a thread that serves nothing else: for what must not wait behind the work of users. It must be short. */
void loop_work_urgent(void (*work)(void *arg), void (*done)(void *arg), void *arg);

/* Work handed over and not done yet: drain waits for 0. */
int loop_work_pending(void);

/* Calls fn(arg) on the loop thread, from any thread; coalesced wake-up, order kept. Nothing is lost until loop_stop(). */
void loop_post(void (*fn)(void *arg), void *arg);

/* A coarse timer wheel of 50 ms ticks for everything per connection: O(1) arm and cancel. A zeroed timer is idle. fn runs once. */
struct loop_timer {
    struct loop_timer *next, *prev;
    int64_t due_ms;
    void (*fn)(struct loop_timer *t);
};
void loop_timer_start(struct loop_timer *t, int64_t delay_ms, void (*fn)(struct loop_timer *t));
void loop_timer_stop(struct loop_timer *t);
int64_t loop_now_ms(void); /* monotonic, of this turn */

void loop_init(uv_loop_t *loop, int workers);
void loop_stop(void); /* waits for workers, closes the handles */

#endif
