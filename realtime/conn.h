/* conn.h: a Socket.IO connection as the event code sees it: one authenticated namespace of one Engine.IO session. Everything here runs on the loop thread.
 *
 * The transport side (gateway.c, conn.c: Engine.IO, Socket.IO, lws) calls the session_* functions, which the event side (session.c, dispatch.c) implements; the
 * event side calls conn_*. Nothing is written at once: frames are queued by reference and each dirty connection is flushed at the end of the loop turn. */
#ifndef REALTIME_CONN_H
#define REALTIME_CONN_H

#include "core/json.h"
#include "realtime/events.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conn;

/* Survives the connection: conn_get() is NULL once it has gone (index and generation). */
struct conn_ref {
    uint32_t index, generation;
};
struct conn_ref conn_ref_of(const struct conn *c);
struct conn *conn_get(struct conn_ref r);

/* One event encoded once and shared by all receivers: the Socket.IO packet, in WebSocket framing and as polling text. Reference-counted (loop thread only). */
struct frame;
/* payload: one JSON value, the event's only argument (NULL = no argument). ack_id >= 0 asks the client for an ack with that id. One reference. */
struct frame *frame_new(enum rt_event ev, const char *payload, size_t len, int64_t ack_id);
struct frame *frame_ref(struct frame *f);
void frame_unref(struct frame *f);

/* Queues a reference. Volatile events are dropped when the transport cannot take them now; a full queue closes the connection as a slow consumer. Nothing
 * happens after conn_close(). */
void conn_send(struct conn *c, struct frame *f);
/* frame_new + conn_send + frame_unref. */
void conn_emit(struct conn *c, enum rt_event ev, const char *payload, size_t len);
/* Answers an event: payload is the ack's single object. */
void conn_ack(struct conn *c, int64_t ack_id, const char *payload, size_t len);
/* Every byte queued so far has been handed to the kernel and, if an Engine.IO ping was sent since, its pong is back: transport proof of delivery. A counter
 * that grows: conn_queued() numbers what was queued, conn_proven() the last of it that is proven. */
uint64_t conn_queued(const struct conn *c);
uint64_t conn_proven(const struct conn *c);
/* Bytes queued that the transport has not taken yet: whoever sends in bulk waits while it is large. */
size_t conn_backlog(const struct conn *c);

/* What the client may send from now on; of several namespaces the largest counts. */
struct conn_limits {
    size_t message, attachment_bytes; /* of one packet; of all its attachments together */
    int attachments;
};
void conn_set_limits(struct conn *c, const struct conn_limits *limits);

/* Accepts (CONNECT reply) or refuses (CONNECT_ERROR {message:code, data:{code,detail,retryable}}) a connection that session_connect() left pending. */
void conn_accept(struct conn *c);
void conn_refuse(struct conn *c, const struct err *e);
/* Ends it: DISCONNECT packet (the client does not come back by itself), or the transport is closed (the client reconnects). `reason` is a literal for logs and
 * metrics. session_closed() follows at the end of the turn. */
void conn_disconnect(struct conn *c, const char *reason);
void conn_close(struct conn *c, const char *reason);
/* Has nothing more to do here: the transport is closed when all namespaces of the Engine.IO session have said so. */
void conn_leave(struct conn *c, const char *reason);
/* A number from 0 to n - 1, the same for all namespaces of an Engine.IO session, spread evenly over sessions. */
uint32_t conn_spread(const struct conn *c, uint32_t n);

const char *conn_id(const struct conn *c);        /* Socket.IO sid, 20 characters, public */
const char *conn_transport(const struct conn *c); /* "polling" or "websocket", now */
const char *conn_address(const struct conn *c);   /* peer's address text */
const char *conn_origin(const struct conn *c);    /* Origin header or NULL */
const char *conn_namespace(const struct conn *c); /* "/" or "/game" */

/* The event side's own data of a connection (struct session), and back. */
void conn_set_user(struct conn *c, void *user);
void *conn_user(const struct conn *c);

/* Implemented by the event side. auth: the CONNECT object or NULL, owned by the caller. args: the array behind the event name, owned by the caller;
 * binary: whether attachments were in it (refused by events that take none). ack_id -1: the client wants none. */
void session_connect(struct conn *c, const json_t *auth);
void session_event(struct conn *c, const char *name, json_t *args, bool binary, int64_t ack_id);
void session_acked(struct conn *c, int64_t ack_id, const json_t *args); /* the client's ack of a frame_new() with ack id */
void session_proven(struct conn *c);                                    /* conn_proven() has grown */
/* Last call for c, exactly once after each session_connect(), at the end of a turn (also after conn_refuse()); conn_user() is still there. */
void session_closed(struct conn *c, const char *reason);

#endif
