/* online.h: presence of this node's own users: its claims on them. Loop thread only, unless a line says worker. */
#ifndef REALTIME_ONLINE_H
#define REALTIME_ONLINE_H

#include "realtime/session.h"
#include "storage/presence.h"

void online_start(void); /* the refresh of claims and watches */

/* A user's connections have changed: claims the devices that are here (none, after the grace: gives the user back). */
void online_touch(struct hub_user *u);
void online_gone(struct hub_user *u); /* the last session has ended: begins the grace */
/* A node that was silent for NODE_DEAD_MS was closed: its claims end within a lease of its last sign; then those who watch its users here are told. */
#define NODE_DEAD_MS 5000
void online_node_died(void);
void online_refresh(void (*done)(void)); /* all claims anew: Redis may have lost them. done() follows */
/* At the end: gives all users back. done(NULL) follows. */
void online_stop(void (*done)(void *arg));

/* presence.set. Worker: claims and tells the nodes that watch; what to tell the watchers here is in *now_r when *changed_r. */
int online_set(const struct tenant *t, struct arena *a, const struct presence_claim *c, struct presence *now_r, bool *changed_r,
               struct err *e) __attribute__((warn_unused_result));
const char *online_payload(struct arena *a, const struct presence *p); /* of presence.updated */
char *online_devices(struct arena *a, const struct hub_user *u);       /* comma-separated, as presence_claim wants them */

#endif
