/* redis-private.h: commands, scripts and replies, for the blocking link of a thread and for the links of a loop. Readers: storage/ alone.
 *
 * Keys are always struct rkey. A reply may be of any type: the accessors take NULL and wrong types. */
#ifndef STORAGE_REDIS_PRIVATE_H
#define STORAGE_REDIS_PRIVATE_H

#include "core/arena.h"
#include "core/err.h"
#include "storage/keys.h"

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdint.h>

/* Scripts: storage/lua/<file>.lua */
#define REDIS_SCRIPTS(S) \
    S(FAN_OUT, "lua/fan_out.lua") \
    S(SEND, "lua/send.lua") \
    S(ATTACH, "lua/attach.lua") \
    S(DETACH, "lua/detach.lua") \
    S(TICK, "lua/tick.lua") \
    S(CLAIM, "lua/claim.lua") \
    S(WATCH, "lua/watch.lua") \
    S(MAP_FILL, "lua/map_fill.lua") \
    S(MAP_DROP, "lua/map_drop.lua")

enum redis_script {
#define S(name, file) SCRIPT_##name,
    REDIS_SCRIPTS(S)
#undef S
        SCRIPT_COUNT
};
const char *redis_script_text(enum redis_script s);

/* A command under construction, in an arena. Bytes given to redis_arg() are kept by reference. */
struct redis_cmd {
    struct arena *arena;
    int argc, room;
    const char **argv;
    size_t *lens;
    int script; /* enum redis_script, or -1 */
};
struct redis_cmd *redis_cmd(struct arena *a, const char *name);
struct redis_cmd *redis_cmd_script(struct arena *a, enum redis_script s,
                                   int keys); /* EVALSHA; its `keys` keys follow, then the arguments */
void redis_key(struct redis_cmd *c, struct rkey key);
void redis_arg(struct redis_cmd *c, const void *p, size_t len);
void redis_text(struct redis_cmd *c, const char *s);
void redis_number(struct redis_cmd *c, int64_t n);

/* Sends n commands in one write on this thread's link and waits for all replies (they belong to the arena). 0: every reply is there, each possibly an error
 * (REDIS_REPLY_ERROR); -1 ERR_STORAGE_UNAVAILABLE: away, or the outcome is unknown. Scripts that Redis does not know are sent whole. */
int redis_run(struct arena *a, struct redis_cmd **c, int n, redisReply **replies_r, struct err *e) __attribute__((warn_unused_result));
int redis_run1(struct arena *a, struct redis_cmd *c, redisReply **reply_r, struct err *e)
    __attribute__((warn_unused_result)); /* an error reply is -1 as well */
/* -1 and *e for an error reply (logged) or one of an unexpected type. */
int redis_bad_reply(const redisReply *r, struct err *e);

const redisReply *reply_at(const redisReply *r, size_t i);    /* element of an array, or NULL */
const char *reply_text(const redisReply *r);                  /* a string without NUL inside, or NULL */
int64_t reply_number(const redisReply *r, int64_t otherwise); /* an integer, or a string that is one */
bool text_number(const char *s, size_t len, int64_t *n_r);    /* all of s is a decimal number */

/* Bounds what the other side can make a reader allocate: a reply of more than REPLY_ELEMENTS_MAX elements in all its arrays is an error of the protocol. *count is the
 * reader's own and outlives it. */
#define REPLY_ELEMENTS_MAX 200000
#define REPLY_BYTES_MAX (64u << 20)
void redis_bound_reader(redisReader *r, int *count);

/* PARLEY_REDIS: host:port, or the path of a unix socket. */
struct redis_address {
    char host[256]; /* or the path */
    int port;       /* 0 = unix socket */
};
int redis_address_parse(const char *text, struct redis_address *r) __attribute__((warn_unused_result));

/* A blocking connection outside the thread's link, authenticated (the caller redisFree()s it); NULL when Redis is away. */
redisContext *redis_open(struct err *e);
/* Waits until `deadline` (monotonic ms) for one reply, which the caller frees. 1; 0 timeout; -1 the connection is lost. */
int redis_receive(redisContext *c, int64_t deadline, redisReply **reply_r);

#endif
