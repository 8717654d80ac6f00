/* relay_conn.h: the connections between gateways, for relay*.c alone: one for each pair and direction, dialled by the front. */
#ifndef REALTIME_RELAY_CONN_H
#define REALTIME_RELAY_CONN_H

#include "realtime/relay.h"
#include "realtime/relay_frame.h"
#include "realtime/table.h"

/* DATA under way to one WebSocket: beyond it frames wait in their session's own queue, which has its budget. */
#define RELAY_WINDOW 65536

enum relay_state {
    RELAY_SEEKING, /* front: which node has this prefix? */
    RELAY_DIALLING,
    RELAY_SHAKING,
    RELAY_UP,
    RELAY_DROPPED /* its streams have been told; freed when its handle is closed */
};

struct relay_conn {
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_getaddrinfo_t resolve;
    uv_write_t write;
    enum relay_side side; /* ours: FRONT dialled, OWNER accepted */
    enum relay_state state;
    bool open, resolving, dirty;
    bool congested;                /* much is waiting to be written: nobody should add to it */
    const char *doomed;            /* to be dropped at the end of the turn, and why */
    char peer[RELAY_NAME_LEN + 1]; /* the other node; its first characters while it is sought */
    struct relay_shake shake;
    struct relay_seal in, out;
    struct buf received, waiting, writing;
    struct buf early; /* frames before the connection is up, without number and MAC */
    struct table streams;
    uint32_t last_stream;
    uint64_t reading;           /* the last one that had begun when the seeking began */
    int64_t since_ms, heard_ms; /* of this state; of the last bytes */
    struct loop_timer timer;
    struct relay_conn *next, *next_dirty;
};

/* One request or WebSocket of a client. The front's and the owner's own structs begin with it, or hold it. */
struct relay_stream {
    struct relay_conn *conn; /* NULL: ended, or the connection was lost */
    uint32_t id;
    struct sock *sock;
};
void relay_stream_add(struct relay_conn *c, struct relay_stream *s, uint32_t id); /* id 0: the next one of a front */
void relay_stream_del(struct relay_stream *s);
struct relay_stream *relay_stream_find(const struct relay_conn *c, uint32_t id); /* NULL: has ended here */

/* Goes out at the end of the turn, or once the connection is up. */
void relay_send(const struct relay_stream *s, enum relay_type type, const void *head, size_t head_len, const void *data, size_t len);

extern struct relay_conn *relay_conns; /* all, also dropped ones */
extern uint8_t relay_secret[RELAY_SECRET_LEN];
struct relay_conn *relay_conn_new(enum relay_side side, const char *peer);
void relay_conn_dial(struct relay_conn *c, const struct relay_node *n);
void relay_conn_accept(uv_stream_t *listener);
void relay_conn_doom(struct relay_conn *c, const char *why); /* literal; ends it at the beginning of the next turn */
size_t relay_conn_backlog(const struct relay_conn *c);       /* bytes that have not gone out */
/* Calls fn for each stream; fn may end streams. */
void relay_conn_each(struct relay_conn *c, void (*fn)(struct relay_stream *s));

/* relay.c */
struct relay_conn *relay_conn_for(const char *sid, bool may_seek); /* to the sid's node, made if need be; NULL: it does not live */
void relay_node_failed(const char *id);                            /* could not be reached: not tried again at once */
void relay_node_seen(const char *id);                              /* it has proven itself */
extern bool relay_draining;

/* Implemented by the sides: a frame (-1: it is not one that the other side may send now); the stream's connection is lost (conn is NULL already); what was
 * congested is not any more. */
int relay_front_frame(struct relay_conn *c, const struct relay_frame *f) __attribute__((warn_unused_result));
void relay_front_cut(struct relay_stream *s);
void relay_front_resume(struct relay_stream *s);
void relay_front_let_go(struct relay_stream *s); /* this gateway ends */
int relay_owner_frame(struct relay_conn *c, const struct relay_frame *f) __attribute__((warn_unused_result));
void relay_owner_cut(struct relay_stream *s);
void relay_owner_resume(struct relay_stream *s);

#endif
