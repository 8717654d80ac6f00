/* Socket.IO packets without I/O. */
#include "tests/unit/unit.h"
#include "tests/unit/fixture.h"

#include "realtime/socketio.h"

static struct err e;

static int read(const char *text, struct sio_packet *p_r)
{
    return sio_read(arena, text, strlen(text), p_r, &e);
}

static void good_packets(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum sio_type type;
        const char *nsp;
        int64_t ack_id;
        int count;
        const char *data; /* NULL: none */
    } cases[] = {
        {"0", SIO_CONNECT, "/", -1, 0, NULL},
        {"0{\"token\":\"x\"}", SIO_CONNECT, "/", -1, 0, "{\"token\":\"x\"}"},
        {"0/,", SIO_CONNECT, "/", -1, 0, NULL},
        {"0/game", SIO_CONNECT, "/game", -1, 0, NULL},
        {"0/game,{\"a\":1}", SIO_CONNECT, "/game", -1, 0, "{\"a\":1}"},
        {"1", SIO_DISCONNECT, "/", -1, 0, NULL},
        {"1/game,", SIO_DISCONNECT, "/game", -1, 0, NULL},
        {"1/game", SIO_DISCONNECT, "/game", -1, 0, NULL},
        {"2[\"m\"]", SIO_EVENT, "/", -1, 0, "[\"m\"]"},
        {"2[1]", SIO_EVENT, "/", -1, 0, "[1]"},
        {"20[\"m\"]", SIO_EVENT, "/", 0, 0, "[\"m\"]"},
        {"2007[\"m\"]", SIO_EVENT, "/", 7, 0, "[\"m\"]"},
        {"2/game,999999999999999[\"m\",{}] \n", SIO_EVENT, "/game", 999999999999999, 0, "[\"m\",{}]"},
        {"2[\"error\"]", SIO_EVENT, "/", -1, 0, "[\"error\"]"},
        {"2[\"m\",{\"__proto__\":1}]", SIO_EVENT, "/", -1, 0, "[\"m\",{\"__proto__\":1}]"},
        {"2[\"m\",{\"_placeholder\":true,\"num\":\"x\"}]", SIO_EVENT, "/", -1, 0, "[\"m\",{\"_placeholder\":true,\"num\":\"x\"}]"},
        {"37[]", SIO_ACK, "/", 7, 0, "[]"},
        {"3/game,7[1,2]", SIO_ACK, "/game", 7, 0, "[1,2]"},
        {"50-[\"m\"]", SIO_EVENT, "/", -1, 0, "[\"m\"]"},
        {"51-[\"m\",{\"_placeholder\":true,\"num\":0}]", SIO_EVENT, "/", -1, 1, "[\"m\",{\"_placeholder\":true,\"num\":0}]"},
        {"52-/game,3[\"m\",{\"_placeholder\":true,\"num\":1},{\"_placeholder\":true,\"num\":1}]", SIO_EVENT, "/game", 3, 2,
         "[\"m\",{\"_placeholder\":true,\"num\":1},{\"_placeholder\":true,\"num\":1}]"},
        {"510-[\"m\"]", SIO_EVENT, "/", -1, 10, "[\"m\"]"},
        {"61-7[{\"_placeholder\":true,\"num\":0}]", SIO_ACK, "/", 7, 1, "[{\"_placeholder\":true,\"num\":0}]"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct sio_packet p;
        assert_int_equal(read(cases[i].text, &p), 0);
        assert_int_equal(p.type, cases[i].type);
        assert_string_equal(p.nsp, cases[i].nsp);
        assert_int_equal(p.ack_id, cases[i].ack_id);
        assert_int_equal(p.count, cases[i].count);
        if (cases[i].data == NULL) {
            assert_null(p.data);
        } else {
            assert_string_equal(json_write(arena, p.data, NULL), cases[i].data);
        }
    }
}

static void bad_packets(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "7",
        "8[]",
        "9",
        "x",
        "-",
        /* CONNECT */
        "0[]",
        "0\"a\"",
        "0123",
        "0null",
        "0{",
        "0{}x",
        "0{\"a\":1,\"a\":2}",
        "01{}",
        "0/game,[]",
        /* DISCONNECT, CONNECT_ERROR */
        "1{}",
        "11",
        "1[]",
        "4",
        "4{\"message\":\"x\"}",
        /* EVENT */
        "2",
        "2[]",
        "2{}",
        "2[null]",
        "2[true]",
        "2[{}]",
        "2[[]]",
        "2\"x\"",
        "2[\"m\"",
        "2[\"m\"]x",
        "2[\"m\"][]",
        "2 [\"m\"]",
        "2/game [\"m\"]",
        "2-1[\"m\"]",
        "2[\"connect\"]",
        "2[\"connect_error\"]",
        "2[\"disconnect\",1]",
        "2[\"disconnecting\"]",
        "2[\"newListener\"]",
        "2[\"removeListener\"]",
        "21000000000000000[\"m\"]",
        "299999999999999999999[\"m\"]",
        "2[\"m\",\"\\u0000\"]",
        "2[\"m\",\"\\ud800\"]",
        "2[\"m\",\"\xff\"]",
        /* ACK */
        "3",
        "3[]",
        "31",
        "31{}",
        "31\"x\"",
        /* attachments */
        "5-1-[\"m\"]",
        "5x-[\"m\"]",
        "51.5-[\"m\"]",
        "51e1-[\"m\"]",
        "5-[\"m\"]",
        "51[\"m\"]",
        "5[\"m\"]",
        "511-[\"m\"]",
        "51000000-[\"m\"]",
        "5999999999999999999999-[\"m\"]",
        "5 1-[\"m\"]",
        "50-{}",
        "50-",
        "61-[]",
        "6-7[]",
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct sio_packet p;
        assert_int_equal(read(bad[i], &p), -1);
        assert_int_not_equal(e.code, ERR_OK);
    }
}

static void placeholders(void **state)
{
    (void)state;
    static const char *const nums[] = {"\"splice\"", "-1", "2", "1.5", "1e9", "null", "true", "[0]", "9223372036854775807"};
    struct sio_packet p;
    for (size_t i = 0; i < COUNT(nums); i++) {
        assert_int_equal(read(arena_printf(arena, "52-[\"m\",{\"a\":[{\"_placeholder\":true,\"num\":%s}]}]", nums[i]), &p), -1);
    }
    assert_int_equal(read("51-[\"m\",{\"_placeholder\":true}]", &p), -1);
    assert_int_equal(read("51-[\"m\",{\"_placeholder\":false}]", &p), 0);
}

static void limits(void **state)
{
    (void)state;
    struct sio_packet p;
    char name[SIO_NAMESPACE_MAX + 8];
    memset(name, 'n', sizeof(name));
    assert_int_equal(read(arena_printf(arena, "0/%.*s,", SIO_NAMESPACE_MAX - 1, name), &p), 0);
    assert_int_equal(read(arena_printf(arena, "0/%.*s,", SIO_NAMESPACE_MAX, name), &p), -1);
    assert_int_equal(sio_read(arena, "0/a\0b,", 6, &p, &e), -1);
    char deep[100];
    memset(deep, '[', 31);
    memset(deep + 31, ']', 31);
    deep[62] = '\0';
    assert_int_equal(read(arena_printf(arena, "2[\"m\",%s]", deep), &p), 0);
    assert_int_equal(read(arena_printf(arena, "2[\"m\",[%s]]", deep), &p), -1);
}

static void names(void **state)
{
    (void)state;
    struct sio_packet p;
    assert_int_equal(read("2[\"message.send\"]", &p), 0);
    assert_string_equal(sio_event_name(arena, &p), "message.send");
    assert_int_equal(read("2[12]", &p), 0);
    assert_string_equal(sio_event_name(arena, &p), "12");
}

static const char two[] = "52-3[\"m\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]";

static void reassembly(void **state)
{
    (void)state;
    struct sio_decoder d = {0};
    assert_int_equal(sio_feed(&d, two, strlen(two), false, 0, &e), 0);
    assert_true(sio_collecting(&d));
    assert_int_equal(sio_feed(&d, "ab", 2, true, 10, &e), 0);
    assert_int_equal(sio_feed(&d, "", 0, true, 20, &e), 1);
    assert_false(sio_collecting(&d));
    assert_true(d.packet.binary);
    assert_int_equal(d.packet.ack_id, 3);
    assert_int_equal(d.packet.blobs[0].len, 2);
    assert_memory_equal(d.packet.blobs[0].data, "ab", 2);
    assert_int_equal(d.packet.blobs[1].len, 0);
    sio_release(&d);
    assert_int_equal(sio_feed(&d, "2[\"m\"]", 6, false, 0, &e), 1);
    sio_release(&d);
    assert_int_equal(sio_feed(&d, "50-[\"m\"]", 8, false, 0, &e), 1);
    sio_release(&d);
    assert_int_equal(sio_feed(&d, "2[\"m\"]", 6, false, 0, &e), 1);
    sio_release(&d);
}

static void broken_runs(void **state)
{
    (void)state;
    struct sio_decoder d = {0};
    assert_int_equal(sio_feed(&d, "ab", 2, true, 0, &e), -1); /* outside of a run */
    assert_int_equal(sio_feed(&d, two, strlen(two), false, 0, &e), 0);
    assert_int_equal(sio_feed(&d, "2[\"m\"]", 6, false, 0, &e), -1); /* text inside */
    sio_release(&d);
    assert_int_equal(sio_feed(&d, two, strlen(two), false, 0, &e), 0);
    assert_int_equal(sio_feed(&d, "ab", 2, true, SIO_RUN_MS_MAX + 1, &e), -1);
    sio_release(&d);
    char *big = arena_alloc(arena, SIO_RUN_BYTES_MAX);
    assert_int_equal(sio_feed(&d, two, strlen(two), false, 0, &e), 0);
    assert_int_equal(sio_feed(&d, big, SIO_RUN_BYTES_MAX, true, 0, &e), 0);
    assert_int_equal(sio_feed(&d, big, 1, true, 0, &e), -1);
    sio_release(&d);
    assert_int_equal(sio_feed(&d, "2[", 2, false, 0, &e), -1);
    assert_null(d.arena);
}

static void writing(void **state)
{
    (void)state;
    static const struct {
        enum sio_type type;
        const char *nsp;
        int64_t ack_id;
        int attachments;
        const char *json, *text;
    } cases[] = {
        {SIO_EVENT, "/", SIO_NO_ACK, 0, "[\"m\"]", "2[\"m\"]"},
        {SIO_EVENT, "/game", 7, 0, "[\"m\"]", "2/game,7[\"m\"]"},
        {SIO_EVENT, "/", SIO_NO_ACK, 2, "[\"m\"]", "52-[\"m\"]"},
        {SIO_ACK, "/game", 0, 0, "[]", "3/game,0[]"},
        {SIO_ACK, "/", 7, 1, "[1]", "61-7[1]"},
        {SIO_DISCONNECT, "/", SIO_NO_ACK, 0, NULL, "1"},
        {SIO_DISCONNECT, "/game", SIO_NO_ACK, 0, NULL, "1/game,"},
    };
    struct buf out = {0};
    for (size_t i = 0; i < COUNT(cases); i++) {
        buf_clear(&out);
        sio_add(&out, cases[i].type, cases[i].nsp, cases[i].ack_id, cases[i].attachments, cases[i].json,
                cases[i].json != NULL ? strlen(cases[i].json) : 0);
        assert_string_equal(out.data, cases[i].text);
    }
    buf_clear(&out);
    sio_add_connect(&out, "/game", "AAAA");
    assert_string_equal(out.data, "0/game,{\"sid\":\"AAAA\"}");
    buf_clear(&out);
    sio_add_connect_error(&out, "/no\"pe", "Invalid namespace", NULL);
    assert_string_equal(out.data, "4/no\"pe,{\"message\":\"Invalid namespace\"}");
    buf_clear(&out);
    sio_add_connect_error(&out, "/", "x\"y", "{\"a\":1}");
    assert_string_equal(out.data, "4{\"message\":\"x\\\"y\",\"data\":{\"a\":1}}");
    buf_free(&out);
}

static void raw_text(void **state)
{
    (void)state;
    static const struct {
        const char *text, *raw;
    } cases[] = {
        {"0{\"b\": 1.0, \"a\":1e3 } ", "{\"b\": 1.0, \"a\":1e3 }"},
        {"2[\"m\"]", ""},
        {"2 [\"m\"]", NULL},
        {"2[ \"m\" ] \n", ""},
        {"2[\"m\",1.0,-0,1e400,123456789012345678901]", "1.0,-0,1e400,123456789012345678901"},
        {"2[\"m\" , {\"z\":1,\"a\":2,\"z\":3} , \"]\" ]\t", "{\"z\":1,\"a\":2,\"z\":3} , \"]\""},
        {"2[\"a\\\"],\\\\\",[\"b\"]]", "[\"b\"]"},
        {"2/game,7[12,\"\\u0000\\ud800\"]", "\"\\u0000\\ud800\""},
        {"2[1.5e3]", ""},
        {"2[12 ,null]", "null"},
        {"37[]", ""},
        {"37[ 1 , 2 ]", "1 , 2"},
        {"2[\"m\",1e]", NULL},
        {"2[\"m\",\"\xff\"]", NULL},
        {"2[\"connect\"]", NULL},
        {"2[\"m\"", NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct sio_decoder d = {.loosely = true};
        assert_int_equal(sio_feed(&d, cases[i].text, strlen(cases[i].text), false, 0, &e), cases[i].raw != NULL ? 1 : -1);
        if (cases[i].raw != NULL) {
            assert_string_equal(d.packet.raw, cases[i].raw);
            assert_int_equal(d.packet.raw_len, strlen(cases[i].raw));
        }
        sio_release(&d);
        assert_true(d.loosely);
    }
    struct sio_decoder d = {.loosely = true};
    assert_int_equal(sio_feed(&d, two, strlen(two), false, 0, &e), 0);
    assert_int_equal(sio_feed(&d, "ab", 2, true, 0, &e), 0);
    assert_int_equal(sio_feed(&d, "c", 1, true, 0, &e), 1);
    assert_string_equal(d.packet.raw, "{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}");
    sio_release(&d);
    static const char wild[] = "51-[\"m\",{\"_placeholder\":true,\"num\":1e400}]";
    assert_int_equal(sio_feed(&d, wild, strlen(wild), false, 0, &e), -1);
}

/* ---- sessions ---- */

static const char *const served[] = {"/", "/game"};
static const struct sio_service service = {.names = served, .count = 2, .join_ms = 1000, .grace_ms = 300};

struct one {
    struct sio_session s;
    struct sio_place places[2];
};

static void begin(struct one *o, int64_t now)
{
    *o = (struct one){0};
    sio_session_init(&o->s, &service, o->places, now);
}

static enum sio_verdict say(struct one *o, const char *text, int64_t now)
{
    int ns;
    enum sio_verdict v = sio_input(&o->s, text, strlen(text), false, now, &ns, &e);
    sio_done(&o->s);
    return v;
}

static void joining(void **state)
{
    (void)state;
    struct one o;
    int ns;
    begin(&o, 0);
    assert_int_equal(sio_input(&o.s, "0/game,{}", 9, false, 0, &ns, &e), SIO_JOIN);
    assert_int_equal(ns, 1);
    sio_done(&o.s);
    assert_int_equal(say(&o, "0/game", 0), SIO_JOIN_AGAIN);
    assert_int_equal(say(&o, "0/nope", 0), SIO_JOIN_UNKNOWN);
    assert_int_equal(say(&o, "2/game,[\"m\"]", 0), SIO_BROKEN); /* not yet */
    sio_joined(&o.s, 1);
    assert_int_equal(say(&o, "0/game", 0), SIO_JOIN_AGAIN);
    assert_int_equal(say(&o, "2/game,[\"m\"]", 0), SIO_DELIVER);
    assert_int_equal(say(&o, "3/game,1[]", 0), SIO_DELIVER);
    assert_int_equal(say(&o, "0", 0), SIO_JOIN);
    sio_left(&o.s, 0, 0); /* refused */
    assert_int_equal(say(&o, "2[\"m\"]", 299), SIO_IGNORE);
    assert_int_equal(say(&o, "2[\"m\"]", 300), SIO_BROKEN);
    assert_int_equal(say(&o, "0", 300), SIO_JOIN);
}

static void strangers_and_leavers(void **state)
{
    (void)state;
    struct one o;
    begin(&o, 0);
    assert_int_equal(say(&o, "2[\"m\"]", 0), SIO_BROKEN);
    assert_int_equal(say(&o, "2/nope,[\"m\"]", 0), SIO_BROKEN);
    assert_int_equal(say(&o, "1", 0), SIO_BROKEN);
    assert_int_equal(say(&o, "31[]", 0), SIO_BROKEN);
    assert_int_equal(say(&o, "x", 0), SIO_BROKEN);
    assert_int_equal(say(&o, "0", 0), SIO_JOIN);
    assert_int_equal(say(&o, "1", 0), SIO_LEAVE); /* without waiting for the answer */
    assert_int_equal(say(&o, "1", 0), SIO_IGNORE);
    assert_int_equal(say(&o, "0", 10), SIO_JOIN);
    sio_joined(&o.s, 0);
    assert_int_equal(say(&o, "1", 10), SIO_LEAVE);
    assert_int_equal(say(&o, "2[\"m\"]", 10), SIO_IGNORE);
}

static void deadlines(void **state)
{
    (void)state;
    struct one o;
    begin(&o, 500);
    assert_int_equal(sio_due_ms(&o.s), 1500);
    assert_null(sio_beat(&o.s, 1499));
    assert_string_equal(sio_beat(&o.s, 1500), "connect timeout");
    assert_int_equal(say(&o, "0", 600), SIO_JOIN);
    assert_int_equal(sio_due_ms(&o.s), 1500); /* no answer yet */
    sio_joined(&o.s, 0);
    assert_int_equal(sio_due_ms(&o.s), 0);
    assert_null(sio_beat(&o.s, 100000));
    assert_int_equal(say(&o, "0/game", 700), SIO_JOIN);
    sio_joined(&o.s, 1);
    assert_int_equal(say(&o, "1", 800), SIO_LEAVE);
    assert_int_equal(sio_due_ms(&o.s), 0); /* still in the other */
    assert_int_equal(say(&o, "51-/game,[\"m\"]", 900), SIO_IGNORE);
    assert_int_equal(sio_due_ms(&o.s), 900 + SIO_RUN_MS_MAX);
    assert_null(sio_beat(&o.s, 899 + SIO_RUN_MS_MAX));
    assert_string_equal(sio_beat(&o.s, 900 + SIO_RUN_MS_MAX), "parse error");
    int ns;
    assert_int_equal(sio_input(&o.s, "b", 1, true, 1000, &ns, &e), SIO_DELIVER);
    assert_int_equal(ns, 1);
    sio_done(&o.s);
    sio_left(&o.s, 1, 2000);
    assert_int_equal(sio_due_ms(&o.s), 3000);
    assert_int_equal(say(&o, "0", 2500), SIO_JOIN);
    sio_left(&o.s, 0, 2500);
    assert_int_equal(sio_due_ms(&o.s), 3000); /* a refusal wins no time */
    assert_int_equal(say(&o, "51-[\"m\"]", 2600), SIO_IGNORE);
    sio_session_end(&o.s);
    assert_false(sio_collecting(&o.s.decoder));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_packets), cmocka_unit_test(bad_packets), cmocka_unit_test(placeholders),          cmocka_unit_test(limits),
        cmocka_unit_test(names),        cmocka_unit_test(reassembly),  cmocka_unit_test(broken_runs),           cmocka_unit_test(writing),
        cmocka_unit_test(raw_text),     cmocka_unit_test(joining),     cmocka_unit_test(strangers_and_leavers), cmocka_unit_test(deadlines),
    };
    return cmocka_run_group_tests_name("socketio", tests, setup, teardown);
}
