#include "api/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 1024

static socklen_t make_address(const char *address, int port, struct sockaddr_storage *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    memset(out, 0, sizeof(*out));
    if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        return sizeof(*v4);
    }
    if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        return sizeof(*v6);
    }
    return 0;
}

static int explain(int why, const char *address, int port, const char *variables, struct err *e)
{
    if (why == EADDRINUSE) {
        return err_set(e, ERR_INTERNAL, "Port %d at %s is taken by another program; set %s_PORT to a free one.", port, address, variables);
    }
    if (why == EACCES) {
        return err_set(e, ERR_INTERNAL, "Port %d needs a privilege this user lacks; set %s_PORT to one above 1023.", port, variables);
    }
    return err_set(e, ERR_INTERNAL, "Cannot listen on %s port %d (%s); set %s_ADDRESS to an address of this machine.", address, port,
                   strerror(why), variables);
}

int listen_on(const char *address, int port, const char *variables, struct err *e)
{
    struct sockaddr_storage sa;
    socklen_t len = make_address(address, port, &sa);
    if (len == 0) {
        return err_set(e, ERR_INTERNAL, "%s_ADDRESS must be a numeric IPv4 or IPv6 address, not \"%.60s\".", variables, address);
    }
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
    if (fd < 0) {
        return explain(errno, address, port, variables, e);
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&sa, len) < 0 || listen(fd, BACKLOG) < 0) {
        int why = errno;
        close(fd);
        return explain(why, address, port, variables, e);
    }
    return fd;
}
