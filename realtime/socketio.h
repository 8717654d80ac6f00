/* socketio.h: Socket.IO v5 packets without I/O: reading, reassembly of attachments, writing. The Engine.IO type digit ("4") is not part of these texts. */
#ifndef REALTIME_SOCKETIO_H
#define REALTIME_SOCKETIO_H

#include "core/arena.h"
#include "core/buf.h"
#include "core/err.h"
#include "core/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIO_NAMESPACE_MAX 128
#define SIO_ATTACHMENTS_MAX 10
#define SIO_ACK_DIGITS_MAX 15
#define SIO_RUN_BYTES_MAX 4000000 /* of all attachments of a packet */
#define SIO_RUN_MS_MAX 30000      /* until the last of them */
#define SIO_NO_ACK (-1)

enum sio_type { SIO_CONNECT, SIO_DISCONNECT, SIO_EVENT, SIO_ACK, SIO_CONNECT_ERROR, SIO_BINARY_EVENT, SIO_BINARY_ACK };

struct sio_blob {
    const void *data;
    size_t len;
};

/* A packet as received. Everything belongs to the arena it was read into. */
struct sio_packet {
    enum sio_type type; /* BINARY_EVENT and BINARY_ACK become EVENT and ACK; `binary` says so */
    bool binary;        /* {"_placeholder":true,"num":i} in data stands for blobs[i] */
    const char *nsp;    /* "/" when it was left out */
    int64_t ack_id;     /* or SIO_NO_ACK */
    json_t *data;       /* CONNECT: object or NULL. EVENT: array, its first item a string or number. ACK: array. DISCONNECT: NULL */
    int count;          /* attachments */
    struct sio_blob *blobs;
    /* Only of a decoder with `loosely`, if there are data: the text of CONNECT's object, or of the arguments of EVENT and ACK, as it came. */
    const char *raw;
    size_t raw_len;
};

/* Reads one packet's text. A packet with attachments comes without them (blobs has room for `count`). 0, or -1 and *e: the session must be closed. */
int sio_read(struct arena *a, const char *text, size_t len, struct sio_packet *p_r, struct err *e) __attribute__((warn_unused_result));

/* The event's name as text (a number is printed). Belongs to the arena. */
const char *sio_event_name(struct arena *a, const struct sio_packet *p);

/* Puts packets and their attachments together: one for each Engine.IO session. A zeroed struct is idle. */
struct sio_decoder {
    bool loosely;        /* set by the user: any JSON is taken (json_read_loosely()) and kept as it came in packet.raw */
    struct arena *arena; /* of the packet below; NULL = idle */
    struct sio_packet packet;
    int have; /* attachments so far */
    size_t bytes;
    int64_t since_ms;
};
/* Feeds one Engine.IO message. 1: d->packet is complete and valid until sio_release(), which must come before the next feed; 0: attachments are awaited;
 * -1 and *e: the session must be closed (text inside a run, bytes outside of one, limits, what sio_read() refuses). */
int sio_feed(struct sio_decoder *d, const void *p, size_t len, bool binary, int64_t now_ms, struct err *e)
    __attribute__((warn_unused_result));
bool sio_collecting(const struct sio_decoder *d); /* attachments are awaited */
void sio_release(struct sio_decoder *d);          /* also ends a run */

/* ---- sessions ---- */

/* The namespaces that are served, and for how long what may last; the same for all sessions. */
struct sio_service {
    const char *const *names;
    int count;
    int join_ms;  /* a session that is in no namespace is closed after this */
    int grace_ms; /* packets under way to a namespace just left are dropped for so long */
};

/* A session in one of these namespaces. */
struct sio_place {
    enum { SIO_OUTSIDE, SIO_JOINING, SIO_JOINED } state;
    int64_t left_until_ms; /* end of the grace */
};

/* The Socket.IO side of an Engine.IO session. */
struct sio_session {
    const struct sio_service *service;
    struct sio_place *places; /* service->count of them; the owner's */
    int64_t join_by_ms;       /* 0: has joined */
    struct sio_decoder decoder;
};
/* `places` is zeroed memory. */
void sio_session_init(struct sio_session *s, const struct sio_service *service, struct sio_place *places, int64_t now_ms);
void sio_session_end(struct sio_session *s); /* frees what was being received */

/* What to do about a message. */
enum sio_verdict {
    SIO_IGNORE,       /* attachments are awaited, or it was for a namespace just left */
    SIO_JOIN,         /* CONNECT: answer with CONNECT and sio_joined(), or with CONNECT_ERROR and sio_left(), now or later */
    SIO_JOIN_AGAIN,   /* CONNECT to where it is, or is about to be: clients mean nothing by it */
    SIO_JOIN_UNKNOWN, /* CONNECT to none of ours: answer with CONNECT_ERROR */
    SIO_LEAVE,        /* DISCONNECT: the session is outside now */
    SIO_DELIVER,      /* an event, or an ack */
    SIO_BROKEN        /* close the session, "parse error"; *e says why */
};
/* Feeds one Engine.IO message. The packet, if the verdict is about one, is s->decoder.packet until sio_done(), which must follow; *ns_r is its namespace (-1:
 * unknown). */
enum sio_verdict sio_input(struct sio_session *s, const void *p, size_t len, bool binary, int64_t now_ms, int *ns_r, struct err *e);
void sio_done(struct sio_session *s);

void sio_joined(struct sio_session *s, int ns);               /* the answer to SIO_JOIN was yes */
void sio_left(struct sio_session *s, int ns, int64_t now_ms); /* the answer was no, or the server ends it */

/* Time. sio_due_ms(): when to call sio_beat(), or 0: never; it changes with each call above. sio_beat(): why to close the session, or NULL. */
int64_t sio_due_ms(const struct sio_session *s);
const char *sio_beat(const struct sio_session *s, int64_t now_ms);

/* ---- writing ---- */

/* Appends a packet's text. json may be NULL; ack_id SIO_NO_ACK = none; attachments > 0 makes EVENT and ACK binary: the caller sends them right behind it and
 * has numbered the placeholders depth first. */
void sio_add(struct buf *out, enum sio_type type, const char *nsp, int64_t ack_id, int attachments, const char *json, size_t len);
void sio_add_connect(struct buf *out, const char *nsp, const char *sid);
void sio_add_connect_error(struct buf *out, const char *nsp, const char *message, const char *data_json); /* data_json may be NULL */

#endif
