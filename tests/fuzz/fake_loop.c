#include "tests/fuzz/fake_loop.h"

#include "tests/fuzz/fuzz.h"

#define START_MS 1000000
#define TICK_MS 50

struct node node;

static int64_t now_ms = START_MS;
static struct loop_timer armed = {.next = &armed, .prev = &armed}; /* a ring, the next one to run first */

int64_t loop_now_ms(void)
{
    return now_ms;
}

void loop_timer_stop(struct loop_timer *t)
{
    if (t->next != NULL) {
        t->prev->next = t->next;
        t->next->prev = t->prev;
        t->next = t->prev = NULL;
    }
}

void loop_timer_start(struct loop_timer *t, int64_t delay_ms, void (*fn)(struct loop_timer *t))
{
    loop_timer_stop(t);
    t->fn = fn;
    t->due_ms = now_ms + (delay_ms > 0 ? delay_ms : 0);
    struct loop_timer *after = armed.prev;
    while (after != &armed && after->due_ms > t->due_ms) {
        after = after->prev;
    }
    t->prev = after;
    t->next = after->next;
    t->next->prev = t;
    after->next = t;
}

void fake_clock_reset(void)
{
    now_ms = START_MS;
}

bool fake_timers_idle(void)
{
    return armed.next == &armed;
}

/* At the tick, which may be late. One that is armed by these waits for the next tick, as in loop.c. */
static void run_due(void)
{
    struct loop_timer due = {.next = &due, .prev = &due};
    while (armed.next != &armed && armed.next->due_ms <= now_ms) {
        struct loop_timer *t = armed.next;
        loop_timer_stop(t);
        t->prev = due.prev;
        t->next = &due;
        due.prev->next = t;
        due.prev = t;
    }
    while (due.next != &due) {
        struct loop_timer *t = due.next;
        loop_timer_stop(t);
        t->fn(t);
    }
}

void fake_clock_advance(int64_t ms, void (*turn)(void))
{
    int64_t until = now_ms + ms;
    while (armed.next != &armed) {
        int64_t tick = (armed.next->due_ms + TICK_MS - 1) / TICK_MS * TICK_MS;
        if (tick <= now_ms) {
            tick = (now_ms / TICK_MS + 1) * TICK_MS;
        }
        if (tick > until) {
            break;
        }
        now_ms = tick;
        run_due();
        turn();
    }
    now_ms = until;
}
