// stack.mjs: a private local stack for one test file: its own data directory and ports, started and stopped with dev/stack.
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, existsSync, readdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
export const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const hold = (port) => new Promise((resolve) => {
  const s = createServer().once('error', () => resolve(null)).listen(port, '127.0.0.1', () => resolve(s));
});

// Ports that were free a moment ago, all held until the last is known, so that none is drawn twice: `singles` of them, then the first ones of `pairs` of
// neighbours (gateway N listens on the first port + N - 1).
async function freePorts(singles, pairs) {
  const held = [], ports = [];
  while (ports.length < singles + pairs) {
    const first = await hold(0);
    held.push(first);
    const { port } = first.address();
    const next = ports.length < singles ? first : await hold(port + 1);
    if (next !== null) ports.push(port);
    if (next !== null && next !== first) held.push(next);
  }
  await Promise.all(held.map((s) => new Promise((resolve) => s.close(resolve))));
  return ports;
}

/** Polls until fn() is truthy (its value is returned) or the time is over. */
export async function until(fn, { timeout = 5000, every = 20, what = 'the condition' } = {}) {
  const end = Date.now() + timeout;
  for (;;) {
    const value = await fn();
    if (value) return value;
    if (Date.now() > end) throw new Error(`${typeof what === 'function' ? what() : what} did not hold within ${timeout} ms`);
    await sleep(every);
  }
}

export class Stack {
  static async start({ gateways = 1, env = {}, demo = false } = {}) {
    const s = new Stack();
    s.dir = mkdtempSync(join(tmpdir(), 'parley-test-'));
    const [api, admin, realtime, realtimeAdmin] = await freePorts(2, 2);
    s.env = {
      ...process.env,
      PARLEY_BIN: process.env.PARLEY_BIN ?? join(root, 'build', 'asan'),
      PARLEY_DATA_DIR: s.dir,
      PARLEY_API_PORT: String(api),
      PARLEY_ADMIN_PORT: String(admin),
      PARLEY_REALTIME_PORT: String(realtime),
      PARLEY_REALTIME_ADMIN_PORT: String(realtimeAdmin),
      PARLEY_DEV_DEMO: demo ? '1' : '0',
      PARLEY_TEST_CHECK_REPLIES: '1',
      // The tests act faster than people: limits are tested where they are the subject.
      PARLEY_FAILED_AUTH_PER_MINUTE: '100000',
      PARLEY_REST_PER_USER: '10000',
      PARLEY_REST_PER_KEY: '100000',
      ...env,
      GATEWAYS: String(gateways),
    };
    await s.up();
    return s;
  }

  /** dev/stack up: starts whatever is not running. */
  async up(env = {}) {
    const begun = Date.now();
    try {
      const { stdout } = await run(join(root, 'dev', 'stack'), ['up'], { env: { ...this.env, ...env }, timeout: 60000 });
      this.banner = stdout;
    } catch (e) {
      throw new Error(`dev/stack up failed: ${e.stderr}\n${this.logs()}`);
    }
    this.endpoints = JSON.parse(readFileSync(join(this.dir, 'endpoints.json'), 'utf8'));
    return Date.now() - begun;
  }

  /** Stops everything; a report of a sanitizer or a non-empty crash fails the test file. */
  async stop() {
    await run(join(root, 'dev', 'stack'), ['down'], { env: this.env, timeout: 60000 });
    const bad = this.logs(/(AddressSanitizer|LeakSanitizer|runtime error:|Assertion .* failed|reply_mismatch)/);
    const kept = bad === '' ? '' : this.logs();
    rmSync(this.dir, { recursive: true, force: true });
    if (bad !== '') throw new Error(`the programs' logs hold reports:\n${bad}\n${kept}`);
  }

  /** All logs of the programs, or their lines that match. */
  logs(pattern) {
    const dir = join(this.dir, 'logs');
    if (!existsSync(dir)) return '';
    return readdirSync(dir).filter((f) => !/^(postgres|redis)/.test(f)).flatMap((f) => readFileSync(join(dir, f), 'utf8').split('\n')
      .filter((line) => !pattern || pattern.test(line)).map((line) => `${f}: ${line}`)).filter((line) => !/: $/.test(line)).slice(-200).join('\n');
  }

  pid(name) {
    return this.endpoints.processes.find((p) => p.name === name).pid;
  }

  kill(name, signal = 'SIGKILL') {
    process.kill(this.pid(name), signal);
  }

  secret(name) {
    return readFileSync(join(this.dir, 'secrets', name), 'utf8').trim();
  }

  get sockets() {
    return this.endpoints.processes.find((p) => p.name === 'postgres').socket;
  }

  /** SQL as the superuser, who sees past row-level security. Rows as arrays of text. */
  async sql(text, user = 'postgres', password = this.secret('superuser')) {
    const { stdout } = await run('psql', ['-qXAt', '-F', '\t', '-v', 'ON_ERROR_STOP=1', '-h', this.sockets, '-U', user, '-d', 'parley', '-c', text],
      { env: { ...process.env, PGPASSWORD: password } });
    return stdout.split('\n').filter(Boolean).map((line) => line.split('\t'));
  }

  async redis(...words) {
    const { stdout } = await run('redis-cli', ['-s', join(this.sockets, 'redis.sock'), '--no-auth-warning', '-a', this.secret('redis'), ...words]);
    return stdout.trim();
  }

  /** The sum of a metric over its label sets, of the program behind `url` (an entry of endpoints.metrics). */
  async metric(name, url = this.endpoints.metrics[1], match = '') {
    const text = await (await fetch(url)).text();
    return text.split('\n').filter((l) => l.startsWith(name) && /^[ {]/.test(l.slice(name.length)) && l.includes(match))
      .reduce((sum, l) => sum + Number(l.slice(l.lastIndexOf(' ') + 1)), 0);
  }

  /** The operator's call. */
  admin(method, path, body, headers) {
    return call(this.endpoints.admin, this.endpoints.admin_key, method, path, body, headers);
  }

  /** A new app: {id, key, api(method, path, body), token(user), user(id, name)}. */
  async app(name = 'Test', settings = {}) {
    const made = await this.admin('POST', '/v1/apps', { name, ...settings });
    if (made.status !== 201) throw new Error(`POST /v1/apps: ${made.status} ${JSON.stringify(made.body)}`);
    const app = { id: made.body.id, key: made.body.initial_key.secret, made: made.body };
    app.api = (method, path, body, headers) => call(this.endpoints.api, app.key, method, path, body, headers);
    app.as = (token) => (method, path, body, headers) => call(this.endpoints.api, token, method, path, body, headers);
    app.user = async (id, fields = {}) => (await app.api('PUT', `/v1/users/${id}`, { name: id, ...fields })).body;
    app.token = async (user, fields = {}) => {
      const minted = await app.api('POST', '/v1/tokens', { user_id: user, ...fields });
      if (minted.status !== 201) throw new Error(`POST /v1/tokens: ${minted.status} ${JSON.stringify(minted.body)}`);
      return minted.body.token;
    };
    app.group = async (members, fields = {}) => {
      const group = await app.api('POST', '/v1/groups', { name: 'Group', member_ids: members, ...fields });
      if (group.status !== 201) throw new Error(`POST /v1/groups: ${group.status} ${JSON.stringify(group.body)}`);
      return group.body;
    };
    return app;
  }
}

/** One HTTP call: {status, headers, body (parsed when it is JSON), text}. */
export async function call(base, credential, method, path, body, headers = {}) {
  const init = { method, headers: { ...headers } };
  if (credential) init.headers.authorization ??= `Bearer ${credential}`;
  if (body !== undefined) {
    init.body = typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body);
    init.headers['content-type'] ??= 'application/json';
  }
  const response = await fetch(base + path, init);
  const text = await response.text();
  let parsed;
  try { parsed = text === '' ? undefined : JSON.parse(text); } catch { parsed = undefined; }
  return { status: response.status, headers: response.headers, body: parsed, text };
}
