/* sock.h: one TCP connection: what lws calls a wsi, with what we know about it. Shared by gateway.c, http.c, accept.c, polling.c and websocket.c. */
#ifndef REALTIME_SOCK_H
#define REALTIME_SOCK_H

#include "core/buf.h"
#include "core/err.h"
#include "realtime/engineio.h"
#include "realtime/loop.h"

#include <libwebsockets.h>

struct link;
struct sock;
struct answer;
struct iovec;

/* How a socket's bytes travel: lws carries those of a connection of our own (sock_direct, accept.c). Polling and WebSocket are written against this. */
struct sock_ops {
    /* An HTTP answer; `end`: with it the transaction ends, and the rest of the request has been read. 0, or -1: hang up. */
    int (*answer)(struct sock *s, const struct answer *w, bool end);
    void (*answer_held)(struct sock *s, const struct answer *w); /* the same with the end, to a request on hold */
    void (*hold)(struct sock *s);                                /* nothing more is read, but the peer's end is noticed */
    bool (*hung_up)(const struct sock *s);                       /* of a request on hold: whether the peer has gone just now */
    /* WebSocket frames, one each: how many were taken, -1 broken. Sets `blocked` when no more go now; websocket_writable() follows then. */
    int (*send)(struct sock *s, const struct iovec *frames, int n);
    void (*send_short)(struct sock *s, const void *frame, size_t len); /* behind what was sent; up to 32 bytes */
    void (*close)(struct sock *s, uint16_t code);                      /* the close frame, and the connection's end in peace; 0: no code */
    void (*kill)(struct sock *s);                                      /* the connection's end at once; sock_lost() has been called */
};
extern const struct sock_ops sock_direct;

enum sock_state {
    SOCK_IDLE,   /* HTTP between requests */
    SOCK_BODY,   /* a POST is being received */
    SOCK_HELD,   /* a GET waits for something to tell */
    SOCK_PROBE,  /* WebSocket that may become its session's transport */
    SOCK_WS,     /* WebSocket, transport of its session */
    SOCK_ENDING, /* WebSocket after the close frame */
    SOCK_DEAD    /* lws has been told to kill it, or has */
};

/* Peers' addresses: live sockets and sessions count against the limit (polling sessions need no socket); the entry lives as long as anybody refers to it. */
struct address {
    struct address *next;
    uint8_t key[16];
    int sockets, links, refs;
    char text[46];
};
struct address *address_ref(struct address *a);
void address_unref(struct address *a);

/* A POST under way. */
struct post {
    struct buf body;
    size_t seen;
    bool answered;            /* early; the rest is swallowed */
    enum eio_refusal refusal; /* the answer when the body is there, or EIO_ADMITTED */
};

struct sock {
    const struct sock_ops *ops;
    struct lws *wsi;
    int fd;
    enum sock_state state;
    bool watched;      /* known to the hang-up watcher */
    bool blocked;      /* waits for websocket_writable() */
    bool broken;       /* an answer could not be written */
    bool gone;         /* WSI_DESTROY has come */
    bool last;         /* the connection ends with the answer to come, as the client wants */
    bool bye;          /* our close frame has gone out */
    bool binary;       /* of the message in rx */
    struct link *link; /* BODY, HELD, PROBE, WS */
    struct address *address;
    struct loop_timer timer;
    struct post *post;
    char *cors;    /* header lines for the answer, or NULL */
    struct buf rx; /* a WebSocket message in pieces */
    uint32_t fragments;
    int64_t until_ms;  /* PROBE: deadline */
    struct sock *next; /* to be freed */
};

/* accept.c */
void sock_lost(struct sock *s);                  /* the connection has ended: what that means for its link */
void sock_kill(struct sock *s);                  /* the same, and lws ends it soon */
void sock_gone(struct sock *s);                  /* lws has destroyed the wsi; freed at the end of the turn */
void sock_turn_end(struct lws_context *context); /* frees what has gone; context NULL: it is being destroyed */
void sock_set_ending(struct sock *s);
int sock_ending_count(void); /* those that wait for the answer to their close frame */
int sock_count(void);

/* http.c */
#define HTTP_HEADERS_MAX 16384 /* request line and headers; lws hangs up beyond it */
#define HTTP_IDLE_MS 30000     /* between requests on one connection */

/* A request, as far as we look at it. */
struct request {
    struct eio_query query;
    enum eio_method method;
    bool options, head, chunked, octets, expects;
    int path; /* index into gateway_setup.paths; -1 none */
    bool livez;
    int64_t length;          /* of the body; -1 absent, -2 malformed */
    char origin[256];        /* "" none */
    char asked_headers[256]; /* of a preflight */
    bool origin_allowed;
    bool last; /* "Connection: close" */
};
struct answer {
    int status;
    const char *type;  /* NULL: none */
    const char *extra; /* header lines, or NULL */
    const void *body;
    size_t len;
    bool close; /* say that the connection ends */
};
bool http_header(struct lws *wsi, enum lws_token_indexes h, char *out, size_t size); /* false, and "": absent or too long */
bool http_printable(const char *s);
int http_read(struct lws *wsi, struct request *r) __attribute__((warn_unused_result));
void http_set_cors(struct sock *s, const struct request *r); /* for the answer to come */
/* Writes an answer. 0, or -1: the connection is broken. */
int http_write(struct sock *s, const struct answer *w) __attribute__((warn_unused_result));
/* http_write() and the end of the transaction. What a callback of lws shall return: 0, or -1 = hang up. */
int http_answer(struct sock *s, const struct answer *w) __attribute__((warn_unused_result));
int http_refuse(struct sock *s, enum eio_refusal r, bool close) __attribute__((warn_unused_result));
/* The same to a request on hold, from anywhere. */
void http_answer_held(struct sock *s, const struct answer *w);

/* polling.c */
int polling_start(struct err *e) __attribute__((warn_unused_result));
void polling_stop(void);
int polling_open(struct sock *s, const struct request *r) __attribute__((warn_unused_result));
int polling_get(struct sock *s, struct link *l) __attribute__((warn_unused_result));
int polling_post(struct sock *s, const struct request *r, struct link *l, enum eio_refusal refusal) __attribute__((warn_unused_result));
int polling_body(struct sock *s, const char *p, size_t len) __attribute__((warn_unused_result));
int polling_body_end(struct sock *s) __attribute__((warn_unused_result));
bool polling_ready(const struct link *l);              /* a GET waits */
void polling_flush(struct link *l);                    /* answers it, if something is queued */
void polling_answer(struct link *l, const char *tail); /* answers it with what is queued and, behind it, `tail` (or NULL) */
void polling_release(struct link *l);                  /* answers it with a noop and leaves the queue alone */

/* websocket.c */
void websocket_open(struct sock *s, const struct request *r, struct link *l); /* l: the session to upgrade, or NULL: a new one */
/* A piece of a message: `rest` bytes of its fragment are still to come. */
struct piece {
    const void *data;
    size_t len, rest;
    bool first, last, binary; /* of a message's first fragment; completes it */
};
int websocket_receive(struct sock *s, const struct piece *p) __attribute__((warn_unused_result));
bool websocket_ready(const struct link *l);
void websocket_flush(struct link *l);
void websocket_writable(struct sock *s);
void websocket_end(struct sock *s, uint16_t code); /* close frame; lets go of the link */

/* What sock_direct consists of. */
int http_direct_answer(struct sock *s, const struct answer *w, bool end) __attribute__((warn_unused_result));
void http_direct_answer_held(struct sock *s, const struct answer *w);
void polling_direct_hold(struct sock *s);
bool polling_direct_hung_up(const struct sock *s);
int websocket_direct_send(struct sock *s, const struct iovec *frames, int n) __attribute__((warn_unused_result));
void websocket_direct_send_short(struct sock *s, const void *frame, size_t len);
void websocket_direct_close(struct sock *s, uint16_t code);

#endif
