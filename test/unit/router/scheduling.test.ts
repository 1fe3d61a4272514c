import assert from 'node:assert/strict'
import fc from 'fast-check'
import { systemClock } from '../../../lib/actor/clock.js'
import { NEUTRAL_SAMPLING } from '../../../lib/sampling/params.js'
import { createKvBlocks } from '../../../services/router/kv-blocks.js'
import type { Pace } from '../../../services/router/pace.js'
import { createRequestLog } from '../../../services/router/request-log.js'
import { createScheduler } from '../../../services/router/scheduler.js'
import { isDecoding, noStats, type Sequence } from '../../../services/router/sequence.js'

function sequence(id: string, promptLength: number): Sequence {
  const nothing = (): undefined => undefined
  const ends = { finish: nothing, fail: nothing, detach: nothing, isClosed: false, isPaused: false }
  const emitter = { push: nothing, replay: nothing, ...ends }
  const sampling = NEUTRAL_SAMPLING
  return {
    id,
    choice: 0,
    promptLength,
    sampling,
    emitter,
    drafts: false,
    tenant: '',
    priority: 'normal',
    returnsTrees: false,
    traceparent: undefined,
    startedMs: 0,
    limits: { maxTokens: 1000, endTokenIds: new Set() },
    tokens: Array.from({ length: promptLength }, (_, i) => i),
    base: 0,
    epoch: 0,
    accepted: [],
    prefix: undefined,
    cachedTokens: 0,
    restarts: 0,
    draftedUpTo: 0,
    hidden: undefined,
    stats: noStats(),
  }
}

const limits = { kvTokens: 640, maxRunning: 8, tokenBudget: 32, prefillChunk: 16, maxTreeNodes: 8, prefixCache: true }

/** What a step does to a sequence: commit its rows, and one token more while decoding. */
function finishStep(rows: ReturnType<ReturnType<typeof createScheduler>['schedule']>): void {
  for (const { sequence: ran, tree, sampled } of rows) {
    ran.base += tree.tokens.length
    ran.epoch += 1
    if (sampled.length > 0) ran.tokens.push(1)
  }
}

describe('createScheduler', () => {
  it('decodes before it prefills, in chunks within the budget (Z1)', () => {
    const scheduler = createScheduler(limits)
    const [a, b, c] = [sequence('a', 5), sequence('b', 50), sequence('c', 50)]
    scheduler.enqueue(a)
    finishStep(scheduler.schedule())
    for (const late of [b, c]) scheduler.enqueue(late)
    const rows = scheduler.schedule().map(({ sequence: { id }, tree }) => [id, tree.tokens.length])
    assert.deepEqual(rows, [
      ['a', 1],
      ['b', 16],
      ['c', 15],
    ])
  })

  it('samples only at the end of a prefill', () => {
    const scheduler = createScheduler(limits)
    scheduler.enqueue(sequence('a', 20))
    const sampled: (readonly number[])[] = []
    for (let step = 0; step < 2; step++) {
      const rows = scheduler.schedule()
      sampled.push(...rows.map((row) => row.sampled))
      finishStep(rows)
    }
    assert.deepEqual(sampled, [[], [3]])
  })

  it('decoding sequences take turns where the token budget is below their number (Z4)', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 9 }), fc.integer({ min: 1, max: 8 }), (count, tokenBudget) => {
        const scheduler = createScheduler({ ...limits, tokenBudget, maxRunning: count })
        const all = Array.from({ length: count }, (_, i) => sequence(`s${i}`, 1)) // one token: decodes at once
        for (const each of all) scheduler.enqueue(each)
        for (let step = 0; step < 30; step++) {
          const rows = scheduler.schedule()
          assert.equal(rows.length, Math.min(count, tokenBudget))
          finishStep(rows)
          const steps = all.map(({ epoch }) => epoch)
          assert.ok(Math.max(...steps) - Math.min(...steps) <= 1, steps.join())
        }
      }),
    )
  })

  it('a prefill chunk is as large as the pace allows beside what decodes, counting what it granted', () => {
    const asked: [number, number, number][] = []
    const pace: Pace = {
      begin:
        ({ decoding }) =>
        (base, most) => {
          asked.push([decoding, base, most])
          return Math.min(most, asked.length === 1 ? 16 : 3)
        },
    }
    const scheduler = createScheduler(limits, pace)
    const [a, b] = [sequence('a', 1), sequence('b', 50)]
    for (const next of [a, b]) scheduler.enqueue(next)
    finishStep(scheduler.schedule())
    const rows = scheduler.schedule().map(({ sequence: { id }, tree }) => [id, tree.tokens.length])
    assert.deepEqual(rows, [
      ['a', 1],
      ['b', 3],
    ])
    assert.deepEqual(asked, [
      [1, 0, 16],
      [1, 16, 16],
    ])
  })

  it('preempts the youngest where the KV cache is full, and runs it again later (Z2, Z3)', () => {
    const scheduler = createScheduler({ ...limits, kvTokens: 64 })
    const [old, young] = [sequence('old', 20), sequence('young', 20)]
    for (const next of [old, young]) scheduler.enqueue(next)
    while (scheduler.preemptions === 0) finishStep(scheduler.schedule())
    assert.deepEqual(
      scheduler.running.map(({ id }) => id),
      ['old'],
    )
    assert.deepEqual([scheduler.waiting[0]?.id, young.base, young.epoch], ['young', 0, 0])
    scheduler.remove(old)
    assert.deepEqual(
      scheduler.schedule().map(({ sequence: { id } }) => id),
      ['young'],
    )
  })

  it('any workload ends, and gives every block back', () => {
    const job = fc.record({ prompt: fc.integer({ min: 1, max: 60 }), output: fc.integer({ min: 1, max: 40 }) })
    fc.assert(
      fc.property(fc.array(job, { maxLength: 12 }), fc.integer({ min: 112, max: 400 }), (jobs, kvTokens) => {
        const scheduler = createScheduler({ ...limits, kvTokens })
        const wanted = new Map(jobs.map(({ prompt, output }, i): [string, number] => [`s${i}`, prompt + output]))
        jobs.forEach(({ prompt }, i) => scheduler.enqueue(sequence(`s${i}`, prompt)))
        let steps = 0
        for (let rows = scheduler.schedule(); rows.length > 0; rows = scheduler.schedule()) {
          assert.ok((steps += 1) < 20_000, 'it ends')
          assert.ok(scheduler.blocks.used <= scheduler.blocks.capacity)
          for (const { sequence: s, tree } of rows) scheduler.note(s, s.base + tree.tokens.length)
          finishStep(rows)
          for (const ran of [...scheduler.running])
            if (isDecoding(ran) && ran.tokens.length >= (wanted.get(ran.id) ?? 0)) scheduler.retire(ran)
          assert.ok(scheduler.blocks.used + scheduler.blocks.kept <= scheduler.blocks.capacity)
        }
        assert.ok(scheduler.blocks.kept <= scheduler.blocks.capacity / 2, 'half of the room at most is kept (Z5)')
        assert.deepEqual([scheduler.blocks.used, scheduler.running.length, scheduler.waiting.length], [0, 0, 0])
      }),
      { numRuns: 100 },
    )
  })
})

describe('the scheduler with prefixes', () => {
  const room = { ...limits, tokenBudget: 256, prefillChunk: 256 }
  const ended = (scheduler: ReturnType<typeof createScheduler>, id: string, promptLength: number): void => {
    const first = sequence(id, promptLength)
    scheduler.enqueue(first)
    for (const rows of [scheduler.schedule(), scheduler.schedule()]) {
      for (const planned of rows) scheduler.note(planned.sequence, planned.sequence.base + planned.tree.tokens.length)
      finishStep(rows)
    }
    scheduler.retire(first)
  }

  it('starts behind what an ended sequence has computed, and computes one row at least (P1)', () => {
    const scheduler = createScheduler(room)
    ended(scheduler, 'a', 200)
    const [same] = [sequence('b', 200)]
    scheduler.enqueue(same)
    const [rows] = scheduler.schedule()
    assert.deepEqual(rows?.sequence.prefix, { sequence: 'a', length: 192 })
    assert.deepEqual([rows.tree.tokens.length, same.cachedTokens], [8, 192])
  })

  it('counts a shared page once, and gives kept ones up for room', () => {
    const scheduler = createScheduler({ ...room, kvTokens: 512 }) // 32 blocks
    ended(scheduler, 'a', 200)
    assert.deepEqual([scheduler.blocks.used, scheduler.blocks.kept], [0, 13])
    scheduler.enqueue(sequence('b', 200))
    scheduler.schedule()
    assert.deepEqual([scheduler.blocks.used, scheduler.blocks.kept], [13, 5]) // one page of eight is the same
    const other = sequence('c', 290)
    other.tokens.reverse()
    scheduler.enqueue(other)
    scheduler.schedule()
    assert.deepEqual([scheduler.takeReleased(), scheduler.blocks.used, scheduler.blocks.kept], [['a'], 32, 0])
  })

  it('does not trust a prefix again that the worker refused', () => {
    const scheduler = createScheduler(room)
    ended(scheduler, 'a', 64)
    const next = sequence('b', 64)
    scheduler.enqueue(next)
    scheduler.schedule()
    scheduler.refuse(next)
    const [rows] = scheduler.schedule()
    assert.deepEqual([rows?.sequence.prefix, rows?.tree.tokens.length], [undefined, 64])
  })
})

describe('createKvBlocks', () => {
  it('counts shared and kept blocks once, and ends at nothing (B1, B2)', () => {
    const action = fc.record({
      what: fc.constantFrom('reserve', 'share', 'keep', 'release'),
      id: fc.nat(5),
      other: fc.nat(5),
      tokens: fc.integer({ min: 1, max: 400 }),
    } as const)
    fc.assert(
      fc.property(fc.array(action, { maxLength: 80 }), (actions) => {
        const blocks = createKvBlocks(1600)
        const held = new Map<string, { tokens: number; isKept: boolean }>()
        for (const { what, id, other, tokens } of actions) {
          const [name, from] = [String(id), String(other)]
          const share = held.get(name)
          if (what === 'release') {
            blocks.release(name)
            held.delete(name)
          } else if (what === 'keep') {
            blocks.keep(name)
            if (share) share.isKept = true
          } else if (what === 'reserve' && share?.isKept !== true) {
            if (blocks.reserve(name, tokens))
              held.set(name, { tokens: Math.max(tokens, share?.tokens ?? 0), isKept: false })
          } else if (what === 'share' && share === undefined && held.has(from)) {
            const length = Math.min(tokens, held.get(from)?.tokens ?? 0)
            blocks.share(from, name, length)
            held.set(name, { tokens: length, isKept: false })
          }
          assert.ok(blocks.used >= 0 && blocks.kept >= 0 && blocks.used + blocks.kept <= blocks.capacity)
        }
        for (let id = 0; id <= 5; id++) blocks.release(String(id))
        assert.deepEqual([blocks.used, blocks.kept], [0, 0])
      }),
    )
  })

  it('never holds more than its capacity, and gives back once (B1, B2)', () => {
    const action = fc.tuple(fc.nat(4), fc.nat(300), fc.boolean())
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
        const blocks = createKvBlocks(320)
        for (const [id, tokens, isRelease] of actions) {
          if (isRelease) blocks.release(String(id))
          else blocks.reserve(String(id), tokens)
          assert.ok(blocks.used >= 0 && blocks.used <= blocks.capacity)
        }
        for (let id = 0; id <= 4; id++) blocks.release(String(id))
        assert.equal(blocks.used, 0)
      }),
    )
  })
})

describe('createRequestLog', () => {
  const accepted = {
    kind: 'accepted',
    requestId: 'r',
    model: 'm',
    createdUnixMs: 0,
    promptTokens: 1,
    cachedTokens: 0,
    fingerprint: 'f',
    seed: 1n,
  } as const
  const chunk = (offset: number) =>
    ({
      kind: 'chunk',
      choice: 0,
      offset,
      tokenIds: [offset],
      text: String(offset),
      textEnds: [1],
      logprobs: [],
    }) as const
  const never = new AbortController().signal

  it('a late reader gets the same tokens and text', async () => {
    const log = createRequestLog(systemClock)
    log.append(accepted)
    const early = log.read(never)
    await early.next()
    for (const offset of [0, 1, 2]) log.append(chunk(offset))
    log.close()
    const seen: number[] = []
    for await (const event of early) if (event.kind === 'chunk') seen.push(...event.tokenIds)
    const late: string[] = []
    for await (const event of log.read(never)) if (event.kind === 'chunk') late.push(event.text)
    assert.deepEqual([seen, late.join('')], [[0, 1, 2], '012'])
  })

  it('tells when the last reader left before the end', async () => {
    const log = createRequestLog(systemClock)
    let isAbandoned = false
    log.onAbandoned(() => (isAbandoned = true))
    log.append(accepted)
    const [first, second] = [log.read(never), log.read(never)]
    await first.next()
    await second.next()
    await first.return(undefined)
    assert.equal(isAbandoned, false)
    await second.return(undefined)
    assert.equal(isAbandoned, true)
  })
})
