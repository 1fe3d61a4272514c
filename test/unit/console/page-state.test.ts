// What the console page makes of the frames of its feed.

import assert from 'node:assert/strict'
import { imbalance } from '../../../console/state/expert-window.js'
import { applyFrame, EMPTY_PAGE, requestToShow, sortRows, type PageState } from '../../../console/state/page-state.js'
import type { ConsoleFrame, RequestRow, SeriesPoint, WatchedRequest } from '../../../lib/console/frame.js'

const cluster: ConsoleFrame['cluster'] = {
  epoch: 1,
  isReady: true,
  processes: [],
  running: 0,
  waiting: 0,
  kvUsage: 0,
  placement: { shards: 8, replicas: 1, copies: 1 },
}

const hello: NonNullable<ConsoleFrame['hello']> = {
  version: '0',
  router: 'router-0',
  model: 'demo',
  family: 'toy',
  weights: 'int8',
  fingerprint: 'bny-0',
  numLayers: 2,
  numExperts: 2,
  isKeyed: false,
}

const frame = (timeMs: number, parts: Partial<ConsoleFrame> = {}): ConsoleFrame => ({
  timeMs,
  cluster,
  requests: { rows: [], gone: [], hidden: 0, others: { running: 0, ended: 0 } },
  points: [],
  ...parts,
})

const row = (id: string, phase: RequestRow['phase'], startedMs = 0): RequestRow => ({
  id,
  phase,
  priority: 'normal',
  choices: 1,
  startedMs,
  promptTokens: 1,
  prefilled: 1,
  outputTokens: 1,
  ttftMs: null,
  tokensPerSecond: 1,
  tail: '',
})

const rows = (changed: readonly RequestRow[], gone: readonly string[] = []): Partial<ConsoleFrame> => ({
  requests: { rows: changed, gone, hidden: 0, others: { running: 0, ended: 0 } },
})

const point = (timeMs: number): SeriesPoint => ({
  timeMs,
  tokensPerSecond: 1,
  ttftP50: null,
  ttftP95: null,
  itlP50: null,
  itlP95: null,
  running: 0,
  waiting: 0,
  kvUsage: 0,
  steps: 0,
  flow: null,
})

const play = (frames: readonly ConsoleFrame[], from: PageState = EMPTY_PAGE): PageState =>
  frames.reduce(applyFrame, from)

describe('the console page', () => {
  it('keeps rows up to date, and drops those that are gone', () => {
    const state = play([
      frame(1, rows([row('a', 'decode'), row('b', 'waiting')])),
      frame(2, rows([row('b', 'decode')], ['a'])),
    ])
    assert.deepEqual([...state.rows.values()], [row('b', 'decode')])
  })

  it('starts rows over when the feed begins again, and repeats no point of its charts (P2)', () => {
    const before = play([frame(1, { hello, points: [point(1_000), point(2_000)], ...rows([row('old', 'decode')]) })])
    const after = play([frame(3, { hello, points: [point(1_000), point(2_000), point(3_000)] })], before)
    assert.equal(after.rows.size, 0)
    assert.deepEqual(
      after.points.map(({ timeMs }) => timeMs),
      [1_000, 2_000, 3_000],
    )
  })

  it('is bounded however long it runs (P1)', () => {
    const tree = { choice: 0, offset: 0, nodes: [], accepted: [0], bonus: '', proposed: 0, price: 0 }
    const times = { plainMs: 0, predictedMs: 0, stepMs: 0, draftMs: 0 }
    const frames = Array.from({ length: 1_000 }, (_, i) =>
      frame(i * 1_000, {
        points: [point(1 + i * 1_000)],
        experts: { columns: 2, rows: [1, 0, 0, 1] },
        watched: { id: 'a', isKnown: true, isFresh: i === 0, choices: [], trees: [{ ...tree, ...times, step: i }] },
      }),
    )
    const { points, experts, watched } = play(frames)
    assert.ok(points.length <= 600 && experts.reports.length <= 64)
    assert.ok((watched?.choices.get(0)?.trees.length ?? 0) <= 64)
    assert.deepEqual(experts.sums, [30, 0, 0, 30], 'of the last half minute')
  })

  describe('the watched request', () => {
    const part = (offset: number, texts: readonly string[], isFresh = false): Partial<ConsoleFrame> => {
      const origins = texts.map(() => 'plain')
      const steps = texts.map((_, i) => offset + i)
      const watched: WatchedRequest = {
        id: 'a',
        isKnown: true,
        isFresh,
        choices: [{ choice: 0, offset, texts, origins, steps }],
        trees: [],
      }
      return { watched }
    }
    const textOf = (state: PageState): string | undefined => state.watched?.choices.get(0)?.texts.join('')

    it('grows by what comes, each token once', () => {
      assert.equal(textOf(play([frame(1, part(0, ['a', 'b'], true)), frame(2, part(2, ['c']))])), 'abc')
    })

    it('begins again where the feed does', () => {
      assert.equal(textOf(play([frame(1, part(0, ['a', 'b'], true)), frame(2, part(0, ['x'], true))])), 'x')
    })
  })

  it('shows what runs first, the newest on top', () => {
    const list = [row('ended', 'finished', 9), row('old', 'decode', 1), row('new', 'waiting', 5)]
    assert.deepEqual(
      sortRows(list).map(({ id }) => id),
      ['new', 'old', 'ended'],
    )
  })

  it('follows a running request to its end, then turns to one that runs; a choice stands', () => {
    const table = (...list: RequestRow[]) => new Map(list.map((one) => [one.id, one]))
    const both = table(row('a', 'decode', 1), row('b', 'decode', 2))
    assert.equal(requestToShow(both, { chosen: undefined, shown: 'a' }), 'a')
    const ended = table(row('a', 'finished', 1), row('b', 'decode', 2))
    assert.equal(requestToShow(ended, { chosen: undefined, shown: 'a' }), 'b')
    assert.equal(requestToShow(ended, { chosen: 'a', shown: 'a' }), 'a')
    assert.equal(requestToShow(table(row('a', 'finished', 1)), { chosen: undefined, shown: 'a' }), 'a')
  })

  it('tells an expert worker’s rows per second over a second or more', () => {
    const worker = (count: number) => ({
      ...cluster,
      processes: [
        {
          role: 'expert-worker',
          id: 'e',
          pid: 1,
          state: 'ready' as const,
          deviceClass: '',
          shards: [],
          load: { rows: count },
        },
      ],
    })
    const state = play([
      frame(0, { cluster: worker(100) }),
      frame(500, { cluster: worker(200) }),
      frame(2_000, { cluster: worker(500) }),
    ])
    assert.equal(state.rates.get('e 1')?.perSecond, 200)
  })

  it('says how uneven a layer is', () => {
    assert.equal(imbalance([2, 2, 2, 2]), 1)
    assert.equal(imbalance([8, 0, 0, 0]), 4)
    assert.equal(imbalance([0, 0]), 0)
  })
})
