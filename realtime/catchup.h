/* catchup.h: keeps each conversation here at the head of its log: live entries in order, gaps read from storage, heads compared after every doubt. */
#ifndef REALTIME_CATCHUP_H
#define REALTIME_CATCHUP_H

#include "realtime/hub.h"

/* A committed entry, from our own writer or from the bus. What is not above last_seq is dropped; what is early waits 30 ms for its predecessor. */
void catchup_entry(const struct app_id *app, const struct entry *en, const char *path);

/* Conversations of one app that have got their first seat here: attach, then compare their heads. */
void catchup_attach(struct hub_app *app, const struct conv_id *ids, int n);

/* Compares the heads of all conversations here; `trigger` is the metric's label. `attach`: adds this node to their sets of nodes first. */
void catchup_all(const char *trigger, bool attach);

#endif
