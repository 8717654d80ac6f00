#include "realtime/online.h"

#include "core/clock.h"
#include "core/json.h"
#include "core/log.h"
#include "realtime/peers.h"
#include "realtime/watch.h"
#include "storage/bus.h"

#include <stddef.h>

#define TICK_MS 1000
#define TICKS_PER_ROUND (PRESENCE_LEASE_MS / 3 / TICK_MS)
#define BATCH 200

static void *zeroed(size_t size)
{
    void *p = calloc(1, size);
    if (p == NULL) {
        fputs("out of memory: presence\n", stderr);
        abort();
    }
    return p;
}

/* ---- telling watchers ---- */

const char *online_payload(struct arena *a, const struct presence *p)
{
    json_t *j = presence_json(a, p);
    json_object_set_new(j, "user_id", json_string(p->user.s));
    return json_write(a, j, NULL);
}

/* Worker: the nodes that watch. */
static void tell_nodes(const struct tenant *t, struct arena *a, const struct presence *p)
{
    struct err e = {0};
    char(*nodes)[NODE_ID_MAX + 1];
    int count;
    if (presence_watchers(t, a, &p->user, &nodes, &count, &e) != 0 || count == 0) {
        return;
    }
    const char *payload = online_payload(a, p);
    struct bus_item item = {
        .kind = BUS_PRESENCE, .app = *tenant_app(t), .user = p->user, .payload = payload, .payload_len = strlen(payload)};
    bus_publish_to_nodes(node.id, nodes, count, &item, 1);
}

int online_set(const struct tenant *t, struct arena *a, const struct presence_claim *c, struct presence *now_r, bool *changed_r,
               struct err *e)
{
    if (presence_claim(t, a, node.id, c, 1, now_r, changed_r, e) != 0) {
        return -1;
    }
    if (*changed_r) {
        tell_nodes(t, a, now_r);
    }
    return 0;
}

/* ---- claims ---- */

struct claim_job {
    struct hub_app *app; /* one reference */
    struct tenant *tenant;
    struct arena *arena;
    struct presence_claim claims[BATCH];
    struct presence now[BATCH];
    bool changed[BATCH];
    int n;
    bool ok, leaving, refreshes;
};
static int jobs, refreshes; /* under way; of those, of online_refresh() */
static void (*refreshed)(void);
static void (*stopped)(void *arg);
static bool ended; /* online_stop() has been called */

static void claim_work(void *arg)
{
    struct claim_job *j = arg;
    struct err e = {0};
    j->ok = presence_claim(j->tenant, j->arena, node.id, j->claims, j->n, j->now, j->changed, &e) == 0;
    for (int i = 0; j->ok && i < j->n; i++) {
        if (j->changed[i]) {
            tell_nodes(j->tenant, j->arena, &j->now[i]);
        }
    }
}

static void left(struct hub_app *app, const struct user_id *id)
{
    struct hub_user *u = hub_user_find(&app->id, id);
    if (u == NULL) {
        return;
    }
    u->leaving = false;
    if (u->sessions != NULL && ended) {
        return; /* online_gone() will follow */
    }
    if (u->sessions != NULL) {
        online_touch(u); /* back meanwhile: the claim may have come before the end of the old one */
    } else {
        hub_user_free(u);
    }
}

static void claim_done(void *arg)
{
    struct claim_job *j = arg;
    bool last = j->refreshes && refreshes == 1;
    jobs--;
    refreshes -= j->refreshes;
    for (int i = 0; i < j->n; i++) {
        if (j->ok && j->changed[i]) {
            const char *payload = online_payload(j->arena, &j->now[i]);
            watch_tell(&j->app->id, &j->claims[i].user, payload, strlen(payload));
        }
        if (j->leaving) {
            left(j->app, &j->claims[i].user);
        }
    }
    tenant_unref(j->tenant);
    hub_app_unref(j->app);
    arena_free(&j->arena);
    free(j);
    if (last) {
        refreshed();
    }
    if (stopped != NULL && jobs == 0) {
        void (*done)(void *arg) = stopped;
        stopped = NULL;
        done(NULL);
    }
}

static struct claim_job *job_new(struct hub_app *app)
{
    struct claim_job *j = zeroed(sizeof(*j));
    hub_app_ref(app);
    j->app = app;
    j->tenant = tenant_ref(app->tenant);
    j->arena = arena_new("presence claims");
    return j;
}

static void job_start(struct claim_job *j)
{
    jobs++;
    loop_work(claim_work, claim_done, j);
}

char *online_devices(struct arena *a, const struct hub_user *u)
{
    char *list = arena_strdup(a, "");
    for (const struct session *s = u->sessions; s != NULL; s = s->next_of_user) {
        bool listed = false;
        for (const struct session *o = u->sessions; o != s; o = o->next_of_user) {
            listed = listed || strcmp(o->device.s, s->device.s) == 0;
        }
        if (!listed) {
            list = arena_printf(a, "%s%s%s", list, list[0] != '\0' ? "," : "", s->device.s);
        }
    }
    return list;
}

static void add_claim(struct claim_job *j, const struct hub_user *u)
{
    j->claims[j->n++] = (struct presence_claim){
        .user = hub_user_id(u), .name = u->name == NULL ? NULL : arena_strdup(j->arena, u->name), .devices = online_devices(j->arena, u)};
}

void online_touch(struct hub_user *u)
{
    struct claim_job *j = job_new(u->app);
    u->claimed = true;
    loop_timer_stop(&u->grace);
    add_claim(j, u);
    job_start(j);
}

static void give_back(struct hub_user *u)
{
    if (!u->claimed) {
        hub_user_free(u);
        return;
    }
    struct claim_job *j = job_new(u->app);
    u->leaving = true;
    u->claimed = false;
    j->leaving = true;
    j->claims[j->n++] = (struct presence_claim){.user = hub_user_id(u), .devices = ""};
    job_start(j);
}

static void on_grace(struct loop_timer *t)
{
    struct hub_user *u = (struct hub_user *)((char *)t - offsetof(struct hub_user, grace));
    if (u->sessions == NULL && !u->leaving) {
        give_back(u);
    }
}

void online_gone(struct hub_user *u)
{
    if (ended && !u->leaving) {
        hub_user_free(u);
    } else if (!u->leaving) {
        loop_timer_start(&u->grace, node.config->presence_grace, on_grace);
    }
}

/* ---- refresh ---- */

static struct loop_timer timer, expiry;
static size_t cursor;
static int ticks;

static void refresh_start(struct claim_job *j, bool counts)
{
    j->refreshes = counts;
    refreshes += counts;
    job_start(j);
}

/* Users of the next `slots` places of the hub's table. One that moves meanwhile is met in the next round: a lease lasts three. */
static void refresh_slots(size_t slots, bool counts)
{
    size_t stop = cursor + slots;
    struct claim_job *j = NULL;
    for (struct hub_user *u; cursor < stop && (u = hub_user_next(&cursor)) != NULL;) {
        if (u->sessions == NULL) {
            continue;
        }
        if (j != NULL && (j->app != u->app || j->n == BATCH)) {
            refresh_start(j, counts);
            j = NULL;
        }
        j = j != NULL ? j : job_new(u->app);
        u->claimed = true;
        add_claim(j, u);
    }
    if (j != NULL) {
        refresh_start(j, counts);
    }
}

void online_refresh(void (*done)(void))
{
    cursor = 0;
    refreshed = done;
    refresh_slots(hub_user_slots(), true);
    cursor = 0;
    if (refreshes == 0) {
        done();
    }
}

static void renew_watches(void);

static void on_tick(struct loop_timer *t)
{
    size_t size = hub_user_slots();
    if (cursor >= size) {
        cursor = 0;
    }
    refresh_slots(size / TICKS_PER_ROUND + 1, false);
    if (++ticks % 600 == 0) {
        renew_watches();
    }
    loop_timer_start(t, TICK_MS, on_tick);
}

void online_start(void)
{
    loop_timer_start(&timer, TICK_MS, on_tick);
}

void online_stop(void (*done)(void *arg))
{
    loop_timer_stop(&timer);
    loop_timer_stop(&expiry);
    ended = true;
    size_t at = 0;
    struct claim_job *j = NULL;
    for (struct hub_user *u = hub_user_next(&at); u != NULL; u = hub_user_next(&at)) {
        if (u->leaving || !u->claimed) {
            continue;
        }
        loop_timer_stop(&u->grace);
        if (j != NULL && (j->app != u->app || j->n == BATCH)) {
            job_start(j);
            j = NULL;
        }
        j = j != NULL ? j : job_new(u->app);
        j->leaving = true;
        u->leaving = true;
        u->claimed = false;
        j->claims[j->n++] = (struct presence_claim){.user = hub_user_id(u), .devices = ""};
    }
    if (j != NULL) {
        job_start(j);
    }
    if (jobs == 0) {
        loop_post(done, NULL);
    } else {
        stopped = done;
    }
}

/* ---- those who are watched here ---- */

struct watch_job {
    struct tenant *tenant;
    struct arena *arena;
    struct user_id users[BATCH];
    struct presence now[BATCH];
    int n;
    bool ok;
};

static void watch_job_free(struct watch_job *j)
{
    tenant_unref(j->tenant);
    arena_free(&j->arena);
    free(j);
}

/* Hands all watched users to workers, in batches of one app. */
static void each_watched(void (*work)(void *arg), void (*done)(void *arg))
{
    size_t at = 0;
    struct watch_job *j = NULL;
    const struct app_id *app;
    const struct user_id *user;
    while (watch_next(&at, &app, &user)) {
        struct hub_app *a = hub_app_find(app);
        if (a == NULL) {
            continue;
        }
        if (j != NULL && (j->n == BATCH || !app_id_equal(tenant_app(j->tenant), app))) {
            loop_work(work, done, j);
            j = NULL;
        }
        if (j == NULL) {
            j = zeroed(sizeof(*j));
            j->tenant = tenant_ref(a->tenant);
            j->arena = arena_new("watched users");
        }
        j->users[j->n++] = *user;
    }
    if (j != NULL) {
        loop_work(work, done, j);
    }
}

static void renew_work(void *arg)
{
    struct watch_job *j = arg;
    struct err e = {0};
    if (presence_watch(j->tenant, j->arena, node.id, j->users, j->n, WATCH_SECONDS, &e) != 0) {
        log_warn("watches_not_renewed", "%s", e.msg);
    }
}

static void renew_done(void *arg)
{
    watch_job_free(arg);
}

static void renew_watches(void)
{
    each_watched(renew_work, renew_done);
}

/* ---- the users of a node that died ---- */

static bool expiry_set, expiry_again;

static void expired_work(void *arg)
{
    struct watch_job *j = arg;
    struct err e = {0};
    j->ok = presence_get(j->tenant, j->arena, j->users, j->n, j->now, &e) == 0;
}

/* Nobody gave them back: who is offline and was here not long ago may have been theirs. One who left by himself is told offline once more. */
static void expired_done(void *arg)
{
    struct watch_job *j = arg;
    for (int i = 0; j->ok && i < j->n; i++) {
        const struct presence *p = &j->now[i];
        if (strcmp(p->status, "offline") == 0 && p->last_seen_ms > clock_wall_ms() - 2 * PRESENCE_LEASE_MS) {
            const char *payload = online_payload(j->arena, p);
            watch_tell(tenant_app(j->tenant), &p->user, payload, strlen(payload));
        }
    }
    watch_job_free(j);
}

static void on_expiry(struct loop_timer *t)
{
    (void)t;
    expiry_set = false;
    each_watched(expired_work, expired_done);
    if (expiry_again) {
        expiry_again = false;
        online_node_died();
    }
}

void online_node_died(void)
{
    expiry_again = expiry_set;
    if (!expiry_set && !ended) {
        expiry_set = true;
        loop_timer_start(&expiry, PRESENCE_LEASE_MS - NODE_DEAD_MS + 2000, on_expiry);
    }
}
