// What consoles are told: frames that lose nothing however seldom they are taken, and nothing of anybody else's.

import assert from 'node:assert/strict'
import { createManualClock, type ManualClock } from '../../../../lib/actor/clock.js'
import type { ConsoleFrame } from '../../../../lib/console/frame.js'
import {
  createConsole,
  MAX_VIEWS,
  MAX_VIEWS_OF_KEY,
  type Console,
} from '../../../../services/router/console/console.js'
import { createGathering, type Gathering } from '../../../../services/router/console/gathering.js'
import type { BareStepTree } from '../../../../services/router/sequence.js'
import { createRequests, type RequestRecord, type Requests } from '../../../../services/router/requests.js'
import { createTestSequence, type TestSequence } from '../sequences.js'

interface Bench {
  readonly clock: ManualClock
  readonly gathering: Gathering
  readonly requests: Requests
  readonly console: Console
}

function createBench(): Bench {
  const clock = createManualClock(1_000)
  const gathering = createGathering(clock)
  const requests = createRequests({
    clock,
    cancelSequences: () => undefined,
    onForgotten: () => undefined,
    onResume: () => undefined,
  })
  const console = createConsole({
    clock,
    gathering,
    hello: () => ({
      version: '0',
      router: 'router-0',
      model: 'demo',
      family: 'toy',
      weights: 'f32',
      fingerprint: 'bny-0',
      numLayers: 1,
      numExperts: 2,
    }),
    cluster: () => ({
      epoch: 1,
      isReady: true,
      processes: [],
      running: 1,
      waiting: 0,
      kvUsage: 0.5,
      placement: { shards: 1, replicas: 1, copies: 1 },
    }),
    records: () => requests.all(),
    find: (tenant, id) => requests.get(tenant, id),
    tokenText: (token) => `t${token}`,
  })
  return { clock, gathering, requests, console }
}

/** A request of one choice that has been accepted, and its sequence. */
function begin({ requests }: Bench, id: string, tenant = ''): { record: RequestRecord; sequence: TestSequence } {
  const record = requests.open({ id, tenant, bodyHash: '', deadlineMs: undefined })
  const sequence = createTestSequence(`${id}.0`, [1, 2, 3])
  record.sequences = [sequence]
  record.numChoices = record.numOpen = 1
  record.log.append({
    kind: 'accepted',
    requestId: id,
    model: 'demo',
    createdUnixMs: 1_000,
    promptTokens: 3,
    cachedTokens: 0,
    fingerprint: 'bny-0',
    seed: 1n,
  })
  return { record, sequence }
}

/** Two drafted nodes, of which the first came true, and the bonus token. */
const tree: BareStepTree = {
  nodes: [
    { token: 3, parent: -1, value: 1, sources: [] },
    { token: 10, parent: 0, value: 0.9, sources: ['ngram', 'suffix'] },
    { token: 11, parent: 1, value: 0.5, sources: ['ngram'] },
  ],
  accepted: [0, 1],
  proposed: 4,
  price: 0.2,
  plainMs: 1,
  predictedMs: 2,
  stepMs: 2,
  draftMs: 0.5,
}

/** A step's tokens, as the step loop tells and emits them. */
function emit(
  bench: Bench,
  { record, sequence }: ReturnType<typeof begin>,
  step: number,
  tokens: readonly number[],
): void {
  const offset = sequence.tokens.length - sequence.promptLength
  if (bench.gathering.isOpen)
    bench.gathering.emitted(sequence, `router-0.x.${step}`, tokens, tokens.length > 1 ? tree : undefined)
  sequence.tokens.push(...tokens)
  record.log.append({
    kind: 'chunk',
    choice: 0,
    offset,
    tokenIds: tokens,
    text: tokens.map((token) => `t${token}`).join(''),
    textEnds: tokens.map((_, i) => (i + 1) * 3),
    logprobs: [],
  })
}

const viewer = (request?: string, tenant = '', console = 'one') => ({ tenant, console, request })
const idsOf = (frame: ConsoleFrame): string[] => frame.requests.rows.map(({ id }) => id)

describe('a console', () => {
  it('gathers nothing before the first one opens, nor after the last one has left for a while', () => {
    const { console, gathering, clock } = createBench()
    assert.equal(gathering.isOpen, false)
    const view = console.open(viewer())
    assert.equal(gathering.isOpen, true)
    view.close()
    assert.equal(gathering.isOpen, true, 'it may open anew')
    clock.advance(60_000)
    assert.equal(gathering.isOpen, false)
    assert.equal(clock.numTimers, 0)
  })

  it('tells each token of the watched request once, however seldom it is asked (C1)', () => {
    const bench = createBench()
    const request = begin(bench, 'a')
    const view = bench.console.open(viewer('a'))
    const frames = [view.next()]
    emit(bench, request, 1, [20])
    frames.push(view.next(), view.next())
    emit(bench, request, 2, [10, 12])
    emit(bench, request, 3, [13])
    frames.push(view.next())
    const parts = frames.flatMap(({ watched }) => watched?.choices ?? [])
    assert.deepEqual(parts, [
      { choice: 0, offset: 0, texts: ['t20'], origins: ['plain'], steps: [1] },
      {
        choice: 0,
        offset: 1,
        texts: ['t10', 't12', 't13'],
        origins: ['ngram+suffix', 'bonus', 'plain'],
        steps: [2, 2, 3],
      },
    ])
  })

  it('a long request comes in frames of a bounded size, also when its log is joined meanwhile', () => {
    const bench = createBench()
    const request = begin(bench, 'a')
    const view = bench.console.open(viewer('a'))
    const tokens = Array.from({ length: 3_000 }, (_, i) => 10 + (i % 90))
    for (let i = 0; i < tokens.length; i += 7) emit(bench, request, i, tokens.slice(i, i + 7))
    const first = view.next().watched?.choices[0]?.texts ?? []
    assert.equal(first.length, 1_024)
    request.record.log.close()
    const rest = [view.next(), view.next(), view.next()].flatMap(({ watched }) => watched?.choices[0]?.texts ?? [])
    assert.deepEqual(
      [...first, ...rest],
      tokens.map((token) => `t${token}`),
    )
  })

  it('shows the watched request’s trees with texts and what came true, and nobody else’s', () => {
    const bench = createBench()
    const [request, other] = [begin(bench, 'a'), begin(bench, 'b')]
    const view = bench.console.open(viewer('a'))
    view.next()
    emit(bench, other, 1, [10, 12])
    emit(bench, request, 1, [10, 12])
    const [shown, ...rest] = view.next().watched?.trees ?? []
    assert.deepEqual(rest, [])
    assert.deepEqual(
      shown?.nodes.map(({ text }) => text),
      ['t3', 't10', 't11'],
    )
    assert.deepEqual([shown?.accepted, shown?.bonus, shown?.offset, shown?.step], [[0, 1], 't12', 0, 1])
    assert.deepEqual(view.next().watched?.trees, [])
  })

  it('that opens late knows the text, and says that it does not know how it came', () => {
    const bench = createBench()
    const request = begin(bench, 'a')
    emit(bench, request, 1, [20])
    const view = bench.console.open(viewer('a'))
    emit(bench, request, 2, [21])
    assert.deepEqual(view.next().watched?.choices[0]?.origins, ['', 'plain'])
  })

  it('tells only what changed of the list, and what is gone from it', () => {
    const bench = createBench()
    const request = begin(bench, 'a')
    begin(bench, 'b')
    const view = bench.console.open(viewer())
    assert.deepEqual(idsOf(view.next()), ['a', 'b'])
    assert.deepEqual(idsOf(view.next()), [])
    emit(bench, request, 1, [20])
    assert.deepEqual(idsOf(view.next()), ['a'])
  })

  it('shows requests of the caller’s own key, and how many others there are (C4)', () => {
    const bench = createBench()
    begin(bench, 'mine', 'me')
    begin(bench, 'secret', 'somebody')
    const view = bench.console.open(viewer('secret', 'me'))
    const frame = view.next()
    assert.deepEqual(idsOf(frame), ['mine'])
    assert.deepEqual(frame.requests.others, { running: 1, ended: 0 })
    assert.equal(frame.watched?.isKnown, false)
    assert.equal(JSON.stringify(frame.requests).includes('secret'), false)
  })

  it('lists a bounded number of requests and counts the rest (C2)', () => {
    const bench = createBench()
    for (let i = 0; i < 300; i++) begin(bench, `r${i}`)
    const { requests } = bench.console.open(viewer()).next()
    assert.ok(requests.rows.length <= 200)
    assert.equal(requests.rows.length + requests.hidden, 300)
    assert.ok(
      requests.rows.some(({ id }) => id === 'r299'),
      'the newest are shown',
    )
  })

  it('points of the charts are told once, also to who missed frames; latencies come from tokens', () => {
    const bench = createBench()
    const request = begin(bench, 'a')
    const view = bench.console.open(viewer())
    view.next()
    bench.clock.advance(100)
    emit(bench, request, 1, [20])
    bench.clock.advance(40)
    emit(bench, request, 2, [10, 12])
    bench.clock.advance(1_000)
    const other = bench.console.open(viewer(undefined, '', 'two'))
    assert.equal(other.next().points.length, 1)
    const [point, ...rest] = view.next().points
    assert.deepEqual(rest, [])
    assert.equal(point?.itlP50, 20)
    assert.equal(point?.ttftP50, 1_100, 'since the sequence was made')
    assert.deepEqual(view.next().points, [])
  })

  it('is one of a few; one that opens anew takes its own place', () => {
    const { console } = createBench()
    const views = Array.from({ length: MAX_VIEWS }, (_, i) => console.open(viewer(undefined, '', `c${i}`)))
    assert.throws(() => console.open(viewer(undefined, '', 'more')), { code: 'resource_exhausted' })
    console.open(viewer('a', '', 'c0'))
    assert.equal(views[0]?.isClosed, true)
    views[1]?.close()
    console.open(viewer(undefined, '', 'more'))
  })

  it('one key cannot keep the others out', () => {
    const { console } = createBench()
    for (let i = 0; i < MAX_VIEWS_OF_KEY; i++) console.open(viewer(undefined, 'mine', `c${i}`))
    assert.throws(() => console.open(viewer(undefined, 'mine', 'more')), { code: 'resource_exhausted' })
    console.open(viewer(undefined, 'mine', 'c0'))
    console.open(viewer(undefined, 'yours', 'c0'))
  })

  it('asks each worker for details once a second, and sooner after a pause', () => {
    const { console, gathering, clock } = createBench()
    console.open(viewer())
    const askedMs = (stepMs: number, numSteps: number): number[] =>
      Array.from({ length: numSteps }, (_, i) => {
        if (i > 0) clock.advance(stepMs)
        return gathering.takeDetail('attention-0') ? i * stepMs : []
      }).flat()
    assert.deepEqual(askedMs(10, 400), [0, 50, 150, 350, 750, 1_550, 2_550, 3_550])
    clock.advance(5_000)
    assert.deepEqual(askedMs(10, 20), [0, 50, 150])
    assert.equal(gathering.takeDetail('attention-1'), true)
  })

  it('ends with its router', () => {
    const { console, gathering } = createBench()
    const view = console.open(viewer())
    console.stop()
    assert.equal(view.isClosed, true)
    assert.equal(gathering.isOpen, false)
  })
})
