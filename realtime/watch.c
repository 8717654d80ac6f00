#include "realtime/watch.h"

#include "realtime/spec.h"
#include "realtime/table.h"

struct watched {
    struct app_id app;
    struct user_id user;
    struct watcher *watchers;
};
struct watcher {
    struct watched *of;
    struct session *session;
    struct watcher *prev, *next; /* of the watched user */
    struct watcher *prev_of_session, *next_of_session;
    int64_t until_ms;
};

struct watch_key {
    const struct app_id *app;
    const struct user_id *user;
};

static bool same(const void *item, const void *key)
{
    const struct watched *w = item;
    const struct watch_key *k = key;
    return app_id_equal(&w->app, k->app) && user_id_equal(&w->user, k->user);
}

static struct table table = {.same = same};

static uint64_t hash(const struct app_id *app, const struct user_id *user)
{
    return table_hash(user->s, strlen(user->s), table_hash(app->b, sizeof(app->b), 0));
}

static struct watched *find(const struct app_id *app, const struct user_id *user)
{
    struct watch_key key = {app, user};
    return table_find(&table, hash(app, user), &key);
}

static void *zeroed(size_t size)
{
    void *p = calloc(1, size);
    if (p == NULL) {
        fputs("out of memory: watches\n", stderr);
        abort();
    }
    return p;
}

static struct watched *get(const struct app_id *app, const struct user_id *user)
{
    struct watched *w = find(app, user);
    if (w == NULL) {
        w = zeroed(sizeof(*w));
        w->app = *app;
        w->user = *user;
        table_put(&table, hash(app, user), w);
    }
    return w;
}

/* True: it was the last one of its user. */
static bool remove_one(struct watcher *x)
{
    struct watched *w = x->of;
    *(x->prev != NULL ? &x->prev->next : &w->watchers) = x->next;
    if (x->next != NULL) {
        x->next->prev = x->prev;
    }
    *(x->prev_of_session != NULL ? &x->prev_of_session->next_of_session : &x->session->watching) = x->next_of_session;
    if (x->next_of_session != NULL) {
        x->next_of_session->prev_of_session = x->prev_of_session;
    }
    free(x);
    if (w->watchers != NULL) {
        return false;
    }
    struct watch_key key = {&w->app, &w->user};
    table_take(&table, hash(key.app, key.user), &key);
    free(w);
    return true;
}

static struct watcher *find_of(const struct session *s, const struct watched *w)
{
    for (struct watcher *x = w == NULL ? NULL : w->watchers; x != NULL; x = x->next) {
        if (x->session == s) {
            return x;
        }
    }
    return NULL;
}

static void add_one(struct session *s, const struct user_id *user, int64_t until_ms)
{
    struct watched *w = get(&s->user->app->id, user);
    struct watcher *x = find_of(s, w);
    if (x == NULL) {
        x = zeroed(sizeof(*x));
        x->of = w;
        x->session = s;
        x->next = w->watchers;
        x->next_of_session = s->watching;
        if (x->next != NULL) {
            x->next->prev = x;
        }
        if (x->next_of_session != NULL) {
            x->next_of_session->prev_of_session = x;
        }
        w->watchers = x;
        s->watching = x;
    }
    x->until_ms = until_ms;
}

bool watch_add(struct session *s, const struct user_id *users, int n, int ttl_seconds)
{
    int count = n;
    for (const struct watcher *x = s->watching; x != NULL; x = x->next_of_session) {
        count++;
    }
    if (count > WATCH_MAX) {
        return false;
    }
    for (int i = 0; i < n; i++) {
        add_one(s, &users[i], loop_now_ms() + ttl_seconds * 1000LL);
    }
    return true;
}

void watch_remove(struct session *s, const struct user_id *users, int n, bool *left_r)
{
    for (int i = 0; i < n; i++) {
        struct watcher *x = find_of(s, find(&s->user->app->id, &users[i]));
        left_r[i] = x != NULL && remove_one(x);
    }
}

void watch_remove_all(struct session *s)
{
    while (s->watching != NULL) {
        remove_one(s->watching);
    }
}

bool watch_is_on(const struct app_id *app, const struct user_id *user)
{
    return find(app, user) != NULL;
}

void watch_tell(const struct app_id *app, const struct user_id *user, const char *payload, size_t len)
{
    struct watched *w = find(app, user);
    struct frame *f = NULL;
    bool last = false;
    for (struct watcher *x = w == NULL ? NULL : w->watchers, *next; x != NULL && !last; x = next) {
        next = x->next;
        if (x->until_ms < loop_now_ms()) {
            last = remove_one(x);
            continue;
        }
        if (x->session->state == SESSION_READY) {
            f = f != NULL ? f : spec_frame(EV_PRESENCE_UPDATED, payload, len, -1);
            conn_send(x->session->conn, f);
        }
    }
    if (f != NULL) {
        frame_unref(f);
    }
}

bool watch_next(size_t *at, const struct app_id **app_r, const struct user_id **user_r)
{
    const struct watched *w = table_next(&table, at);
    if (w == NULL) {
        return false;
    }
    *app_r = &w->app;
    *user_r = &w->user;
    return true;
}
