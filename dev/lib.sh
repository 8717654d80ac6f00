# lib.sh: processes of the local stack: who they are, whether they live, how they start and end. Sourced by dev/stack and dev/with-stores, which set
# DATA (data directory), SOCKETS (folder of unix sockets), BIN (programs) and ROOT (checkout), and hold the data directory's lock on descriptor 9.

say() { printf '%s\n' "$*" >&2; }
die() {
    say "parley: $*"
    exit 1
}

look() { # PID: sets STATE and STARTED (fields 3 and 22 of /proc/PID/stat) of a process that exists
    local line
    { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
    # shellcheck disable=SC2086
    set -- ${line##*) }
    STATE=$1 STARTED=${20}
}

# A process is its pid and its start time, so that a recycled pid is never taken for ours. A zombie is gone.
pid_of() { # NAME -> its pid, when it lives
    local pid started STATE STARTED
    { read -r pid started <"$DATA/run/$1"; } 2>/dev/null && look "$pid" || return 1
    [ "$STARTED" = "$started" ] && [[ $STATE != [ZX] ]] && echo "$pid"
}

gone() { ! pid_of "$1" >/dev/null; }

# In a session of its own, output appended to its log. It records itself before it becomes the server: no server is ever without a record.
spawn() { # NAME COMMAND...
    local name=$1
    shift
    rm -f "$DATA/run/$name"
    (
        look "$BASHPID" && echo "$BASHPID $STARTED" >"$DATA/run/$name"
        exec setsid "$@"
    ) >>"$DATA/logs/$name.log" 2>&1 </dev/null 9>&- &
    while [ ! -s "$DATA/run/$name" ] && kill -0 $! 2>/dev/null; do sleep 0.01; done
}

wait_until() { # SECONDS COMMAND...: polls every 50 ms
    local end=$((${EPOCHREALTIME/[.,]/} + $1 * 1000000))
    shift
    until "$@"; do
        [ "${EPOCHREALTIME/[.,]/}" -lt "$end" ] || return 1
        sleep 0.05
    done
}

up_or_gone() { # NAME COMMAND...
    local name=$1
    shift
    "$@" || gone "$name"
}

wait_for() { # NAME SECONDS COMMAND...: until COMMAND holds
    local name=$1 seconds=$2
    shift 2
    wait_until "$seconds" up_or_gone "$name" "$@"
    "$@" || die "$name does not start; the end of $DATA/logs/$name.log: $(tail -n 3 "$DATA/logs/$name.log" 2>/dev/null)"
}

stop() { # NAME [SIGNAL SECONDS]...: asks, insists, in the end kills
    local name=$1 pid signal
    shift
    while pid=$(pid_of "$name"); do
        signal=${1:-KILL}
        kill -"$signal" "$pid" 2>/dev/null
        wait_until "${2:-2}" gone "$name" && break
        [ "$signal" != KILL ] || { say "$name (pid $pid) does not die" && return 1; }
        shift 2
    done
    rm -f "$DATA/run/$name"
}

secret() { echo "$DATA/secrets/$1"; }

new_secret() { # NAME COMMAND...: makes a secret file once
    local file=$DATA/secrets/$1
    [ ! -s "$file" ] || return 0
    shift
    (umask 077 && "$@" >"$file.new") && [ -s "$file.new" ] || die "cannot make $file: \`$*\` failed"
    mv "$file.new" "$file"
}

random_hex() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }

# What both stores need before they start, and what the programs need to reach them.
make_secrets() {
    local name
    for name in superuser parley_owner parley_api parley_gateway parley_writer parley_archiver redis; do new_secret "$name" random_hex 16; done
    new_secret master_key random_hex 32
}

store_environment() {
    export PARLEY_DATABASE="host=$SOCKETS dbname=parley" PARLEY_REDIS=$SOCKETS/redis.sock
    export PARLEY_REDIS_PASSWORD_FILE=$DATA/secrets/redis PARLEY_MASTER_KEY_FILE=$DATA/secrets/master_key
    export PARLEY_WRITER_PASSWORD_FILE=$DATA/secrets/parley_writer
}

# ---- Postgres: own cluster on a unix socket; as root it runs as user postgres, also below a directory that only root may enter ----

PG_BIN=/usr/lib/postgresql/15/bin
AS_POSTGRES=()
[ "$(id -u)" != 0 ] ||
    AS_POSTGRES=(setpriv --reuid=postgres --regid=postgres --clear-groups --inh-caps=+dac_read_search --ambient-caps=+dac_read_search)

give_to_postgres() { [ "$(id -u)" != 0 ] || chown postgres:postgres "$@"; }
superuser() { PGPASSFILE=/dev/null PGPASSWORD=$(<"$DATA/secrets/superuser") psql -qXAt -v ON_ERROR_STOP=1 -h "$SOCKETS" -U postgres "$@"; }
pg_ready() { "$PG_BIN/pg_isready" -q -h "$SOCKETS"; }

pg_init() {
    [ ! -s "$DATA/postgres/PG_VERSION" ] || return 0
    local password
    rm -rf "$DATA/postgres.new"
    mkdir -m 0700 "$DATA/postgres.new" && give_to_postgres "$DATA/postgres.new" && password=$(mktemp "$SOCKETS/pw.XXXXXX") || exit 1
    cat "$DATA/secrets/superuser" >"$password" && give_to_postgres "$password"
    "${AS_POSTGRES[@]}" "$PG_BIN/initdb" -D "$DATA/postgres.new" -U postgres --pwfile="$password" --auth=scram-sha-256 --data-checksums \
        --no-locale -E UTF8 --no-instructions >>"$DATA/logs/postgres.log" 2>&1 </dev/null 9>&-
    local result=$?
    rm -f "$password"
    [ $result = 0 ] || die "initdb failed: see $DATA/logs/postgres.log"
    mv "$DATA/postgres.new" "$DATA/postgres"
}

pg_processes() { # pids of servers that work in our directory
    find /proc -mindepth 2 -maxdepth 2 -name cwd -printf '%l\t%h\n' 2>/dev/null |
        awk -F'\t' -v dir="$DATA/postgres" '$1 == dir { sub("/proc/", "", $2); print $2 }'
}
pg_empty() { [ -z "$(pg_processes)" ]; }

# A killed postmaster's children leave by themselves, or are sent away; the cluster must not be started beside them.
pg_clear() {
    local pid lock=$DATA/postgres/postmaster.pid signal
    [ -e "$lock" ] || return 0
    wait_until 2 pg_empty
    for signal in QUIT KILL; do
        pg_empty && break
        # shellcheck disable=SC2046
        kill -$signal $(pg_processes) 2>/dev/null
        wait_until 2 pg_empty
    done
    pg_empty || die "processes of an earlier Postgres still use $DATA/postgres: $(pg_processes | tr '\n' ' ')"
    # The pid in the lock files may by now be somebody else's, or a zombie, which would keep Postgres from starting.
    read -r pid <"$lock" && [ -d "/proc/$pid" ] && rm -f "$lock"
    rm -f "$SOCKETS"/.s.PGSQL.5432*
}

pg_start() {
    gone postgres || return 0
    pg_clear
    pg_init
    spawn postgres "${AS_POSTGRES[@]}" "$PG_BIN/postgres" -D "$DATA/postgres" -k "$SOCKETS" -c listen_addresses= -c max_connections=200 \
        -c shared_buffers=256MB -c wal_compression=lz4 -c max_wal_size=8GB -c fsync=on -c synchronous_commit=on -c full_page_writes=on \
        -c 'log_line_prefix=%m [%p] %q%u@%a '
}

# Roles when they, or their passwords, are new; then the schema. The passwords go in by stdin, where nobody can list them.
pg_prepare() {
    local sum role
    sum=$(cat "$ROOT/migrations/roles.sql" "$DATA"/secrets/parley_* | sha256sum)
    if [ "$sum" != "$(cat "$DATA/run/roles" 2>/dev/null)" ]; then
        {
            for role in owner api gateway writer archiver; do printf "\\\\set %s '%s'\n" "$role" "$(<"$DATA/secrets/parley_$role")"; done
            cat "$ROOT/migrations/roles.sql"
        } | superuser -d postgres -f - >>"$DATA/logs/migrate.log" 2>&1 || die "cannot create the database roles: see $DATA/logs/migrate.log"
        echo "$sum" >"$DATA/run/roles"
    fi
    PARLEY_DATABASE_PASSWORD_FILE=$DATA/secrets/parley_owner "$BIN/parley-migrate" >>"$DATA/logs/migrate.log" 2>&1 ||
        die "the migration failed: $(tail -n 1 "$DATA/logs/migrate.log")"
}

# ---- Redis: own directory, unix socket, append-only file ----

redis_ready() { [ "$(REDISCLI_AUTH=$(<"$DATA/secrets/redis") redis-cli -s "$SOCKETS/redis.sock" ping 2>/dev/null)" = PONG ]; }

redis_start() {
    gone redis || return 0
    (
        umask 077
        mkdir -p "$DATA/redis"
        printf '%s\n' 'port 0' "unixsocket $SOCKETS/redis.sock" 'unixsocketperm 700' "dir \"$DATA/redis\"" 'appendonly yes' 'appendfsync everysec' \
            'maxmemory-policy noeviction' 'save ""' 'daemonize no' "requirepass $(<"$DATA/secrets/redis")" >"$DATA/redis/redis.conf"
    )
    rm -f "$SOCKETS/redis.sock"
    spawn redis redis-server "$DATA/redis/redis.conf"
}

stop_stores() {
    stop redis TERM 2 &
    stop postgres INT 2 QUIT 1
    wait
}
