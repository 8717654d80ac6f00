#include "realtime/relay_frame.h"

#include "core/crypto.h"

#include <assert.h>

#define MAGIC "PRL1"

/* Type, sender and bounds of the payload. */
static const struct {
    enum relay_side sender;
    uint32_t least, most;
} types[RELAY_TYPE_COUNT] = {
#define FRONT RELAY_FRONT
#define OWNER RELAY_OWNER
#define T(name, sender, least, most) [RELAY_##name] = {sender, least, most},
    RELAY_TYPES(T)
#undef T
#undef FRONT
#undef OWNER
};

void relay_put(char *out, uint64_t n, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        out[i] = (char)(n >> (8 * (bytes - 1 - i)));
    }
}

uint64_t relay_get(const char *p, int bytes)
{
    uint64_t n = 0;
    for (int i = 0; i < bytes; i++) {
        n = n << 8 | (unsigned char)p[i];
    }
    return n;
}

/* ---- the start ---- */

static void put_name(char out[RELAY_NAME_LEN], const char *name)
{
    size_t len = strnlen(name, RELAY_NAME_LEN);
    memset(out, 0, RELAY_NAME_LEN);
    memcpy(out, name, len);
}

static void derive(const struct relay_shake *s, const char *label, uint8_t out[SHA256_LEN])
{
    char text[32 + sizeof(s->transcript)] = {0};
    size_t len = strlen(label);
    assert(len < 32);
    memcpy(text, label, len);
    memcpy(text + 32, s->transcript, sizeof(s->transcript));
    crypto_hmac_sha256(s->secret, sizeof(s->secret), text, sizeof(text), out);
}

void relay_hello_make(struct relay_shake *s, const char *from, const char *to, char out[RELAY_HELLO_LEN])
{
    memcpy(out, MAGIC, 4);
    put_name(out + 4, from);
    put_name(out + 4 + RELAY_NAME_LEN, to);
    crypto_random(out + 4 + 2 * RELAY_NAME_LEN, 32);
    memcpy(s->transcript, out, RELAY_HELLO_LEN);
}

int relay_hello_read(struct relay_shake *s, const char in[RELAY_HELLO_LEN], const char *self, char from_r[RELAY_NAME_LEN + 1])
{
    char own[RELAY_NAME_LEN];
    const char *from = in + 4;
    size_t len = strnlen(from, RELAY_NAME_LEN);
    put_name(own, self);
    if (memcmp(in, MAGIC, 4) != 0 || memcmp(in + 4 + RELAY_NAME_LEN, own, RELAY_NAME_LEN) != 0 || len == 0) {
        return -1;
    }
    for (size_t i = 0; i < RELAY_NAME_LEN; i++) {
        if (i < len ? from[i] <= ' ' || from[i] == 0x7f : from[i] != '\0') {
            return -1;
        }
    }
    memcpy(s->transcript, in, RELAY_HELLO_LEN);
    memcpy(from_r, from, len);
    from_r[len] = '\0';
    return 0;
}

void relay_challenge_make(struct relay_shake *s, char out[RELAY_CHALLENGE_LEN])
{
    memcpy(out, MAGIC, 4);
    crypto_random(out + 4, 32);
    memcpy(s->transcript + RELAY_HELLO_LEN, out, 4 + 32);
    derive(s, "relay owner's proof", (uint8_t *)out + 4 + 32);
}

int relay_challenge_read(struct relay_shake *s, const char in[RELAY_CHALLENGE_LEN])
{
    uint8_t proof[SHA256_LEN];
    memcpy(s->transcript + RELAY_HELLO_LEN, in, 4 + 32);
    derive(s, "relay owner's proof", proof);
    return memcmp(in, MAGIC, 4) == 0 && crypto_equal(proof, in + 4 + 32, sizeof(proof)) ? 0 : -1;
}

void relay_proof_make(const struct relay_shake *s, char out[RELAY_PROOF_LEN])
{
    derive(s, "relay front's proof", (uint8_t *)out);
}

int relay_proof_read(const struct relay_shake *s, const char in[RELAY_PROOF_LEN])
{
    uint8_t proof[SHA256_LEN];
    derive(s, "relay front's proof", proof);
    return crypto_equal(proof, in, sizeof(proof)) ? 0 : -1;
}

void relay_shake_keys(struct relay_shake *s, struct relay_seal *front_r, struct relay_seal *owner_r)
{
    front_r->number = owner_r->number = 0;
    derive(s, "relay front's frames", front_r->key);
    derive(s, "relay owner's frames", owner_r->key);
    crypto_wipe(s->secret, sizeof(s->secret));
}

/* ---- frames ---- */

void relay_frame_add(struct buf *out, struct relay_seal *seal, enum relay_type type, uint32_t stream, const void *head, size_t head_len,
                     const void *data, size_t len)
{
    char start[RELAY_HEAD_LEN];
    uint8_t mac[SHA256_LEN];
    size_t payload = head_len + len, at = out->len;
    assert(payload >= types[type].least && payload <= types[type].most);
    relay_put(start, payload, 4);
    relay_put(start + 4, seal->number++, 8);
    relay_put(start + 12, stream, 4);
    start[16] = (char)type;
    buf_reserve(out, sizeof(start) + payload + RELAY_MAC_LEN);
    buf_add(out, start, sizeof(start));
    buf_add(out, head, head_len);
    buf_add(out, data, len);
    crypto_hmac_sha256(seal->key, sizeof(seal->key), out->data + at, out->len - at, mac);
    buf_add(out, mac, RELAY_MAC_LEN);
}

int relay_frame_next(struct relay_seal *seal, enum relay_side sender, const char *p, size_t len, struct relay_frame *f_r, size_t *used_r,
                     const char **why_r)
{
    uint8_t mac[SHA256_LEN];
    if (len < RELAY_HEAD_LEN) {
        return 0;
    }
    uint32_t payload = (uint32_t)relay_get(p, 4);
    uint8_t type = (uint8_t)p[16];
    size_t all = (size_t)RELAY_HEAD_LEN + payload + RELAY_MAC_LEN;
    *why_r = NULL;
    if (payload > RELAY_PAYLOAD_MAX) {
        *why_r = "length";
    } else if (relay_get(p + 4, 8) != seal->number) {
        *why_r = "number";
    } else if (type >= RELAY_TYPE_COUNT || types[type].sender != sender) {
        *why_r = "type";
    } else if (payload < types[type].least || payload > types[type].most) {
        *why_r = "length";
    } else if (len < all) {
        return 0;
    } else {
        crypto_hmac_sha256(seal->key, sizeof(seal->key), p, RELAY_HEAD_LEN + payload, mac);
        *why_r = crypto_equal(mac, p + RELAY_HEAD_LEN + payload, RELAY_MAC_LEN) ? NULL : "mac";
    }
    if (*why_r != NULL) {
        return -1;
    }
    seal->number++;
    *f_r = (struct relay_frame){
        .type = (enum relay_type)type, .stream = (uint32_t)relay_get(p + 12, 4), .data = p + RELAY_HEAD_LEN, .len = payload};
    *used_r = all;
    return 1;
}

/* ---- payloads ---- */

void relay_request_write(struct buf *out, const struct relay_request *r)
{
    char head[10];
    assert(strlen(r->sid) == EIO_SID_LEN);
    head[0] = (char)r->method;
    head[1] = (char)((r->websocket ? 1 : 0) | (r->octets ? 2 : 0));
    relay_put(head + 2, (uint64_t)r->length, 8);
    buf_add(out, head, sizeof(head));
    buf_add(out, r->sid, EIO_SID_LEN);
}

int relay_request_read(const struct relay_frame *f, struct relay_request *r_r)
{
    struct relay_request r = {.websocket = f->data[1] & 1, .octets = f->data[1] & 2, .length = (int64_t)relay_get(f->data + 2, 8)};
    if ((unsigned char)f->data[0] > EIO_OTHER_METHOD || r.length < -1) {
        return -1;
    }
    r.method = (enum eio_method)f->data[0];
    memcpy(r.sid, f->data + 10, EIO_SID_LEN);
    *r_r = r;
    return 0;
}

void relay_answer_write(struct buf *out, const struct relay_answer *w)
{
    char head[7];
    relay_put(head, (uint64_t)w->status, 2);
    head[2] = (char)((w->end ? 1 : 0) | (w->close ? 2 : 0));
    relay_put(head + 3, w->len, 4);
    buf_add(out, head, sizeof(head));
    for (int i = 0; i < 2; i++) {
        const char *text = i == 0 ? w->type : w->extra;
        size_t len = strlen(text);
        assert(len < 256);
        buf_addc(out, (char)len);
        buf_add(out, text, len);
    }
}

int relay_answer_read(const struct relay_frame *f, struct relay_answer *w_r)
{
    struct relay_answer w = {
        .status = (int)relay_get(f->data, 2), .end = f->data[2] & 1, .close = f->data[2] & 2, .len = (uint32_t)relay_get(f->data + 3, 4)};
    const char *p = f->data + 7, *end = f->data + f->len;
    for (int i = 0; i < 2; i++) {
        char *text = i == 0 ? w.type : w.extra;
        size_t size = i == 0 ? sizeof(w.type) : sizeof(w.extra), len = p < end ? (unsigned char)*p : size;
        if (len >= size || (size_t)(end - p) < 1 + len || memchr(p + 1, '\0', len) != NULL) {
            return -1;
        }
        memcpy(text, p + 1, len);
        p += 1 + len;
    }
    if (p != end || w.status < 100 || w.status > 599) {
        return -1;
    }
    *w_r = w;
    return 0;
}

void relay_piece_write(char out[RELAY_PIECE_HEAD], const struct relay_piece *p)
{
    out[0] = (char)((p->first ? 1 : 0) | (p->last ? 2 : 0) | (p->binary ? 4 : 0));
    relay_put(out + 1, p->rest < UINT32_MAX ? p->rest : UINT32_MAX, 4);
}

void relay_piece_read(const struct relay_frame *f, struct relay_piece *p_r)
{
    *p_r = (struct relay_piece){
        .first = f->data[0] & 1, .last = f->data[0] & 2, .binary = f->data[0] & 4, .rest = (size_t)relay_get(f->data + 1, 4)};
}
