/* keeper.h: this node's lease, the leases of the others, and whether storage is there. Once a second, on a worker. */
#ifndef REALTIME_KEEPER_H
#define REALTIME_KEEPER_H

#include "core/buf.h"

#include <stdbool.h>

void keeper_start(void);
/* Ends the lease: the others need not wait for its silence. done(NULL) follows on the loop thread. */
void keeper_stop(void (*done)(void *arg));
bool keeper_ready(struct buf *verbose); /* session_ready() */
bool keeper_failed(void);               /* session_failed() */

#endif
