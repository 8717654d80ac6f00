/* presence.h: the user map: user → name, status, nodes and devices, leased. In Redis alone; wiped, it is filled again by the gateways' refresh. Blocking calls for
 * workers and the API. */
#ifndef STORAGE_PRESENCE_H
#define STORAGE_PRESENCE_H

#include "core/arena.h"
#include "core/err.h"
#include "core/json.h"
#include "core/tenant.h"
#include "storage/keys.h"

#define PRESENCE_LEASE_MS 30000 /* a gateway refreshes its users every third of it */

struct presence {
    struct user_id user;
    char status[12];      /* online, away, busy, offline ("invisible" shows as offline) */
    char text[129];       /* "" = none */
    int64_t last_seen_ms; /* 0 = never */
};
json_t *presence_json(struct arena *a, const struct presence *p); /* {status, last_seen_at, text?} */

/* n users in one round trip. Unknown users are offline. */
int presence_get(const struct tenant *t, struct arena *a, const struct user_id *users, int n, struct presence *p_r, struct err *e)
    __attribute__((warn_unused_result));

/* A node's claim on users: it hosts `devices` (comma-separated ids) of the user until now + lease; devices "" = gone from this node. name and status are
 * cached beside it. Sets last_seen when the last node goes. One pipelined round trip for n users; changed_r[i] (may be NULL): the visible presence changed. */
struct presence_claim {
    struct user_id user;
    const char *name, *status, *text; /* NULL = keep what is there */
    const char *devices;
};
int presence_claim(const struct tenant *t, struct arena *a, const char *node, const struct presence_claim *c, int n, struct presence *now_r,
                   bool *changed_r, struct err *e) __attribute__((warn_unused_result));

/* The nodes that host a user now (for events to one person). names_r: node ids. */
int presence_nodes(const struct tenant *t, struct arena *a, const struct user_id *users, int n, char (**nodes_r)[NODE_ID_MAX + 1],
                   int *count_r, struct err *e) __attribute__((warn_unused_result)); /* distinct nodes over all users */

/* Node `node` wants presence.updated of these users until ttl from now (0 = no more). */
int presence_watch(const struct tenant *t, struct arena *a, const char *node, const struct user_id *users, int n, int ttl_seconds,
                   struct err *e) __attribute__((warn_unused_result));
/* The nodes that watch a user. */
int presence_watchers(const struct tenant *t, struct arena *a, const struct user_id *user, char (**nodes_r)[NODE_ID_MAX + 1], int *count_r,
                      struct err *e) __attribute__((warn_unused_result));

#endif
