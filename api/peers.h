/* peers.h: every connection has until a deadline for its next step: its request line, then the whole request and the reading of the reply. The library's own
 * time-out starts anew with each byte, so a peer that sends one byte in a while would never meet it. */
#ifndef API_PEERS_H
#define API_PEERS_H

#define PEER_STEP_MS 14500

struct peer;

struct peer *peers_add(int fd);
void peers_step(struct peer *p);   /* the step is done: the next one has its whole time */
void peers_remove(struct peer *p); /* before its descriptor is closed */
int peers_count(void);

/* Once: the thread that ends connections past their deadline. */
void peers_start(void);

#endif
