# lib.sh: processes of the local stack: who they are, whether they live, how they start and end. Sourced by dev/stack.

say() { printf '%s\n' "$*" >&2; }
die() { say "parley: $*"; exit 1; }

# A process is its pid and its start time (field 22 of /proc/PID/stat), so that a recycled pid is never taken for ours.
start_time() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

pid_of() { # NAME -> its pid, when it lives
    local pid start
    read -r pid start 2>/dev/null <"$DATA/run/$1" || return 1
    [ "$(start_time "$pid")" = "$start" ] && [ -n "$start" ] || return 1
    echo "$pid"
}

spawn() { # NAME COMMAND...: in a session of its own, output appended to its log
    local name=$1
    shift
    setsid "$@" >>"$DATA/logs/$name.log" 2>&1 </dev/null 9>&- &
    echo "$! $(start_time $!)" >"$DATA/run/$name"
}

wait_until() { # SECONDS COMMAND...: polls every 50 ms
    local end=$((${EPOCHREALTIME/./} + $1 * 1000000))
    shift
    until "$@"; do
        [ "${EPOCHREALTIME/./}" -lt "$end" ] || return 1
        sleep 0.05
    done
}

gone() { ! pid_of "$1" >/dev/null; }

stop() { # NAME SIGNAL SECONDS: asks, then insists
    local pid
    pid=$(pid_of "$1") || { rm -f "$DATA/run/$1"; return 0; }
    kill -"$2" "$pid" 2>/dev/null
    wait_until "$3" gone "$1" || { pid=$(pid_of "$1") && kill -KILL "$pid" 2>/dev/null; wait_until 2 gone "$1"; }
    rm -f "$DATA/run/$1"
}

port_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

need_port() { # PORT VARIABLE
    port_free "$1" || die "port $1 is taken by another program: set $2 to a free port"
}

secret() { echo "$DATA/secrets/$1"; }

new_secret() { # NAME COMMAND...: makes a secret file once
    local file
    file=$(secret "$1")
    [ -s "$file" ] && return
    shift
    (umask 077 && "$@" >"$file.new") || die "cannot make $file"
    mv "$file.new" "$file"
}

random_hex() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; echo; }

# ---- Postgres: own cluster on a unix socket; as root it runs as user postgres, also below a directory that only root may enter ----

PG_BIN=/usr/lib/postgresql/15/bin

as_postgres() {
    if [ "$(id -u)" = 0 ]; then
        setpriv --reuid=postgres --regid=postgres --clear-groups --inh-caps=+dac_read_search --ambient-caps=+dac_read_search "$@"
    else
        "$@"
    fi
}

superuser() { PGPASSFILE=/dev/null PGPASSWORD=$(cat "$(secret superuser)") psql -qXAt -h "$SOCKETS" -U postgres "$@"; }

pg_ready() { superuser -d postgres -c 'select 1' >/dev/null 2>&1; }

# A killed postmaster's children leave by themselves; the cluster must not be started beside them.
pg_orphans_gone() {
    local p
    for p in /proc/[0-9]*; do
        [ "$(readlink "$p/cwd" 2>/dev/null)" = "$DATA/postgres" ] && return 1
    done
    return 0
}

pg_init() {
    [ -s "$DATA/postgres/PG_VERSION" ] && return
    local password
    rm -rf "$DATA/postgres"
    mkdir -m 0700 "$DATA/postgres"
    [ "$(id -u)" != 0 ] || chown postgres:postgres "$DATA/postgres"
    password=$(mktemp "$SOCKETS/pw.XXXXXX")
    cat "$(secret superuser)" >"$password"
    [ "$(id -u)" != 0 ] || chown postgres "$password"
    as_postgres "$PG_BIN/initdb" -D "$DATA/postgres" -U postgres --pwfile="$password" --auth=scram-sha-256 --data-checksums --no-locale -E UTF8 \
        --no-instructions >>"$DATA/logs/postgres.log" 2>&1 || { rm -rf "$DATA/postgres" "$password"; die "initdb failed: see $DATA/logs/postgres.log"; }
    rm -f "$password"
}

pg_start() {
    pid_of postgres >/dev/null && return
    wait_until 10 pg_orphans_gone || die "processes of an earlier Postgres still use $DATA/postgres"
    pg_init
    rm -f "$DATA/postgres/postmaster.pid"
    (cd / && as_postgres true) || die "cannot become user postgres"
    spawn postgres $(as_postgres_words) "$PG_BIN/postgres" -D "$DATA/postgres" -k "$SOCKETS" -c listen_addresses= -c max_connections=200 \
        -c shared_buffers=256MB -c wal_compression=lz4 -c max_wal_size=8GB -c fsync=on -c synchronous_commit=on -c full_page_writes=on \
        -c log_line_prefix='%m [%p] %q%u@%a ' -c password_encryption=scram-sha-256
}

as_postgres_words() {
    [ "$(id -u)" != 0 ] ||
        echo setpriv --reuid=postgres --regid=postgres --clear-groups --inh-caps=+dac_read_search --ambient-caps=+dac_read_search
}

pg_prepare() { # roles and schema
    if [ ! -e "$DATA/run/prepared" ]; then
        superuser -d postgres -v owner="$(cat "$(secret parley_owner)")" -v api="$(cat "$(secret parley_api)")" \
            -v gateway="$(cat "$(secret parley_gateway)")" -v writer="$(cat "$(secret parley_writer)")" \
            -v archiver="$(cat "$(secret parley_archiver)")" -f "$ROOT/migrations/roles.sql" >/dev/null || die "cannot create the database roles"
        touch "$DATA/run/prepared"
    fi
    PARLEY_DATABASE_PASSWORD_FILE=$(secret parley_owner) "$BIN/parley-migrate" >>"$DATA/logs/migrate.log" 2>&1 ||
        die "the migration failed: $(tail -n 1 "$DATA/logs/migrate.log")"
}

# ---- Redis: own directory, unix socket, AOF ----

redis_ready() { [ "$(redis-cli -s "$SOCKETS/redis.sock" --no-auth-warning -a "$(cat "$(secret redis)")" ping 2>/dev/null)" = PONG ]; }

redis_start() {
    pid_of redis >/dev/null && return
    mkdir -p "$DATA/redis"
    (umask 077 && printf '%s\n' "port 0" "unixsocket $SOCKETS/redis.sock" "unixsocketperm 700" "dir $DATA/redis" "appendonly yes" \
        "appendfsync everysec" "maxmemory-policy noeviction" "save \"\"" "daemonize no" "requirepass $(cat "$(secret redis)")" >"$DATA/redis/redis.conf")
    rm -f "$SOCKETS/redis.sock"
    spawn redis redis-server "$DATA/redis/redis.conf"
}
