/* The one way an entry is written as JSON. */
#include "unit.h"

#include "core/clock.h"
#include "core/json.h"
#include "storage/entries.h"
#include "storage/outbox.h"
#include "core/tenant-private.h"

static struct entry message(const char *body)
{
    struct entry en = {.seq = 9007199254740991,
                       .created_ms = 1795493757123,
                       .kind = ENTRY_MESSAGE,
                       .sender = {.s = "al.ice@x"},
                       .body = body,
                       .body_len = strlen(body)};
    memset(en.mid.b, 0x11, 16);
    uint8_t hash[16];
    memset(hash, 0x22, 16);
    en.conv = conv_id_from_hash(hash);
    return en;
}

static void expect_text(const struct entry *en, bool for_sender, const char *want)
{
    struct buf out = {0};
    struct err e;
    struct arena *a = arena_new("test");
    buf_adds(&out, "42");
    entry_encode(&out, en, for_sender);
    assert_string_equal(out.data + 2, want);
    assert_non_null(json_read(a, out.data + 2, out.len - 2, &e));
    arena_free(&a);
    buf_free(&out);
}

static void test_encode(void **state)
{
    (void)state;
    struct entry en = message("{\"type\":\"text\",\"text\":\"h\\u00e9 {}\"}");
    char id[ID_TEXT_MAX], conv[ID_TEXT_MAX], head[200], want[600];
    snprintf(head, sizeof(head), "{\"id\":\"%s\",\"conversation_id\":\"%s\",\"seq\":9007199254740991", msg_id_print(&en.mid, id),
             conv_id_print(&en.conv, conv));
    snprintf(want, sizeof(want),
             "%s,\"sender_id\":\"al.ice@x\",\"created_at\":\"2026-11-24T04:15:57.123Z\",\"type\":\"text\",\"text\":\"h\\u00e9 {}\"}", head);
    expect_text(&en, false, want);
    expect_text(&en, true, want); /* nothing to show */
    snprintf(en.client_msg_id, sizeof(en.client_msg_id), "a\"b");
    expect_text(&en, false, want);
    snprintf(want, sizeof(want),
             "%s,\"sender_id\":\"al.ice@x\",\"client_msg_id\":\"a\\\"b\",\"created_at\":\"2026-11-24T04:15:57.123Z\",\"type\":\"text\","
             "\"text\":\"h\\u00e9 {}\"}",
             head);
    expect_text(&en, true, want);

    static const char *const empty[] = {"{}", "{ }", "{\n\t}"};
    for (size_t i = 0; i < COUNT(empty); i++) {
        en = message(empty[i]);
        snprintf(want, sizeof(want), "%s,\"sender_id\":\"al.ice@x\",\"created_at\":\"2026-11-24T04:15:57.123Z\"}", head);
        expect_text(&en, false, want);
    }
    en = message("{\"user_id\":\"bob\"}");
    en.kind = ENTRY_MEMBER_LEFT;
    snprintf(want, sizeof(want), "%s,\"actor_id\":\"al.ice@x\",\"created_at\":\"2026-11-24T04:15:57.123Z\",\"user_id\":\"bob\"}", head);
    expect_text(&en, true, want);
    en.sender.s[0] = '\0';
    snprintf(want, sizeof(want), "%s,\"created_at\":\"2026-11-24T04:15:57.123Z\",\"user_id\":\"bob\"}", head);
    expect_text(&en, true, want);
    en.kind = ENTRY_MESSAGE; /* the app's own message */
    snprintf(want, sizeof(want), "%s,\"sender_id\":\"\",\"created_at\":\"2026-11-24T04:15:57.123Z\",\"user_id\":\"bob\"}", head);
    expect_text(&en, true, want);
}

static void test_events(void **state)
{
    (void)state;
    assert_string_equal(entry_event(ENTRY_MESSAGE), "message.new");
    assert_string_equal(entry_event(ENTRY_MEMBER_ROLE_CHANGED), "member.role_changed");
    assert_null(entry_event((enum entry_kind)0));
    assert_null(entry_event((enum entry_kind)8));
}

/* The message id is a function of the app's key, the conversation, the sender and the client's id, and of nothing else. */
static void test_identity(void **state)
{
    (void)state;
    struct app_id app = app_id_new();
    struct tenant *t = tenant_new(&app), *u = tenant_new(&app);
    u->id_key[0] = 1;
    struct conv_id c1 = conv_id_new_group(), c2 = conv_id_new_group();
    struct user_id ab = {.s = "ab"}, a = {.s = "a"};
    struct append base, rows[6];
    outbox_row(t, &base, &c1, ENTRY_MESSAGE, &ab, "c", "{}", 2);
    outbox_row(t, &rows[0], &c1, ENTRY_MESSAGE, &ab, "c", "{\"x\":1}", 7);
    assert_true(msg_id_equal(&base.entry.mid, &rows[0].entry.mid));
    outbox_row(u, &rows[1], &c1, ENTRY_MESSAGE, &ab, "c", "{}", 2);
    outbox_row(t, &rows[2], &c2, ENTRY_MESSAGE, &ab, "c", "{}", 2);
    outbox_row(t, &rows[3], &c1, ENTRY_MESSAGE, &a, "bc", "{}", 2);
    outbox_row(t, &rows[4], &c1, ENTRY_MESSAGE, &ab, "d", "{}", 2);
    outbox_row(t, &rows[5], &c1, ENTRY_MESSAGE, &ab, "", "{}", 2);
    for (int i = 1; i < 6; i++) {
        assert_false(msg_id_equal(&base.entry.mid, &rows[i].entry.mid));
    }
    assert_int_equal(base.member_limit, 10000);
    tenant_unref(t);
    tenant_unref(u);
}

static void test_results(void **state)
{
    (void)state;
    for (int s = APPEND_WRITTEN; s <= APPEND_BAD_ROW; s++) {
        struct err e = {.code = ERR_OK};
        bool fine = s == APPEND_WRITTEN || s == APPEND_DUPLICATE || s == APPEND_UNCHANGED;
        assert_int_equal(append_result((enum append_status)s, &e), fine ? 0 : -1);
        assert_true(fine == (e.code == ERR_OK) && e.code != ERR_INTERNAL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_encode), cmocka_unit_test(test_events), cmocka_unit_test(test_identity),
                                       cmocka_unit_test(test_results)};
    return cmocka_run_group_tests_name("entries", tests, NULL, NULL);
}
