#include "realtime/watermark.h"

#include "core/json.h"
#include "core/log.h"
#include "realtime/fanout.h"
#include "realtime/peers.h"
#include "realtime/session.h"
#include "storage/marks.h"

#define FLUSH_MS 1000
#define BATCH 1000
#define KEPT_MAX 200000        /* marks that wait for storage; further ones are lost: entries will come again */
#define RECEIPT_MEMBERS_MAX 50 /* in larger conversations nobody is told who has read what: it would be members squared */

struct gathered {
    struct hub_app *app; /* one reference */
    struct mark mark;
};
static struct gathered *marks;
static size_t count, room;
static uint32_t turn = 1;
static int in_flight;
static struct loop_timer timer;
static bool timer_runs;

static void on_timer(struct loop_timer *t)
{
    (void)t;
    timer_runs = false;
    watermark_flush();
}

static void flush_later(void)
{
    if (!timer_runs) {
        timer_runs = true;
        loop_timer_start(&timer, FLUSH_MS, on_timer);
    }
}

static struct mark *gather(struct hub_app *app)
{
    if (count == room) {
        room = room == 0 ? 256 : room * 2;
        marks = realloc(marks, room * sizeof(*marks));
        if (marks == NULL) {
            fputs("out of memory: marks\n", stderr);
            abort();
        }
    }
    hub_app_ref(app);
    marks[count] = (struct gathered){.app = app};
    flush_later();
    return &marks[count++].mark;
}

static struct mark *mark_of(struct seat *seat)
{
    if (seat->mark_turn == turn) {
        return &marks[seat->mark_at].mark;
    }
    struct hub_conv *c = seat->member->conv;
    seat->mark_turn = turn;
    seat->mark_at = (uint32_t)count;
    struct mark *m = gather(c->app);
    m->conv = c->id;
    m->user = hub_user_id(seat->member->user);
    m->device = seat->session->device;
    return m;
}

/* Of several connections of one device the slowest counts. */
void watermark_moved(struct seat *seat)
{
    int64_t upto = seat->delivered.upto;
    for (const struct seat *other = seat->member->seats; other != NULL; other = other->next_of_member) {
        bool same = strcmp(other->session->device.s, seat->session->device.s) == 0;
        upto = same && other->delivered.upto < upto ? other->delivered.upto : upto;
    }
    mark_of(seat)->delivered_seq = upto;
}

void watermark_read(struct seat *seat, int64_t seq)
{
    int64_t sent = seat_sent(seat);
    seq = seq > sent ? sent : seq;
    if (seq > seat->member->read_seq) {
        seat->member->read_seq = seq;
        mark_of(seat)->read_seq = seq;
    }
}

void watermark_acked(struct seat *seat, int64_t seq)
{
    seat->session->acks = true;
    if (seq <= seat_sent(seat) && runs_add(&seat->delivered, seq)) {
        watermark_moved(seat);
    }
}

void watermark_received(struct seat *seat, int64_t seq)
{
    int64_t sent = seat_sent(seat);
    seat->session->acks = true;
    if (runs_raise(&seat->delivered, seq > sent ? sent : seq)) {
        watermark_moved(seat);
    }
}

void watermark_proven(struct session *s)
{
    uint64_t proven = conn_proven(s->conn);
    for (struct seat *seat = s->acks ? NULL : s->seats; seat != NULL; seat = seat->next_of_session) {
        int64_t upto = seat_take_proof(seat, proven);
        if (upto > 0 && runs_raise(&seat->delivered, upto)) {
            watermark_moved(seat);
        }
    }
}

/* ---- writing ---- */

struct flush {
    struct hub_app *app;
    struct tenant *tenant;
    struct mark marks[BATCH];
    int n;
    bool failed;
};

static void write_marks(void *arg)
{
    struct flush *f = arg;
    struct err e = {0};
    struct arena *a = arena_new("marks");
    f->failed = marks_raise(f->tenant, a, f->marks, f->n, &e) != 0;
    if (f->failed) {
        log_warn("marks_not_stored", "%d watermarks wait for storage: %s", f->n, e.msg);
    }
    arena_free(&a);
}

static void announce(const struct flush *f)
{
    if (!tenant_has(f->app->tenant, FEATURE_RECEIPTS)) {
        return;
    }
    struct arena *a = arena_new("receipts");
    struct bus_item *items = arena_array(a, (size_t)f->n, sizeof(*items));
    int n = 0;
    for (int i = 0; i < f->n; i++) {
        const struct mark *mark = &f->marks[i];
        struct hub_conv *c = hub_conv_find(&f->app->id, &mark->conv);
        struct hub_user *u = hub_user_find(&f->app->id, &mark->user);
        struct hub_member *m = c == NULL || u == NULL ? NULL : hub_member_find(u, c);
        if (m == NULL || m->left_seq != 0 || c->member_count > RECEIPT_MEMBERS_MAX) {
            continue;
        }
        int64_t got = mark->delivered_seq > mark->read_seq ? mark->delivered_seq : mark->read_seq;
        m->delivered_seq = got > m->delivered_seq ? got : m->delivered_seq;
        char id[ID_TEXT_MAX];
        const char *payload = arena_printf(a, "{\"conversation_id\":\"%s\",\"user_id\":\"%s\",\"delivered_seq\":%lld,\"read_seq\":%lld}",
                                           conv_id_print(&c->id, id), u->id, (long long)m->delivered_seq, (long long)m->read_seq);
        fanout_ephemeral(c, EV_RECEIPT_UPDATED, payload, strlen(payload), NULL);
        items[n++] = (struct bus_item){.kind = BUS_EPHEMERAL,
                                       .app = f->app->id,
                                       .conv = c->id,
                                       .event = "receipt.updated",
                                       .payload = payload,
                                       .payload_len = strlen(payload)};
    }
    peers_fan_out(items, n);
    arena_free(&a);
}

static void written(void *arg)
{
    struct flush *f = arg;
    in_flight--;
    if (!f->failed) {
        announce(f);
    } else {
        for (int i = 0; i < f->n && count < KEPT_MAX; i++) {
            *gather(f->app) = f->marks[i];
        }
    }
    tenant_unref(f->tenant);
    hub_app_unref(f->app);
    free(f);
}

static int by_app(const void *x, const void *y)
{
    const struct gathered *a = x, *b = y;
    return (a->app > b->app) - (a->app < b->app);
}

static struct flush *flush_new(struct hub_app *app)
{
    struct flush *f = calloc(1, sizeof(*f));
    if (f == NULL) {
        fputs("out of memory: marks\n", stderr);
        abort();
    }
    hub_app_ref(app);
    f->app = app;
    f->tenant = tenant_ref(app->tenant);
    in_flight++;
    return f;
}

void watermark_flush(void)
{
    struct flush *f = NULL;
    size_t n = count;
    if (n > 1) {
        qsort(marks, n, sizeof(*marks), by_app);
    }
    turn++;
    count = 0;
    for (size_t i = 0; i < n; i++) {
        if (f != NULL && (f->app != marks[i].app || f->n == BATCH)) {
            loop_work(write_marks, written, f);
            f = NULL;
        }
        f = f != NULL ? f : flush_new(marks[i].app);
        f->marks[f->n++] = marks[i].mark;
        hub_app_unref(marks[i].app);
    }
    if (f != NULL) {
        loop_work(write_marks, written, f);
    }
}

bool watermark_idle(void)
{
    return count == 0 && in_flight == 0;
}
