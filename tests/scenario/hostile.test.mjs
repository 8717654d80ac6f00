// Hostile bytes on every port. After each case the same process still serves a fresh official client at once and does not spin.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
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

/** A polling session made by hand: its sid. */
async function handshake() {
  const r = await fetch(`${gateway}${EIO}`);
  return JSON.parse((await r.text()).slice(1)).sid;
}

// ---- WebSocket by hand ----

function frame(opcode, payload, { mask = true, fin = true, rsv = 0, length } = {}) {
  const data = Buffer.from(payload);
  const n = length ?? data.length;
  const first = Buffer.from([(fin ? 0x80 : 0) | rsv | opcode]);
  const bit = mask ? 0x80 : 0;
  let size;
  if (n < 126) size = Buffer.from([bit | n]);
  else if (n < 65536) size = Buffer.from([bit | 126, n >> 8, n & 255]);
  else {
    size = Buffer.alloc(9);
    size[0] = bit | 127;
    size.writeBigUInt64BE(BigInt(n), 1);
  }
  if (!mask) return Buffer.concat([first, size, data]);
  const key = randomBytes(4);
  return Buffer.concat([first, size, key, Buffer.from(data.map((b, i) => b ^ key[i & 3]))]);
}

/** An open WebSocket, past Engine.IO's open packet and, if asked, past CONNECT. */
async function websocket({ join = false } = {}) {
  const c = await tcp(ports.gateway);
  const key = randomBytes(16).toString('base64');
  c.write(head('GET /socket.io/?EIO=4&transport=websocket HTTP/1.1', 'Upgrade: websocket', 'Connection: Upgrade', `Sec-WebSocket-Key: ${key}`, 'Sec-WebSocket-Version: 13'));
  await c.wait(/^HTTP\/1\.1 101/);
  assert.ok(c.text().includes(createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')));
  await c.wait(/0\{"sid"/);
  c.packet = (text, options) => c.write(frame(1, text, options));
  if (join) {
    c.packet(`40${JSON.stringify({ token })}`);
    await c.wait(/session\.ready/);
  }
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
  for (const path of [EIO, '/elsewhere', '/', '/livez']) {
    attack(`a pipelined GET and POST with a body in one segment: ${path}`, 'gateway', async () => {
      for (const body of ['abc', '40', 'GET / HTTP/1.1\r\n\r\n', '\r\n\r\n']) {
        const c = await shoot(ports.gateway, head(`GET ${path} HTTP/1.1`) + head(`POST ${path} HTTP/1.1`, `Content-Length: ${body.length}`, 'Content-Type: text/plain') + body);
        assert.ok(c.ended || statuses(c).length >= 1);
      }
    });
  }

  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
    attack(`a pipelined ${method} with a body behind a GET, to a live session`, 'gateway', async () => {
      const sid = await handshake();
      await shoot(ports.gateway, head(`GET /livez HTTP/1.1`) + head(`${method} ${EIO}&sid=${sid} HTTP/1.1`, 'Content-Length: 3') + 'abc');
      await shoot(ports.gateway, head(`${method} /elsewhere HTTP/1.1`, 'Content-Length: 3') + 'abc' + head(`${method} ${EIO}&sid=${sid} HTTP/1.1`, 'Content-Length: 3') + 'abc');
    });
  }

  for (const upgrade of ['foo', 'h2c', 'WebSocketX', 'websocket, foo', 'x'.repeat(300)]) {
    attack(`Upgrade: ${upgrade.slice(0, 20)} as first and as second request of a connection`, 'gateway', async () => {
      const request = head('GET /socket.io/?EIO=4&transport=websocket HTTP/1.1', `Upgrade: ${upgrade}`, 'Connection: Upgrade', 'HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Version: 13');
      const first = await shoot(ports.gateway, request);
      assert.ok(!/HTTP\/1\.1 101/.test(first.text()));
      for (const opening of ['/livez', EIO, '/elsewhere']) {
        const c = await tcp(ports.gateway);
        c.write(head(`GET ${opening} HTTP/1.1`));
        await c.wait(/\r\n\r\n/);
        c.write(request);
        await until(() => c.ended || statuses(c).length > 1, { timeout: 12000, what: 'an answer or the end' });
        assert.ok(!/HTTP\/1\.1 101/.test(c.text()));
        c.destroy();
      }
    });
  }

  attack('HTTP/2 with prior knowledge', 'gateway', async () => {
    const c = await shoot(ports.gateway, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00');
    assert.ok(c.ended || statuses(c)[0] >= 400);
  });

  attack('a waiting GET that is half-closed, and one that is reset', 'gateway', async () => {
    for (const way of ['end', 'destroy', 'resetAndDestroy']) {
      const sid = await handshake();
      const c = await tcp(ports.gateway);
      c.write(head(`GET ${EIO}&sid=${sid} HTTP/1.1`));
      await sleep(200);
      c.socket[way]();
      // The session ends with its GET, at once.
      await until(async () => {
        const r = await fetch(`${gateway}${EIO}&sid=${sid}`, { method: 'POST', body: '3', headers: { 'content-type': 'text/plain' } });
        const text = await r.text();
        return r.status === 400 && text.includes('Session ID unknown');
      }, { timeout: 3000, every: 100, what: `the end of the session after ${way}` });
      const pid = stack.pid('realtime-1');
      const from = ticks(pid);
      await sleep(500);
      assert.ok(ticks(pid) - from < 30, 'it does not spin on the closed socket');
      c.destroy();
    }
  });

  attack('overlapping GETs and overlapping POSTs end the session', 'gateway', async () => {
    let sid = await handshake();
    const first = await tcp(ports.gateway);
    first.write(head(`GET ${EIO}&sid=${sid} HTTP/1.1`));
    await sleep(200);
    const second = await shoot(ports.gateway, head(`GET ${EIO}&sid=${sid} HTTP/1.1`));
    assert.deepEqual(statuses(second), [400]);
    await first.wait(/HTTP\/1\.1 200[\s\S]*\r\n\r\n1$/);
    first.destroy();
    const later = await fetch(`${gateway}${EIO}&sid=${sid}`);
    assert.deepEqual([later.status, (await later.json()).code], [400, 1]);

    sid = await handshake();
    const slow = await tcp(ports.gateway);
    slow.write(head(`POST ${EIO}&sid=${sid} HTTP/1.1`, 'Content-Length: 10', 'Content-Type: text/plain') + '40');
    await sleep(200);
    const other = await shoot(ports.gateway, head(`POST ${EIO}&sid=${sid} HTTP/1.1`, 'Content-Length: 1', 'Content-Type: text/plain') + '3');
    assert.deepEqual(statuses(other), [400]);
    slow.destroy();
    const gone = await fetch(`${gateway}${EIO}&sid=${sid}`);
    assert.deepEqual([gone.status, (await gone.json()).code], [400, 1]);
  });

  attack('a chunked body is refused with 411', 'gateway', async () => {
    const sid = await handshake();
    const c = await shoot(ports.gateway, head(`POST ${EIO}&sid=${sid} HTTP/1.1`, 'Transfer-Encoding: chunked', 'Content-Type: text/plain') + '2\r\n40\r\n0\r\n\r\n');
    assert.deepEqual(statuses(c), [411]);
    const elsewhere = await shoot(ports.gateway, head('POST /elsewhere HTTP/1.1', 'Transfer-Encoding: chunked') + '2\r\n40\r\n0\r\n\r\n' + head('GET /livez HTTP/1.1'));
    assert.equal(statuses(elsewhere).filter((s) => s === 200).length, 0, 'what follows is not taken for a request');
  });

  attack('Content-Length together with chunked is never two requests', 'gateway', async () => {
    const sid = await handshake();
    for (const path of [`${EIO}&sid=${sid}`, '/elsewhere', '/livez']) {
      const c = await shoot(ports.gateway, head(`POST ${path} HTTP/1.1`, 'Content-Length: 4', 'Transfer-Encoding: chunked') + '0\r\n\r\n' + head('GET /livez HTTP/1.1'));
      assert.ok(!statuses(c).includes(200), c.text().slice(0, 200));
    }
  });

  for (const [name, headers] of [['negative', ['Content-Length: -1']], ['two different', ['Content-Length: 1', 'Content-Length: 2']], ['two equal', ['Content-Length: 1', 'Content-Length: 1']],
    ['hexadecimal', ['Content-Length: 0x1']], ['signed', ['Content-Length: +1']], ['a list', ['Content-Length: 1, 1']], ['beyond 64 bits', ['Content-Length: 99999999999999999999999']],
    ['wrapping', ['Content-Length: 18446744073709551617']], ['absent', []]]) {
    attack(`Content-Length: ${name}`, 'gateway', async () => {
      const sid = await handshake();
      const c = await shoot(ports.gateway, head(`POST ${EIO}&sid=${sid} HTTP/1.1`, 'Content-Type: text/plain', ...headers) + '3' + head('GET /livez HTTP/1.1'));
      assert.ok(statuses(c).length <= 1, 'one answer');
      assert.ok(statuses(c).every((s) => [400, 411, 413].includes(s)), String(statuses(c)));
      assert.ok(c.ended || statuses(c).length === 1);
    });
  }

  attack('a body of 1,000,001 bytes gets 413, 10^9 announced get it at once', 'gateway', async () => {
    const sid = await handshake();
    const big = await fetch(`${gateway}${EIO}&sid=${sid}`, { method: 'POST', body: `4${'x'.repeat(1000000)}`, headers: { 'content-type': 'text/plain' } });
    assert.equal(big.status, 413);
    await big.text();
    const begun = Date.now();
    const c = await shoot(ports.gateway, head(`POST ${EIO}&sid=${await handshake()} HTTP/1.1`, 'Content-Length: 1000000000', 'Content-Type: text/plain'));
    assert.deepEqual(statuses(c), [413]);
    assert.ok(Date.now() - begun < 2000);
  });

  test('1,000,000 bytes are taken', async () => {
    const sid = await handshake();
    await fetch(`${gateway}${EIO}&sid=${sid}`, { method: 'POST', body: `40${JSON.stringify({ token })}`, headers: { 'content-type': 'text/plain' } });
    const accepted = await (await fetch(`${gateway}${EIO}&sid=${sid}`)).text(); // until then less is taken
    assert.match(accepted, /^40\{"sid"/);
    const r = await fetch(`${gateway}${EIO}&sid=${sid}`, { method: 'POST', body: '6'.padEnd(1000000, 'x'), headers: { 'content-type': 'text/plain' } });
    await r.text();
    assert.notEqual(r.status, 413);
    await healthy('gateway');
  });

  test('silent connections, half requests and slow bodies are cut', { timeout: 50000 }, async () => {
    const pid = stack.pid('realtime-1');
    const sid = await handshake();
    const c = await Promise.all(Array.from({ length: 4 }, () => tcp(ports.gateway)));
    c[1].write('GET /socket.io/?EIO=4');
    c[2].write(head('GET /livez HTTP/1.1').slice(0, -2));
    c[3].write(head(`POST ${EIO}&sid=${sid} HTTP/1.1`, 'Content-Length: 1000', 'Content-Type: text/plain'));
    const drip = setInterval(() => c[3].write('4'), 300);
    try {
      await Promise.all(c.map((x) => x.closed(30000)));
    } finally {
      clearInterval(drip);
      c.forEach((x) => x.destroy());
    }
    process.kill(pid, 0);
    await healthy('gateway');
  });

  attack('headers without an end, many headers, a long URL', 'gateway', async () => {
    for (const bytes of [`GET / HTTP/1.1\r\nX: ${'y'.repeat(100000)}`, `GET / HTTP/1.1\r\nHost: x\r\n${'A: b\r\n'.repeat(20000)}\r\n`, `GET /${'u'.repeat(100000)} HTTP/1.1\r\nHost: x\r\n\r\n`]) {
      const c = await shoot(ports.gateway, bytes);
      assert.ok(c.ended || statuses(c)[0] >= 400, c.text().slice(0, 100));
    }
  });

  attack('requests that are none', 'gateway', async () => {
    for (const bytes of ['\x00'.repeat(100), '\r\n'.repeat(200) + 'x', 'GET\r\n\r\n', 'GET  HTTP/1.1\r\n\r\n', 'FOO / HTTP/1.1\r\nHost: x\r\n\r\n', 'GET / HTTP/9.9\r\nHost: x\r\n\r\n', 'GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n',
      'TRACE / HTTP/1.1\r\nHost: x\r\n\r\n', 'GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n', 'GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n', 'GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 'GET / HTTP/1.1\nHost: x\n\n',
      'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n', randomBytes(3000)]) {
      const c = await tcp(ports.gateway);
      c.write(Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes, 'latin1'));
      await sleep(50);
      assert.ok(!c.text().includes('root:'));
      c.destroy();
    }
  });

  attack('a session of nobody, a wrong protocol version, an unknown transport', 'gateway', async () => {
    for (const [query, code] of [['EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA', 1], ['EIO=4&transport=polling&sid=', 1], [`EIO=4&transport=polling&sid=${'x'.repeat(5000)}`, 1], ['EIO=4&transport=polling&sid=%00', 1],
      ['EIO=3&transport=polling', 5], ['transport=polling', 5], ['EIO=4', 0], ['EIO=4&transport=__proto__', 0], ['EIO=4&transport=websocket', 3]]) {
      const c = await shoot(ports.gateway, head(`GET /socket.io/?${query} HTTP/1.1`, 'Connection: close'));
      if (query.includes('%00')) {
        assert.ok(c.ended || statuses(c)[0] === 400);
        continue;
      }
      assert.deepEqual(statuses(c), [400], query.slice(0, 60));
      if (!(code === 1 && query.endsWith('sid='))) assert.ok(c.text().includes(`"code":${code}`), `${query.slice(0, 60)}: ${c.text().slice(-80)}`);
    }
    for (const sid of ['AAAAAAAAAAAAAAAAAAAA', '../..', '%00']) {
      const c = await shoot(ports.gateway, head(`POST ${EIO}&sid=${sid} HTTP/1.1`, 'Content-Length: 2', 'Content-Type: text/plain') + '40');
      assert.ok(c.ended || statuses(c)[0] === 400);
    }
  });

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

describe('WebSocket frames', () => {
  const closes = (name, make, code) => attack(name, 'gateway', async () => {
    const c = await websocket({ join: true });
    c.write(make());
    await until(() => c.ended || /\x88/.test(c.text()), { timeout: 12000, what: 'a close frame or the end' });
    const bytes = c.bytes();
    if (code !== undefined) assert.ok(bytes.includes(Buffer.from([code >> 8, code & 255])), `close code ${code} in ${bytes.subarray(-40).toString('hex')}`);
    c.destroy();
  });

  closes('RSV1 without an extension', () => frame(1, '2', { rsv: 0x40 }), 1002);
  closes('RSV2', () => frame(1, '2', { rsv: 0x20 }));
  closes('opcode 3', () => frame(3, 'x'), 1002);
  closes('opcode 11', () => frame(11, 'x'));
  closes('a continuation of nothing', () => frame(0, 'x'), 1002);
  closes('text that is not UTF-8', () => frame(1, Buffer.from([0x34, 0xc3, 0x28])), 1007);
  closes('a surrogate in UTF-8', () => frame(1, Buffer.from([0x34, 0xed, 0xa0, 0x80])), 1007);
  closes('a length of 2^63', () => Buffer.concat([Buffer.from([0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]), Buffer.alloc(100)]));
  closes('more than the limit announced', () => Buffer.concat([frame(1, '4', { length: 1000001 })]), 1009);
  closes('more than the limit in fragments', () => Buffer.concat([frame(1, 'x'.repeat(600000), { fin: false }), frame(0, 'x'.repeat(600000))]), 1009);
  closes('a ping of 200 bytes', () => frame(9, 'x'.repeat(200)));

  attack('unmasked frames do no harm', 'gateway', async () => {
    const c = await websocket({ join: true });
    c.packet('3', { mask: false });
    c.write(frame(9, 'abc', { mask: false }));
    await sleep(300);
    c.destroy();
  });

  attack('a flood of one-byte fragments and of pings', 'gateway', async () => {
    const c = await websocket({ join: true });
    c.write(frame(1, '3', { fin: false }));
    c.write(Buffer.concat(Array.from({ length: 20000 }, () => frame(0, 'x', { fin: false }))));
    c.write(Buffer.concat(Array.from({ length: 2000 }, () => frame(9, 'p'))));
    await sleep(500);
    c.destroy();
  });

  attack('hang-up in the middle of a frame, right after the upgrade, and before it', 'gateway', async () => {
    for (let i = 0; i < 20; i++) {
      const c = await tcp(ports.gateway);
      c.write(head('GET /socket.io/?EIO=4&transport=websocket HTTP/1.1', 'Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Version: 13'));
      if (i % 2) await sleep(i);
      c.socket.resetAndDestroy();
    }
    const c = await websocket({ join: true });
    c.write(frame(1, '42["message.send"', { length: 5000 }));
    await sleep(100);
    c.socket.resetAndDestroy();
  });
});

describe('packets', () => {
  const cuts = (name, ...packets) => attack(name, 'gateway', async () => {
    const c = await websocket({ join: true });
    for (const p of packets) c.write(Buffer.isBuffer(p) ? p : frame(1, p));
    // A close frame, or the end: a peer that does not answer the frame is cut 5 s later, which «an empty frame» waits for.
    await until(() => c.ended || (name !== 'an empty frame' && /\x88/.test(c.text())),
      { timeout: 12000, what: `the end after ${String(packets[0]).slice(0, 40)}` });
    c.destroy();
  });

  cuts('text abc', 'abc');
  cuts('type 8', '8');
  cuts('an empty frame', '');
  cuts('a ping of the client', '2');
  cuts('an unknown Socket.IO type', '49');
  cuts('an event that is no array', '42{"a":1}');
  cuts('an event without a name', '42[]');
  cuts('broken JSON', '42["message.send",{"to":"bob"');
  cuts('trailing JSON', '42["server.ping",{}]]');
  cuts('deep JSON', `42["server.ping",${'['.repeat(100000)}${']'.repeat(100000)}]`);
  cuts('11 attachments', '4511-["message.send",{}]', ...Array.from({ length: 11 }, () => frame(2, 'x')));
  cuts('a placeholder out of range', '451-["message.send",{"_placeholder":true,"num":7}]', frame(2, 'x'));
  cuts('a negative placeholder', '451-["message.send",{"_placeholder":true,"num":-1}]', frame(2, 'x'));
  cuts('a placeholder that is no number', '451-["message.send",{"_placeholder":true,"num":"0"}]', frame(2, 'x'));
  cuts('text where an attachment is due', '451-["message.send",{"_placeholder":true,"num":0}]', '42["server.ping",{}]');
  cuts('an attachment of nothing', frame(2, 'x'));
  cuts('an endless count of attachments', `45${'9'.repeat(400)}-["x"]`);

  attack('a number as name is a name that nobody knows', 'gateway', async () => {
    const c = await websocket({ join: true });
    c.packet('4212[7]');
    await c.wait(/4312\[\{"ok":false,"error":\{"code":"unknown_event"/);
    c.destroy();
  });

  attack('events and acks before CONNECT', 'gateway', async () => {
    for (const p of ['42["message.send",{"to":"bob","text":"unseen"}]', '430[]', '41']) {
      const c = await websocket();
      c.packet(p);
      await sleep(300);
      assert.ok(!c.text().includes('message.new'));
      c.destroy();
    }
    assert.deepEqual(await stack.sql(`select count(*) from entries where convert_from(body, 'UTF8') like '%unseen%'`), [['0']]);
  });

  attack('CONNECT with what is no auth, twice, to other namespaces', 'gateway', async () => {
    for (const p of ['40', '40null', '40[]', '40"x"', '40{"token":7}', `40{"token":"${'x'.repeat(9000)}"}`, '40{"token":{"a":1}}', '40{"token":"a.b.c","extra":{}}', '40/nowhere,{"token":"x"}', `40${'/'.repeat(500)},`]) {
      const c = await websocket();
      c.packet(p);
      await until(() => c.ended || /44|\x88/.test(c.text()), { timeout: 10000, what: `a refusal of ${p.slice(0, 30)}` });
      assert.ok(!c.text().includes('session.ready'), p.slice(0, 30));
      c.destroy();
    }
    const c = await websocket({ join: true });
    c.packet(`40${JSON.stringify({ token })}`);
    await sleep(300);
    assert.ok(c.text().match(/"session\.ready"/g).length <= 2);
    c.destroy();
  });

  attack('acks that nobody asked for', 'gateway', async () => {
    const c = await websocket({ join: true });
    for (const p of ['430[]', '4318446744073709551616[]', '431[{"ok":true}]']) c.packet(p);
    await sleep(200);
    c.destroy();
  });

  attack('rubbish in polling bodies', 'gateway', async () => {
    for (const body of ['abc', '\x1e\x1e\x1e', '42', 'b@@@', 'bAAA', '8', '', '40\x1e', Buffer.from([0xff, 0xfe, 0x1e, 0x34]), '2'.repeat(100000)]) {
      const sid = await handshake();
      const r = await fetch(`${gateway}${EIO}&sid=${sid}`, { method: 'POST', body, headers: { 'content-type': 'text/plain' } }).catch(() => undefined);
      if (r) {
        await r.text();
        assert.ok([200, 400, 411, 413].includes(r.status), `${r.status} for ${String(body).slice(0, 20)}`);
      }
    }
    const r = await fetch(`${gateway}${EIO}&sid=${await handshake()}`, { method: 'POST', body: '40', headers: { 'content-type': 'application/octet-stream' } });
    assert.equal(r.status, 400);
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
