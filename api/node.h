/* node.h: this process among the others: its id and the lease that says it lives. */
#ifndef API_NODE_H
#define API_NODE_H

#include "core/config.h"
#include "storage/keys.h"

/* Draws the id; before other threads. */
void node_start(void);

/* Once: the thread that renews the lease each second. When somebody has closed the lease, a new id is drawn. */
void node_beat_start(const struct config *c);

void node_id(char out[NODE_ID_MAX + 1]);

#endif
