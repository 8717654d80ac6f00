/* engineio.h: Engine.IO v4 without I/O: packets, payloads, the check of a request and the state of a session. Whoever carries the bytes feeds what arrived and
 * obeys the verdict. Nothing here knows Socket.IO. */
#ifndef REALTIME_ENGINEIO_H
#define REALTIME_ENGINEIO_H

#include "core/arena.h"
#include "core/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EIO_SEPARATOR '\x1e'
#define EIO_SID_LEN 20
#define EIO_NODE_LEN 3 /* characters of the sid that name its node */
#define EIO_PACKETS_PER_POST 256
#define EIO_PACKETS_PER_POLL 16 /* python-engineio gives up on more */

enum eio_type { EIO_OPEN, EIO_CLOSE, EIO_PING, EIO_PONG, EIO_MESSAGE, EIO_UPGRADE, EIO_NOOP };

struct eio_packet {
    enum eio_type type;
    bool binary;      /* a message whose data are bytes, not text */
    const char *data; /* behind the type digit; not NUL-terminated */
    size_t len;
};

/* One packet in text form (a WebSocket text message, a part of a polling body): type digit and data, or "b" and base64 (strict: standard alphabet, padding,
 * zero trailing bits). Decoded bytes belong to the arena. 0, or -1: undecodable. The text's UTF-8 is the caller's to check. */
int eio_decode(struct arena *a, const char *text, size_t len, struct eio_packet *p_r) __attribute__((warn_unused_result));

/* Walks a polling body. Start with {body, len, 0}. 1 and a packet; 0 at the end; -1 undecodable (also an empty body or part, more than
 * EIO_PACKETS_PER_POST packets): what came before it counts. */
struct eio_payload {
    const char *next; /* NULL at the end */
    size_t left;
    int packets;
};
int eio_payload_next(struct eio_payload *it, struct arena *a, struct eio_packet *p_r) __attribute__((warn_unused_result));

bool eio_utf8_valid(const char *p, size_t len);
void eio_add_binary(struct buf *out, const void *p, size_t len); /* "b" and base64 */
void eio_add_open(struct buf *out, const char *sid, bool upgrades, int ping_interval_ms, int ping_timeout_ms, int max_payload);
/* EIO_SID_LEN characters of [A-Za-z0-9_-] and a NUL: the first three of `node`, the rest random (102 bits). */
void eio_make_sid(const char *node, char out[EIO_SID_LEN + 1]);

/* ---- requests ---- */

/* clang-format off */
/* What may be wrong with a request: code, HTTP status and message as in the reference. */
#define EIO_REFUSALS(R) \
    R(UNKNOWN_TRANSPORT,   0, 400, "Transport unknown") \
    R(UNKNOWN_SID,         1, 400, "Session ID unknown") \
    R(BAD_METHOD,          2, 400, "Bad handshake method") \
    R(BAD_REQUEST,         3, 400, "Bad request") \
    R(FORBIDDEN,           4, 403, "Forbidden") \
    R(UNSUPPORTED_VERSION, 5, 400, "Unsupported protocol version")
enum eio_refusal {
#define R(name, code, status, text) EIO_R_##name,
    EIO_REFUSALS(R)
#undef R
    EIO_ADMITTED
};
/* clang-format on */
int eio_refusal_status(enum eio_refusal r);
const char *eio_refusal_text(enum eio_refusal r);
void eio_add_refusal(struct buf *out, enum eio_refusal r); /* {"code":…,"message":"…"} */

/* The query as far as it is Engine.IO's. Values that are too long to be valid are cut, which keeps them invalid. */
struct eio_query {
    bool has_sid, base64; /* b64=1: the client takes no binary frames */
    char transport[12], sid[EIO_SID_LEN + 2], version[4];
};
/* One percent-decoded "key=value"; the last of several counts; other keys are the application's. */
void eio_query_add(struct eio_query *q, const char *pair, size_t len);

enum eio_method { EIO_GET, EIO_POST, EIO_OTHER_METHOD };
struct eio_request {
    const struct eio_query *query;
    enum eio_method method;
    bool upgrade;       /* a WebSocket handshake */
    const char *origin; /* header or NULL */
    bool origin_allowed;
    const struct eio_session *session; /* the one that the sid names, or NULL */
};
enum eio_refusal eio_check(const struct eio_request *r);

/* ---- sessions ---- */

enum eio_transport { EIO_POLLING, EIO_WEBSOCKET };
enum eio_probe { EIO_NO_PROBE, EIO_PROBE_OPEN, EIO_PROBED };

struct eio_session {
    enum eio_transport transport : 8;
    enum eio_probe probe : 8; /* of a WebSocket beside polling */
    bool awaiting_pong;
    int interval_ms, timeout_ms;
    int late_ms;       /* how late the last ping was; the next one comes so much earlier */
    int64_t due_ms;    /* absolute: of the next ping, or of the pong that is awaited */
    int64_t latest_ms; /* how far eio_progress() may move due_ms */
};
void eio_session_init(struct eio_session *s, enum eio_transport t, int interval_ms, int timeout_ms, int64_t now_ms);

/* What to do about a packet. */
enum eio_verdict {
    EIO_IGNORE,
    EIO_DELIVER,      /* a message */
    EIO_PROVEN,       /* the pong: everything sent before the ping has arrived */
    EIO_END,          /* the client closes the session: "transport close" */
    EIO_BROKEN,       /* a protocol error: close the session, "parse error" */
    EIO_ANSWER_PROBE, /* send "3probe" on the probing socket */
    EIO_SWITCH,       /* the probing socket is the transport now */
    EIO_DROP_SOCKET   /* close the probing socket; the session goes on */
};
enum eio_verdict eio_input(struct eio_session *s, bool from_probe, const struct eio_packet *p, int64_t now_ms);

/* A WebSocket handshake for an open session: true = it probes now, false = close that socket. And its end without EIO_SWITCH. */
bool eio_probe_start(struct eio_session *s);
void eio_probe_stop(struct eio_session *s);

/* The heartbeat. Call it at due_ms, and before serving any request of the session: a late timer must not keep a dead session alive. Nor does a late ping move
 * the pong's deadline, as long as at least half of the timeout is left for it. */
enum eio_beat { EIO_WAIT, EIO_SEND_PING, EIO_EXPIRED };
enum eio_beat eio_beat(struct eio_session *s, int64_t now_ms);
/* Part of a message has arrived: its upload may take the pong's time, within bounds. */
void eio_progress(struct eio_session *s, int64_t now_ms);

#endif
