// One request's waterfall from spans and records.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { drawWaterfall } from '../../../replay/src/show/draw-waterfall.js'
import { findRequest } from '../../../replay/src/show/find-request.js'
import { waterfallOf } from '../../../replay/src/show/waterfall.js'
import type { Span } from '../../../replay/src/spans/span.js'
import { stepSpans } from '../../../replay/src/spans/step-spans.js'
import { repositoryRoot } from '../../helpers/paths.js'

const banyanSample = join(repositoryRoot, 'test/fixtures/traces/banyan')
const EPOCH_MS = 1_763_000_000_000

interface MadeSpan {
  readonly trace?: string
  readonly id: string
  readonly parent?: string
  readonly name: string
  readonly at: readonly [number, number]
  readonly process: string
  readonly attributes?: Readonly<Record<string, string | number>>
  readonly links?: readonly (readonly [string, string])[]
  readonly events?: readonly (readonly [string, number])[]
  readonly isError?: boolean
}

const nanos = (ms: number): string => String(BigInt(EPOCH_MS + ms) * 1_000_000n)
const keyValues = (attributes: Readonly<Record<string, string | number>>): object[] =>
  Object.entries(attributes).map(([key, value]) => ({
    key,
    value: typeof value === 'number' ? { intValue: String(value) } : { stringValue: value },
  }))

const lineOf = ({
  trace = 'A',
  id,
  parent,
  name,
  at,
  process,
  attributes = {},
  links = [],
  events = [],
  isError,
}: MadeSpan): string =>
  JSON.stringify({
    resourceSpans: [
      {
        resource: { attributes: keyValues({ 'service.name': 'banyan', 'service.instance.id': process }) },
        scopeSpans: [
          {
            scope: { name: 'banyan' },
            spans: [
              {
                traceId: trace.repeat(32),
                spanId: id.padStart(16, '0'),
                ...(parent !== undefined && { parentSpanId: parent.padStart(16, '0') }),
                name,
                startTimeUnixNano: nanos(at[0]),
                endTimeUnixNano: nanos(at[1]),
                attributes: keyValues(attributes),
                links: links.map(([traceId, spanId]) => ({
                  traceId: traceId.repeat(32),
                  spanId: spanId.padStart(16, '0'),
                })),
                events: events.map(([event, ms]) => ({ name: event, timeUnixNano: nanos(ms), attributes: [] })),
                status: isError === true ? { code: 2, message: 'expert lost' } : {},
              },
            ],
          },
        ],
      },
    ],
  })

const SPANS: readonly MadeSpan[] = [
  {
    id: 'a0',
    name: 'generate tiny',
    at: [0, 100],
    process: 'router-0',
    attributes: { 'gen_ai.response.id': 'req-alpha' },
  },
  { id: 'a1', parent: 'a0', name: 'router.step', at: [10, 40], process: 'router-0', events: [['retry', 20]] },
  { id: 'a2', parent: 'a1', name: 'attention.step', at: [11, 39], process: 'attention-0' },
  {
    id: 'a3',
    parent: 'a2',
    name: 'expert.compute',
    at: [15, 25],
    process: 'expert-worker-1',
    attributes: { 'banyan.layer': 3 },
    isError: true,
  },
  {
    trace: 'B',
    id: 'b0',
    name: 'generate tiny',
    at: [5, 90],
    process: 'router-0',
    attributes: { 'gen_ai.response.id': 'req-beta' },
  },
  // A step that the other request's trace holds, but that worked for this one too.
  { trace: 'B', id: 'b1', parent: 'b0', name: 'router.step', at: [50, 80], process: 'router-0', links: [['A', 'a0']] },
  { trace: 'B', id: 'b2', parent: 'b1', name: 'attention.step', at: [51, 79], process: 'attention-0' },
  { trace: 'B', id: 'b3', parent: 'b0', name: 'router.step', at: [81, 89], process: 'router-0' },
]

describe('showing a request', () => {
  let folder = ''
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'banyan-show-'))
    writeFileSync(join(folder, 'spans-1.jsonl'), SPANS.map((span) => `${lineOf(span)}\n`).join(''))
  })
  after(() => rmSync(folder, { recursive: true }))

  const rowsOf = async (wanted: string, isWhole = false, maxRows = 100): Promise<string[]> => {
    const found = await findRequest(folder, wanted)
    return waterfallOf(found, { maxRows, isWhole }).rows.map(({ depth, name }) => `${depth} ${name}`)
  }

  it('draws request, queue, steps and what is below them, events, and steps of other traces that link to it', async () => {
    assert.deepEqual(await rowsOf('req-alpha'), [
      '0 generate tiny',
      '1 queue',
      '1 router.step',
      '2 retry',
      '2 attention.step',
      '3 expert.compute',
      '1 router.step',
      '2 attention.step',
    ])
    assert.equal((await findRequest(folder, 'req-beta')).spans.length, 4)
  })

  it('says first of a token tree how much was drafted, and how much of that came true', () => {
    const attributes = { 'banyan.sequence': 's', 'banyan.tree.nodes': 5, 'banyan.tree.accepted': [0, 2] }
    const span = { traceId: 'a', spanId: 'b', name: 'router.step', process: 'router-0', startMs: 0, endMs: 9 }
    const events = [{ name: 'banyan.tree', timeMs: 3, attributes }]
    const root: Span = { ...span, attributes: {}, links: [], events, isError: false }
    const found = { id: 'r', root, spans: [root] }
    const row = waterfallOf(found, { maxRows: 9, isWhole: false }).rows.find(({ kind }) => kind === 'event')
    assert.match(row?.detail ?? '', /^4 drafted, 1 accepted, sequence s, /)
  })

  it('finds it by id as any door writes it, by a beginning, by place', async () => {
    for (const wanted of ['req-alpha', 'cmpl-req-alpha', 'chatcmpl-req-alpha', 'req-a', '0'])
      assert.equal((await findRequest(folder, wanted)).id, 'req-alpha', wanted)
    assert.equal((await findRequest(folder, '1')).id, 'req-beta')
  })

  it('says what there is when nothing, or more than one, is meant', async () => {
    await assert.rejects(findRequest(folder, 'req-'), /found "req-" and 2 that begin so: req-alpha, req-beta/)
    await assert.rejects(findRequest(folder, '7'), /found "7" and 0 to 1 by place, or by id: req-alpha, req-beta/)
    await assert.rejects(
      findRequest(join(repositoryRoot, 'test/fixtures/traces/mooncake.jsonl'), '0'),
      /want records or spans of requests, found neither/,
    )
    await assert.rejects(findRequest(join(folder, 'nowhere'), '0'), /found nothing there/)
  })

  it('folds long requests but for the first and the slowest step', async () => {
    const folded = await rowsOf('req-beta', false, 1)
    assert.ok(folded.includes('2 attention.step'), 'the slowest is unfolded')
    const many = await findRequest(folder, 'req-alpha')
    const spans = many.spans.map((span) => (span.spanId.endsWith('b1') ? { ...span, endMs: span.startMs + 1 } : span))
    const rows = waterfallOf({ ...many, spans }, { maxRows: 1, isWhole: false }).rows
    assert.equal(
      rows
        .filter(({ kind }) => kind === 'folded')
        .map(({ name }) => name)
        .join(),
      '… 1 span',
    )
    assert.ok(
      !waterfallOf({ ...many, spans }, { maxRows: 1, isWhole: true }).rows.some(({ kind }) => kind === 'folded'),
    )
  })

  for (const width of [40, 60, 80, 200])
    it(`fits ${width} columns, bars where they belong`, async () => {
      const waterfall = waterfallOf(await findRequest(folder, 'req-alpha'), { maxRows: 100, isWhole: false })
      const lines = drawWaterfall(waterfall, width).map((line) => line.map(({ text }) => text).join(''))
      for (const line of lines) assert.ok([...line].length <= width, `${[...line].length}: ${line}`)
      const bars = lines.slice(1).map((line) => line.search(/[█░▏◆]/))
      assert.ok((bars[2] ?? 0) > (bars[0] ?? 0) && (bars[6] ?? 0) > (bars[2] ?? 0), lines.join('\n'))
    })

  it('shows errors as such', async () => {
    const { rows } = waterfallOf(await findRequest(folder, 'req-alpha'), { maxRows: 100, isWhole: false })
    const failed = rows.filter(({ isError }) => isError)
    assert.deepEqual(
      failed.map(({ name, detail }) => [name, detail]),
      [['expert.compute', 'layer 3, expert lost']],
    )
  })

  it('works with records alone: first token, streaming, tokens of each choice', async () => {
    const found = await findRequest(banyanSample, 'cmpl-0007')
    const { rows, durationMs } = waterfallOf(found, { maxRows: 100, isWhole: false })
    assert.deepEqual(
      rows.map(({ name }) => name),
      ['generate tiny', 'to the first token', 'streaming', 'tokens of choice 0', 'tokens of choice 1'],
    )
    const marks = rows[3]?.marks ?? []
    assert.deepEqual(
      marks.map(([, count]) => count),
      found.record?.choices[0]?.chunks.map(([, count]) => count),
    )
    assert.ok(durationMs >= (found.record?.endMs ?? 0))
  })

  it('takes the record that ended last where a request was left and came back', async () => {
    const again = mkdtempSync(join(tmpdir(), 'banyan-again-'))
    const { record } = await findRequest(banyanSample, 'cmpl-0000')
    const later = { ...record, endMs: (record?.endMs ?? 0) + 5, outcome: 'finished' }
    writeFileSync(
      join(again, 'r.jsonl'),
      [later, { ...record, outcome: 'cancelled' }].map((row) => `${JSON.stringify(row)}\n`).join(''),
    )
    assert.equal((await findRequest(again, '0')).record?.outcome, 'finished')
    rmSync(again, { recursive: true })
  })

  it('finds the step of a token in whatever trace it lies, the router’s and not what is below it', async () => {
    const recorded = mkdtempSync(join(tmpdir(), 'banyan-step-'))
    const { record } = await findRequest(banyanSample, 'cmpl-0000')
    const [choice] = record?.choices ?? []
    const chunks = [
      [41, 1],
      [82, 1],
    ]
    const made = { ...record, id: 'req-alpha', traceId: 'A'.repeat(32), arrivalUnixMs: EPOCH_MS }
    writeFileSync(join(recorded, 'spans-1.jsonl'), SPANS.map((span) => `${lineOf(span)}\n`).join(''))
    writeFileSync(
      join(recorded, 'requests-1.jsonl'),
      `${JSON.stringify({ ...made, choices: [{ ...choice, chunks }] })}\n`,
    )
    const stepOf = async (offset: number): Promise<readonly (readonly [number, string, number])[]> =>
      (await stepSpans(recorded, { requestId: 'req-alpha', choice: 0, offset })).map(
        ({ depth, name, durationMs }) => [depth, name, durationMs] as const,
      )
    assert.deepEqual(await stepOf(0), [
      [0, 'router.step', 30],
      [1, 'attention.step', 28],
      [2, 'expert.compute', 10],
    ])
    assert.deepEqual(await stepOf(1), [
      [0, 'router.step', 30],
      [1, 'attention.step', 28],
    ])
    assert.deepEqual(await stepOf(2), [], 'not recorded')
    rmSync(recorded, { recursive: true })
  })
})
