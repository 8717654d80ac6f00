/* frame.h: a packet encoded once, in WebSocket framing; its payload alone is what a polling body holds. For the transport side; event code sees conn.h. */
#ifndef REALTIME_FRAME_H
#define REALTIME_FRAME_H

#include "realtime/conn.h"

#define FRAME_HEAD_MAX 10
#define NAMESPACES(N) N(ROOT, "/") N(GAME, "/game")

enum namespace {
#define N(name, text) NS_##name,
    NAMESPACES(N)
#undef N
        NS_COUNT
};
extern const char *const namespace_names[NS_COUNT];

struct frame {
    uint32_t refs;
    uint32_t len;               /* of the payload */
    uint8_t head;               /* bytes of WebSocket header in front of it */
    bool binary;                /* payload is raw bytes; base64 where those cannot be sent */
    bool droppable;             /* a volatile event */
    struct frame *next;         /* the attachment that must follow directly, or NULL; one reference */
    struct frame *in[NS_COUNT]; /* an event as sent in other namespaces than "/", made on first use; one reference each */
    char bytes[];               /* head + len */
};

/* One reference each. `text` starts with the Engine.IO type digit. */
struct frame *frame_text(const char *text, size_t len);
struct frame *frame_binary(const void *p, size_t len);
struct frame *frame_base64(const struct frame *binary);     /* the same message as a "b…" text frame */
struct frame *frame_in(struct frame *f, enum namespace ns); /* the variant for ns; no new reference */

#endif
