// A real browser: pages from elsewhere connect by each transport, as far as the allowed origins go.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { Browser, serve } from '../lib/browser.mjs';
import { closeAll, connect } from '../lib/client.mjs';
import { proxy } from '../lib/proxy.mjs';
import { Stack, root, until } from '../lib/stack.mjs';

const VERSIONS = ['3.1', '4.0', '4.4', '4.6', '4.8'];
const TRANSPORTS = { polling: ['polling'], websocket: ['websocket'], upgrade: ['polling', 'websocket'] };

// The page of a version: dial(url, options) begins; `events` are what came, as in lib/client.mjs; send() resolves to the ack.
const page = (version) => `<!doctype html><meta charset="utf-8"><title>Parley</title><script src="/client-${version}.js"></script><script>
  const events = [];
  let socket;
  function dial(url, options) {
    socket = io(url, { forceNew: true, reconnection: false, ...options });
    socket.onAny((name, ...args) => {
      if (typeof args[args.length - 1] === 'function') args.pop()();
      events.push({ name, data: args[0] });
    });
    socket.on('connect_error', (e) => events.push({ name: 'connect_error', message: e.message, data: e.data }));
    socket.on('disconnect', (reason) => events.push({ name: 'disconnect', data: reason }));
  }
  const send = (event, payload) => new Promise((resolve) => socket.emit(event, payload, resolve));
</script>`;

let stack, app, gateway, browser, allowed, other;
const tabs = new Set();
before(async () => {
  const pages = { '/favicon.ico': ['image/png', ''] };
  for (const v of VERSIONS) {
    pages[`/${v}`] = ['text/html', page(v)];
    pages[`/client-${v}.js`] = ['text/javascript', readFileSync(join(root, 'tests', 'node_modules', `socket.io-client-${v}`, 'dist', 'socket.io.js'))];
  }
  [allowed, other] = [await serve(pages), await serve(pages)];
  const origins = `http://other.invalid, http://127.0.0.1:${allowed.port}`;
  [browser, stack] = await Promise.all([Browser.start(), Stack.start({ env: { PARLEY_ORIGINS: origins } })]);
  gateway = stack.endpoints.realtime[0];
  app = await stack.app('Browser');
  for (const id of ['alice', 'bob', 'carol']) await app.user(id);
});
afterEach(async () => {
  for (const tab of tabs) await tab.close();
  tabs.clear();
});
after(async () => {
  closeAll();
  await browser?.stop();
  allowed?.close();
  other?.close();
  await stack?.stop();
});

/** A tab with the page that has dialled: {run, wait, send}. */
async function visit(origin, options, { version = '4.8', url = gateway } = {}) {
  const tab = await browser.open(`${origin}/${version}`);
  tabs.add(tab);
  tab.wait = async (name, match = () => true) => {
    let seen = [];
    return until(async () => {
      seen = await tab.run('return events');
      return seen.find((e) => e.name === name && match(e.data));
    }, { timeout: 15000, every: 50, what: () => `event ${name} in the page (seen: ${JSON.stringify(seen).slice(0, 500)})` });
  };
  tab.send = (event, payload) => tab.run('return send(arguments[0], arguments[1])', event, payload);
  tab.transport = () => tab.run('return socket.io.engine.transport.name');
  await tab.run('dial(arguments[0], arguments[1])', url, options);
  return tab;
}
const here = () => `http://127.0.0.1:${allowed.port}`;
const auth = async (user, from = app) => ({ token: await from.token(user) });

describe('a page from an allowed origin', () => {
  for (const version of VERSIONS) {
    for (const [by, transports] of Object.entries(TRANSPORTS)) {
      test(`connects with ${version} by ${by}`, { timeout: 60000 }, async () => {
        const tab = await visit(here(), { transports, auth: await auth('alice') }, { version });
        assert.equal((await tab.wait('session.ready')).data.user.id, 'alice');
        await until(async () => await tab.transport() === transports.at(-1), { timeout: 15000, what: 'the transport' });
        const ack = await tab.send('message.send', { to: 'alice', text: `${version} by ${by}: ü€𝄞` });
        assert.equal(ack.ok, true, JSON.stringify(ack));
        assert.equal((await tab.wait('message.new', (m) => m.id === ack.message.id)).data.text, `${version} by ${by}: ü€𝄞`);
      });
    }
  }

  test('is told why it may not', { timeout: 60000 }, async () => {
    const tab = await visit(here(), { auth: { token: 'nonsense' } });
    const error = await tab.wait('connect_error');
    assert.deepEqual([error.message, error.data.code], ['invalid_token', 'invalid_token']);
  });

  test('may send headers of its own, after a preflight', { timeout: 60000 }, async () => {
    const way = await proxy(gateway, { listen: true });
    const tab = await visit(here(), { transports: ['polling'], extraHeaders: { 'X-Extra': 'of the page' }, auth: await auth('alice') }, { url: way.url });
    await tab.wait('session.ready');
    assert.equal((await tab.send('server.ping', { t: 1 })).ok, true);
    const heard = way.heard();
    assert.match(heard, /^OPTIONS [^]*?\r\nAccess-Control-Request-Headers: x-extra\r\n/mi);
    assert.match(heard, /^GET [^]*?\r\nX-Extra: of the page\r\n/mi);
    assert.match(heard, /^POST [^]*?\r\nX-Extra: of the page\r\n/mi);
    await way.close();
  });

  for (const withCredentials of [true, false]) {
    test(`${withCredentials ? 'may send cookies' : 'sends no cookies by itself'}`, { timeout: 60000 }, async () => {
      const way = await proxy(gateway, { listen: true });
      const first = await visit(here(), { transports: ['polling'], auth: await auth('alice') });
      await first.run('document.cookie = "from=page"'); // for the host, whatever the port
      const tab = await visit(here(), { transports: ['polling'], withCredentials, auth: await auth('alice') }, { url: way.url });
      await tab.wait('session.ready');
      assert.equal(/\r\nCookie: from=page\r\n/i.test(way.heard()), withCredentials);
      await way.close();
    });
  }

  test('chats with another page, both ways, and with what is no browser', { timeout: 60000 }, async () => {
    const options = async (user, transports) => ({ transports, auth: await auth(user) });
    const [a, b] = [await visit(here(), await options('alice', TRANSPORTS.polling)), await visit(here(), await options('bob', TRANSPORTS.upgrade))];
    const c = await connect(gateway, await app.token('carol'));
    for (const tab of [a, b]) await tab.wait('session.ready');
    const group = await app.group(['alice', 'bob', 'carol']);
    const everybody = [a, b, c];
    for (const [i, from] of everybody.entries()) {
      const ack = await from.send('message.send', { conversation_id: group.id, text: `by number ${i}` });
      assert.equal(ack.ok, true, JSON.stringify(ack));
      for (const to of everybody) await to.wait('message.new', (m) => m.id === ack.message.id && m.text === `by number ${i}`);
    }
    await c.close();
  });
});

describe('a page from an origin that is not allowed', () => {
  const elsewhere = { 'another port': () => `http://127.0.0.1:${other.port}`, 'another name of the same host': () => `http://localhost:${allowed.port}` };
  for (const [what, origin] of Object.entries(elsewhere)) {
    for (const [by, transports] of Object.entries(TRANSPORTS)) {
      test(`is refused: ${what}, by ${by}`, { timeout: 60000 }, async () => {
        const tab = await visit(origin(), { transports, auth: await auth('alice') });
        assert.equal((await tab.wait('connect_error')).message, by === 'websocket' ? 'websocket error' : 'xhr poll error');
        assert.equal(await tab.run('return socket.connected'), false);
        assert.deepEqual(await tab.run('return events.map((e) => e.name)'), ['connect_error']);
      });
    }
  }
});

test('an app narrows the origins further', { timeout: 60000 }, async () => {
  const [narrow, fitting] = [await stack.app('Narrow', { origins: ['http://other.invalid'] }), await stack.app('Fitting', { origins: [here()] })];
  for (const x of [narrow, fitting]) await x.user('alice');
  for (const transports of Object.values(TRANSPORTS)) {
    const refused = await visit(here(), { transports, auth: await auth('alice', narrow) });
    assert.equal((await refused.wait('connect_error')).data.code, 'invalid_token');
    const taken = await visit(here(), { transports, auth: await auth('alice', fitting) });
    await taken.wait('session.ready');
  }
});

test('by default any origin may connect, with credentials too', { timeout: 60000 }, async () => {
  await stack.up({ GATEWAYS: '2', PARLEY_ORIGINS: '*' });
  for (const [by, transports] of Object.entries(TRANSPORTS)) {
    const tab = await visit(`http://localhost:${other.port}`, { transports, withCredentials: by !== 'polling', auth: await auth('alice') }, { url: stack.endpoints.realtime[1] });
    await tab.wait('session.ready');
    assert.equal((await tab.send('server.ping', { t: 1 })).ok, true);
  }
});
