import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { joinBus, type Joined } from '../../../cli/cluster/join-bus.js'
import { startPrivateNats } from '../../../cli/cluster/private-nats.js'
import { findServer } from '../../../cli/cluster/choose-transport.js'
import { openSharedJournal } from '../../../lib/config/open-journal.js'
import { resolveConfig } from '../../../lib/config/resolve.js'
import type { ClusterError } from '../../../lib/errors.js'
import { createLogger } from '../../../lib/tracing/logger.js'
import { connectNats } from '../../../lib/transport/nats.js'
import { eventually } from '../../helpers/eventually.js'
import { startNatsForTest, type TestNats } from '../../helpers/nats.js'

const silent = createLogger({ level: 'silent', id: 'test', isPretty: false, write: () => undefined })

describe('joinBus', () => {
  let nats: TestNats
  let closers: (() => Promise<void>)[] = []
  before(async () => {
    nats = await startNatsForTest()
  })
  after(() => nats.stop())
  afterEach(async () => {
    for (const close of closers.reverse()) await close()
    closers = []
  })

  const noScale = (): never => {
    throw new Error('nobody asks for another size here')
  }
  const join = (flags: Record<string, string> = {}): Promise<Joined> => {
    const resolved = resolveConfig({ flags, env: {}, machine: { model: 'm', cores: 1 } })
    return joinBus({ url: nats.url, resolved, notify: () => undefined, closers, scale: noScale })
  }

  it('gives the second cluster on a server a name of its own', async () => {
    const [first, second] = [await join(), await join()]
    assert.equal(first.name, 'main')
    assert.match(second.name, /^main-[0-9a-f]{8}$/)
  })

  it('refuses a name that was asked for and is taken', async () => {
    await join({ cluster: 'blue' })
    await assert.rejects(
      join({ cluster: 'blue' }),
      (error: ClusterError) => error.code === 'already_exists' && error.message.includes('blue'),
    )
  })

  it('takes a name again when its holder is gone', async () => {
    await join({ cluster: 'green' })
    for (const close of closers.splice(0).reverse()) await close()
    assert.equal((await join({ cluster: 'green' })).name, 'green')
  })
})

describe('startPrivateNats', () => {
  it('brings a killed server back on the same port, and its clients with it', async () => {
    const found = await findServer({ env: process.env, notify: () => undefined }, true)
    const server = await startPrivateNats({ binary: found?.binary ?? 'nats-server', logger: silent })
    const transport = await connectNats({ url: server.url, name: 'test' })
    transport.subscribe('echo', ({ payload, reply }) => reply?.(payload))
    const before = server.pid
    process.kill(before, 'SIGKILL')
    const answers = async (): Promise<boolean> => {
      const reply = await transport.request('echo', new Uint8Array([7]), { timeoutMs: 200 }).catch(() => undefined)
      return server.pid !== before && reply?.[0] === 7
    }
    await eventually(answers, 'the echo answers over the new server')
    await transport.close()
    await server.stop()
    assert.throws(() => process.kill(server.pid, 0))
  })

  it('keeps records over a restart of the server; a named folder is one cluster’s, and outlives it', async () => {
    const found = await findServer({ env: process.env, notify: () => undefined }, true)
    const folder = mkdtempSync(join(tmpdir(), 'banyan-journal-test-'))
    const options = { binary: found?.binary ?? 'nats-server', logger: silent, storeFolder: folder }
    const read = async (url: string, isFirst: boolean): Promise<string | undefined> => {
      const transport = await connectNats({ url, name: 'test' })
      const records = await openSharedJournal({ journal: folder, transport, cluster: 'main', logger: silent })
      if (isFirst) await records?.put('a', Buffer.from('kept'), 0, { timeoutMs: 5_000 })
      const stored = await records?.get('a', { timeoutMs: 5_000 })
      await transport.close()
      return stored && Buffer.from(stored.value).toString()
    }
    const server = await startPrivateNats(options)
    assert.equal(await read(server.url, true), 'kept')
    const before = server.pid
    process.kill(before, 'SIGKILL')
    await eventually(() => server.pid !== before, 'another server runs')
    assert.equal(await read(server.url, false), 'kept')
    await assert.rejects(startPrivateNats(options), (error: ClusterError) => error.details.reason === 'LOCKED')
    await server.stop()
    const again = await startPrivateNats(options)
    assert.equal(await read(again.url, false), 'kept')
    await again.stop()
    rmSync(folder, { recursive: true })
  })
})
