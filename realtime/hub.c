#include "realtime/hub.h"

#include "realtime/session.h"
#include "realtime/table.h"

#include <assert.h>

#define EARLY_MAX 1000

static void *need(void *p)
{
    if (p == NULL) {
        fputs("out of memory: hub\n", stderr);
        abort();
    }
    return p;
}

/* ---- keys ---- */

struct user_key {
    const struct app_id *app;
    const struct user_id *id;
};
struct conv_key {
    const struct app_id *app;
    const struct conv_id *id;
};
struct member_key {
    const struct hub_user *user;
    const struct hub_conv *conv;
};

static bool same_app(const void *item, const void *key)
{
    const struct hub_app *a = item;
    return app_id_equal(&a->id, key);
}

static bool same_user(const void *item, const void *key)
{
    const struct hub_user *u = item;
    const struct user_key *k = key;
    return app_id_equal(&u->app->id, k->app) && strcmp(u->id, k->id->s) == 0;
}

static bool same_conv(const void *item, const void *key)
{
    const struct hub_conv *c = item;
    const struct conv_key *k = key;
    return conv_id_equal(&c->id, k->id) && app_id_equal(&c->app->id, k->app);
}

static bool same_member(const void *item, const void *key)
{
    const struct hub_member *m = item;
    const struct member_key *k = key;
    return m->user == k->user && m->conv == k->conv;
}

static struct table apps = {.same = same_app};
static struct table users = {.same = same_user};
static struct table convs = {.same = same_conv};
static struct table members = {.same = same_member};

static uint64_t hash_app(const struct app_id *id)
{
    return table_hash(id->b, sizeof(id->b), 0);
}

static uint64_t hash_user(const struct app_id *app, const struct user_id *id)
{
    return table_hash(id->s, strlen(id->s), hash_app(app));
}

static uint64_t hash_conv(const struct app_id *app, const struct conv_id *id)
{
    return table_hash(id->b, sizeof(id->b), hash_app(app));
}

static uint64_t hash_member(const struct hub_user *u, const struct hub_conv *c)
{
    const void *pair[2] = {u, c};
    return table_hash(pair, sizeof(pair), 0);
}

/* ---- apps ---- */

struct hub_app *hub_app_find(const struct app_id *id)
{
    return table_find(&apps, hash_app(id), id);
}

struct hub_app *hub_app_get(const struct tenant *t)
{
    struct hub_app *a = hub_app_find(tenant_app(t));
    if (a == NULL) {
        a = need(calloc(1, sizeof(*a)));
        a->id = *tenant_app(t);
        a->tenant = tenant_ref(t);
        table_put(&apps, hash_app(&a->id), a);
    }
    a->refs++;
    return a;
}

void hub_app_ref(struct hub_app *a)
{
    a->refs++;
}

void hub_app_unref(struct hub_app *a)
{
    if (--a->refs == 0) {
        table_take(&apps, hash_app(&a->id), &a->id);
        tenant_unref(a->tenant);
        free(a);
    }
}

void hub_app_set_tenant(struct hub_app *a, const struct tenant *t)
{
    struct tenant *old = a->tenant;
    a->tenant = tenant_ref(t);
    tenant_unref(old);
}

struct hub_app *hub_app_next(size_t *at)
{
    return table_next(&apps, at);
}

/* ---- users ---- */

struct hub_user *hub_user_find(const struct app_id *app, const struct user_id *id)
{
    struct user_key key = {app, id};
    return table_find(&users, hash_user(app, id), &key);
}

struct hub_user *hub_user_get(const struct tenant *t, const struct user_id *id)
{
    struct hub_user *u = hub_user_find(tenant_app(t), id);
    if (u == NULL) {
        size_t size = strlen(id->s) + 1;
        u = need(calloc(1, sizeof(*u) + size));
        u->app = hub_app_get(t);
        memcpy(u->id, id->s, size);
        table_put(&users, hash_user(&u->app->id, id), u);
    }
    return u;
}

void hub_user_free(struct hub_user *u)
{
    assert(u->sessions == NULL && u->members == NULL);
    struct user_id id = hub_user_id(u);
    struct user_key key = {&u->app->id, &id};
    table_take(&users, hash_user(key.app, key.id), &key);
    loop_timer_stop(&u->grace);
    hub_app_unref(u->app);
    free(u->name);
    free(u);
}

struct user_id hub_user_id(const struct hub_user *u)
{
    struct user_id id = {0};
    memcpy(id.s, u->id, strlen(u->id));
    return id;
}

struct hub_user *hub_user_next(size_t *at)
{
    return table_next(&users, at);
}

size_t hub_user_slots(void)
{
    return users.size;
}

void hub_session_add(struct hub_user *u, struct session *s)
{
    struct session **end = &u->sessions;
    while (*end != NULL) {
        end = &(*end)->next_of_user;
    }
    *end = s;
    s->next_of_user = NULL;
    s->user = u;
    u->session_count++;
    u->app->session_count++;
}

void hub_session_remove(struct session *s)
{
    struct session **at = &s->user->sessions;
    while (*at != s) {
        at = &(*at)->next_of_user;
    }
    *at = s->next_of_user;
    s->user->session_count--;
    s->user->app->session_count--;
    s->user = NULL;
}

/* ---- conversations ---- */

struct hub_conv *hub_conv_find(const struct app_id *app, const struct conv_id *id)
{
    struct conv_key key = {app, id};
    return table_find(&convs, hash_conv(app, id), &key);
}

struct hub_conv *hub_conv_next(size_t *at)
{
    return table_next(&convs, at);
}

size_t hub_conv_count(void)
{
    return convs.count;
}

static struct hub_conv *conv_new(struct hub_app *app, const struct conv_id *id, const struct seat_start *start)
{
    struct hub_conv *c = need(calloc(1, sizeof(*c)));
    c->app = app;
    c->id = *id;
    c->last_seq = start->last_seq;
    c->members_seq = start->members_seq;
    c->member_count = start->member_count;
    hub_app_ref(app);
    table_put(&convs, hash_conv(&app->id, id), c);
    return c;
}

static void conv_free(struct hub_conv *c)
{
    struct conv_key key = {&c->app->id, &c->id};
    table_take(&convs, hash_conv(key.app, key.id), &key);
    loop_timer_stop(&c->gap);
    while (c->early != NULL) {
        struct early *gone = c->early;
        c->early = gone->next;
        free(gone);
    }
    hub_app_unref(c->app);
    free(c->seats);
    free(c);
}

/* ---- members ---- */

struct hub_member *hub_member_find(const struct hub_user *u, const struct hub_conv *c)
{
    struct member_key key = {u, c};
    return table_find(&members, hash_member(u, c), &key);
}

struct hub_member *hub_member_of(const struct hub_user *u, const struct conv_id *id)
{
    struct hub_conv *c = hub_conv_find(&u->app->id, id);
    struct hub_member *m = c == NULL ? NULL : hub_member_find(u, c);
    return m != NULL && m->left_seq == 0 ? m : NULL;
}

static struct hub_member *member_new(struct hub_user *u, struct hub_conv *c)
{
    struct hub_member *m = need(calloc(1, sizeof(*m)));
    m->user = u;
    m->conv = c;
    m->next_of_user = u->members;
    if (u->members != NULL) {
        u->members->prev_of_user = m;
    }
    u->members = m;
    u->member_count++;
    table_put(&members, hash_member(u, c), m);
    return m;
}

static void member_free(struct hub_member *m)
{
    struct member_key key = {m->user, m->conv};
    table_take(&members, hash_member(m->user, m->conv), &key);
    *(m->prev_of_user != NULL ? &m->prev_of_user->next_of_user : &m->user->members) = m->next_of_user;
    if (m->next_of_user != NULL) {
        m->next_of_user->prev_of_user = m->prev_of_user;
    }
    m->user->member_count--;
    free(m);
}

/* ---- seats ---- */

static void seat_into_conv(struct seat *seat, struct hub_conv *c)
{
    if (c->seat_count == c->seat_room) {
        c->seat_room = c->seat_room == 0 ? 2 : c->seat_room * 2;
        c->seats = need(realloc(c->seats, c->seat_room * sizeof(*c->seats)));
    }
    seat->at = c->seat_count;
    c->seats[c->seat_count++] = seat;
}

static void seat_into_session(struct seat *seat, struct session *s)
{
    seat->session = s;
    seat->next_of_session = s->seats;
    if (s->seats != NULL) {
        s->seats->prev_of_session = seat;
    }
    s->seats = seat;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

struct seat *hub_seat_find(const struct session *s, const struct conv_id *id)
{
    struct hub_conv *c = hub_conv_find(&s->user->app->id, id);
    struct hub_member *m = c == NULL ? NULL : hub_member_find(s->user, c);
    struct seat *seat = m == NULL ? NULL : m->seats;
    while (seat != NULL && seat->session != s) {
        seat = seat->next_of_member;
    }
    return seat;
}

bool hub_start_is_old(const struct hub_app *app, const struct conv_id *id, const struct seat_start *start)
{
    const struct hub_conv *c = hub_conv_find(&app->id, id);
    return c != NULL && start->last_seq < c->members_seq;
}

struct seat *hub_seat_add(struct session *s, const struct conv_id *id, const struct seat_start *start, bool *fresh_r)
{
    struct hub_user *u = s->user;
    struct hub_conv *c = hub_conv_find(&u->app->id, id);
    bool fresh = c == NULL;
    c = fresh ? conv_new(u->app, id, start) : c;
    struct hub_member *m = hub_member_find(u, c);
    m = m == NULL ? member_new(u, c) : m;
    m->joined_seq = start->joined_seq;
    m->left_seq = start->left_seq;
    m->delivered_seq = larger(m->delivered_seq, start->delivered_seq);
    m->read_seq = larger(m->read_seq, start->read_seq);
    *fresh_r = fresh;
    struct seat *seat = hub_seat_find(s, id);
    if (seat != NULL) {
        seat->sent = larger(seat->sent, start->joined_seq);
        runs_raise(&seat->delivered, start->joined_seq);
        return NULL;
    }
    seat = need(calloc(1, sizeof(*seat)));
    seat->member = m;
    seat->next_of_member = m->seats;
    m->seats = seat;
    seat_into_conv(seat, c);
    seat_into_session(seat, s);
    seat->sent = larger(start->joined_seq, start->delivered_seq);
    seat->delivered.upto = seat->sent;
    seat->behind = seat->sent < c->last_seq;
    c->member_count = start->member_count > 0 ? start->member_count : c->member_count;
    return seat;
}

bool hub_seat_remove(struct seat *seat)
{
    struct hub_member *m = seat->member;
    struct hub_conv *c = m->conv;
    struct seat **at = &m->seats;
    while (*at != seat) {
        at = &(*at)->next_of_member;
    }
    *at = seat->next_of_member;
    c->seats[seat->at] = c->seats[--c->seat_count];
    c->seats[seat->at]->at = seat->at;
    *(seat->prev_of_session != NULL ? &seat->prev_of_session->next_of_session : &seat->session->seats) = seat->next_of_session;
    if (seat->next_of_session != NULL) {
        seat->next_of_session->prev_of_session = seat->prev_of_session;
    }
    runs_free(&seat->delivered);
    free(seat->proof);
    free(seat);
    if (m->seats == NULL) {
        member_free(m);
    }
    if (c->seat_count == 0) {
        conv_free(c);
        return true;
    }
    return false;
}

int64_t seat_sent(const struct seat *seat)
{
    return seat->behind ? seat->sent : larger(seat->sent, seat->member->conv->last_seq);
}

int64_t seat_limit(const struct seat *seat)
{
    int64_t last = seat->member->conv->last_seq, left = seat->member->left_seq;
    return left != 0 && left < last ? left : last;
}

void seat_note_proof(struct seat *seat, int64_t seq, uint64_t no)
{
    if (seat->proof == NULL) {
        seat->proof = need(calloc(1, sizeof(*seat->proof)));
        seat->proof->older_seq = seq;
        seat->proof->older_no = no;
    }
    seat->proof->newest_seq = seq;
    seat->proof->newest_no = no;
}

int64_t seat_take_proof(struct seat *seat, uint64_t no)
{
    struct proof *p = seat->proof;
    int64_t upto = 0;
    if (p != NULL && p->newest_no <= no) {
        upto = p->newest_seq;
        free(p);
        seat->proof = NULL;
    } else if (p != NULL && p->older_no <= no) {
        upto = p->older_seq;
        p->older_seq = p->newest_seq;
        p->older_no = p->newest_no;
    }
    return upto;
}

/* ---- early entries ---- */

bool hub_early_add(struct hub_conv *c, const struct entry *en)
{
    struct early **at = &c->early;
    while (*at != NULL && (*at)->entry.seq < en->seq) {
        at = &(*at)->next;
    }
    if (c->early_count >= EARLY_MAX || (*at != NULL && (*at)->entry.seq == en->seq)) {
        return false;
    }
    struct early *x = need(malloc(sizeof(*x) + en->body_len + 1));
    char *body = (char *)(x + 1);
    memcpy(body, en->body, en->body_len);
    body[en->body_len] = '\0';
    x->entry = *en;
    x->entry.body = body;
    x->next = *at;
    *at = x;
    c->early_count++;
    return true;
}

struct early *hub_early_take(struct hub_conv *c)
{
    while (c->early != NULL && c->early->entry.seq <= c->last_seq + 1) {
        struct early *x = c->early;
        c->early = x->next;
        c->early_count--;
        if (x->entry.seq == c->last_seq + 1) {
            return x;
        }
        free(x);
    }
    return NULL;
}
