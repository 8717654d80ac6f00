#include "storage/groupmap.h"

#include "core/clock.h"
#include "core/log.h"
#include "storage/groups.h"
#include "storage/redis-private.h"

#include <pthread.h>

#define MAP_MAX 10000 /* members kept; further ones are looked up in Postgres each time */
#define MAP_PAGE 1000
#define MAP_SECONDS 86400
#define FLOOR_SECONDS 300  /* longer than the slowest filler */
#define VERSION "#version" /* no user id begins with # */

/* ---- changes that Redis has not been told ---- */

/* While Redis is away changes are kept, for a Redis that comes back with its old maps; each later use of the map tries them again. */
#define UNTOLD_MAX 4096
static struct untold {
    struct rkey map, floor;
    int64_t version;
} untold[UNTOLD_MAX];
static int untold_count;
static pthread_mutex_t untold_lock = PTHREAD_MUTEX_INITIALIZER;

static void keep_untold(const struct untold *u)
{
    pthread_mutex_lock(&untold_lock);
    bool room = untold_count < UNTOLD_MAX;
    if (room) {
        untold[untold_count++] = *u;
    }
    pthread_mutex_unlock(&untold_lock);
    if (!room) {
        log_error("groupmap_untold", "too many member changes while Redis is away; a group map may be stale for up to a day");
    }
}

static bool take_untold(struct untold *u)
{
    pthread_mutex_lock(&untold_lock);
    bool any = untold_count > 0;
    if (any) {
        *u = untold[--untold_count];
    }
    pthread_mutex_unlock(&untold_lock);
    return any;
}

static int drop(struct arena *a, const struct untold *u, struct err *e)
{
    redisReply *reply;
    struct redis_cmd *c = redis_cmd_script(a, SCRIPT_MAP_DROP, 2);
    redis_key(c, u->map);
    redis_key(c, u->floor);
    redis_number(c, u->version);
    redis_number(c, FLOOR_SECONDS);
    return redis_run1(a, c, &reply, e);
}

/* 0: Redis knows every change of this process, or cannot be reached (-1). */
static int tell_untold(struct arena *a, struct err *e)
{
    struct untold u;
    while (take_untold(&u)) {
        if (drop(a, &u, e) != 0) {
            keep_untold(&u);
            return -1;
        }
    }
    return 0;
}

void groupmap_changed(const struct tenant *t, const struct conv_id *conv, int64_t version)
{
    struct err e = {0};
    struct arena *a = arena_new("group map");
    struct untold u = {.map = key_members(t, conv), .floor = key_floor(t, conv), .version = version};
    if (drop(a, &u, &e) != 0) {
        keep_untold(&u);
        log_warn("groupmap_changed", "a group map could not be dropped now: %s", e.msg);
    }
    arena_free(&a);
}

/* ---- one member ---- */

static bool read_member(const char *text, struct groupmap_member *m_r)
{
    struct groupmap_member m = {0};
    long long joined, muted;
    int end = 0;
    if (sscanf(text, "%d %32s %lld %lld%n", &m.perms, m.role, &joined, &muted, &end) != 4 || text[end] != '\0') {
        return false;
    }
    m.joined_seq = joined;
    m.muted_until_ms = muted;
    *m_r = m;
    return true;
}

static const char *write_member(struct arena *a, const struct member *m)
{
    return arena_printf(a, "%d %s %lld %lld", m->perms, m->role, (long long)m->joined_seq, (long long)m->muted_until_ms);
}

static void of_row(const struct member *row, struct groupmap_member *m_r)
{
    *m_r = (struct groupmap_member){.perms = row->perms, .joined_seq = row->joined_seq, .muted_until_ms = row->muted_until_ms};
    snprintf(m_r->role, sizeof(m_r->role), "%s", row->role);
}

static int from_postgres(const struct tenant *t, struct arena *a, const struct conv_id *conv, const struct user_id *user,
                         struct groupmap_member *m_r, struct err *e)
{
    struct member row;
    int r = groups_member(t, a, conv, user, &row, e);
    if (r == 1 && row.left_seq != 0) {
        return 0;
    }
    if (r == 1) {
        of_row(&row, m_r);
    }
    return r;
}

/* ---- the whole map ---- */

static int load_members(const struct tenant *t, struct arena *a, const struct conv_id *conv, struct member **m_r, int *count_r,
                        struct err *e)
{
    struct member *all = NULL;
    int count = 0, got = MAP_PAGE;
    while (got == MAP_PAGE && count < MAP_MAX) {
        struct member *page;
        if (groups_members(t, a, conv, NULL, count > 0 ? all[count - 1].user.s : "", MAP_PAGE, &page, &got, e) != 0) {
            return -1;
        }
        struct member *grown = arena_array(a, (size_t)(count + got), sizeof(*grown));
        if (count > 0) {
            memcpy(grown, all, (size_t)count * sizeof(*grown));
        }
        if (got > 0) {
            memcpy(grown + count, page, (size_t)got * sizeof(*grown));
        }
        all = grown;
        count += got;
    }
    *m_r = all;
    *count_r = count;
    return 0;
}

/* Failures are no matter: the next reader tries again. */
static void fill(const struct tenant *t, struct arena *a, const struct conv_id *conv, int64_t version, const struct member *m, int count)
{
    struct err e = {0};
    redisReply *reply;
    struct redis_cmd *c = redis_cmd_script(a, SCRIPT_MAP_FILL, 2);
    redis_key(c, key_members(t, conv));
    redis_key(c, key_floor(t, conv));
    redis_number(c, version);
    redis_number(c, MAP_SECONDS);
    for (int i = 0; i < count; i++) {
        redis_text(c, m[i].user.s);
        redis_text(c, write_member(a, &m[i]));
    }
    if (redis_run1(a, c, &reply, &e) != 0) {
        log_debug("groupmap_fill", "a group map was not written: %s", e.msg);
    }
}

/* Reads the members from Postgres and writes the map. The version is read first: what changes meanwhile has a higher one, whose groupmap_changed() drops what is
 * written here. 1, 0 no such conversation, -1. */
static int load(const struct tenant *t, struct arena *a, const struct conv_id *conv, struct member **m_r, int *count_r, struct err *e)
{
    struct conversation c;
    int r = groups_get(t, a, conv, &c, e);
    if (r != 1) {
        return r;
    }
    if (load_members(t, a, conv, m_r, count_r, e) != 0) {
        return -1;
    }
    fill(t, a, conv, c.members_seq, *m_r, *count_r);
    return 1;
}

/* ---- reading ---- */

/* 1 *m_r is set, 0 the map is there and does not hold the user, 2 there is no map (or something else in its place), -1 Redis is away. */
static int from_redis(const struct tenant *t, struct arena *a, const struct conv_id *conv, const struct user_id *user,
                      struct groupmap_member *m_r)
{
    struct err e = {0};
    redisReply *reply;
    struct redis_cmd *c = redis_cmd(a, "HMGET");
    redis_key(c, key_members(t, conv));
    redis_text(c, user->s);
    redis_text(c, VERSION);
    if (tell_untold(a, &e) != 0 || redis_run(a, &c, 1, &reply, &e) != 0) {
        return -1;
    }
    const char *text = reply_text(reply_at(reply, 0));
    if (reply_text(reply_at(reply, 1)) == NULL) {
        return 2;
    }
    if (text == NULL) {
        return 0;
    }
    return read_member(text, m_r) ? 1 : 2;
}

static int load_and_find(const struct tenant *t, struct arena *a, const struct conv_id *conv, const struct user_id *user,
                         struct groupmap_member *m_r, struct err *e)
{
    struct member *m;
    int count;
    int r = load(t, a, conv, &m, &count, e);
    for (int i = 0; r == 1 && i < count; i++) {
        if (user_id_equal(&m[i].user, user)) {
            of_row(&m[i], m_r);
            return 1;
        }
    }
    return r == 1 && count >= MAP_MAX ? from_postgres(t, a, conv, user, m_r, e) : r < 0 ? -1 : 0;
}

int groupmap_member(const struct tenant *t, struct arena *a, const struct conv_id *conv, const struct user_id *user,
                    struct groupmap_member *m_r, struct err *e)
{
    switch (from_redis(t, a, conv, user, m_r)) {
    case 1:
        return 1;
    case 2:
        return load_and_find(t, a, conv, user, m_r, e);
    default:
        /* Redis is away, or refuses: a stale map must not refuse for long, so Postgres has the last word. */
        return from_postgres(t, a, conv, user, m_r, e);
    }
}

static bool members_from_redis(const struct tenant *t, struct arena *a, const struct conv_id *conv, struct user_id **users_r, int *count_r,
                               bool *away_r)
{
    struct err e = {0};
    redisReply *reply;
    struct redis_cmd *c = redis_cmd(a, "HKEYS");
    redis_key(c, key_members(t, conv));
    *away_r = tell_untold(a, &e) != 0 || redis_run(a, &c, 1, &reply, &e) != 0;
    if (*away_r || reply->type != REDIS_REPLY_ARRAY || reply->elements == 0) {
        return false;
    }
    struct user_id *users = arena_array(a, reply->elements, sizeof(*users));
    int count = 0;
    bool versioned = false;
    for (size_t i = 0; i < reply->elements; i++) {
        const char *name = reply_text(reply->element[i]);
        versioned = versioned || (name != NULL && strcmp(name, VERSION) == 0);
        if (name != NULL && user_id_parse(name, &users[count]) == 0) {
            count++;
        }
    }
    if (versioned) {
        *users_r = users;
        *count_r = count;
    }
    return versioned;
}

int groupmap_members(const struct tenant *t, struct arena *a, const struct conv_id *conv, struct user_id **users_r, int *count_r,
                     struct err *e)
{
    bool away;
    struct member *m = NULL;
    int count = 0;
    if (members_from_redis(t, a, conv, users_r, count_r, &away)) {
        return 0;
    }
    if (away ? load_members(t, a, conv, &m, &count, e) != 0 : load(t, a, conv, &m, &count, e) < 0) {
        return -1;
    }
    struct user_id *users = arena_array(a, (size_t)count, sizeof(*users));
    for (int i = 0; i < count; i++) {
        users[i] = m[i].user;
    }
    *users_r = users;
    *count_r = count;
    return 0;
}
