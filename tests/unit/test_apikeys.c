#include "tests/unit/unit.h"

#include "core/crypto.h"
#include "tenants/apikeys.h"
#include "tenants/cidr.h"

#define ID "0123456789AB"
#define SECRET "abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456"

/* ---- the text of a key ---- */

/* A key with a right checksum, whatever its parts are. */
static void with_crc(char out[160], const char *start)
{
    char crc[7];
    crypto_base62_u32(crypto_crc32(start, strlen(start)), crc);
    snprintf(out, 160, "%s%s", start, crc);
}

static void generated_keys_parse(void **state)
{
    (void)state;
    static const char *const modes[] = {"live", "test", "adm"};
    for (size_t i = 0; i < COUNT(modes); i++) {
        for (int n = 0; n < 50; n++) {
            struct apikey_text made, read;
            char start[16];
            apikeys_generate(modes[i], &made);
            snprintf(start, sizeof(start), "ply_%s_", modes[i]);
            assert_memory_equal(made.text, start, strlen(start));
            assert_int_equal(strlen(made.text), strlen(start) + 12 + 1 + 43 + 6);
            assert_int_equal(apikeys_parse(made.text, &read), 0);
            assert_string_equal(read.text, made.text);
            assert_string_equal(read.public_id, made.public_id);
            assert_string_equal(read.last4, made.text + strlen(made.text) - 4);
            assert_memory_equal(read.sha256, made.sha256, 32);
        }
    }
}

static void known_vector(void **state)
{
    (void)state;
    char text[160];
    struct apikey_text k;
    with_crc(text, "ply_live_" ID "_" SECRET);
    assert_string_equal(text, "ply_live_" ID "_" SECRET "3L0H6z");
    assert_int_equal(apikeys_parse(text, &k), 0);
    assert_string_equal(k.public_id, ID);
}

static void every_typo_is_seen(void **state)
{
    (void)state;
    struct apikey_text made, read;
    apikeys_generate("live", &made);
    for (size_t i = 0; i < strlen(made.text); i++) {
        char text[APIKEY_TEXT_MAX];
        snprintf(text, sizeof(text), "%s", made.text);
        text[i] = text[i] == 'x' ? 'y' : 'x';
        assert_int_equal(apikeys_parse(text, &read), -1);
        text[i] = '\0';
        assert_int_equal(apikeys_parse(text, &read), -1);
    }
}

static void malformed_keys(void **state)
{
    (void)state;
    static const char *const starts[] = {
        "",
        "ply_",
        "ply_live_",
        "PLY_live_" ID "_" SECRET,
        "ply_prod_" ID "_" SECRET,
        "ply__" ID "_" SECRET,
        "ply_live" ID "_" SECRET,
        "ply_live_" ID SECRET,
        "ply_live_" ID "-" SECRET,
        "ply_live_" ID "_" SECRET "0",
        "ply_live_" ID "0_" SECRET,
        "ply_live_0" ID "_" SECRET,
        " ply_live_" ID "_" SECRET,
        "ply_live_" ID "_" SECRET " ",
        "ply_live_0123456789A-_" SECRET,
        "ply_live_0123456789\xc3\xa9_" SECRET,
        "ply_live_" ID "_abcdefghijklmnopqrstuvwxyzABCDEFGHIJ012345_",
        "ply_live_" ID "_" SECRET SECRET SECRET,
        "ply_adm_0" ID "_" SECRET,
    };
    struct apikey_text k;
    char text[300];
    for (size_t i = 0; i < COUNT(starts); i++) {
        char crc[7];
        crypto_base62_u32(crypto_crc32(starts[i], strlen(starts[i])), crc);
        snprintf(text, sizeof(text), "%s%s", starts[i], crc);
        assert_int_equal(apikeys_parse(text, &k), -1);
    }
    with_crc(text, "ply_live_" ID "_" SECRET);
    strncat(text, "\n", 2);
    assert_int_equal(apikeys_parse(text, &k), -1);
}

static void garbage_is_refused_before_storage(void **state)
{
    (void)state;
    struct arena *a = arena_new("test");
    struct apikey_caller caller;
    struct err e = {0};
    assert_int_equal(apikeys_verify(a, "ply_live_nonsense", "127.0.0.1", &caller, &e), -1);
    assert_int_equal(e.code, ERR_INVALID_API_KEY);
    arena_free(&a);
}

/* ---- the operator's key ---- */

static void admin_key(void **state)
{
    (void)state;
    struct apikey_text adm, live, other;
    struct err e = {0};
    apikeys_generate("adm", &adm);
    apikeys_generate("adm", &other);
    apikeys_generate("live", &live);
    assert_false(apikeys_is_admin(adm.text));
    assert_false(apikeys_is_admin(""));
    assert_int_equal(apikeys_admin_start(&(struct config){.admin_key = ""}, &e), -1);
    assert_int_equal(apikeys_admin_start(&(struct config){.admin_key = "secret"}, &e), -1);
    assert_int_equal(apikeys_admin_start(&(struct config){.admin_key = live.text}, &e), -1);
    assert_int_equal(apikeys_admin_start(&(struct config){.admin_key = adm.text}, &e), 0);
    assert_true(apikeys_is_admin(adm.text));
    assert_false(apikeys_is_admin(other.text));
    assert_false(apikeys_is_admin(live.text));
    assert_false(apikeys_is_admin(""));
}

/* ---- address blocks ---- */

static const struct {
    const char *cidr, *ip;
    bool inside;
} addresses[] = {
    {"10.0.0.0/8", "10.0.0.0", true},
    {"10.0.0.0/8", "10.255.255.255", true},
    {"10.0.0.0/8", "11.0.0.0", false},
    {"10.0.0.0/8", "9.255.255.255", false},
    {"10.0.0.0/8", "::ffff:10.1.2.3", true},
    {"10.0.0.0/8", "::10.1.2.3", false},
    {"10.0.0.0/8", "a00::", false},
    {"192.168.1.128/25", "192.168.1.127", false},
    {"192.168.1.128/25", "192.168.1.128", true},
    {"192.168.1.4/30", "192.168.1.7", true},
    {"192.168.1.4/30", "192.168.1.8", false},
    {"192.0.2.7", "192.0.2.7", true},
    {"192.0.2.7", "192.0.2.8", false},
    {"192.0.2.7/32", "::ffff:192.0.2.7", true},
    {"0.0.0.0/0", "203.0.113.9", true},
    {"0.0.0.0/0", "2001:db8::1", false},
    {"::/0", "2001:db8::1", true},
    {"::/0", "203.0.113.9", false},
    {"2001:db8::/32", "2001:db8:ffff::1", true},
    {"2001:db8::/32", "2001:db9::", false},
    {"2001:db8::/33", "2001:db8:8000::", false},
    {"2001:db8::1", "2001:DB8:0:0::1", true},
    {"2001:db8::1/128", "2001:db8::2", false},
    {"fe80::/10", "fe80::1%eth0", true},
    {"::ffff:10.0.0.0/104", "10.9.9.9", true},
    {"::ffff:10.0.0.0/104", "11.9.9.9", false},
    {"::ffff:0:0/96", "1.2.3.4", true},
    {"::ffff:0:0/96", "::1", false},
    {"10.0.0.0/8", "", false},
    {"10.0.0.0/8", "unix", false},
    {"10.0.0.0/8", "10.1.2", false},
    {"10.0.0.0/8", "10.1.2.3:443", false},
    {"::1", "::1", true},
    {"::1", "127.0.0.1", false},
};

static void blocks_hold_addresses(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(addresses); i++) {
        struct cidr c;
        assert_int_equal(cidr_parse(addresses[i].cidr, &c), 0);
        if (cidr_holds(&c, addresses[i].ip) != addresses[i].inside) {
            fail_msg("%s in %s", addresses[i].ip, addresses[i].cidr);
        }
    }
    struct cidr c;
    assert_int_equal(cidr_parse("0.0.0.0/0", &c), 0);
    assert_false(cidr_holds(&c, NULL));
}

static void blocks_that_are_none(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "/",
        "/8",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "10.0.0.0/08",
        "10.0.0.0/8 ",
        " 10.0.0.0/8",
        "10.0.0.0/8/8",
        "10.0.0/8",
        "10.0.0.0.0/8",
        "256.0.0.0/8",
        "0x0a.0.0.0/8",
        "010.0.0.0/8",
        "10.0.0.1/8",
        "2001:db8::1/32",
        "2001:db8::/129",
        "2001:db8:::/32",
        "fe80::1%eth0",
        "localhost",
        "*",
        "10.0.0.0/255.0.0.0",
        "2001:db8::/1000",
        "1111:2222:3333:4444:5555:6666:7777:8888:9999",
        "::ffff:10.0.0.1/100",
        "10.0.0.0/1e1",
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct cidr c;
        if (cidr_parse(bad[i], &c) == 0) {
            fail_msg("taken for a block: %s", bad[i]);
        }
    }
}

static void lists_of_blocks(void **state)
{
    (void)state;
    json_t *good = json_pack("[s, s, s]", "10.0.0.0/8", "2001:db8::/32", "192.0.2.1");
    json_t *bad = json_pack("[s, s]", "10.0.0.0/8", "10.0.0.1/8"), *number = json_pack("[i]", 10), *none = json_array();
    assert_int_equal(apikeys_bad_cidr(good), 0);
    assert_int_equal(apikeys_bad_cidr(bad), 2);
    assert_int_equal(apikeys_bad_cidr(number), 1);
    assert_int_equal(apikeys_bad_cidr(none), 0);
    json_decref(good);
    json_decref(bad);
    json_decref(number);
    json_decref(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generated_keys_parse),
        cmocka_unit_test(known_vector),
        cmocka_unit_test(every_typo_is_seen),
        cmocka_unit_test(malformed_keys),
        cmocka_unit_test(garbage_is_refused_before_storage),
        cmocka_unit_test(admin_key),
        cmocka_unit_test(blocks_hold_addresses),
        cmocka_unit_test(blocks_that_are_none),
        cmocka_unit_test(lists_of_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
