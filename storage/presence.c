#include "storage/presence.h"

#include "core/clock.h"
#include "storage/redis-private.h"

#include <assert.h>

#define WATCH_KEEP_SECONDS 3600

json_t *presence_json(struct arena *a, const struct presence *p)
{
    char when[CLOCK_TEXT_MAX];
    json_t *j = json_object();
    assert(j != NULL);
    json_object_set_new(j, "status", json_string(p->status));
    json_object_set_new(j, "last_seen_at", p->last_seen_ms > 0 ? json_string(clock_format(p->last_seen_ms, when)) : json_null());
    if (p->text[0] != '\0') {
        json_object_set_new(j, "text", json_string(p->text)); /* left out when it is not UTF-8 */
    }
    return json_own(a, j);
}

/* ---- reading user maps ---- */

/* "n:<node>": when its lease ends; false for other fields. */
static bool lease_of(const char *field, const redisReply *value, int64_t *end_r)
{
    const char *text = reply_text(value);
    if (strncmp(field, "n:", 2) != 0 || strlen(field + 2) > NODE_ID_MAX || text == NULL) {
        return false;
    }
    return text_number(text, strcspn(text, "|"), end_r);
}

/* Cut between two characters. */
static void set_text(char *out, size_t size, const char *text)
{
    size_t len = strnlen(text, size);
    if (len == size) {
        for (len--; len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80; len--) {
        }
    }
    memcpy(out, text, len);
    out[len] = '\0';
}

/* Redis may hold anything; a status that is not known counts as online. */
static const char *known_status(const char *text)
{
    static const char *const known[] = {"online", "away", "busy", "offline", "invisible"};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(text, known[i]) == 0) {
            return known[i];
        }
    }
    return known[0];
}

/* What others see. An expired lease is gone; the user was last seen when it was renewed last. */
static void read_map(const redisReply *r, int64_t now, struct presence *p)
{
    const char *status = "online", *text = "";
    int64_t newest = 0, stored = 0;
    bool live = false;
    for (size_t i = 0; r->type == REDIS_REPLY_ARRAY && i + 1 < r->elements; i += 2) {
        const char *field = reply_text(r->element[i]), *value = reply_text(r->element[i + 1]);
        int64_t end;
        if (field == NULL || value == NULL) {
            continue;
        }
        if (lease_of(field, r->element[i + 1], &end)) {
            live = live || end > now;
            newest = end > newest ? end : newest;
        } else if (strcmp(field, "status") == 0) {
            status = known_status(value);
        } else if (strcmp(field, "text") == 0) {
            text = value;
        } else if (strcmp(field, "last_seen") == 0) {
            stored = reply_number(r->element[i + 1], 0);
        }
    }
    bool hidden = strcmp(status, "invisible") == 0;
    bool shown = live && !hidden;
    int64_t lapsed = live || hidden || newest == 0 ? 0 : newest - PRESENCE_LEASE_MS;
    set_text(p->status, sizeof(p->status), shown ? status : "offline");
    set_text(p->text, sizeof(p->text), shown ? text : "");
    p->last_seen_ms = lapsed > stored ? lapsed : stored;
}

static int read_maps(const struct tenant *t, struct arena *a, const struct user_id *users, int n, redisReply ***replies_r, struct err *e)
{
    struct redis_cmd **c = arena_array(a, (size_t)n, sizeof(*c));
    redisReply **replies = arena_array(a, (size_t)n, sizeof(*replies));
    for (int i = 0; i < n; i++) {
        c[i] = redis_cmd(a, "HGETALL");
        redis_key(c[i], key_user(tenant_app(t), &users[i]));
    }
    if (redis_run(a, c, n, replies, e) != 0) {
        return -1;
    }
    for (int i = 0; i < n; i++) {
        if (replies[i]->type != REDIS_REPLY_ARRAY) {
            return redis_bad_reply(replies[i], e);
        }
    }
    *replies_r = replies;
    return 0;
}

int presence_get(const struct tenant *t, struct arena *a, const struct user_id *users, int n, struct presence *p_r, struct err *e)
{
    redisReply **replies;
    if (read_maps(t, a, users, n, &replies, e) != 0) {
        return -1;
    }
    int64_t now = clock_wall_ms();
    for (int i = 0; i < n; i++) {
        p_r[i] = (struct presence){.user = users[i]};
        read_map(replies[i], now, &p_r[i]);
    }
    return 0;
}

/* ---- lists of nodes ---- */

struct node_list {
    struct arena *arena;
    char (*names)[NODE_ID_MAX + 1];
    int count, room;
};

static void add_name(struct node_list *l, const char *name)
{
    for (int i = 0; i < l->count; i++) {
        if (strcmp(l->names[i], name) == 0) {
            return;
        }
    }
    if (l->count == l->room) {
        int room = l->room == 0 ? 8 : l->room * 2;
        char(*names)[NODE_ID_MAX + 1] = arena_array(l->arena, (size_t)room, sizeof(*names));
        if (l->count > 0) {
            memcpy(names, l->names, (size_t)l->count * sizeof(*names));
        }
        l->names = names;
        l->room = room;
    }
    set_text(l->names[l->count++], NODE_ID_MAX + 1, name);
}

int presence_nodes(const struct tenant *t, struct arena *a, const struct user_id *users, int n, char (**nodes_r)[NODE_ID_MAX + 1],
                   int *count_r, struct err *e)
{
    redisReply **replies;
    struct node_list list = {.arena = a};
    if (read_maps(t, a, users, n, &replies, e) != 0) {
        return -1;
    }
    int64_t now = clock_wall_ms();
    for (int i = 0; i < n; i++) {
        for (size_t k = 0; k + 1 < replies[i]->elements; k += 2) {
            const char *field = reply_text(replies[i]->element[k]);
            int64_t end;
            if (field != NULL && lease_of(field, replies[i]->element[k + 1], &end) && end > now) {
                add_name(&list, field + 2);
            }
        }
    }
    *nodes_r = list.names;
    *count_r = list.count;
    return 0;
}

/* ---- claims ---- */

static void keep_or_set(struct redis_cmd *c, const char *value)
{
    redis_text(c, value == NULL ? "" : arena_printf(c->arena, "=%s", value));
}

static struct redis_cmd *claim(const struct tenant *t, struct arena *a, const char *node, const struct presence_claim *claim, int64_t now)
{
    struct redis_cmd *c = redis_cmd_script(a, SCRIPT_CLAIM, 1);
    redis_key(c, key_user(tenant_app(t), &claim->user));
    redis_text(c, node);
    redis_number(c, now);
    redis_number(c, now + PRESENCE_LEASE_MS);
    redis_number(c, PRESENCE_LEASE_MS);
    redis_text(c, claim->devices);
    keep_or_set(c, claim->name);
    keep_or_set(c, claim->status);
    keep_or_set(c, claim->text);
    return c;
}

int presence_claim(const struct tenant *t, struct arena *a, const char *node, const struct presence_claim *claims, int n,
                   struct presence *now_r, bool *changed_r, struct err *e)
{
    struct redis_cmd **c = arena_array(a, (size_t)n, sizeof(*c));
    redisReply **replies = arena_array(a, (size_t)n, sizeof(*replies));
    int64_t now = clock_wall_ms();
    for (int i = 0; i < n; i++) {
        c[i] = claim(t, a, node, &claims[i], now);
    }
    if (redis_run(a, c, n, replies, e) != 0) {
        return -1;
    }
    for (int i = 0; i < n; i++) {
        if (reply_text(reply_at(replies[i], 1)) == NULL || reply_text(reply_at(replies[i], 2)) == NULL) {
            return redis_bad_reply(replies[i], e);
        }
    }
    for (int i = 0; i < n; i++) {
        if (now_r != NULL) {
            now_r[i] = (struct presence){.user = claims[i].user, .last_seen_ms = reply_number(reply_at(replies[i], 3), 0)};
            set_text(now_r[i].status, sizeof(now_r[i].status), known_status(reply_text(reply_at(replies[i], 1))));
            set_text(now_r[i].text, sizeof(now_r[i].text), reply_text(reply_at(replies[i], 2)));
        }
        if (changed_r != NULL) {
            changed_r[i] = reply_number(reply_at(replies[i], 0), 0) == 1;
        }
    }
    return 0;
}

/* ---- watchers ---- */

int presence_watch(const struct tenant *t, struct arena *a, const char *node, const struct user_id *users, int n, int ttl_seconds,
                   struct err *e)
{
    struct redis_cmd **c = arena_array(a, (size_t)n, sizeof(*c));
    redisReply **replies = arena_array(a, (size_t)n, sizeof(*replies));
    int64_t now = clock_wall_ms();
    int ttl = ttl_seconds < WATCH_KEEP_SECONDS ? ttl_seconds : WATCH_KEEP_SECONDS;
    for (int i = 0; i < n; i++) {
        c[i] = redis_cmd_script(a, SCRIPT_WATCH, 1);
        redis_key(c[i], key_watchers(tenant_app(t), &users[i]));
        redis_text(c[i], node);
        redis_number(c[i], now);
        redis_number(c[i], ttl > 0 ? now + ttl * 1000LL : 0);
        redis_number(c[i], WATCH_KEEP_SECONDS);
    }
    if (redis_run(a, c, n, replies, e) != 0) {
        return -1;
    }
    for (int i = 0; i < n; i++) {
        if (replies[i]->type != REDIS_REPLY_INTEGER) {
            return redis_bad_reply(replies[i], e);
        }
    }
    return 0;
}

int presence_watchers(const struct tenant *t, struct arena *a, const struct user_id *user, char (**nodes_r)[NODE_ID_MAX + 1], int *count_r,
                      struct err *e)
{
    redisReply *reply;
    struct node_list list = {.arena = a};
    struct redis_cmd *c = redis_cmd(a, "HGETALL");
    redis_key(c, key_watchers(tenant_app(t), user));
    if (redis_run1(a, c, &reply, e) != 0) {
        return -1;
    }
    int64_t now = clock_wall_ms();
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements; i += 2) {
        const char *node = reply_text(reply->element[i]);
        if (node != NULL && strlen(node) <= NODE_ID_MAX && reply_number(reply->element[i + 1], 0) > now) {
            add_name(&list, node);
        }
    }
    *nodes_r = list.names;
    *count_r = list.count;
    return 0;
}
