// The official JavaScript clients, from the first that speaks this protocol to the latest, by each transport, against the real gateway.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { closeAll, connect, dial, texts } from '../lib/client.mjs';
import { proxy } from '../lib/proxy.mjs';
import { Stack, until } from '../lib/stack.mjs';

const VERSIONS = ['3.1', '4.0', '4.4', '4.6', '4.8'];
const TRANSPORTS = { polling: ['polling'], websocket: ['websocket'], upgrade: ['polling', 'websocket'] };
const AT_ONCE = 4; // two cores under a sanitizer
const PING = { interval: 500, timeout: 4000 };

// One row of the table: who connects how, and with whom it talks.
const rows = (await Promise.all(VERSIONS.map(async (version) => {
  const { io } = await import(`socket.io-client-${version}`);
  return Object.entries(TRANSPORTS).map(([by, transports]) => {
    const tag = `${version.replace('.', '-')}-${by}`;
    return { name: `${version} by ${by}`, by, me: `me-${tag}`, peer: `peer-${tag}`, options: { client: io, transports } };
  });
}))).flat();

let stack, app, games, gateway;
before(async () => {
  stack = await Stack.start({ env: { PARLEY_PING_INTERVAL_MS: String(PING.interval), PARLEY_PING_TIMEOUT_MS: String(PING.timeout) } });
  gateway = stack.endpoints.realtime[0];
  app = await stack.app('Clients', { limits: { sends_per_user: 1000, sends_per_conversation: 10000 } });
  games = await stack.app('Games', { features: { games: true } });
  await Promise.all(rows.flatMap((row) => [app.user(row.me), app.user(row.peer), games.user(row.me)]));
});
after(async () => {
  closeAll();
  await stack?.stop();
});

const transportOf = (c) => c.socket.io.engine.transport.name;
const settled = (c, row) => until(() => transportOf(c) === row.options.transports.at(-1), { timeout: 15000, what: `the transport of ${row.name}` });
const me = async (row, options = {}, url = gateway) =>
  connect(url, { token: await app.token(row.me), device_id: options.device ?? 'desk' }, { ...row.options, timeout: 15000, ...options });
const peer = async (row) => connect(gateway, await app.token(row.peer), { transports: ['websocket'], timeout: 15000 });

/** One test for each row, a few of them at a time. */
const each = (title, fn) => describe(title, { concurrency: AT_ONCE }, () => {
  for (const row of rows) test(row.name, { timeout: 60000 }, () => fn(row));
});

each('connects with a token, and is told why it may not', async (row) => {
  const c = await me(row);
  assert.equal(c.events[0].name, 'session.ready');
  assert.equal(c.ready().user.id, row.me);
  await settled(c, row);
  assert.equal((await c.send('server.ping', { t: 7 })).t, 7);
  const refusals = [[{ token: 'nonsense' }, 'invalid_token'], [{}, 'missing_credentials']];
  for (const [auth, code] of refusals) {
    const refused = dial(gateway, auth, row.options);
    const data = await refused.wait('connect_error', () => true, 15000);
    assert.equal(data.code, code);
    assert.equal(data.retryable, false);
    assert.equal(refused.events[0].message, code);
    await refused.close();
  }
  await c.close();
});

each('gets acks and gives them', async (row) => {
  const a = await peer(row);
  const silent = await me(row, { acks: false, device: 'phone' });
  const one = await a.send('message.send', { to: row.me, text: 'one' });
  assert.equal(one.ok, true, JSON.stringify(one));
  await silent.wait('message.new', (m) => m.text === 'one');
  await silent.close();

  const c = await me(row, { acks: (ack) => ack({ taken: true }, Buffer.from('by a binary ack')), device: 'phone' });
  await c.wait('message.new', (m) => m.text === 'one');
  const reply = await c.send('message.send', { to: row.peer, text: 'two' });
  assert.equal(reply.ok, true, JSON.stringify(reply));
  assert.equal(reply.message.seq, one.message.seq + 1);
  await a.wait('receipt.updated', (r) => r.user_id === row.me && r.delivered_seq === reply.message.seq, 10000);
  await c.close();

  const again = await me(row, { device: 'phone' });
  await a.send('message.send', { to: row.me, text: 'three' });
  await again.wait('message.new', (m) => m.text === 'three');
  assert.deepEqual(texts(again), ['three'], 'what was acknowledged does not come again');
  await Promise.all([a.close(), again.close()]);
});

test('heartbeats keep idle clients, and clients that do not answer are cut and come back', { timeout: 60000 }, async () => {
  const timeouts = () => stack.metric('parley_disconnects_total', stack.endpoints.metrics[1], 'reason="ping timeout"');
  const all = await Promise.all(rows.map(async (row) => {
    const way = await proxy(gateway);
    const c = await me(row, { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 200 }, way.url);
    let pings = 0;
    c.socket.io.engine.on('packet', (p) => { pings += p.type === 'ping'; });
    await settled(c, row);
    return { row, way, c, id: c.socket.id, pings: () => pings };
  }));
  await Promise.all(all.map(({ row, pings }) => until(() => pings() >= 6, { timeout: 20000, what: `six pings at ${row.name}` })));
  for (const { row, c, id } of all) {
    assert.deepEqual(c.of('disconnect'), [], row.name);
    assert.equal(c.socket.id, id);
  }
  assert.equal(await timeouts(), 0, 'neither these nor those that were closed in the tests above');
  for (const { way } of all) {
    way.refuse(true);
    way.stall();
  }
  await until(async () => await timeouts() >= rows.length, { timeout: 3 * (PING.interval + PING.timeout), what: 'the end of all who do not answer' });
  assert.equal(await timeouts(), rows.length);
  await Promise.all(all.map(async ({ row, way, c }) => {
    way.refuse(false);
    way.cut();
    await until(() => c.of('session.ready').length === 2, { timeout: 15000, what: `the return of ${row.name}` });
    assert.equal((await c.send('server.ping', { t: 1 })).ok, true);
    await Promise.all([c.close(), way.close()]);
  }));
});

const EARLY = 100, LATE = 100; // messages before the WebSocket gets through, and after the upgrade

/** Sends numbered texts without a pause, `flying` at a time, while more(i) holds; the acks, in the order of sending. */
async function talk(c, conversation, mark, flying, more) {
  const acks = [], open = new Set();
  for (let i = 0; more(i); i++) {
    const sent = c.send('message.send', { conversation_id: conversation, text: `${mark}${i}` }, 30000);
    acks.push(sent);
    open.add(sent);
    sent.catch(() => {}).finally(() => open.delete(sent));
    if (open.size >= flying) await Promise.race(open);
  }
  return Promise.all(acks);
}

each('keeps order and loses nothing while both sides send, the upgrade included', async (row) => {
  const [way, b, { id }] = await Promise.all([proxy(gateway), peer(row), app.group([row.me, row.peer])]);
  const upgrades = row.by === 'upgrade';
  way.hold(upgrades);
  const c = await me(row, {}, way.url);
  let ended = false, upgradedAt = upgrades ? Infinity : EARLY;
  assert.equal(transportOf(c), row.options.transports[0]);
  const theirs = talk(b, id, 'b', 4, () => !ended);
  const mine = talk(c, id, 'c', 16, (i) => {
    if (i === EARLY) way.hold(false);
    if (upgradedAt === Infinity && transportOf(c) === 'websocket') upgradedAt = i;
    return !ended && i < upgradedAt + LATE;
  });
  const late = setTimeout(() => { ended = true; }, 20000);
  const acks = { c: await mine.finally(() => { ended = true; }), b: await theirs };
  clearTimeout(late);
  assert.equal(transportOf(c), row.options.transports.at(-1));
  assert.ok(acks.c.length >= EARLY + LATE, `${acks.c.length} were sent`);
  assert.ok(acks.b.length >= 50, `${acks.b.length} were sent by the other side`);
  for (const [mark, list] of Object.entries(acks)) {
    assert.deepEqual(list.filter((k) => !k.ok), []);
    const seqs = list.map((k) => k.message.seq);
    assert.deepEqual(seqs, [...seqs].sort((x, y) => x - y), `${mark}: stored in the order of sending`);
  }
  const total = acks.b.length + acks.c.length;
  for (const x of [b, c]) {
    const seen = () => x.of('message.new').filter((m) => m.conversation_id === id);
    await until(() => seen().length >= total, { timeout: 20000, what: () => `${total} messages (${seen().length} came)` });
    assert.deepEqual(seen().map((m) => m.seq), Array.from({ length: total }, (_, i) => i + 2), 'each once, ascending, without a gap');
    for (const mark of ['b', 'c']) assert.deepEqual(texts(x, id).filter((t) => t[0] === mark), acks[mark].map((_, i) => `${mark}${i}`));
  }
  await Promise.all([b.close(), c.close(), way.close()]);
});

each('shares a connection between namespaces, and a refusal of one leaves the other', async (row) => {
  const c = await me(row);
  const refusal = async (name) => {
    const socket = c.socket.io.socket(name, { auth: { token: await app.token(row.me) } });
    const e = await new Promise((resolve, reject) => {
      socket.on('connect_error', resolve);
      socket.on('connect', () => reject(new Error(`${name} is connected`)));
      socket.connect();
    });
    socket.disconnect();
    return e;
  };
  const game = await refusal('/game');
  assert.equal(game.message, 'feature_disabled');
  assert.equal(game.data.code, 'feature_disabled');
  assert.equal(game.data.retryable, false);
  for (const name of ['/nope', '/Game', '/game/']) assert.equal((await refusal(name)).message, 'Invalid namespace');
  await settled(c, row);
  assert.equal((await c.send('server.ping', { t: 1 })).ok, true);
  assert.deepEqual(c.of('disconnect'), []);
  await c.close();
});

each('is in two namespaces by one connection, and leaves one alone', async (row) => {
  const token = await games.token(row.me);
  const chat = await connect(gateway, token, { ...row.options, timeout: 15000 });
  const play = await connect(gateway, token, { client: (_, options) => chat.socket.io.socket('/game', options), timeout: 15000 });
  assert.notEqual(play.socket.id, chat.socket.id);
  assert.ok(play.ready().features.includes('games'));
  const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => (i % 2 ? play : chat).send('server.ping', { t: i })));
  assert.deepEqual(answers.map((a) => a.t), Array.from({ length: 20 }, (_, i) => i), 'each ack to its own namespace');
  play.socket.disconnect();
  assert.equal((await chat.send('message.send', { to: row.me, text: 'note' })).ok, true);
  await chat.wait('message.new', (m) => m.text === 'note');
  play.socket.connect();
  await until(() => play.of('session.ready').length === 2, { timeout: 10000, what: 'the return to /game' });
  assert.equal((await play.send('server.ping', { t: 1 })).ok, true);
  assert.deepEqual([chat.of('disconnect'), texts(play)], [[], []]);
  await Promise.all([play.close(), chat.close()]);
});

each('comes back by itself after a cut, and gets what it missed', async (row) => {
  const way = await proxy(gateway);
  const [b, { id }] = await Promise.all([peer(row), app.group([row.me, row.peer])]);
  const c = await me(row, { device: 'train', reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 200 }, way.url);
  await settled(c, row);
  for (let cut = 0; cut < 2; cut++) {
    way.refuse(true);
    way.cut();
    await until(() => c.of('disconnect').length === cut + 1, { timeout: 10000, what: 'the disconnect' });
    assert.match(c.of('disconnect')[cut], /^transport (close|error)$/);
    const missed = await Promise.all(Array.from({ length: 20 }, (_, i) => b.send('message.send', { conversation_id: id, text: `missed ${cut}-${i}` })));
    assert.ok(missed.every((k) => k.ok));
    const buffered = c.send('message.send', { conversation_id: id, text: `buffered ${cut}` }, 30000);
    way.refuse(false);
    await until(() => c.of('session.ready').length === cut + 2, { timeout: 15000, what: 'the return' });
    assert.equal((await buffered).ok, true);
    await until(() => texts(c, id).includes(`missed ${cut}-19`) && texts(c, id).includes(`buffered ${cut}`), { timeout: 10000, what: 'what was missed' });
    // By the rule for clients: what is not above the last number is a repetition.
    let last = 0;
    const taken = c.of('message.new').filter((m) => m.conversation_id === id && m.seq > last && (last = m.seq)).map((m) => m.text).filter((t) => t.includes(` ${cut}`));
    assert.deepEqual(taken, [...Array.from({ length: 20 }, (_, i) => `missed ${cut}-${i}`), `buffered ${cut}`]);
    await settled(c, row);
  }
  await Promise.all([b.close(), c.close(), way.close()]);
});
