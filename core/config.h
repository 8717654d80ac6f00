/* config.h: every setting, declared once. The value comes from the environment variable PARLEY_<NAME>; secrets come only from a file whose
 * path is in PARLEY_<NAME>_FILE (mode 0400 or 0600, owned by the caller; else start-up is refused). docs/CONFIG.md is printed from this table.
 * To add one: a row here.
 *
 * Kinds: STR text; INT integer with bounds; MS integer milliseconds; BYTES integer; BOOL 0/1; SECRET the first line of a file.
 * Programs: A parley-api, R parley-realtime, V parley-archive, M parley-migrate. */
#ifndef CORE_CONFIG_H
#define CORE_CONFIG_H

#include "core/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* clang-format off */
/*    kind    field                 variable (PARLEY_…)      default          min    max         programs  meaning */
#define CONFIG(C) \
    C(STR,    database,             "DATABASE",              "host=127.0.0.1 dbname=parley", 0, 0, "ARVM", "libpq connection string without user and password; each program adds its own role") \
    C(SECRET, database_password,    "DATABASE_PASSWORD",     "",              0,     0,          "ARVM",  "password of the program's role (parley_api, parley_gateway, parley_archiver, parley_owner)") \
    C(SECRET, writer_password,      "WRITER_PASSWORD",       "",              0,     0,          "AR",    "password of role parley_writer, which appends to conversations") \
    C(STR,    redis,                "REDIS",                 "127.0.0.1:6379",0,     0,          "ARV",   "host:port, or the path of a unix socket") \
    C(SECRET, redis_password,       "REDIS_PASSWORD",        "",              0,     0,          "ARV",   "Redis password, if it has one") \
    C(SECRET, master_key,           "MASTER_KEY",            "",              0,     0,          "ARVM",  "64 hexadecimal digits: seals signing secrets and app id keys at rest, keys cursors, bus frames and the relay") \
    C(SECRET, admin_key,            "ADMIN_KEY",             "",              0,     0,          "A",     "the platform-admin key, ply_adm_…") \
    C(STR,    api_address,          "API_ADDRESS",           "127.0.0.1",     0,     0,          "A",     "address of the public REST listener") \
    C(INT,    api_port,             "API_PORT",              "8080",          1,     65535,      "A",     "port of the public REST listener") \
    C(INT,    api_threads,          "API_THREADS",           "8",             1,     256,        "A",     "request threads, each with one Postgres and one Redis link") \
    C(STR,    admin_address,        "ADMIN_ADDRESS",         "127.0.0.1",     0,     0,          "AR",    "address of the operator's listener: platform key, /metrics, /readyz") \
    C(INT,    admin_port,           "ADMIN_PORT",            "8082",          1,     65535,      "A",     "port of the operator's listener of parley-api") \
    C(STR,    realtime_address,     "REALTIME_ADDRESS",      "127.0.0.1",     0,     0,          "R",     "address of the gateway") \
    C(INT,    realtime_port,        "REALTIME_PORT",         "8091",          1,     65535,      "R",     "port of the gateway (Socket.IO)") \
    C(INT,    realtime_admin_port,  "REALTIME_ADMIN_PORT",   "9091",          1,     65535,      "R",     "port of the gateway's own operator listener: /metrics, /livez, /readyz") \
    C(STR,    relay_address,        "RELAY_ADDRESS",         "127.0.0.1",     0,     0,          "R",     "numeric address on which the other gateways reach this one, to relay what has landed at the wrong gateway; never a public one") \
    C(INT,    relay_port,           "RELAY_PORT",            "0",             0,     65535,      "R",     "port of that listener; 0: any free one") \
    C(STR,    relay_advertise,      "RELAY_ADVERTISE",       "",              0,     0,          "R",     "name or address under which the other gateways find it; empty: RELAY_ADDRESS, or the host's name when that is 0.0.0.0 or ::") \
    C(INT,    workers,              "WORKERS",               "4",             1,     64,         "R",     "threads for queries, each with one Postgres and one Redis link") \
    C(STR,    issuer,               "ISSUER",                "parley",        0,     0,          "AR",    "the iss claim of tokens that this deployment mints") \
    C(STR,    origins,              "ORIGINS",               "*",             0,     0,          "AR",    "browser origins allowed at HTTP level: * or a comma-separated list; each app may restrict further") \
    C(MS,     ping_interval,        "PING_INTERVAL_MS",      "25000",         100,   600000,     "R",     "Engine.IO pingInterval") \
    C(MS,     ping_timeout,         "PING_TIMEOUT_MS",       "20000",         100,   600000,     "R",     "Engine.IO pingTimeout") \
    C(BYTES,  max_payload,          "MAX_PAYLOAD_BYTES",     "1000000",       10000, 10000000,   "R",     "largest polling body and WebSocket message") \
    C(MS,     connect_timeout,      "CONNECT_TIMEOUT_MS",    "10000",         100,   600000,     "R",     "an Engine.IO session that joins no namespace is closed after this") \
    C(BYTES,  send_queue,           "SEND_QUEUE_BYTES",      "262144",        65536, 67108864,   "R",     "bytes queued for one connection, behind the packet under way, before it is cut as a slow consumer") \
    C(MS,     send_stall,           "SEND_STALL_MS",         "20000",         100,   600000,     "R",     "a connection that takes nothing of what is queued for it is cut as a slow consumer after this, when more comes") \
    C(INT,    connections_per_address, "CONNECTIONS_PER_ADDRESS", "2000",    1,     1000000,    "R",     "sockets from one address") \
    C(INT,    failed_auth_per_minute, "FAILED_AUTH_PER_MINUTE", "10",         1,     1000000,    "A",     "failed authentications per address and minute before 429") \
    C(INT,    rest_per_key,         "REST_PER_KEY",          "1000",          1,     1000000,    "A",     "requests per second of one API key; burst is twice that") \
    C(INT,    rest_per_user,        "REST_PER_USER",         "20",            1,     1000000,    "A",     "requests per second of one user token; burst is three times that") \
    C(MS,     presence_grace,       "PRESENCE_GRACE_MS",     "2000",          0,     600000,     "R",     "how long a user stays online after the last connection has gone") \
    C(MS,     shutdown_timeout,     "SHUTDOWN_TIMEOUT_MS",   "4000",          100,   60000,      "AR",    "SIGTERM: the process has ended after this") \
    C(STR,    docs_url,             "DOCS_URL",              "https://parley.invalid", 0, 0,     "AR",    "prefix of the type URIs in problem bodies") \
    C(STR,    log_level,            "LOG_LEVEL",             "info",          0,     0,          "ARVM",  "debug, info, warn or error")
/* clang-format on */

#define CONFIG_TYPE_STR const char *
#define CONFIG_TYPE_SECRET const char *
#define CONFIG_TYPE_INT int
#define CONFIG_TYPE_MS int
#define CONFIG_TYPE_BYTES int
#define CONFIG_TYPE_BOOL bool

struct config {
#define C(kind, field, variable, otherwise, min, max, programs, doc) CONFIG_TYPE_##kind field;
    CONFIG(C)
#undef C
};

/* Reads the settings of one program ('A', 'R', 'V' or 'M') into *c; strings live until the process ends. Unknown PARLEY_ variables of a table
 * row's form, values out of bounds, missing or readable-by-others secret files: -1 and *e names the variable and the remedy. */
int config_load(struct config *c, char program, struct err *e) __attribute__((warn_unused_result));

/* docs/CONFIG.md. */
void config_print_docs(FILE *out);

#endif
