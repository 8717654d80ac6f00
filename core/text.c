#include "core/text.h"

#include <stdint.h>

#define WORD_MAX 48 /* longer words get no suggestion */

/* Bytes that a sequence starting with c has; 0: none starts so. */
static size_t announced(unsigned char c)
{
    if (c < 0x80) {
        return 1;
    }
    return c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
}

/* Overlong forms, surrogates and values beyond U+10FFFF show in the second byte. */
static bool second_byte_fits(unsigned char first, unsigned char second)
{
    switch (first) {
    case 0xe0:
        return second >= 0xa0;
    case 0xed:
        return second < 0xa0;
    case 0xf0:
        return second >= 0x90;
    case 0xf4:
        return second < 0x90;
    default:
        return true;
    }
}

void text_repair(char *text)
{
    unsigned char *s = (unsigned char *)text;
    while (*s != '\0') {
        size_t n = announced(*s), i = 1;
        while (i < n && (s[i] & 0xc0) == 0x80 && (i > 1 || second_byte_fits(s[0], s[1]))) {
            i++;
        }
        if (i == n) {
            s += n;
        } else if (n > 0 && s[i] == '\0') {
            *s = '\0';
        } else {
            *s++ = '?';
        }
    }
}

static uint8_t least(int a, int b)
{
    return (uint8_t)(a < b ? a : b);
}

/* Edits between a and b: characters changed, added, missing, or two neighbours swapped. */
static int distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    uint8_t rows[WORD_MAX + 1][WORD_MAX + 1];
    if (n > WORD_MAX || m > WORD_MAX) {
        return TEXT_FAR;
    }
    for (size_t j = 0; j <= m; j++) {
        rows[0][j] = (uint8_t)j;
    }
    for (size_t i = 1; i <= n; i++) {
        rows[i][0] = (uint8_t)i;
        for (size_t j = 1; j <= m; j++) {
            uint8_t d = least(rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]), least(rows[i - 1][j], rows[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                d = least(d, rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = d;
        }
    }
    return rows[n][m];
}

bool text_nearer(const char *word, const char *candidate, int *best)
{
    size_t len = strlen(word);
    int allowed = len < 3 ? 0 : len < 6 ? 1 : 2; /* in short words two edits make any word of any other */
    int d = distance(word, candidate);
    if (d > allowed || d >= *best) {
        return false;
    }
    *best = d;
    return true;
}
