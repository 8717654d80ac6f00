/* echo.h: a small server on the gateway's transport side and its protocol objects, for conformance suites and tests: raw Engine.IO at /engine.io/, Socket.IO at
 * /socket.io/. What it says over Socket.IO is its profile's. */
#ifndef TESTS_ECHO_H
#define TESTS_ECHO_H

#include "realtime/link.h"
#include "realtime/socketio.h"

#define ECHO_NAMESPACES_MAX 8

/* The user of a link of /socket.io/. */
struct peer {
    struct link *link;
    struct sio_session session;
    struct sio_place places[ECHO_NAMESPACES_MAX];
    char ids[ECHO_NAMESPACES_MAX][EIO_SID_LEN + 1]; /* Socket.IO sids */
    struct loop_timer timer;
    char *query;   /* of the first request, as a JSON object */
    int64_t asked; /* acks that the profile has asked for */
    bool got[2];   /* what the profile remembers */
};

struct profile {
    const char *name;
    int ping_interval, ping_timeout, connect_timeout; /* ms */
    int opening_ms;                                   /* each session opens so much later */
    const char *const *namespaces;
    int count;
    const char *(*refuse)(const struct peer *p, int ns); /* a message, or NULL: welcome; the function may be NULL */
    void (*connected)(struct peer *p, int ns, const struct sio_packet *packet);
    void (*event)(struct peer *p, int ns, const char *name, const struct sio_packet *packet);
    void (*acked)(struct peer *p, int ns, const struct sio_packet *packet); /* may be NULL */
};
extern const struct profile echo_conformance, echo_client_suite;
extern const struct profile *echo_profile; /* the one in use */

/* Sends an event with these arguments (JSON values with commas between, "" none), and with the attachments of `from` unless that is NULL. */
void echo_emit(struct peer *p, int ns, const char *name, const char *args, size_t len, const struct sio_packet *from);
/* Acknowledges `packet`, if it asks for that, with the attachments of `from` unless that is NULL. */
void echo_ack(struct peer *p, int ns, const struct sio_packet *packet, const char *args, size_t len, const struct sio_packet *from);
/* Sends an event that asks for an ack. */
void echo_ask(struct peer *p, int ns, const char *name);

void echo_on_pair(int i, const char *pair, size_t len); /* for gateway_setup */
void echo_end(void);                                    /* frees what no link owns */

#endif
