// idle.mjs: what an idle connection costs a gateway: memory per authenticated connection (user, app, three groups) and CPU per connect.
//   node bench/idle.mjs [CONNECTIONS=10000]      after `make all` and `make test` (for tests/node_modules)
// The connections come from several loopback addresses; descriptors must suffice (ulimit -n). Prints one line of JSON.
import { createHmac, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { Stack, root, until } from '../tests/lib/stack.mjs';

const CONNECTIONS = Number(process.argv[2] ?? 10000);
const AT_ONCE = 64;
const GROUP_SIZE = 30; // each user is in three groups

const pooled = async (n, task) => {
  let next = 0;
  await Promise.all(Array.from({ length: AT_ONCE }, async () => { while (next < n) await task(next++); }));
};
const base64url = (value) => Buffer.from(value).toString('base64url');

/** The payload of a masked client frame, text, below 64 KiB. */
function frame(text) {
  const payload = Buffer.from(text), mask = randomBytes(4);
  const head = payload.length < 126 ? Buffer.from([0x81, 0x80 | payload.length]) : Buffer.from([0x81, 0xfe, payload.length >> 8, payload.length & 255]);
  payload.forEach((byte, i) => { payload[i] = byte ^ mask[i & 3]; });
  return Buffer.concat([head, mask, payload]);
}

/** One WebSocket, connected and authenticated; it stays open and is never read for anything but pings. */
function dial(port, token, from) {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', localAddress: from });
    let seen = '', asked = false;
    socket.once('error', reject);
    socket.once('connect', () => socket.write(`GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`));
    socket.on('data', (data) => {
      if (seen === null) return;
      seen += data.toString('latin1');
      if (!asked && seen.includes('maxPayload')) {
        asked = true;
        socket.write(frame(`40${JSON.stringify({ token })}`));
      }
      if (seen.includes('session.ready')) {
        seen = null;
        resolve(socket);
      }
    });
  });
}

const memory = (pid) => Number(readFileSync(`/proc/${pid}/status`, 'utf8').match(/VmRSS:\s+(\d+)/)[1]) * 1024;
const cpu = (pid) => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ').slice(11, 13).reduce((sum, ticks) => sum + Number(ticks), 0) / 100;

process.env.PARLEY_BIN ??= join(root, 'build');
const stack = await Stack.start({ env: { PARLEY_CONNECTIONS_PER_ADDRESS: '1000000', PARLEY_PING_INTERVAL_MS: '600000', PARLEY_TEST_CHECK_REPLIES: '0' } });
try {
  const app = await stack.app('Idle');
  const made = await app.api('POST', '/v1/signing-keys', { alg: 'HS256' });
  const secret = Buffer.from(made.body.secret, 'base64url');
  const now = Math.floor(Date.now() / 1000);
  const token = (sub) => {
    const signed = `${base64url(JSON.stringify({ alg: 'HS256', typ: 'JWT', kid: made.body.kid }))}.${base64url(JSON.stringify({ iss: 'parley', aud: app.id, sub, iat: now, exp: now + 3600, jti: sub }))}`;
    return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
  };
  const user = (i) => `u${i % CONNECTIONS}`;
  await pooled(Math.ceil(CONNECTIONS / 100), (i) => app.api('POST', '/v1/users/batch', { items: Array.from({ length: Math.min(100, CONNECTIONS - i * 100) }, (_, n) => ({ id: user(i * 100 + n), name: user(i * 100 + n) })) }));
  await pooled(Math.ceil(CONNECTIONS / 10), (i) => app.group([...new Set(Array.from({ length: GROUP_SIZE }, (_, n) => user(i * 10 + n)))]));
  const pid = stack.pid('realtime-1'), port = Number(new URL(stack.endpoints.realtime[0]).port);
  await dial(port, token(user(0)), '127.0.0.2'); // what the first one allocates is not a connection's
  const before = { rss: memory(pid), cpu: cpu(pid), at: Date.now() };
  await pooled(CONNECTIONS - 1, (i) => dial(port, token(user(i + 1)), `127.0.${1 + Math.floor(i / 20000)}.2`));
  await until(async () => (await stack.metric('parley_connections')) === CONNECTIONS, { timeout: 30000, what: 'all connections' });
  const after = { rss: memory(pid), cpu: cpu(pid), at: Date.now() };
  const n = CONNECTIONS - 1;
  console.log(JSON.stringify({ connections: CONNECTIONS, rss_per_connection: Math.round((after.rss - before.rss) / n), gateway_cpu_us_per_connect: Math.round((after.cpu - before.cpu) * 1e6 / n), connects_per_second: Math.round(n / (after.at - before.at) * 1000) }));
} finally {
  await stack.stop().catch((e) => console.error(String(e).slice(0, 300)));
}
process.exit(0);
