import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Clock } from '../../../lib/actor/actor.js'
import type { CostModel } from '../../../services/router/cost-model.js'
import { costKey, createCostStore } from '../../../services/router/cost-store.js'
import { chunkShape } from '../../../services/router/step-shape.js'

const EXPERTS = { layers: 2, experts: 8, topK: 2 }
const SHAPE = chunkShape(0, 40)

/** A clock whose timers run when they are told to. */
function createManualClock(): Clock & { fire(): void; readonly numTimers: number } {
  let timers: (() => void)[] = []
  let nowMs = 1000
  return {
    now: () => (nowMs += 1),
    monotonicMs: () => nowMs,
    turn: () => Promise.resolve(),
    after: (_, run) => {
      timers.push(run)
      return () => (timers = timers.filter((other) => other !== run))
    },
    fire: () => timers.splice(0).forEach((run) => run()),
    get numTimers() {
      return timers.length
    },
  }
}

describe('createCostStore', () => {
  let folder: string
  let file: string
  let warnings: Readonly<Record<string, unknown>>[]
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'banyan-cost-'))
    file = join(folder, 'cache', 'cost-model.json')
    warnings = []
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  const clock = createManualClock()
  const logger = { warn: (fields: Readonly<Record<string, unknown>>): void => void warnings.push(fields) }
  const start = (path: string | undefined = file) => createCostStore({ file: path, writer: 'w', clock, logger })
  const teach = (model: CostModel, ms: number): void => {
    for (let i = 0; i < 20; i++)
      for (const shape of [SHAPE, chunkShape(0, 3)]) model.observe({ shape, predictedMs: 0, durationMs: ms })
  }

  it('a later store opens with what an earlier one learned', () => {
    const first = start()
    teach(first.open('a', EXPERTS), 12)
    const learned = first.open('a', EXPERTS).snapshot()
    first.close()
    const second = start()
    assert.deepEqual(second.open('a', EXPERTS).snapshot(), learned)
    assert.equal(second.open('b', EXPERTS).isKnown, false)
    second.close()
    assert.deepEqual([warnings, readdirSync(join(folder, 'cache'))], [[], ['cost-model.json']])
  })

  it('writes by its timer, only where something was learned, and stops it at the end', () => {
    const store = start()
    clock.fire()
    assert.deepEqual(readdirSync(folder), [])
    teach(store.open('a', EXPERTS), 5)
    clock.fire()
    assert.deepEqual(readdirSync(folder), ['cache'])
    store.close()
    assert.equal(clock.numTimers, 0)
  })

  it('keeps what another router wrote meanwhile (K4)', () => {
    const [one, other] = [start(), start()]
    teach(one.open('one', EXPERTS), 5)
    teach(other.open('other', EXPERTS), 7)
    one.close()
    other.close()
    const third = start()
    assert.deepEqual([third.open('one', EXPERTS).isKnown, third.open('other', EXPERTS).isKnown], [true, true])
    third.close()
  })

  it('keeps the latest 32 entries (K2)', () => {
    for (let i = 0; i < 40; i++) {
      const store = start()
      teach(store.open(`kind ${i}`, EXPERTS), 5)
      store.close()
    }
    const { entries } = JSON.parse(readFileSync(file, 'utf8')) as { entries: { key: string }[] } // written just now
    assert.equal(entries.length, 32)
    assert.deepEqual([entries[0]?.key, entries.at(-1)?.key], ['kind 39', 'kind 8'])
  })

  for (const [what, content] of Object.entries({
    'cut short': '{"version":1,"terms":["step"',
    'not ours': '[1, 2, 3]',
    'of other terms': '{"version":1,"terms":["step"],"entries":[]}',
  })) {
    it(`ignores a file that is ${what}, names it in one warning, and replaces it`, () => {
      const damaged = join(folder, 'damaged.json')
      writeFileSync(damaged, content)
      const store = start(damaged)
      teach(store.open('a', EXPERTS), 5)
      clock.fire()
      store.close()
      assert.deepEqual(
        warnings.map((fields) => fields.file),
        [damaged],
      )
      const next = start(damaged)
      assert.equal(next.open('a', EXPERTS).isKnown, true)
      next.close()
    })
  }

  it('a folder that cannot be written costs one warning', () => {
    writeFileSync(join(folder, 'cache'), 'a file where the folder should be')
    const store = start()
    teach(store.open('a', EXPERTS), 5)
    clock.fire()
    store.close()
    assert.equal(warnings.length, 1)
  })

  it('without a file nothing is written', () => {
    const store = createCostStore({ writer: 'w', clock, logger })
    teach(store.open('a', EXPERTS), 5)
    store.close()
    assert.deepEqual([readdirSync(folder), clock.numTimers], [[], 0])
  })

  it('a key names everything that times hold for', () => {
    const kind = {
      deviceClass: 'c',
      fingerprint: 'f',
      weights: 'int8',
      transport: 'local',
      numAttention: 1,
      numExperts: 2,
    }
    const others = [{ deviceClass: 'd' }, { weights: 'int4' }, { transport: 'nats' }, { numAttention: 2 }]
    assert.equal(new Set([kind, ...others.map((change) => ({ ...kind, ...change }))].map(costKey)).size, 5)
  })
})
