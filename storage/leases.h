/* leases.h: which processes live: rows of `leases`, deployment-wide. */
#ifndef STORAGE_LEASES_H
#define STORAGE_LEASES_H

#include "core/arena.h"
#include "core/err.h"
#include "storage/keys.h"

struct lease {
    char node[NODE_ID_MAX + 1];
    char kind[12], state[8], address[80];
    int64_t beat;
    bool bus_lost;
};
void lease_node_id(char out[NODE_ID_MAX + 1]); /* a fresh id: 3 characters that also stand in Engine.IO sids, "-", 12 random ones */

/* Writes this node's row (made on first call) with the next beat. 0; 1 = the row was closed by somebody, or the first 3 characters are those of another live
 * gateway: draw a new id; -1. */
int lease_beat(struct arena *a, const char *node, const char *kind, const char *address, bool bus_lost, struct err *e)
    __attribute__((warn_unused_result));
int lease_list(struct arena *a, struct lease **l_r, int *count_r, struct err *e) __attribute__((warn_unused_result)); /* live rows */
/* 1 closed by this call, 0 somebody did or it moved on (beat differs), -1. beat < 0: whatever it is (a node that ends closes its own). */
int lease_close(struct arena *a, const char *node, int64_t beat, struct err *e) __attribute__((warn_unused_result));

/* Removes a dead node from all sets of nodes and user maps in Redis that name it (SCAN of its own index is not kept: sets are found by the attached index). */
void lease_forget_in_redis(const char *node);

#endif
