// Two gateways behave as one: messages in one order, everything else crosses, and when one dies its users go on at the other.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { closeAll, connect, dial, texts } from '../lib/client.mjs';
import { Stack, sleep, until } from '../lib/stack.mjs';

const SLOW = { timeout: 15000 };
let stack, app, urls;
before(async () => {
  stack = await Stack.start({ gateways: 2 });
  urls = stack.endpoints.realtime;
  app = await stack.app('Gateways', { limits: { sends_per_user: 1000, sends_per_conversation: 1000 } });
  for (const id of ['alice', 'bob', 'carol', 'dave']) await app.user(id);
});
afterEach(closeAll);
after(async () => {
  closeAll();
  await stack?.stop();
});

const at = async (n, user, options) => connect(urls[n - 1], await app.token(user), options);
const seqs = (c, conversation) => c.of('message.new').filter((m) => m.conversation_id === conversation).map((m) => m.seq);

/** Subscribes `watcher` to users who have left everywhere: earlier tests' sessions end after their grace. */
const watchOffline = (watcher, ids) => until(async () => {
  const r = await watcher.send('presence.subscribe', { user_ids: ids });
  assert.equal(r.ok, true, JSON.stringify(r));
  return ids.every((id) => r.presence[id].status === 'offline');
}, { ...SLOW, what: `${ids} offline` });

describe('messages', () => {
  test('from both sides reach both sides in one order, each once', async () => {
    const group = await app.group(['alice', 'bob', 'carol']);
    const clients = await Promise.all([at(1, 'alice'), at(2, 'bob'), at(1, 'carol'), at(2, 'carol')]);
    const sends = clients.flatMap((c, i) => Array.from({ length: 25 }, (_, n) => c.send('message.send', { conversation_id: group.id, text: `${i}-${n}` }, 20000)));
    const acks = await Promise.all(sends);
    assert.ok(acks.every((a) => a.ok), JSON.stringify(acks.find((a) => !a.ok)));
    const wanted = Array.from({ length: 100 }, (_, i) => i + 2);
    assert.deepEqual(acks.map((a) => a.message.seq).sort((x, y) => x - y), wanted);
    await Promise.all(clients.map((c) => until(() => seqs(c, group.id).length >= 100, { ...SLOW, what: '100 messages' })));
    await sleep(200);
    for (const c of clients) {
      assert.deepEqual(seqs(c, group.id), wanted);
      assert.deepEqual(texts(c, group.id), texts(clients[0], group.id));
    }
    for (let i = 0; i < 4; i++) {
      assert.deepEqual(texts(clients[0], group.id).filter((t) => t.startsWith(`${i}-`)), Array.from({ length: 25 }, (_, n) => `${i}-${n}`), 'in the order of the sender');
    }
  });

  test('with one client_msg_id and different words show everywhere the words that were stored', async () => {
    const group = await app.group(['alice', 'bob']);
    const clients = await Promise.all([at(1, 'alice'), at(2, 'alice'), at(1, 'bob'), at(2, 'bob')]);
    for (let i = 0; i < 40; i++) {
      const acks = await Promise.all(clients.slice(0, 2).map((c, n) =>
        c.send('message.send', { conversation_id: group.id, client_msg_id: `words-${i}`, text: `${i} at ${n + 1}` })));
      assert.ok(acks.every((a) => a.ok), JSON.stringify(acks));
    }
    await Promise.all(clients.map((c) => until(() => seqs(c, group.id).length >= 40, { ...SLOW, what: '40 messages' })));
    await sleep(200);
    const stored = (await app.api('GET', `/v1/conversations/${group.id}/messages?limit=100`)).body.data.filter((m) => m.text).sort((x, y) => x.seq - y.seq);
    for (const c of clients) {
      assert.deepEqual(texts(c, group.id), stored.map((m) => m.text));
      assert.deepEqual(seqs(c, group.id), stored.map((m) => m.seq), 'each once');
    }
  });

  test('of a new direct conversation reach a peer on the other gateway', async () => {
    const [a, d] = await Promise.all([at(1, 'alice'), at(2, 'dave')]);
    const ack = await a.send('message.send', { to: 'dave', text: 'first words' });
    assert.equal(ack.ok, true, JSON.stringify(ack));
    await d.wait('message.new', (m) => m.id === ack.message.id, 10000);
    const back = await d.send('message.send', { to: 'alice', text: 'an answer' });
    assert.equal(back.message.conversation_id, ack.message.conversation_id);
    await a.wait('message.new', (m) => m.id === back.message.id, 10000);
  });

  test('over REST reach both', async () => {
    const group = await app.group(['alice', 'bob']);
    const [a, b] = await Promise.all([at(1, 'alice'), at(2, 'bob')]);
    const sent = await app.api('POST', `/v1/conversations/${group.id}/messages`, { sender_id: 'alice', text: 'by REST' });
    assert.equal(sent.status, 201, sent.text);
    const [atA, atB] = await Promise.all([a, b].map((c) => c.wait('message.new', (m) => m.id === sent.body.id, 10000)));
    assert.equal(atA.seq, sent.body.seq);
    assert.deepEqual([atB.seq, atB.text, atB.sender_id], [sent.body.seq, 'by REST', 'alice']);
  });

  test('a retry at the other gateway stores nothing new', async () => {
    const group = await app.group(['alice', 'bob']);
    const [a1, a2, b] = await Promise.all([at(1, 'alice'), at(2, 'alice'), at(2, 'bob')]);
    const payload = { conversation_id: group.id, text: 'once', client_msg_id: 'moved' };
    const first = await a1.send('message.send', payload);
    const again = await Promise.all([a2, a1, a2].map((c) => c.send('message.send', payload)));
    for (const ack of again) {
      assert.equal(ack.ok, true, JSON.stringify(ack));
      assert.equal(ack.duplicate, true);
      assert.deepEqual(ack.message, first.message);
    }
    const marker = await a1.send('message.send', { conversation_id: group.id, text: 'end' });
    await b.wait('message.new', (m) => m.id === marker.message.id, 10000);
    assert.deepEqual(texts(b, group.id), ['once', 'end']);
  });
});

describe('everything else crosses', () => {
  test('typing', async () => {
    const group = await app.group(['alice', 'bob']);
    const [a, b] = await Promise.all([at(1, 'alice'), at(2, 'bob')]);
    const seen = () => b.of('typing.updated').find((t) => t.conversation_id === group.id && t.on);
    await until(async () => { // at most once by promise: the typist goes on typing
      a.socket.emit('typing.set', { conversation_id: group.id, on: true });
      await sleep(200);
      return seen();
    }, { ...SLOW, what: 'typing at the other gateway' });
    assert.equal(seen().user_id, 'alice');
    assert.equal(a.of('typing.updated').length, 0);
  });

  test('presence', async () => {
    const a = await at(1, 'alice');
    await watchOffline(a, ['carol']);
    const c = await at(2, 'carol');
    await a.wait('presence.updated', (p) => p.user_id === 'carol' && p.status === 'online', 10000);
    assert.equal((await c.send('presence.set', { status: 'away', text: 'tea' })).ok, true);
    const away = await a.wait('presence.updated', (p) => p.user_id === 'carol' && p.status === 'away', 10000);
    assert.equal(away.text, 'tea');
    const again = await at(2, 'bob');
    assert.equal((await again.send('presence.subscribe', { user_ids: ['carol'] })).presence.carol.status, 'away');
    assert.equal((await c.send('presence.set', { status: 'online', text: '' })).ok, true, 'a chosen status outlives the session');
    await a.wait('presence.updated', (p, e) => a.events.indexOf(e) > a.events.findIndex((x) => x.data?.status === 'away') && p.user_id === 'carol' && p.status === 'online', 10000);
    await c.close();
    await a.wait('presence.updated', (p) => p.user_id === 'carol' && p.status === 'offline', 15000);
  });

  test('a user with connections on both gateways is online until the last one ends', async () => {
    const a = await at(1, 'alice');
    const [c1, c2] = await Promise.all([at(1, 'carol'), at(2, 'carol')]);
    await until(async () => (await a.send('presence.subscribe', { user_ids: ['carol'] })).presence.carol.status === 'online', { ...SLOW, what: 'carol online' });
    const mark = a.events.length;
    await c1.close();
    await sleep(4000); // beyond the grace
    assert.ok(!a.events.slice(mark).some((e) => e.name === 'presence.updated' && e.data.status === 'offline'), 'not offline while one connection is left');
    await c2.close();
    await a.wait('presence.updated', (p, e) => a.events.indexOf(e) >= mark && p.user_id === 'carol' && p.status === 'offline', 15000);
  });

  test('receipts', async () => {
    const group = await app.group(['alice', 'bob']);
    const [a, b] = await Promise.all([at(1, 'alice'), at(2, 'bob')]);
    const ack = await a.send('message.send', { conversation_id: group.id, text: 'read me' });
    await b.wait('message.new', (m) => m.id === ack.message.id, 10000);
    assert.equal((await b.send('receipt.read', { conversation_id: group.id, seq: ack.message.seq })).ok, true);
    await a.wait('receipt.updated', (x) => x.conversation_id === group.id && x.user_id === 'bob' && x.read_seq === ack.message.seq, 10000);
  });

  test('conversation.added, group events and their end', async () => {
    const [a, b, c] = await Promise.all([at(1, 'alice'), at(2, 'bob'), at(2, 'carol')]);
    const made = await a.send('group.create', { name: 'Wide', member_ids: ['bob'] });
    assert.equal(made.ok, true, JSON.stringify(made));
    const id = made.group.id;
    await b.wait('conversation.added', (x) => x.conversation.id === id, 10000);
    assert.equal((await b.send('message.send', { conversation_id: id, text: 'here' })).ok, true);
    await a.wait('message.new', (m) => m.conversation_id === id && m.text === 'here', 10000);

    assert.equal((await a.send('member.add', { conversation_id: id, user_ids: ['carol'] })).ok, true);
    await Promise.all([b.wait('member.joined', (x) => x.conversation_id === id, 10000), c.wait('conversation.added', (x) => x.conversation.id === id, 10000)]);
    assert.equal((await c.send('message.send', { conversation_id: id, text: 'from carol' })).ok, true);
    await a.wait('message.new', (m) => m.conversation_id === id && m.text === 'from carol', 10000);
    assert.ok(!texts(c, id).includes('here'), 'nothing from before joining');

    assert.equal((await a.send('group.update', { conversation_id: id, name: 'Wider' })).ok, true);
    await Promise.all([b, c].map((x) => x.wait('group.updated', (e) => e.conversation_id === id && e.name === 'Wider', 10000)));
    assert.equal((await a.send('member.role', { conversation_id: id, user_id: 'bob', role: 'admin' })).ok, true);
    await b.wait('member.role_changed', (x) => x.conversation_id === id && x.role === 'admin', 10000);
    assert.equal((await b.send('member.remove', { conversation_id: id, user_id: 'carol' })).ok, true);
    await c.wait('conversation.removed', (x) => x.conversation_id === id, 10000);
    const last = await a.send('message.send', { conversation_id: id, text: 'without carol' });
    await b.wait('message.new', (m) => m.id === last.message.id, 10000);
    await sleep(200);
    assert.ok(!texts(c, id).includes('without carol'));
    assert.ok(['not_a_member', 'not_found'].includes((await c.send('message.send', { conversation_id: id, text: 'x' })).error.code));
  });

  test('what REST changes is seen at both', async () => {
    const [a, b] = await Promise.all([at(1, 'alice'), at(2, 'bob')]);
    const group = await app.group(['alice', 'bob']);
    await Promise.all([a, b].map((c) => c.wait('conversation.added', (x) => x.conversation.id === group.id, 10000)));
    assert.equal((await app.api('PATCH', `/v1/groups/${group.id}`, { name: 'Renamed' })).status, 200);
    await Promise.all([a, b].map((c) => c.wait('group.updated', (x) => x.conversation_id === group.id && x.name === 'Renamed', 10000)));
    assert.equal((await app.api('DELETE', `/v1/groups/${group.id}/members/bob`)).status, 204);
    await b.wait('conversation.removed', (x) => x.conversation_id === group.id, 10000);
  });
});

describe('a gateway that is killed', () => {
  test('loses nothing: its users go on at the other one', async () => {
    const group = await app.group(['alice', 'bob', 'carol']);
    const watcher = await at(2, 'bob');
    await watchOffline(watcher, ['carol', 'alice']);
    const carol = await at(1, 'carol'); // without reconnection: she stays away
    const device = { token: await app.token('alice'), device_id: 'phone' };
    const alice = await connect(urls[0], device);
    await watcher.wait('presence.updated', (p) => p.user_id === 'carol' && p.status === 'online', 10000);
    const acked = [];
    for (let i = 0; i < 30; i++) acked.push((await alice.send('message.send', { conversation_id: group.id, text: `a${i}`, client_msg_id: `a${i}` })).message);
    const unanswered = Array.from({ length: 20 }, (_, i) => alice.send('message.send', { conversation_id: group.id, text: `b${i}`, client_msg_id: `b${i}` }, 3000)
      .then((a) => a.ok && acked.push(a.message), () => undefined));
    const mark = watcher.events.length;
    stack.kill('realtime-1');
    await alice.wait('disconnect', () => true, 10000);
    await carol.wait('disconnect', () => true, 10000);
    for (let i = 0; i < 5; i++) acked.push((await watcher.send('message.send', { conversation_id: group.id, text: `c${i}` }, 20000)).message);

    // What a balancer does: the client's reconnection finds the other gateway.
    const moved = dial(urls[1], device, { reconnection: true, reconnectionDelay: 50 });
    await moved.wait('session.ready', () => true, 15000);
    await Promise.all(unanswered);
    const retries = await Promise.all(Array.from({ length: 20 }, (_, i) => moved.send('message.send', { conversation_id: group.id, text: `b${i}`, client_msg_id: `b${i}` }, 20000)));
    assert.ok(retries.every((a) => a.ok), JSON.stringify(retries.find((a) => !a.ok)));
    acked.push(...retries.map((a) => a.message));

    const rows = await stack.sql(`select seq, mid from entries where conversation_id = (select conversation_id from entries where client_msg_id = 'a0') order by seq`);
    assert.deepEqual(rows.map(([seq]) => Number(seq)), Array.from({ length: 56 }, (_, i) => i + 1), 'group.created and 55 messages, without a gap');
    const history = (await app.api('GET', `/v1/conversations/${group.id}/messages?limit=200`)).body.data;
    for (const m of acked) assert.equal(history.find((h) => h.id === m.id)?.seq, m.seq, `acked ${m.id} is in history`);
    const wanted = Array.from({ length: 55 }, (_, i) => i + 2);
    const got = () => [...new Set([...seqs(alice, group.id), ...seqs(moved, group.id)])].sort((x, y) => x - y);
    await until(() => got().length === 55, { ...SLOW, what: 'everything at the client that moved' });
    assert.deepEqual(got(), wanted);
    assert.deepEqual(seqs(moved, group.id), [...seqs(moved, group.id)].sort((x, y) => x - y), 'ascending');
    assert.equal(new Set(seqs(moved, group.id)).size, seqs(moved, group.id).length, 'each once a connection');
    await until(() => seqs(watcher, group.id).length >= 55, { ...SLOW, what: 'everything at the other gateway' });
    assert.deepEqual(seqs(watcher, group.id), wanted);
    await watcher.wait('presence.updated', (p, e) => watcher.events.indexOf(e) >= mark && p.user_id === 'carol' && p.status === 'offline', 40000);
    assert.equal((await watcher.send('presence.subscribe', { user_ids: ['alice', 'carol'] })).presence.alice.status, 'online');
  });

  test('comes back and takes part', async () => {
    await stack.up();
    urls = stack.endpoints.realtime;
    const group = await app.group(['alice', 'bob']);
    const [a, b] = await Promise.all([at(1, 'alice'), at(2, 'bob')]);
    const ack = await b.send('message.send', { conversation_id: group.id, text: 'welcome back' }, 20000);
    await a.wait('message.new', (m) => m.id === ack.message.id, 10000);
  });
});
