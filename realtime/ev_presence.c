#include "realtime/dispatch.h"

#include "core/log.h"
#include "realtime/online.h"
#include "realtime/watch.h"

/* The users a payload names; ids of a wrong form name nobody. */
struct named {
    struct user_id *users;
    bool *left;
    int n;
    int ttl_seconds;
    struct presence_claim claim;
    struct presence now;
    bool changed;
};

static struct named *named_users(struct op *op)
{
    const json_t *ids = json_object_get(op->payload, "user_ids");
    struct named *n = arena_alloc(op->arena, sizeof(*n));
    n->users = arena_array(op->arena, json_array_size(ids), sizeof(*n->users));
    n->left = arena_array(op->arena, json_array_size(ids), sizeof(*n->left));
    for (size_t i = 0; i < json_array_size(ids); i++) {
        n->n += user_id_parse(json_string_value(json_array_get(ids, i)), &n->users[n->n]) == 0;
    }
    op->data = n;
    return n;
}

/* ---- presence.subscribe ---- */

static enum step_result subscribe(struct op *op)
{
    struct named *n = op->data;
    struct session *s = op_session(op);
    if (s != NULL && !watch_add(s, n->users, n->n, n->ttl_seconds)) {
        return op_fail(op, ERR_VALIDATION_FAILED, "A connection may watch %d users; unsubscribe from others first.", WATCH_MAX);
    }
    return STEP_NEXT;
}

/* Watching comes before reading, so that no change falls between. */
static enum step_result read_presence(struct op *op)
{
    struct named *n = op->data;
    struct presence *p = arena_array(op->arena, (size_t)n->n, sizeof(*p));
    json_t *all = json_own(op->arena, json_object());
    if (n->n > 0 && (presence_watch(op->tenant, op->arena, node.id, n->users, n->n, WATCH_SECONDS, &op->err) != 0 ||
                     presence_get(op->tenant, op->arena, n->users, n->n, p, &op->err) != 0)) {
        return STEP_FAIL;
    }
    for (int i = 0; i < n->n; i++) {
        json_object_set(all, n->users[i].s, presence_json(op->arena, &p[i]));
    }
    op->reply = json_own(op->arena, json_pack("{s:O}", "presence", all));
    return STEP_DONE;
}

void ev_presence_subscribe(struct op *op)
{
    static const struct op_step steps[] = {{subscribe, false}, {read_presence, true}, {0}};
    struct named *n = named_users(op);
    n->ttl_seconds = (int)json_int(op->payload, "ttl_seconds", WATCH_SECONDS);
    op_run(op, steps, OP_DEADLINE_MS);
}

/* ---- presence.unsubscribe ---- */

static enum step_result unsubscribe(struct op *op)
{
    struct named *n = op->data;
    struct session *s = op_session(op);
    if (s != NULL) {
        watch_remove(s, n->users, n->n, n->left);
    }
    return STEP_NEXT;
}

static enum step_result end_watch(struct op *op)
{
    struct named *n = op->data;
    struct err e = {0};
    int count = 0;
    for (int i = 0; i < n->n; i++) {
        if (n->left[i]) {
            n->users[count++] = n->users[i];
        }
    }
    n->n = count;
    if (count > 0 && presence_watch(op->tenant, op->arena, node.id, n->users, count, 0, &e) != 0) {
        log_debug("watch_not_ended", "it ends by itself: %s", e.msg);
    }
    return STEP_NEXT;
}

/* Somebody else here may have begun to watch them meanwhile. */
static enum step_result look_again(struct op *op)
{
    struct named *n = op->data;
    int count = 0;
    for (int i = 0; i < n->n; i++) {
        if (watch_is_on(&op->app->id, &n->users[i])) {
            n->users[count++] = n->users[i];
        }
    }
    n->n = count;
    return count > 0 ? STEP_NEXT : STEP_DONE;
}

static enum step_result watch_again(struct op *op)
{
    const struct named *n = op->data;
    return presence_watch(op->tenant, op->arena, node.id, n->users, n->n, WATCH_SECONDS, &op->err) == 0 ? STEP_DONE : STEP_FAIL;
}

void ev_presence_unsubscribe(struct op *op)
{
    static const struct op_step steps[] = {{unsubscribe, false}, {end_watch, true}, {look_again, false}, {watch_again, true}, {0}};
    named_users(op);
    op_run(op, steps, OP_DEADLINE_MS);
}

/* ---- presence.set ---- */

static enum step_result describe(struct op *op)
{
    struct named *n = arena_alloc(op->arena, sizeof(*n));
    const struct hub_user *u = hub_user_find(&op->app->id, &op->user);
    if (u == NULL) {
        return op_fail(op, ERR_NOT_FOUND, "The connection has gone.");
    }
    if (strlen(json_str(op->payload, "text", "")) >= sizeof(n->now.text)) {
        err_at(&op->err, ERR_VALIDATION_FAILED, "/text", "The text is longer than 128 bytes.");
        return STEP_FAIL;
    }
    n->claim = (struct presence_claim){.user = op->user,
                                       .status = json_str(op->payload, "status", "online"),
                                       .text = json_str(op->payload, "text", ""),
                                       .devices = online_devices(op->arena, u)};
    op->data = n;
    return STEP_NEXT;
}

static enum step_result claim(struct op *op)
{
    struct named *n = op->data;
    return online_set(op->tenant, op->arena, &n->claim, &n->now, &n->changed, &op->err) == 0 ? STEP_NEXT : STEP_FAIL;
}

static enum step_result tell(struct op *op)
{
    struct named *n = op->data;
    if (n->changed) {
        const char *payload = online_payload(op->arena, &n->now);
        watch_tell(&op->app->id, &op->user, payload, strlen(payload));
    }
    return STEP_DONE;
}

void ev_presence_set(struct op *op)
{
    static const struct op_step steps[] = {{describe, false}, {claim, true}, {tell, false}, {0}};
    op_run(op, steps, OP_DEADLINE_MS);
}
