/* parley-migrate: brings the schema up to date. The only program that connects as parley_owner. */
#include "core/log.h"
#include "storage/migrate.h"

static const char help[] =
    "parley-migrate: brings the Postgres schema up to date.\n\n"
    "  parley-migrate             apply what is missing\n"
    "  parley-migrate --dry-run   show what would be applied\n"
    "  parley-migrate --status    show all migrations\n"
    "  parley-migrate --version\n\n"
    "Settings: PARLEY_DATABASE, PARLEY_DATABASE_PASSWORD_FILE (docs/CONFIG.md). migrations/roles.sql must have been run by a superuser.\n"
    "Exit status: 0 done, 1 failed (nothing of the failed migration is kept), 2 wrong usage or settings.\n";

int main(int argc, char **argv)
{
    enum migrate_mode mode = MIGRATE_UP;
    const char *option = argc > 1 ? argv[1] : "";
    if (strcmp(option, "--help") == 0) {
        fputs(help, stdout);
        return 0;
    }
    if (strcmp(option, "--version") == 0) {
        puts("parley-migrate " PARLEY_VERSION);
        return 0;
    }
    if (strcmp(option, "--dry-run") == 0) {
        mode = MIGRATE_DRY_RUN;
    } else if (strcmp(option, "--status") == 0) {
        mode = MIGRATE_STATUS;
    } else if (argc > 1) {
        fputs(help, stderr);
        return 2;
    }
    struct config c;
    struct err e = {0};
    log_start("migrate", "", LOG_INFO);
    if (config_load(&c, 'M', &e) < 0) {
        fprintf(stderr, "parley-migrate: %s\n", e.msg);
        return 2;
    }
    if (migrate_run(&c, mode, stdout, &e) < 0) {
        fprintf(stderr, "parley-migrate: %s\n", e.msg);
        return 1;
    }
    return 0;
}
