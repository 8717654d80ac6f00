/* Published vectors of the primitives, and what a fork must not share. */
#include "tests/unit/unit.h"
#include "tests/unit/fixture.h"

#include "core/crypto.h"

#include <sys/wait.h>
#include <unistd.h>

static const char *hex(const void *p, size_t len)
{
    char *out = arena_alloc(arena, 2 * len + 1);
    for (size_t i = 0; i < len; i++) {
        snprintf(out + 2 * i, 3, "%02x", ((const uint8_t *)p)[i]);
    }
    return out;
}

static void hashes(void **state)
{
    (void)state;
    uint8_t out[SHA256_LEN], key[131];
    crypto_sha256("", 0, out);
    assert_string_equal(hex(out, 32), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    memset(key, 0x0b, 20); /* RFC 4231, cases 1 and 6 */
    crypto_hmac_sha256(key, 20, "Hi There", 8, out);
    assert_string_equal(hex(out, 32), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    memset(key, 0xaa, 131);
    crypto_hmac_sha256(key, 131, "Test Using Larger Than Block-Size Key - Hash Key First", 54, out);
    assert_string_equal(hex(out, 32), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    assert_int_equal(crypto_crc32("", 0), 0);
    assert_int_equal(crypto_crc32("a", 1), 0xe8b7be43u);
}

static void hkdf_without_salt(void **state)
{
    (void)state;
    uint8_t key[22], out[42]; /* RFC 5869, case 3 */
    memset(key, 0x0b, sizeof(key));
    crypto_hkdf_sha256(key, sizeof(key), "", out, sizeof(out));
    assert_string_equal(hex(out, 42), "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
    uint8_t one[32], two[32];
    crypto_hkdf_sha256(key, sizeof(key), "one", one, 32);
    crypto_hkdf_sha256(key, sizeof(key), "two", two, 32);
    assert_false(crypto_equal(one, two, 32));
}

static void nothing_can_be_sealed_too(void **state)
{
    (void)state;
    struct err e = {0};
    uint8_t key[SEAL_KEY_LEN] = {7}, other[SEAL_KEY_LEN] = {8}, *plain;
    size_t len, n = 99;
    uint8_t *sealed = crypto_seal(arena, key, "", 0, "", 0, &len);
    assert_int_equal(len, SEAL_OVERHEAD);
    assert_int_equal(sealed[0], 1);
    assert_int_equal(crypto_open(arena, key, "", 0, sealed, len, &plain, &n, &e), 0);
    assert_int_equal(n, 0);
    assert_int_equal(crypto_open(arena, other, "", 0, sealed, len, &plain, &n, &e), -1);
    assert_int_equal(e.code, ERR_INTERNAL);
    size_t again_len;
    uint8_t *again = crypto_seal(arena, key, "", 0, "", 0, &again_len);
    assert_memory_not_equal(sealed + 1, again + 1, 12);
}

static void base64url_vectors(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"", ""}, {"f", "Zg"}, {"fo", "Zm8"}, {"foo", "Zm9v"}, {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"\xfb\xff\xbf", "-_-_"},
    };
    for (size_t i = 0; i < COUNT(pairs); i++) {
        uint8_t *bytes;
        size_t len;
        assert_string_equal(crypto_base64url(arena, pairs[i][0], strlen(pairs[i][0])), pairs[i][1]);
        assert_int_equal(crypto_base64url_read(arena, pairs[i][1], strlen(pairs[i][1]), &bytes, &len), 0);
        assert_int_equal(len, strlen(pairs[i][0]));
        assert_memory_equal(bytes, pairs[i][0], len);
    }
    uint8_t *bytes;
    size_t len;
    assert_int_equal(crypto_base64url_read(arena, "AA\0A", 4, &bytes, &len), -1);
    assert_int_equal(crypto_base64url_read(arena, "Zh", 2, &bytes, &len), -1); /* the bits behind the byte are not zero */
}

static void base62_of_numbers(void **state)
{
    (void)state;
    static const struct {
        uint32_t n;
        const char *text;
    } cases[] = {{0, "000000"}, {9, "000009"}, {10, "00000A"}, {62, "000010"}, {UINT32_MAX, "4gfFC3"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        char out[7];
        crypto_base62_u32(cases[i].n, out);
        assert_string_equal(out, cases[i].text);
    }
}

static void random_bytes_do_not_repeat(void **state)
{
    (void)state;
    enum { HALVES = 4000 };
    uint8_t(*halves)[8] = arena_array(arena, HALVES, 8); /* spans several buffers */
    for (size_t i = 0; i < HALVES; i += 2) {
        crypto_random(halves[i], 16);
    }
    for (size_t i = 0; i < HALVES; i++) {
        for (size_t j = 0; j < i; j++) {
            assert_memory_not_equal(halves[i], halves[j], 8); /* neither given out twice nor wiped before */
        }
    }
    uint8_t big[10000] = {0};
    crypto_random(big, sizeof(big));
    assert_memory_not_equal(big, big + 5000, 5000);
}

static void a_fork_does_not_share_random_bytes(void **state)
{
    (void)state;
    uint8_t mine[16], theirs[16];
    int fds[2];
    crypto_random(mine, 16); /* the buffer is filled before the fork */
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        crypto_random(theirs, 16);
        _exit(write(fds[1], theirs, 16) == 16 ? 0 : 1);
    }
    crypto_random(mine, 16);
    assert_int_equal(read(fds[0], theirs, 16), 16);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_memory_not_equal(mine, theirs, 16);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes),
        cmocka_unit_test(hkdf_without_salt),
        cmocka_unit_test(nothing_can_be_sealed_too),
        cmocka_unit_test(base64url_vectors),
        cmocka_unit_test(base62_of_numbers),
        cmocka_unit_test(random_bytes_do_not_repeat),
        cmocka_unit_test(a_fork_does_not_share_random_bytes),
    };
    return cmocka_run_group_tests_name("crypto", tests, setup, teardown);
}
