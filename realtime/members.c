#include "realtime/members.h"

#include "core/json.h"
#include "core/log.h"
#include "realtime/catchup.h"
#include "realtime/loop.h"
#include "realtime/pages.h"
#include "realtime/peers.h"
#include "realtime/session.h"
#include "storage/groups.h"

#define CHECKS_PER_JOB 256
#define RETRY_MS 1000

static void *need(void *p)
{
    if (p == NULL) {
        fputs("out of memory: members\n", stderr);
        abort();
    }
    return p;
}

/* ---- leaving ---- */

bool members_unseat(struct seat *seat)
{
    pages_remove(seat);
    return hub_seat_remove(seat);
}

static void tell_removed(struct hub_user *u, const struct conv_id *conv)
{
    char id[ID_TEXT_MAX], payload[ID_TEXT_MAX + 32];
    int n = snprintf(payload, sizeof(payload), "{\"conversation_id\":\"%s\"}", conv_id_print(conv, id));
    session_emit_all(u, EV_CONVERSATION_REMOVED, payload, (size_t)n);
}

void members_leave(struct hub_member *m, int64_t left_seq)
{
    struct hub_conv *c = m->conv;
    struct app_id app = c->app->id;
    struct conv_id conv = c->id;
    if (m->left_seq == 0) {
        m->left_seq = left_seq != 0 ? left_seq : c->last_seq;
        tell_removed(m->user, &conv);
    }
    bool gone = false;
    for (struct seat *seat = m->seats, *next; seat != NULL && c->last_seq >= m->left_seq; seat = next) {
        next = seat->next_of_member;
        bool last = next == NULL;
        gone = !seat->behind && members_unseat(seat);
        if (gone || last) {
            break; /* the member may be gone with its last seat */
        }
    }
    if (gone) {
        peers_detach(&app, &conv, 1);
    }
}

/* ---- checking one membership ---- */

struct check {
    struct hub_app *app; /* one reference */
    struct user_id user;
    struct conv_id conv;
    /* what storage says */
    int found; /* 1 a member, now or formerly; 0 never was, or the conversation is deleted; -1 storage is away */
    struct seat_start start;
    const char *added; /* payload of conversation.added */
};
struct check_job {
    struct arena *arena;
    struct check *checks;
    struct tenant **tenants;
    int n;
};

static struct check *waiting;
static int waiting_count, waiting_room;
static bool job_runs, start_posted;
static struct loop_timer retry;

static const char *added_payload(const struct tenant *t, struct arena *a, const struct conversation *c)
{
    struct err e = {0};
    struct member *m;
    int n;
    json_t *conversation = conversation_json(a, c);
    if (conv_id_is_direct(&c->id) && groups_members(t, a, &c->id, NULL, "", 2, &m, &n, &e) == 0) {
        json_t *ids = json_array();
        for (int i = 0; i < n; i++) {
            json_array_append_new(ids, json_string(m[i].user.s));
        }
        json_object_set_new(conversation, "user_ids", ids);
    }
    json_t *payload = json_own(a, json_pack("{s:O}", "conversation", conversation));
    return json_write(a, payload, NULL);
}

static void check_one(const struct tenant *t, struct arena *a, struct check *k)
{
    struct err e = {0};
    struct conversation c = {0};
    struct member m = {0};
    k->found = groups_get(t, a, &k->conv, &c, &e);
    if (k->found != 1) {
        k->start.last_seq = INT64_MAX; /* nothing follows a deletion */
        return;
    }
    k->found = groups_member(t, a, &k->conv, &k->user, &m, &e);
    k->start = (struct seat_start){.joined_seq = m.joined_seq,
                                   .left_seq = m.left_seq,
                                   .delivered_seq = m.delivered_seq,
                                   .read_seq = m.read_seq,
                                   .last_seq = c.last_seq,
                                   .members_seq = c.members_seq,
                                   .member_count = c.member_count};
    if (k->found == 1 && m.left_seq == 0) {
        k->added = added_payload(t, a, &c);
    }
}

static void check_work(void *arg)
{
    struct check_job *j = arg;
    for (int i = 0; i < j->n; i++) {
        check_one(j->tenants[i], j->arena, &j->checks[i]);
    }
}

static void enter(struct hub_user *u, const struct check *k)
{
    bool was_member = hub_member_of(u, &k->conv) != NULL, seated = false;
    for (struct session *s = u->sessions; s != NULL; s = s->next_of_user) {
        bool fresh = false;
        if (s->state == SESSION_LOADING) {
            s->again = true;
        }
        if (s->state != SESSION_READY || s->where != EVENT_ROOT) {
            continue;
        }
        struct seat *seat = hub_seat_add(s, &k->conv, &k->start, &fresh);
        if (!was_member) {
            session_emit(s, EV_CONVERSATION_ADDED, k->added, strlen(k->added));
        }
        seated = true;
        if (seat != NULL) {
            pages_add(s, seat);
        }
        if (fresh) {
            catchup_attach(u->app, &k->conv, 1);
        }
    }
    for (struct session *s = seated ? u->sessions : NULL; s != NULL; s = s->next_of_user) {
        pages_go(s);
    }
}

static void apply_check(const struct check *k)
{
    struct hub_user *u = hub_user_find(&k->app->id, &k->user);
    if (u == NULL) {
        return;
    }
    if (k->found < 0 || hub_start_is_old(k->app, &k->conv, &k->start)) {
        members_check(k->app, &k->user, &k->conv);
    } else if (k->found == 1 && k->start.left_seq == 0) {
        enter(u, k);
    } else {
        struct hub_member *m = hub_member_of(u, &k->conv);
        for (struct session *s = u->sessions; s != NULL; s = s->next_of_user) {
            s->again = s->again || s->state == SESSION_LOADING;
        }
        if (m != NULL) {
            members_leave(m, k->found == 1 ? k->start.left_seq : 0);
        }
    }
}

static void start_job(void *arg);

static void on_retry(struct loop_timer *t)
{
    start_job(t);
}

static void check_done(void *arg)
{
    struct check_job *j = arg;
    bool away = false;
    job_runs = false;
    for (int i = 0; i < j->n; i++) {
        away = away || j->checks[i].found < 0;
        apply_check(&j->checks[i]);
        tenant_unref(j->tenants[i]);
        hub_app_unref(j->checks[i].app);
    }
    arena_free(&j->arena);
    if (away) {
        start_posted = true; /* holds members_check() back until then */
        loop_timer_start(&retry, RETRY_MS, on_retry);
    } else if (!start_posted) {
        start_job(NULL);
    }
}

static void start_job(void *arg)
{
    (void)arg;
    start_posted = false;
    if (job_runs || waiting_count == 0) {
        return;
    }
    struct arena *a = arena_new("membership checks");
    struct check_job *j = arena_alloc(a, sizeof(*j));
    j->arena = a;
    j->n = waiting_count < CHECKS_PER_JOB ? waiting_count : CHECKS_PER_JOB;
    j->checks = arena_array(a, (size_t)j->n, sizeof(*j->checks));
    j->tenants = arena_array(a, (size_t)j->n, sizeof(*j->tenants));
    memcpy(j->checks, waiting, (size_t)j->n * sizeof(*j->checks));
    waiting_count -= j->n;
    memmove(waiting, waiting + j->n, (size_t)waiting_count * sizeof(*waiting));
    for (int i = 0; i < j->n; i++) {
        j->tenants[i] = tenant_ref(j->checks[i].app->tenant);
    }
    job_runs = true;
    loop_work(check_work, check_done, j);
}

void members_check(struct hub_app *app, const struct user_id *user, const struct conv_id *conv)
{
    struct hub_user *u = hub_user_find(&app->id, user);
    if (u == NULL || !session_chats(u)) {
        return;
    }
    if (waiting_count == waiting_room) {
        waiting_room = waiting_room == 0 ? 64 : waiting_room * 2;
        waiting = need(realloc(waiting, (size_t)waiting_room * sizeof(*waiting)));
    }
    hub_app_ref(app);
    waiting[waiting_count++] = (struct check){.app = app, .user = *user, .conv = *conv};
    if (!job_runs && !start_posted) {
        start_posted = true;
        loop_post(start_job, NULL); /* gathers what else this turn brings */
    }
}

/* ---- control entries ---- */

static void all_leave(struct hub_app *app, const struct conv_id *id, int64_t seq)
{
    struct hub_conv *c;
    for (uint32_t i = 0; (c = hub_conv_find(&app->id, id)) != NULL && i < c->seat_count;) {
        struct hub_member *m = c->seats[i]->member;
        if (m->left_seq != 0) {
            i++;
            continue;
        }
        members_leave(m, seq);
    }
}

static void some_join(struct hub_app *app, const struct conv_id *id, const json_t *members)
{
    size_t i;
    json_t *member;
    struct user_id user;
    json_array_foreach (members, i, member) {
        if (user_id_parse(json_str(member, "user_id", ""), &user) == 0) {
            members_check(app, &user, id);
        }
    }
    struct hub_conv *c = hub_conv_find(&app->id, id);
    if (c != NULL) {
        c->member_count += (int)json_array_size(members);
    }
}

static void one_leaves(struct hub_app *app, const struct entry *en, const json_t *body)
{
    struct user_id user;
    struct hub_conv *c = hub_conv_find(&app->id, &en->conv);
    struct hub_user *u = user_id_parse(json_str(body, "user_id", ""), &user) == 0 ? hub_user_find(&app->id, &user) : NULL;
    struct hub_member *m = c == NULL || u == NULL ? NULL : hub_member_find(u, c);
    if (c != NULL && c->member_count > 0) {
        c->member_count--;
    }
    /* An old entry, read again, says nothing about somebody who has come back since. */
    if (m != NULL && m->joined_seq < en->seq) {
        members_leave(m, en->seq);
    }
}

/* Whatever was read before this entry and comes back after it is old: hub_start_is_old(). */
static void note_change(const struct hub_app *app, const struct entry *en)
{
    struct hub_conv *c = hub_conv_find(&app->id, &en->conv);
    bool changes = en->kind == ENTRY_GROUP_CREATED || en->kind == ENTRY_GROUP_DELETED || en->kind == ENTRY_MEMBER_JOINED ||
                   en->kind == ENTRY_MEMBER_LEFT;
    if (c != NULL && changes && en->seq > c->members_seq) {
        c->members_seq = en->seq;
    }
}

void members_apply(struct hub_app *app, const struct entry *en)
{
    struct err e = {0};
    struct arena *a = arena_new("control entry");
    const json_t *body = json_read(a, en->body, en->body_len, &e);
    note_change(app, en);
    if (en->kind == ENTRY_GROUP_DELETED) {
        all_leave(app, &en->conv, en->seq);
    } else if (en->kind == ENTRY_MEMBER_LEFT) {
        one_leaves(app, en, body);
    } else if (en->kind == ENTRY_MEMBER_JOINED || en->kind == ENTRY_GROUP_CREATED) {
        some_join(app, &en->conv, json_object_get(body, "members"));
    }
    arena_free(&a);
}
