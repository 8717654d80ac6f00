#include "realtime/loop.h"

#include "core/metrics.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#define TICK_MS 50
#define SLOTS 1024 /* longer delays go round more than once */
#define WORKERS_MAX 64

struct node node;

struct job {
    struct job *next;
    void (*work)(void *arg); /* NULL: posted, nothing to do off the loop */
    void (*done)(void *arg);
    void *arg;
};

struct jobs {
    struct job *first, **last;
};

static struct {
    uv_loop_t *loop;
    uv_async_t wake;
    uv_timer_t tick;
    uv_prepare_t turn;
    pthread_mutex_t lock;
    struct todo {
        struct jobs jobs;
        pthread_cond_t more;
    } todo, urgent;     /* under the lock */
    struct jobs posted; /* under the lock */
    bool stopping;      /* under the lock */
    pthread_t threads[WORKERS_MAX + 1];
    int threads_count;
    atomic_int pending;
    struct loop_timer slots[SLOTS]; /* heads of rings */
    int64_t ticked;                 /* the last tick served */
    uint64_t turn_ns, idle_ns;      /* when the last turn ended, idle time until then */
} l = {.lock = PTHREAD_MUTEX_INITIALIZER, .todo.more = PTHREAD_COND_INITIALIZER, .urgent.more = PTHREAD_COND_INITIALIZER};

static void jobs_init(struct jobs *q)
{
    q->first = NULL;
    q->last = &q->first;
}

static void jobs_add(struct jobs *q, struct job *j)
{
    j->next = NULL;
    *q->last = j;
    q->last = &j->next;
}

static struct job *job_new(void (*work)(void *), void (*done)(void *), void *arg)
{
    struct job *j = malloc(sizeof(*j));
    if (j == NULL) {
        fputs("out of memory: job\n", stderr);
        abort();
    }
    *j = (struct job){NULL, work, done, arg};
    return j;
}

/* ---- workers ---- */

static void post(struct job *j)
{
    pthread_mutex_lock(&l.lock);
    bool first = l.posted.first == NULL;
    jobs_add(&l.posted, j);
    if (first) {
        uv_async_send(&l.wake);
    }
    pthread_mutex_unlock(&l.lock);
}

static void *worker(void *arg)
{
    struct todo *todo = arg;
    pthread_mutex_lock(&l.lock);
    for (;;) {
        struct job *j = todo->jobs.first;
        if (j == NULL) {
            if (l.stopping) {
                break;
            }
            pthread_cond_wait(&todo->more, &l.lock);
            continue;
        }
        todo->jobs.first = j->next;
        if (todo->jobs.first == NULL) {
            todo->jobs.last = &todo->jobs.first;
        }
        pthread_mutex_unlock(&l.lock);
        j->work(j->arg);
        post(j);
        pthread_mutex_lock(&l.lock);
    }
    pthread_mutex_unlock(&l.lock);
    return NULL;
}

static void hand_over(struct todo *todo, struct job *j)
{
    atomic_fetch_add(&l.pending, 1);
    pthread_mutex_lock(&l.lock);
    jobs_add(&todo->jobs, j);
    pthread_cond_signal(&todo->more);
    pthread_mutex_unlock(&l.lock);
}

void loop_work(void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
    hand_over(&l.todo, job_new(work, done, arg));
}

void loop_work_urgent(void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
    hand_over(&l.urgent, job_new(work, done, arg));
}

int loop_work_pending(void)
{
    return atomic_load(&l.pending);
}

void loop_post(void (*fn)(void *arg), void *arg)
{
    post(job_new(NULL, fn, arg));
}

static void run_posted(uv_async_t *unused)
{
    (void)unused;
    pthread_mutex_lock(&l.lock);
    struct job *j = l.posted.first;
    jobs_init(&l.posted);
    pthread_mutex_unlock(&l.lock);
    while (j != NULL) {
        struct job *next = j->next;
        if (j->work != NULL) {
            atomic_fetch_sub(&l.pending, 1);
        }
        j->done(j->arg);
        free(j);
        j = next;
    }
}

/* ---- timers ---- */

int64_t loop_now_ms(void)
{
    return (int64_t)uv_now(l.loop);
}

static void ring_add(struct loop_timer *head, struct loop_timer *t)
{
    t->next = head;
    t->prev = head->prev;
    head->prev->next = t;
    head->prev = t;
}

static void ring_del(struct loop_timer *t)
{
    t->prev->next = t->next;
    t->next->prev = t->prev;
    t->next = t->prev = NULL;
}

/* Rounded up: a timer is never early. */
static int64_t tick_of(int64_t due_ms)
{
    int64_t tick = (due_ms + TICK_MS - 1) / TICK_MS;
    return tick > l.ticked ? tick : l.ticked + 1;
}

void loop_timer_start(struct loop_timer *t, int64_t delay_ms, void (*fn)(struct loop_timer *t))
{
    loop_timer_stop(t);
    t->due_ms = loop_now_ms() + (delay_ms > 0 ? delay_ms : 0);
    t->fn = fn;
    ring_add(&l.slots[tick_of(t->due_ms) % SLOTS], t);
}

void loop_timer_stop(struct loop_timer *t)
{
    if (t->next != NULL) {
        ring_del(t);
    }
}

/* Takes the slot's ring apart before anything runs, since functions start and stop timers, also each other's. */
static void serve_slot(struct loop_timer *head, int64_t now)
{
    struct loop_timer ring = {.next = &ring, .prev = &ring};
    if (head->next == head) {
        return;
    }
    ring.next = head->next;
    ring.prev = head->prev;
    ring.next->prev = ring.prev->next = &ring;
    head->next = head->prev = head;
    while (ring.next != &ring) {
        struct loop_timer *t = ring.next;
        ring_del(t);
        if (t->due_ms <= now) {
            t->fn(t);
        } else {
            ring_add(&l.slots[tick_of(t->due_ms) % SLOTS], t);
        }
    }
}

static void on_tick(uv_timer_t *unused)
{
    (void)unused;
    int64_t now = loop_now_ms(), tick = now / TICK_MS;
    if (tick - l.ticked > SLOTS) {
        l.ticked = tick - SLOTS; /* after a long stop each slot is served once */
    }
    while (l.ticked < tick) {
        l.ticked++;
        serve_slot(&l.slots[l.ticked % SLOTS], now);
    }
}

/* ---- life ---- */

/* A turn is what happens between two waits. */
static void on_turn(uv_prepare_t *unused)
{
    (void)unused;
    uint64_t now = uv_hrtime(), idle = uv_metrics_idle_time(l.loop);
    metric_observe_us(METRIC_LOOP_STALL, NULL, NULL, (int64_t)((now - l.turn_ns) - (idle - l.idle_ns)) / 1000);
    l.turn_ns = now;
    l.idle_ns = idle;
}

static void start_thread(struct todo *todo)
{
    int failed = pthread_create(&l.threads[l.threads_count++], NULL, worker, todo);
    assert(failed == 0);
}

void loop_init(uv_loop_t *loop, int workers)
{
    l.loop = loop;
    l.stopping = false;
    jobs_init(&l.todo.jobs);
    jobs_init(&l.urgent.jobs);
    jobs_init(&l.posted);
    uv_loop_configure(loop, UV_METRICS_IDLE_TIME);
    uv_async_init(loop, &l.wake, run_posted);
    uv_timer_init(loop, &l.tick);
    uv_prepare_init(loop, &l.turn);
    uv_update_time(loop);
    l.ticked = loop_now_ms() / TICK_MS;
    for (int i = 0; i < SLOTS; i++) {
        l.slots[i].next = l.slots[i].prev = &l.slots[i];
    }
    uv_timer_start(&l.tick, on_tick, TICK_MS, TICK_MS);
    l.turn_ns = uv_hrtime();
    l.idle_ns = 0;
    uv_prepare_start(&l.turn, on_turn);
    start_thread(&l.urgent);
    for (int i = 0; i < workers && i < WORKERS_MAX; i++) {
        start_thread(&l.todo);
    }
}

void loop_stop(void)
{
    pthread_mutex_lock(&l.lock);
    l.stopping = true;
    pthread_cond_broadcast(&l.todo.more);
    pthread_cond_broadcast(&l.urgent.more);
    pthread_mutex_unlock(&l.lock);
    while (l.threads_count > 0) {
        pthread_join(l.threads[--l.threads_count], NULL);
    }
    run_posted(NULL);
    uv_close((uv_handle_t *)&l.wake, NULL);
    uv_close((uv_handle_t *)&l.tick, NULL);
    uv_close((uv_handle_t *)&l.turn, NULL);
}
