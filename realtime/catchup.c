#include "realtime/catchup.h"

#include "core/log.h"
#include "core/metrics.h"
#include "realtime/fanout.h"
#include "realtime/loop.h"
#include "realtime/members.h"
#include "realtime/peers.h"

#include <stddef.h>

#define FRAME_WAIT_MS 30
#define RETRY_MS 1000
#define PAGE_ENTRIES 500
#define PAGE_BYTES 524288
#define HEADS_MAX 1000

static void *zeroed(size_t n, size_t size)
{
    void *p = calloc(n, size);
    if (p == NULL) {
        fputs("out of memory: catch-up\n", stderr);
        abort();
    }
    return p;
}

/* ---- in order ---- */

static void read_gap(struct hub_conv *c);

static void on_gap(struct loop_timer *t)
{
    struct hub_conv *c = (struct hub_conv *)((char *)t - offsetof(struct hub_conv, gap));
    c->waiting = false;
    if (!c->reading) {
        read_gap(c);
    }
}

static void wait_for_gap(struct hub_conv *c, int64_t ms)
{
    if (!c->waiting && !c->reading) {
        c->waiting = true;
        loop_timer_start(&c->gap, ms, on_gap);
    }
}

/* The entry that follows last_seq. The conversation may be gone afterwards: its members may have left. */
static void next_entry(struct hub_conv *c, const struct entry *en, const char *path)
{
    struct hub_app *app = c->app;
    hub_app_ref(app);
    fanout_entry(c, en, path);
    if (en->kind != ENTRY_MESSAGE) {
        members_apply(app, en);
    }
    hub_app_unref(app);
}

/* Early entries whose turn has come. NULL: the conversation has gone. */
static struct hub_conv *drain(const struct app_id *app, const struct conv_id *id, const char *path)
{
    struct hub_conv *c;
    struct early *x;
    while ((c = hub_conv_find(app, id)) != NULL && (x = hub_early_take(c)) != NULL) {
        next_entry(c, &x->entry, path);
        free(x);
    }
    if (c != NULL && c->early == NULL && c->waiting) {
        loop_timer_stop(&c->gap);
        c->waiting = false;
    }
    return c;
}

void catchup_entry(const struct app_id *app, const struct entry *en, const char *path)
{
    struct hub_conv *c = hub_conv_find(app, &en->conv);
    if (c == NULL || en->seq <= c->last_seq) {
        return;
    }
    if (en->seq > c->last_seq + 1) {
        (void)hub_early_add(c, en);
        wait_for_gap(c, FRAME_WAIT_MS);
        return;
    }
    next_entry(c, en, path);
    drain(app, &en->conv, path);
}

/* ---- reading what is missing ---- */

struct gap_read {
    struct tenant *tenant;
    struct conv_id conv;
    int64_t after;
    struct arena *arena;
    struct entry *entries;
    int count;
    bool ok;
};

static void gap_work(void *arg)
{
    struct gap_read *r = arg;
    struct err e = {0};
    r->ok = entries_after(r->tenant, r->arena, &r->conv, r->after, INT64_MAX, PAGE_ENTRIES, PAGE_BYTES, &r->entries, &r->count, &e) == 0;
}

static void gap_done(void *arg)
{
    struct gap_read *r = arg;
    struct app_id app = *tenant_app(r->tenant);
    struct hub_conv *c = hub_conv_find(&app, &r->conv);
    bool again = c != NULL && c->read_again;
    if (c != NULL) {
        c->reading = c->read_again = false;
    }
    if (c != NULL && r->count > 0 && c->last_seq == r->after && r->entries[0].seq > c->last_seq + 1) {
        /* What is stored is read in order: the entries between have left the table. */
        log_warn("log_gap", "entries %lld to %lld of a conversation are not in the log any more", (long long)c->last_seq + 1,
                 (long long)r->entries[0].seq - 1);
        c->last_seq = r->entries[0].seq - 1;
    }
    for (int i = 0; c != NULL && i < r->count; i++) {
        if (r->entries[i].seq == c->last_seq + 1) {
            next_entry(c, &r->entries[i], "catch_up");
            c = hub_conv_find(&app, &r->conv);
        }
    }
    c = c == NULL ? NULL : drain(&app, &r->conv, "catch_up");
    if (c != NULL && (!r->ok || (r->count == 0 && c->early != NULL && !again))) {
        wait_for_gap(c, RETRY_MS);
    } else if (c != NULL && (r->count > 0 || again)) {
        read_gap(c); /* until nothing more is there */
    }
    tenant_unref(r->tenant);
    arena_free(&r->arena);
    free(r);
}

static void read_gap(struct hub_conv *c)
{
    struct gap_read *r = zeroed(1, sizeof(*r));
    metric_add(METRIC_CATCH_UPS, NULL, NULL, 1);
    c->reading = true;
    r->tenant = tenant_ref(c->app->tenant);
    r->conv = c->id;
    r->after = c->last_seq;
    r->arena = arena_new("catch-up");
    loop_work(gap_work, gap_done, r);
}

/* ---- heads ---- */

/* Conversations of one app whose heads are compared in one statement. */
struct heads {
    struct heads *next; /* of a sweep over all: read one after the other */
    struct hub_app *app;
    struct tenant *tenant;
    struct conv_id *ids;
    int64_t *last;
    int n;
    bool ok, in_sweep;
};

static struct heads *sweep;
static const char *sweep_again; /* a doubt came during a sweep */
static struct loop_timer retry;
static bool retry_runs;

static void heads_free(struct heads *h)
{
    tenant_unref(h->tenant);
    hub_app_unref(h->app);
    free(h->ids);
    free(h->last);
    free(h);
}

static struct heads *heads_new(struct hub_app *app, int room)
{
    struct heads *h = zeroed(1, sizeof(*h));
    hub_app_ref(app);
    h->app = app;
    h->tenant = tenant_ref(app->tenant);
    h->ids = zeroed((size_t)room, sizeof(*h->ids));
    h->last = zeroed((size_t)room, sizeof(*h->last));
    return h;
}

static void heads_work(void *arg)
{
    struct heads *h = arg;
    struct err e = {0};
    struct arena *a = arena_new("heads");
    h->ok = entries_heads(h->tenant, a, h->ids, h->n, h->last, &e) == 0;
    arena_free(&a);
}

static void on_retry(struct loop_timer *t)
{
    (void)t;
    retry_runs = false;
    catchup_all("retry", false);
}

static void heads_done(void *arg)
{
    struct heads *h = arg;
    for (int i = 0; h->ok && i < h->n; i++) {
        struct hub_conv *c = hub_conv_find(&h->app->id, &h->ids[i]);
        if (c == NULL || h->last[i] <= c->last_seq) {
            continue;
        }
        if (c->reading) {
            c->read_again = true;
        } else {
            read_gap(c);
        }
    }
    if (!h->ok && !retry_runs) {
        retry_runs = true;
        loop_timer_start(&retry, RETRY_MS, on_retry);
    }
    while (!h->ok && h->next != NULL) { /* storage is away: the retry begins anew */
        struct heads *gone = h->next;
        h->next = gone->next;
        heads_free(gone);
    }
    if (h->in_sweep) {
        sweep = h->next;
        if (sweep != NULL) {
            loop_work(heads_work, heads_done, sweep);
        } else if (sweep_again != NULL) {
            const char *trigger = sweep_again;
            sweep_again = NULL;
            catchup_all(trigger, false);
        }
    }
    heads_free(h);
}

static void on_attached(bool ok, void *ctx)
{
    (void)ok; /* while the bus is down, what others commit is found by later comparisons; what was committed already is found by this one */
    loop_work(heads_work, heads_done, ctx);
}

void catchup_attach(struct hub_app *app, const struct conv_id *ids, int n)
{
    struct app_id apps[HEADS_MAX];
    for (int from = 0; from < n; from += HEADS_MAX) {
        struct heads *h = heads_new(app, HEADS_MAX);
        for (; h->n < HEADS_MAX && from + h->n < n; h->n++) {
            h->ids[h->n] = ids[from + h->n];
            apps[h->n] = app->id;
        }
        metric_add(METRIC_HEAD_CHECKS, "attach", NULL, 1);
        peers_attach(apps, h->ids, h->n, on_attached, h);
    }
}

static int by_app(const void *x, const void *y)
{
    const struct hub_conv *a = *(struct hub_conv *const *)x, *b = *(struct hub_conv *const *)y;
    return (a->app > b->app) - (a->app < b->app);
}

/* All conversations here, in batches of one app. NULL: there are none. */
static struct heads *batches_of_all(void)
{
    size_t n = 0, at = 0, total = hub_conv_count();
    struct hub_conv **all = zeroed(total + 1, sizeof(struct hub_conv *));
    struct heads *list = NULL;
    for (struct hub_conv *c = hub_conv_next(&at); c != NULL; c = hub_conv_next(&at)) {
        all[n++] = c;
    }
    qsort(all, n, sizeof(struct hub_conv *), by_app);
    for (size_t i = 0; i < n; i++) {
        if (list == NULL || list->app != all[i]->app || list->n == HEADS_MAX) {
            struct heads *h = heads_new(all[i]->app, HEADS_MAX);
            h->in_sweep = true;
            h->next = list;
            list = h;
        }
        list->ids[list->n++] = all[i]->id;
    }
    free(all);
    return list;
}

static void sweep_start(struct heads *all)
{
    if (sweep == NULL) {
        sweep = all;
        loop_work(heads_work, heads_done, sweep);
        return;
    }
    sweep_again = "again"; /* the one that runs may have passed what this one is for */
    while (all != NULL) {
        struct heads *gone = all;
        all = gone->next;
        heads_free(gone);
    }
}

static void on_all_attached(bool ok, void *ctx)
{
    (void)ok;
    sweep_start(ctx);
}

void catchup_all(const char *trigger, bool attach)
{
    struct app_id apps[HEADS_MAX];
    struct heads *all = batches_of_all();
    metric_add(METRIC_HEAD_CHECKS, trigger, NULL, 1);
    if (all == NULL) {
        return;
    }
    if (!attach) {
        sweep_start(all);
        return;
    }
    for (struct heads *h = all, *next; h != NULL; h = next) {
        next = h->next;
        for (int i = 0; i < h->n; i++) {
            apps[i] = h->app->id;
        }
        /* Answers come in order: with the last one all are attached, and the heads may be read. */
        peers_attach(apps, h->ids, h->n, next == NULL ? on_all_attached : NULL, next == NULL ? all : NULL);
    }
}
