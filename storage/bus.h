/* bus.h: frames between nodes over Redis pub/sub: p1:bus:<node> for one node, p1:bus:all for invalidations. At most once; what is durable is healed by comparing heads.
 *
 * A frame is: publisher node, frame number per (publisher, node), items. Each item carries an HMAC-SHA256 (first 16 bytes) by a key derived from the
 * master key, so that a reader or writer of Redis cannot inject. Nothing is authorised from Redis alone.
 *
 * Two faces: bus_publish_* block and are for the API's threads and for workers; struct bus lives in a libuv loop and never blocks. */
#ifndef STORAGE_BUS_H
#define STORAGE_BUS_H

#include "core/buf.h"
#include "core/config.h"
#include "core/err.h"
#include "core/tenant.h"
#include "storage/entries.h"
#include "storage/keys.h"

#include <stdbool.h>

enum bus_kind {
    BUS_ENTRY = 1,     /* a committed entry of a conversation: app, conv, entry */
    BUS_EPHEMERAL = 2, /* an event for a conversation's online members: app, conv, event name, payload JSON, except_user */
    BUS_USER =
        3, /* an event for one user's connections: app, user, event name, payload JSON; also tells the node to re-read the user's memberships when `rejoin` */
    BUS_PRESENCE = 4, /* presence.updated of a user for those who watch: app, user, payload JSON */
    BUS_INVALIDATE =
        5 /* on p1:bus:all: app changed, user's tokens revoked or user deactivated, key or signing key changed: subject says which */
};

struct bus_item {
    enum bus_kind kind;
    struct app_id app;
    struct conv_id conv; /* ENTRY, EPHEMERAL */
    struct user_id user; /* USER, PRESENCE, INVALIDATE (user ""); EPHEMERAL: whom to leave out */
    struct entry entry;  /* ENTRY */
    const char *
        event; /* EPHEMERAL, USER: wire name (up to 63 bytes). INVALIDATE: "app", "key", "tokens", "user"; "all" is made by bus_listen_ itself */
    const char *payload; /* JSON text */
    size_t payload_len;
    bool rejoin;
};

/* Wire form of one item, MAC included; and back: 0, or -1 (forged, cut or of an unknown kind). Pointers in *item_r lead into the bytes; texts have their NUL there. */
void bus_item_encode(struct buf *out, const struct bus_item *item);
int bus_item_decode(const char *p, size_t len, size_t *used_r, struct bus_item *item_r) __attribute__((warn_unused_result));

void bus_start(const struct config *c); /* derives the MAC key; before any other call */

/* Blocking face. Committed entries (and ephemerals) go to each node of their conversation's set but `self` ("" = none): one script call for all.
 * Failures are logged and counted; they never fail the caller. */
void bus_publish_items(const char *self, const struct bus_item *items, int n);
void bus_publish_to_nodes(const char *self, char (*nodes)[NODE_ID_MAX + 1], int count, const struct bus_item *items, int n);
void bus_invalidate(const struct bus_item *item);

/* How many publishes of this process, by either face, have failed or have an unknown outcome. Grows only: the keeper of the lease raises bus_lost in each beat
 * that follows a growth, so that everybody compares heads. */
uint64_t bus_failures(void);

/* The subscriber of a program without a loop (parley-api): a thread that calls on_item for each INVALIDATE item. It reconnects by itself; each time it has
 * subscribed it calls on_item with event "all" (and a zeroed app): something may have been missed, forget what is cached. */
int bus_listen_start(void (*on_item)(const struct bus_item *item, void *ctx), void *ctx, struct err *e) __attribute__((warn_unused_result));
void bus_listen_stop(void);

/* Face of the gateway's loop. Callbacks run on the loop thread and are never called from within a call of this API.
 *
 * Items on p1:bus:all (INVALIDATE) come through on_item too.
 * on_item      an item from another node (own frames excepted)
 * on_doubt     something may have been missed (reconnected, incarnation changed, attach counter lower, a number skipped, own heartbeat late):
 *              attach everything again and compare heads. `why` is a literal: "reconnect", "incarnation", "gap", "heartbeat".
 *              At most once in 100 ms; "reconnect" follows each on_state(true), the first one included.
 * on_state     up: Redis answers and this node is subscribed; down otherwise. Starts down. */
struct bus;
struct bus_callbacks {
    void (*on_item)(const struct bus_item *item, void *ctx);
    void (*on_doubt)(const char *why, void *ctx);
    void (*on_state)(bool up, void *ctx);
    void *ctx;
};
struct uv_loop_s;
struct bus *bus_new(struct uv_loop_s *loop, const struct config *c, const char *node, const struct bus_callbacks *cb);
void bus_close(struct bus *b, void (*closed)(void *ctx), void *ctx); /* `closed` is called once all handles are; the bus is freed */
bool bus_up(const struct bus *b);

/* Adds this node to (removes it from) the sets of nodes of n conversations. done(ok) when Redis has answered for all; !ok while the bus is down: attach again
 * at the next on_doubt(). A detach while it is down is lost; it costs frames nobody wants here until the node's lease is closed. done may be NULL. */
void bus_attach(struct bus *b, const struct app_id *apps, const struct conv_id *convs, int n, void (*done)(bool ok, void *ctx), void *ctx);
void bus_detach(struct bus *b, const struct app_id *apps, const struct conv_id *convs, int n);

/* Sends items to the nodes of their conversations (ENTRY, EPHEMERAL), one script call for all; nothing is published when no other node is in a set. */
void bus_fan_out(struct bus *b, const struct bus_item *items, int n);
/* Sends one item to given nodes (USER, PRESENCE). */
void bus_send(struct bus *b, char (*nodes)[NODE_ID_MAX + 1], int count, const struct bus_item *item);

#endif
