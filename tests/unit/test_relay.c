/* The relay's codec: the proof of the secret, numbered frames with a MAC, payloads. */
#include "tests/unit/unit.h"
#include "tests/unit/fixture.h"

#include "core/crypto.h"
#include "realtime/relay_frame.h"

#define FRONT_ID "abc-front"
#define OWNER_ID "xyz-owner"

/* Both sides of one handshake, as far as it comes: 0, or which step refused. */
struct shaken {
    struct relay_shake front, owner;
    struct relay_seal front_out, front_in, owner_out, owner_in;
    char hello[RELAY_HELLO_LEN], challenge[RELAY_CHALLENGE_LEN], proof[RELAY_PROOF_LEN];
};

static int shake(struct shaken *k, const char *front_secret, const char *owner_secret)
{
    char from[RELAY_NAME_LEN + 1];
    memset(k, 0, sizeof(*k));
    crypto_sha256(front_secret, strlen(front_secret), k->front.secret);
    crypto_sha256(owner_secret, strlen(owner_secret), k->owner.secret);
    relay_hello_make(&k->front, FRONT_ID, OWNER_ID, k->hello);
    if (relay_hello_read(&k->owner, k->hello, OWNER_ID, from) < 0) {
        return 1;
    }
    assert_string_equal(from, FRONT_ID);
    relay_challenge_make(&k->owner, k->challenge);
    if (relay_challenge_read(&k->front, k->challenge) < 0) {
        return 2;
    }
    relay_proof_make(&k->front, k->proof);
    if (relay_proof_read(&k->owner, k->proof) < 0) {
        return 3;
    }
    relay_shake_keys(&k->front, &k->front_out, &k->front_in);
    relay_shake_keys(&k->owner, &k->owner_in, &k->owner_out);
    return 0;
}

static void both_know_the_secret(void **state)
{
    (void)state;
    struct shaken k, other;
    assert_int_equal(shake(&k, "secret", "secret"), 0);
    assert_memory_equal(k.front_out.key, k.owner_in.key, 32);
    assert_memory_equal(k.front_in.key, k.owner_out.key, 32);
    assert_memory_not_equal(k.front_out.key, k.front_in.key, 32);
    assert_int_equal(shake(&other, "secret", "secret"), 0);
    assert_memory_not_equal(k.front_out.key, other.front_out.key, 32);
    for (size_t i = 0; i < RELAY_SECRET_LEN; i++) {
        assert_int_equal(k.front.secret[i], 0);
    }
}

static void a_wrong_secret_shows_on_both_sides(void **state)
{
    (void)state;
    struct shaken k;
    char proof[RELAY_PROOF_LEN];
    assert_int_equal(shake(&k, "secret", "other"), 2);
    relay_proof_make(&k.front, proof); /* a front that does not mind */
    assert_int_equal(relay_proof_read(&k.owner, proof), -1);
    assert_int_equal(relay_proof_read(&k.owner, k.challenge + 36), -1); /* the owner's own proof, sent back */
}

static void every_bit_of_the_handshake_counts(void **state)
{
    (void)state;
    struct shaken k;
    char from[RELAY_NAME_LEN + 1];
    for (size_t i = 0; i < RELAY_HELLO_LEN; i++) {
        assert_int_equal(shake(&k, "secret", "secret"), 0);
        struct relay_shake owner;
        crypto_sha256("secret", 6, owner.secret);
        k.hello[i] ^= 1;
        bool read = relay_hello_read(&owner, k.hello, OWNER_ID, from) == 0;
        if (read) {
            char challenge[RELAY_CHALLENGE_LEN];
            relay_challenge_make(&owner, challenge);
            crypto_sha256("secret", 6, k.front.secret);
            assert_int_equal(relay_challenge_read(&k.front, challenge), -1);
        }
        bool of_the_name = (i >= 4 && i < 4 + strlen(FRONT_ID)) || i >= 4 + 2 * RELAY_NAME_LEN;
        assert_true(read == of_the_name || (i >= 4 && i < 4 + RELAY_NAME_LEN));
    }
    for (size_t i = 0; i < RELAY_CHALLENGE_LEN; i++) {
        assert_int_equal(shake(&k, "secret", "secret"), 0);
        crypto_sha256("secret", 6, k.front.secret);
        k.challenge[i] ^= 0x40;
        assert_int_equal(relay_challenge_read(&k.front, k.challenge), -1);
    }
}

static void a_recorded_handshake_is_of_no_use(void **state)
{
    (void)state;
    struct shaken k;
    char from[RELAY_NAME_LEN + 1], challenge[RELAY_CHALLENGE_LEN];
    struct relay_shake owner;
    assert_int_equal(shake(&k, "secret", "secret"), 0);
    crypto_sha256("secret", 6, owner.secret);
    assert_int_equal(relay_hello_read(&owner, k.hello, OWNER_ID, from), 0);
    relay_challenge_make(&owner, challenge);
    assert_int_equal(relay_proof_read(&owner, k.proof), -1);
    assert_int_equal(relay_hello_read(&owner, k.hello, "somebody-else", from), -1);
}

static int next(struct relay_seal *seal, enum relay_side sender, const struct buf *b, struct relay_frame *f, size_t *used, const char **why)
{
    return relay_frame_next(seal, sender, b->data, b->len, f, used, why);
}

static void frames_come_as_they_went(void **state)
{
    (void)state;
    struct shaken k;
    struct buf b = {0};
    assert_int_equal(shake(&k, "s", "s"), 0);
    char big[RELAY_PAYLOAD_MAX];
    memset(big, 'x', sizeof(big));
    relay_frame_add(&b, &k.front_out, RELAY_PING, RELAY_STREAM_NONE, NULL, 0, NULL, 0);
    relay_frame_add(&b, &k.front_out, RELAY_BODY, 7, "he", 2, "llo", 3);
    relay_frame_add(&b, &k.front_out, RELAY_BODY, UINT32_MAX, NULL, 0, big, sizeof(big));
    size_t at = 0, used;
    const char *why;
    struct relay_frame f[3];
    for (int i = 0; i < 3; i++) {
        for (size_t len = 0; len < 40 && i < 2; len++) { /* half of it is not it */
            struct relay_frame none;
            size_t whole = i == 0 ? RELAY_HEAD_LEN + RELAY_MAC_LEN : RELAY_HEAD_LEN + 5 + RELAY_MAC_LEN;
            if (len < whole) {
                assert_int_equal(relay_frame_next(&k.owner_in, RELAY_FRONT, b.data + at, len, &none, &used, &why), 0);
            }
        }
        assert_int_equal(relay_frame_next(&k.owner_in, RELAY_FRONT, b.data + at, b.len - at, &f[i], &used, &why), 1);
        at += used;
    }
    assert_int_equal(at, b.len);
    assert_int_equal(f[0].type, RELAY_PING);
    assert_int_equal(f[1].stream, 7);
    assert_int_equal(f[1].len, 5);
    assert_memory_equal(f[1].data, "hello", 5);
    assert_int_equal(f[2].stream, UINT32_MAX);
    assert_int_equal(f[2].len, RELAY_PAYLOAD_MAX);
    buf_free(&b);
}

static void what_was_touched_is_refused(void **state)
{
    (void)state;
    struct shaken k;
    struct relay_frame f;
    size_t used;
    const char *why;
    assert_int_equal(shake(&k, "s", "s"), 0);
    struct relay_seal at = k.front_out;
    for (size_t i = 0; i < RELAY_HEAD_LEN + 3 + RELAY_MAC_LEN; i++) {
        for (int bit = 0; bit < 8; bit++) {
            struct buf b = {0};
            k.front_out = at;
            struct relay_seal in = at;
            relay_frame_add(&b, &k.front_out, RELAY_BODY, 1, "abc", 3, NULL, 0);
            b.data[i] ^= (char)(1 << bit);
            int rc = next(&in, RELAY_FRONT, &b, &f, &used, &why);
            assert_true(rc <= 0);
            assert_true(rc < 0 || i < 4); /* a length that was raised waits for more */
            buf_free(&b);
        }
    }
}

static void repeated_reordered_or_misdirected(void **state)
{
    (void)state;
    struct shaken k;
    struct relay_frame f;
    size_t used;
    const char *why;
    struct buf one = {0}, two = {0}, answer = {0};
    assert_int_equal(shake(&k, "s", "s"), 0);
    relay_frame_add(&one, &k.front_out, RELAY_BODY, 1, "a", 1, NULL, 0);
    relay_frame_add(&two, &k.front_out, RELAY_BODY, 1, "b", 1, NULL, 0);
    assert_int_equal(next(&k.owner_in, RELAY_FRONT, &two, &f, &used, &why), -1);
    assert_string_equal(why, "number");
    assert_int_equal(next(&k.owner_in, RELAY_FRONT, &one, &f, &used, &why), 1);
    assert_int_equal(next(&k.owner_in, RELAY_FRONT, &one, &f, &used, &why), -1);
    assert_string_equal(why, "number");
    relay_frame_add(&answer, &k.owner_out, RELAY_KILL, 1, NULL, 0, NULL, 0);
    struct relay_seal zero = k.owner_in;
    zero.number = 0;
    assert_int_equal(next(&zero, RELAY_FRONT, &answer, &f, &used, &why), -1); /* sent back to the owner */
    assert_string_equal(why, "type");
    assert_int_equal(next(&k.front_in, RELAY_OWNER, &answer, &f, &used, &why), 1);
    buf_free(&one);
    buf_free(&two);
    buf_free(&answer);
}

static void lengths_are_bounded_before_anything_is_kept(void **state)
{
    (void)state;
    static const struct {
        uint32_t len;
        enum relay_type type;
        const char *why;
    } cases[] = {{UINT32_MAX, RELAY_BODY, "length"}, {RELAY_PAYLOAD_MAX + 1, RELAY_BODY, "length"},
                 {1, RELAY_PING, "length"},          {0, RELAY_BODY, "length"},
                 {31, RELAY_REQUEST, "length"},      {0, RELAY_TYPE_COUNT, "type"},
                 {0, (enum relay_type)255, "type"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        char head[RELAY_HEAD_LEN] = {0};
        struct relay_seal seal = {0};
        struct relay_frame f;
        size_t used;
        const char *why;
        relay_put(head, cases[i].len, 4);
        head[16] = (char)cases[i].type;
        assert_int_equal(relay_frame_next(&seal, RELAY_FRONT, head, sizeof(head), &f, &used, &why), -1);
        assert_string_equal(why, cases[i].why);
    }
}

static struct relay_frame whole(const struct buf *b)
{
    return (struct relay_frame){.data = b->data, .len = b->len};
}

static void payloads(void **state)
{
    (void)state;
    struct buf b = {0};
    struct relay_request r = {.method = EIO_POST, .octets = true, .length = -1, .sid = "ABCDEFGHIJKLMNOPQRST"}, r2;
    relay_request_write(&b, &r);
    struct relay_frame f = whole(&b);
    assert_int_equal(f.len, 30);
    assert_int_equal(relay_request_read(&f, &r2), 0);
    assert_int_equal(r2.method, EIO_POST);
    assert_true(r2.octets && !r2.websocket && r2.length == -1);
    assert_string_equal(r2.sid, r.sid);
    b.data[0] = 9;
    assert_int_equal(relay_request_read(&f, &r2), -1);
    buf_free(&b);

    struct relay_answer w = {.status = 413, .close = true, .len = 4000000, .type = "text/plain", .extra = "Cache-Control: no-store\r\n"},
                        w2;
    relay_answer_write(&b, &w);
    f = whole(&b);
    assert_int_equal(relay_answer_read(&f, &w2), 0);
    assert_int_equal(w2.status, 413);
    assert_true(w2.close && !w2.end);
    assert_int_equal(w2.len, 4000000);
    assert_string_equal(w2.type, w.type);
    assert_string_equal(w2.extra, w.extra);
    for (size_t len = 9; len < b.len; len++) {
        f.len = len;
        assert_int_equal(relay_answer_read(&f, &w2), -1);
    }
    buf_free(&b);

    char head[RELAY_PIECE_HEAD];
    struct relay_piece p = {.first = true, .binary = true, .rest = (size_t)1 << 40}, p2;
    relay_piece_write(head, &p);
    f = (struct relay_frame){.data = head, .len = sizeof(head)};
    relay_piece_read(&f, &p2);
    assert_true(p2.first && p2.binary && !p2.last);
    assert_int_equal(p2.rest, UINT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_know_the_secret),
        cmocka_unit_test(a_wrong_secret_shows_on_both_sides),
        cmocka_unit_test(every_bit_of_the_handshake_counts),
        cmocka_unit_test(a_recorded_handshake_is_of_no_use),
        cmocka_unit_test(frames_come_as_they_went),
        cmocka_unit_test(what_was_touched_is_refused),
        cmocka_unit_test(repeated_reordered_or_misdirected),
        cmocka_unit_test(lengths_are_bounded_before_anything_is_kept),
        cmocka_unit_test(payloads),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
