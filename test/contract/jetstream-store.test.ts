// What the JetStream store does when servers die, come back, are full, or are not what it needs (D1, D4, J1, J2).

import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'nats'
import { ClusterError, type ErrorCode } from '../../lib/errors.js'
import { connectNats } from '../../lib/transport/nats.js'
import type { RecordStore } from '../../lib/transport/record-store.js'
import type { RecordsOptions, Transport } from '../../lib/transport/transport.js'
import { eventually } from '../helpers/eventually.js'
import { startNatsClusterForTest, startNatsForTest, type TestNats } from '../helpers/nats.js'

const soon = { timeoutMs: 10_000 }
const text = (value: string): Uint8Array => Buffer.from(value)
const hasReason = (code: ErrorCode, reason: string) => (error: unknown) =>
  error instanceof ClusterError && error.code === code && error.details.reason === reason

describe('JetStream store', function () {
  this.timeout(120_000)
  const closers: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close()
  })

  const start = async (options: Parameters<typeof startNatsForTest>[0] = {}): Promise<TestNats> => {
    const server = await startNatsForTest(options)
    closers.push(() => server.stop())
    return server
  }
  const again = (server: TestNats, storeFolder: string): Promise<TestNats> =>
    start({ storeFolder, port: Number(new URL(server.url).port) })
  const freshFolder = (): string => {
    const folder = mkdtempSync(join(tmpdir(), 'banyan-jetstream-test-'))
    closers.push(async () => rmSync(folder, { recursive: true, force: true }))
    return folder
  }
  const joinBus = async (url: string): Promise<Transport> => {
    const transport = await connectNats({ url, name: 'test' })
    closers.push(() => transport.close())
    return transport
  }
  const open = async (url: string, options: Partial<RecordsOptions> = {}): Promise<RecordStore> => {
    const { openRecords } = await joinBus(url)
    assert.ok(openRecords)
    return openRecords({ stream: 'records', subject: 'test.journal', maxBytes: 16 * 1024 * 1024, ...options })
  }
  const isBack = (store: RecordStore): Promise<void> =>
    eventually(
      () =>
        store.get('any', { timeoutMs: 1_000 }).then(
          () => true,
          () => false,
        ),
      'the store answers again',
    )
  const read = async (store: RecordStore, key: string): Promise<string | undefined> => {
    const stored = await store.get(key, soon)
    return stored === undefined ? undefined : Buffer.from(stored.value).toString()
  }
  const kill = async (server: TestNats): Promise<void> => {
    process.kill(server.pid, 'SIGKILL')
    await server.stop()
  }

  it('keeps what was put when the server is killed, and is unavailable at once meanwhile', async () => {
    const folder = freshFolder()
    const server = await start({ storeFolder: folder })
    const store = await open(server.url)
    const revision = await store.put('a', text('1'), 0, soon)
    for (let i = 0; i < 100; i++) await store.put(`many-${i}`, text(String(i)), 0, soon)
    await kill(server)
    await eventually(async () => {
      const code = await store.put('a', text('x'), revision, soon).then(
        () => '',
        (error: unknown) => ClusterError.from(error).code,
      )
      return code === 'unavailable'
    }, 'the loss is noticed')
    const begun = Date.now()
    await assert.rejects(store.put('a', text('x'), revision, soon), hasReason('unavailable', 'DISCONNECTED'))
    await assert.rejects(store.get('a', soon), hasReason('unavailable', 'DISCONNECTED'))
    assert.ok(Date.now() - begun < 1_000)
    await again(server, folder)
    await isBack(store)
    assert.equal(await read(store, 'a'), '1')
    for (let i = 0; i < 100; i++) assert.equal(await read(store, `many-${i}`), String(i))
    await store.put('a', text('2'), revision, soon)
  })

  it('begins anew when the server comes back without its store', async () => {
    const server = await start({ storeFolder: freshFolder() })
    const store = await open(server.url)
    const revision = await store.put('a', text('1'), 0, soon)
    await kill(server)
    await again(server, freshFolder())
    await isBack(store)
    assert.equal(await read(store, 'a'), undefined)
    await store.remove('a', soon)
    await assert.rejects(store.put('a', text('2'), revision, soon), hasReason('aborted', 'REVISION'))
    const puts = Array.from({ length: 20 }, (_, i) => store.put(`new-${i}`, text('2'), 0, soon))
    await Promise.all(puts)
    assert.equal(await read(store, 'new-7'), '2')
  })

  it('ends at its deadline while the server hangs', async () => {
    const server = await start()
    const store = await open(server.url)
    await store.put('a', text('1'), 0, soon)
    process.kill(server.pid, 'SIGSTOP')
    try {
      await eventually(() => readFileSync(`/proc/${server.pid}/stat`, 'utf8').includes(') T '), 'the server is stopped')
      const begun = Date.now()
      await Promise.all([
        assert.rejects(store.put('b', text('1'), 0, { timeoutMs: 700 }), hasReason('unavailable', 'UNCONFIRMED')),
        assert.rejects(store.get('a', { timeoutMs: 700 }), hasReason('unavailable', 'UNCONFIRMED')),
        assert.rejects(store.remove('a', { timeoutMs: 700 }), hasReason('unavailable', 'UNCONFIRMED')),
      ])
      assert.ok(Date.now() - begun < 2_000)
    } finally {
      process.kill(server.pid, 'SIGCONT')
    }
    await eventually(async () => (await read(store, 'b')) === '1', 'the unconfirmed put has happened')
  })

  it('says what is missing where the server has no JetStream', async () => {
    const server = await start({ jetstream: false })
    await assert.rejects(open(server.url), hasReason('failed_precondition', 'NO_JETSTREAM'))
  })

  it('refuses a stream that is not its own', async () => {
    const server = await start()
    const connection = await connect({ servers: server.url })
    const manager = await connection.jetstreamManager()
    await manager.streams.add({ name: 'records', subjects: ['other.>'] })
    await connection.close()
    await assert.rejects(open(server.url), hasReason('failed_precondition', 'STREAM_MISMATCH'))
  })

  it('takes what room there is, and what a payload holds', async () => {
    const folder = freshFolder()
    const settings = [`jetstream { store_dir: ${JSON.stringify(folder)}, max_file_store: 20MB }`, 'max_payload: 1MB']
    const server = await start({ jetstream: false, settings })
    const store = await open(server.url, { maxBytes: 256 * 1024 * 1024 })
    const value = new Uint8Array(store.maxValueBytes).fill(7)
    assert.ok(value.byteLength > 1_000_000 && value.byteLength < 1024 * 1024)
    await store.put('large', value, 0, soon)
    assert.deepEqual((await store.get('large', soon))?.value, value)
    await assert.rejects(store.put('x', new Uint8Array(value.byteLength + 1), 0, soon), /want at most \d+ bytes/)
  })

  describe('on a cluster of three servers', () => {
    let servers: readonly TestNats[]
    beforeEach(async () => {
      servers = await startNatsClusterForTest(3)
      closers.push(async () => void (await Promise.all(servers.map((server) => server.stop()))))
    })

    it('goes on when the server that leads the stream is killed', async () => {
      const urls = servers.map(({ url }) => url)
      const first = await open(urls.join(','))
      const revision = await first.put('a', text('1'), 0, soon)
      const { numReplicas, leader } = await describeStream(urls[0] ?? '')
      assert.equal(numReplicas, 3)
      const survivors = urls.filter((_, i) => `server-${i}` !== leader)
      const clients = await Promise.all(survivors.map((url) => open(url)))
      const dead = servers.find((_, i) => `server-${i}` === leader)
      assert.ok(dead)
      await kill(dead)
      const begun = Date.now()
      const last = await clients[0]?.put('a', text('2'), revision, { timeoutMs: 30_000 })
      console.log(`      put again ${Date.now() - begun} ms after the leader was killed`)
      for (const client of clients) assert.equal(await read(client, 'a'), '2')
      assert.ok(last !== undefined && last > revision)
      await Promise.all(Array.from({ length: 50 }, async (_, i) => clients[i % 2]?.put(`k-${i}`, text('x'), 0, soon)))
    })

    it('keeps an existing stream as often as is asked for, with what is in it', async () => {
      const [url = ''] = servers.map((server) => server.url)
      const before = await open(url, { replicas: 1 })
      await before.put('a', text('1'), 0, soon)
      assert.equal((await describeStream(url)).numReplicas, 1)
      const after = await open(url, { replicas: 3 })
      const { numReplicas, numPerKey } = await describeStream(url)
      assert.deepEqual([numReplicas, numPerKey], [3, 1])
      assert.equal(await read(after, 'a'), '1')
    })

    it('lets exactly one of many concurrent puts win', async () => {
      const clients = await Promise.all(servers.map(({ url }) => open(url)))
      let revision = 0
      for (let round = 0; round < 20; round++) {
        const puts = await Promise.allSettled(
          Array.from({ length: 12 }, async (_, i) => clients[i % 3]?.put('a', text(`${round}.${i}`), revision, soon)),
        )
        const winners = puts.flatMap((put, i) => (put.status === 'fulfilled' ? [{ i, revision: put.value ?? 0 }] : []))
        assert.equal(winners.length, 1)
        for (const client of clients) assert.equal(await read(client, 'a'), `${round}.${winners[0]?.i}`)
        revision = winners[0]?.revision ?? 0
      }
    })

    it('refuses what does not fit', async () => {
      const [server] = servers
      assert.ok(server)
      const store = await open(server.url, { maxBytes: 1024 * 1024 })
      const fill = async (): Promise<void> => {
        for (let i = 0; i < 100; i++) await store.put(`k-${i}`, new Uint8Array(50_000), 0, soon)
      }
      await assert.rejects(fill(), hasReason('resource_exhausted', 'STORE_FULL'))
      await store.remove('k-0', soon)
      await store.put('k-0', new Uint8Array(50_000), 0, soon)
    })
  })
})

async function describeStream(url: string) {
  const connection = await connect({ servers: url })
  const { config, cluster } = await (await connection.jetstreamManager()).streams.info('records')
  await connection.close()
  return { numReplicas: config.num_replicas, numPerKey: config.max_msgs_per_subject, leader: cluster?.leader }
}
