/* drain.c: session_stop(): how a gateway ends without anybody losing anything.
 *
 *   SIGTERM     /readyz fails; handshakes get 503, CONNECTs a closed transport; those who are here are served
 *   wait        a balancer notices
 *   tell        each client gets server.draining {reconnect_in_ms}: its own moment within the spread
 *   leave       at that moment its new events are refused with `draining`; when the others have their acks its transport is closed (1001, or "1" to a poll)
 *   finish      what is on its way into storage, watermarks, presence, lease, bus
 *
 * main.c's clock runs beside it and cuts what is not done in time. */
#include "realtime/session.h"

#include "realtime/keeper.h"
#include "realtime/online.h"
#include "realtime/overload.h"
#include "realtime/peers.h"
#include "realtime/spec.h"
#include "realtime/watermark.h"
#include "realtime/writer.h"

#include <stddef.h>

#define LOOK_AGAIN_MS 50

static struct loop_timer timer;
static int wait_ms, spread_ms;
static int64_t patience_until_ms; /* for acks */
static void (*all_done)(void);

/* ---- finish ---- */

static void on_bus_closed(void *ctx)
{
    (void)ctx;
    writer_stop();
    spec_unload();
    all_done();
}

static void on_lease_ended(void *arg)
{
    (void)arg;
    peers_stop(on_bus_closed, NULL);
}

static void on_presence_given_back(void *arg)
{
    (void)arg;
    keeper_stop(on_lease_ended);
}

static void finish(struct loop_timer *t)
{
    watermark_flush();
    if (session_count() > 0 || writer_waiting() > 0 || !watermark_idle()) {
        loop_timer_start(t, LOOK_AGAIN_MS, finish);
        return;
    }
    overload_stop();
    online_stop(on_presence_given_back);
}

/* ---- leave ---- */

static void on_leave(struct loop_timer *t)
{
    struct session *s = (struct session *)((char *)t - offsetof(struct session, life));
    s->leaving = true;
    if (s->in_flight > 0 && loop_now_ms() < patience_until_ms) {
        loop_timer_start(t, LOOK_AGAIN_MS, on_leave);
        return;
    }
    conn_leave(s->conn, "server shutting down");
}

/* ---- tell ---- */

static void tell_one(struct session *s)
{
    char payload[64];
    if (s->state != SESSION_READY) {
        conn_close(s->conn, "server shutting down");
        return;
    }
    uint32_t moment = conn_spread(s->conn, (uint32_t)spread_ms);
    int n = snprintf(payload, sizeof(payload), "{\"reconnect_in_ms\":%u}", moment);
    session_emit(s, EV_SERVER_DRAINING, payload, (size_t)n);
    loop_timer_start(&s->life, moment, on_leave);
}

static void tell(struct loop_timer *t)
{
    size_t at = 0;
    patience_until_ms = loop_now_ms() + spread_ms + node.config->shutdown_timeout / 10;
    for (struct hub_user *u = hub_user_next(&at); u != NULL; u = hub_user_next(&at)) {
        for (struct session *s = u->sessions; s != NULL; s = s->next_of_user) {
            tell_one(s);
        }
    }
    finish(t);
}

void session_stop(void (*done)(void))
{
    const struct config *c = node.config;
    wait_ms = c->drain_wait < c->shutdown_timeout / 4 ? c->drain_wait : c->shutdown_timeout / 4;
    spread_ms = c->shutdown_timeout / 2 - wait_ms;
    spread_ms = c->drain_spread < spread_ms ? c->drain_spread : spread_ms;
    all_done = done;
    if (session_failed()) { /* others take this node for dead already */
        wait_ms = spread_ms = 0;
    }
    loop_timer_start(&timer, wait_ms, tell);
}
