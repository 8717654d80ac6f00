// The namespaces / and /game: who gets into /game, what is known there, that the two do not disturb each other.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { Manager } from 'socket.io-client';
import { closeAll, connect, dial } from '../lib/client.mjs';
import { Stack, sleep, until } from '../lib/stack.mjs';

let stack, app, urls;
const managers = new Set();
before(async () => {
  stack = await Stack.start({ gateways: 2 });
  urls = stack.endpoints.realtime;
  app = await stack.app('Games', { features: { games: true }, limits: { connections_per_user: 3 } });
  for (const id of ['alice', 'bob', 'carol', 'dave']) await app.user(id);
});
const endAll = () => {
  closeAll();
  for (const m of managers) m._close();
  managers.clear();
};
afterEach(endAll);
after(async () => {
  endAll();
  await stack?.stop();
});

const at = async (n, user, options) => connect(urls[n - 1], await app.token(user), options);
const game = (n, user, options) => at(n, user, { namespace: '/game', ...options });

/** Both namespaces over one Engine.IO session: {chat, game}, each {socket, events, wait}. */
async function both(n, user) {
  const manager = new Manager(urls[n - 1], { reconnection: false });
  managers.add(manager);
  const open = async (nsp) => {
    const socket = manager.socket(nsp, { auth: { token: await app.token(user) } });
    const c = { socket, events: [] };
    socket.onAny((name, ...args) => {
      if (typeof args.at(-1) === 'function') args.at(-1)();
      c.events.push({ name, data: args[0] });
    });
    socket.on('disconnect', (reason) => c.events.push({ name: 'disconnect', data: reason }));
    c.wait = (name, timeout = 10000) => until(() => c.events.find((e) => e.name === name), { timeout, what: `${name} in ${nsp} (seen: ${c.events.map((e) => e.name)})` });
    c.send = (event, payload) => socket.timeout(10000).emitWithAck(event, payload);
    socket.connect();
    await c.wait('session.ready');
    return c;
  };
  const [chat, play] = await Promise.all([open('/'), open('/game')]);
  return { manager, chat, game: play };
}

describe('/game', () => {
  test('is open when the feature is on, with a token of its own', async () => {
    const g = await game(1, 'alice');
    assert.equal(g.events[0].name, 'session.ready');
    assert.equal(g.ready().user.id, 'alice');
    assert.ok(g.ready().features.includes('games'));
    assert.deepEqual(await g.send('server.ping', { t: 3 }).then(({ ok, t }) => [ok, t]), [true, 3]);
    const bare = dial(urls[0], {}, { namespace: '/game' });
    assert.equal((await bare.wait('connect_error')).code, 'missing_credentials');
    const forged = dial(urls[0], 'nonsense', { namespace: '/game' });
    assert.equal((await forged.wait('connect_error')).code, 'invalid_token');
  });

  test('is closed when the feature is off, whoever asks, and the chat is not', async () => {
    const plain = await stack.app('Plain');
    await plain.user('u');
    const c = dial(urls[0], await plain.token('u'), { namespace: '/game' });
    const error = await c.wait('connect_error');
    assert.deepEqual([error.code, error.retryable], ['feature_disabled', false]);
    const chat = await connect(urls[0], await plain.token('u'));
    assert.ok(!chat.ready().features.includes('games'));
  });

  test('ends when the feature is switched off, on every node, and the chat is told and goes on', async () => {
    const brief = await stack.app('Brief', { features: { games: true } });
    await brief.user('u');
    const clients = await Promise.all(urls.flatMap((url) => [brief.token('u').then((t) => connect(url, t)), brief.token('u').then((t) => connect(url, t, { namespace: '/game' }))]));
    assert.equal((await brief.api('PATCH', '/v1/app', { features: { games: false, typing: false } })).status, 200);
    const begun = Date.now();
    for (const c of clients) {
      const { features } = await c.wait('features.changed', () => true, 2000);
      assert.ok(!features.includes('games') && !features.includes('typing') && features.includes('core'));
    }
    for (const g of [clients[1], clients[3]]) assert.equal(await g.wait('disconnect', () => true, 2000), 'io server disconnect');
    assert.ok(Date.now() - begun < 2000, `${Date.now() - begun} ms`);
    for (const c of [clients[0], clients[2]]) assert.equal((await c.send('server.ping', {})).ok, true);
    assert.equal((await brief.api('PATCH', '/v1/app', { name: 'Renamed' })).status, 200);
    await sleep(500);
    for (const c of [clients[0], clients[2]]) assert.equal(c.of('features.changed').length, 1, 'what did not change is not told');
    assert.equal((await brief.api('PATCH', '/v1/app', { features: { games: true, typing: true } })).status, 200);
    for (const c of [clients[0], clients[2]]) await c.wait('features.changed', (x) => x.features.includes('games'), 2000);
  });

  test('knows no event of the chat and is sent none of it', async () => {
    const group = await app.group(['alice', 'bob']);
    const [a, b, g] = [await at(1, 'alice'), await at(2, 'bob'), await game(2, 'bob')];
    const before_ = g.events.length;
    for (const [event, payload] of [['message.send', { conversation_id: group.id, text: 'x' }], ['history.get', { conversation_id: group.id }], ['sync', { conversations: {} }],
      ['receipt.read', { conversation_id: group.id, seq: 1 }], ['presence.set', { status: 'away' }], ['group.leave', { conversation_id: group.id }], ['nothing.at_all', {}]]) {
      const answer = await g.send(event, payload);
      assert.deepEqual([answer.ok, answer.error.code, answer.error.retryable], [false, 'unknown_event', false], event);
    }
    g.socket.emit('typing.set', { conversation_id: group.id, on: true });
    const sent = await a.send('message.send', { conversation_id: group.id, text: 'to the chat' });
    await b.wait('message.new', (m) => m.id === sent.message.id);
    const fresh = await app.group(['alice', 'bob']);
    await b.wait('conversation.added', (x) => x.conversation.id === fresh.id);
    await b.send('receipt.read', { conversation_id: group.id, seq: sent.message.seq });
    await a.wait('receipt.updated', (x) => x.conversation_id === group.id && x.user_id === 'bob');
    await sleep(300);
    assert.deepEqual(g.events.slice(before_), []);
    assert.equal(a.of('typing.updated').length, 0);
  });

  test('of a user who is only there: online for others, and the chat gets all when it comes', async () => {
    const group = await app.group(['alice', 'carol']);
    const a = await at(1, 'alice');
    assert.equal((await a.send('presence.subscribe', { user_ids: ['carol'] })).presence.carol.status, 'offline');
    await game(2, 'carol');
    await a.wait('presence.updated', (p) => p.user_id === 'carol' && p.status === 'online');
    for (let i = 0; i < 3; i++) await a.send('message.send', { conversation_id: group.id, text: `m${i}` });
    const c = await at(2, 'carol');
    await until(() => c.of('message.new').filter((m) => m.conversation_id === group.id).length === 3, { what: 'what was said meanwhile' });
  });
});

describe('both namespaces of one Engine.IO session', () => {
  test('have session ids, first events and acks of their own', async () => {
    const x = await both(1, 'alice');
    const ready = [x.chat, x.game].map((c) => c.events.find((e) => e.name === 'session.ready').data);
    assert.notEqual(ready[0].session_id, ready[1].session_id);
    assert.equal(x.chat.socket.id, ready[0].session_id);
    assert.equal(x.game.socket.id, ready[1].session_id);
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => x[i % 2 ? 'chat' : 'game'].send('server.ping', { t: i })));
    assert.deepEqual(answers.map((a) => a.t), Array.from({ length: 20 }, (_, i) => i));
  });

  for (const [leaves, stays] of [['game', 'chat'], ['chat', 'game']]) {
    test(`leaving ${leaves} leaves ${stays}, and one may come back`, async () => {
      const x = await both(2, 'bob');
      x[leaves].socket.disconnect();
      await sleep(300);
      assert.equal((await x[stays].send('server.ping', { t: 1 })).ok, true);
      assert.ok(x[stays].socket.connected);
      x[leaves].events.length = 0;
      x[leaves].socket.connect();
      await x[leaves].wait('session.ready');
      assert.equal((await x[leaves].send('server.ping', { t: 2 })).ok, true);
    });
  }

  test('one refused leaves the other alone', async () => {
    const manager = new Manager(urls[0], { reconnection: false });
    managers.add(manager);
    const chat = manager.socket('/', { auth: { token: await app.token('alice') } }), play = manager.socket('/game', { auth: { token: 'nonsense' } });
    const seen = [];
    chat.on('session.ready', () => seen.push('ready'));
    play.on('connect_error', (e) => seen.push(e.data?.code));
    chat.connect();
    play.connect();
    await until(() => seen.length === 2, { what: () => `both answers (${seen})` });
    assert.deepEqual(seen.sort(), ['invalid_token', 'ready']);
    assert.equal((await chat.timeout(5000).emitWithAck('server.ping', { t: 1 })).ok, true);
  });

  test('may belong to two users', async () => {
    const manager = new Manager(urls[0], { reconnection: false });
    managers.add(manager);
    const chat = manager.socket('/', { auth: { token: await app.token('alice') } }), play = manager.socket('/game', { auth: { token: await app.token('bob') } });
    const who = {};
    chat.on('session.ready', (s) => { who.chat = s.user.id; });
    play.on('session.ready', (s) => { who.game = s.user.id; });
    chat.connect();
    play.connect();
    await until(() => who.chat && who.game, { what: 'both' });
    assert.deepEqual(who, { chat: 'alice', game: 'bob' });
    await app.api('POST', '/v1/users/bob/token-revocations', {});
    await until(() => !play.connected, { what: "the end of bob's" });
    assert.ok(chat.connected);
    assert.equal((await chat.timeout(5000).emitWithAck('server.ping', { t: 1 })).ok, true);
    await sleep(5); // bob's next token is of a later millisecond
  });
});

test('connections of a user count in each namespace by itself', async () => {
  const chats = [], games = [];
  for (let i = 0; i < 3; i++) {
    chats.push(await at(1, 'dave'));
    games.push(await game(1, 'dave'));
  }
  await sleep(200);
  assert.ok([...chats, ...games].every((c) => c.socket.connected));
  games.push(await game(1, 'dave'));
  assert.equal((await games[0].wait('session.replaced')).reason, 'too_many_connections');
  assert.equal(await games[0].wait('disconnect'), 'io server disconnect');
  await sleep(200);
  assert.ok([...chats, ...games.slice(1)].every((c) => c.socket.connected));
});
