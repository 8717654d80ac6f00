#include "realtime/overload.h"

#include "core/log.h"
#include "core/metrics.h"
#include "realtime/loop.h"
#include "realtime/writer.h"

#include <stdbool.h>

#define TICK_MS 100
#define SMOOTH 8           /* a measurement counts one part in so many */
#define SAMPLE_MAX_MS 2000 /* one long pause of the machine is no overload */

static struct loop_timer timer;
static int connecting;
static int64_t lag; /* smoothed, in SMOOTH-ths of a millisecond */
static bool overloaded;

void overload_connecting(int n)
{
    connecting += n;
}

/* What is at or above `quarters` of its setting; NULL: nothing. */
static const char *pressing(int quarters)
{
    const struct config *c = node.config;
    const struct {
        const char *what;
        int64_t now, most;
    } signs[] = {{"connects", connecting, c->connects_waiting},
                 {"workers", loop_work_pending(), c->overload_work},
                 {"storage", writer_waiting(), c->overload_writes},
                 {"loop", lag / SMOOTH, c->overload_lag}};
    for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++) {
        if (signs[i].now * 4 >= signs[i].most * quarters) {
            return signs[i].what;
        }
    }
    return NULL;
}

static void look(void)
{
    const char *what = pressing(overloaded ? 3 : 4);
    if (overloaded == (what != NULL)) {
        return;
    }
    overloaded = what != NULL;
    metric_set(METRIC_OVERLOADED, NULL, NULL, overloaded);
    if (overloaded) {
        log_warn("overload", "new sessions are refused: %s; %d connects, %d jobs, %d entries wait, the loop is %lld ms late", what,
                 connecting, loop_work_pending(), writer_waiting(), (long long)(lag / SMOOTH));
    } else {
        log_info("overload_over", "new sessions are welcome again");
    }
}

static void on_tick(struct loop_timer *t)
{
    int64_t late = loop_now_ms() - t->due_ms;
    late = late < SAMPLE_MAX_MS ? late : SAMPLE_MAX_MS;
    lag += late - lag / SMOOTH;
    look();
    loop_timer_start(t, TICK_MS, on_tick);
}

void overload_start(void)
{
    loop_timer_start(&timer, TICK_MS, on_tick);
}

void overload_stop(void)
{
    loop_timer_stop(&timer);
}

const char *overload_refuses(void)
{
    look();
    if (!node.draining && !overloaded) {
        return NULL;
    }
    metric_add(METRIC_REFUSED, node.draining ? "draining" : "overload", NULL, 1);
    return node.draining ? "server shutting down" : "overload";
}
