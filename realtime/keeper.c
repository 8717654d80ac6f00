#include "realtime/keeper.h"

#include "core/log.h"
#include "realtime/catchup.h"
#include "realtime/loop.h"
#include "realtime/members.h"
#include "realtime/online.h"
#include "realtime/peers.h"
#include "realtime/relay.h"
#include "storage/leases.h"
#include "storage/pg.h"

#include <signal.h>

#define BEAT_MS 1000
#define PING_MS 1000
#define STALE_MS 2000   /* readiness ends when Postgres has not answered for so long */
#define SILENT_MS 3000  /* a lease unchanged for so long: compare heads */
#define SCHEMA_EVERY 10 /* beats */
#define PEERS_MAX 512

struct peer {
    char node[NODE_ID_MAX + 1];
    int64_t beat, since_ms; /* of its last change, by our clock */
    bool compared, closing, listed;
};

struct beat {
    struct arena *arena;
    bool check_schema, bus_lost;
    uint64_t failures;
    int lease; /* lease_beat() */
    bool pg, schema;
    struct lease *leases;
    int count;
    uint64_t reading; /* relay_reading() */
};

static struct peer peers[PEERS_MAX];
static int peer_count;
static struct loop_timer timer;
static uint64_t told_failures;
static int beats;
static bool in_flight, steady, failed, stopping, pg_ok, schema_ok;
static int64_t answered_ms;
static void (*stopped)(void *arg);

/* ---- worker ---- */

static void beat_work(void *arg)
{
    struct beat *b = arg;
    struct err e = {0};
    b->failures = bus_failures();
    b->lease = lease_beat(b->arena, node.id, "realtime", relay_address(), b->bus_lost, &e);
    b->pg = b->lease >= 0 && pg_ping(PING_MS, &e) == 0;
    b->schema = b->pg && b->check_schema && pg_schema_current(&e) == 0;
    if (b->lease < 0 || lease_list(b->arena, &b->leases, &b->count, &e) != 0) {
        b->pg = false;
        b->count = 0;
    }
}

struct closing {
    char node[NODE_ID_MAX + 1];
    int64_t beat;
    int result;
};

static void close_work(void *arg)
{
    struct closing *c = arg;
    struct err e = {0};
    struct arena *a = arena_new("lease close");
    c->result = lease_close(a, c->node, c->beat, &e);
    if (c->result == 1) {
        lease_forget_in_redis(c->node);
    }
    arena_free(&a);
}

/* ---- the others ---- */

static void close_done(void *arg)
{
    struct closing *c = arg;
    if (c->result == 1) {
        log_warn("lease_closed", "node %s is dead: its lease is closed", c->node);
        catchup_all("closed", false);
    }
    for (int i = 0; i < peer_count; i++) {
        if (strcmp(peers[i].node, c->node) == 0) {
            peers[i].closing = false;
        }
    }
    free(c);
}

static void close_lease(struct peer *p)
{
    struct closing *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return; /* the next beat tries again */
    }
    memcpy(c->node, p->node, sizeof(c->node));
    c->beat = p->beat;
    p->closing = true;
    loop_work(close_work, close_done, c);
}

static struct peer *peer_of(const char *name)
{
    for (int i = 0; i < peer_count; i++) {
        if (strcmp(peers[i].node, name) == 0) {
            return &peers[i];
        }
    }
    if (peer_count == PEERS_MAX) {
        return NULL;
    }
    struct peer *p = &peers[peer_count++];
    *p = (struct peer){.beat = -1};
    snprintf(p->node, sizeof(p->node), "%s", name);
    return p;
}

static void look_at(const struct lease *l, int64_t now)
{
    struct peer *p = strcmp(l->node, node.id) == 0 ? NULL : peer_of(l->node);
    if (p == NULL) {
        return;
    }
    p->listed = true;
    if (p->beat != l->beat || !steady) { /* after an absence of storage everybody gets its time again */
        p->beat = l->beat;
        p->since_ms = now;
        p->compared = false;
        return;
    }
    if (now - p->since_ms >= SILENT_MS && !p->compared) {
        p->compared = true;
        catchup_all("lease", false);
    }
    if (now - p->since_ms >= NODE_DEAD_MS && !p->closing) {
        close_lease(p);
    }
}

/* Leases that are not listed any more were closed: by their node or by somebody else. */
static void forget_closed(void)
{
    bool gone = false;
    for (int i = 0; i < peer_count;) {
        if (peers[i].listed) {
            peers[i++].listed = false;
        } else {
            peers[i] = peers[--peer_count];
            gone = true;
        }
    }
    if (gone) {
        catchup_all("closed", false);
        online_node_died();
    }
}

static void tell_relay(const struct beat *b)
{
    struct relay_node nodes[PEERS_MAX];
    int n = 0;
    for (int i = 0; i < b->count && n < PEERS_MAX; i++) {
        const struct lease *l = &b->leases[i];
        if (strcmp(l->kind, "realtime") == 0 && strcmp(l->node, node.id) != 0) {
            snprintf(nodes[n].id, sizeof(nodes[n].id), "%s", l->node);
            snprintf(nodes[n++].address, sizeof(nodes[0].address), "%s", l->address);
        }
    }
    relay_nodes(nodes, n, b->reading);
}

static void look_at_others(const struct beat *b)
{
    bool lost = false;
    for (int i = 0; i < b->count; i++) {
        look_at(&b->leases[i], loop_now_ms());
        lost = lost || (b->leases[i].bus_lost && strcmp(b->leases[i].node, node.id) != 0);
    }
    forget_closed();
    if (lost) {
        catchup_all("bus_lost", false);
        members_reload_all(); /* who entered a conversation that nobody here is in is told over the bus alone */
    }
}

/* ---- each second ---- */

static void on_beat(struct loop_timer *t);

static void note_health(const struct beat *b)
{
    if (b->pg != pg_ok) {
        log_event(b->pg ? LOG_INFO : LOG_WARN, b->pg ? "postgres_up" : "postgres_down",
                  b->pg ? "Postgres answers" : "Postgres does not answer");
    }
    pg_ok = b->pg;
    schema_ok = b->check_schema && b->pg ? b->schema : schema_ok;
    answered_ms = b->pg ? loop_now_ms() : answered_ms;
}

static void beat_done(void *arg)
{
    struct beat *b = arg;
    in_flight = false;
    note_health(b);
    if (b->lease == 0) {
        told_failures = b->failures;
    }
    if (b->lease == 1 && !stopping) {
        log_error("own_lease_closed",
                  "another process has closed this node's lease, or has the same first characters: ending, to come back under another id");
        failed = true;
        raise(SIGTERM);
    } else if (b->count > 0 && !stopping) {
        tell_relay(b);
        look_at_others(b);
    }
    steady = b->pg;
    arena_free(&b->arena);
    if (stopping) {
        keeper_stop(stopped);
    }
}

static void on_beat(struct loop_timer *t)
{
    loop_timer_start(t, BEAT_MS, on_beat);
    if (in_flight) {
        return;
    }
    struct arena *a = arena_new("beat");
    struct beat *b = arena_alloc(a, sizeof(*b));
    b->arena = a;
    b->reading = relay_reading();
    b->check_schema = !schema_ok || beats++ % SCHEMA_EVERY == 0;
    b->bus_lost = !peers_up() || bus_failures() != told_failures;
    in_flight = true;
    loop_work_urgent(beat_work, beat_done, b);
}

/* ---- a session of a gateway that no beat has seen ---- */

static void look_work(void *arg)
{
    struct beat *b = arg;
    struct err e = {0};
    b->pg = lease_list(b->arena, &b->leases, &b->count, &e) == 0;
}

static void look_done(void *arg)
{
    struct beat *b = arg;
    if (b->pg && !stopping) {
        tell_relay(b);
    }
    arena_free(&b->arena);
}

static void on_miss(void)
{
    struct arena *a = arena_new("leases");
    struct beat *b = arena_alloc(a, sizeof(*b));
    b->arena = a;
    b->reading = relay_reading();
    if (stopping) {
        arena_free(&a);
    } else {
        loop_work_urgent(look_work, look_done, b);
    }
}

void keeper_start(void)
{
    relay_on_miss(on_miss);
    on_beat(&timer);
}

/* ---- the end ---- */

static void leave_work(void *arg)
{
    (void)arg;
    struct err e = {0};
    struct arena *a = arena_new("lease end");
    if (lease_close(a, node.id, -1, &e) >= 0) {
        lease_forget_in_redis(node.id);
    }
    arena_free(&a);
}

void keeper_stop(void (*done)(void *arg))
{
    loop_timer_stop(&timer);
    stopping = true;
    stopped = done;
    if (!in_flight) { /* else beat_done() comes back here: a beat after the end would open the lease again */
        loop_work_urgent(leave_work, done, NULL);
    }
}

static void say(struct buf *verbose, const char *name, bool ok, const char *why)
{
    if (verbose != NULL) {
        buf_addf(verbose, "[%c]%s %s\n", ok ? '+' : '-', name, ok ? "ok" : why);
    }
}

bool keeper_ready(struct buf *verbose)
{
    bool pg = pg_ok && loop_now_ms() - answered_ms < STALE_MS;
    bool redis = peers_up();
    say(verbose, "postgres", pg, "does not answer");
    say(verbose, "schema", schema_ok, "is not at this program's version");
    say(verbose, "redis", redis, "is not reachable");
    return pg && schema_ok && redis;
}

bool keeper_failed(void)
{
    return failed;
}
