#include "realtime/pages.h"

#include "core/log.h"
#include "realtime/catchup.h"
#include "realtime/fanout.h"
#include "realtime/members.h"
#include "realtime/peers.h"

#include <stddef.h>

#define PAGE_ENTRIES 200
#define PAGE_BYTES 65536
#define SEATS_PER_JOB 16
#define BACKLOG_MAX \
    16384 /* bytes the transport still has to take before the next page is read: with the page it stays within the send queue's budget */
#define LOOK_AGAIN_MS 50
#define ACK_PATIENCE_MS 5000   /* without any progress of a client that acknowledges */
#define FIRST_PATIENCE_MS 3000 /* until it is known whether a client does: longer than the round trip of a bad link */
#define RETRY_MS 1000
#define KEEP_MS 30000 /* ack ids, after the last sign of a client */
#define GIVEN_MAX 256 /* runs that are remembered, whatever page they belong to: acks may come later than the next page goes */

/* Entries of one conversation that followed each other: the number of each is behind its ack id. */
struct given {
    struct conv_id conv;
    int64_t first, seq; /* the first one's number and its place in the log */
    int count;
};

struct pages {
    struct session *session;
    struct seat *first, **end; /* seats that are behind */
    struct loop_timer timer;
    bool reading;
    bool silent;            /* the client has not acknowledged a page in time: no waiting for acks */
    int64_t waits_since_ms; /* for acks */
    int64_t numbered;       /* entries that have got a number */
    int64_t page_first;     /* the number of this page's first one */
    int open, unacked;      /* messages not acknowledged: of this page, of all */
    uint32_t given;
    struct given runs[GIVEN_MAX]; /* a ring */
};

static void go_on(struct pages *p);

static void on_timer(struct loop_timer *t)
{
    go_on((struct pages *)((char *)t - offsetof(struct pages, timer)));
}

/* ---- reading ---- */

struct page_part {
    struct conv_id conv;
    int64_t after, upto;
    struct entry *entries;
    int count;
};
struct page_read {
    struct conn_ref conn;
    struct tenant *tenant;
    struct arena *arena;
    struct page_part parts[SEATS_PER_JOB];
    int n;
    bool ok;
};

static size_t bytes_of(const struct page_part *part)
{
    size_t bytes = 0;
    for (int i = 0; i < part->count; i++) {
        bytes += part->entries[i].body_len;
    }
    return bytes;
}

static void page_work(void *arg)
{
    struct page_read *r = arg;
    struct err e = {0};
    int entries = 0;
    size_t bytes = 0;
    r->ok = true;
    for (int i = 0; r->ok && i < r->n; i++) {
        struct page_part *part = &r->parts[i];
        if (entries >= PAGE_ENTRIES || bytes >= PAGE_BYTES) {
            r->n = i; /* the rest of the seats belongs to the next page */
            return;
        }
        r->ok = entries_after(r->tenant, r->arena, &part->conv, part->after, part->upto, PAGE_ENTRIES - entries, PAGE_BYTES - bytes,
                              &part->entries, &part->count, &e) == 0;
        entries += part->count;
        bytes += bytes_of(part);
    }
}

/* Every entry takes a number, so that runs are long; only messages ask for an ack. */
static int64_t give_ack(struct pages *p, const struct entry *en)
{
    struct given *run = &p->runs[(p->given - 1) % GIVEN_MAX];
    int64_t number = ++p->numbered & (FANOUT_ACK_MAX >> 1);
    if (p->given == 0 || run->seq + run->count != en->seq || run->first + run->count != number || !conv_id_equal(&run->conv, &en->conv)) {
        run = &p->runs[p->given++ % GIVEN_MAX];
        *run = (struct given){.conv = en->conv, .first = number, .seq = en->seq};
    }
    run->count++;
    if (en->kind != ENTRY_MESSAGE) {
        return -1;
    }
    p->open++;
    p->unacked++;
    return number * 2 + 1;
}

/* The seat has got everything up to its limit, or what is left of it is not in the log. */
static void send_part(struct pages *p, const struct page_part *part)
{
    struct seat *seat = hub_seat_find(p->session, &part->conv);
    if (seat == NULL || !seat->behind || seat->sent != part->after) {
        return;
    }
    for (int i = 0; i < part->count; i++) {
        fanout_to_seat(seat, &part->entries[i], give_ack(p, &part->entries[i]));
    }
    if (part->count == 0) {
        seat->sent = part->upto;
    }
}

static void page_done(void *arg)
{
    struct page_read *r = arg;
    struct conn *c = conn_get(r->conn);
    struct session *s = c == NULL ? NULL : conn_user(c);
    struct pages *p = s == NULL ? NULL : s->pages;
    if (p != NULL) {
        p->reading = false;
        p->open = 0;
        p->page_first = p->numbered + 1;
        for (int i = 0; i < r->n && r->ok; i++) {
            send_part(p, &r->parts[i]);
        }
        p->waits_since_ms = loop_now_ms();
        if (r->ok) {
            go_on(p);
        } else {
            loop_timer_start(&p->timer, RETRY_MS, on_timer);
        }
    }
    tenant_unref(r->tenant);
    arena_free(&r->arena);
    free(r);
}

static void read_page(struct pages *p)
{
    struct page_read *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        fputs("out of memory: pages\n", stderr);
        abort();
    }
    r->conn = conn_ref_of(p->session->conn);
    r->tenant = tenant_ref(p->session->user->app->tenant);
    r->arena = arena_new("page");
    for (struct seat *seat = p->first; seat != NULL && r->n < SEATS_PER_JOB; seat = seat->next_behind) {
        r->parts[r->n++] = (struct page_part){.conv = seat->member->conv->id, .after = seat->sent, .upto = seat_limit(seat)};
    }
    p->reading = true;
    loop_work(page_work, page_done, r);
}

/* ---- when ---- */

/* Seats at the front that have caught up become live; those of members who left go. */
static void drop_finished(struct pages *p)
{
    struct seat **at = &p->first;
    while (*at != NULL) {
        struct seat *seat = *at;
        if (seat->sent < seat_limit(seat)) {
            at = &seat->next_behind;
            continue;
        }
        *at = seat->next_behind;
        seat->next_behind = NULL;
        seat->behind = false;
        if (seat->member->left_seq != 0 && seat->sent >= seat->member->left_seq) {
            struct app_id app = seat->member->conv->app->id;
            struct conv_id conv = seat->member->conv->id;
            if (members_unseat(seat)) {
                peers_detach(&app, &conv, 1);
            }
        }
    }
    p->end = at;
}

/* How long to wait before the next page is read; 0 = not at all. */
static int64_t patience(struct pages *p)
{
    const struct session *s = p->session;
    if (conn_backlog(s->conn) > BACKLOG_MAX) {
        return LOOK_AGAIN_MS;
    }
    if (p->open == 0 || (p->silent && !s->acks)) {
        return 0;
    }
    int64_t left = p->waits_since_ms + (s->acks ? ACK_PATIENCE_MS : FIRST_PATIENCE_MS) - loop_now_ms();
    p->silent = left <= 0 && !s->acks;
    return left > 0 ? left : 0;
}

static void go_on(struct pages *p)
{
    if (p->reading || p->session->state != SESSION_READY) {
        return;
    }
    loop_timer_stop(&p->timer);
    drop_finished(p);
    if (p->first == NULL) {
        if (p->unacked <= 0 || loop_now_ms() - p->waits_since_ms >= KEEP_MS) {
            pages_free(p->session);
        } else {
            loop_timer_start(&p->timer, KEEP_MS, on_timer);
        }
        return;
    }
    int64_t wait = patience(p);
    if (wait > 0) {
        loop_timer_start(&p->timer, wait, on_timer);
    } else {
        read_page(p);
    }
}

/* ---- from outside ---- */

void pages_add(struct session *s, struct seat *seat)
{
    if (!seat->behind) {
        return;
    }
    if (s->pages == NULL) {
        s->pages = calloc(1, sizeof(*s->pages));
        if (s->pages == NULL) {
            fputs("out of memory: pages\n", stderr);
            abort();
        }
        s->pages->session = s;
        s->pages->end = &s->pages->first;
    }
    struct pages *p = s->pages;
    *p->end = seat;
    p->end = &seat->next_behind;
}

void pages_go(struct session *s)
{
    if (s->pages != NULL) {
        go_on(s->pages);
    }
}

void pages_remove(struct seat *seat)
{
    struct pages *p = seat->session->pages;
    if (p == NULL || !seat->behind) {
        return;
    }
    struct seat **at = &p->first;
    while (*at != NULL && *at != seat) {
        at = &(*at)->next_behind;
    }
    if (*at == seat) {
        *at = seat->next_behind;
        p->end = *at == NULL ? at : p->end;
    }
}

static const struct given *run_of(const struct pages *p, int64_t number)
{
    for (uint32_t i = 1; i <= GIVEN_MAX && i <= p->given; i++) {
        const struct given *run = &p->runs[(p->given - i) % GIVEN_MAX];
        if (number >= run->first && number < run->first + run->count) {
            return run;
        }
    }
    return NULL;
}

int pages_ack_find(struct session *s, int64_t ack_id, struct conv_id *conv_r, int64_t *seq_r)
{
    struct pages *p = s->pages;
    const struct given *run = p == NULL || ack_id < 0 || ack_id % 2 == 0 ? NULL : run_of(p, ack_id / 2);
    if (run == NULL) {
        return 0;
    }
    *conv_r = run->conv;
    *seq_r = run->seq + ack_id / 2 - run->first;
    p->unacked--;
    p->open -= p->open > 0 && ack_id / 2 >= p->page_first;
    p->waits_since_ms = loop_now_ms();
    return 1;
}

void pages_free(struct session *s)
{
    if (s->pages != NULL) {
        loop_timer_stop(&s->pages->timer);
        free(s->pages);
        s->pages = NULL;
    }
}
