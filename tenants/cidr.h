/* cidr.h: address blocks of IPv4 and IPv6. An IPv4 address that arrives mapped into IPv6 (::ffff:a.b.c.d) is the IPv4 address. */
#ifndef TENANTS_CIDR_H
#define TENANTS_CIDR_H

#include <stdbool.h>
#include <stdint.h>

struct cidr {
    uint8_t address[16]; /* IPv4 in its mapped form */
    int prefix;          /* of the 128 bits */
};

/* "10.0.0.0/8", "2001:db8::/32" or a lone address. 0, or -1: not one, or bits are set behind the prefix (the list would mean more than it shows). */
int cidr_parse(const char *text, struct cidr *c_r) __attribute__((warn_unused_result));

/* Does an address (text; a zone "%eth0" is ignored) lie in the block? IPv4 addresses lie in IPv4 blocks only. False for what is no address. */
bool cidr_holds(const struct cidr *c, const char *ip);

#endif
