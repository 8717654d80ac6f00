// upgrade.mjs: rows about the way from polling to WebSocket, its races, and the end of a session in each of its states by each way.
import assert from 'node:assert/strict';
import { BAD_REQUEST, C, R, S, Ws, closeFrame, frame, handshakeLines, judge, judgeAnswer, request, sleep, states } from './driver.mjs';

const PING = (id) => `42${id}["server.ping",{}]`;
const pong = (id) => new RegExp(`^43${id}\\[\\{"ok":true`);
const TEXT = ['Content-Type: text/plain'];

/** A socket that is to be dropped: its close frame has no code, and its session s goes on. */
async function dropped(s, ws, code = 1005) {
  assert.equal(await ws.closed(), code);
  assert.deepEqual(ws.packets, []);
  await ws.tcp.ended();
  await judge(s, S());
}

/* ---- the first packet of a probing socket ---- */

const first = [
  ['an event', (ws) => ws.send(PING(50))], ['CONNECT', (ws) => ws.send('40{}')], ['a ping without "probe"', (ws) => ws.send('2')], ['2probe and more', (ws) => ws.send('2probes')], ['2Probe', (ws) => ws.send('2Probe')], ['a pong', (ws) => ws.send('3')], ['3probe', (ws) => ws.send('3probe')], ['an open packet', (ws) => ws.send('0')],
  ['a noop', (ws) => ws.send('6')], ['the end', (ws) => ws.send('1')], ['type 7', (ws) => ws.send('7')], ['an empty message', (ws) => ws.send('')], ['bytes "2probe"', (ws) => ws.send(Buffer.from('2probe'))], ['bytes "5"', (ws) => ws.send(Buffer.from('5'))], ['base64', (ws) => ws.send('bAQID')], ['broken base64', (ws) => ws.send('b@')],
];
const firstRows = first.flatMap(([name, send]) => ['probing', 'probed'].map((state) => ({
  name: `${state}: ${name}`,
  async play(t) {
    const s = await states[state](t);
    send(s.probe);
    await dropped(s, s.probe);
  },
})));

/* ---- frames that are none, on a probing socket: only that socket ends ---- */

const broken = [
  ['RSV1', frame(1, '2probe', { rsv: 0x40 }), 1002], ['opcode 3', frame(3, ''), 1002], ['invalid UTF-8', frame(1, Buffer.from([0x32, 0xff])), 1007], ['a length of 2^64-1', frame(1, 'x'.repeat(600), { length: (1n << 64n) - 1n }), 0], ['1,000,001 bytes announced', frame(1, 'x'.repeat(600), { length: 1000001 }), 1009],
  ['1,001 fragments', Buffer.concat(Array.from({ length: 1001 }, (_, i) => frame(i ? 0 : 1, 'x', { fin: i === 1000 }))), 1008],
];
const brokenRows = broken.flatMap(([name, data, code]) => ['probing', 'probed'].map((state) => ({
  name: `${state}: ${name}`, slow: code === 1009,
  async play(t) {
    const s = await states[state](t);
    s.probe.answersClose = code !== 1009; // it cannot: it is within a frame
    s.probe.tcp.write(data);
    await dropped(s, s.probe, code);
  },
})));

/* ---- second sockets ---- */

const seconds = ['probing', 'probed', 'upgraded', 'joined ws'].map((state) => ({
  name: `${state}: another WebSocket for the same session`,
  async play(t) {
    const s = await states[state](t);
    const second = await t.probe(s);
    second.send('2probe', '5', PING(51));
    await dropped(s, second);
    if (s.probe && !s.ws) {
      s.probe.send('2probe');
      await s.probe.wait('3probe');
      s.probe.send('5');
      s.ws = s.probe;
      await judge(s, S());
    }
  },
}));

const upgradeOf = async (s) => {
  s.probe.send('5');
  s.ws = s.probe;
};

const ways = [
  { name: 'upgraded: traffic goes on', state: 'upgraded', send: [PING(52), '3', '6'], want: S(pong(52)) },
  { name: 'upgraded: 5 again', state: 'upgraded', send: ['5'], want: S() },
  { name: 'upgraded: 2probe again', state: 'upgraded', send: ['2probe'], want: C() },
  { name: 'upgraded: undecodable', state: 'upgraded', send: ['abc'], want: C() },
  { name: 'upgraded: the end', state: 'upgraded', send: ['1'], want: C('transport close') },
  {
    name: 'probed: 2probe twice is answered twice, and the upgrade goes on',
    async play(t) {
      const s = await states.probed(t);
      s.probe.send('2probe');
      await s.probe.wait('3probe');
      await upgradeOf(s);
      await judge(s, S());
    },
  },
  {
    name: 'probing: 2probe thrice in one segment with 5',
    async play(t) {
      const s = await states.probing(t);
      s.probe.send('2probe', '2probe', '2probe', '5', PING(53));
      s.ws = s.probe;
      await judge(s, S('3probe', '3probe', '3probe', pong(53)));
    },
  },
  {
    name: 'probing: 5 without a probe',
    async play(t) {
      const s = await states.probing(t);
      await upgradeOf(s);
      await judge(s, S());
    },
  },
  {
    name: 'polling: probe and upgrade before CONNECT',
    async play(t) {
      const s = await t.polling();
      s.probe = await t.probe(s);
      s.probe.send('2probe', '5');
      s.ws = s.probe;
      await judge(s, S('3probe'));
    },
  },
  {
    name: 'probe in the segment of its handshake',
    async play(t) {
      const s = await states['joined polling'](t);
      const c = await t.sent(Buffer.concat([request('GET', s.url('websocket'), handshakeLines), frame(1, '2probe'), frame(1, '5')]));
      assert.equal((await c.answer())?.status, 101);
      s.ws = new Ws(c);
      await judge(s, S('3probe'));
    },
  },
  {
    name: 'probed: the waiting GET is answered with a noop at once',
    async play(t) {
      const s = await states.held(t);
      s.probe = await t.probe(s);
      s.probe.send('2probe');
      await s.probe.wait('3probe');
      const r = await s.held.answer();
      assert.deepEqual([r?.status, r?.body], [200, '6']);
      await upgradeOf(s);
      await judge(s, S());
    },
  },
  {
    name: 'probed: a later GET is answered at the next tick',
    async play(t) {
      const s = await states.probed(t);
      const begun = Date.now();
      const { r } = await t.exchange(request('GET', s.url()));
      assert.deepEqual([r?.status, r?.body], [200, '6']);
      assert.ok(Date.now() - begun < 10000);
      await upgradeOf(s);
      await judge(s, S());
    },
  },
  {
    name: 'probing: a GET before 2probe is held',
    async play(t) {
      const s = await states.probing(t);
      s.held = await t.sent(request('GET', s.url()));
      await sleep(400);
      assert.equal(s.held.in.length, 0);
      s.probe.send('2probe');
      await s.probe.wait('3probe');
      assert.equal((await s.held.answer())?.body, '6');
      await upgradeOf(s);
      await judge(s, S());
    },
  },
  {
    name: 'probing: 5 with a GET that waits: it ends with a noop',
    async play(t) {
      const s = await states.probing(t);
      s.held = await t.sent(request('GET', s.url()));
      await sleep(200);
      await upgradeOf(s);
      assert.equal((await s.held.answer())?.body, '6');
      await judge(s, S());
    },
  },
  {
    name: 'probed: 5 and another GET in the same moment',
    async play(t) {
      const s = await states.probed(t);
      const c = await t.tcp();
      s.probe.send('5');
      c.write(request('GET', s.url()));
      s.ws = s.probe;
      const r = await c.answer();
      assert.ok((r?.status === 200 && r.body === '6') || (r?.status === 400 && r.body === BAD_REQUEST), JSON.stringify(r));
      await judge(s, S());
    },
  },
  {
    name: 'probed: 5 while a POST is under way: the POST is refused',
    async play(t) {
      const s = await states.probed(t);
      const c = await t.sent(request('POST', s.url(), [...TEXT, 'Content-Length: 24']));
      c.write('42');
      await sleep(200);
      await upgradeOf(s);
      await judge(s, S());
      c.write('54["server.ping",{}]  ');
      const r = await c.answer();
      assert.deepEqual([r?.status, r?.body], [400, BAD_REQUEST]);
      await judge(s, S());
    },
  },
  ...[['GET', undefined], ['POST', '6'], ['POST', '1']].map(([method, body]) => ({
    name: `upgraded: ${method} of polling${body ? ` with ${body}` : ''}`,
    async play(t) {
      const s = await states.upgraded(t);
      const { r } = await t.exchange(request(method, s.url(), TEXT, body));
      assert.deepEqual([r?.status, r?.body], [400, BAD_REQUEST]);
      await judge(s, S());
    },
  })),
  {
    name: 'probing: polling works both ways meanwhile',
    async play(t) {
      const s = await states.probing(t);
      await s.post([55, 56, 57].map(PING).join('\x1e'));
      for (const id of [55, 56, 57]) await s.until(pong(id));
      await judge(s, S());
    },
  },
  {
    name: 'probed: what waits for a poll comes by the WebSocket, in order',
    async play(t) {
      const s = await states.probed(t);
      await s.post(Array.from({ length: 20 }, (_, i) => PING(500 + i)).join('\x1e'));
      s.probe.send('5', ...Array.from({ length: 20 }, (_, i) => PING(520 + i)));
      s.ws = s.probe;
      await judge(s, S(...Array.from({ length: 40 }, (_, i) => pong(500 + i))));
    },
  },
  ...[0, 1, 2, 3].map((round) => ({
    name: `the switch under load keeps the order on both sides (${['polls before', 'polls between', 'posts until the end', 'events right behind'][round]})`,
    async play(t) {
      const s = await states['joined polling'](t);
      let id = 600;
      const got = [];
      const post = async (n) => assert.equal((await s.post(Array.from({ length: n }, () => PING(id++)).join('\x1e')))?.body, 'ok');
      const poll = async () => {
        const r = await s.get();
        got.push(...r.body.split('\x1e').filter((p) => /^43/.test(p)));
      };
      await post(10);
      if (round === 0) await poll();
      s.probe = await t.probe(s);
      await post(10);
      if (round === 1) await poll();
      s.probe.send('2probe');
      await s.probe.wait('3probe');
      if (round === 2) for (let i = 0; i < 5; i++) await post(2);
      s.probe.send('5', ...(round === 3 ? Array.from({ length: 20 }, () => PING(id++)) : []));
      s.ws = s.probe;
      s.ws.send(PING(id++));
      got.push(...(await s.until(pong(id - 1))));
      assert.deepEqual(got.map((p) => Number(/^43(\d+)/.exec(p)[1])), Array.from({ length: id - 600 }, (_, i) => 600 + i));
      await judge(s, S());
    },
  })),
  ...['probing', 'probed'].map((state) => ({
    name: `${state}: never finished: the socket is closed, the session goes on`, slow: true,
    async play(t) {
      const s = await states[state](t);
      await s.probe.tcp.ended(25000);
      await judge(s, S());
      s.probe = await t.probe(s); // and it may try again
      s.probe.send('2probe');
      await s.probe.wait('3probe');
      await upgradeOf(s);
      await judge(s, S());
    },
  })),
  ...['fin', 'reset', 'close frame'].flatMap((way) => ['probing', 'probed'].map((state) => ({
    name: `${state}: the socket goes by ${way}; another may try`,
    async play(t) {
      const s = await states[state](t);
      if (way === 'close frame') s.probe.tcp.write(closeFrame(1000));
      else s.probe.tcp[way]();
      await s.probe.tcp.ended();
      await judge(s, S());
      const again = await t.run.retry(async () => { // the gateway may learn of it later than we
        const ws = await t.probe(s);
        ws.send('2probe');
        return (await ws.wait('3probe').then(() => ws, () => undefined));
      });
      again.send('5');
      s.ws = again;
      await judge(s, S());
    },
  }))),
  {
    name: 'upgrade of a session that is being closed',
    async play(t) {
      const s = await states['joined polling'](t);
      await s.post('abc');
      s.gone('parse error');
      const c = await t.sent(request('GET', s.url('websocket'), handshakeLines));
      await judgeAnswer(c, R(400, 'Session ID unknown', 'close'));
      const r = await s.get();
      assert.equal(r?.body, '1');
      await s.unknown();
    },
  },
  {
    name: 'upgrade of a session that is closed in the same moment',
    async play(t) {
      const s = await states['joined polling'](t);
      const [a, b] = [await t.tcp(), await t.tcp()];
      a.write(request('GET', s.url('websocket'), handshakeLines));
      b.write(request('POST', s.url(), TEXT, '1'));
      const [x, y] = [await a.answer(), await b.answer()];
      assert.deepEqual([y?.status, y?.body], [200, 'ok']);
      assert.ok([101, 400].includes(x?.status), JSON.stringify(x));
      if (x.status === 101) assert.equal(await new Ws(a).closed(), 1005);
      s.gone('transport close');
      await s.unknown();
    },
  },
  {
    name: 'five upgrades of one session in the same moment: one wins',
    async play(t) {
      const s = await states['joined polling'](t);
      const all = await Promise.all(Array.from({ length: 5 }, () => t.probe(s)));
      for (const ws of all) ws.send('2probe');
      const winners = (await Promise.all(all.map((ws) => ws.wait('3probe').then(() => ws, () => undefined)))).filter(Boolean);
      assert.equal(winners.length, 1);
      winners[0].send('5');
      s.ws = winners[0];
      await judge(s, S());
    },
  },
  {
    name: 'probed: upgrade with the sid of another session in the query twice',
    async play(t) {
      const [a, b] = [await states['joined polling'](t), await states['joined polling'](t)];
      const ws = await t.websocket(`${a.url('websocket')}&sid=${b.sid}`);
      ws.send('2probe', '5');
      b.ws = ws; // the last one counts
      await judge(b, S('3probe'));
      await judge(a, S());
    },
  },
];

/* ---- the end of a session: each state by each way ---- */

const endings = [];
const ending = (state, way, play) => endings.push({ name: `the end: ${state}, by ${way}`, play });

for (const state of ['probing', 'probed']) {
  ending(state, 'POST of 1', async (t) => {
    const s = await states[state](t);
    assert.equal((await s.post('1'))?.body, 'ok');
    s.gone('transport close');
    assert.equal(await s.probe.closed(), 1005);
    await s.probe.tcp.ended();
    await s.unknown();
  });
  ending(state, 'a POST that is undecodable', async (t) => {
    const s = await states[state](t);
    assert.equal((await s.post('abc'))?.status, 400);
    s.gone('parse error');
    assert.equal(await s.probe.closed(), 1005);
    const r = await s.get();
    assert.equal(r?.body, '1');
    await s.unknown();
  });
  ending(state, 'overlapping GETs', async (t) => {
    const s = await states[state](t);
    const a = await t.sent(request('GET', s.url()));
    const b = await t.sent(request('GET', s.url()));
    const answers = (await Promise.all([a.answer(), b.answer()])).map((r) => [r?.status, r?.body]);
    if (state === 'probed' && answers.every(([status]) => status === 200)) return judge(s, S()); // the tick came between them
    assert.ok(answers.some(([status]) => status === 400), JSON.stringify(answers));
    s.gone('transport error');
    assert.equal(await s.probe.closed(), 1005);
    return s.unknown();
  });
  ending(state, 'the loss of the GET that waits', async (t) => {
    const s = await states[state](t);
    const c = await t.sent(request('GET', s.url()));
    await sleep(30);
    c.reset();
    const code = await s.probe.closed(3000).catch(() => undefined);
    if (code === undefined) return judge(s, S()); // it had been answered by then
    s.gone('transport error');
    return s.unknown();
  });
}
for (const state of ['ws', 'joined ws', 'left', 'two namespaces', 'upgraded']) {
  ending(state, 'FIN', async (t) => {
    const s = await states[state](t);
    s.ws.tcp.fin();
    s.gone('transport close');
    await s.ws.tcp.ended();
    await s.unknown();
  });
  ending(state, 'RST', async (t) => {
    const s = await states[state](t);
    s.ws.tcp.reset();
    s.gone('transport close');
    await t.run.retry(() => s.unknown().then(() => true, () => false));
  });
  ending(state, 'the packet 1', async (t) => {
    const s = await states[state](t);
    await judge(s, C('transport close'), await s.send('1'));
  });
  ending(state, 'a close frame', async (t) => {
    const s = await states[state](t);
    s.ws.tcp.write(closeFrame(1001));
    await judge(s, C('transport close', { code: 1001 }));
  });
  ending(state, 'a parse error', async (t) => {
    const s = await states[state](t);
    s.ws.send('9');
    await judge(s, C());
  });
}
for (const state of ['joined polling', 'held']) {
  ending(state, 'DISCONNECT, and then 1', async (t) => {
    const s = await states[state](t);
    assert.equal((await s.post('41\x1e1'))?.body, 'ok');
    s.gone('transport close');
    if (s.held) assert.equal((await s.held.answer())?.body, '6');
    await s.unknown();
  });
  ending(state, 'a reserved name', async (t) => {
    const s = await states[state](t);
    assert.equal((await s.post('42["connect"]'))?.status, 400);
    s.gone('parse error');
    assert.equal((s.held ? await s.held.answer() : await s.get())?.body, '1');
    await s.unknown();
  });
}

/* ---- slow readers and floods that are cut ---- */

const floods = [
  {
    name: 'a client that asks and never reads is cut', slow: true,
    async play(t) {
      const s = await states['joined ws'](t);
      s.ws.tcp.socket.pause();
      const many = Buffer.concat(Array.from({ length: 200 }, (_, i) => frame(1, `42${i}["${'n'.repeat(60)}"]`)));
      s.gone('slow consumer');
      for (let i = 0; i < 2000 && !s.ws.tcp.end; i++) {
        await s.ws.tcp.pour(many);
        await sleep(5);
      }
      s.ws.tcp.socket.resume();
      await s.ws.tcp.ended();
      await s.unknown();
    },
  },
];

export const rows = [...firstRows, ...brokenRows, ...seconds, ...ways, ...endings, ...floods];
