// The local stack and the two programs as an operator meets them: dev/stack, endpoints.json, the banner, --check-config, health, metrics, SIGTERM.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { closeAll, connect } from '../lib/client.mjs';
import { Stack, call, root, sleep, until } from '../lib/stack.mjs';

const run = promisify(execFile);
const REVIVE_MS = 10000; // 5 s for a plain build; these are instrumented and share their cores
let stack;
before(async () => {
  stack = await Stack.start({ demo: true });
});
after(async () => {
  closeAll();
  await stack?.stop();
});

const alive = (pid) => {
  try {
    return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
};
const pids = () => Object.fromEntries(stack.endpoints.processes.map((p) => [p.name, p.pid]));

/** Runs to the end whatever its result: {code, signal, stdout, stderr}. */
async function outcome(file, args, options = {}) {
  try {
    return { code: 0, ...await run(file, args, { timeout: 60000, ...options }) };
  } catch (e) {
    return { code: e.code, signal: e.signal, stdout: e.stdout, stderr: e.stderr };
  }
}

const devStack = (command, env = {}) => outcome(join(root, 'dev', 'stack'), [command], { env: { ...stack.env, ...env } });

describe('endpoints.json', () => {
  test('holds what was promised, for its owner alone', () => {
    const file = join(stack.dir, 'endpoints.json');
    assert.equal(statSync(file).mode & 0o777, 0o600);
    const e = stack.endpoints;
    assert.deepEqual(Object.keys(e).sort(), ['admin', 'admin_key', 'api', 'demo', 'metrics', 'processes', 'realtime']);
    assert.equal(e.api, `http://127.0.0.1:${stack.env.PARLEY_API_PORT}`);
    assert.equal(e.admin, `http://127.0.0.1:${stack.env.PARLEY_ADMIN_PORT}`);
    assert.deepEqual(e.realtime, [`http://127.0.0.1:${stack.env.PARLEY_REALTIME_PORT}`]);
    assert.deepEqual(e.metrics, [`${e.admin}/metrics`, `http://127.0.0.1:${stack.env.PARLEY_REALTIME_ADMIN_PORT}/metrics`]);
    assert.match(e.admin_key, /^ply_adm_/);
    assert.deepEqual(e.processes.map((p) => p.name).sort(), ['api', 'postgres', 'realtime-1', 'redis']);
    assert.ok(e.processes.every((p) => alive(p.pid)));
    assert.equal(e.processes.find((p) => p.name === 'realtime-1').port, Number(stack.env.PARLEY_REALTIME_PORT));
    assert.deepEqual(Object.keys(e.demo).sort(), ['app_id', 'group_id', 'secret_key', 'users']);
    assert.deepEqual(Object.keys(e.demo.users).sort(), ['alice', 'bob']);
    for (const name of ['superuser', 'redis', 'master_key', 'admin_key', 'parley_api', 'parley_gateway', 'parley_writer']) {
      assert.equal(statSync(join(stack.dir, 'secrets', name)).mode & 0o077, 0, name);
    }
  });

  test('names the servers themselves', () => {
    const names = { api: /parley-api/, 'realtime-1': /parley-realtime/, redis: /redis-server/, postgres: /postgres/ };
    for (const p of stack.endpoints.processes) assert.match(readFileSync(`/proc/${p.pid}/cmdline`, 'utf8'), names[p.name]);
  });

  test('leads to a demo app that works', async () => {
    const { demo, api, realtime } = stack.endpoints;
    const group = await call(api, demo.secret_key, 'GET', `/v1/groups/${demo.group_id}`);
    assert.equal(group.status, 200, group.text);
    assert.equal(group.body.member_count, 2);
    const [alice, bob] = await Promise.all([demo.users.alice, demo.users.bob].map((u) => connect(realtime[0], u.token)));
    const ack = await alice.send('message.send', { conversation_id: demo.group_id, text: 'hello demo' });
    assert.equal(ack.ok, true, JSON.stringify(ack));
    await bob.wait('message.new', (m) => m.id === ack.message.id);
    await Promise.all([alice.close(), bob.close()]);
  });
});

describe('the banner', () => {
  let first;
  before(() => { first = stack.banner; });

  test('shows where everything is, and the keys once', async () => {
    const e = stack.endpoints;
    for (const text of [e.api, e.admin, e.realtime[0], ...e.metrics, e.admin_key, e.demo.secret_key]) assert.ok(first.includes(text), `${text} in\n${first}`);
    assert.match(first, /Postgres +running, pid \d+/);
    assert.match(first, /Redis +running, pid \d+/);
    await stack.up();
    assert.ok(!stack.banner.includes(e.admin_key), 'the keys are not shown again');
    assert.ok(stack.banner.includes(e.api));
  });

  test('its curl line runs', async () => {
    const line = first.split('\n').find((l) => l.startsWith('  curl ')).trim();
    const { stdout } = await run('bash', ['-c', line]);
    assert.deepEqual(JSON.parse(stdout).data.map((u) => u.id).sort(), ['alice', 'bob']);
  });

  test('its Node script runs', async () => {
    const lines = first.split('\n');
    const begin = lines.findIndex((l) => l.includes('require("socket.io-client")'));
    const script = lines.slice(begin, lines.findIndex((l, i) => i > begin && l === '')).join('\n');
    assert.ok(script.split('\n').length <= 10, 'ten lines');
    const child = spawn(process.execPath, ['-e', script], { cwd: join(root, 'tests') });
    let out = '';
    for (const s of [child.stdout, child.stderr]) s.on('data', (d) => { out += d; });
    try {
      await until(() => /ack: \{/.test(out) && /alice: Hi Bob!/.test(out), { timeout: 20000, what: `hello, the ack and the message in «${out}»` });
      assert.match(out, /hello, Alice/);
      assert.match(out, /ok: true/);
    } finally {
      child.kill('SIGKILL');
    }
  });
});

describe('up', () => {
  test('is idempotent', async () => {
    const old = pids();
    await stack.up();
    assert.deepEqual(pids(), old);
  });

  for (const name of ['api', 'realtime-1', 'redis', 'postgres']) {
    test(`revives ${name} and leaves the others alone`, async () => {
      const old = pids();
      stack.kill(name);
      await until(() => !alive(old[name]), { what: 'its end' });
      const took = await stack.up();
      assert.ok(took < REVIVE_MS, `${took} ms`);
      const now = pids();
      assert.notEqual(now[name], old[name]);
      assert.deepEqual({ ...now, [name]: 0 }, { ...old, [name]: 0 });
      const users = await call(stack.endpoints.api, stack.endpoints.demo.secret_key, 'GET', '/v1/users');
      assert.equal(users.status, 200, users.text);
      const c = await connect(stack.endpoints.realtime[0], stack.endpoints.demo.users.bob.token);
      await c.close();
    });
  }

  test('GATEWAYS=2 adds a gateway, GATEWAYS=1 takes it away', async () => {
    const old = pids();
    await stack.up({ GATEWAYS: '2' });
    const two = pids();
    assert.equal(stack.endpoints.realtime.length, 2);
    assert.equal(stack.endpoints.metrics.length, 3);
    assert.equal(stack.endpoints.realtime[1], `http://127.0.0.1:${Number(stack.env.PARLEY_REALTIME_PORT) + 1}`);
    assert.ok(alive(two['realtime-2']));
    assert.deepEqual({ ...two, 'realtime-2': undefined }, { ...old, 'realtime-2': undefined });
    const c = await connect(stack.endpoints.realtime[1], stack.endpoints.demo.users.alice.token);
    await c.close();
    assert.equal((await fetch(stack.endpoints.metrics[2])).status, 200);
    await stack.up();
    assert.ok(!alive(two['realtime-2']));
    assert.deepEqual(pids(), old);
  });
});

describe('a second stack', () => {
  /** The environment of another data directory whose ports are free. */
  async function other(fields) {
    const dir = mkdtempSync(join(tmpdir(), 'parley-test-'));
    const servers = [];
    const port = async () => {
      const s = createServer();
      await new Promise((resolve) => s.listen(0, '127.0.0.1', resolve));
      servers.push(s);
      return String(s.address().port);
    };
    const env = { PARLEY_DATA_DIR: dir, PARLEY_API_PORT: await port(), PARLEY_ADMIN_PORT: await port(), PARLEY_REALTIME_PORT: await port(), PARLEY_REALTIME_ADMIN_PORT: await port() };
    await Promise.all(servers.map((s) => new Promise((resolve) => s.close(resolve))));
    return { dir, env: { ...stack.env, ...env, GATEWAYS: '1', ...fields } };
  }

  const running = (dir) => (existsSync(join(dir, 'run')) ? run('bash', ['-c', `cat "${dir}"/run/{api,redis,postgres,realtime-*} 2>/dev/null | cut -d' ' -f1; true`]) : Promise.resolve({ stdout: '' }))
    .then(({ stdout }) => stdout.split('\n').filter(Boolean).map(Number).filter(alive));

  for (const variable of ['PARLEY_API_PORT', 'PARLEY_ADMIN_PORT', 'PARLEY_REALTIME_PORT', 'PARLEY_REALTIME_ADMIN_PORT']) {
    test(`is told to change ${variable} when that port is taken, and leaves nothing running`, async () => {
      const blocker = createServer();
      await new Promise((resolve) => blocker.listen(0, '127.0.0.1', resolve));
      const { dir, env } = await other({ [variable]: String(blocker.address().port) });
      const result = await devStack('up', env);
      assert.notEqual(result.code, 0);
      assert.match(result.stderr, new RegExp(`${blocker.address().port}.*\\b${variable}\\b`));
      assert.deepEqual(await running(dir), []);
      assert.ok(!existsSync(join(dir, 'endpoints.json')));
      await new Promise((resolve) => blocker.close(resolve));
      rmSync(dir, { recursive: true, force: true });
    });
  }

  test('refuses a setting that is no port', async () => {
    const { dir, env } = await other({ PARLEY_API_PORT: '80a' });
    const result = await devStack('up', env);
    assert.notEqual(result.code, 0);
    assert.match(result.stderr, /PARLEY_API_PORT/);
    assert.deepEqual(await running(dir), []);
    rmSync(dir, { recursive: true, force: true });
  });

  test('in the foreground ends on SIGINT, and started again continues with its data', async () => {
    const { dir, env } = await other({ PARLEY_DEV_DEMO: '1' });
    const foreground = async () => {
      const child = spawn(join(root, 'dev', 'stack'), ['run'], { env, stdio: ['ignore', 'pipe', 'pipe'] });
      let out = '';
      for (const s of [child.stdout, child.stderr]) s.on('data', (d) => { out += d; });
      const ended = new Promise((resolve) => child.on('exit', (code, signal) => resolve({ code, signal })));
      await until(() => /Ctrl-C stops it/.test(out) || child.exitCode !== null, { timeout: 45000, what: 'the banner' });
      assert.equal(child.exitCode, null, out);
      const endpoints = JSON.parse(readFileSync(join(dir, 'endpoints.json'), 'utf8'));
      return {
        endpoints,
        async interrupt() {
          const begun = Date.now();
          child.kill('SIGINT');
          const result = await ended;
          return { ...result, took: Date.now() - begun, out };
        },
      };
    };
    try {
      const one = await foreground();
      const { demo, realtime, api } = one.endpoints;
      const alice = await connect(realtime[0], demo.users.alice.token);
      const ack = await alice.send('message.send', { to: 'bob', text: 'kept' });
      assert.equal(ack.ok, true, JSON.stringify(ack));
      const end = await one.interrupt();
      assert.ok(end.took < REVIVE_MS, `${end.took} ms`);
      assert.equal(end.signal, null);
      assert.ok(one.endpoints.processes.every((p) => !alive(p.pid)), 'all are gone');
      assert.ok(!existsSync(join(dir, 'endpoints.json')));
      await alice.close();

      const two = await foreground();
      assert.equal(two.endpoints.demo.app_id, demo.app_id);
      assert.equal(two.endpoints.demo.secret_key, demo.secret_key);
      assert.equal(two.endpoints.demo.group_id, demo.group_id);
      const history = await call(api, demo.secret_key, 'GET', `/v1/conversations/${ack.message.conversation_id}/messages`);
      assert.equal(history.status, 200, history.text);
      assert.ok(history.body.data.some((m) => m.id === ack.message.id && m.text === 'kept'));
      assert.ok((await two.interrupt()).took < REVIVE_MS);
      assert.deepEqual(await running(dir), []);
    } finally {
      await devStack('down', env);
      rmSync(dir, { recursive: true, force: true });
    }
  });
});

describe('--check-config', () => {
  const bin = (program) => join(stack.env.PARLEY_BIN, program);
  const settings = (own) => ({
    PATH: process.env.PATH,
    PARLEY_DATABASE: `host=${stack.sockets} dbname=parley`,
    PARLEY_REDIS: join(stack.sockets, 'redis.sock'),
    PARLEY_REDIS_PASSWORD_FILE: join(stack.dir, 'secrets', 'redis'),
    PARLEY_MASTER_KEY_FILE: join(stack.dir, 'secrets', 'master_key'),
    PARLEY_WRITER_PASSWORD_FILE: join(stack.dir, 'secrets', 'parley_writer'),
    ...own,
  });
  const programs = [
    ['parley-api', () => settings({ PARLEY_DATABASE_PASSWORD_FILE: join(stack.dir, 'secrets', 'parley_api'), PARLEY_ADMIN_KEY_FILE: join(stack.dir, 'secrets', 'admin_key') }), 'PARLEY_API_PORT'],
    ['parley-realtime', () => settings({ PARLEY_DATABASE_PASSWORD_FILE: join(stack.dir, 'secrets', 'parley_gateway') }), 'PARLEY_REALTIME_PORT'],
  ];

  for (const [program, good, port] of programs) {
    test(`${program} accepts good settings without starting`, async () => {
      const result = await outcome(bin(program), ['--check-config'], { env: good() });
      assert.equal(result.code, 0, result.stderr);
    });

    test(`${program} names what is wrong`, async () => {
      const loose = join(stack.dir, 'loose-key');
      writeFileSync(loose, readFileSync(join(stack.dir, 'secrets', 'master_key')));
      chmodSync(loose, 0o644);
      const short = join(stack.dir, 'short-key');
      writeFileSync(short, 'abc\n', { mode: 0o600 });
      const cases = [[port, '0'], [port, '65536'], [port, '12x'], [port, ''], ['PARLEY_MASTER_KEY_FILE', join(stack.dir, 'absent')], ['PARLEY_MASTER_KEY_FILE', loose],
        ['PARLEY_MASTER_KEY_FILE', short], ['PARLEY_SHUTDOWN_TIMEOUT_MS', '-1'], ['PARLEY_LOG_LEVEL', 'loud']];
      for (const [name, value] of cases) {
        const result = await outcome(bin(program), ['--check-config'], { env: { ...good(), [name]: value } });
        if (value === '' && result.code === 0) continue; // an empty setting may count as none
        assert.ok(result.code > 0, `${name}=${value}: ${result.code}`);
        assert.ok(result.stderr.includes(name), `${name}=${value}: ${result.stderr}`);
      }
    });

    test(`${program} refuses unknown arguments, shows its version and help`, async () => {
      assert.ok((await outcome(bin(program), ['--no-such-thing'], { env: good() })).code > 0);
      const version = await outcome(bin(program), ['--version'], { env: good() });
      assert.equal(version.code, 0);
      assert.ok(version.stdout.includes(readFileSync(join(root, 'VERSION'), 'utf8').trim()));
      const help = await outcome(bin(program), ['--help'], { env: good() });
      assert.equal(help.code, 0);
      assert.match(help.stdout, /--check-config/);
    });
  }
});

describe('health and metrics', () => {
  const bases = () => stack.endpoints.metrics.map((m) => m.replace(/\/metrics$/, ''));

  test('both services answer /livez, /readyz and say in /readyz?verbose what they looked at', async () => {
    for (const base of bases()) {
      assert.equal((await fetch(`${base}/livez`)).status, 200);
      assert.equal((await fetch(`${base}/readyz`)).status, 200);
      const verbose = await fetch(`${base}/readyz?verbose`);
      const text = await verbose.text();
      assert.equal(verbose.status, 200, text);
      assert.match(text, /postgres/i);
      assert.match(text, /redis/i);
    }
    assert.equal((await fetch(`${stack.endpoints.realtime[0]}/livez`)).status, 200);
  });

  test('/metrics is a Prometheus exposition', async () => {
    for (const url of stack.endpoints.metrics) {
      const response = await fetch(url);
      assert.match(response.headers.get('content-type'), /^text\/plain; version=0\.0\.4/);
      const text = await response.text();
      assert.ok(text.endsWith('\n'));
      const families = new Set();
      for (const line of text.trim().split('\n')) {
        const type = line.match(/^# TYPE (\S+) (counter|gauge|histogram)$/);
        if (type) {
          assert.ok(!families.has(type[1]), `${type[1]} twice`);
          families.add(type[1]);
        } else if (!line.startsWith('#')) {
          assert.match(line, /^[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? [-+0-9.eEInf]+$/);
          const name = line.match(/^[a-z_]+/)[0];
          assert.ok(families.has(name) || families.has(name.replace(/_(bucket|sum|count)$/, '')), `${name} has no TYPE`);
        }
      }
      for (const name of ['parley_build_info', 'parley_ready', 'parley_pg_statements_total', 'process_resident_memory_bytes']) assert.ok(families.has(name), `${name} at ${url}`);
      assert.equal(await stack.metric('parley_ready', url), 1);
    }
  });

  test('logs are structured', () => {
    const lines = stack.logs().split('\n').filter((l) => /^(api|realtime-1)\.log: /.test(l)).map((l) => l.slice(l.indexOf(': ') + 2));
    assert.ok(lines.length > 0);
    for (const line of lines) assert.doesNotThrow(() => JSON.parse(line), line);
  });
});

describe('SIGTERM', () => {
  const programs = [['parley-api', 'api'], ['parley-realtime', 'realtime-1']];
  for (const [program, name] of programs) {
    test(`ends ${program} cleanly`, async () => {
      // The same program with the same settings as a child of ours, since only a parent learns the exit status.
      const pid = stack.pid(name);
      const env = Object.fromEntries(readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').filter(Boolean).map((l) => [l.slice(0, l.indexOf('=')), l.slice(l.indexOf('=') + 1)]));
      const binary = join(stack.env.PARLEY_BIN, program);
      process.kill(pid, 'SIGTERM');
      await until(() => !alive(pid), { timeout: 10000, what: 'its end' });
      const child = spawn(binary, [], { env, stdio: ['ignore', 'ignore', 'pipe'] });
      let log = '';
      child.stderr.on('data', (d) => { log += d; });
      const ended = new Promise((resolve) => child.on('exit', (code, signal) => resolve({ code, signal })));
      const health = stack.endpoints.metrics[name === 'api' ? 0 : 1].replace('/metrics', '/readyz');
      await until(() => fetch(health).then((r) => r.status === 200, () => false), { timeout: 15000, what: 'readiness' });
      let client;
      if (name === 'realtime-1') client = await connect(stack.endpoints.realtime[0], stack.endpoints.demo.users.alice.token);
      const begun = Date.now();
      child.kill('SIGTERM');
      assert.deepEqual(await ended, { code: 0, signal: null }, log.slice(-2000));
      assert.ok(Date.now() - begun < REVIVE_MS);
      if (client) await client.wait('disconnect', () => true, 5000);
      assert.doesNotMatch(log, /Sanitizer|runtime error/);
      await stack.up();
    });
  }

  test('sessions are told, and what was acked before is there after', async () => {
    const { demo, api, realtime } = stack.endpoints;
    const c = await connect(realtime[0], demo.users.alice.token);
    const sends = Array.from({ length: 20 }, (_, i) => c.send('message.send', { conversation_id: demo.group_id, text: `end ${i}` }, 6000).catch(() => undefined));
    await sleep(5);
    stack.kill('realtime-1', 'SIGTERM');
    const acks = (await Promise.all(sends)).filter((a) => a?.ok);
    await until(() => !alive(stack.pid('realtime-1')), { timeout: 10000, what: 'its end' });
    const history = (await call(api, demo.secret_key, 'GET', `/v1/conversations/${demo.group_id}/messages?limit=200`)).body.data;
    for (const a of acks) assert.ok(history.some((m) => m.id === a.message.id));
    await stack.up();
  });
});
