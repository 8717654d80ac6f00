// Engine.IO v4 as the protocol's text has it, against the echo server: the gateway's own transport side.
import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import { after, before, describe, test } from 'node:test';
import { CALM, Echo, Wire, soon } from './echo.mjs';

const SID = /^[A-Za-z0-9_-]{20}$/;
const SEPARATOR = '\x1e';
const MAX_PAYLOAD = 1000000;
const unknown = '{"code":1,"message":"Session ID unknown"}';

let echo; // not in a hurry
before(async () => { echo = await Echo.start(CALM); });
after(() => echo.stop());

const assertGone = async (session) => {
  const { status, text } = await session.get();
  assert.deepEqual([status, text], [400, unknown]);
};
const assertLives = async (session, mark = 'alive') => {
  assert.deepEqual((await session.post(`4${mark}`)).text, 'ok');
  assert.deepEqual(await session.packets(1), [`4${mark}`]);
};
const assertWireLives = async (w, mark = 'alive') => {
  w.send(`4${mark}`);
  assert.equal(await w.next(), `4${mark}`);
};

/** Bytes to the server as they are, and what comes back until it closes. */
const raw = (bytes, server = echo) => soon(new Promise((resolve, reject) => {
  let text = '';
  const socket = net.connect(server.port, '127.0.0.1', () => socket.end(bytes));
  socket.on('data', (d) => { text += d; }).on('close', () => resolve(text)).on('error', reject);
}), 'an answer');

const ipv6 = await new Promise((resolve) => {
  const server = net.createServer().once('error', () => resolve(false)).listen(0, '::1', () => server.close(() => resolve(true)));
});

describe('handshake', () => {
  let timed;
  before(async () => { timed = await Echo.start(); });
  after(() => timed.stop());
  const assertOpen = (text, upgrades, sid) => {
    assert.equal(text, `0{"sid":"${sid}","upgrades":${upgrades},"pingInterval":300,"pingTimeout":200,"maxPayload":${MAX_PAYLOAD}}`);
    assert.match(sid, SID);
  };

  test('one line tells that it listens', () => {
    assert.equal(timed.line, `listening on port ${timed.port}, profile conformance\n`);
  });

  for (const path of ['/engine.io/', '/engine.io', '/socket.io/', '/socket.io']) {
    test(`polling at ${path}`, async () => {
      const r = await timed.request(`${path}?EIO=4&transport=polling`);
      assert.equal(r.status, 200);
      assert.equal(r.headers['content-type'], 'text/plain; charset=UTF-8');
      assert.equal(r.headers['cache-control'], 'no-store');
      assertOpen(r.text, '["websocket"]', JSON.parse(r.text.slice(1)).sid);
    });

    test(`websocket at ${path}`, async () => {
      const w = await timed.websocket(path);
      assertOpen(w.opened, '[]', JSON.parse(w.opened.slice(1)).sid);
      await w.close();
    });
  }

  test('both loopback addresses are served', { skip: !ipv6 }, async () => {
    const r = await fetch(`http://[::1]:${timed.port}/engine.io/?EIO=4&transport=polling`);
    assert.equal(r.status, 200);
    await r.text();
  });

  test('session ids differ', async () => {
    const sids = await Promise.all(Array.from({ length: 20 }, async () => (await echo.polling()).sid));
    assert.equal(new Set(sids).size, 20);
  });

  test('other keys belong to the application, the last of two counts, escapes are decoded', async () => {
    const r = await echo.request('/engine.io/?EIO=3&token=a%26b&EIO=%34&transport=x&transport=poll%69ng&t=abc');
    assert.equal(r.status, 200);
  });

  test('no extension of WebSocket is negotiated', async () => {
    const w = await echo.websocket('/engine.io/', '', { perMessageDeflate: true });
    assert.equal(w.ws.extensions, '');
    await w.close();
  });
});

describe('requests that are refused', () => {
  const rows = [
    ['no transport', '?EIO=4', 'GET', 0, 'Transport unknown'],
    ['an unknown transport', '?EIO=4&transport=abc', 'GET', 0, 'Transport unknown'],
    ['a transport named like a property', '?EIO=4&transport=__proto__', 'GET', 0, 'Transport unknown'],
    ['an unknown sid', '?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA', 'GET', 1, 'Session ID unknown'],
    ['an unknown sid in a POST', '?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA', 'POST', 1, 'Session ID unknown'],
    ['an empty sid', '?EIO=4&transport=polling&sid=', 'GET', 1, 'Session ID unknown'],
    ['a sid with a NUL', '?EIO=4&transport=polling&sid=A%01A', 'GET', 1, 'Session ID unknown'],
    ['a POST without a session', '?EIO=4&transport=polling', 'POST', 2, 'Bad handshake method'],
    ['a PUT without a session', '?EIO=4&transport=polling', 'PUT', 2, 'Bad handshake method'],
    ['websocket without an upgrade', '?EIO=4&transport=websocket', 'GET', 3, 'Bad request'],
    ['no version', '?transport=polling', 'GET', 5, 'Unsupported protocol version'],
    ['version 3', '?EIO=3&transport=polling', 'GET', 5, 'Unsupported protocol version'],
    ['a version that is none', '?EIO=abc&transport=polling', 'GET', 5, 'Unsupported protocol version'],
  ];
  for (const [what, query, method, code, message] of rows) {
    test(what, async () => {
      const r = await echo.request(`/engine.io/${query}`, { method, headers: { origin: 'http://a.example', ...(method === 'GET' ? {} : { 'content-length': 0 }) } });
      assert.equal(r.status, 400);
      assert.equal(r.text, `{"code":${code},"message":"${message}"}`);
      assert.equal(r.headers['content-type'], 'application/json');
      assert.equal(r.headers['access-control-allow-origin'], 'http://a.example', 'a browser must be able to read why');
    });
  }

  test('an origin that is no field value', async () => {
    const text = await raw('GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\nOrigin: http://a\x01b\r\nConnection: close\r\n\r\n');
    assert.match(text, /^HTTP\/1\.1 400 [^]*\{"code":3,"message":"Bad request"\}$/);
  });

  for (const method of ['PUT', 'DELETE', 'PATCH']) {
    test(`${method} with a session, which lives on`, async () => {
      const session = await echo.polling();
      const r = await session.get({ method, headers: { 'content-length': 0 } });
      assert.deepEqual([r.status, r.text], [400, '{"code":3,"message":"Bad request"}']);
      await assertLives(session);
    });
  }

  const upgrades = [
    ['an unknown transport', '?EIO=4&transport=abc', 'Transport unknown'],
    ['an unknown sid', '?EIO=4&transport=websocket&sid=AAAAAAAAAAAAAAAAAAAA', 'Session ID unknown'],
    ['polling', '?EIO=4&transport=polling', 'Bad request'],
    ['no version', '?transport=websocket', 'Unsupported protocol version'],
    ['a version that is none', '?EIO=abc&transport=websocket', 'Unsupported protocol version'],
  ];
  for (const [what, query, message] of upgrades) {
    test(`an upgrade with ${what}, before 101`, async () => {
      const wire = new Wire(`${echo.url.replace('http', 'ws')}/engine.io/${query}`);
      await assert.rejects(wire.open(), (e) => {
        assert.deepEqual([e.status, e.text], [400, message]);
        assert.equal(e.headers.connection, 'close');
        return true;
      });
    });
  }

  test('the preflight of a browser is answered', async () => {
    const r = await echo.request('/engine.io/?EIO=4&transport=polling', { method: 'OPTIONS', headers: { origin: 'http://a.example', 'access-control-request-method': 'POST', 'access-control-request-headers': 'x-one' } });
    assert.equal(r.status, 204);
    assert.equal(r.headers['access-control-allow-methods'], 'GET,POST');
    assert.equal(r.headers['access-control-allow-headers'], 'x-one');
    assert.equal(r.headers['access-control-allow-origin'], 'http://a.example');
  });
});

describe('connections', () => {
  test('who asks for its end is told that it ends', async () => {
    for (const value of ['close', 'Close', 'foo, close']) {
      const text = await raw(`GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\nConnection: ${value}\r\n\r\n`);
      assert.match(text, /^HTTP\/1\.1 200 [^]*\r\nConnection: close\r\n\r\n0\{/);
    }
  });

  test('one serves many requests, also after a refusal', async () => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    let connections = 0;
    const hold = (request) => request.on('socket', (s) => { if (!s.counted) { s.counted = true; connections++; } });
    for (const query of ['EIO=4&transport=polling', 'EIO=3&transport=polling', 'EIO=4&transport=polling']) await echo.request(`/engine.io/?${query}`, { agent, hold });
    assert.equal(connections, 1);
    agent.destroy();
  });
});

describe('messages by polling', () => {
  const cases = {
    'one text': '4hello',
    'several texts': ['4test1', '4test2', '4test3'].join(SEPARATOR),
    'text and bytes': `4hello${SEPARATOR}bAQIDBA==`,
    'an empty text': '4',
    'empty bytes': 'b',
    'text beyond ASCII': '4äöü € 😀 てすと',
    'a text that looks like bytes': '4bAQID',
    'JSON with the separator escaped': '4"\\u001e"',
  };
  for (const [what, body] of Object.entries(cases)) {
    test(what, async () => {
      const session = await echo.polling();
      const posted = await session.post(body);
      assert.deepEqual([posted.status, posted.text, posted.headers['content-type']], [200, 'ok', 'text/html']);
      const polled = await session.get();
      assert.deepEqual([polled.status, polled.text], [200, body]);
      assert.equal(polled.headers['content-type'], 'text/plain; charset=UTF-8');
      assert.equal(polled.headers['cache-control'], 'no-store');
    });
  }

  test('a GET waits for the message', async () => {
    const session = await echo.polling();
    const { answer } = await session.held();
    await session.post('4later');
    assert.equal((await answer).text, '4later');
  });

  test('at most sixteen packets come in one answer, in order', async () => {
    const session = await echo.polling();
    const sent = Array.from({ length: 40 }, (_, i) => `4${i}`);
    await session.post(sent.join(SEPARATOR));
    const answers = [];
    while (answers.flat().length < sent.length) answers.push((await session.get()).text.split(SEPARATOR));
    assert.deepEqual(answers.flat(), sent);
    assert.deepEqual(answers.map((a) => a.length), [16, 16, 8]);
  });

  test('a body of maxPayload bytes is taken, a longer one is not; the session goes on', async () => {
    const session = await echo.polling();
    const body = `4${'x'.repeat(MAX_PAYLOAD - 1)}`;
    assert.equal((await session.post(body)).status, 200);
    assert.equal((await session.get()).text, body);
    assert.equal((await session.post(`${body}y`)).status, 413);
    await assertLives(session);
  });

  test('bytes of every length and value', async () => {
    const session = await echo.polling();
    for (let length = 0; length < 300; length += 43) {
      const packet = `b${Buffer.from(Array.from({ length }, (_, i) => (i * 7 + length) & 255)).toString('base64')}`;
      await session.post(packet);
      assert.equal((await session.get()).text, packet);
    }
  });

  const broken = {
    'an empty body': '',
    'a separator alone': SEPARATOR,
    'a separator in front': `${SEPARATOR}4a`,
    'a separator behind': `4a${SEPARATOR}`,
    'two separators': `4a${SEPARATOR}${SEPARATOR}4b`,
    'no type': 'abc',
    'an unknown type': '7',
    'a sign': '-',
    'a ping': '2',
    'broken base64': 'b@@@',
    'base64 without padding': 'bAQ',
    'base64 of the URL alphabet': 'bAQ-_',
    'text that is not UTF-8': Buffer.from([0x34, 0xff]),
    'too many packets': Array(257).fill('4').join(SEPARATOR),
  };
  for (const [what, body] of Object.entries(broken)) {
    test(`${what} ends the session`, async () => {
      const session = await echo.polling();
      const r = await session.post(body);
      assert.deepEqual([r.status, r.text], [400, '{"code":3,"message":"Bad request"}']);
      await assertGone(session);
    });
  }

  test('bytes as a body end the session', async () => {
    const session = await echo.polling();
    assert.equal((await session.post('4a', { headers: { 'content-type': 'application/octet-stream' } })).status, 400);
    await assertGone(session);
  });

  test('what came before the broken packet is delivered, and the waiting GET told of the end', async () => {
    const session = await echo.polling();
    const { answer } = await session.held();
    assert.equal((await session.post(`4a${SEPARATOR}7`)).status, 400);
    assert.equal((await answer).text, `4a${SEPARATOR}1`);
    await assertGone(session);
  });

  for (const packet of ['0', '0{}', '3', '5', '6']) {
    test(`${packet} from a client is ignored`, async () => {
      const session = await echo.polling();
      assert.equal((await session.post(`${packet}${SEPARATOR}4a`)).text, 'ok');
      assert.equal((await session.get()).text, '4a');
    });
  }
});

describe('messages by WebSocket', () => {
  const wire = async (t, query, options) => {
    const w = await echo.websocket('/engine.io/', query, options);
    t.after(() => w.ws.terminate());
    return w;
  };

  test('texts and bytes, in order', async (t) => {
    const w = await wire(t);
    const sent = ['4hello', Buffer.from([1, 2, 3, 4]), '4', Buffer.alloc(0), '4äöü € 😀', Buffer.from([0x34, 0x61]), '4{"a":[1]}'];
    w.send(...sent);
    assert.deepEqual(await w.take(sent.length), sent);
  });

  test('every length at which a frame changes its form', async (t) => {
    const w = await wire(t);
    for (const length of [123, 124, 125, 126, 127, 65534, 65535, 65536, 70000, MAX_PAYLOAD]) {
      const bytes = Buffer.alloc(length, length & 255), text = `4${'x'.repeat(length - 1)}`;
      w.send(bytes, text);
      const got = await w.take(2);
      assert.ok(bytes.equals(got[0]) && text === got[1], `${length}`);
    }
  });

  test('fragments, with control frames between them', async (t) => {
    const w = await wire(t);
    w.ws.send('4one ', { fin: false });
    w.ws.ping();
    w.ws.send('two ', { fin: false });
    w.ws.send('three', { fin: true });
    assert.equal(await w.next(), '4one two three');
    w.ws.send(Buffer.from([1, 2]), { fin: false });
    w.ws.send(Buffer.alloc(0), { fin: false });
    w.ws.send(Buffer.from([3]), { fin: true });
    assert.deepEqual(await w.next(), Buffer.from([1, 2, 3]));
  });

  test('base64 is taken as bytes, and sent where b64=1 asks for it', async (t) => {
    const w = await wire(t);
    w.send('bAQIDBA==');
    assert.deepEqual(await w.next(), Buffer.from([1, 2, 3, 4]));
    const b = await wire(t, '&b64=1');
    b.send(Buffer.from([1, 2, 3, 4]), 'bAQI=', '4b');
    assert.deepEqual(await b.take(3), ['bAQIDBA==', 'bAQI=', '4b']);
  });

  for (const message of ['', 'abc', '7', '8', '-', '2', '2probe', 'b@@@', 'bAQ']) {
    test(`${JSON.stringify(message)} ends the session`, async (t) => {
      const w = await wire(t);
      w.send(message);
      assert.equal(await w.closed(), 1005);
    });
  }

  test('a message beyond maxPayload ends it with 1009', async (t) => {
    const w = await wire(t);
    w.send(`4${'x'.repeat(MAX_PAYLOAD)}`);
    assert.equal(await w.closed(), 1009);
  });

  test('fragments beyond maxPayload too', async (t) => {
    const w = await wire(t);
    for (let i = 0; i < 11; i++) w.ws.send(i === 0 ? `4${'x'.repeat(99999)}` : 'x'.repeat(100000), { fin: i === 10 });
    assert.equal(await w.closed(), 1009);
  });

  test('text that is not UTF-8 ends it with 1007', async (t) => {
    const w = await wire(t);
    w.ws.send(Buffer.from([0x34, 0xff, 0xfe]), { binary: false });
    assert.equal(await w.closed(), 1007);
  });

  for (const packet of ['0', '3', '5', '6']) {
    test(`${packet} from a client is ignored`, async (t) => {
      const w = await wire(t);
      w.send(packet);
      await assertWireLives(w);
    });
  }
});

describe('heartbeat', () => {
  let pinging, hasty;
  before(async () => {
    pinging = await Echo.start({ 'ping-timeout': 20000 });
    hasty = await Echo.start();
  });
  after(async () => {
    await pinging.stop();
    await hasty.stop();
  });

  test('polling: pings come, and each pong brings the next', async () => {
    const session = await pinging.polling();
    for (let i = 0; i < 3; i++) {
      const begun = performance.now();
      assert.equal((await session.get()).text, '2');
      assert.ok(i === 0 || performance.now() - begun > 200, 'not before its time');
      assert.equal((await session.post('3')).text, 'ok');
    }
  });

  test('websocket: pings come, and each pong brings the next', async (t) => {
    const w = await pinging.websocket('/engine.io/', '', { pong: false });
    t.after(() => w.ws.terminate());
    for (let i = 0; i < 3; i++) {
      const begun = performance.now();
      assert.equal(await w.next(), '2');
      assert.ok(i === 0 || performance.now() - begun > 200, 'not before its time');
      w.send('3');
    }
    await assertWireLives(w);
  });

  test('polling: without a pong the session ends, at its deadline and not a tick later', async () => {
    const session = await hasty.polling();
    await new Promise((resolve) => setTimeout(resolve, 500));
    await assertGone(session);
  });

  test('polling: a waiting GET is told of it', async () => {
    const session = await hasty.polling();
    assert.equal((await session.get()).text, '2');
    assert.equal((await session.get()).text, '1');
    await assertGone(session);
  });

  test('websocket: without a pong the session ends, whatever else is sent', async (t) => {
    const begun = performance.now();
    const w = await hasty.websocket('/engine.io/', '', { pong: false });
    t.after(() => w.ws.terminate());
    const talk = setInterval(() => w.send('4talk'), 20);
    await w.closed().finally(() => clearInterval(talk));
    assert.ok(performance.now() - begun > 450, 'not before its time');
  });

  test('frames of WebSocket say nothing', async (t) => {
    const w = await hasty.websocket('/engine.io/', '', { pong: false });
    t.after(() => w.ws.terminate());
    const talk = setInterval(() => w.ws.ping(), 20);
    await w.closed().finally(() => clearInterval(talk));
  });
});

describe('the end', () => {
  test('the client says so by polling: the waiting GET ends with a noop', async () => {
    const session = await echo.polling();
    const { answer } = await session.held();
    assert.equal((await session.post('1')).text, 'ok');
    const polled = await answer;
    assert.deepEqual([polled.status, polled.text], [200, '6']);
    await assertGone(session);
  });

  test('also without one; what comes behind it is not served', async () => {
    const session = await echo.polling();
    assert.equal((await session.post(`1${SEPARATOR}4a`)).text, 'ok');
    await assertGone(session);
  });

  test('the client says so by WebSocket: at once', async () => {
    const w = await echo.websocket();
    w.send('1');
    await w.closed();
  });

  test('by a close frame, and by a lost connection: the session is gone', async () => {
    for (const end of ['close', 'terminate']) {
      const w = await echo.websocket();
      const { sid } = JSON.parse(w.opened.slice(1));
      w.ws[end]();
      await w.closed();
      await soon((async () => {
        for (;;) {
          const { text } = await echo.request(`/engine.io/?EIO=4&transport=polling&sid=${sid}`);
          if (text === unknown) return;
          assert.equal(text, '{"code":3,"message":"Bad request"}');
        }
      })(), 'the end of the session');
    }
  });

  test('a second GET ends both and the session', async () => {
    const session = await echo.polling();
    const { answer } = await session.held();
    const second = await session.get();
    assert.deepEqual([second.status, second.text], [400, '']);
    const first = await answer;
    assert.deepEqual([first.status, first.text], [200, '1']);
    await assertGone(session);
  });

  test('a GET that is given up ends the session', async () => {
    const session = await echo.polling();
    const { answer, abort } = await session.held();
    abort();
    await assert.rejects(answer);
    await assertGone(session);
  });

  const begin = (session) => new Promise((resolve, reject) => {
    const socket = net.connect(echo.port, '127.0.0.1', () => {
      socket.write(`POST ${session.at} HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n4abc`, () => resolve(socket));
    }).on('error', reject);
  });

  test('a second POST while one is under way ends the session', async (t) => {
    const session = await echo.polling();
    const socket = await begin(session);
    t.after(() => socket.destroy());
    await echo.request('/livez');
    assert.equal((await session.post('4b')).status, 400);
    await assertGone(session);
  });

  test('a POST that is given up ends the session', async () => {
    const session = await echo.polling();
    const { answer } = await session.held();
    const socket = await begin(session);
    await echo.request('/livez');
    socket.resetAndDestroy();
    assert.equal((await answer).text, '1');
    await assertGone(session);
  });

  test('the server ends: polls, WebSockets and probes are told', async () => {
    const server = await Echo.start(CALM);
    const session = await server.polling(), probed = await server.polling();
    const { answer } = await session.held();
    const w = await server.websocket();
    const probe = await server.websocket('/engine.io/', `&sid=${probed.sid}`);
    probe.send('2probe');
    assert.equal(await probe.next(), '3probe');
    server.process.kill('SIGTERM');
    assert.equal((await answer).text, '1');
    assert.equal(await w.closed(), 1001);
    assert.equal(await probe.closed(), 1001);
    await server.stop();
  });
});

describe('upgrade', () => {
  const probe = async (t, session) => {
    const w = await echo.websocket('/engine.io/', `&sid=${session.sid}`);
    t.after(() => w.ws.terminate());
    w.send('2probe');
    assert.equal(await w.next(), '3probe');
    return w;
  };

  test('from polling to WebSocket', async (t) => {
    const session = await echo.polling();
    const w = await probe(t, session);
    assert.equal((await session.get()).text, '6', 'a poll during the probe is ended');
    w.send('5', '4hello');
    assert.equal(await w.next(), '4hello');
  });

  test('a GET that waits is ended when the probe is answered', async (t) => {
    const session = await echo.polling();
    const { answer } = await session.held();
    const w = await probe(t, session);
    assert.equal((await answer).text, '6');
    w.send('5');
    await assertWireLives(w);
  });

  test('polling works on during the probe, and nothing is lost or out of order', async (t) => {
    const session = await echo.polling();
    await session.post('40');
    const w = await probe(t, session);
    await session.post(`41${SEPARATOR}bAQI=`);
    assert.deepEqual(await session.packets(3), ['40', '41', 'bAQI=']);
    await session.post('42');
    await session.post('43'); // not polled any more
    w.send('5', '44');
    assert.deepEqual(await w.take(3), ['42', '43', '44']);
  });

  test('afterwards polls are refused and the session goes on', async (t) => {
    const session = await echo.polling();
    const w = await probe(t, session);
    w.send('5');
    await assertWireLives(w);
    for (const r of [await session.get(), await session.post('4a')]) assert.deepEqual([r.status, r.text], [400, '{"code":3,"message":"Bad request"}']);
    await assertWireLives(w);
  });

  test('a second WebSocket is closed: during the probe, afterwards, and of a session that began with one', async (t) => {
    const session = await echo.polling();
    const w = await probe(t, session);
    const during = await echo.websocket('/engine.io/', `&sid=${session.sid}`);
    assert.equal(await during.closed(), 1005);
    w.send('5');
    await assertWireLives(w);
    const afterwards = await echo.websocket('/engine.io/', `&sid=${session.sid}`);
    assert.equal(await afterwards.closed(), 1005);
    await assertWireLives(w);
    const direct = await echo.websocket();
    t.after(() => direct.ws.terminate());
    const third = await echo.websocket('/engine.io/', `&sid=${JSON.parse(direct.opened.slice(1)).sid}`);
    assert.equal(await third.closed(), 1005);
    await assertWireLives(direct);
  });

  for (const first of ['4hi', '3probe', '2', '2probex', '1', 'abc', Buffer.from([1])]) {
    test(`a WebSocket that begins with ${JSON.stringify(first)} is closed; the session goes on and may try again`, async (t) => {
      const session = await echo.polling();
      const w = await echo.websocket('/engine.io/', `&sid=${session.sid}`);
      w.send(first);
      await w.closed();
      await assertLives(session);
      (await probe(t, session)).send('5');
    });
  }

  test('a WebSocket that is lost after the probe leaves the session', async (t) => {
    const session = await echo.polling();
    const w = await probe(t, session);
    await w.close();
    await assertLives(session);
    const again = await probe(t, session);
    again.send('5');
    await assertWireLives(again);
  });

  test('a probe may be repeated, and left out', async (t) => {
    const session = await echo.polling();
    const w = await probe(t, session);
    w.send('2probe');
    assert.equal(await w.next(), '3probe');
    w.send('5');
    await assertWireLives(w);
    const other = await echo.polling();
    const bold = await echo.websocket('/engine.io/', `&sid=${other.sid}`);
    t.after(() => bold.ws.terminate());
    bold.send('5');
    await assertWireLives(bold);
  });

  test('a session that ends during the probe ends its WebSocket', async (t) => {
    const session = await echo.polling();
    const w = await probe(t, session);
    await session.post('1');
    await w.closed();
    await assertGone(session);
  });
});
