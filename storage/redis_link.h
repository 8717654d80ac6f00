/* redis_link.h: one connection to Redis in a libuv loop. hiredis formats commands and parses replies; the socket is libuv's, because hiredis's own asynchronous
 * contexts resolve names in the loop, abort on replies of an unexpected shape and, in its libuv adapter, never report a refused connection.
 *
 * A link is used once: when it is lost it closes itself, calls gone() and is freed. Callbacks come from the loop, never from within a call of this API.
 * Readers: storage/ alone. */
#ifndef STORAGE_REDIS_LINK_H
#define STORAGE_REDIS_LINK_H

#include "storage/redis-private.h"

#include <uv.h>

struct redis_link;
struct redis_link_events {
    void (*ready)(struct redis_link *l, void *ctx);                     /* connected and authenticated */
    void (*push)(struct redis_link *l, const redisReply *r, void *ctx); /* a reply that no command waits for: pub/sub */
    void (*gone)(struct redis_link *l, const char *why,
                 void *ctx); /* every command has been answered; all handles are closed; l is freed after this call */
    void *ctx;
};

/* Connecting and authenticating takes at most a second. `password` "" = none; kept by reference. */
struct redis_link *redis_link_open(uv_loop_t *loop, const struct redis_address *address, const char *password,
                                   const struct redis_link_events *events);

/* Sends a command; its arena may go at once. done(reply) is called exactly once, in the order of sending; NULL: the link is lost and the outcome unknown. With done
 * NULL the answers go to push() (SUBSCRIBE). -1, and done is never called, when the link is not ready or 32 MiB wait already. */
int redis_link_send(struct redis_link *l, const struct redis_cmd *c, void (*done)(const redisReply *r, void *arg), void *arg)
    __attribute__((warn_unused_result));

/* gone() follows, with this `why` (a literal) unless the link was being lost already. */
void redis_link_close(struct redis_link *l, const char *why);

#endif
