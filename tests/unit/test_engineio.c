/* Engine.IO without I/O: packets, payloads, the check of requests, heartbeat, upgrade. */
#include "tests/unit/unit.h"
#include "tests/unit/fixture.h"

#include "realtime/engineio.h"

static void packets(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum eio_type type;
        bool binary;
        const char *data;
    } good[] = {{"4hello", EIO_MESSAGE, false, "hello"},
                {"4", EIO_MESSAGE, false, ""},
                {"2probe", EIO_PING, false, "probe"},
                {"0{}", EIO_OPEN, false, "{}"},
                {"6", EIO_NOOP, false, ""},
                {"bAQID", EIO_MESSAGE, true, "\1\2\3"},
                {"b", EIO_MESSAGE, true, ""},
                {"bAQI=", EIO_MESSAGE, true, "\1\2"},
                {"bAQ==", EIO_MESSAGE, true, "\1"},
                {"4b", EIO_MESSAGE, false, "b"},
                {"b+/8=", EIO_MESSAGE, true, "\xfb\xff"}};
    for (size_t i = 0; i < COUNT(good); i++) {
        struct eio_packet p;
        assert_int_equal(eio_decode(arena, good[i].text, strlen(good[i].text), &p), 0);
        assert_int_equal(p.type, good[i].type);
        assert_int_equal(p.binary, good[i].binary);
        assert_int_equal(p.len, strlen(good[i].data));
        assert_memory_equal(p.data, good[i].data, p.len);
    }
    static const char *const bad[] = {"",      "7",     "x",     "-",      "abc",   "b@@@",  "bA",    "bAQ",     "bAQ=",
                                      "bA===", "b====", "bAQ=A", "bAQIDA", "bAR==", "bAQJ=", "bAQ-_", "bAQID\n", "b AQI"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct eio_packet p;
        assert_int_equal(eio_decode(arena, bad[i], strlen(bad[i]), &p), -1);
    }
}

/* How many packets a body yields, negative when it ends undecodably: -1 - packets. */
static int walk(const char *body, size_t len)
{
    struct eio_payload it = {body, len, 0};
    struct eio_packet p;
    int n = 0, rc;
    while ((rc = eio_payload_next(&it, arena, &p)) > 0) {
        n++;
    }
    return rc < 0 ? -1 - n : n;
}

static void payloads(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        int result;
    } cases[] = {{"4a", 1},
                 {"4a\x1e"
                  "4b",
                  2},
                 {"4hello\x1e"
                  "bAQIDBA==",
                  2},
                 {"", -1},
                 {"\x1e", -1},
                 {"\x1e"
                  "4a",
                  -1},
                 {"4a\x1e", -2},
                 {"4a\x1e\x1e"
                  "4b",
                  -2},
                 {"4a\x1e"
                  "7",
                  -2}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(walk(cases[i].body, strlen(cases[i].body)), cases[i].result);
    }
    struct buf many = {0};
    for (int i = 0; i < EIO_PACKETS_PER_POST; i++) {
        buf_adds(&many, i == 0 ? "6"
                               : "\x1e"
                                 "6");
    }
    assert_int_equal(walk(many.data, many.len), EIO_PACKETS_PER_POST);
    buf_adds(&many, "\x1e"
                    "6");
    assert_int_equal(walk(many.data, many.len), -1 - EIO_PACKETS_PER_POST);
    buf_free(&many);
}

static void base64_round_trip(void **state)
{
    (void)state;
    unsigned char bytes[300];
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (unsigned char)(i * 7);
    }
    for (size_t len = 0; len <= sizeof(bytes); len++) {
        struct buf out = {0};
        struct eio_packet p;
        eio_add_binary(&out, bytes, len);
        assert_int_equal(out.len, strlen(out.data));
        assert_int_equal(eio_decode(arena, out.data, out.len, &p), 0);
        assert_int_equal(p.len, len);
        assert_memory_equal(p.data, bytes, len);
        buf_free(&out);
    }
}

static void utf8(void **state)
{
    (void)state;
    static const char *const good[] = {"",
                                       "plain ascii of more than eight",
                                       "\xc2\x80",
                                       "\xe2\x82\xac",
                                       "\xf0\x9f\x98\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "1234567\xc3\xa4rest of it",
                                       "\xe0\xa0\x80\xf0\x90\x80\x80"};
    static const char *const bad[] = {"\xff",
                                      "\x80",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xc3",
                                      "\xe2\x82",
                                      "\xf0\x9f\x98",
                                      "12345678\xe2(\xa1",
                                      "\xc3\xc3"};
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_true(eio_utf8_valid(good[i], strlen(good[i])));
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_false(eio_utf8_valid(bad[i], strlen(bad[i])));
    }
}

static struct eio_query query_of(const char *text)
{
    struct eio_query q = {0};
    while (*text != '\0') {
        size_t n = strcspn(text, "&");
        eio_query_add(&q, text, n);
        text += n + (text[n] == '&');
    }
    return q;
}

static void requests(void **state)
{
    (void)state;
    static const char polling[] = "EIO=4&transport=polling", both[] = "EIO=4&transport=websocket",
                      of[] = "EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA";
    static const char ws_of[] = "EIO=4&transport=websocket&sid=AAAAAAAAAAAAAAAAAAAA";
    struct eio_session p, w;
    eio_session_init(&p, EIO_POLLING, 25000, 20000, 0);
    eio_session_init(&w, EIO_WEBSOCKET, 25000, 20000, 0);
    const struct {
        const char *query;
        enum eio_method method;
        bool upgrade;
        const struct eio_session *session;
        enum eio_refusal result;
    } cases[] = {
        {"", EIO_GET, false, NULL, EIO_R_UNKNOWN_TRANSPORT},
        {"EIO=4&transport=", EIO_GET, false, NULL, EIO_R_UNKNOWN_TRANSPORT},
        {"EIO=4&transport=__proto__", EIO_GET, false, NULL, EIO_R_UNKNOWN_TRANSPORT},
        {"EIO=4&transport=constructor", EIO_GET, true, NULL, EIO_R_UNKNOWN_TRANSPORT},
        {"EIO=4&transport=websocket-and-more", EIO_GET, true, NULL, EIO_R_UNKNOWN_TRANSPORT},
        {of, EIO_GET, false, NULL, EIO_R_UNKNOWN_SID},
        {"EIO=4&transport=polling&sid=", EIO_GET, false, NULL, EIO_R_UNKNOWN_SID},
        {of, EIO_GET, false, &w, EIO_R_BAD_REQUEST},
        {ws_of, EIO_GET, false, &p, EIO_R_BAD_REQUEST},
        {of, EIO_OTHER_METHOD, false, &p, EIO_R_BAD_REQUEST},
        {of, EIO_GET, true, &p, EIO_R_BAD_REQUEST},
        {polling, EIO_POST, false, NULL, EIO_R_BAD_METHOD},
        {polling, EIO_OTHER_METHOD, false, NULL, EIO_R_BAD_METHOD},
        {both, EIO_GET, false, NULL, EIO_R_BAD_REQUEST},
        {"transport=polling", EIO_GET, false, NULL, EIO_R_UNSUPPORTED_VERSION},
        {"transport=polling&EIO=3", EIO_GET, false, NULL, EIO_R_UNSUPPORTED_VERSION},
        {"transport=websocket&EIO=abc", EIO_GET, true, NULL, EIO_R_UNSUPPORTED_VERSION},
        {"transport=polling&EIO=40", EIO_GET, false, NULL, EIO_R_UNSUPPORTED_VERSION},
        {"EIO=3&transport=x&EIO=4&transport=polling&token=a=b", EIO_GET, false, NULL, EIO_ADMITTED},
        {polling, EIO_GET, false, NULL, EIO_ADMITTED},
        {both, EIO_GET, true, NULL, EIO_ADMITTED},
        {of, EIO_GET, false, &p, EIO_ADMITTED},
        {of, EIO_POST, false, &p, EIO_ADMITTED},
        {ws_of, EIO_GET, true, &p, EIO_ADMITTED},
        {ws_of, EIO_GET, true, &w, EIO_ADMITTED}, /* and then closed */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct eio_query q = query_of(cases[i].query);
        struct eio_request r = {
            .query = &q, .method = cases[i].method, .upgrade = cases[i].upgrade, .origin_allowed = true, .session = cases[i].session};
        assert_int_equal(eio_check(&r), cases[i].result);
    }
}

static void origins(void **state)
{
    (void)state;
    struct eio_query q = query_of("EIO=4&transport=polling");
    struct eio_request r = {.query = &q, .method = EIO_GET, .origin = "http://a.example\x01", .origin_allowed = true};
    assert_int_equal(eio_check(&r), EIO_R_BAD_REQUEST);
    r.origin = "http://a.example";
    assert_int_equal(eio_check(&r), EIO_ADMITTED);
    r.origin_allowed = false;
    assert_int_equal(eio_check(&r), EIO_R_FORBIDDEN);
}

static void texts(void **state)
{
    (void)state;
    struct buf out = {0};
    eio_add_refusal(&out, EIO_R_UNSUPPORTED_VERSION);
    assert_string_equal(out.data, "{\"code\":5,\"message\":\"Unsupported protocol version\"}");
    assert_int_equal(eio_refusal_status(EIO_R_FORBIDDEN), 403);
    buf_clear(&out);
    eio_add_open(&out, "AAAAAAAAAAAAAAAAAAAA", true, 25000, 20000, 1000000);
    assert_string_equal(out.data,
                        "0{\"sid\":\"AAAAAAAAAAAAAAAAAAAA\",\"upgrades\":[\"websocket\"],\"pingInterval\":25000,\"pingTimeout\":20000,"
                        "\"maxPayload\":1000000}");
    buf_free(&out);
    char a[EIO_SID_LEN + 1], b[EIO_SID_LEN + 1];
    eio_make_sid("n0d-rest", a);
    eio_make_sid("", b);
    assert_memory_equal(a, "n0d", 3);
    assert_int_equal(strlen(a), EIO_SID_LEN);
    assert_int_equal(strspn(b, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), EIO_SID_LEN);
    assert_string_not_equal(a + 3, b + 3);
}

static enum eio_verdict feed(struct eio_session *s, bool probe, const char *text, int64_t now)
{
    struct eio_packet p;
    assert_int_equal(eio_decode(arena, text, strlen(text), &p), 0);
    return eio_input(s, probe, &p, now);
}

static void verdicts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum eio_verdict open, probing;
    } cases[] = {{"4x", EIO_DELIVER, EIO_DROP_SOCKET}, {"bAQID", EIO_DELIVER, EIO_DROP_SOCKET},  {"1", EIO_END, EIO_DROP_SOCKET},
                 {"2", EIO_BROKEN, EIO_DROP_SOCKET},   {"2probe", EIO_BROKEN, EIO_ANSWER_PROBE}, {"2probex", EIO_BROKEN, EIO_DROP_SOCKET},
                 {"3", EIO_IGNORE, EIO_DROP_SOCKET},   {"0", EIO_IGNORE, EIO_DROP_SOCKET},       {"6", EIO_IGNORE, EIO_DROP_SOCKET},
                 {"5", EIO_IGNORE, EIO_SWITCH}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct eio_session s;
        eio_session_init(&s, EIO_POLLING, 100, 50, 0);
        assert_int_equal(feed(&s, false, cases[i].text, 0), cases[i].open);
        assert_true(eio_probe_start(&s));
        assert_int_equal(feed(&s, true, cases[i].text, 0), cases[i].probing);
    }
}

static void heartbeat(void **state)
{
    (void)state;
    struct eio_session s;
    eio_session_init(&s, EIO_WEBSOCKET, 100, 50, 1000);
    assert_int_equal(eio_beat(&s, 1099), EIO_WAIT);
    assert_int_equal(eio_beat(&s, 1100), EIO_SEND_PING);
    assert_int_equal(eio_beat(&s, 1149), EIO_WAIT);
    assert_int_equal(feed(&s, false, "4x", 1149), EIO_DELIVER); /* no sign of life */
    assert_int_equal(feed(&s, false, "3", 1149), EIO_PROVEN);
    assert_int_equal(feed(&s, false, "3", 1149), EIO_IGNORE);
    assert_int_equal(eio_beat(&s, 1248), EIO_WAIT);
    assert_int_equal(eio_beat(&s, 1249), EIO_SEND_PING);
    assert_int_equal(eio_beat(&s, 1299), EIO_EXPIRED);
}

static void a_late_ping_does_not_move_the_deadline(void **state)
{
    (void)state;
    struct eio_session s;
    eio_session_init(&s, EIO_POLLING, 300, 200, 0);
    assert_int_equal(eio_beat(&s, 349), EIO_SEND_PING);
    assert_int_equal(eio_beat(&s, 499), EIO_WAIT);
    assert_int_equal(eio_beat(&s, 500), EIO_EXPIRED);
    eio_session_init(&s, EIO_POLLING, 300, 200, 0);
    for (int64_t nominal = 300, now = 349; nominal <= 1200; nominal += 300, now = nominal + 49) {
        assert_int_equal(s.due_ms, nominal);
        assert_int_equal(eio_beat(&s, now), EIO_SEND_PING);
        assert_int_equal(feed(&s, false, "3", now), EIO_PROVEN);
    }
    eio_session_init(&s, EIO_POLLING, 300, 200, 0);
    assert_int_equal(eio_beat(&s, 1000), EIO_SEND_PING); /* after a stop of the whole process */
    assert_int_equal(eio_beat(&s, 1099), EIO_WAIT);
    assert_int_equal(eio_beat(&s, 1100), EIO_EXPIRED);
}

static void an_upload_may_take_the_pongs_time(void **state)
{
    (void)state;
    struct eio_session s;
    eio_session_init(&s, EIO_WEBSOCKET, 100, 50, 0);
    eio_progress(&s, 10); /* nothing is awaited */
    assert_int_equal(s.due_ms, 100);
    assert_int_equal(eio_beat(&s, 100), EIO_SEND_PING);
    eio_progress(&s, 140);
    assert_int_equal(eio_beat(&s, 189), EIO_WAIT);
    for (int64_t now = 150; now < 400; now += 10) {
        eio_progress(&s, now);
    }
    assert_int_equal(eio_beat(&s, 300), EIO_EXPIRED);
}

static void upgrade(void **state)
{
    (void)state;
    struct eio_session s;
    eio_session_init(&s, EIO_POLLING, 100, 50, 0);
    assert_true(eio_probe_start(&s));
    assert_false(eio_probe_start(&s)); /* one at a time */
    assert_int_equal(feed(&s, true, "2probe", 0), EIO_ANSWER_PROBE);
    assert_int_equal(feed(&s, true, "2probe", 0), EIO_ANSWER_PROBE);
    eio_probe_stop(&s);
    assert_int_equal(s.transport, EIO_POLLING);
    assert_true(eio_probe_start(&s));
    assert_int_equal(feed(&s, true, "5", 0), EIO_SWITCH);
    assert_int_equal(s.transport, EIO_WEBSOCKET);
    assert_false(eio_probe_start(&s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packets),
        cmocka_unit_test(payloads),
        cmocka_unit_test(base64_round_trip),
        cmocka_unit_test(utf8),
        cmocka_unit_test(requests),
        cmocka_unit_test(origins),
        cmocka_unit_test(texts),
        cmocka_unit_test(verdicts),
        cmocka_unit_test(heartbeat),
        cmocka_unit_test(upgrade),
        cmocka_unit_test(a_late_ping_does_not_move_the_deadline),
        cmocka_unit_test(an_upload_may_take_the_pongs_time),
    };
    return cmocka_run_group_tests_name("engineio", tests, setup, teardown);
}
