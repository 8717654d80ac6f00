#include "tenants/cidr.h"

#include <arpa/inet.h>

#define MAPPED_PREFIX 96

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool is_v4(const uint8_t address[16])
{
    return memcmp(address, mapped, sizeof(mapped)) == 0;
}

/* The length of the address as it was written (32 or 128 bits), or 0. */
static int read_address(const char *text, size_t len, uint8_t out[16])
{
    char copy[INET6_ADDRSTRLEN];
    if (len >= sizeof(copy)) {
        return 0;
    }
    memcpy(copy, text, len);
    copy[len] = '\0';
    if (inet_pton(AF_INET, copy, out + sizeof(mapped)) == 1) {
        memcpy(out, mapped, sizeof(mapped));
        return 32;
    }
    return inet_pton(AF_INET6, copy, out) == 1 ? 128 : 0;
}

/* A decimal number up to max without leading zeros, or -1. */
static int read_prefix(const char *text, int max)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 3 || text[digits] != '\0' || (text[0] == '0' && digits > 1)) {
        return -1;
    }
    int n = atoi(text);
    return n <= max ? n : -1;
}

static bool same_bits(const uint8_t *a, const uint8_t *b, int bits)
{
    int whole = bits / 8, rest = bits % 8;
    return memcmp(a, b, (size_t)whole) == 0 && (rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0);
}

static bool ends_in_zeros(const uint8_t address[16], int prefix)
{
    for (int bit = prefix; bit < 128; bit++) {
        if ((address[bit / 8] >> (7 - bit % 8) & 1) != 0) {
            return false;
        }
    }
    return true;
}

int cidr_parse(const char *text, struct cidr *c_r)
{
    struct cidr c;
    size_t len = strcspn(text, "/");
    int bits = read_address(text, len, c.address);
    if (bits == 0) {
        return -1;
    }
    int prefix = text[len] == '\0' ? bits : read_prefix(text + len + 1, bits);
    c.prefix = prefix + 128 - bits;
    if (prefix < 0 || !ends_in_zeros(c.address, c.prefix)) {
        return -1;
    }
    *c_r = c;
    return 0;
}

bool cidr_holds(const struct cidr *c, const char *ip)
{
    uint8_t address[16];
    if (ip == NULL || read_address(ip, strcspn(ip, "%"), address) == 0) {
        return false;
    }
    bool v4_block = c->prefix >= MAPPED_PREFIX && is_v4(c->address);
    return is_v4(address) == v4_block && same_bits(address, c->address, c->prefix);
}
