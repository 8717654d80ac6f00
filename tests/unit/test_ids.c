#include "tests/unit/unit.h"

#include "core/clock.h"
#include "core/ids.h"

/* The published vectors of TypeID 0.3: valid pairs of text and UUID, and texts that must be refused. */
static const struct {
    const char *prefix, *text, *uuid;
} valid[] = {
    {"", "00000000000000000000000000", "00000000-0000-0000-0000-000000000000"},
    {"", "00000000000000000000000001", "00000000-0000-0000-0000-000000000001"},
    {"", "0000000000000000000000000a", "00000000-0000-0000-0000-00000000000a"},
    {"", "0000000000000000000000000g", "00000000-0000-0000-0000-000000000010"},
    {"", "00000000000000000000000010", "00000000-0000-0000-0000-000000000020"},
    {"", "7zzzzzzzzzzzzzzzzzzzzzzzzz", "ffffffff-ffff-ffff-ffff-ffffffffffff"},
    {"prefix", "prefix_0123456789abcdefghjkmnpqrs", "0110c853-1d09-52d8-d73e-1194e95b5f19"},
    {"prefix", "prefix_01h455vb4pex5vsknk084sn02q", "01890a5d-ac96-774b-bcce-b302099a8057"},
    {"pre_fix", "pre_fix_00000000000000000000000000", "00000000-0000-0000-0000-000000000000"},
};

static const char *const invalid[] = {
    "PREFIX_00000000000000000000000000",
    "12345_00000000000000000000000000",
    "pre.fix_00000000000000000000000000",
    "préfix_00000000000000000000000000",
    "  prefix_00000000000000000000000000",
    "prefix_1234567890123456789012345",
    "prefix_123456789012345678901234567",
    "prefix_1234567890123456789012345 ",
    "prefix_0123456789ABCDEFGHJKMNPQRS",
    "prefix_123456789-123456789-123456",
    "prefix_ooooooiiiiiiuuuuuuulllllll",
    "prefix_i23456789ol23456789oi23456",
    "prefix_123456789-0123456789-0123456",
    "prefix_8zzzzzzzzzzzzzzzzzzzzzzzzz",
    "_00000000000000000000000000",
    "_",
    "prefix_",
    "prefix",
    "",
    "prefix__00000000000000000000000000",
};

static void typeid_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(valid); i++) {
        uint8_t b[16];
        char text[ID_TEXT_MAX], uuid[UUID_TEXT_MAX];
        assert_int_equal(typeid_parse(valid[i].text, valid[i].prefix, b), 0);
        assert_string_equal(uuid_print(b, uuid), valid[i].uuid);
        assert_string_equal(typeid_print(valid[i].prefix, b, text), valid[i].text);
        uint8_t again[16];
        assert_int_equal(uuid_parse(valid[i].uuid, again), 0);
        assert_memory_equal(again, b, 16);
    }
}

static void typeid_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(invalid); i++) {
        uint8_t b[16];
        assert_int_equal(typeid_parse(invalid[i], "prefix", b), -1);
    }
}

static void kinds_do_not_mix(void **state)
{
    (void)state;
    char text[ID_TEXT_MAX];
    struct app_id app = app_id_new(), parsed;
    struct key_id key;
    assert_int_equal(app_id_parse(app_id_print(&app, text), &parsed), 0);
    assert_true(app_id_equal(&app, &parsed));
    assert_int_equal(key_id_parse(text, &key), -1);
}

static void conversations_show_their_kind(void **state)
{
    (void)state;
    static const uint8_t hash[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    char text[ID_TEXT_MAX], forged[ID_TEXT_MAX];
    struct conv_id group = conv_id_new_group(), direct = conv_id_from_hash(hash), parsed;
    assert_false(conv_id_is_direct(&group));
    assert_true(conv_id_is_direct(&direct));
    assert_memory_equal(conv_id_print(&group, text), "grp_", 4);
    assert_int_equal(conv_id_parse(text, &parsed), 0);
    assert_true(conv_id_equal(&group, &parsed));
    assert_memory_equal(conv_id_print(&direct, text), "dir_", 4);
    assert_int_equal(conv_id_parse(text, &parsed), 0);
    snprintf(forged, sizeof(forged), "grp_%s", text + 4);
    assert_int_equal(conv_id_parse(forged, &parsed), -1);
    assert_int_equal(conv_id_parse("msg_00000000000000000000000000", &parsed), -1);
}

static int64_t now;

static int64_t fixed_wall(void)
{
    return now;
}

static void uuid_v7_rises_with_time(void **state)
{
    (void)state;
    uint8_t a[16];
    char text[UUID_TEXT_MAX], before[UUID_TEXT_MAX] = "";
    for (now = INT64_C(1645557742000); now < INT64_C(1645557742100); now++) {
        clock_replace(fixed_wall, NULL);
        uuid_v7(a);
        clock_replace(NULL, NULL);
        assert_int_equal(a[6] >> 4, 7);
        assert_int_equal(a[8] >> 6, 2);
        assert_true(strcmp(before, uuid_print(a, text)) < 0);
        memcpy(before, text, sizeof(before));
        if (now == INT64_C(1645557742000)) { /* the time of RFC 9562, A.6 */
            assert_memory_equal(text, "017f22e2-79b0-7", 15);
        }
    }
}

static void conversations_of_other_versions_are_refused(void **state)
{
    (void)state;
    for (unsigned version = 0; version < 16; version++) {
        for (unsigned variant = 0; variant < 4; variant++) {
            uint8_t b[16] = {1};
            char text[ID_TEXT_MAX];
            struct conv_id id;
            b[6] = (uint8_t)(version << 4);
            b[8] = (uint8_t)(variant << 6);
            assert_int_equal(conv_id_parse(typeid_print("grp", b, text), &id), version == 7 && variant == 2 ? 0 : -1);
            assert_int_equal(conv_id_parse(typeid_print("dir", b, text), &id), version == 8 && variant == 2 ? 0 : -1);
        }
    }
}

static void uuid_text_is_strict(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "0110c853-1d09-52d8-d73e-1194e95b5f1",
                                      "0110c853-1d09-52d8-d73e-1194e95b5f199",
                                      "0110C853-1d09-52d8-d73e-1194e95b5f19",
                                      "0110c8531d09-52d8-d73e-1194e95b5f19-",
                                      "{110c853-1d09-52d8-d73e-1194e95b5f1}",
                                      "g110c853-1d09-52d8-d73e-1194e95b5f19"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        uint8_t b[16] = {42};
        assert_int_equal(uuid_parse(bad[i], b), -1);
        assert_int_equal(b[0], 42);
    }
}

static void tenants_own_ids(void **state)
{
    (void)state;
    struct user_id u;
    struct device_id d;
    char long_id[130];
    memset(long_id, 'a', sizeof(long_id));
    long_id[129] = '\0';
    assert_int_equal(user_id_parse(long_id, &u), -1);
    long_id[128] = '\0';
    assert_int_equal(user_id_parse(long_id, &u), 0);
    static const char *const good[] = {"a", "alice@example.com", "A.b_c:d-9"};
    static const char *const bad[] = {"", "a b", "a/b", "é", "a\n", "*", "a%00"};
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_int_equal(user_id_parse(good[i], &u), 0);
        assert_string_equal(u.s, good[i]);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_int_equal(user_id_parse(bad[i], &u), -1);
        assert_int_equal(device_id_parse(bad[i], &d), -1);
    }
    long_id[65] = '\0';
    assert_int_equal(device_id_parse(long_id, &d), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(typeid_vectors),
        cmocka_unit_test(typeid_refusals),
        cmocka_unit_test(kinds_do_not_mix),
        cmocka_unit_test(conversations_show_their_kind),
        cmocka_unit_test(uuid_v7_rises_with_time),
        cmocka_unit_test(tenants_own_ids),
        cmocka_unit_test(conversations_of_other_versions_are_refused),
        cmocka_unit_test(uuid_text_is_strict),
    };
    return cmocka_run_group_tests_name("ids", tests, NULL, NULL);
}
