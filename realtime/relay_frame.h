/* relay_frame.h: what gateways say to each other, without I/O. A gateway that gets a request for another's session (the front) dials the session's own gateway
 * (the owner). Both prove that they know the secret, bound to both names and to fresh random bytes of both sides; keys of this connection alone follow, one for each
 * direction. Then frames go, each numbered and with a MAC: what is forged, repeated, reordered or left out ends the connection. Nothing is encrypted.
 *
 * A stream is one polling request or one WebSocket of a client. Fronts number theirs; a number is not used twice on a connection. */
#ifndef REALTIME_RELAY_FRAME_H
#define REALTIME_RELAY_FRAME_H

#include "core/buf.h"
#include "realtime/engineio.h"

#define RELAY_NAME_LEN 24 /* a node's name, padded with zeros */
#define RELAY_SECRET_LEN 32
#define RELAY_HELLO_LEN (4 + 2 * RELAY_NAME_LEN + 32)
#define RELAY_CHALLENGE_LEN (4 + 32 + 32)
#define RELAY_PROOF_LEN 32
#define RELAY_HEAD_LEN 17 /* u32 length of the payload, u64 number, u32 stream, u8 type; big-endian, like all numbers here */
#define RELAY_MAC_LEN 16
#define RELAY_PAYLOAD_MAX 65536
#define RELAY_PIECE_MAX 32768 /* how much of a body or message goes into one frame */
#define RELAY_STREAM_NONE 0   /* of frames about the connection itself */

/* clang-format off */
/*    name          sender  least  most                  what */
#define RELAY_TYPES(T) \
    T(PING,         FRONT,  0,     0)                 /* each side may count on hearing from the other */ \
    T(PONG,         OWNER,  0,     0) \
    T(REQUEST,      FRONT,  30,    30)                /* begins a stream: struct relay_request */ \
    T(BODY,         FRONT,  1,     RELAY_PAYLOAD_MAX) /* bytes of it, as they come */ \
    T(BODY_END,     FRONT,  0,     0) \
    T(OPEN,         FRONT,  20,    20)                /* begins a stream: a WebSocket for the session of this sid */ \
    T(PIECE,        FRONT,  5,     RELAY_PAYLOAD_MAX) /* of a WebSocket message: struct relay_piece, bytes */ \
    T(WROTE,        FRONT,  4,     4)                 /* so many bytes of DATA have been taken by the kernel */ \
    T(GONE,         FRONT,  21,    21)                /* ends the stream: enum relay_gone, the sid */ \
    T(LET_GO,       FRONT,  0,     0)                 /* this gateway ends: a waiting GET is to be answered now */ \
    T(ANSWER,       OWNER,  9,     600)               /* struct relay_answer; ends the stream if it says so, when the body is there */ \
    T(ANSWER_BODY,  OWNER,  1,     RELAY_PAYLOAD_MAX) \
    T(DATA,         OWNER,  2,     RELAY_PAYLOAD_MAX) /* u8: 1 = ends at the end of a frame; bytes of WebSocket frames for the client */ \
    T(END,          OWNER,  2,     2)                 /* ends the stream: the close code, 0 = none */ \
    T(KILL,         OWNER,  0,     0)                 /* ends the stream: hang up on the client */
enum relay_type {
#define T(name, sender, least, most) RELAY_##name,
    RELAY_TYPES(T)
#undef T
    RELAY_TYPE_COUNT
};
/* clang-format on */
enum relay_side { RELAY_FRONT, RELAY_OWNER };

/* Why a front has no client any more. */
enum relay_gone {
    RELAY_GONE_LOST,   /* its connection has ended */
    RELAY_GONE_UNREAD, /* likewise, and nothing of the body counts */
    RELAY_GONE_UNTOLD  /* likewise, of a GET: if it has been answered meanwhile, nobody has seen what the answer held */
};
#define RELAY_GONE_LEN (1 + EIO_SID_LEN)

/* ---- the start ---- */

/* One handshake, on either side. `secret` is wiped by relay_shake_keys(). */
struct relay_shake {
    uint8_t secret[RELAY_SECRET_LEN];
    char transcript[RELAY_HELLO_LEN + 4 + 32];
};
void relay_hello_make(struct relay_shake *s, const char *from, const char *to, char out[RELAY_HELLO_LEN]);
/* 0 and who says so (not proven yet), or -1: not a hello, or not one to `self`. */
int relay_hello_read(struct relay_shake *s, const char in[RELAY_HELLO_LEN], const char *self, char from_r[RELAY_NAME_LEN + 1])
    __attribute__((warn_unused_result));
void relay_challenge_make(struct relay_shake *s, char out[RELAY_CHALLENGE_LEN]); /* holds the owner's proof */
int relay_challenge_read(struct relay_shake *s, const char in[RELAY_CHALLENGE_LEN]) __attribute__((warn_unused_result));
void relay_proof_make(const struct relay_shake *s, char out[RELAY_PROOF_LEN]);
int relay_proof_read(const struct relay_shake *s, const char in[RELAY_PROOF_LEN]) __attribute__((warn_unused_result));

/* ---- frames ---- */

/* One direction of a connection. */
struct relay_seal {
    uint8_t key[32];
    uint64_t number; /* of the next frame */
};
void relay_shake_keys(struct relay_shake *s, struct relay_seal *front_r, struct relay_seal *owner_r);

struct relay_frame {
    enum relay_type type;
    uint32_t stream;
    const char *data;
    size_t len;
};
/* Payload: `head`, then `data`. */
void relay_frame_add(struct buf *out, struct relay_seal *seal, enum relay_type type, uint32_t stream, const void *head, size_t head_len,
                     const void *data, size_t len);
/* The frame at p, which leads into p: 1, and how many bytes it takes; 0 more bytes are needed; -1 and a literal that says what is wrong: "length", "number",
 * "type", "mac". `sender` is the other side. */
int relay_frame_next(struct relay_seal *seal, enum relay_side sender, const char *p, size_t len, struct relay_frame *f_r, size_t *used_r,
                     const char **why_r) __attribute__((warn_unused_result));

/* ---- payloads ---- */

struct relay_request {
    enum eio_method method;
    bool websocket, octets; /* the query's transport; a body that is not text */
    int64_t length;         /* of the body; -1 absent */
    char sid[EIO_SID_LEN + 1];
};
void relay_request_write(struct buf *out, const struct relay_request *r);
int relay_request_read(const struct relay_frame *f, struct relay_request *r_r) __attribute__((warn_unused_result));

struct relay_answer {
    int status;
    bool end, close;
    uint32_t len; /* of the body, which follows in ANSWER_BODY frames */
    char type[64], extra[256];
};
void relay_answer_write(struct buf *out, const struct relay_answer *w);
int relay_answer_read(const struct relay_frame *f, struct relay_answer *w_r) __attribute__((warn_unused_result));

#define RELAY_PIECE_HEAD 5
struct relay_piece {
    bool first, last, binary;
    size_t rest; /* of its fragment, behind this piece; UINT32_MAX: so much or more */
};
void relay_piece_write(char out[RELAY_PIECE_HEAD], const struct relay_piece *p);
void relay_piece_read(const struct relay_frame *f, struct relay_piece *p_r);

void relay_put(char *out, uint64_t n, int bytes);
uint64_t relay_get(const char *p, int bytes);

#endif
