/* The Socket.IO codec with its reassembly. An input is a stream of Engine.IO messages as in a polling body, separated by 0x1e: "4" and a packet's text, "b" and an
 * attachment's bytes (as they are, not base64), "t" and one letter: that many seconds pass. */
#include "tests/fuzz/fuzz.h"

#include "realtime/socketio.h"

static void check_limits(const struct sio_packet *p)
{
    HOLDS(p->type == SIO_CONNECT || p->type == SIO_DISCONNECT || p->type == SIO_EVENT || p->type == SIO_ACK);
    HOLDS(p->count >= 0 && p->count <= SIO_ATTACHMENTS_MAX && (p->count == 0 || p->binary));
    HOLDS(p->nsp[0] == '/' && strlen(p->nsp) <= SIO_NAMESPACE_MAX && strchr(p->nsp, ',') == NULL);
    HOLDS(p->ack_id == SIO_NO_ACK || (p->ack_id >= 0 && p->ack_id < INT64_C(1000000000000000)));
    HOLDS(p->type != SIO_EVENT || json_array_size(p->data) > 0);
    HOLDS(p->type != SIO_ACK || (json_is_array(p->data) && p->ack_id != SIO_NO_ACK));
    HOLDS(p->type != SIO_CONNECT || p->data == NULL || json_is_object(p->data));
    HOLDS(p->type != SIO_DISCONNECT || p->data == NULL);
}

/* Each blob that a placeholder names is there. */
static void check_placeholders(const json_t *v, const struct sio_packet *p)
{
    const char *key;
    json_t *item;
    size_t i;
    if (json_is_object(v) && json_is_true(json_object_get(v, "_placeholder"))) {
        json_int_t num = json_integer_value(json_object_get(v, "num"));
        HOLDS(json_is_integer(json_object_get(v, "num")) && num >= 0 && num < p->count && p->blobs[num].data != NULL);
        return;
    }
    json_object_foreach ((json_t *)v, key, item) {
        check_placeholders(item, p);
    }
    json_array_foreach (v, i, item) {
        check_placeholders(item, p);
    }
}

/* Written and read again, a packet is the same. */
static void check_round_trip(const struct sio_packet *p)
{
    struct arena *a = arena_new("fuzz");
    struct buf text = {0};
    struct sio_packet again;
    struct err e;
    char *json = p->data != NULL ? json_dumps(p->data, JSON_COMPACT) : NULL;
    sio_add(&text, p->type, p->nsp, p->ack_id, p->count, json, json != NULL ? strlen(json) : 0);
    HOLDS(sio_read(a, text.data, text.len, &again, &e) == 0);
    HOLDS(again.type == p->type && strcmp(again.nsp, p->nsp) == 0 && again.ack_id == p->ack_id && again.count == p->count);
    HOLDS(p->data == NULL ? again.data == NULL : json_equal(again.data, p->data));
    free(json);
    buf_free(&text);
    arena_free(&a);
}

static void check_packet(struct sio_decoder *d)
{
    const struct sio_packet *p = &d->packet;
    check_limits(p);
    HOLDS(d->have == p->count && d->bytes <= SIO_RUN_BYTES_MAX);
    size_t bytes = 0;
    for (int i = 0; i < p->count; i++) {
        bytes += p->blobs[i].len;
    }
    HOLDS(bytes == d->bytes);
    if (p->binary) {
        check_placeholders(p->data, p);
    }
    if (p->type == SIO_EVENT) {
        HOLDS(sio_event_name(d->arena, p) != NULL);
    }
    check_round_trip(p);
}

/* The text kept of a packet is JSON again, of as many values. */
static void check_raw(const struct sio_decoder *d)
{
    const struct sio_packet *p = &d->packet;
    struct err e;
    HOLDS((p->raw != NULL) == (d->loosely && p->data != NULL));
    if (p->raw == NULL) {
        return;
    }
    char *copy = arena_alloc(d->arena, p->raw_len + 3);
    int n = snprintf(copy, p->raw_len + 3, p->type == SIO_CONNECT ? "%.*s" : "[%.*s]", (int)p->raw_len, p->raw);
    json_t *again = json_read_loosely(d->arena, copy, (size_t)n, &e);
    HOLDS(again != NULL);
    HOLDS(p->type == SIO_CONNECT ? json_is_object(again) : json_array_size(again) == json_array_size(p->data) - (p->type == SIO_EVENT));
}

/* One message. False: the session would be closed now. */
static bool feed(struct sio_decoder *d, const char *p, size_t len, int64_t *now)
{
    struct err e = {0};
    bool binary = len > 0 && p[0] == 'b', collecting = sio_collecting(d);
    if (len > 0 && p[0] == 't') {
        *now += len > 1 ? (p[1] & 31) * 1000 : 0;
        return true;
    }
    size_t skip = binary || (len > 0 && p[0] == '4') ? 1 : 0;
    char *copy = exact_copy(p + skip, len - skip);
    int rc = sio_feed(d, copy, len - skip, binary, *now, &e);
    free(copy); /* nothing of a packet may point into it */
    HOLDS(binary == collecting || rc < 0);
    HOLDS((rc < 0) == (e.code != ERR_OK));
    if (rc == 1) {
        check_packet(d);
        check_raw(d);
        sio_release(d);
    } else if (rc == 0) {
        HOLDS(sio_collecting(d) && *now - d->since_ms <= SIO_RUN_MS_MAX);
    }
    return rc >= 0;
}

/* How many messages are taken. */
static int walk(const char *p, const char *end, bool loosely)
{
    struct sio_decoder d = {.loosely = loosely};
    int64_t now = 1000;
    int taken = 0;
    for (bool open = true; open && p < end;) {
        const char *sep = memchr(p, 0x1e, (size_t)(end - p));
        size_t len = sep != NULL ? (size_t)(sep - p) : (size_t)(end - p);
        open = feed(&d, p, len, &now);
        taken += open;
        p += len + 1;
    }
    sio_release(&d);
    HOLDS(!sio_collecting(&d));
    return taken;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *p = (const char *)data;
    int strictly = walk(p, p + size, false);
    HOLDS(walk(p, p + size, true) >= strictly);
    return 0;
}
