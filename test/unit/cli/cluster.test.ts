import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { chooseTransport } from '../../../cli/cluster/choose-transport.js'
import { divideThreads } from '../../../cli/cluster/divide-threads.js'
import { guardProcess } from '../../../cli/cluster/guard-process.js'
import { readyInfo, writeReadyFile } from '../../../cli/cluster/ready-file.js'
import { routerPorts } from '../../../cli/cluster/router-ports.js'
import { backoffMs } from '../../../cli/cluster/supervise.js'
import { waitReady } from '../../../cli/cluster/wait-ready.js'
import { resolveConfig } from '../../../lib/config/resolve.js'
import type { ClusterError } from '../../../lib/errors.js'

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

describe('waitReady', () => {
  const serve = async (statusOf: (numAsked: number) => number) => {
    let numAsked = 0
    const server = createServer((_, response) => response.writeHead(statusOf((numAsked += 1))).end())
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo // a TCP server has a port
    return { url: `http://127.0.0.1:${port}`, close: () => (server.closeAllConnections(), server.close()) }
  }

  it('asks until the router can serve', async () => {
    const { url, close } = await serve((numAsked) => (numAsked < 3 ? 503 : 200))
    await waitReady([url], { timeoutMs: 10_000, signal: new AbortController().signal })
    close()
  })

  it('names the router that is never ready, and what it said', async () => {
    const { url, close } = await serve(() => 503)
    const waiting = waitReady([url], { timeoutMs: 30, signal: new AbortController().signal })
    await assert.rejects(
      waiting,
      (error: ClusterError) =>
        error.code === 'deadline_exceeded' && error.message.includes(`${url}/ready`) && error.message.includes('503'),
    )
    close()
  })

  it('ends when the start is interrupted', async () => {
    const waiting = waitReady(['http://127.0.0.1:9'], { timeoutMs: 10_000, signal: AbortSignal.abort() })
    await assert.rejects(waiting, (error: ClusterError) => error.code === 'cancelled')
  })
})

describe('chooseTransport', () => {
  const choose = (flags: Record<string, string>, env: Record<string, string> = {}) =>
    chooseTransport(resolveConfig({ flags, env, machine: { model: 'm', cores: 1 } }), { env, notify: () => undefined })

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

describe('guardProcess', () => {
  it('ends the guarded process when the one that guards is gone', async () => {
    const guarded = spawn('sleep', ['60'], { stdio: 'ignore' })
    const ended = once(guarded, 'exit')
    const module = JSON.stringify(new URL('../../../cli/cluster/guard-process.js', import.meta.url).href)
    const script = `const { guardProcess } = await import(${module}); guardProcess(${guarded.pid}); process.kill(process.pid, 'SIGKILL')`
    spawn(process.execPath, [...process.execArgv, '--input-type=module', '-e', script], { stdio: 'ignore' })
    const [, signal] = (await ended) as [number | null, string | null] // of a child process
    assert.equal(signal, 'SIGTERM')
  })

  it('leaves it alone when dismissed', async () => {
    const guarded = spawn('sleep', ['60'], { stdio: 'ignore' })
    const guard = guardProcess(guarded.pid ?? 0)
    await guard.dismiss()
    assert.equal(guarded.exitCode ?? guarded.signalCode, null)
    guarded.kill('SIGKILL')
  })
})
