// Hostile bytes on every port; what a gateway answers to each kind of them is tests/corpus. After each case the same process still serves a fresh official client at once and does not spin.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect as dialTcp } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { closeAll, connect } from '../lib/client.mjs';
import { Stack, sleep, until } from '../lib/stack.mjs';

let stack, app, token, gateway, ports;
before(async () => {
  stack = await Stack.start({ env: { PARLEY_CONNECT_TIMEOUT_MS: '20000' } });
  gateway = stack.endpoints.realtime[0];
  ports = { gateway: Number(stack.env.PARLEY_REALTIME_PORT), api: Number(stack.env.PARLEY_API_PORT), ops: Number(stack.env.PARLEY_REALTIME_ADMIN_PORT) };
  app = await stack.app('Hostile', { limits: { sends_per_user: 1000 } });
  for (const id of ['alice', 'bob']) await app.user(id);
  token = await app.token('alice');
});
after(async () => {
  closeAll();
  await stack?.stop();
});

// ---- raw sockets ----

/** A TCP connection that remembers what came: {text(), bytes(), ended, write, wait(pattern), closed(ms), destroy()}. */
async function tcp(port, { allowHalfOpen = true } = {}) {
  const socket = dialTcp({ port, host: '127.0.0.1', allowHalfOpen });
  const chunks = [];
  const c = { socket, ended: false };
  socket.on('data', (d) => chunks.push(d));
  for (const name of ['end', 'close', 'error']) socket.on(name, () => { c.ended = true; });
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  c.bytes = () => Buffer.concat(chunks);
  c.text = () => c.bytes().toString('latin1');
  c.write = (data) => { if (!socket.destroyed && socket.writable) socket.write(data, () => {}); };
  c.wait = (pattern, timeout = 10000) => until(() => c.text().match(pattern), { timeout, what: `${pattern} in «${c.text().slice(0, 300)}»` });
  c.closed = (timeout = 10000) => until(() => c.ended, { timeout, what: `the end of the connection («${c.text().slice(0, 300)}»)` });
  c.destroy = () => socket.destroy();
  return c;
}

const statuses = (c) => [...c.text().matchAll(/HTTP\/1\.[01] (\d{3})/g)].map((m) => Number(m[1]));
const head = (line, ...headers) => [line, 'Host: 127.0.0.1', ...headers, '', ''].join('\r\n');
const EIO = '/socket.io/?EIO=4&transport=polling';

/** Sends bytes, waits for an answer or the end, returns the connection (destroyed). */
async function shoot(port, ...parts) {
  const c = await tcp(port);
  for (const part of parts) c.write(part);
  await until(() => c.ended || /\r\n\r\n/.test(c.text()), { timeout: 15000, what: `an answer or the end of the connection to ${port}` });
  await sleep(100);
  c.destroy();
  return c;
}

// ---- the state of the programs ----

const NAMES = { gateway: 'realtime-1', api: 'api' };
const ticks = (pid) => {
  const f = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ');
  return Number(f[11]) + Number(f[12]);
};

/** The process lives, a fresh client is served, and it is at rest: below half a core over some 400 ms (three tries, since the machine is shared). */
async function healthy(which = 'gateway') {
  const pid = stack.pid(NAMES[which]);
  if (which === 'gateway') {
    const c = await connect(gateway, token, { timeout: 10000 });
    const pong = await c.send('server.ping', { t: 1 });
    assert.equal(pong.ok, true);
    await c.close();
  } else {
    assert.equal((await app.api('GET', '/v1/users?limit=1')).status, 200);
  }
  let share;
  for (let i = 0; i < 3; i++) {
    const [from, begun] = [ticks(pid), performance.now()];
    await sleep(400);
    share = (ticks(pid) - from) * 10 / (performance.now() - begun);
    if (share < 0.5) return;
  }
  assert.fail(`${NAMES[which]} uses ${(share * 100).toFixed(0)} % of a core while nothing happens`);
}

/** A test whose case must leave the program as it was. */
function attack(name, which, fn) {
  test(name, async () => {
    const pid = stack.pid(NAMES[which]);
    await fn();
    process.kill(pid, 0);
    await healthy(which);
  });
}

describe('HTTP at the gateway', () => {
  attack('a thousand fragments of requests, cut anywhere', 'gateway', async () => {
    const parts = [head(`GET ${EIO} HTTP/1.1`), head(`POST ${EIO} HTTP/1.1`, 'Content-Length: 3') + 'abc', head('OPTIONS /socket.io/ HTTP/1.1', 'Origin: http://x'), head('GET /livez HTTP/1.1'), 'abc', '\r\n\r\n',
      head('GET /socket.io/?EIO=4&transport=websocket HTTP/1.1', 'Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Version: 13'), '\x81\x82abcd', '\x00\xff'];
    let seed = 12345;
    const random = (n) => { seed = (seed * 1103515245 + 12345) % 2147483648; return Math.floor(seed / 65536) % n; };
    for (let round = 0; round < 20; round++) {
      await Promise.all(Array.from({ length: 50 }, async () => {
        const text = Array.from({ length: 1 + random(4) }, () => parts[random(parts.length)]).join('');
        const cut = random(text.length) + 1;
        const c = await tcp(ports.gateway);
        c.write(Buffer.from(text.slice(0, cut), 'latin1'));
        await sleep(5);
        c.write(Buffer.from(text.slice(cut), 'latin1'));
        await sleep(20);
        c.destroy();
      }));
    }
  });
});

describe('HTTP at the API', () => {
  const auth = () => `Authorization: Bearer ${app.key}`;

  attack('Content-Length with chunked: the smuggled request is never served', 'api', async () => {
    const smuggled = head('PUT /v1/users/smuggled HTTP/1.1', auth(), 'Content-Type: application/json', 'Content-Length: 12') + '{"name":"s"}';
    for (const framing of [['Content-Length: 4', 'Transfer-Encoding: chunked'], ['Transfer-Encoding: chunked', 'Content-Length: 4'], ['Content-Length: 5', 'Content-Length: 0'], ['Content-Length: 0', 'Content-Length: 5'],
      ['Transfer-Encoding: chunked', 'Transfer-Encoding: identity'], ['Transfer-Encoding: xchunked'], ['Transfer-Encoding : chunked', 'Content-Length: 5'], ['Content-Length: 0\r\n ,5']]) {
      const c = await tcp(ports.api);
      c.write(head('POST /v1/users HTTP/1.1', auth(), 'Content-Type: application/json', ...framing) + '0\r\n\r\n' + smuggled);
      await until(() => c.ended || statuses(c).length > 0, { timeout: 15000, what: 'an answer or the end' });
      await sleep(300);
      c.destroy();
      assert.ok(statuses(c).length <= 1, `${framing}: ${statuses(c)}`);
      assert.ok(statuses(c).every((s) => s >= 400), `${framing}: ${statuses(c)}`);
    }
    assert.equal((await app.api('GET', '/v1/users/smuggled')).status, 404);
  });

  attack('no Host, two Hosts, a space before the colon', 'api', async () => {
    for (const lines of [[], ['Host: a', 'Host: b'], ['Host : a']]) {
      const c = await shoot(ports.api, ['GET /v1/users HTTP/1.1', ...lines, auth(), 'Connection: close', '', ''].join('\r\n'));
      assert.ok(c.ended || statuses(c)[0] === 400, String(lines));
      assert.ok(!statuses(c).includes(200), `${lines}: ${statuses(c)}`);
    }
  });

  attack('NUL, %00 and bad escapes in the URL', 'api', async () => {
    for (const path of ['/v1/users/al\x00ice', '/v1/users/al%00ice', '/v1/users/%', '/v1/users/%zz', '/v1/users/%ff', '/v1/users/%c0%80', '/v1/users?limit=%00', '/v1/users?limit=1&limit=2', '/v1/../v1/users', '//v1/users', '/v1/users/..%2f..%2fapps']) {
      const c = await shoot(ports.api, Buffer.from(head(`GET ${path} HTTP/1.1`, auth(), 'Connection: close'), 'latin1'));
      assert.ok(c.ended || statuses(c)[0] >= 400, path);
      assert.ok(!statuses(c).some((s) => s === 200 || s >= 500), `${path}: ${statuses(c)}`);
    }
  });

  attack('a flood of headers, a long URL, a body beyond the limit', 'api', async () => {
    const flood = await shoot(ports.api, head('GET /v1/users HTTP/1.1', auth(), ...Array.from({ length: 5000 }, (_, i) => `X-${i}: y`)));
    assert.ok(flood.ended || [400, 431].includes(statuses(flood)[0]), String(statuses(flood)));
    const long = await shoot(ports.api, head(`GET /v1/users?q=${'x'.repeat(100000)} HTTP/1.1`, auth()));
    assert.ok(long.ended || [400, 414, 431].includes(statuses(long)[0]), String(statuses(long)));
    const begun = Date.now();
    const body = await shoot(ports.api, head('PUT /v1/users/alice HTTP/1.1', auth(), 'Content-Type: application/json', 'Content-Length: 1000000000'));
    assert.deepEqual(statuses(body), [413]);
    assert.ok(Date.now() - begun < 5000);
    const chunked = await tcp(ports.api);
    chunked.write(head('PUT /v1/users/alice HTTP/1.1', auth(), 'Content-Type: application/json', 'Transfer-Encoding: chunked'));
    for (let i = 0; i < 60 && !chunked.ended; i++) chunked.write(`10000\r\n${' '.repeat(65536)}\r\n`);
    await until(() => chunked.ended || statuses(chunked).length > 0, { timeout: 15000, what: 'a refusal' });
    assert.ok(statuses(chunked).every((s) => [411, 413].includes(s)), String(statuses(chunked)));
    chunked.destroy();
  });

  attack('negative and malformed Content-Length', 'api', async () => {
    for (const value of ['-1', '1x', '0x10', '+5', '99999999999999999999999', ' ', '1,1']) {
      const c = await shoot(ports.api, head('PUT /v1/users/alice HTTP/1.1', auth(), 'Content-Type: application/json', `Content-Length: ${value}`, 'Connection: close') + '{"name":"x"}');
      assert.ok(c.ended || statuses(c)[0] >= 400, value);
      assert.ok(!statuses(c).some((s) => s < 400 || s >= 500), `${value}: ${statuses(c)}`);
    }
  });

  attack('requests that are none', 'api', async () => {
    for (const bytes of ['\x00'.repeat(100), 'GET\r\n\r\n', 'FOO /v1/users HTTP/1.1\r\nHost: x\r\n\r\n', 'GET /v1/users HTTP/9.9\r\nHost: x\r\n\r\n', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', randomBytes(3000)]) {
      const c = await tcp(ports.api);
      c.write(Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes, 'latin1'));
      await sleep(100);
      assert.ok(statuses(c).every((s) => s >= 400 && s !== 500), String(statuses(c)));
      c.destroy();
    }
  });

  test('silent, half and slow requests: the others are served, and these are cut', { timeout: 50000 }, async () => {
    const c = await Promise.all(Array.from({ length: 40 }, () => tcp(ports.api)));
    c.forEach((x, i) => {
      if (i % 3 === 1) x.write('GET /v1/users HT');
      if (i % 3 === 2) x.write(head('POST /v1/users HTTP/1.1', auth(), 'Content-Type: application/json', 'Content-Length: 100') + '{"users":');
    });
    const begun = Date.now();
    assert.equal((await app.api('GET', '/v1/users?limit=1')).status, 200);
    assert.ok(Date.now() - begun < 5000, 'nobody waits for them');
    await Promise.all(c.map((x) => x.closed(40000)));
    c.forEach((x) => x.destroy());
    await healthy('api');
  });

  attack('bodies that JSON readers trip over', 'api', async () => {
    const bodies = ['[', '{"name":"x"', '{"name":"x","name":"y"}', '{"name":"\\u0000"}', '{"name":"\\ud800"}', '{"name":1e999}', `{"metadata":${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}}`, '[1]', 'null', '""', '\ufeff{"name":"x"}', '{"name":"x"} x', '', 'NaN'];
    for (const body of bodies) {
      const r = await app.api('PUT', '/v1/users/bob', body);
      assert.ok([400, 413, 422].includes(r.status), `${body.slice(0, 40)}: ${r.status} ${r.text}`);
      assert.match(r.headers.get('content-type'), /^application\/problem\+json/);
    }
    const bad = await app.api('PUT', '/v1/users/bob', Buffer.from([0x7b, 0x22, 0x6e, 0x61, 0x6d, 0x65, 0x22, 0x3a, 0x22, 0xff, 0x22, 0x7d]));
    assert.equal(bad.status, 400, bad.text);
    assert.equal((await app.api('PUT', '/v1/users/bob', '{"name":"x"}', { 'content-type': 'text/plain' })).status, 415);
  });
});

describe('the operator listener of the gateway', () => {
  attack('hostile requests', 'gateway', async () => {
    for (const bytes of ['\r\n\r\n', 'POST /metrics HTTP/1.1\r\n\r\n', `GET /${'x'.repeat(100000)} HTTP/1.1\r\n\r\n`, 'GET /metrics HTTP/1.1\r\n', '\x00\x00\r\n\r\n', randomBytes(5000), head('GET /metrics HTTP/1.1') + head('GET /metrics HTTP/1.1')]) {
      const c = await tcp(ports.ops);
      c.write(Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes, 'latin1'));
      await sleep(50);
      c.destroy();
    }
    assert.equal((await fetch(stack.endpoints.metrics[1])).status, 200);
  });
});
