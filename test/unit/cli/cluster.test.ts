import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { chooseTransport } from '../../../cli/cluster/choose-transport.js'
import { divideThreads } from '../../../cli/cluster/divide-threads.js'
import { readyInfo, writeReadyFile } from '../../../cli/cluster/ready-file.js'
import { greeting } from '../../../cli/commands/up.js'
import { routerPorts } from '../../../cli/cluster/router-ports.js'
import { backoffMs } from '../../../cli/cluster/supervise.js'
import { demoModelPath } from '../../../lib/package-files.js'
import { resolveConfig } from '../../../lib/config/resolve.js'
import { createLogger } from '../../../lib/tracing/logger.js'
import type { ClusterError } from '../../../lib/errors.js'
import { goldenModel } from '../../helpers/paths.js'

const silent = createLogger({ level: 'silent', id: 'test', isPretty: false, write: () => undefined })

describe('divideThreads', () => {
  it('gives each side of a step all threads, shared by its workers, and no worker none', () => {
    assert.deepEqual(divideThreads({ threads: 8, attention: 1, experts: 2 }), { attention: 8, expertWorker: 4 })
    assert.deepEqual(divideThreads({ threads: 2, attention: 1, experts: 5 }), { attention: 2, expertWorker: 1 })
  })

  it('never starts more threads on a side than the machine has, but for one a worker', () => {
    const whole = fc.integer({ min: 1, max: 64 })
    fc.assert(
      fc.property(whole, whole, whole, (threads, attention, experts) => {
        const shares = divideThreads({ threads, attention, experts })
        assert.ok(shares.attention * attention <= Math.max(threads, attention))
        assert.ok(shares.expertWorker * experts <= Math.max(threads, experts))
        assert.ok(shares.attention >= 1 && shares.expertWorker >= 1)
      }),
    )
  })
})

describe('routerPorts', () => {
  it('puts router i at port + i and leaves free choice free', () => {
    assert.deepEqual(routerPorts({ http: 8000, grpc: 0 }, 2), { http: 8002, grpc: 0 })
  })

  it('gives a router that comes back the ports it had', () => {
    const before = { http: 'http://127.0.0.1:4001', grpc: '127.0.0.1:4002' }
    assert.deepEqual(routerPorts({ http: 0, grpc: 0 }, 1, before), { http: 4001, grpc: 4002 })
  })
})

describe('backoffMs', () => {
  it('starts at 100 ms, doubles, and stays at 5 s', () => {
    assert.deepEqual([1, 2, 3, 6, 7, 50].map(backoffMs), [100, 200, 400, 3200, 5000, 5000])
  })
})

describe('ready file', () => {
  it('holds the first doors, all doors, NATS and the pid, and nothing beside it is left', () => {
    const folder = mkdtempSync(join(tmpdir(), 'banyan-ready-'))
    const routers = [
      { http: 'http://a:1', grpc: 'a:2' },
      { http: 'http://a:3', grpc: 'a:4' },
    ] as const
    writeReadyFile(join(folder, 'ready.json'), readyInfo({ routers, nats: null }, 42))
    assert.deepEqual(JSON.parse(readFileSync(join(folder, 'ready.json'), 'utf8')), {
      http: 'http://a:1',
      grpc: 'a:2',
      nats: null,
      pid: 42,
      routers,
    })
    assert.deepEqual(readdirSync(folder), ['ready.json'])
    rmSync(folder, { recursive: true })
  })
})

describe('chooseTransport', () => {
  const choose = (flags: Record<string, string>, env: Record<string, string> = {}) =>
    chooseTransport(resolveConfig({ flags, env, machine: { model: 'm', cores: 1 } }), {
      env,
      notify: () => undefined,
      logger: silent,
    })

  it('takes a named server before it looks for a binary, and says who named it', async () => {
    const chosen = await choose({}, { NATS_URL: 'nats://somewhere:4222', BANYAN_NATS_SERVER: '/nowhere/nats-server' })
    assert.ok(chosen.kind === 'nats')
    assert.deepEqual([chosen.url, chosen.isShared, chosen.reason], ['nats://somewhere:4222', true, 'named by NATS_URL'])
  })

  it('uses no server for the local transport', async () => {
    assert.equal((await choose({ transport: 'local' }, { NATS_URL: 'nats://somewhere:4222' })).kind, 'local')
  })

  it('refuses a binary that is none, also where it could do without', async () => {
    const choosing = choose({ transport: 'nats' }, { BANYAN_NATS_SERVER: '/nowhere/nats-server' })
    await assert.rejects(choosing, (error: ClusterError) => error.message.includes('/nowhere/nats-server'))
  })
})

describe('the greeting of up', () => {
  it('suggests a prompt that the model can read: ids where it has no tokenizer', () => {
    const cluster = {
      routers: [{ http: 'http://h', grpc: 'g' }] as const,
      nats: null,
      name: 'c',
      transportReason: 'one process',
    }
    const suggestion = (model: string): string =>
      greeting(resolveConfig({ flags: { model }, env: {}, machine: { model, cores: 1 } }), cluster)
    assert.match(suggestion(demoModelPath()), /"prompt":"export interface "/)
    assert.match(suggestion(goldenModel('qwen3-moe')), /"prompt":\[1,2,3\]/)
    assert.match(suggestion(goldenModel('gguf/qwen2')), /"prompt":"export interface "/)
    assert.match(suggestion('/models/m.gguf'), /"model":"m","prompt":"export interface "/) // as the router calls it
  })
})
