/* bus_loop.c: the life of a bus in a loop: two links that come and go together, three timers, and what the owner is told (never from within a call). */
#include "storage/bus_loop.h"

#include "core/clock.h"
#include "core/crypto.h"
#include "core/log.h"

#include <assert.h>
#include <signal.h>

#define PULSE_MS 250
#define TICK_MS 1000
#define LATE_MS 2000  /* a heartbeat sent longer ago than this is late */
#define START_MS 3000 /* from opening the links to the first heartbeat */
#define DOUBT_GAP_MS 100
#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 1000

/* ---- telling the owner ---- */

static void tell(uv_timer_t *timer);

static void wake(struct bus *b, int64_t ms)
{
    if (!b->closing) {
        uv_timer_start(&b->later, tell, (uint64_t)ms, 0);
    }
}

void bus_doubt(struct bus *b, const char *why)
{
    /* "reconnect" is promised after each on_state(true), so it takes the place of a doubt that has not been told. */
    if (b->doubt == NULL || strcmp(why, "reconnect") == 0) {
        b->doubt = why;
    }
    wake(b, 0);
}

void bus_answered(struct bus *b, struct bus_attach_call *call)
{
    *b->answered_end = call;
    b->answered_end = &call->next;
    wake(b, 0);
}

static void tell_answers(struct bus *b)
{
    while (b->answered != NULL) {
        struct bus_attach_call *call = b->answered;
        b->answered = call->next;
        if (b->answered == NULL) {
            b->answered_end = &b->answered;
        }
        if (call->done != NULL) {
            call->done(call->ok, call->ctx);
        }
        free(call);
    }
}

static void tell(uv_timer_t *timer)
{
    struct bus *b = timer->data;
    tell_answers(b);
    if (!b->closing && b->told_up != b->up) {
        b->told_up = b->up;
        b->cb.on_state(b->up, b->cb.ctx);
    }
    if (b->closing || b->doubt == NULL) {
        return;
    }
    int64_t wait = b->doubted_ms + DOUBT_GAP_MS - clock_mono_ms();
    if (wait > 0) {
        wake(b, wait);
        return;
    }
    const char *why = b->doubt;
    b->doubt = NULL;
    b->doubted_ms = clock_mono_ms();
    log_info("bus_doubt", "something may have been missed: %s", why);
    b->cb.on_doubt(why, b->cb.ctx);
}

/* ---- links ---- */

void bus_drop(struct bus *b, const char *why)
{
    if (!b->closing && !b->down_logged) {
        log_warn("bus_down", "the bus is down: %s", why);
        b->down_logged = true;
    }
    if (b->up) {
        b->up = false;
        wake(b, 0);
    }
    b->commands_ready = false;
    if (b->commands != NULL) {
        redis_link_close(b->commands, why);
    }
    if (b->subscriber != NULL) {
        redis_link_close(b->subscriber, why);
    }
}

static void finish(struct bus *b)
{
    if (!b->closing || b->handles > 0 || b->commands != NULL || b->subscriber != NULL) {
        return;
    }
    tell_answers(b);
    b->closed(b->closed_ctx);
    free(b);
}

static void open_links(uv_timer_t *timer);

static void on_gone(struct redis_link *l, const char *why, void *ctx)
{
    struct bus *b = ctx;
    if (l == b->commands) {
        b->commands = NULL;
    } else {
        b->subscriber = NULL;
    }
    bus_drop(b, why);
    if (b->commands != NULL || b->subscriber != NULL) {
        return;
    }
    if (b->closing) {
        finish(b);
        return;
    }
    uint32_t random;
    crypto_random(&random, sizeof(random));
    uint32_t half = (uint32_t)b->backoff_ms / 2;
    uv_timer_start(&b->retry, open_links, half + random % (half + 1), 0);
    b->backoff_ms = b->backoff_ms * 2 < BACKOFF_MAX_MS ? b->backoff_ms * 2 : BACKOFF_MAX_MS;
}

static void on_ready(struct redis_link *l, void *ctx)
{
    struct bus *b = ctx;
    if (l == b->commands) {
        bus_load_scripts(b);
    } else {
        bus_subscribe(b);
    }
}

static void on_push(struct redis_link *l, const redisReply *r, void *ctx)
{
    struct bus *b = ctx;
    if (l == b->subscriber) {
        bus_pushed(b, r);
    } else {
        bus_drop(b, "an answer to nothing");
    }
}

static void open_links(uv_timer_t *timer)
{
    struct bus *b = timer->data;
    struct redis_link_events events = {.ready = on_ready, .push = on_push, .gone = on_gone, .ctx = b};
    b->opened_ms = clock_mono_ms();
    b->ticked_ms = b->heard_ms = 0;
    b->subscriptions = 0;
    b->commands = redis_link_open(b->loop, &b->address, b->password, &events);
    b->subscriber = redis_link_open(b->loop, &b->address, b->password, &events);
}

void bus_heard_itself(struct bus *b, int64_t sent_ms)
{
    int64_t now = clock_mono_ms();
    if (sent_ms < b->opened_ms || sent_ms > now) {
        return; /* of an earlier connection, or not ours */
    }
    if (sent_ms > b->heard_ms) {
        b->heard_ms = sent_ms;
    }
    if (b->up || b->subscriptions < 2 || !b->commands_ready) {
        return;
    }
    b->up = true;
    b->down_logged = false;
    b->up_ms = now;
    b->publishers.count = 0;
    log_info("bus_up", "the bus is up");
    bus_doubt(b, "reconnect");
}

static void on_pulse(uv_timer_t *timer)
{
    struct bus *b = timer->data;
    int64_t now = clock_mono_ms();
    if (b->up && now - b->heard_ms > LATE_MS) {
        bus_doubt(b, "heartbeat");
        bus_drop(b, "own heartbeat is late");
        return;
    }
    if (!b->up && (b->commands != NULL || b->subscriber != NULL) && now - b->opened_ms > START_MS) {
        bus_drop(b, "no heartbeat after connecting");
        return;
    }
    if (b->up && now - b->up_ms > BACKOFF_MAX_MS) {
        b->backoff_ms = BACKOFF_MIN_MS;
    }
    if (b->commands_ready && b->subscriptions == 2 && now - b->ticked_ms >= TICK_MS) {
        bus_tick(b, now);
    }
}

/* ---- life ---- */

struct bus *bus_new(struct uv_loop_s *loop, const struct config *c, const char *node, const struct bus_callbacks *cb)
{
    assert(node[0] != '\0' && strlen(node) <= NODE_ID_MAX && strcmp(node, "all") != 0);
    struct bus *b = calloc(1, sizeof(*b));
    if (b == NULL || redis_address_parse(c->redis, &b->address) != 0) {
        log_error("bad_redis_address", "PARLEY_REDIS must be host:port or the path of a unix socket");
        exit(1);
    }
    signal(SIGPIPE, SIG_IGN); /* libuv writes to sockets that the other side may have closed */
    b->loop = loop;
    snprintf(b->node, sizeof(b->node), "%s", node);
    b->cb = *cb;
    b->password = c->redis_password != NULL ? c->redis_password : "";
    b->backoff_ms = BACKOFF_MIN_MS;
    b->answered_end = &b->answered;
    uv_timer_init(loop, &b->pulse);
    uv_timer_init(loop, &b->retry);
    uv_timer_init(loop, &b->later);
    b->handles = 3;
    b->pulse.data = b->retry.data = b->later.data = b;
    uv_timer_start(&b->retry, open_links, 0, 0);
    uv_timer_start(&b->pulse, on_pulse, PULSE_MS, PULSE_MS);
    return b;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct bus *b = handle->data;
    b->handles--;
    finish(b);
}

void bus_close(struct bus *b, void (*closed)(void *ctx), void *ctx)
{
    if (b->closing) {
        return;
    }
    b->closing = true;
    b->closed = closed;
    b->closed_ctx = ctx;
    uv_close((uv_handle_t *)&b->pulse, on_timer_closed);
    uv_close((uv_handle_t *)&b->retry, on_timer_closed);
    uv_close((uv_handle_t *)&b->later, on_timer_closed);
    b->up = b->told_up = false; /* an end that is wanted is no news */
    bus_drop(b, "closing");
}

bool bus_up(const struct bus *b)
{
    return b->up;
}
