/* recheck.c: session_recheck(): tokens of live sessions are verified again, in small jobs one after the other. */
#include "core/log.h"
#include "realtime/session.h"
#include "tenants/registry.h"
#include "tenants/tokens.h"

#define PER_JOB 50
#define RETRY_MS 1000

struct verdict {
    struct conn_ref conn;
    const char *token;
    struct err err;
    const struct tenant *tenant;
};
struct recheck_job {
    struct arena *arena;
    struct verdict verdicts[PER_JOB];
    int n;
};

static struct conn_ref *queue;
static size_t count, room;
static bool runs;
static struct loop_timer retry;
static uint64_t revocations;

static void push(struct session *s)
{
    if (s->rechecking || s->user == NULL || s->state == SESSION_ENDING) {
        return;
    }
    if (count == room) {
        room = room == 0 ? 64 : room * 2;
        queue = realloc(queue, room * sizeof(*queue));
        if (queue == NULL) {
            fputs("out of memory: recheck\n", stderr);
            abort();
        }
    }
    s->rechecking = true;
    queue[count++] = conn_ref_of(s->conn);
}

static struct session *session_of(struct conn_ref ref)
{
    struct conn *c = conn_get(ref);
    struct session *s = c == NULL ? NULL : conn_user(c);
    return s != NULL && s->user != NULL && s->state != SESSION_ENDING ? s : NULL;
}

static void recheck_work(void *arg)
{
    struct recheck_job *j = arg;
    for (int i = 0; i < j->n; i++) {
        struct verdict *v = &j->verdicts[i];
        struct token token;
        if (tokens_verify(j->arena, v->token, &token, NULL, &v->err) == 0) {
            v->tenant = token.tenant;
        }
    }
}

static void start(struct loop_timer *t);

static bool judge(const struct verdict *v)
{
    struct session *s = session_of(v->conn);
    if (s == NULL) {
        return true;
    }
    switch (v->err.code) {
    case ERR_OK:
        session_set_tenant(s->user->app, v->tenant);
        return true;
    case ERR_STORAGE_UNAVAILABLE:
    case ERR_UNCERTAIN:
    case ERR_UPSTREAM_TIMEOUT:
    case ERR_BUSY:
    case ERR_INTERNAL:
        push(s);
        return false;
    default:
        session_disconnect(s, err_name(v->err.code));
        return true;
    }
}

static void recheck_done(void *arg)
{
    struct recheck_job *j = arg;
    bool known = true;
    for (int i = 0; i < j->n; i++) {
        known = judge(&j->verdicts[i]) && known;
    }
    arena_free(&j->arena);
    runs = false;
    if (known) {
        start(NULL);
    } else {
        runs = true;
        loop_timer_start(&retry, RETRY_MS, start);
    }
}

static void start(struct loop_timer *t)
{
    (void)t;
    runs = false;
    if (count == 0) {
        return;
    }
    struct arena *a = arena_new("recheck");
    struct recheck_job *j = arena_alloc(a, sizeof(*j));
    j->arena = a;
    while (count > 0 && j->n < PER_JOB) {
        struct conn_ref ref = queue[--count];
        struct session *s = session_of(ref);
        if (s != NULL) {
            s->rechecking = false; /* what is revoked from now on wants a later verification */
            j->verdicts[j->n++] = (struct verdict){.conn = ref, .token = arena_strdup(a, s->token)};
        }
    }
    runs = true;
    loop_work(recheck_work, recheck_done, j);
}

uint64_t session_revocations(void)
{
    return revocations;
}

void session_recheck(const struct app_id *app, const struct user_id *user)
{
    revocations++;
    struct hub_user *one = app == NULL || user == NULL ? NULL : hub_user_find(app, user);
    size_t at = 0;
    struct hub_user *u = user != NULL ? one : hub_user_next(&at);
    while (u != NULL) {
        for (struct session *s = app == NULL || app_id_equal(app, &u->app->id) ? u->sessions : NULL; s != NULL; s = s->next_of_user) {
            push(s);
        }
        u = user != NULL ? NULL : hub_user_next(&at);
    }
    if (!runs) {
        start(NULL);
    }
}
