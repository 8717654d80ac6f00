/* relay.h: sessions survive any balancer. A request or WebSocket that lands at another gateway than its session's is passed on: the gateway where it landed (the
 * front) terminates HTTP and WebSocket, the session's own (the owner) decides everything else. Connections, frames and proofs: relay_frame.h. Loop thread only,
 * unless a line says otherwise.
 *
 * Nothing here touches storage: whoever reads the leases tells relay_nodes(). Until relay_start() no session is elsewhere. */
#ifndef REALTIME_RELAY_H
#define REALTIME_RELAY_H

#include "core/err.h"
#include "realtime/sock.h"

#define RELAY_NAME_MAX 24
#define RELAY_ADDRESS_MAX 79

int relay_start(struct err *e) __attribute__((warn_unused_result)); /* listens; before the lease is written */
void relay_drain(void); /* what landed here for others is ended, also what still lands: the clients come back elsewhere */
int relay_busy(void);   /* what has not ended since, or not gone out */
void relay_stop(void);
void relay_turn_begin(void);     /* ends the connections that are to end: before link_turn_end() */
void relay_turn_end(void);       /* sends what the turn has made: after it */
const char *relay_address(void); /* host:port for the lease, constant once started; "" before. Any thread */

/* The live gateways but this one, from a reading of the leases: those missing in it are not there. `reading` is what relay_reading() said before it began. */
struct relay_node {
    char id[RELAY_NAME_MAX + 1], address[RELAY_ADDRESS_MAX + 1];
};
uint64_t relay_reading(void);
void relay_nodes(const struct relay_node *nodes, int n, uint64_t reading);
/* fn is called when a sid names a node that no reading has shown: another one should follow soon. Calls are at least 250 ms apart. */
void relay_on_miss(void (*fn)(void));

/* ---- the front: what landed here for other gateways' sessions (sock->visit) ---- */

/* Whether this request, whose session is not here, is one for another gateway: one that is known to live, or, if `may_seek`, one that may. */
bool relay_takes(const struct request *r, bool may_seek);
/* The callbacks of lws for such a socket. Results as lws wants them: 0, or -1 = hang up. */
int relay_front_request(struct sock *s, const struct request *r) __attribute__((warn_unused_result));
int relay_front_body(struct sock *s, const char *p, size_t len) __attribute__((warn_unused_result));
int relay_front_body_end(struct sock *s) __attribute__((warn_unused_result));
void relay_front_open(struct sock *s, const struct request *r); /* a WebSocket */
int relay_front_receive(struct sock *s, const struct piece *p) __attribute__((warn_unused_result));
void relay_front_writable(struct sock *s);
void relay_front_lost(struct sock *s); /* the client's connection has ended */

#endif
