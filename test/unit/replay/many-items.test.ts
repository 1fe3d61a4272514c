// What must neither overflow the stack, nor take ages, nor hide what stands out, where there is very much of it.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readTrace } from '../../../replay/src/read-trace.js'
import { extremes } from '../../../replay/src/page/charts.js'
import { drawWaterfall } from '../../../replay/src/show/draw-waterfall.js'
import { waterfallOf } from '../../../replay/src/show/waterfall.js'
import { scanFiles } from '../../../replay/src/spans/scan.js'

const MANY = 200_000

describe('very much of something', () => {
  const folder = mkdtempSync(join(tmpdir(), 'banyan-many-'))
  after(() => rmSync(folder, { recursive: true, force: true }))

  const spansIn = (count: number): string => {
    const span = {
      traceId: 'a',
      spanId: 'b',
      name: '',
      startTimeUnixNano: '1',
      endTimeUnixNano: '2',
      attributes: [{ key: 'gen_ai.usage.input_tokens', value: { intValue: '5' } }],
    }
    const spans = new Array<unknown>(count).fill(span)
    return JSON.stringify({ resourceSpans: [{ resource: {}, scopeSpans: [{ scope: {}, spans }] }] })
  }

  it('equal ids are told apart in linear time', async () => {
    const row = JSON.stringify({ timestamp: 0, input_length: 1, output_length: 1, request_id: 'r' })
    const path = join(folder, 'equal.jsonl')
    writeFileSync(path, `${row}\n`.repeat(30_000))
    const ids = (await readTrace(path)).requests.map(({ id }) => id)
    assert.equal(new Set(ids).size, 30_000)
  })

  it('spans of one line that is longer than what is read at once', async () => {
    const path = join(folder, 'spans.jsonl')
    writeFileSync(path, `${spansIn(5_000)}\n`)
    let numSpans = 0
    for await (const { spans } of scanFiles(path)) numSpans += spans.length
    assert.equal(numSpans, 5_000)
    assert.equal((await readTrace(path)).requests.length, 5_000)
  })

  it('events of a request', () => {
    const event = { name: 'emitted', timeMs: 5, attributes: {} }
    const root = {
      traceId: 'a',
      spanId: 'b',
      name: 'generate',
      process: 'router',
      startMs: 0,
      endMs: 10,
      attributes: {},
      events: new Array<typeof event>(MANY).fill(event),
      links: [],
      isError: false,
    }
    const waterfall = waterfallOf({ id: 'a', root, spans: [root] }, { maxRows: 10, isWhole: true })
    assert.equal(waterfall.durationMs, 10)
    assert.equal(drawWaterfall(waterfall, 100).length, MANY + 2)
  })

  it('points of a chart: few are drawn, the one that stands out among them', () => {
    const points = Array.from({ length: 100_001 }, (_, x) => ({ x, y: x === 54_321 ? 1_000 : 1 + (x % 7) }))
    const drawn = extremes(points, 500)
    assert.ok(drawn.length <= 1_004, String(drawn.length))
    assert.deepEqual([drawn[0], drawn.at(-1)], [points[0], points.at(-1)])
    assert.ok(drawn.includes(points[54_321] ?? { x: 0, y: 0 }))
    assert.ok(drawn.every(({ x }, i) => x > (drawn[i - 1]?.x ?? -1)))
  })
})
