import assert from 'node:assert/strict'
import fs, { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createKernels } from '../../../lib/compute/kernels.js'
import { placeWeight } from '../../../lib/compute/placed-weight.js'
import { asOneStep, inOneGo, inTurns } from '../../../lib/compute/steps.js'
import { createWeightStore, type WeightSet } from '../../../lib/compute/weight-store.js'

const bytesOf = (seed: number): Uint8Array => Uint8Array.from({ length: 5000 }, (_, i) => (i * seed + 3) & 255)

describe('createWeightStore', () => {
  const kernels = createKernels(1)
  let folder: string
  let numPacked: number
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'banyan-test-'))
    numPacked = 0
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))
  after(() => kernels.dispose())

  const pack = (seed: number) => () =>
    asOneStep((): WeightSet => {
      numPacked += 1
      return { [`w${seed}`]: { element: 'uint8', dims: [5000], source: bytesOf(seed) } }
    })
  const PARTS = new Map([1, 2, 3].map((seed) => [seed, pack(seed)] as const))

  /** Reads the parts as the engine does, and tells how many had to be packed for it. */
  function load(at: string | undefined, warn?: (reason: string) => void): number {
    const before = numPacked
    const seeds: number[] = []
    const use = (seed: number, set: WeightSet): void => {
      const weight = placeWeight(kernels, set[`w${seed}`] ?? assert.fail())
      assert.deepEqual(kernels.bytes(weight.address, 5000).slice(), bytesOf(seed))
      weight.dispose()
      seeds.push(seed)
    }
    inOneGo(createWeightStore(at, warn).openParts('set', PARTS, use))
    assert.deepEqual(seeds, [1, 2, 3])
    return numPacked - before
  }

  it('packs once, then finds what it packed', () => {
    const at = join(folder, 'deep', 'down')
    assert.deepEqual([load(at), load(at), numPacked], [3, 0, 3])
    assert.deepEqual(readdirSync(at).sort(), ['set.bin', 'set.json'])
  })

  it('packs again what is damaged anywhere, cut short, or of another version (W2)', () => {
    load(folder)
    const [data, index] = ['set.bin', 'set.json'].map((name) => join(folder, name)) as [string, string] // two names
    const whole = readFileSync(data)
    const spoilt = Buffer.from(whole)
    spoilt[4096 + 77]! ^= 1
    const text = readFileSync(index, 'utf8')
    for (const [path, content] of [
      [data, spoilt],
      [data, whole.subarray(0, 8000)],
      [index, text.slice(0, -5)],
      [index, text.replace(/"version":\d+/, '"version":1')],
      [index, '[]'],
    ] as const) {
      writeFileSync(path, content)
      assert.deepEqual([load(folder), load(folder)], [3, 0])
      assert.deepEqual(readFileSync(data), whole)
    }
    rmSync(data)
    assert.deepEqual([load(folder), load(folder)], [3, 0])
  })

  it('a part that cannot be packed leaves nothing behind (W1)', () => {
    const failing = new Map([...PARTS, [4, () => asOneStep(() => assert.fail('no such tensor'))] as const])
    const use = (): void => undefined
    assert.throws(() => inOneGo(createWeightStore(folder).openParts('set', failing, use)), /no such tensor/)
    assert.deepEqual(readdirSync(folder), [])
  })

  it('work that is given up at any step leaves nothing behind, and what is there stays whole (W1)', async () => {
    let [numSteps, mostSteps] = [0, 0]
    const stopAfter = (steps: number) => () =>
      (numSteps += 1) > steps ? Promise.reject(new Error('given up')) : Promise.resolve()
    const store = createWeightStore(folder)
    for (let steps = 0; ; steps++) {
      numSteps = 0
      const loading = inTurns(
        store.openParts('set', PARTS, () => undefined),
        stopAfter(steps),
      )
      const error: unknown = await loading.catch((reason: unknown) => reason)
      if (error === undefined) break
      assert.ok(error instanceof Error && error.message === 'given up')
      mostSteps = Math.max(mostSteps, numSteps)
      assert.ok(readdirSync(folder).every((name) => ['set.bin', 'set.json'].includes(name)))
    }
    assert.ok(mostSteps > 8)
    assert.equal(load(folder), 0)
  })

  it('goes on without a folder that cannot be written, packing part by part, and says so once (W3)', () => {
    const reasons: string[] = []
    const blocked = join(folder, 'file')
    writeFileSync(blocked, '')
    assert.equal(
      load(blocked, (reason) => reasons.push(reason)),
      3,
    )
    assert.match(reasons.join('\n'), /^weights are not kept in .*file: EEXIST.*$/)
    const full = '/dev/full'
    if (!existsSync(full)) return
    assert.equal(
      load(full, (reason) => reasons.push(reason)),
      3,
    )
    assert.equal(reasons.length, 2)
  })

  const FAULTS = [
    ['is full', 'ENOSPC', 'writeSync', (bytes: number) => bytes > 6000],
    ['is read-only', 'EROFS', 'mkdirSync', () => true],
    ['nothing may be written to', 'EACCES', 'openSync', () => true],
  ] as const
  for (const [title, code, name, fails] of FAULTS) {
    it(`goes on without a folder that ${title}, says so once, and leaves nothing (W1, W3)`, () => {
      const reasons: string[] = []
      const real = fs[name] as (...all: unknown[]) => unknown // of several overloads
      let bytes = 0
      const faulty = (...all: unknown[]): unknown => {
        const [what, data] = all
        const isOurs = name !== 'openSync' || all[1] === 'w'
        if (data instanceof Uint8Array) bytes += data.length
        if (isOurs && fails(bytes)) throw Object.assign(new Error(`${code}: ${String(what)}`), { code, syscall: 'x' })
        return real(...all)
      }
      Object.assign(fs, { [name]: faulty })
      syncBuiltinESMExports()
      try {
        const store = createWeightStore(folder, (reason) => reasons.push(reason))
        const seeds: number[] = []
        for (const key of ['one', 'two']) inOneGo(store.openParts(key, PARTS, (seed) => seeds.push(seed)))
        assert.deepEqual(seeds, [1, 2, 3, 1, 2, 3])
      } finally {
        Object.assign(fs, { [name]: real })
        syncBuiltinESMExports()
      }
      assert.equal(reasons.length, 1)
      assert.match(reasons[0] ?? '', new RegExp(`^weights are not kept in .*: ${code}`))
      assert.deepEqual(readdirSync(folder), [])
      assert.deepEqual([load(folder), load(folder)], [3, 0])
    })
  }

  it('two that write the same set at once both come to it and leave one whole file (W1)', () => {
    const seen: Uint8Array[] = []
    const use = (seed: number, set: WeightSet): void => {
      const weight = placeWeight(kernels, set[`w${seed}`] ?? assert.fail())
      seen.push(kernels.bytes(weight.address, 5000).slice())
      weight.dispose()
    }
    let running = [1, 2].map(() => createWeightStore(folder, assert.fail).openParts('set', PARTS, use))
    while (running.length > 0) running = running.filter((steps) => steps.next().done !== true)
    assert.deepEqual(
      seen.sort((a, b) => Buffer.compare(a, b)),
      [1, 1, 2, 2, 3, 3].map(bytesOf).sort((a, b) => Buffer.compare(a, b)),
    )
    assert.deepEqual(readdirSync(folder).sort(), ['set.bin', 'set.json'])
    assert.equal(load(folder), 0)
  })

  it('reads a folder that is read-only', () => {
    load(folder)
    chmodSync(folder, 0o500)
    assert.equal(load(folder), 0)
    chmodSync(folder, 0o700)
  })

  it('without a folder holds one part at a time, and writes nothing', () => {
    const packedAtUse: number[] = []
    inOneGo(createWeightStore(undefined).openParts('set', PARTS, () => packedAtUse.push(numPacked)))
    assert.deepEqual(packedAtUse, [1, 2, 3])
    assert.equal(load(undefined), 3)
  })
})
