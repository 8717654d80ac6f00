/* leases_redis.c: what a dead node leaves in Redis. Its user maps and watches end by their own leases. */
#include "core/log.h"
#include "storage/leases.h"
#include "storage/redis-private.h"

#define FORGET_MAX 500

/* Takes up to FORGET_MAX sets of the index and removes the node from them. 1 there may be more, 0 none left, -1. A set leaves the index in the same round trip, so
 * that a closer that dies half-way loses nothing. */
static int forget_some(const char *node, struct err *e)
{
    int result = -1;
    struct arena *a = arena_new("forget node");
    redisReply *sets;
    struct redis_cmd *c = redis_cmd(a, "SRANDMEMBER");
    redis_key(c, key_index(node));
    redis_number(c, FORGET_MAX);
    if (redis_run1(a, c, &sets, e) == 0) {
        size_t n = sets->type == REDIS_REPLY_ARRAY ? sets->elements : 0;
        struct redis_cmd **all = arena_array(a, n + 1, sizeof(*all));
        redisReply **replies = arena_array(a, n + 1, sizeof(*replies));
        int count = 0;
        struct redis_cmd *from_index = redis_cmd(a, "SREM");
        redis_key(from_index, key_index(node));
        for (size_t i = 0; i < n; i++) {
            struct rkey set;
            const redisReply *name = sets->element[i];
            if (name->type != REDIS_REPLY_STRING) {
                continue;
            }
            redis_arg(from_index, name->str, name->len);
            if (key_from_index(name->str, name->len, &set) == 0) {
                all[count] = redis_cmd(a, "SREM");
                redis_key(all[count], set);
                redis_text(all[count++], node);
            }
        }
        all[count++] = from_index;
        if (n == 0) {
            result = 0;
        } else if (redis_run(a, all, count, replies, e) == 0) {
            /* Where nothing can be removed (a read-only Redis) going on would never end. */
            result = reply_number(replies[count - 1], 0) > 0 ? 1 : redis_bad_reply(replies[count - 1], e);
        }
    }
    arena_free(&a);
    return result;
}

void lease_forget_in_redis(const char *node)
{
    struct err e = {0};
    int more;
    while ((more = forget_some(node, &e)) == 1) {
    }
    if (more == 0) {
        struct arena *a = arena_new("forget node");
        redisReply *reply;
        struct redis_cmd *c = redis_cmd(a, "DEL");
        redis_key(c, key_index(node));
        redis_key(c, key_sent(node));
        redis_key(c, key_attached(node));
        more = redis_run1(a, c, &reply, &e);
        arena_free(&a);
    }
    if (more != 0) {
        log_warn("forget_node", "what node %s left in Redis was not removed: %s", node, e.msg);
    }
}
