#include "realtime/writer.h"

#include "core/clock.h"
#include "core/log.h"
#include "core/metrics.h"
#include "realtime/catchup.h"
#include "realtime/loop.h"
#include "realtime/members.h"
#include "realtime/peers.h"
#include "realtime/table.h"
#include "storage/pg.h"

#include <assert.h>
#include <pthread.h>

#define ROWS_MAX 1000  /* to drain a backlog */
#define ROWS_YOUNG 200 /* while the oldest is young */
#define BYTES_YOUNG 262144
#define YOUNG_US 10000
#define APP_BYTES_MAX (8 << 20)
#define ALL_BYTES_MAX (64 << 20)
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 2000

/* A conversation with rows on their way. */
struct write_conv {
    struct app_id app;
    struct conv_id id;
    int rows;       /* queued or in flight */
    int waits;      /* of those, on the waiting lane */
    uint64_t ended; /* the batch that a control entry ended for it */
};

struct lane {
    pthread_t thread;
    pthread_cond_t wake;
    struct write *first, **end;
    bool wait; /* the second lane waits for locks */
    uint64_t batch;
};

struct batch {
    struct write *writes[ROWS_MAX];
    struct append *rows[ROWS_MAX];
    int n;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct lane lanes[2];
static struct table convs;
static bool stopping;
static int waiting;           /* loop thread */
static int64_t waiting_bytes; /* loop thread */

/* ---- conversations on their way ---- */

static bool same_conv(const void *item, const void *key)
{
    const struct write_conv *c = item;
    const struct append *row = key;
    return conv_id_equal(&c->id, &row->entry.conv) && app_id_equal(&c->app, &row->app);
}

static uint64_t hash_conv(const struct app_id *app, const struct conv_id *id)
{
    return table_hash(id->b, sizeof(id->b), table_hash(app->b, sizeof(app->b), 0));
}

static struct write_conv *conv_hold(const struct append *row)
{
    uint64_t hash = hash_conv(&row->app, &row->entry.conv);
    struct write_conv *c = table_find(&convs, hash, row);
    if (c == NULL) {
        c = calloc(1, sizeof(*c));
        if (c == NULL) {
            fputs("out of memory: writer\n", stderr);
            abort();
        }
        c->app = row->app;
        c->id = row->entry.conv;
        table_put(&convs, hash, c);
    }
    c->rows++;
    return c;
}

static void conv_release(struct write_conv *c, const struct append *row)
{
    if (--c->rows == 0) {
        table_take(&convs, hash_conv(&c->app, &c->id), row);
        free(c);
    }
}

static void append_to(struct lane *l, struct write *w)
{
    w->next = NULL;
    *l->end = w;
    l->end = &w->next;
}

/* ---- loop thread ---- */

int writer_put(struct write *w, struct hub_app *app, struct err *e)
{
    size_t bytes = sizeof(*w) + w->row.entry.body_len;
    if (app->uncommitted + (int64_t)bytes > APP_BYTES_MAX || waiting_bytes + (int64_t)bytes > ALL_BYTES_MAX) {
        return err_set(e, ERR_BUSY, "Too much waits for storage; try again in a few seconds.");
    }
    w->app = app;
    w->bytes = bytes;
    w->arrived_us = clock_mono_us();
    hub_app_ref(app);
    app->uncommitted += (int64_t)bytes;
    waiting_bytes += (int64_t)bytes;
    waiting++;
    metric_set(METRIC_UNCOMMITTED_BYTES, NULL, NULL, waiting_bytes);
    pthread_mutex_lock(&lock);
    w->conv = conv_hold(&w->row);
    append_to(&lanes[0], w);
    pthread_cond_signal(&lanes[0].wake);
    pthread_mutex_unlock(&lock);
    return 0;
}

int writer_waiting(void)
{
    return waiting;
}

/* What was stored is delivered here first. A conversation that nobody here sits in may still concern users of this node. */
static void deliver(struct hub_app *app, const struct entry *en)
{
    if (en->kind != ENTRY_MESSAGE && hub_conv_find(&app->id, &en->conv) == NULL) {
        members_apply(app, en);
    } else {
        catchup_entry(&app->id, en, "local");
    }
}

static struct bus_item item_of(const struct app_id *app, const struct entry *en)
{
    return (struct bus_item){.kind = BUS_ENTRY, .app = *app, .conv = en->conv, .entry = *en};
}

/* ---- repeats ---- */

/* Rows that were stored before this batch are fanned out as they are in the log, whatever the repeat says: that heals a fan-out which was lost. */
struct repeat {
    struct hub_app *app; /* one reference */
    struct tenant *tenant;
    struct entry entry; /* in: conv, mid */
    int found;
};
struct repeats {
    struct arena *arena;
    struct repeat *rows;
    int n;
};

static void read_repeats(void *arg)
{
    struct repeats *r = arg;
    for (int i = 0; i < r->n; i++) {
        struct err e = {0};
        struct repeat *row = &r->rows[i];
        struct conv_id conv = row->entry.conv;
        struct msg_id mid = row->entry.mid;
        row->found = entries_get(row->tenant, r->arena, &conv, &mid, &row->entry, &e);
    }
}

static void fan_out_repeats(void *arg)
{
    struct repeats *r = arg;
    struct bus_item *items = arena_array(r->arena, (size_t)r->n, sizeof(*items));
    int n = 0;
    for (int i = 0; i < r->n; i++) {
        struct repeat *row = &r->rows[i];
        if (row->found == 1) {
            deliver(row->app, &row->entry);
            items[n++] = item_of(&row->app->id, &row->entry);
        }
    }
    peers_fan_out(items, n);
    for (int i = 0; i < r->n; i++) {
        tenant_unref(r->rows[i].tenant);
        hub_app_unref(r->rows[i].app);
    }
    struct arena *a = r->arena;
    arena_free(&a);
}

/* The batch's row `at` repeats another one of the same batch. */
static bool is_folded(const struct batch *b, int at)
{
    const struct entry *en = &b->writes[at]->row.entry;
    for (int i = 0; i < at; i++) {
        const struct entry *other = &b->writes[i]->row.entry;
        if (other->seq == en->seq && conv_id_equal(&other->conv, &en->conv) && msg_id_equal(&other->mid, &en->mid)) {
            return true;
        }
    }
    return false;
}

static void take_repeats(const struct batch *b)
{
    struct repeats *r = NULL;
    for (int i = 0; i < b->n; i++) {
        struct write *w = b->writes[i];
        if (w->row.status != APPEND_DUPLICATE || is_folded(b, i)) {
            continue;
        }
        if (r == NULL) {
            struct arena *a = arena_new("repeats");
            r = arena_alloc(a, sizeof(*r));
            r->arena = a;
            r->rows = arena_array(a, (size_t)(b->n - i), sizeof(*r->rows));
        }
        hub_app_ref(w->app);
        r->rows[r->n++] = (struct repeat){.app = w->app, .tenant = tenant_ref(w->app->tenant), .entry = w->row.entry};
    }
    if (r != NULL) {
        loop_work(read_repeats, fan_out_repeats, r);
    }
}

/* ---- outcomes ---- */

static bool stored(const struct write *w)
{
    return w->row.status == APPEND_WRITTEN || w->row.status == APPEND_DUPLICATE;
}

static void finish_row(struct write *w)
{
    struct hub_app *app = w->app;
    waiting--;
    waiting_bytes -= (int64_t)w->bytes;
    app->uncommitted -= (int64_t)w->bytes;
    if (stored(w)) {
        metric_observe_us(METRIC_ACK_SECONDS, NULL, NULL, clock_mono_us() - w->arrived_us);
        metric_add(METRIC_ACKED, NULL, NULL, 1);
    }
    w->done(w);
    hub_app_unref(app);
}

static void batch_done(void *arg)
{
    struct batch *b = arg;
    static struct bus_item items[ROWS_MAX]; /* too large for the stack; loop thread only */
    int n = 0;
    for (int i = 0; i < b->n; i++) {
        struct write *w = b->writes[i];
        if (w->row.status == APPEND_WRITTEN) {
            deliver(w->app, &w->row.entry);
            items[n++] = item_of(&w->row.app, &w->row.entry);
        }
    }
    peers_fan_out(items, n); /* copies what it sends: the bodies end with done() */
    take_repeats(b);
    for (int i = 0; i < b->n; i++) {
        finish_row(b->writes[i]);
    }
    metric_set(METRIC_UNCOMMITTED_BYTES, NULL, NULL, waiting_bytes);
    free(b);
}

/* ---- writer threads ---- */

/* Takes the first lane's rows of conversations that wait over to the waiting lane, and from the rest what one batch may hold. Under the lock. */
static void fill(struct lane *l, struct batch *b)
{
    size_t bytes = 0;
    int64_t young_since = clock_mono_us() - YOUNG_US;
    struct write **at = &l->first;
    l->batch++;
    while (*at != NULL && b->n < ROWS_MAX) {
        struct write *w = *at;
        bool young = w->arrived_us > young_since && (b->n == 0 || b->writes[0]->arrived_us > young_since);
        if (!l->wait && w->conv->waits > 0) {
            *at = w->next;
            w->conv->waits++;
            append_to(&lanes[1], w);
            pthread_cond_signal(&lanes[1].wake);
            continue;
        }
        if (w->conv->ended == l->batch) {
            at = &w->next;
            continue;
        }
        if (young && b->n > 0 && (b->n >= ROWS_YOUNG || bytes + w->bytes > BYTES_YOUNG)) {
            break;
        }
        if (w->row.entry.kind != ENTRY_MESSAGE) {
            w->conv->ended = l->batch;
        }
        *at = w->next;
        bytes += w->bytes;
        b->writes[b->n] = w;
        b->rows[b->n++] = &w->row;
    }
    for (at = &l->first; *at != NULL;) {
        at = &(*at)->next;
    }
    l->end = at;
}

/* NULL: the end. */
static struct batch *take(struct lane *l)
{
    struct batch *b = calloc(1, sizeof(*b));
    if (b == NULL) {
        fputs("out of memory: writer\n", stderr);
        abort();
    }
    pthread_mutex_lock(&lock);
    while (b->n == 0 && !stopping) {
        if (l->first == NULL) {
            pthread_cond_wait(&l->wake, &lock);
        } else {
            fill(l, b);
        }
    }
    pthread_mutex_unlock(&lock);
    if (b->n == 0) {
        free(b);
        return NULL;
    }
    return b;
}

static bool pause_ms(struct lane *l, int64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&lock);
    int rc = 0;
    while (!stopping && rc == 0) {
        rc = pthread_cond_timedwait(&l->wake, &lock, &until);
    }
    bool go_on = !stopping;
    pthread_mutex_unlock(&lock);
    return go_on;
}

/* Until the outcome is known. False: stopped before. */
static bool commit(struct lane *l, struct batch *b)
{
    int64_t backoff = BACKOFF_MIN_MS;
    struct err e = {0};
    for (;;) {
        int64_t begun = clock_mono_us();
        if (outbox_append(b->rows, b->n, l->wait, &e) == 0) {
            metric_observe_us(METRIC_COMMIT_SECONDS, NULL, NULL, clock_mono_us() - begun);
            metric_add(METRIC_COMMIT_BATCHES, NULL, NULL, 1);
            return true;
        }
        log_warn("commit_failed", "%d entries wait for storage: %s", b->n, e.msg);
        if (!pause_ms(l, backoff)) {
            return false;
        }
        backoff = backoff * 2 < BACKOFF_MAX_MS ? backoff * 2 : BACKOFF_MAX_MS;
    }
}

/* Rows without an outcome because their conversation is locked go to the waiting lane; the rest is released. Under the lock. */
static void settle(struct lane *l, struct batch *b)
{
    int kept = 0;
    for (int i = 0; i < b->n; i++) {
        struct write *w = b->writes[i];
        w->conv->waits -= l->wait;
        if (w->row.status == APPEND_LATER) {
            w->conv->waits++;
            append_to(&lanes[1], w);
            pthread_cond_signal(&lanes[1].wake);
            continue;
        }
        conv_release(w->conv, &w->row);
        b->writes[kept++] = w;
    }
    b->n = kept;
}

static void *run(void *arg)
{
    struct lane *l = arg;
    struct batch *b;
    while ((b = take(l)) != NULL) {
        if (!commit(l, b)) {
            free(b);
            break;
        }
        pthread_mutex_lock(&lock);
        settle(l, b);
        pthread_mutex_unlock(&lock);
        if (b->n > 0) {
            loop_post(batch_done, b);
        } else {
            free(b);
        }
    }
    pg_thread_end();
    return NULL;
}

int writer_start(struct err *e)
{
    convs.same = same_conv;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    for (int i = 0; i < 2; i++) {
        lanes[i].end = &lanes[i].first;
        lanes[i].wait = i == 1;
        pthread_cond_init(&lanes[i].wake, &attr);
        if (pthread_create(&lanes[i].thread, NULL, run, &lanes[i]) != 0) {
            return err_set(e, ERR_INTERNAL, "Cannot start the writer threads.");
        }
    }
    return 0;
}

void writer_stop(void)
{
    pthread_mutex_lock(&lock);
    stopping = true;
    pthread_cond_signal(&lanes[0].wake);
    pthread_cond_signal(&lanes[1].wake);
    pthread_mutex_unlock(&lock);
    pthread_join(lanes[0].thread, NULL);
    pthread_join(lanes[1].thread, NULL);
}
