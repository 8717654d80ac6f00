#include "core/crypto.h"
#include "storage/bus-private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define MASTER "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static int set_up(void **state)
{
    (void)state;
    struct config c = {.master_key = MASTER};
    bus_start(&c);
    return 0;
}

static struct bus_item sample(enum bus_kind kind)
{
    struct bus_item item = {.kind = kind, .app = app_id_new(), .conv = conv_id_new_group()};
    switch (kind) {
    case BUS_ENTRY:
        item.entry = (struct entry){.conv = item.conv, .seq = 7, .created_ms = 1700000000123, .kind = ENTRY_MESSAGE, .mid = msg_id_new()};
        strncpy(item.entry.sender.s, "ann@example.org", USER_ID_MAX);
        strncpy(item.entry.client_msg_id, "c-1", CLIENT_MSG_ID_MAX);
        item.entry.body = "{\"type\":\"text\",\"text\":\"h\xc3\xa9llo\"}";
        item.entry.body_len = strlen(item.entry.body);
        return item;
    case BUS_USER:
        item.rejoin = true;
        break;
    case BUS_INVALIDATE:
        item.event = "tokens";
        break;
    default:
        break;
    }
    if (kind != BUS_PRESENCE && item.event == NULL) {
        item.event = "typing.updated";
    }
    strncpy(item.user.s, "bob", USER_ID_MAX);
    item.payload = "{\"on\":true}";
    item.payload_len = strlen(item.payload);
    return item;
}

static void assert_same(const struct bus_item *x, const struct bus_item *y)
{
    assert_int_equal(x->kind, y->kind);
    assert_true(app_id_equal(&x->app, &y->app));
    assert_string_equal(x->user.s, y->user.s);
    assert_int_equal(x->rejoin, y->rejoin);
    if (x->kind == BUS_ENTRY || x->kind == BUS_EPHEMERAL) {
        assert_true(conv_id_equal(&x->conv, &y->conv));
    }
    if (x->kind == BUS_ENTRY) {
        assert_true(conv_id_equal(&x->entry.conv, &y->entry.conv));
        assert_int_equal(x->entry.seq, y->entry.seq);
        assert_int_equal(x->entry.created_ms, y->entry.created_ms);
        assert_int_equal(x->entry.kind, y->entry.kind);
        assert_true(msg_id_equal(&x->entry.mid, &y->entry.mid));
        assert_string_equal(x->entry.sender.s, y->entry.sender.s);
        assert_string_equal(x->entry.client_msg_id, y->entry.client_msg_id);
        assert_int_equal(x->entry.body_len, y->entry.body_len);
        assert_string_equal(x->entry.body, y->entry.body);
        return;
    }
    if (x->event != NULL) {
        assert_string_equal(x->event, y->event);
    } else {
        assert_null(y->event);
    }
    assert_int_equal(x->payload_len, y->payload_len);
    assert_string_equal(x->payload, y->payload);
}

/* The bytes in a block of exactly their size, so that the sanitizer sees each byte read beyond. */
static int decode(const void *p, size_t len, size_t *used_r, struct bus_item *item_r, char **block_r)
{
    *block_r = malloc(len + (len == 0));
    memcpy(*block_r, p, len);
    return bus_item_decode(*block_r, len, used_r, item_r);
}

static void round_trip(void **state)
{
    (void)state;
    for (int kind = BUS_ENTRY; kind <= BUS_INVALIDATE; kind++) {
        struct bus_item item = sample((enum bus_kind)kind), back;
        struct buf b = {0};
        size_t used;
        char *block;
        bus_item_encode(&b, &item);
        assert_int_equal(decode(b.data, b.len, &used, &back, &block), 0);
        assert_int_equal(used, b.len);
        assert_same(&item, &back);
        free(block);
        buf_free(&b);
    }
}

static void empty_and_longest(void **state)
{
    (void)state;
    struct bus_item item = sample(BUS_ENTRY), back;
    memset(item.entry.sender.s, 'u', USER_ID_MAX);
    memset(item.entry.client_msg_id, 'c', CLIENT_MSG_ID_MAX);
    item.entry.body = NULL;
    item.entry.body_len = 0;
    struct buf b = {0};
    size_t used;
    bus_item_encode(&b, &item);
    assert_int_equal(bus_item_decode(b.data, b.len, &used, &back), 0);
    assert_int_equal(strlen(back.entry.sender.s), USER_ID_MAX);
    assert_int_equal(strlen(back.entry.client_msg_id), CLIENT_MSG_ID_MAX);
    assert_string_equal(back.entry.body, "");
    buf_free(&b);
}

static void cut_anywhere(void **state)
{
    (void)state;
    for (int kind = BUS_ENTRY; kind <= BUS_INVALIDATE; kind++) {
        struct bus_item item = sample((enum bus_kind)kind), back;
        struct buf b = {0};
        size_t used = 4711;
        bus_item_encode(&b, &item);
        for (size_t len = 0; len < b.len; len++) {
            char *block;
            assert_int_equal(decode(b.data, len, &used, &back, &block), -1);
            free(block);
        }
        assert_int_equal(used, 4711);
        buf_free(&b);
    }
}

static void each_bit_flipped(void **state)
{
    (void)state;
    for (int kind = BUS_ENTRY; kind <= BUS_INVALIDATE; kind++) {
        struct bus_item item = sample((enum bus_kind)kind), back;
        struct buf b = {0};
        size_t used;
        bus_item_encode(&b, &item);
        for (size_t bit = 0; bit < b.len * 8; bit++) {
            char *block;
            b.data[bit / 8] = (char)(b.data[bit / 8] ^ (1 << bit % 8));
            assert_int_equal(decode(b.data, b.len, &used, &back, &block), -1);
            b.data[bit / 8] = (char)(b.data[bit / 8] ^ (1 << bit % 8));
            free(block);
        }
        buf_free(&b);
    }
}

static void sign(struct buf *b)
{
    uint8_t key[32], digest[SHA256_LEN];
    crypto_hkdf_sha256(MASTER, strlen(MASTER), "bus", key, sizeof(key));
    crypto_hmac_sha256(key, sizeof(key), b->data + 20, b->len - 20, digest);
    memcpy(b->data + 4, digest, 16);
    for (int i = 0; i < 4; i++) {
        b->data[i] = (char)((b->len - 20) >> (8 * (3 - i)));
    }
}

/* Even with a good MAC nothing is read beyond the bytes, and nothing of a wrong shape gets through with a wrong length. */
static void damaged_but_signed(void **state)
{
    (void)state;
    for (int kind = BUS_ENTRY; kind <= BUS_INVALIDATE; kind++) {
        struct bus_item item = sample((enum bus_kind)kind), back;
        struct buf whole = {0};
        bus_item_encode(&whole, &item);
        for (size_t at = 20; at < whole.len; at++) {
            for (int value = 0; value < 256; value += 51) {
                struct buf b = {0};
                size_t used;
                char *block;
                buf_add(&b, whole.data, value == 204 ? at : whole.len);
                if (value != 204) {
                    b.data[at] = (char)value;
                }
                sign(&b);
                int r = decode(b.data, b.len, &used, &back, &block);
                if (value == 204) {
                    assert_int_equal(r, -1);
                } else if (r == 0) {
                    assert_int_equal(used, b.len);
                }
                free(block);
                buf_free(&b);
            }
        }
        buf_addc(&whole, 'x');
        sign(&whole);
        size_t used;
        assert_int_equal(bus_item_decode(whole.data, whole.len, &used, &back), -1);
        buf_free(&whole);
    }
}

static void other_key(void **state)
{
    (void)state;
    struct bus_item item = sample(BUS_USER), back;
    struct buf b = {0};
    size_t used;
    bus_item_encode(&b, &item);
    struct config c = {.master_key = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"};
    bus_start(&c);
    assert_int_equal(bus_item_decode(b.data, b.len, &used, &back), -1);
    set_up(NULL);
    assert_int_equal(bus_item_decode(b.data, b.len, &used, &back), 0);
    buf_free(&b);
}

static int header(const char *text, struct bus_header *h_r, size_t *used_r)
{
    size_t len = strlen(text);
    char *block = malloc(len + (len == 0));
    memcpy(block, text, len);
    int r = bus_header_parse(block, len, used_r, h_r);
    free(block);
    return r;
}

static void headers(void **state)
{
    (void)state;
    struct bus_header h;
    size_t used;
    assert_int_equal(header("abc-def 12\nrest", &h, &used), 0);
    assert_int_equal(used, 11);
    assert_string_equal(h.publisher, "abc-def");
    assert_int_equal(h.kind, ' ');
    assert_int_equal(h.number, 12);
    assert_int_equal(header("a =9\n", &h, &used), 0);
    assert_int_equal(h.kind, '=');
    assert_int_equal(header("a !900000000000000000\n", &h, &used), 0);
    assert_int_equal(h.kind, '!');
    const char *bad[] = {"",
                         "\n",
                         " 1\n",
                         "a\n",
                         "a \n",
                         "a 1",
                         "a x\n",
                         "a =\n",
                         "a -1\n",
                         "a 1 2\n",
                         "a 1234567890123456789\n",
                         "aaaaaaaaaaaaaaaaaaaaaaaaa 1\n",
                         "a ==1\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(header(bad[i], &h, &used), -1);
    }
}

static void count(const struct bus_item *item, void *ctx)
{
    assert_int_equal(item->entry.seq, ++*(int *)ctx);
}

/* Items are gathered by conversation, their order within one is kept, and a call does not grow beyond its bound. */
static void gathered(void **state)
{
    (void)state;
    struct arena *a = arena_new("test");
    struct bus_item items[6];
    struct bus_item one = sample(BUS_ENTRY), two = sample(BUS_ENTRY);
    two.app = one.app;
    for (int i = 0; i < 6; i++) {
        items[i] = i % 2 == 0 ? one : two;
        items[i].entry.seq = i / 2 + 1;
    }
    struct bus_gathered g;
    assert_int_equal(bus_gather(a, items, 6, &g), 6);
    assert_int_equal(g.count, 2);
    for (int i = 0; i < 2; i++) {
        int seen = 0;
        bus_each(g.blobs[i].data, g.blobs[i].len, count, &seen);
        assert_int_equal(seen, 3);
    }
    char *big = arena_alloc(a, BUS_FRAME_MAX);
    memset(big, 'x', BUS_FRAME_MAX - 1);
    items[1].entry.body = big;
    items[1].entry.body_len = BUS_FRAME_MAX - 1;
    assert_int_equal(bus_gather(a, items, 6, &g), 1);
    assert_int_equal(bus_gather(a, items + 1, 5, &g), 1);
    assert_int_equal(bus_gather(a, items + 2, 4, &g), 4);
    arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),       cmocka_unit_test(empty_and_longest),  cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(each_bit_flipped), cmocka_unit_test(damaged_but_signed), cmocka_unit_test(other_key),
        cmocka_unit_test(headers),          cmocka_unit_test(gathered),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
