// D1 to D6 of `lib/transport/record-store.ts`, over every store.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ClusterError, type ErrorCode } from '../../lib/errors.js'
import { openFileStore } from '../../lib/transport/file-store.js'
import { createMemoryStore } from '../../lib/transport/memory-store.js'
import { connectNats } from '../../lib/transport/nats.js'
import type { RecordStore } from '../../lib/transport/record-store.js'
import type { Transport } from '../../lib/transport/transport.js'
import { eventually } from '../helpers/eventually.js'
import { startNatsForTest, type TestNats } from '../helpers/nats.js'
import { createRandom } from '../helpers/random.js'

const soon = { timeoutMs: 10_000 }
const text = (value: string): Uint8Array => Buffer.from(value)
const hasReason = (code: ErrorCode, reason: string) => (error: unknown) =>
  error instanceof ClusterError && error.code === code && error.details.reason === reason

interface Limits {
  readonly maxBytes?: number
  readonly maxAgeMs?: number
}

/** Where a kind of store keeps its records; two clients may look at the same place. */
interface Place {
  open(limits?: Limits): Promise<readonly [RecordStore, RecordStore]>
  end(): Promise<void>
}

const memory = async (): Promise<Place> => ({
  open: async (limits) => {
    const store = createMemoryStore(limits)
    return [store, store]
  },
  end: () => Promise.resolve(),
})

const file = async (): Promise<Place> => {
  const folder = mkdtempSync(join(tmpdir(), 'banyan-journal-test-'))
  return {
    open: async (limits) => {
      const store = await openFileStore(folder, limits)
      return [store, store]
    },
    end: async () => rmSync(folder, { recursive: true, force: true }),
  }
}

let numStreams = 0

/** Every place a stream of its own on one server; every store a connection of its own. */
const jetstream = async (nats: () => TestNats): Promise<Place> => {
  const stream = `stream-${(numStreams += 1)}`
  const transports: Transport[] = []
  const open = async (limits: Limits): Promise<RecordStore> => {
    const transport = await connectNats({ url: nats().url, name: 'test' })
    transports.push(transport)
    return openRecords(transport, stream, limits)
  }
  return {
    open: async (limits = {}) => [await open(limits), await open(limits)],
    end: async () => {
      for (const transport of transports) await transport.close()
    },
  }
}

const openRecords = (transport: Transport, stream: string, limits: Limits = {}): Promise<RecordStore> => {
  assert.ok(transport.openRecords)
  return transport.openRecords({ stream, subject: `journal.${stream}`, maxBytes: 16 * 1024 * 1024, ...limits })
}

const kinds: readonly (readonly [string, () => Promise<Place>])[] = [
  ['memory', memory],
  ['file', file],
  ['jetstream', () => jetstream(() => nats)],
]

let nats: TestNats

for (const [kind, create] of kinds) {
  describe(`record store ${kind}`, function () {
    this.timeout(60_000)
    let place: Place
    let first: RecordStore
    let second: RecordStore
    let numKeys = 0
    const fresh = (): string => `key-${(numKeys += 1)}`

    before(async () => {
      if (kind === 'jetstream') nats = await startNatsForTest()
      place = await create()
      const stores = await place.open()
      first = stores[0]
      second = stores[1]
    })
    after(async () => {
      await first.close()
      await second.close()
      await place.end()
      if (kind === 'jetstream') await nats.stop()
    })

    const read = async (key: string): Promise<string | undefined> => {
      const stored = await second.get(key, soon)
      return stored === undefined ? undefined : Buffer.from(stored.value).toString()
    }

    it('gives back what was put, at its revision', async () => {
      const key = fresh()
      assert.equal(await first.get(key, soon), undefined)
      const revision = await first.put(key, text('one'), 0, soon)
      assert.ok(revision > 0)
      assert.deepEqual(await second.get(key, soon), { value: Uint8Array.from(text('one')), revision })
      const next = await second.put(key, text('two'), revision, soon)
      assert.ok(next > revision)
      assert.equal(await read(key), 'two')
    })

    it('refuses another revision and changes nothing', async () => {
      const key = fresh()
      await assert.rejects(first.put(key, text('x'), 7, soon), hasReason('aborted', 'REVISION'))
      assert.equal(await read(key), undefined)
      const revision = await first.put(key, text('one'), 0, soon)
      for (const wrong of [0, revision - 1, revision + 1])
        await assert.rejects(second.put(key, text('x'), wrong, soon), hasReason('aborted', 'REVISION'))
      assert.equal(await read(key), 'one')
    })

    it('lets exactly one of many concurrent puts win', async () => {
      const key = fresh()
      let revision = 0
      for (let round = 0; round < 20; round++) {
        const writers = Array.from({ length: 10 }, (_, i) => [i % 2 === 0 ? first : second, `${round}.${i}`] as const)
        const puts = await Promise.allSettled(
          writers.map(([store, value]) => store.put(key, text(value), revision, soon)),
        )
        const winners = puts.flatMap((put, i) => (put.status === 'fulfilled' ? [{ i, revision: put.value }] : []))
        assert.equal(winners.length, 1, `round ${round}`)
        for (const put of puts) assert.ok(put.status === 'fulfilled' || hasReason('aborted', 'REVISION')(put.reason))
        assert.equal(await read(key), `${round}.${winners[0]?.i}`)
        revision = winners[0]?.revision ?? 0
      }
    })

    it('forgets nothing that was changed since', async () => {
      const key = 'changed'
      const old = await first.put(key, Buffer.from('a'), 0, soon)
      const now = await first.put(key, Buffer.from('b'), old, soon)
      await second.remove(key, { ...soon, revision: old })
      assert.equal((await second.get(key, soon))?.revision, now)
      await second.remove(key, { ...soon, revision: now })
      assert.equal(await first.get(key, soon), undefined)
    })

    it('forgets a removed key, which may then be put anew', async () => {
      const key = fresh()
      const revision = await first.put(key, text('one'), 0, soon)
      await second.remove(key, soon)
      await second.remove(key, soon)
      assert.equal(await first.get(key, soon), undefined)
      await assert.rejects(first.put(key, text('x'), revision, soon), hasReason('aborted', 'REVISION'))
      await first.put(key, text('two'), 0, soon)
      assert.equal(await read(key), 'two')
    })

    it('takes any text as a key', async () => {
      const keys = ['a.b.*.>', ' two  spaces ', 'ключ', '鍵🔑', 'tab\tnew\nline', '\ud800', '"\\/', 'x'.repeat(256)]
      for (const key of keys) await first.put(key, text(key), 0, soon)
      for (const key of keys) assert.equal(await read(key), Buffer.from(key).toString(), JSON.stringify(key))
      for (const key of ['', 'x'.repeat(257)]) {
        await assert.rejects(first.put(key, text('x'), 0, soon), /want 1 to 256 characters/)
        await assert.rejects(first.get(key, soon), /want 1 to 256 characters/)
      }
    })

    it('takes values from none to a large number of bytes, and names the bound', async () => {
      const random = createRandom(5)
      for (const size of [0, 1, 700_000]) {
        const key = fresh()
        const value = Uint8Array.from({ length: size }, () => Math.floor(random() * 256))
        const revision = await first.put(key, value, 0, soon)
        assert.deepEqual(await second.get(key, soon), { value, revision })
      }
      const bound = first.maxValueBytes
      const key = fresh()
      await first.put(key, new Uint8Array(bound), 0, soon)
      assert.equal((await second.get(key, soon))?.value.byteLength, bound)
      await assert.rejects(
        first.put(fresh(), new Uint8Array(bound + 1), 0, soon),
        new RegExp(`want at most ${bound} bytes`),
      )
    })

    it('keeps what it was given, also when the caller reuses its buffer', async () => {
      const key = fresh()
      const value = Buffer.from('first')
      const put = first.put(key, value, 0, soon)
      value.write('xxxxx')
      await put
      assert.equal(await read(key), 'first')
    })

    it('refuses what does not fit, still overwrites, and has room again after a removal', async () => {
      const small = await create()
      const [store] = await small.open({ maxBytes: 40_000 })
      const revisions: number[] = []
      const fill = async (): Promise<void> => {
        for (let i = 0; i < 100; i++) revisions.push(await store.put(`full-${i}`, Buffer.alloc(2_000, i), 0, soon))
      }
      await assert.rejects(fill(), hasReason('resource_exhausted', 'STORE_FULL'))
      assert.ok(revisions.length > 10 && revisions.length < 20, `${revisions.length} fit`)
      revisions[0] = await store.put('full-0', Buffer.alloc(2_000, 7), revisions[0] ?? 0, soon)
      await assert.rejects(
        store.put('full-0', Buffer.alloc(8_000), revisions[0] ?? 0, soon),
        hasReason('resource_exhausted', 'STORE_FULL'),
      )
      assert.equal((await store.get('full-0', soon))?.value[0], 7)
      await store.remove('full-1', soon)
      await store.put('full-new', Buffer.alloc(2_000), 0, soon)
      await store.close()
      await small.end()
    })

    it('forgets what nobody put for its greatest age', async () => {
      const brief = await create()
      const [store] = await brief.open({ maxAgeMs: 500 })
      await store.put('old', text('x'), 0, soon)
      await eventually(async () => (await store.get('old', soon)) === undefined, 'it is forgotten')
      await store.put('old', text('y'), 0, soon)
      await store.close()
      await brief.end()
    })

    it('is unavailable when closed', async () => {
      const other = await create()
      const [store] = await other.open()
      await store.close()
      await assert.rejects(
        store.put('a', text('x'), 0, soon),
        (error) => ClusterError.from(error).code === 'unavailable',
      )
      await assert.rejects(store.get('a', soon), (error) => ClusterError.from(error).code === 'unavailable')
      await other.end()
    })
  })
}
