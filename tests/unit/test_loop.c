/* The loop: workers, posting, timers. */
#include "tests/unit/unit.h"

#include "realtime/loop.c"

#include <unistd.h>

#define JOBS 200

static uv_loop_t uv;
static int worked, done_count, order[JOBS];
static pthread_t loop_thread;

static int setup(void **state)
{
    (void)state;
    uv_loop_init(&uv);
    loop_init(&uv, 4);
    loop_thread = pthread_self();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    loop_stop();
    uv_run(&uv, UV_RUN_DEFAULT);
    return uv_loop_close(&uv);
}

static void run_until(const int *n, int enough)
{
    for (int i = 0; i < 2000 && *n < enough; i++) {
        uv_run(&uv, UV_RUN_ONCE);
    }
    assert_int_equal(*n, enough);
}

static void work(void *arg)
{
    (void)arg;
    assert_false(pthread_equal(pthread_self(), loop_thread));
    __atomic_fetch_add(&worked, 1, __ATOMIC_SEQ_CST);
}

static void done(void *arg)
{
    (void)arg;
    assert_true(pthread_equal(pthread_self(), loop_thread));
    done_count++;
}

static void workers(void **state)
{
    (void)state;
    for (int i = 0; i < JOBS; i++) {
        loop_work(work, done, NULL);
    }
    assert_true(loop_work_pending() > 0);
    run_until(&done_count, JOBS);
    assert_int_equal(worked, JOBS);
    assert_int_equal(loop_work_pending(), 0);
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void wait_at_gate(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
}

static int urgent_done;

static void on_urgent(void *arg)
{
    (void)arg;
    urgent_done++;
}

static void urgent_work_waits_for_no_worker(void **state)
{
    (void)state;
    done_count = 0;
    pthread_mutex_lock(&gate);
    for (int i = 0; i < JOBS; i++) {
        loop_work(wait_at_gate, done, NULL);
    }
    loop_work_urgent(work, on_urgent, NULL);
    run_until(&urgent_done, 1);
    assert_int_equal(done_count, 0);
    pthread_mutex_unlock(&gate);
    run_until(&done_count, JOBS);
}

static int posted;

static void on_post(void *arg)
{
    order[posted++] = (int)(intptr_t)arg;
}

static void *poster(void *unused)
{
    (void)unused;
    for (intptr_t i = 0; i < JOBS; i++) {
        loop_post(on_post, (void *)i);
    }
    return NULL;
}

static void posting_keeps_order(void **state)
{
    (void)state;
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, poster, NULL), 0);
    run_until(&posted, JOBS);
    pthread_join(t, NULL);
    for (int i = 0; i < JOBS; i++) {
        assert_int_equal(order[i], i);
    }
}

struct probe {
    struct loop_timer timer;
    int64_t at_ms;
    struct probe *stops;
};
static int fired;

static void on_probe(struct loop_timer *t)
{
    struct probe *p = (struct probe *)t;
    p->at_ms = loop_now_ms();
    fired++;
    if (p->stops != NULL) {
        loop_timer_stop(&p->stops->timer);
    }
}

static void timers(void **state)
{
    (void)state;
    static const int delays[] = {0, 1, 49, 50, 51, 120, 120};
    struct probe p[COUNT(delays)] = {0}, stopped = {0}, moved = {0};
    int64_t start = loop_now_ms();
    for (size_t i = 0; i < COUNT(delays); i++) {
        loop_timer_start(&p[i].timer, delays[i], on_probe);
    }
    loop_timer_stop(&stopped.timer); /* idle: nothing happens */
    loop_timer_start(&stopped.timer, 60, on_probe);
    loop_timer_stop(&stopped.timer);
    loop_timer_start(&moved.timer, 10, on_probe);
    loop_timer_start(&moved.timer, 150, on_probe); /* counts from anew */
    run_until(&fired, (int)COUNT(delays) + 1);
    for (size_t i = 0; i < COUNT(delays); i++) {
        assert_true(p[i].at_ms - start >= delays[i]);
        assert_true(p[i].at_ms - start < delays[i] + 1000);
    }
    assert_true(moved.at_ms - start >= 150);
    assert_int_equal(stopped.at_ms, 0);
}

/* Two timers of one tick, each of which would stop the other. */
static void a_timer_stops_its_neighbour(void **state)
{
    (void)state;
    struct probe a = {0}, b = {0};
    a.stops = &b;
    b.stops = &a;
    fired = 0;
    loop_timer_start(&a.timer, 60, on_probe);
    loop_timer_start(&b.timer, 60, on_probe);
    run_until(&fired, 1);
    for (int i = 0; i < 4; i++) {
        uv_run(&uv, UV_RUN_ONCE);
    }
    assert_int_equal(fired, 1);
}

/* Longer than the wheel is round. */
static void a_long_timer_goes_round(void **state)
{
    (void)state;
    struct probe p = {0};
    fired = 0;
    loop_timer_start(&p.timer, SLOTS * TICK_MS + 100, on_probe);
    serve_slot(&l.slots[tick_of(p.timer.due_ms) % SLOTS], loop_now_ms());
    assert_int_equal(fired, 0);
    assert_non_null(p.timer.next);
    serve_slot(&l.slots[tick_of(p.timer.due_ms) % SLOTS], p.timer.due_ms);
    assert_int_equal(fired, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(workers), cmocka_unit_test(urgent_work_waits_for_no_worker), cmocka_unit_test(posting_keeps_order),
        cmocka_unit_test(timers),  cmocka_unit_test(a_timer_stops_its_neighbour),     cmocka_unit_test(a_long_timer_goes_round),
    };
    return cmocka_run_group_tests_name("loop", tests, setup, teardown);
}
