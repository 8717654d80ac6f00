/* link.h: an Engine.IO session with its sockets, its queue and its heartbeat. Below it are the transports (polling.c, websocket.c), above it whoever uses it
 * (conn.c: Socket.IO). Loop thread only.
 *
 * Nothing dies in the middle of a callback: link_close() marks, and the end of the loop turn ends, flushes and frees. */
#ifndef REALTIME_LINK_H
#define REALTIME_LINK_H

#include "realtime/engineio.h"
#include "realtime/frame.h"
#include "realtime/loop.h"

struct address;
struct sock;

#define LINK_SLOTS 4 /* frames that an idle link can queue without memory of its own */

enum link_state {
    LINK_OPEN,
    LINK_CLOSING, /* marked; the end of the turn ends it */
    LINK_ENDED    /* its user has been told; what is queued may still be on its way */
};

/* How to close. */
enum link_end {
    LINK_FLUSH, /* by us: what is queued goes out first */
    LINK_BYE,   /* the client said so */
    LINK_CUT    /* at once */
};

struct link {
    struct eio_session eio;
    char sid[EIO_SID_LEN + 1];
    bool base64; /* binary goes as "b…" text */
    bool dirty;
    uint8_t path; /* index into gateway_setup.paths */
    enum link_state state : 8;
    enum link_end end : 8;
    uint16_t close_code;  /* of the WebSocket close frame; 0 = none */
    const char *reason;   /* literal */
    struct sock *held;    /* polling: the GET that waits */
    struct sock *poster;  /* polling: the POST being received */
    struct sock *ws;      /* the transport, once it is WebSocket */
    struct sock *probe;   /* a WebSocket beside polling */
    struct frame **queue; /* ring; `slots` or memory */
    struct frame *slots[LINK_SLOTS];
    uint32_t room, head, count;
    size_t bytes;                 /* queued */
    int64_t progress_ms;          /* when the transport last took something, or the queue began */
    size_t limit, body_limit;     /* of an incoming message, of a polling body */
    uint64_t queued, sent;        /* frames so far */
    uint64_t ping_number, proven; /* frames queued up to the last ping; proven by its pong */
    struct loop_timer timer;      /* heartbeat; what comes after the end */
    struct link *next_dirty, *next_closing, *next_by_sid;
    struct address *address;
    char *origin; /* or NULL */
    void *user;   /* of the layer above */
};

/* Implemented by the layer above. link_on_open: set link->user and link->limit. link_on_close: the last call, at the end of a turn. link_on_turn_end: called
 * repeatedly at the end of each turn until it and the links have nothing more to do; true = it did something. */
void link_on_open(struct link *l);
void link_on_message(struct link *l, const void *p, size_t len, bool binary);
void link_on_proven(struct link *l);
void link_on_close(struct link *l, const char *reason);
bool link_on_turn_end(void);

/* Queues a frame with its attachments: takes no reference of the caller's. Droppable ones are dropped when the transport cannot take them now. */
void link_send(struct link *l, struct frame *f);
/* The first call counts. `reason` is a literal. */
void link_close(struct link *l, const char *reason, enum link_end end);
void link_close_all(const char *reason);
int link_open_count(void);
int link_flushing_count(
    void); /* after link_close_all(): WebSockets that have not got their close frame yet, polling clients that have not come for the end */

/* ---- for the transports ---- */

struct link *link_new(enum eio_transport t, const struct eio_query *q, uint8_t path, struct address *address, const char *origin);
struct link *link_find(const char *sid); /* open ones, and ended ones that owe a poll its end; NULL */
/* Serves the heartbeat; false = the session has just expired. */
bool link_alive(struct link *l);
/* Feeds one packet; from_probe: it came on the probing socket. Returns what the socket has to do (EIO_ANSWER_PROBE, EIO_SWITCH, EIO_DROP_SOCKET), else EIO_IGNORE;
 * EIO_BROKEN: the session is being closed because of it. */
enum eio_verdict link_feed(struct link *l, const struct eio_packet *p, bool from_probe);
void link_switched(struct link *l);                        /* the metric of transports, after eio_input() has switched */
void link_touch(struct link *l);                           /* something may be flushed at the end of the turn */
struct frame *link_peek(const struct link *l, uint32_t i); /* the i-th queued frame, or NULL */
void link_pop(struct link *l);
void link_settle(struct link *l); /* an ended link frees itself when no socket needs it any more */
void link_turn_end(void);         /* end, flush, free */

#endif
