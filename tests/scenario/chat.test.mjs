// People chat: 1:1, groups, offline delivery, sync, history, typing, presence, receipts, group changes. Official client, default options.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { closeAll, connect, dial, texts } from '../lib/client.mjs';
import { Stack, sleep, until } from '../lib/stack.mjs';

let stack, app, gateway;
before(async () => {
  stack = await Stack.start();
  gateway = stack.endpoints.realtime[0];
  app = await stack.app('Chat', { limits: { sends_per_conversation: 10000 } });
  for (const id of ['alice', 'bob', 'carol', 'dave', 'erin', 'frank']) await app.user(id, { name: id.toUpperCase() });
});
after(async () => {
  closeAll();
  await stack?.stop();
});

const as = async (user, options) => connect(gateway, await app.token(user), options);

describe('a session', () => {
  test('starts with polling, upgrades, and begins with session.ready', async () => {
    const c = await as('alice');
    assert.equal(c.events[0].name, 'session.ready');
    const s = c.ready();
    assert.equal(s.user.id, 'alice');
    assert.equal(s.user.name, 'ALICE');
    assert.equal(s.device_id, 'default');
    assert.equal(typeof s.session_id, 'string');
    assert.ok(s.features.includes('presence'));
    assert.ok(s.limits.max_payload > 0);
    assert.ok(Math.abs(Date.parse(s.server_time) - Date.now()) < 5000);
    assert.ok(Date.parse(s.token_expires_at) > Date.now());
    await until(() => c.socket.io.engine.transport.name === 'websocket', { what: 'the upgrade' });
    const pong = await c.send('server.ping', { t: 7 });
    assert.equal(pong.ok, true);
    assert.equal(pong.t, 7);
    await c.close();
  });

  for (const transports of [['polling'], ['websocket']]) {
    test(`works over ${transports} alone`, async () => {
      const a = await as('alice', { transports });
      const ack = await a.send('message.send', { to: 'alice', text: `note by ${transports}` });
      assert.equal(ack.ok, true, JSON.stringify(ack));
      await a.wait('message.new', (m) => m.text === `note by ${transports}`);
      await a.close();
    });
  }
});

describe('messages', () => {
  test('reach both sides of a direct conversation, the sender after commit', async () => {
    const [a, b] = await Promise.all([as('alice'), as('bob')]);
    const ack = await a.send('message.send', { to: 'bob', text: 'hello', client_msg_id: 'm1' });
    assert.equal(ack.ok, true, JSON.stringify(ack));
    assert.match(ack.message.id, /^msg_[0-7][0-9a-hjkmnp-tv-z]{25}$/);
    assert.match(ack.message.conversation_id, /^dir_/);
    assert.equal(ack.message.seq, 1);
    const [atA, atB] = await Promise.all([a, b].map((c) => c.wait('message.new', (m) => m.id === ack.message.id)));
    assert.equal(atB.text, 'hello');
    assert.equal(atB.sender_id, 'alice');
    assert.equal(atB.type, 'text');
    assert.equal(atB.seq, 1);
    assert.equal(atB.created_at, ack.message.created_at);
    assert.equal(atB.client_msg_id, undefined, 'client_msg_id is for the sender alone');
    assert.equal(atA.client_msg_id, 'm1');
    const back = await b.send('message.send', { to: 'alice', text: 'hi' });
    assert.equal(back.message.conversation_id, ack.message.conversation_id);
    assert.equal(back.message.seq, 2);
    const stored = await stack.sql(`select seq, convert_from(body, 'UTF8') from entries where sender_id in ('alice', 'bob') and client_msg_id = 'm1'`);
    assert.equal(stored.length, 1);
    await Promise.all([a.close(), b.close()]);
  });

  test('a retry with the same client_msg_id stores nothing new', async () => {
    const a = await as('alice');
    const send = () => a.send('message.send', { to: 'carol', text: 'once', client_msg_id: 'retry-1' });
    const first = await send();
    const again = await Promise.all([send(), send(), send()]);
    for (const ack of again) {
      assert.equal(ack.ok, true);
      assert.equal(ack.duplicate, true);
      assert.deepEqual(ack.message, first.message);
    }
    assert.deepEqual(await stack.sql(`select count(*) from entries where client_msg_id = 'retry-1'`), [['1']]);
    assert.equal(texts(a).filter((t) => t === 'once').length, 1);
    await a.close();
  });

  test('reach every connection of every member of a group, in one order', async () => {
    const group = await app.group(['alice', 'bob', 'carol']);
    const clients = await Promise.all([as('alice'), as('alice'), as('bob'), as('carol', { transports: ['websocket'] })]);
    const acks = await Promise.all(clients.flatMap((c, i) => Array.from({ length: 8 }, (_, n) =>
      c.send('message.send', { conversation_id: group.id, text: `${i}-${n}` }))));
    assert.ok(acks.every((k) => k.ok), JSON.stringify(acks.find((k) => !k.ok)));
    assert.deepEqual(acks.map((k) => k.message.seq).sort((x, y) => x - y), Array.from({ length: 32 }, (_, i) => i + 2), 'numbers without a gap');
    await Promise.all(clients.map((c) => until(() => texts(c, group.id).length === 32, { what: '32 messages' })));
    for (const c of clients) {
      const seqs = c.of('message.new').filter((m) => m.conversation_id === group.id).map((m) => m.seq);
      assert.deepEqual(seqs, Array.from({ length: 32 }, (_, i) => i + 2), 'ascending, each once');
    }
    await Promise.all(clients.map((c) => c.close()));
  });

  test('carry data, mentions, replies and metadata unchanged', async () => {
    const [a, b] = await Promise.all([as('alice'), as('bob')]);
    const first = await a.send('message.send', { to: 'bob', text: 'first' });
    const payload = { type: 'custom', data: { z: 1, a: [1.5, null, 'ü€𝄞'], deep: { x: true } }, reply_to_id: first.message.id, mentions: ['bob'], metadata: { k: 'v' } };
    const ack = await a.send('message.send', { to: 'bob', ...payload });
    assert.equal(ack.ok, true, JSON.stringify(ack));
    const m = await b.wait('message.new', (x) => x.id === ack.message.id);
    for (const [key, value] of Object.entries(payload)) assert.deepEqual(m[key], value);
    await Promise.all([a.close(), b.close()]);
  });

  test('are refused with a code when the payload is wrong', async () => {
    const a = await as('alice');
    const other = await app.group(['bob', 'carol']);
    const cases = [
      [{ text: 'x' }, 'validation_failed'],
      [{ to: 'bob' }, 'validation_failed'],
      [{ to: 'bob', text: 7 }, 'validation_failed', '/text'],
      [{ to: 'bob', text: 'x', color: 'red' }, 'validation_failed', '/color'],
      [{ to: 'bob', text: 'x'.repeat(20001) }, 'validation_failed', '/text'],
      [{ to: 'bob', text: 'x', client_msg_id: 'y'.repeat(65) }, 'validation_failed', '/client_msg_id'],
      [{ to: 'nobody', text: 'x' }, 'not_found'],
      [{ to: 'b/b', text: 'x' }, ['validation_failed', 'not_found']],
      [{ conversation_id: 'grp_00000000000000000000000000', text: 'x' }, 'not_found'],
      [{ conversation_id: 'nonsense', text: 'x' }, ['not_found', 'validation_failed']],
      [{ conversation_id: other.id, text: 'x' }, ['not_a_member', 'not_found']],
    ];
    for (const [payload, code, pointer] of cases) {
      const ack = await a.send('message.send', payload);
      assert.equal(ack.ok, false, JSON.stringify(payload).slice(0, 80));
      assert.ok([code].flat().includes(ack.error.code), `${JSON.stringify(payload).slice(0, 80)}: ${JSON.stringify(ack)}`);
      if (pointer) assert.equal(ack.error.pointer, pointer);
      assert.equal(typeof ack.error.message, 'string');
      assert.equal(ack.error.retryable, false);
    }
    for (const args of [['text'], [null], [[]], [], [{ to: 'bob', text: 'x' }, 'second']]) {
      const ack = await a.socket.timeout(5000).emitWithAck('message.send', ...args);
      assert.equal(ack.ok, false, JSON.stringify(args));
    }
    assert.equal((await a.send('no.such.event', {})).error.code, 'unknown_event');
    assert.equal((await a.send('message.new', {})).error.code, 'unknown_event', 'facts are not commands');
    assert.equal((await a.send('message.send', { to: 'bob', text: 'still here' })).ok, true);
    await a.close();
  });

  test('of one user are limited', async () => {
    const strict = await stack.app('Strict', { limits: { sends_per_user: 2 } });
    for (const id of ['u', 'v']) await strict.user(id);
    const c = await connect(gateway, await strict.token('u'));
    const acks = await Promise.all(Array.from({ length: 10 }, (_, i) => c.send('message.send', { to: 'v', text: String(i) })));
    assert.equal(acks.filter((a) => a.ok).length, 6, 'a burst of three times the rate');
    const refused = acks.find((a) => !a.ok);
    assert.equal(refused.error.code, 'rate_limited');
    assert.equal(refused.error.retryable, true);
    assert.ok(refused.error.retry_after_ms > 0);
    await sleep(refused.error.retry_after_ms + 100);
    assert.equal((await c.send('message.send', { to: 'v', text: 'later' })).ok, true);
    await c.close();
  });
});

describe('offline', () => {
  test('what was missed is sent after session.ready, once, in order', async () => {
    const group = await app.group(['alice', 'dave']);
    const a = await as('alice');
    for (let i = 0; i < 5; i++) await a.send('message.send', { conversation_id: group.id, text: `missed ${i}` });
    await a.send('message.send', { to: 'dave', text: 'missed too' });
    const d = await as('dave');
    await until(() => texts(d, group.id).length === 5 && texts(d).includes('missed too'), { what: 'the pending messages' });
    assert.deepEqual(texts(d, group.id), [0, 1, 2, 3, 4].map((i) => `missed ${i}`));
    assert.equal(d.events[0].name, 'session.ready');
    const live = await a.send('message.send', { conversation_id: group.id, text: 'live' });
    await d.wait('message.new', (m) => m.id === live.message.id);
    await sleep(1500); // acks move the device's watermark within a second
    await d.close();
    const again = await as('dave');
    await sleep(500);
    assert.deepEqual(texts(again, group.id), [], 'acked messages are not sent again');
    await Promise.all([a.close(), again.close()]);
  });

  test('what was not acked comes again; another device has its own watermark', async () => {
    const group = await app.group(['alice', 'erin']);
    const a = await as('alice');
    const silent = await connect(gateway, { token: await app.token('erin'), device_id: 'phone' }, { acks: false });
    await a.send('message.send', { conversation_id: group.id, text: 'one' });
    await silent.wait('message.new', (m) => m.text === 'one');
    silent.socket.io.engine.close();
    const phone = await connect(gateway, { token: await app.token('erin'), device_id: 'phone' });
    await phone.wait('message.new', (m) => m.text === 'one');
    assert.equal(phone.ready().device_id, 'phone');
    await sleep(1500);
    await phone.close();
    await a.send('message.send', { conversation_id: group.id, text: 'two' });
    const phone2 = await connect(gateway, { token: await app.token('erin'), device_id: 'phone' });
    await phone2.wait('message.new', (m) => m.text === 'two');
    await sleep(300);
    assert.deepEqual(texts(phone2, group.id), ['two']);
    await Promise.all([a.close(), phone2.close()]);
  });

  test('hundreds of pending messages arrive in order, live ones behind them', async () => {
    const group = await app.group(['alice', 'frank']);
    for (let i = 0; i < 1100; i += 100) {
      await Promise.all(Array.from({ length: 100 }, (_, n) => app.api('POST', `/v1/conversations/${group.id}/messages`, { sender_id: 'alice', text: String(i + n) })));
    }
    const f = dial(gateway, await app.token('frank'));
    await f.wait('session.ready');
    const last = await app.api('POST', `/v1/conversations/${group.id}/messages`, { sender_id: 'alice', text: 'live' });
    await until(() => f.of('message.new').some((m) => m.seq === last.body.seq), { timeout: 15000, what: 'the live message behind the pending ones' });
    const seqs = f.events.filter((e) => e.data?.conversation_id === group.id && e.data.seq).map((e) => e.data.seq);
    assert.deepEqual(seqs, Array.from({ length: 1102 }, (_, i) => i + 1));
    await f.close();
  });
});

describe('sync and history', () => {
  test('sync gives what is above the cursors, with heads', async () => {
    const group = await app.group(['alice', 'bob']);
    const a = await as('alice');
    for (let i = 0; i < 6; i++) await a.send('message.send', { conversation_id: group.id, text: `s${i}` });
    const r = await a.send('sync', { conversations: { [group.id]: 3 } });
    assert.equal(r.ok, true, JSON.stringify(r));
    const c = r.conversations[group.id];
    assert.equal(c.head, 7);
    assert.equal(c.has_more, false);
    assert.deepEqual(c.entries.map((e) => [e.event, e.data.seq]), [['message.new', 4], ['message.new', 5], ['message.new', 6], ['message.new', 7]]);
    const part = await a.send('sync', { conversations: { [group.id]: 0 }, limit: 2 });
    assert.deepEqual(part.conversations[group.id].entries.map((e) => [e.event, e.data.seq]), [['group.created', 1], ['message.new', 2]]);
    assert.equal(part.conversations[group.id].has_more, true);
    await a.close();
  });

  test('history.get pages both ways', async () => {
    const group = await app.group(['alice', 'bob']);
    const a = await as('alice');
    for (let i = 0; i < 9; i++) await a.send('message.send', { conversation_id: group.id, text: `h${i}` });
    const newest = await a.send('history.get', { conversation_id: group.id, limit: 4 });
    assert.equal(newest.ok, true, JSON.stringify(newest));
    assert.deepEqual(newest.entries.map((e) => e.data.seq), [7, 8, 9, 10]);
    assert.equal(newest.has_more, true);
    const before = await a.send('history.get', { conversation_id: group.id, before_seq: 4, limit: 10 });
    assert.deepEqual(before.entries.map((e) => e.data.seq), [1, 2, 3]);
    assert.equal(before.has_more, false);
    const upward = await a.send('history.get', { conversation_id: group.id, after_seq: 8, limit: 10 });
    assert.deepEqual(upward.entries.map((e) => e.data.seq), [9, 10]);
    const foreign = await app.group(['bob', 'carol']);
    assert.ok(['not_a_member', 'not_found'].includes((await a.send('history.get', { conversation_id: foreign.id })).error.code));
    assert.equal((await a.send('history.get', { conversation_id: group.id, limit: 201 })).error.code, 'validation_failed');
    await a.close();
  });
});

describe('typing, presence, receipts', () => {
  test('typing.set reaches the others, not the typist', async () => {
    const group = await app.group(['alice', 'bob']);
    const [a, b] = await Promise.all([as('alice'), as('bob')]);
    a.socket.emit('typing.set', { conversation_id: group.id, on: true });
    const seen = await b.wait('typing.updated', (t) => t.conversation_id === group.id);
    assert.equal(seen.user_id, 'alice');
    assert.equal(seen.on, true);
    assert.ok(seen.ttl_ms > 0);
    await sleep(100);
    assert.equal(a.of('typing.updated').length, 0);
    await Promise.all([a.close(), b.close()]);
  });

  test('presence follows connections and presence.set', async () => {
    const a = await as('alice');
    const r = await a.send('presence.subscribe', { user_ids: ['carol', 'nobody-at-all'] });
    assert.equal(r.ok, true, JSON.stringify(r));
    assert.equal(r.presence.carol.status, 'offline');
    const c = await as('carol');
    await a.wait('presence.updated', (p) => p.user_id === 'carol' && p.status === 'online');
    assert.equal((await c.send('presence.set', { status: 'busy', text: 'on a call' })).ok, true);
    const busy = await a.wait('presence.updated', (p) => p.user_id === 'carol' && p.status === 'busy');
    assert.equal(busy.text, 'on a call');
    assert.equal((await c.send('presence.set', { status: 'sleeping' })).error.code, 'validation_failed');
    await c.close();
    const off = await a.wait('presence.updated', (p) => p.user_id === 'carol' && p.status === 'offline', 10000);
    assert.ok(Math.abs(Date.parse(off.last_seen_at) - Date.now()) < 30000);
    assert.equal((await a.send('presence.unsubscribe', { user_ids: ['carol'] })).ok, true);
    await a.close();
  });

  test('read watermarks reach the others and never go back', async () => {
    const group = await app.group(['alice', 'bob']);
    const [a, b] = await Promise.all([as('alice'), as('bob')]);
    for (let i = 0; i < 3; i++) await a.send('message.send', { conversation_id: group.id, text: `r${i}` });
    assert.equal((await b.send('receipt.read', { conversation_id: group.id, seq: 3 })).ok, true);
    const r = await a.wait('receipt.updated', (x) => x.conversation_id === group.id && x.user_id === 'bob' && x.read_seq === 3);
    assert.ok(r.delivered_seq >= 3 || r.delivered_seq === 0 || r.delivered_seq === undefined);
    assert.equal((await b.send('receipt.read', { conversation_id: group.id, seq: 2 })).ok, true);
    assert.equal((await b.send('receipt.read', { conversation_id: group.id, seq: 999 })).ok, true, 'cut to what is stored');
    await until(async () => {
      const members = (await app.api('GET', `/v1/groups/${group.id}/members`)).body.data;
      return members.find((m) => m.user_id === 'bob').read_seq === 4;
    }, { what: 'the stored watermark' });
    await Promise.all([a.close(), b.close()]);
  });
});

describe('groups over the socket', () => {
  test('a whole life: create, add, role, update, remove, leave', async () => {
    const [a, b, c] = await Promise.all([as('alice'), as('bob'), as('carol')]);
    const made = await a.send('group.create', { client_id: 'g-1', name: 'Team', member_ids: ['bob'], metadata: { color: 'red' } });
    assert.equal(made.ok, true, JSON.stringify(made));
    assert.equal(made.group.name, 'Team');
    assert.equal(made.group.member_count, 2);
    const id = made.group.id;
    const added = await b.wait('conversation.added', (x) => x.conversation.id === id);
    assert.equal(added.conversation.name, 'Team');
    const again = await a.send('group.create', { client_id: 'g-1', name: 'Team', member_ids: ['bob'] });
    assert.equal(again.group.id, id, 'the same client_id makes one group');

    await a.send('message.send', { conversation_id: id, text: 'before carol' });
    const add = await a.send('member.add', { conversation_id: id, user_ids: ['carol'] });
    assert.equal(add.ok, true, JSON.stringify(add));
    const joined = await b.wait('member.joined', (x) => x.conversation_id === id);
    assert.equal(joined.seq, add.seq);
    assert.deepEqual(joined.members.map((m) => m.user_id), ['carol']);
    await c.wait('conversation.added', (x) => x.conversation.id === id);
    const msg = await b.send('message.send', { conversation_id: id, text: 'welcome' });
    assert.equal(msg.ok, true, JSON.stringify(msg));
    await c.wait('message.new', (m) => m.id === msg.message.id);
    assert.ok(!texts(c).includes('before carol'), 'nothing from before joining');
    assert.ok(!(await c.send('history.get', { conversation_id: id })).entries.some((e) => e.data.text === 'before carol'));
    assert.equal((await c.send('message.send', { conversation_id: id, text: 'thanks' })).ok, true);

    assert.equal((await b.send('member.remove', { conversation_id: id, user_id: 'carol' })).error.code, 'role_required');
    const role = await a.send('member.role', { conversation_id: id, user_id: 'bob', role: 'admin' });
    assert.equal(role.ok, true, JSON.stringify(role));
    await b.wait('member.role_changed', (x) => x.conversation_id === id && x.role === 'admin');
    const update = await b.send('group.update', { conversation_id: id, name: 'Crew' });
    assert.equal(update.ok, true, JSON.stringify(update));
    await c.wait('group.updated', (x) => x.conversation_id === id && x.name === 'Crew');

    const removed = await b.send('member.remove', { conversation_id: id, user_id: 'carol' });
    assert.equal(removed.ok, true, JSON.stringify(removed));
    await c.wait('conversation.removed', (x) => x.conversation_id === id);
    await a.send('message.send', { conversation_id: id, text: 'after carol' });
    await sleep(300);
    assert.ok(!texts(c).includes('after carol'), 'nothing after leaving');
    assert.ok(['not_a_member', 'not_found'].includes((await c.send('message.send', { conversation_id: id, text: 'x' })).error.code));

    assert.equal((await a.send('group.leave', { conversation_id: id })).error.code, 'last_owner');
    assert.equal((await a.send('member.role', { conversation_id: id, user_id: 'bob', role: 'owner' })).ok, true);
    assert.equal((await a.send('group.leave', { conversation_id: id })).ok, true);
    await b.wait('member.left', (x) => x.conversation_id === id && x.user_id === 'alice');
    await Promise.all([a, b, c].map((x) => x.close()));
  });

  test('changes made over REST are seen at once', async () => {
    const [a, b] = await Promise.all([as('alice'), as('bob')]);
    const group = await app.group(['alice', 'bob'], { name: 'From the backend' });
    await Promise.all([a, b].map((x) => x.wait('conversation.added', (e) => e.conversation.id === group.id)));
    const sent = await app.api('POST', `/v1/conversations/${group.id}/messages`, { sender_id: 'bob', text: 'by the backend' });
    assert.equal(sent.status, 201, sent.text);
    await Promise.all([a, b].map((x) => x.wait('message.new', (m) => m.id === sent.body.id)));
    assert.equal((await app.api('PATCH', `/v1/groups/${group.id}`, { frozen: true })).status, 200);
    await a.wait('group.updated', (x) => x.conversation_id === group.id && x.frozen === true);
    assert.equal((await a.send('message.send', { conversation_id: group.id, text: 'x' })).error.code, 'conversation_frozen');
    assert.equal((await app.api('DELETE', `/v1/groups/${group.id}/members/bob`)).status, 204);
    await b.wait('conversation.removed', (x) => x.conversation_id === group.id);
    await Promise.all([a.close(), b.close()]);
  });
});
