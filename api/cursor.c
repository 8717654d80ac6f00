#include "api/cursor.h"

#include "core/crypto.h"

/* version 1 · ms 8 · hash of the query 8 · id 0–128 · MAC 16 */
#define VERSION 1
#define HEAD (1 + 8 + 8)
#define MAC 16
#define CURSOR_TEXT_MAX 256

static uint8_t mac_key[32];

void cursor_start(const uint8_t key[32])
{
    memcpy(mac_key, key, sizeof(mac_key));
}

static void put_mac(const uint8_t *p, size_t len, uint8_t out[MAC])
{
    uint8_t mac[SHA256_LEN];
    crypto_hmac_sha256(mac_key, sizeof(mac_key), p, len, mac);
    memcpy(out, mac, MAC);
}

static void hash_query(const char *query, uint8_t out[8])
{
    uint8_t hash[SHA256_LEN];
    crypto_sha256(query, strlen(query), hash);
    memcpy(out, hash, 8);
}

char *cursor_write(struct arena *a, const char *query, const struct cursor *c)
{
    uint8_t bytes[HEAD + USER_ID_MAX + MAC];
    size_t id_len = strlen(c->id);
    bytes[0] = VERSION;
    for (int i = 0; i < 8; i++) {
        bytes[1 + i] = (uint8_t)((uint64_t)c->ms >> (56 - 8 * i));
    }
    hash_query(query, bytes + 9);
    memcpy(bytes + HEAD, c->id, id_len);
    put_mac(bytes, HEAD + id_len, bytes + HEAD + id_len);
    return crypto_base64url(a, bytes, HEAD + id_len + MAC);
}

int cursor_read(struct arena *a, const char *query, const char *text, struct cursor *c_r, struct err *e)
{
    uint8_t *bytes, mac[MAC], hash[8];
    size_t len, text_len = strlen(text);
    struct cursor c = {.ms = 0};
    if (text_len > CURSOR_TEXT_MAX || crypto_base64url_read(a, text, text_len, &bytes, &len) < 0 || len < HEAD + MAC ||
        len > HEAD + USER_ID_MAX + MAC || bytes[0] != VERSION) {
        return err_set(e, ERR_INVALID_CURSOR, "The cursor is not one that this service made; start again without it.");
    }
    put_mac(bytes, len - MAC, mac);
    if (!crypto_equal(mac, bytes + len - MAC, MAC)) {
        return err_set(e, ERR_INVALID_CURSOR, "The cursor is not one that this service made; start again without it.");
    }
    hash_query(query, hash);
    if (memcmp(hash, bytes + 9, sizeof(hash)) != 0) {
        return err_set(e, ERR_CURSOR_MISMATCH, "The cursor was made with other filters; repeat those, or start again without it.");
    }
    for (int i = 0; i < 8; i++) {
        c.ms = (int64_t)((uint64_t)c.ms << 8 | bytes[1 + i]);
    }
    memcpy(c.id, bytes + HEAD, len - HEAD - MAC);
    *c_r = c;
    return 0;
}
