/* peers.h: the other nodes: the bus, what comes from it, and what is told to those whom something concerns. Loop thread only, unless a line says worker. */
#ifndef REALTIME_PEERS_H
#define REALTIME_PEERS_H

#include "realtime/hub.h"
#include "realtime/conn.h"
#include "storage/bus.h"

void peers_start(void);
void peers_stop(void (*done)(void *ctx), void *ctx);
bool peers_up(void);

void peers_attach(const struct app_id *apps, const struct conv_id *convs, int n, void (*done)(bool ok, void *ctx), void *ctx);
void peers_detach(const struct app_id *app, const struct conv_id *convs, int n);

/* To the other nodes that host online members of the items' conversations. */
void peers_fan_out(const struct bus_item *items, int n);

/* Worker: tells the nodes that host these users (not this one) that their membership of a conversation may have changed: each reads it anew and tells its own
 * connections. */
void peers_rejoin(const struct tenant *t, struct arena *a, const struct user_id *users, int n, const struct conv_id *conv, bool added);

#endif
