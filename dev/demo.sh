# demo.sh: the demo app, endpoints.json and the banner of the local stack. Sourced by dev/stack.

call() { # KEY METHOD URL [JSON] -> the answer
    local answer
    answer=$(curl -sS --fail-with-body -m 10 -X "$2" -H @<(printf 'Authorization: Bearer %s\n' "$1") \
        ${4:+-H 'Content-Type: application/json' -d "$4"} "$3" 2>&1) || { say "$2 $3: $answer"; return 1; }
    printf '%s\n' "$answer"
}

put_private() { (umask 077 && cat >"$1.new") && mv "$1.new" "$1" || die "cannot write $1"; } # FILE: stdin replaces it in one step

# Each step is remembered as soon as it has happened: a start that was cut off is continued by the next one.
demo_make() {
    local answer key
    if [ ! -s "$DEMO" ]; then
        answer=$(call "$(<"$DATA/secrets/admin_key")" POST "$ADMIN/v1/apps" '{"name":"Demo"}') || die "cannot create the demo app"
        jq '{app_id: .id, secret_key: .initial_key.secret}' <<<"$answer" | put_private "$DEMO"
    fi
    jq -e .group_id "$DEMO" >/dev/null && return
    key=$(jq -r .secret_key "$DEMO")
    call "$key" PUT "$API/v1/users/alice" '{"name":"Alice"}' >/dev/null && call "$key" PUT "$API/v1/users/bob" '{"name":"Bob"}' >/dev/null &&
        answer=$(call "$key" POST "$API/v1/groups" '{"name":"Demo group","member_ids":["alice","bob"]}') || die "cannot fill the demo app"
    jq --arg group "$(jq -r .id <<<"$answer")" '. + {group_id: $group}' "$DEMO" | put_private "$DEMO"
}

# The demo app with fresh tokens, or null.
demo() {
    local DEMO=$DATA/demo.json key user answer tokens='{}'
    [ "${PARLEY_DEV_DEMO:-1}" != 0 ] || { echo null; return; }
    demo_make
    key=$(jq -r .secret_key "$DEMO")
    for user in alice bob; do
        if ! answer=$(call "$key" POST "$API/v1/tokens" "{\"user_id\":\"$user\",\"ttl_seconds\":86400}"); then
            say "the demo app has gone or its key was changed: remove $DEMO to get a new one"
            echo null
            return
        fi
        tokens=$(jq --arg u "$user" --argjson t "$tokens" '$t + {($u): {token}}' <<<"$answer")
    done
    jq --argjson t "$tokens" '{app_id, secret_key, users: $t, group_id}' "$DEMO"
}

process() { # NAME PORT SOCKET
    jq -nc --arg name "$1" --argjson pid "$(pid_of "$1" || echo null)" --arg port "$2" --arg socket "$3" \
        '{$name, $pid} + if $port != "" then {port: ($port | tonumber)} else {$socket} end'
}

write_endpoints() {
    local n demo API=http://127.0.0.1:$API_PORT ADMIN=http://127.0.0.1:$ADMIN_PORT
    demo=$(demo) || exit 1
    {
        process api "$API_PORT" ""
        for n in $(gateways); do process "realtime-$n" "$(rt_port "$n")" ""; done
        process redis "" "$SOCKETS/redis.sock"
        process postgres "" "$SOCKETS"
    } | jq -s --arg api "$API" --arg admin "$ADMIN" --rawfile admin_key "$DATA/secrets/admin_key" --argjson demo "$demo" \
        --argjson gateways "$GATEWAYS" --argjson port "$RT_PORT" --argjson admin_port "$RT_ADMIN_PORT" '{$api, $admin,
            realtime: [range($gateways) | "http://127.0.0.1:\(. + $port)"],
            metrics: [$admin + "/metrics", (range($gateways) | "http://127.0.0.1:\(. + $admin_port)/metrics")],
            admin_key: ($admin_key | rtrimstr("\n")), processes: ., $demo}' | put_private "$DATA/endpoints.json"
}

# Keys are shown by the first start only.
banner() {
    local e=$DATA/endpoints.json
    jq -r --arg data "$DATA" '"
Parley is ready.
  REST       \(.api)
  Gateway    \(.realtime | join("  "))
  Operator   \(.admin)   (platform-admin key, /readyz)
  Metrics    \(.metrics | join("  "))",
        (.processes[] | select(.socket) | "  \({postgres: "Postgres", redis: "Redis   "}[.name])   running, pid \(.pid), \(.socket)"),
        "  Data       \($data)   (endpoints.json holds all of this, for programs)"' "$e"
    if [ ! -e "$DATA/started" ]; then
        jq -r '"  Platform-admin key   \(.admin_key)", (.demo | select(.) | "  Demo app'\''s key       \(.secret_key)")' "$e"
        echo "  These keys are shown once; endpoints.json keeps them (mode 0600)."
        touch "$DATA/started"
    fi
    jq -r --arg file "$e" 'select(.demo) | "
List the demo app'\''s users:
  curl -s -H \"Authorization: Bearer $(jq -r .demo.secret_key \($file))\" \(.api)/v1/users

Chat as alice (npm install socket.io-client, then paste into node):
  const { io } = require(\"socket.io-client\");
  const socket = io(\"\(.realtime[0])\", {
    auth: { token: \"\(.demo.users.alice.token)\" } });
  socket.on(\"connect_error\", (e) => console.log(\"refused:\", e.message));
  socket.on(\"message.new\", (m) => console.log(m.sender_id + \":\", m.text));
  socket.on(\"session.ready\", async ({ user }) => {
    console.log(\"hello,\", user.name);
    const message = { to: \"bob\", text: \"Hi Bob!\", client_msg_id: String(Date.now()) };
    console.log(\"ack:\", await socket.emitWithAck(\"message.send\", message));
  });
"' "$e"
}
