/* reload.c: members_reload(): one user at a time, so that a doubt that concerns everybody does not become a flood of queries. */
#include "realtime/members.h"

#include "core/log.h"
#include "realtime/loop.h"
#include "realtime/session.h"
#include "storage/groups.h"

#define PAGE 1000
#define PAGES_MAX 10
#define RETRY_MS 1000

struct reload {
    struct reload *next;
    struct hub_app *app; /* one reference */
    struct tenant *tenant;
    struct user_id user;
    struct arena *arena;
    struct conv_id *convs;
    int count;
    bool ok, complete;
};

static struct reload *first, **end = &first;
static bool runs;
static struct loop_timer retry;

static int read_page(struct reload *r, struct memberships_query *q, struct err *e)
{
    struct membership *m;
    int n;
    if (groups_memberships(r->tenant, r->arena, q, &m, &n, e) != 0) {
        return -1;
    }
    for (int i = 0; i < n; i++) {
        r->convs[r->count++] = m[i].conversation.id;
        q->after_ms = m[i].conversation.last_ms;
        q->after_id = m[i].conversation.id;
    }
    return n;
}

static void reload_work(void *arg)
{
    struct reload *r = arg;
    struct err e = {0};
    struct memberships_query q = {.user = r->user, .limit = PAGE};
    int n = PAGE;
    r->arena = arena_new("reload");
    r->convs = arena_array(r->arena, (size_t)PAGE * PAGES_MAX, sizeof(*r->convs));
    for (int page = 0; page < PAGES_MAX && n == PAGE; page++) {
        n = read_page(r, &q, &e);
    }
    r->ok = n >= 0;
    r->complete = n < PAGE;
}

static int by_id(const void *x, const void *y)
{
    return memcmp(x, y, sizeof(struct conv_id));
}

static void compare(struct reload *r, struct hub_user *u)
{
    struct user_id user = hub_user_id(u);
    qsort(r->convs, (size_t)r->count, sizeof(*r->convs), by_id);
    for (struct hub_member *m = r->complete ? u->members : NULL; m != NULL; m = m->next_of_user) {
        if (m->left_seq == 0 && bsearch(&m->conv->id, r->convs, (size_t)r->count, sizeof(*r->convs), by_id) == NULL) {
            members_check(u->app, &user, &m->conv->id);
        }
    }
    for (int i = 0; i < r->count; i++) {
        if (hub_member_of(u, &r->convs[i]) == NULL) {
            members_check(u->app, &user, &r->convs[i]);
        }
    }
}

static void reload_done(void *arg);

static void start_next(struct loop_timer *t)
{
    (void)t;
    runs = first != NULL;
    if (runs) {
        struct hub_user *u = hub_user_find(&first->app->id, &first->user);
        if (u != NULL) {
            u->reloading = false; /* whoever doubts from now on wants a later reading */
        }
        loop_work(reload_work, reload_done, first);
    }
}

static void reload_done(void *arg)
{
    struct reload *r = arg;
    struct hub_user *u = hub_user_find(&r->app->id, &r->user);
    if (!r->ok && u != NULL) {
        arena_free(&r->arena);
        r->count = 0;
        loop_timer_start(&retry, RETRY_MS, start_next);
        return;
    }
    if (r->ok && u != NULL) {
        compare(r, u);
    }
    first = r->next;
    end = first == NULL ? &first : end;
    arena_free(&r->arena);
    tenant_unref(r->tenant);
    hub_app_unref(r->app);
    free(r);
    start_next(NULL);
}

void members_reload(struct hub_user *u)
{
    if (u->reloading || !session_chats(u)) {
        return; /* it waits already, and has not been read yet; or nobody of it is in conversations */
    }
    u->reloading = true;
    struct reload *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        fputs("out of memory: reload\n", stderr);
        abort();
    }
    hub_app_ref(u->app);
    r->app = u->app;
    r->tenant = tenant_ref(u->app->tenant);
    r->user = hub_user_id(u);
    *end = r;
    end = &r->next;
    if (!runs) {
        start_next(NULL);
    }
}

void members_reload_all(void)
{
    size_t at = 0;
    for (struct hub_user *u = hub_user_next(&at); u != NULL; u = hub_user_next(&at)) {
        members_reload(u);
    }
}
