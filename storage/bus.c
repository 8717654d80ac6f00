/* bus.c: the blocking face, and the subscriber of a program without a loop. */
#include "core/clock.h"
#include "core/crypto.h"
#include "core/log.h"
#include "core/metrics.h"
#include "storage/bus-private.h"
#include "storage/redis-private.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#define PUBLISHER_DIGITS 20

static atomic_uint_fast64_t failures;
static char own_publisher[NODE_ID_MAX + 1];
static pthread_once_t own_publisher_once = PTHREAD_ONCE_INIT;

uint64_t bus_failures(void)
{
    return atomic_load(&failures);
}

void bus_failed(const char *why)
{
    atomic_fetch_add(&failures, 1);
    log_debug("bus_publish_failed", "frames for other nodes were not sent: %s", why);
}

/* Numbers need a name to count under, also for a publisher that is no node. */
static void make_publisher(void)
{
    memcpy(own_publisher, "pub-", 4);
    crypto_random_base62(own_publisher + 4, PUBLISHER_DIGITS);
}

static const char *publisher(const char *self)
{
    if (self[0] != '\0') {
        return self;
    }
    pthread_once(&own_publisher_once, make_publisher);
    return own_publisher;
}

static void run(struct arena *a, struct redis_cmd *c, redisReply **reply_r)
{
    struct err e = {0};
    redisReply *reply = NULL;
    if (redis_run1(a, c, &reply, &e) != 0) {
        bus_failed("Redis is away or has refused");
        return;
    }
    *reply_r = reply;
}

static void fan_out(struct arena *a, const char *self, const struct bus_gathered *g)
{
    redisReply *reply = NULL;
    struct redis_cmd *c = redis_cmd_script(a, SCRIPT_FAN_OUT, 3 + g->count);
    redis_key(c, key_incarnation());
    redis_key(c, key_attached(self));
    redis_key(c, key_sent(self));
    for (int i = 0; i < g->count; i++) {
        redis_key(c, key_nodes(&g->apps[i], &g->convs[i]));
    }
    redis_text(c, self);
    redis_key(c, key_bus(""));
    redis_text(c, ""); /* any incarnation: the loops watch it */
    redis_text(c, "0");
    redis_text(c, BUS_SENT_TTL);
    for (int i = 0; i < g->count; i++) {
        redis_arg(c, g->blobs[i].data, g->blobs[i].len);
    }
    run(a, c, &reply);
    if (reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements > 3) {
        metric_add(METRIC_BUS_MESSAGES, "out", NULL, (int64_t)reply->elements - 3);
    }
}

void bus_publish_items(const char *self, const struct bus_item *items, int n)
{
    struct arena *a = arena_new("bus publish");
    for (int done = 0; done < n;) {
        struct bus_gathered g;
        done += bus_gather(a, items + done, n - done, &g);
        fan_out(a, publisher(self), &g);
    }
    arena_free(&a);
}

void bus_publish_to_nodes(const char *self, char (*nodes)[NODE_ID_MAX + 1], int count, const struct bus_item *items, int n)
{
    struct arena *a = arena_new("bus send");
    struct buf blob = {0};
    redisReply *reply = NULL;
    int others = 0;
    for (int i = 0; i < n; i++) {
        bus_item_encode(&blob, &items[i]);
    }
    struct redis_cmd *c = redis_cmd_script(a, SCRIPT_SEND, 1);
    redis_key(c, key_sent(publisher(self)));
    redis_text(c, publisher(self));
    redis_key(c, key_bus(""));
    redis_text(c, BUS_SENT_TTL);
    redis_arg(c, blob.data, blob.len);
    for (int i = 0; i < count; i++) {
        if (strcmp(nodes[i], self) != 0) {
            redis_text(c, nodes[i]);
            others++;
        }
    }
    if (others > 0 && n > 0) {
        run(a, c, &reply);
        metric_add(METRIC_BUS_MESSAGES, "out", NULL, reply != NULL ? others : 0);
    }
    buf_free(&blob);
    arena_free(&a);
}

void bus_invalidate(const struct bus_item *item)
{
    struct arena *a = arena_new("bus invalidate");
    struct buf frame = {0};
    redisReply *reply = NULL;
    buf_addf(&frame, "%s 0\n", publisher(""));
    bus_item_encode(&frame, item);
    struct redis_cmd *c = redis_cmd(a, "PUBLISH");
    redis_key(c, key_bus_all());
    redis_arg(c, frame.data, frame.len);
    run(a, c, &reply);
    metric_add(METRIC_BUS_MESSAGES, "out", NULL, reply != NULL);
    buf_free(&frame);
    arena_free(&a);
}

/* ---- the subscriber ---- */

#define SLICE_MS 200 /* how long a stop may go unnoticed */
#define PING_MS 1000
#define SILENCE_MS 3000 /* without a pong the connection is lost */
#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 1000

static struct {
    pthread_t thread;
    atomic_bool stopping;
    bool running;
    void (*on_item)(const struct bus_item *item, void *ctx);
    void *ctx;
} listener;

static void one_item(const struct bus_item *item, void *unused)
{
    (void)unused;
    if (item->kind == BUS_INVALIDATE) {
        listener.on_item(item, listener.ctx);
    } else {
        metric_add(METRIC_BUS_REFUSED, "kind", NULL, 1);
    }
}

static void one_reply(const redisReply *r)
{
    const redisReply *kind = reply_at(r, 0), *body = reply_at(r, 2);
    size_t used;
    struct bus_header h;
    if (reply_text(kind) == NULL || strcmp(kind->str, "message") != 0 || body == NULL || body->type != REDIS_REPLY_STRING) {
        return; /* pong, or the answer to SUBSCRIBE */
    }
    metric_add(METRIC_BUS_MESSAGES, "in", NULL, 1);
    if (bus_header_parse(body->str, body->len, &used, &h) != 0) {
        metric_add(METRIC_BUS_REFUSED, "header", NULL, 1);
        return;
    }
    bus_each(body->str + used, body->len - used, one_item, NULL);
}

static int flush(redisContext *c)
{
    for (int done = 0; !done;) {
        if (redisBufferWrite(c, &done) != REDIS_OK) {
            return -1;
        }
    }
    return 0;
}

static int subscribe(redisContext *c)
{
    struct rkey all = key_bus_all();
    const char *argv[] = {"SUBSCRIBE", all.s};
    redisReply *reply = NULL;
    if (redisAppendCommandArgv(c, 2, argv, NULL) != REDIS_OK || flush(c) != 0 ||
        redis_receive(c, clock_mono_ms() + 2 * SLICE_MS, &reply) != 1) {
        return -1;
    }
    const char *kind = reply_text(reply_at(reply, 0));
    bool ok = kind != NULL && strcmp(kind, "subscribe") == 0;
    freeReplyObject(reply);
    return ok ? 0 : -1;
}

/* Until the connection is lost or the program stops. */
static void listen_on(redisContext *c)
{
    struct bus_item all = {.kind = BUS_INVALIDATE, .event = "all", .payload = ""};
    int64_t heard = clock_mono_ms(), pinged = heard;
    if (subscribe(c) != 0) {
        return;
    }
    listener.on_item(&all, listener.ctx);
    while (!atomic_load(&listener.stopping)) {
        redisReply *reply = NULL;
        int64_t now = clock_mono_ms();
        int r = redis_receive(c, now + SLICE_MS, &reply);
        if (r == 1) {
            heard = now;
            one_reply(reply);
            freeReplyObject(reply);
        }
        if (r < 0 || now - heard > SILENCE_MS) {
            return;
        }
        if (now - pinged >= PING_MS) {
            pinged = now;
            if (redisAppendCommand(c, "PING") != REDIS_OK || flush(c) != 0) {
                return;
            }
        }
    }
}

static void pause_ms(int64_t ms)
{
    for (int64_t end = clock_mono_ms() + ms; !atomic_load(&listener.stopping) && clock_mono_ms() < end;) {
        struct timespec t = {.tv_nsec = 20 * 1000000};
        nanosleep(&t, NULL);
    }
}

static void *listen_thread(void *unused)
{
    (void)unused;
    int64_t backoff = BACKOFF_MIN_MS;
    while (!atomic_load(&listener.stopping)) {
        struct err e = {0};
        redisContext *c = redis_open(&e);
        if (c != NULL) {
            int64_t started = clock_mono_ms();
            listen_on(c);
            redisFree(c);
            backoff = clock_mono_ms() - started > BACKOFF_MAX_MS ? BACKOFF_MIN_MS : backoff;
        }
        uint16_t jitter;
        crypto_random(&jitter, sizeof(jitter));
        pause_ms(backoff / 2 + jitter % (backoff / 2 + 1));
        backoff = backoff * 2 < BACKOFF_MAX_MS ? backoff * 2 : BACKOFF_MAX_MS;
    }
    return NULL;
}

int bus_listen_start(void (*on_item)(const struct bus_item *item, void *ctx), void *ctx, struct err *e)
{
    listener.on_item = on_item;
    listener.ctx = ctx;
    atomic_store(&listener.stopping, false);
    int r = pthread_create(&listener.thread, NULL, listen_thread, NULL);
    if (r != 0) {
        return err_set(e, ERR_INTERNAL, "The thread that listens for changes could not be started: %s", strerror(r));
    }
    listener.running = true;
    return 0;
}

void bus_listen_stop(void)
{
    if (listener.running) {
        atomic_store(&listener.stopping, true);
        pthread_join(listener.thread, NULL);
        listener.running = false;
    }
}
