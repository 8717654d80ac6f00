#include "core/clock.h"

#include <stdbool.h>

static int64_t (*wall)(void);
static int64_t (*mono)(void);

static int64_t read_us(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_wall_ms(void)
{
    return wall != NULL ? wall() : read_us(CLOCK_REALTIME) / 1000;
}

int64_t clock_mono_ms(void)
{
    return mono != NULL ? mono() : read_us(CLOCK_MONOTONIC) / 1000;
}

int64_t clock_mono_us(void)
{
    return mono != NULL ? mono() * 1000 : read_us(CLOCK_MONOTONIC);
}

/* Days since 1970-01-01 of a civil date, and back (proleptic Gregorian calendar, eras of 400 years from March). */
static int64_t days_from_civil(int64_t y, int m, int d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

static void civil_from_days(int64_t z, int *y, int *m, int *d)
{
    z += 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *d = (int)(doy - (153 * mp + 2) / 5 + 1);
    *m = (int)(mp < 10 ? mp + 3 : mp - 9);
    *y = (int)(yoe + era * 400 + (*m <= 2));
}

char *clock_format(int64_t wall_ms, char out[CLOCK_TEXT_MAX])
{
    static const int64_t first = INT64_C(-62167219200000), last = INT64_C(253402300799999);
    wall_ms = wall_ms < first ? first : wall_ms > last ? last : wall_ms;
    int64_t days = wall_ms / 86400000, rest = wall_ms % 86400000;
    if (rest < 0) {
        rest += 86400000;
        days--;
    }
    int y, m, d;
    civil_from_days(days, &y, &m, &d);
    int in_day = (int)rest;
    snprintf(out, CLOCK_TEXT_MAX, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", y % 10000, m % 100, d % 100, in_day / 3600000 % 100,
             in_day / 60000 % 60, in_day / 1000 % 60, in_day % 1000);
    return out;
}

static int digits(const char **s, int count, int *n_r)
{
    int n = 0;
    for (int i = 0; i < count; i++, (*s)++) {
        if (**s < '0' || **s > '9') {
            return -1;
        }
        n = n * 10 + (**s - '0');
    }
    *n_r = n;
    return 0;
}

static int expect(const char **s, char c)
{
    return *(*s)++ == c ? 0 : -1;
}

static int parse_zone(const char **s, int *minutes_r)
{
    if (**s == 'Z' || **s == 'z') {
        (*s)++;
        *minutes_r = 0;
        return 0;
    }
    int sign = **s == '+' ? 1 : **s == '-' ? -1 : 0, h, m;
    (*s)++;
    if (sign == 0 || digits(s, 2, &h) < 0 || expect(s, ':') < 0 || digits(s, 2, &m) < 0 || h > 23 || m > 59) {
        return -1;
    }
    *minutes_r = sign * (h * 60 + m);
    return 0;
}

int clock_parse(const char *s, int64_t *wall_ms_r)
{
    static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int y, mo, d, h, mi, sec, zone;
    if (digits(&s, 4, &y) < 0 || expect(&s, '-') < 0 || digits(&s, 2, &mo) < 0 || expect(&s, '-') < 0 || digits(&s, 2, &d) < 0) {
        return -1;
    }
    if (*s != 'T' && *s != 't') {
        return -1;
    }
    s++;
    if (digits(&s, 2, &h) < 0 || expect(&s, ':') < 0 || digits(&s, 2, &mi) < 0 || expect(&s, ':') < 0 || digits(&s, 2, &sec) < 0) {
        return -1;
    }
    int ms = 0;
    if (*s == '.') {
        s++;
        if (*s < '0' || *s > '9') {
            return -1;
        }
        for (int scale = 100; *s >= '0' && *s <= '9'; s++, scale /= 10) {
            ms += (*s - '0') * scale;
        }
    }
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    if (mo < 1 || mo > 12 || d < 1 || d > month_days[mo - 1] + (mo == 2 && leap) || h > 23 || mi > 59 || sec > 60) {
        return -1;
    }
    if (parse_zone(&s, &zone) < 0 || *s != '\0') {
        return -1;
    }
    int64_t minutes = (days_from_civil(y, mo, d) * 24 + h) * 60 + mi - zone;
    *wall_ms_r = (minutes * 60 + sec) * 1000 + ms;
    return 0;
}

void clock_replace(int64_t (*wall_ms)(void), int64_t (*mono_ms)(void))
{
    wall = wall_ms;
    mono = mono_ms;
}
