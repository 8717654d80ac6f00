/* sio-echo: the echo server's command line, start and end. Listens on the loopback addresses only. */
#include "core/crypto.h"
#include "core/log.h"
#include "realtime/gateway.h"
#include "tests/echo/echo.h"

#include <getopt.h>
#include <signal.h>
#include <unistd.h>

#define STOP_MS 1000

static const char usage[] = "usage: sio-echo --port N [--profile conformance|client-suite] [--ping-interval MS] [--ping-timeout MS]\n";

static struct config config = {.realtime_address = "127.0.0.1",
                               .origins = "*",
                               .max_payload = 1000000,
                               .send_queue = 64 << 20,
                               .send_stall = 20000,
                               .connections_per_address = 100000};
static uv_signal_t terminate, interrupt;

static int wrong(void)
{
    fputs(usage, stderr);
    return 2;
}

static const struct profile *find_profile(const char *name)
{
    static const struct profile *const all[] = {&echo_conformance, &echo_client_suite};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (strcmp(all[i]->name, name) == 0) {
            return all[i];
        }
    }
    return NULL;
}

/* -1: no number of that range. */
static int read_number(const char *text, int most)
{
    char *end;
    long n = strtol(text, &end, 10);
    return end != text && *end == '\0' && n >= 1 && n <= most ? (int)n : -1;
}

/* The ping options are for tests that are not about time. */
static int read_options(int argc, char **argv)
{
    static const struct option options[] = {{"port", required_argument, NULL, 'p'},
                                            {"profile", required_argument, NULL, 'f'},
                                            {"ping-interval", required_argument, NULL, 'i'},
                                            {"ping-timeout", required_argument, NULL, 't'},
                                            {NULL, 0, NULL, 0}};
    int c, port = -1, interval = 0, timeout = 0;
    echo_profile = &echo_conformance;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'p') {
            port = read_number(optarg, 65535);
        } else if (c == 'f') {
            echo_profile = find_profile(optarg);
        } else if (c == 'i') {
            interval = read_number(optarg, 600000);
        } else if (c == 't') {
            timeout = read_number(optarg, 600000);
        } else {
            return -1;
        }
    }
    if (optind != argc || port < 0 || interval < 0 || timeout < 0 || echo_profile == NULL) {
        return -1;
    }
    config.realtime_port = port;
    config.ping_interval = interval > 0 ? interval : echo_profile->ping_interval;
    config.ping_timeout = timeout > 0 ? timeout : echo_profile->ping_timeout;
    return 0;
}

static void on_stopped(void)
{
    uv_close((uv_handle_t *)&terminate, NULL);
    uv_close((uv_handle_t *)&interrupt, NULL);
    loop_stop();
}

static void on_signal(uv_signal_t *unused, int signal)
{
    (void)unused;
    (void)signal;
    if (!node.draining) {
        node.draining = true;
        gateway_stop(STOP_MS, on_stopped);
    }
}

static int start(uv_loop_t *loop, struct err *e)
{
    config.connect_timeout = echo_profile->connect_timeout;
    gateway_setup.paths[0] = "/socket.io";
    gateway_setup.paths[1] = "/engine.io";
    gateway_setup.also = "::1";
    gateway_setup.on_pair = echo_on_pair;
    node.config = &config;
    node.loop = loop;
    crypto_random_base62(node.id, EIO_NODE_LEN);
    log_start("echo", node.id, LOG_INFO);
    loop_init(loop, 0);
    uv_signal_init(loop, &terminate);
    uv_signal_init(loop, &interrupt);
    uv_signal_start(&terminate, on_signal, SIGTERM);
    uv_signal_start(&interrupt, on_signal, SIGINT);
    return gateway_init(e) < 0 || gateway_listen(e) < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
    static uv_loop_t loop;
    struct err e = {0};
    if (read_options(argc, argv) < 0) {
        return wrong();
    }
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&loop);
    if (start(&loop, &e) < 0) {
        fprintf(stderr, "sio-echo: %s\n", e.msg);
        fflush(NULL);
        _exit(1); /* a thread is running */
    }
    printf("listening on port %d, profile %s\n", config.realtime_port, echo_profile->name);
    fflush(stdout);
    uv_run(&loop, UV_RUN_DEFAULT);
    echo_end();
    return uv_loop_close(&loop) == 0 ? 0 : 1;
}
