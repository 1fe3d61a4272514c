// When requests are sent: plans, and the runner that keeps them, in virtual time.

import assert from 'node:assert/strict'
import {
  distribution,
  planReplay,
  replay,
  summarise,
  type AnswerEvent,
  type Pace,
  type Plan,
  type ReplayClient,
  type Trace,
  type TraceRequest,
} from '../../../replay/src/index.js'
import { createVirtualClock, type VirtualClock } from './virtual-clock.js'

const request = (id: string, arrivalMs: number, more: Partial<TraceRequest> = {}): TraceRequest => ({
  id,
  arrivalMs,
  prompt: { kind: 'tokens', tokens: [1] },
  sampling: {},
  outputTokens: 1,
  ...more,
})

const traceOf = (requests: readonly TraceRequest[]): Trace => ({ format: 'toy', files: [], requests, skipped: [] })
const evenly = (count: number, gapMs: number): Trace =>
  traceOf(Array.from({ length: count }, (_, i) => request(`r${i}`, i * gapMs)))
const RECORDED: Pace = { kind: 'recorded', speedup: 1 }
const rate = (arrival: 'poisson' | 'gamma' | 'constant', burstiness = 1): Pace => ({
  kind: 'rate',
  perSecond: 50,
  arrival,
  burstiness,
  seed: 7,
})

const timesOf = ({ requests }: Plan): number[] => requests.map(({ atMs }) => atMs)

/** Answers each request after so long, with one token. */
function slowClient(clock: VirtualClock, durationMs: (id: string) => number) {
  const state = { running: 0, most: 0, sent: [] as number[] }
  const client: ReplayClient = {
    prepare: ({ prompt }) =>
      async function* (signal): AsyncGenerator<AnswerEvent> {
        state.sent.push(clock.monotonicMs())
        state.running += 1
        state.most = Math.max(state.most, state.running)
        const id = prompt.kind === 'text' ? prompt.text : ''
        await new Promise<void>((resolve) => {
          const cancel = clock.after(durationMs(id), resolve)
          signal.addEventListener('abort', () => (cancel(), resolve()))
        })
        state.running -= 1
        yield { type: 'output', choice: 0, text: 'a', tokenIds: [1] }
        yield { type: 'finished', choice: 0, reason: 'length' }
      },
    close: () => undefined,
  }
  return { client, state }
}

const run = (plan: Plan, clock: VirtualClock, client: ReplayClient, more = {}) =>
  clock.until(replay(plan, { client, clock, ...more }))

describe('the schedule of a replay', () => {
  it('keeps recorded times, faster by a factor, and cuts a window that begins at 0', () => {
    const trace = evenly(10, 100)
    assert.deepEqual(
      timesOf(planReplay(trace, { pace: { kind: 'recorded', speedup: 2 } })),
      [0, 50, 100, 150, 200, 250, 300, 350, 400, 450],
    )
    const cut = planReplay(trace, { pace: RECORDED, startMs: 250, endMs: 800, limit: 3 })
    assert.deepEqual(
      cut.requests.map(({ request: { id } }) => id),
      ['r3', 'r4', 'r5'],
    )
    assert.deepEqual(timesOf(cut), [0, 100, 200])
    assert.equal(planReplay(trace, { pace: RECORDED }).requestedRate, 10)
  })

  it('draws gaps of the wanted mean and burstiness, the same for a seed', () => {
    const trace = evenly(20_000, 1)
    const gapsOf = (pace: Pace): number[] => {
      const times = timesOf(planReplay(trace, { pace }))
      return times.slice(1).map((time, i) => time - (times[i] ?? 0))
    }
    for (const [pace, variation] of [
      [rate('constant'), 0],
      [rate('poisson'), 1],
      [rate('gamma', 4), 0.5],
      [rate('gamma', 0.25), 2],
    ] as const) {
      const gaps = gapsOf(pace)
      const { avg = 0, std = 0 } = distribution(gaps) ?? {}
      assert.ok(Math.abs(avg - 20) < 0.8, `mean gap ${avg} of ${JSON.stringify(pace)}`)
      assert.ok(Math.abs(std / avg - variation) < 0.06 * Math.max(1, variation), `CV ${std / avg}, want ${variation}`)
      assert.deepEqual(gaps, gapsOf(pace))
    }
  })

  it('wants a rate for a trace without times, and something to send', () => {
    assert.throws(
      () => planReplay({ ...evenly(3, 0), isUntimed: true }, { pace: RECORDED }),
      /want a rate or a concurrency/,
    )
    assert.throws(() => planReplay(evenly(3, 10), { pace: RECORDED, startMs: 1000 }), /none between start and end/)
  })

  it('open loop: sends when due, however slow the answers are, and measures from when it was due', async () => {
    const clock = createVirtualClock()
    const { client, state } = slowClient(clock, () => 1000)
    const result = await run(planReplay(evenly(20, 10), { pace: RECORDED }), clock, client)
    assert.deepEqual(
      state.sent,
      Array.from({ length: 20 }, (_, i) => i * 10),
    )
    assert.equal(state.most, 20)
    const { figures, lateness } = summarise(result)
    assert.equal(figures.request_latency?.avg, 1000)
    assert.deepEqual(lateness, { p50: 0, p90: 0, p99: 0, max: 0 })
  })

  it('tells how late it was itself, and counts that into the latencies', async () => {
    const clock = createVirtualClock()
    const { client } = slowClient(clock, () => 5)
    const running = replay(planReplay(evenly(10, 10), { pace: RECORDED }), { client, clock })
    clock.after(25, () => clock.stall(40)) // requests due at 30, 40, 50 and 60 go out at 65
    const { figures, lateness } = summarise(await clock.until(running))
    assert.equal(lateness?.max, 35)
    assert.equal(figures.time_to_first_token?.max, 40)
    assert.equal(figures.time_to_first_token_from_send?.max, 5)
  })

  it('open loop at its bound: gives up what is due instead of holding it back, and says so', async () => {
    const clock = createVirtualClock()
    const { client, state } = slowClient(clock, () => 1000)
    const result = await run(planReplay(evenly(20, 10), { pace: RECORDED }), clock, client, { maxInFlight: 5 })
    assert.equal(state.most, 5)
    const { figures, failures } = summarise(result)
    assert.equal(figures.in_flight_limit_count?.avg, 15)
    assert.deepEqual(
      failures.map(({ kind, count }) => [kind, count]),
      [['in_flight_limit', 15]],
    )
  })

  it('closed loop: never more at a time than asked for, and always as many', async () => {
    const clock = createVirtualClock()
    const { client, state } = slowClient(clock, () => 100)
    const result = await run(planReplay(evenly(20, 5), { pace: { kind: 'concurrency', limit: 4 } }), clock, client)
    assert.equal(state.most, 4)
    assert.deepEqual(
      state.sent,
      Array.from({ length: 20 }, (_, i) => Math.floor(i / 4) * 100),
    )
    assert.equal(summarise(result).lateness, undefined)
  })

  it('sessions: a turn waits for the one before it and its think time, capped; others do not', async () => {
    const clock = createVirtualClock()
    const { client } = slowClient(clock, () => 300)
    const turns = [
      request('a1', 0, { session: 'a' }),
      request('b1', 10),
      request('a2', 20, { session: 'a', delayMs: 50 }),
      request('a3', 30, { session: 'a', delayMs: 9000 }),
      request('a4', 5000, { session: 'a' }), // think time not told: not before its recorded time
    ]
    const plan = planReplay(traceOf(turns), { pace: RECORDED, sessions: { maxThinkMs: 1000 } })
    const { answers } = await run(plan, clock, client)
    const sent = Object.fromEntries(answers.map(({ dispatch }) => [dispatch.planned.request.id, dispatch.sentMs]))
    assert.deepEqual(sent, { a1: 0, b1: 10, a2: 350, a3: 1650, a4: 5000 })
    assert.deepEqual(
      answers.map(({ dispatch: { planned } }) => [planned.sessionNum, planned.turnIndex]),
      [
        [0, 0],
        [1, 0],
        [0, 1],
        [0, 2],
        [0, 3],
      ],
    )
  })

  it('sessions: think time that is not told is the gap from the recorded end of the turn before', async () => {
    const clock = createVirtualClock()
    const { client } = slowClient(clock, () => 300)
    const turns = [
      request('a1', 0, { session: 'a', durationMs: 100 }),
      request('b1', 50, { session: 'b', durationMs: 500 }),
      request('a2', 140, { session: 'a', durationMs: 10 }),
      request('b2', 150, { session: 'b' }), // came before the answer to b1 had ended
      request('a3', 9000, { session: 'a' }),
    ]
    for (const [pace, sent] of [
      [RECORDED, { a1: 0, b1: 50, a2: 340, b2: 350, a3: 1640 }],
      [
        { ...RECORDED, speedup: 2 },
        { a1: 0, b1: 25, a2: 320, b2: 325, a3: 1620 },
      ],
    ] as const) {
      const plan = planReplay(traceOf(turns), { pace, sessions: { maxThinkMs: 1000 } })
      const { answers } = await run(plan, clock, client)
      const found = answers.map(({ dispatch }) => [dispatch.planned.request.id, dispatch.sentMs])
      assert.deepEqual(Object.fromEntries(found), sent)
      assert.equal(plan.requestedRate, (4 * 1000 * pace.speedup) / 9000)
    }
  })

  it('an interruption sends nothing more, ends what runs, and keeps what was done', async () => {
    const clock = createVirtualClock()
    const { client, state } = slowClient(clock, () => 100)
    const stop = new AbortController()
    clock.after(155, () => stop.abort())
    const result = await run(planReplay(evenly(50, 10), { pace: RECORDED }), clock, client, { signal: stop.signal })
    assert.equal(state.sent.length, 16)
    const { figures, wasCancelled } = summarise(result)
    assert.equal(wasCancelled, true)
    assert.deepEqual([figures.request_count?.avg, figures.cancelled_request_count?.avg], [6, 10])
  })

  it('ends a request at each of its time limits', async () => {
    const clock = createVirtualClock()
    const chunks = [1, 1, 1, 1].map((tokenId): AnswerEvent => ({
      type: 'output',
      choice: 0,
      text: 'a',
      tokenIds: [tokenId],
    }))
    const gap = (ms: number): ReplayClient => ({
      prepare: () =>
        async function* () {
          for (const event of chunks) {
            yield event
            await new Promise<void>((resolve) => void clock.after(ms, resolve))
          }
        },
      close: () => undefined,
    })
    const silent: ReplayClient = {
      prepare: () => () => ({ [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined) }) }),
      close: () => undefined,
    }
    const limits = { firstByteMs: 100, chunkMs: 200, requestMs: 500 }
    const plan = planReplay(evenly(1, 0), { pace: RECORDED })
    const kindOf = async (client: ReplayClient) =>
      (await run(plan, clock, client, { limits })).answers[0]?.failure?.kind
    assert.equal(await kindOf(silent), 'first_byte_timeout')
    assert.equal(await kindOf(gap(201)), 'chunk_timeout')
    assert.equal(await kindOf(gap(190)), 'request_timeout')
    assert.equal(await kindOf(gap(50)), undefined)
  })
})
