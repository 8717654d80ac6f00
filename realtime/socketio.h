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
};

/* Reads one packet's text. A packet with attachments comes without them (blobs has room for `count`). 0, or -1 and *e: the session must be closed. */
int sio_read(struct arena *a, const char *text, size_t len, struct sio_packet *p_r, struct err *e) __attribute__((warn_unused_result));

/* The event's name as text (a number is printed). Belongs to the arena. */
const char *sio_event_name(struct arena *a, const struct sio_packet *p);

/* Puts packets and their attachments together: one for each Engine.IO session. A zeroed struct is idle. */
struct sio_decoder {
    struct arena *arena; /* of the packet below; NULL = idle */
    struct sio_packet packet;
    int have; /* attachments so far */
    size_t bytes;
    int64_t since_ms;
    size_t bytes_most; /* limits of its own, set by the user; 0: those above */
    int attachments_most;
};
/* Feeds one Engine.IO message. 1: d->packet is complete and valid until sio_release(), which must come before the next feed; 0: attachments are awaited;
 * -1 and *e: the session must be closed (text inside a run, bytes outside of one, limits, what sio_read() refuses). */
int sio_feed(struct sio_decoder *d, const void *p, size_t len, bool binary, int64_t now_ms, struct err *e)
    __attribute__((warn_unused_result));
bool sio_collecting(const struct sio_decoder *d); /* attachments are awaited */
void sio_release(struct sio_decoder *d);          /* also ends a run */

/* Appends a packet's text. json may be NULL; ack_id SIO_NO_ACK = none; attachments > 0 makes EVENT and ACK binary: the caller sends them right behind it and
 * has numbered the placeholders depth first. */
void sio_add(struct buf *out, enum sio_type type, const char *nsp, int64_t ack_id, int attachments, const char *json, size_t len);
void sio_add_connect(struct buf *out, const char *nsp, const char *sid);
void sio_add_connect_error(struct buf *out, const char *nsp, const char *message, const char *data_json); /* data_json may be NULL */

#endif
