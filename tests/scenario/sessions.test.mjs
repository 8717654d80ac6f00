// Sessions of one user: how many, what each device has got, what sync says, what churn does to order and membership, what a gateway that ends says.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { closeAll, connect, dial, texts } from '../lib/client.mjs';
import { Stack, sleep, until } from '../lib/stack.mjs';

let stack, app, urls;
before(async () => {
  stack = await Stack.start({ gateways: 2 });
  urls = stack.endpoints.realtime;
  app = await stack.app('Sessions', { limits: { sends_per_user: 1000, sends_per_conversation: 1000, connections_per_user: 5 } });
  for (const id of ['alice', 'bob', 'carol', 'dave', 'erin']) await app.user(id);
});
afterEach(closeAll);
after(async () => {
  closeAll();
  await stack?.stop();
});

const at = async (n, user, options) => connect(urls[n - 1], await app.token(user), options);
const entries = (c, conversation) => c.events.filter((e) => e.data?.conversation_id === conversation && e.data.seq && e.name !== 'receipt.updated').map((e) => e.data);

test('one connection too many ends the oldest', async () => {
  const clients = [];
  for (let i = 0; i < 6; i++) clients.push(await at(1, 'alice'));
  const { reason } = await clients[0].wait('session.replaced');
  assert.equal(reason, 'too_many_connections');
  assert.equal(await clients[0].wait('disconnect'), 'io server disconnect');
  await sleep(200);
  assert.ok(clients.slice(1).every((c) => c.socket.connected));
});

describe('the watermark of a device', () => {
  const device = async (acks) => connect(urls[0], { token: await app.token('bob'), device_id: 'desk' }, { acks });

  test('never passes a message that was not acknowledged', async () => {
    const group = await app.group(['alice', 'bob']);
    const a = await at(1, 'alice');
    const b = await device(false);
    const answers = [];
    b.socket.on('message.new', (m, ack) => answers.push([m.text, ack]));
    for (let i = 0; i < 6; i++) await a.send('message.send', { conversation_id: group.id, text: `t${i}` });
    await until(() => answers.length === 6, { what: 'six messages' });
    for (const [text, ack] of answers) if (text !== 't2') ack();
    await sleep(1500);
    await b.close();
    const again = await device(true);
    await until(() => texts(again, group.id).length === 4, { what: 'what is above the hole' });
    await sleep(300);
    assert.deepEqual(texts(again, group.id), ['t2', 't3', 't4', 't5']);
    await sleep(1500);
    await again.close();
    const third = await device(true);
    await sleep(500);
    assert.deepEqual(texts(third, group.id), []);
  });

  test('waits for the slower one of two connections', async () => {
    const group = await app.group(['alice', 'bob']);
    const [a, quick, slow] = [await at(1, 'alice'), await device(true), await device(false)];
    await a.send('message.send', { conversation_id: group.id, text: 'to both' });
    await Promise.all([quick, slow].map((c) => c.wait('message.new', (m) => m.text === 'to both')));
    await sleep(1500);
    slow.socket.io.engine.close();
    await quick.close();
    const again = await device(true);
    await again.wait('message.new', (m) => m.text === 'to both');
  });

  test('moves by acks that come later than the next page goes', async () => {
    const group = await app.group(['alice', 'bob']);
    for (let i = 0; i < 450; i += 50) {
      await Promise.all(Array.from({ length: 50 }, (_, n) => app.api('POST', `/v1/conversations/${group.id}/messages`, { sender_id: 'alice', text: String(i + n) })));
    }
    const far = await device((ack) => setTimeout(ack, 700)); // a long way
    await until(() => texts(far, group.id).length === 450, { timeout: 15000, what: 'all pages' });
    await sleep(2500);
    await far.close();
    const again = await device(true);
    await sleep(1000);
    assert.deepEqual(texts(again, group.id), []);
  });

  test('passes entries that ask for no ack with the message behind them, and moves by receipt.delivered', async () => {
    const group = await app.group(['alice', 'bob']);
    const a = await at(1, 'alice');
    const b = await device(false);
    await a.send('message.send', { conversation_id: group.id, text: 'one' });
    await app.api('PATCH', `/v1/groups/${group.id}`, { name: 'Changed' });
    const two = await a.send('message.send', { conversation_id: group.id, text: 'two' });
    await b.wait('message.new', (m) => m.text === 'two');
    assert.equal((await b.send('receipt.delivered', { conversation_id: group.id, seq: two.message.seq })).ok, true);
    await sleep(1500);
    await b.close();
    const again = await device(true);
    await sleep(500);
    assert.deepEqual(entries(again, group.id), []);
  });
});

describe('sync', () => {
  test('tells what was joined since, what is not the user\'s, and the user\'s own marks', async () => {
    const group = await app.group(['alice', 'bob']);
    const foreign = await app.group(['carol', 'dave']);
    const a = await at(1, 'alice');
    const first = await a.send('sync', { conversations: { [group.id]: 0, [foreign.id]: 0, nonsense: 3 } });
    assert.equal(first.ok, true, JSON.stringify(first));
    assert.deepEqual(Object.keys(first.conversations), [group.id]);
    assert.deepEqual(first.left.sort(), [foreign.id, 'nonsense'].sort());
    assert.deepEqual(first.receipts.map((r) => [r.conversation_id, r.user_id]), [[group.id, 'alice']]);
    await sleep(50);
    const fresh = await app.group(['alice', 'carol']);
    const next = await a.send('sync', { conversations: { [group.id]: 1 }, cursor: first.cursor });
    assert.deepEqual(next.joined, [fresh.id]);
    assert.deepEqual(next.conversations[group.id].entries, []);
    assert.equal((await a.send('sync', { conversations: {}, cursor: 'x' })).error.code, 'invalid_cursor');
    assert.equal((await a.send('sync', { conversations: { [group.id]: -1 } })).error.code, 'validation_failed');
  });

  test('of one user, asked for without end, keeps neither others nor the gateway waiting', async () => {
    const [foreign, ready] = [await app.group(['carol', 'dave']), new URL('/readyz', stack.endpoints.metrics[1])];
    const digits = '0123456789abcdefghjkmnpqrstvwxyz';
    const unknown = () => Object.fromEntries(Array.from({ length: 200 }, () =>
      [foreign.id.slice(0, -10) + Array.from({ length: 10 }, () => digits[Math.floor(Math.random() * 32)]).join(''), 0]));
    const flood = await Promise.all(Array.from({ length: 5 }, () => at(1, 'alice', { transports: ['websocket'] })));
    const acks = flood.flatMap((c) => Array.from({ length: 190 }, () => c.send('sync', { conversations: unknown() }, 60000).catch((e) => e)));
    const token = await app.token('bob');
    await sleep(300);
    for (let i = 0; i < 5; i++) {
      const begun = Date.now();
      const b = await connect(urls[0], token);
      assert.equal((await b.send('history.get', { conversation_id: (await app.group(['bob'])).id })).ok, true);
      assert.ok(Date.now() - begun < 2500, `another user waited ${Date.now() - begun} ms`);
      assert.equal((await fetch(ready)).status, 200);
      await b.close();
      await sleep(500);
    }
    const answers = await Promise.all(acks);
    assert.ok(answers.every((a) => a.ok || a.error?.retryable), JSON.stringify(answers.find((a) => !a.ok && !a.error?.retryable)));
    assert.ok(answers.filter((a) => a.ok).length >= 5 * 60);
  });

  test('of a group that was left ends where the user left', async () => {
    const group = await app.group(['alice', 'bob']);
    const [a, b] = await Promise.all([at(1, 'alice'), at(2, 'bob')]);
    await a.send('message.send', { conversation_id: group.id, text: 'before' });
    assert.equal((await b.send('group.leave', { conversation_id: group.id })).ok, true);
    await b.wait('conversation.removed', (x) => x.conversation_id === group.id);
    await a.send('message.send', { conversation_id: group.id, text: 'after' });
    const r = await b.send('sync', { conversations: { [group.id]: 0 } });
    assert.deepEqual(r.left, [group.id]);
    assert.deepEqual(r.conversations[group.id].entries.map((e) => e.event), ['group.created', 'message.new', 'member.left']);
    const h = await b.send('history.get', { conversation_id: group.id });
    assert.deepEqual(h.entries.map((e) => e.event), ['group.created', 'message.new', 'member.left']);
    assert.equal(b.of('conversation.removed').length, 1);
  });
});

test('members who come and go under traffic get exactly what was said while they were in', async () => {
  const group = await app.group(['alice', 'bob']);
  const [a, b, c1, c2] = await Promise.all([at(1, 'alice'), at(2, 'bob'), at(1, 'carol'), at(2, 'carol')]);
  let running = true;
  const talk = Promise.all([a, b].map(async (x, who) => {
    for (let i = 0; running; i++) assert.equal((await x.send('message.send', { conversation_id: group.id, text: `${who}-${i}` })).ok, true);
  }));
  const windows = [];
  for (let i = 0; i < 12; i++) {
    const joined = await app.api('PUT', `/v1/groups/${group.id}/members/carol`, { role: 'member' });
    assert.ok(joined.status < 300, joined.text);
    await sleep(60);
    assert.equal((await app.api('DELETE', `/v1/groups/${group.id}/members/carol`)).status, 204);
    await sleep(40);
  }
  running = false;
  await talk;
  const log = await stack.sql(`select seq, kind, convert_from(body, 'UTF8') from entries where conversation_id = (select conversation_id from entries
    where kind = 5 and convert_from(body, 'UTF8') like '%carol%' limit 1) order by seq`);
  for (const [seq, kind, body] of log) {
    if (kind === '5' && body.includes('carol')) windows.push([Number(seq), 0]);
    if (kind === '6' && body.includes('carol')) windows.at(-1)[1] = Number(seq);
  }
  assert.equal(windows.length, 12);
  const all = log.map(([seq]) => Number(seq));
  await Promise.all([a, b].map((x) => until(() => entries(x, group.id).length === all.length, { what: 'the whole log at who stayed' })));
  for (const x of [a, b]) assert.deepEqual(entries(x, group.id).map((e) => e.seq), all);
  await sleep(1000);
  for (const c of [c1, c2]) {
    const got = entries(c, group.id).map((e) => e.seq);
    assert.deepEqual(got, [...got].sort((x, y) => x - y), 'ascending');
    assert.equal(new Set(got).size, got.length, 'each once');
    assert.ok(got.every((seq) => windows.some(([from, to]) => seq >= from && seq <= to)), 'nothing from outside of the windows');
  }
});

test('connections that come and go under traffic miss nothing', async () => {
  const group = await app.group(['alice', 'dave']);
  const a = await at(1, 'alice');
  let running = true, sent = 0;
  const talk = (async () => {
    for (; running; sent++) assert.equal((await a.send('message.send', { conversation_id: group.id, text: String(sent) })).ok, true);
  })();
  const token = await app.token('dave');
  const seen = new Map();
  for (let i = 0; i < 12; i++) {
    const d = dial(urls[i % 2], { token, device_id: 'train' }, { transports: i % 3 ? ['websocket'] : ['polling', 'websocket'] });
    await d.wait('session.ready');
    await sleep(150 + 40 * i);
    const got = entries(d, group.id);
    assert.deepEqual(got.map((e) => e.seq), got.map((e, k) => got[0].seq + k), 'no gap within a connection');
    for (const e of got) seen.set(e.seq, e);
    if (i % 2) d.socket.io.engine.close();
    else await d.close();
  }
  running = false;
  await talk;
  const last = await connect(urls[0], { token, device_id: 'train' });
  await until(() => {
    for (const e of entries(last, group.id)) seen.set(e.seq, e);
    return seen.size === sent + 1;
  }, { what: 'the whole log over all connections' });
  assert.deepEqual([...seen.values()].filter((e) => e.text).sort((x, y) => x.seq - y.seq).map((e) => e.text), Array.from({ length: sent }, (_, i) => String(i)));
});

test('a gateway that ends says so, and the client comes back elsewhere', async () => {
  const c = await at(2, 'erin');
  stack.kill('realtime-2', 'SIGTERM');
  const draining = await c.wait('server.draining');
  assert.ok(draining.reconnect_in_ms >= 0);
  const reason = await c.wait('disconnect');
  assert.ok(['transport close', 'transport error'].includes(reason), `${reason}: the client would not come back by itself`);
  const other = await at(1, 'erin');
  assert.equal((await other.send('server.ping', { t: 1 })).ok, true);
});
