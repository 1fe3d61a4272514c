// The journal file: what a crash, a damaged byte, a full disk and a second process do to it (D1, F1, A1, A2, K1, K2).

import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ClusterError, type ErrorCode } from '../../../lib/errors.js'
import type { Disk } from '../../../lib/transport/disk.js'
import { openFileStore, openStoreOn, type FileStoreOptions } from '../../../lib/transport/file-store.js'
import { encodeRecord, LOG_START, readLog, type LogRecord } from '../../../lib/transport/record-log.js'
import type { RecordStore } from '../../../lib/transport/record-store.js'
import { createRandom } from '../../helpers/random.js'
import { createSimulatedDisk, diskError } from '../../helpers/simulated-disk.js'

const soon = { timeoutMs: 10_000 }
const bytes = (text: string): Uint8Array => Buffer.from(text)
const hasReason = (code: ErrorCode, reason: string) => (error: unknown) =>
  error instanceof ClusterError && error.code === code && error.details.reason === reason

describe('journal file', function () {
  this.timeout(120_000)
  const folders: string[] = []
  const freshFolder = (): string => {
    const folder = mkdtempSync(join(tmpdir(), 'banyan-journal-test-'))
    folders.push(folder)
    return folder
  }
  after(() => {
    for (const folder of folders) rmSync(folder, { recursive: true, force: true })
  })
  const open = (folder: string, options: FileStoreOptions = {}): Promise<RecordStore> => openFileStore(folder, options)

  const read = async (store: RecordStore, key: string): Promise<string | undefined> => {
    const stored = await store.get(key, soon)
    return stored === undefined ? undefined : Buffer.from(stored.value).toString()
  }

  // What the file means after each of its records.
  const history: LogRecord[] = []
  const states = [new Map<string, string>()]
  const random = createRandom(1)
  for (let i = 1; i <= 60; i++) {
    const key = `request-${Math.floor(random() * 8)}`
    const last = states.at(-1) ?? new Map<string, string>()
    const isRemoval = last.has(key) && random() < 0.3
    const value = `${i} ${'x'.repeat(Math.floor(random() * 40))}`
    history.push({ op: isRemoval ? 'remove' : 'put', key, value: bytes(value), revision: i, writtenAtMs: Date.now() })
    const next = new Map(last)
    if (isRemoval) next.delete(key)
    else next.set(key, value)
    states.push(next)
  }
  const encoded = history.map(encodeRecord)
  const whole = Buffer.concat([LOG_START, ...encoded])
  const ends = encoded.map((_, i) => LOG_START.byteLength + Buffer.concat(encoded.slice(0, i + 1)).length)
  const numRecordsIn = (length: number): number => ends.filter((end) => end <= length).length

  const assertState = async (store: RecordStore, numRecords: number, what: string): Promise<void> => {
    for (let i = 0; i < 8; i++) {
      const key = `request-${i}`
      assert.equal(await read(store, key), states[numRecords]?.get(key), `${what}: ${key}`)
    }
  }

  it('cut at any byte, reads the whole records before the cut', () => {
    for (let length = LOG_START.byteLength; length <= whole.length; length++)
      assert.equal(readLog(whole.subarray(0, length)).records.length, numRecordsIn(length), `cut at ${length}`)
  })

  it('cut, goes on from there', async () => {
    const folder = freshFolder()
    for (let length = 0; length <= whole.length; length += length < 100 ? 1 : 5) {
      writeFileSync(join(folder, 'journal.log'), whole.subarray(0, length))
      const store = await open(folder)
      await assertState(store, numRecordsIn(length), `cut at ${length}`)
      if (length % 3 === 0) {
        await store.put('after', bytes('the cut'), 0, soon)
        await store.close()
        const again = await open(folder)
        assert.equal(await read(again, 'after'), 'the cut')
        await assertState(again, numRecordsIn(length), `again after a cut at ${length}`)
        await again.close()
      } else await store.close()
    }
  })

  it('with any byte changed, reads the records before it', () => {
    for (let at = LOG_START.byteLength; at < whole.length; at++) {
      const damaged = Buffer.from(whole)
      damaged[at] = (damaged[at] ?? 0) ^ (1 << (at % 8))
      assert.equal(readLog(damaged).records.length, numRecordsIn(at), `byte ${at}`)
    }
  })

  it('tells what it cut off', async () => {
    const folder = freshFolder()
    const lines: string[] = []
    writeFileSync(join(folder, 'journal.log'), Buffer.concat([whole, Buffer.alloc(13)]))
    await (await open(folder, { onDamage: (line) => void lines.push(line) })).close()
    assert.match(lines.join(), /cut off 13 bytes/)
    assert.equal(statSync(join(folder, 'journal.log')).size, whole.length)
  })

  it('leaves a file alone that is not a journal', async () => {
    const folder = freshFolder()
    writeFileSync(join(folder, 'journal.log'), 'somebody’s diary')
    await assert.rejects(open(folder), /want one that begins with BANYANJ1/)
    assert.equal(readFileSync(join(folder, 'journal.log'), 'utf8'), 'somebody’s diary')
  })

  it('rewrites itself when it is mostly garbage, and keeps revisions rising', async () => {
    const folder = freshFolder()
    const store = await open(folder, { minGarbageBytes: 20_000 })
    let revision = 0
    for (let i = 0; i < 300; i++) revision = await store.put('busy', Buffer.alloc(1_000, i), revision, soon)
    await store.put('quiet', bytes('kept'), 0, soon)
    await store.remove('busy', soon)
    assert.ok(statSync(join(folder, 'journal.log')).size < 60_000)
    await store.close()
    const again = await open(folder)
    assert.equal(await read(again, 'quiet'), 'kept')
    assert.equal(await read(again, 'busy'), undefined)
    assert.ok((await again.put('busy', bytes('new'), 0, soon)) > revision)
    await again.close()
  })

  it('refuses a folder that a living process has, and takes it over from a killed one', async () => {
    const folder = freshFolder()
    const holder = spawn(process.execPath, [holderScript, folder], { stdio: ['ignore', 'pipe', 'inherit'] })
    await once(holder.stdout, 'data')
    await assert.rejects(open(folder), hasReason('failed_precondition', 'LOCKED'))
    holder.kill('SIGKILL')
    await once(holder, 'exit')
    const store = await open(folder)
    assert.equal(await read(store, 'last'), '99', 'what the killed process had been told is durable')
    await assert.rejects(open(folder), hasReason('failed_precondition', 'LOCKED'))
    await store.close()
    await (await open(folder)).close()
  })

  it('a file that may not grow: refuses, keeps what it has, and goes on when there is room', () => {
    const folder = freshFolder()
    const limited = spawnSync('sh', ['-c', `ulimit -f 64; exec "$0" "$@"`, process.execPath, fillerScript, folder])
    assert.equal(limited.status, 0, limited.stderr.toString())
    const { numKept, error } = JSON.parse(limited.stdout.toString()) as { numKept: number; error: string }
    assert.equal(error, 'resource_exhausted DISK_FULL')
    assert.ok(numKept > 10 && numKept < 64, `${numKept} records in a file of at most 64 blocks`)
    const check = spawnSync(process.execPath, [fillerScript, folder, String(numKept)])
    assert.equal(check.status, 0, check.stderr.toString())
  })

  describe('on a simulated disk', () => {
    it('a full disk fails the put and nothing else', async () => {
      const disk = createSimulatedDisk()
      const store = await openStoreOn(disk)
      const revision = await store.put('a', bytes('1'), 0, soon)
      disk.fault = (operation) => (operation === 'write' ? { error: diskError('ENOSPC'), numBytes: 1_000 } : undefined)
      const puts = await Promise.allSettled([
        store.put('a', bytes('2'), revision, soon),
        store.put('b', bytes('2'), 0, soon),
        store.put('b', bytes('3'), 0, soon),
      ])
      for (const put of puts)
        assert.ok(put.status === 'rejected' && hasReason('resource_exhausted', 'DISK_FULL')(put.reason))
      assert.equal(await read(store, 'a'), '1')
      disk.fault = () => undefined
      await store.put('a', bytes('4'), revision, soon)
      await store.close()
      const again = await openStoreOn(disk)
      assert.deepEqual([await read(again, 'a'), await read(again, 'b')], ['4', undefined])
    })

    it('after a failed sync appends to a fresh file only', async () => {
      const disk = createSimulatedDisk()
      const store = await openStoreOn(disk)
      const revision = await store.put('a', bytes('1'), 0, soon)
      disk.fault = (operation) => (operation === 'sync' ? { error: diskError('EIO') } : undefined)
      await assert.rejects(store.put('a', bytes('2'), revision, soon), hasReason('unavailable', 'UNCONFIRMED'))
      assert.equal(await read(store, 'a'), '1')
      const opened: string[] = []
      disk.fault = (operation, name) => (opened.push(`${operation} ${name}`), undefined)
      await store.put('a', bytes('3'), revision, soon)
      assert.ok(opened.includes('rename journal.log.new'))
      await store.close()
      assert.equal(await read(await openStoreOn(disk), 'a'), '3')
    })

    it('ends a put at its deadline while the disk hangs', async () => {
      const disk = createSimulatedDisk()
      let release: () => void = () => undefined
      const hang = new Promise<void>((resolve) => (release = resolve))
      let isHanging = false
      const open: Disk['open'] = async (name) => {
        const file = await disk.open(name)
        return { ...file, sync: async () => (isHanging ? hang : file.sync()) }
      }
      const store = await openStoreOn({ ...disk, open })
      isHanging = true
      await assert.rejects(store.put('a', bytes('1'), 0, { timeoutMs: 20 }), hasReason('unavailable', 'UNCONFIRMED'))
      release()
      await store.close()
    })

    const numSeeds = 400
    it(`holds the last acknowledged value after a crash anywhere (${numSeeds} seeds)`, async () => {
      for (let seed = 1; seed <= numSeeds; seed++) await crashRun(seed)
    })
  })

  /** Clients put over and over; the machine stops at a random moment, some disks fail before; what was told must hold. */
  async function crashRun(seed: number): Promise<void> {
    const random = createRandom(seed)
    const disk = createSimulatedDisk()
    const known = new Map<string, { acknowledged: string | undefined; possible: Set<string | undefined> }>()
    let numPuts = 0
    for (let round = 0; round < 4; round++) {
      disk.fault = () => undefined
      const store = await openStoreOn(disk, { minGarbageBytes: 500, after: () => () => undefined })
      for (const [key, { acknowledged, possible }] of known) {
        const found = await read(store, key)
        assert.ok(found === acknowledged || possible.has(found), `seed ${seed}, round ${round}, ${key}: found ${found}`)
        known.set(key, { acknowledged: found, possible: new Set() })
      }
      const faultRate = random() < 0.5 ? 0 : 0.05
      disk.fault = () => {
        if (random() >= faultRate) return undefined
        return { error: diskError(random() < 0.5 ? 'ENOSPC' : 'EIO'), numBytes: Math.floor(random() * 150) }
      }
      let isStopped = false
      const client = async (key: string): Promise<void> => {
        const state = known.get(key) ?? { acknowledged: undefined, possible: new Set() }
        known.set(key, state)
        while (!isStopped) {
          const found = await store.get(key, soon)
          if (state.possible.size === 0)
            assert.equal(found === undefined ? undefined : Buffer.from(found.value).toString(), state.acknowledged)
          const value = random() < 0.15 && found !== undefined ? undefined : `${(numPuts += 1)}`
          state.possible.add(value)
          try {
            if (value === undefined) await store.remove(key, soon)
            else await store.put(key, bytes(value), found?.revision ?? 0, soon)
            state.acknowledged = value
            state.possible.clear()
          } catch (error) {
            const { code, details } = ClusterError.from(error)
            assert.ok(code === 'unavailable' || code === 'resource_exhausted', `seed ${seed}: ${String(error)}`)
            if (code === 'resource_exhausted' && !isStopped) state.possible.delete(value)
            else if (!isStopped) assert.equal(details.reason === 'UNCONFIRMED' || details.reason === 'DISK_ERROR', true)
          }
        }
      }
      const clients = ['a', 'b', 'c'].map(client)
      const numTurns = Math.floor(random() * 120)
      for (let turn = 0; turn < numTurns; turn++) await new Promise((resolve) => setImmediate(resolve))
      isStopped = true
      disk.crash(random)
      await Promise.all(clients)
    }
  }
})

const here = dirname(fileURLToPath(import.meta.url))
const holderScript = join(here, 'file-store-holder.js')
const fillerScript = join(here, 'file-store-filler.js')
