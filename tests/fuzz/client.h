/* client.h: the clients of the session fuzzer: they read what the gateway writes and know what it may say when. */
#ifndef TESTS_FUZZ_CLIENT_H
#define TESTS_FUZZ_CLIENT_H

#include "realtime/engineio.h"
#include "realtime/frame.h"
#include "tests/fuzz/fake_lws.h"

#define CLIENTS_MAX 16
#define USERS_MAX 256
#define NOBODY (-1)

/* A connection as the event side knows it, from session_connect() to session_closed(). */
struct user {
    struct conn *conn; /* NULL: closed */
    struct conn_ref ref;
    char id[EIO_SID_LEN + 1];
    bool accepted;
    long sent, received; /* reliable events */
    long seen_volatile, seen_fan_out;
    long acks_sent, acks_received;
    uint64_t proven;
};
extern struct user users[USERS_MAX];
extern int users_count;

struct client {
    char sid[EIO_SID_LEN + 1];
    bool ended;                /* has been told that its session is over */
    int attachments;           /* awaited */
    struct user *in[NS_COUNT]; /* what it takes part in, as far as it has heard */
};
extern struct client clients[CLIENTS_MAX];
extern int clients_count, clients_asked; /* that there are, that may come */

void clients_reset(void);
/* The client (or NOBODY: a new one) whose request goes out on the connection; one answer is owed. */
void client_asks(const struct lws *wsi, int client);

#endif
