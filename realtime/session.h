/* session.h: the event side of the gateway as main.c sees it: users' sessions, the hub, the bus, the outbox. Loop thread only. */
#ifndef REALTIME_SESSION_H
#define REALTIME_SESSION_H

#include "core/buf.h"
#include "core/err.h"

#include <stdbool.h>

/* Before the gateway listens. -1 ends the start. */
int session_start(struct err *e) __attribute__((warn_unused_result));

/* Tells the clients, refuses new work, waits for what is under way (acks included), releases everything; then calls done. The transports still work until then and
 * are closed afterwards: session_closed() may follow. */
void session_stop(void (*done)(void));

/* Whether this node can serve. verbose (may be NULL): appends one line "name ok" or "name why" for each of postgres and redis. Does no I/O. */
bool session_ready(struct buf *verbose);

#endif
