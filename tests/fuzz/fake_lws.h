/* fake_lws.h: the libwebsockets that gateway.c, http.c, polling.c and websocket.c see: the same callbacks in the same order as 4.1.6, without sockets. What the
 * gateway writes goes to fake_wrote(). */
#ifndef TESTS_FUZZ_FAKE_LWS_H
#define TESTS_FUZZ_FAKE_LWS_H

#include <libwebsockets.h>
#include <stdbool.h>
#include <stddef.h>

#define FAKES_MAX 10
#define FAKE_FD 100000 /* of the first one */

/* A request as lws has read it. */
struct fake_request {
    int method; /* LWSHUMETH_… */
    const char *path, *query, *origin, *upgrade, *type;
    long length; /* of the body, -1: no header */
};

struct lws {
    bool used, ws, transaction, paused, wants_write, buffered, kill, lost;
    bool first, final, binary, fragmented;
    void *opaque;
    size_t room;      /* bytes that the kernel still takes */
    size_t remaining; /* of the frame being received */
    size_t body_left;
    struct fake_request request;
};
extern struct lws fakes[FAKES_MAX];

/* Implemented by the fuzzer: bytes have gone out on a connection; it has gone. */
void fake_wrote(struct lws *wsi, const void *p, size_t len);
void fake_closed(struct lws *wsi);

struct lws *fake_adopted(void); /* the one that lws_adopt_descriptor…() will return next */
void fake_http(struct lws *wsi, const struct fake_request *r);
void fake_body(struct lws *wsi, const char *p, size_t len); /* of a request with a length */
void fake_upgrade(struct lws *wsi, const struct fake_request *r);
void fake_frame(struct lws *wsi, const char *p, size_t len, bool binary, bool final);
void fake_peer_closes(struct lws *wsi); /* by a close frame */
void fake_lose(struct lws *wsi);        /* by a reset */
void fake_serve(void);                  /* what lws does between turns: writable connections, and those it was told to kill */

#endif
