#include "realtime/frame.h"

#include "core/buf.h"
#include "realtime/engineio.h"
#include "realtime/socketio.h"

#include <assert.h>

#define OPCODE_TEXT 1
#define OPCODE_BINARY 2

const char *const namespace_names[NS_COUNT] = {
#define N(name, text) text,
    NAMESPACES(N)
#undef N
};

static const struct {
    const char *name; /* NULL: comes from clients only */
    bool droppable;
} events[EV_COUNT] = {
#define RELIABLE false
#define VOLATILE true
#define IN(name, wire, where, feature, rate, ack, handler)
#define OUT(name, wire, where, feature, delivery) [EV_##name] = {wire, delivery},
    RT_EVENTS(IN, OUT)
#undef IN
#undef OUT
#undef RELIABLE
#undef VOLATILE
};

/* A final, unmasked frame (RFC 6455). */
static uint8_t make_head(unsigned char head[FRAME_HEAD_MAX], int opcode, size_t len)
{
    head[0] = (unsigned char)(0x80 | opcode);
    if (len < 126) {
        head[1] = (unsigned char)len;
        return 2;
    }
    int bytes = len < 65536 ? 2 : 8;
    head[1] = bytes == 2 ? 126 : 127;
    for (int i = 0; i < bytes; i++) {
        head[2 + i] = (unsigned char)((uint64_t)len >> (8 * (bytes - 1 - i)));
    }
    return (uint8_t)(2 + bytes);
}

/* The caller fills the payload. */
static struct frame *frame_room(int opcode, size_t len)
{
    unsigned char head[FRAME_HEAD_MAX];
    assert(len < UINT32_MAX - FRAME_HEAD_MAX);
    uint8_t n = make_head(head, opcode, len);
    struct frame *f = malloc(sizeof(*f) + n + len);
    if (f == NULL) {
        fputs("out of memory: frame\n", stderr);
        abort();
    }
    *f = (struct frame){.refs = 1, .len = (uint32_t)len, .head = n, .binary = opcode == OPCODE_BINARY};
    memcpy(f->bytes, head, n);
    return f;
}

struct frame *frame_text(const char *text, size_t len)
{
    struct frame *f = frame_room(OPCODE_TEXT, len);
    memcpy(f->bytes + f->head, text, len);
    return f;
}

struct frame *frame_binary(const void *p, size_t len)
{
    struct frame *f = frame_room(OPCODE_BINARY, len);
    if (len > 0) {
        memcpy(f->bytes + f->head, p, len);
    }
    return f;
}

struct frame *frame_base64(const struct frame *binary)
{
    struct buf text = {0};
    eio_add_binary(&text, binary->bytes + binary->head, binary->len);
    struct frame *f = frame_text(text.data, text.len);
    buf_free(&text);
    return f;
}

/* "42<ack id>["name",payload]" in one allocation: this is the hot path of a fan-out. */
struct frame *frame_new(enum rt_event ev, const char *payload, size_t len, int64_t ack_id)
{
    char start[128];
    assert(events[ev].name != NULL);
    int n = ack_id >= 0 ? snprintf(start, sizeof(start), "42%lld[\"%s\"", (long long)ack_id, events[ev].name)
                        : snprintf(start, sizeof(start), "42[\"%s\"", events[ev].name);
    size_t total = (size_t)n + (payload != NULL ? 1 + len : 0) + 1;
    struct frame *f = frame_room(OPCODE_TEXT, total);
    f->droppable = events[ev].droppable;
    char *p = f->bytes + f->head;
    memcpy(p, start, (size_t)n);
    p += n;
    if (payload != NULL) {
        *p++ = ',';
        memcpy(p, payload, len);
        p += len;
    }
    *p = ']';
    return f;
}

struct frame *frame_in(struct frame *f, enum namespace ns)
{
    if (ns == NS_ROOT) {
        return f;
    }
    if (f->in[ns] == NULL) {
        const char *payload = f->bytes + f->head, *name = namespace_names[ns];
        size_t prefix = strlen(name) + 1;
        struct frame *variant = frame_room(OPCODE_TEXT, f->len + prefix);
        char *p = variant->bytes + variant->head;
        memcpy(p, payload, 2);
        memcpy(p + 2, name, prefix - 1);
        p[2 + prefix - 1] = ',';
        memcpy(p + 2 + prefix, payload + 2, f->len - 2);
        variant->droppable = f->droppable;
        f->in[ns] = variant;
    }
    return f->in[ns];
}

struct frame *frame_ref(struct frame *f)
{
    f->refs++;
    return f;
}

void frame_unref(struct frame *f)
{
    if (f == NULL || --f->refs > 0) {
        return;
    }
    for (int i = 0; i < NS_COUNT; i++) {
        frame_unref(f->in[i]);
    }
    frame_unref(f->next);
    free(f);
}
