// Spans that were not chosen, of processes in which no request begins: held until a router keeps their trace.

import { SpanStatusCode } from '@opentelemetry/api'
import {
  AlwaysOffSampler,
  BasicTracerProvider,
  type ReadableSpan,
  type SpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import assert from 'node:assert/strict'
import { holdRecent } from '../../../lib/tracing/recent-spans.js'
import { recordingAll } from '../../../lib/tracing/slow-or-failed.js'
import { holdUnsampled, inHopSpan } from '../../../lib/tracing/spans.js'

const traceIdOf = (trace: number): string => String(trace).padStart(32, '0')
const parentOf = (trace: number, flags = '00'): string => `00-${traceIdOf(trace)}-b7ad6b7169203331-${flags}`

describe('recent spans', () => {
  const begin = () => {
    const ended: ReadableSpan[] = []
    const next = { onEnd: (span: ReadableSpan) => void ended.push(span) } as SpanProcessor // all that is called
    const clock = { ms: Date.now() }
    const holding = holdRecent([next], () => clock.ms)
    const provider = new BasicTracerProvider({
      sampler: recordingAll(new AlwaysOffSampler()),
      spanProcessors: [holding],
    })
    const tracer = holdUnsampled(provider.getTracer('test'))
    const hop = (name: string, parent: string | undefined): Promise<string | undefined> =>
      inHopSpan(tracer, name, parent, (own) => Promise.resolve(own))
    return { ...holding, hop, clock, names: () => ended.splice(0).map(({ name }) => name), ended }
  }

  it('go out when their trace is kept, once, as if they had been chosen; so does what comes of it', async () => {
    const { hop, keep, names, ended } = begin()
    await hop('first', parentOf(1))
    await hop('other', parentOf(2))
    await hop('second', parentOf(1))
    assert.deepEqual(names(), [])
    keep([traceIdOf(1), traceIdOf(9)])
    assert.deepEqual(
      ended.map((span) => span.spanContext().traceFlags),
      [1, 1],
    )
    assert.deepEqual(names(), ['first', 'second'])
    await hop('third', parentOf(1))
    keep([traceIdOf(1)])
    assert.deepEqual(names(), ['third'])
  })

  it('are held again once nobody has spoken of their trace for a while, and go out when somebody does', async () => {
    const { hop, keep, names, clock } = begin()
    keep([traceIdOf(1)])
    clock.ms -= 60_000 // it was a minute ago
    keep([traceIdOf(1)])
    clock.ms += 60_000
    await hop('later', parentOf(1))
    assert.deepEqual(names(), [])
    keep([traceIdOf(1)])
    assert.deepEqual(names(), ['later'])
  })

  it('are the latest 8192 (R1)', async () => {
    const { hop, keep, names } = begin()
    for (let i = 0; i < 8_200; i++) await hop(String(i), parentOf(1 + (i % 2)))
    keep([traceIdOf(1), traceIdOf(2)])
    const found = names()
    assert.deepEqual([found.length, found[0], found.at(-1)], [8_192, '8', '8199'])
  })

  it('are parents of what follows, which is told that they were not chosen', async () => {
    const own = await begin().hop('hop', parentOf(1))
    assert.match(own ?? '', new RegExp(`^00-${traceIdOf(1)}-(?!b7ad6b7169203331)[0-9a-f]{16}-00$`))
  })

  it('are none without a parent, and what fails is told on them', async () => {
    const { hop, keep, ended, ...rest } = begin()
    await hop('orphan', undefined)
    keep([traceIdOf(0)])
    assert.deepEqual(rest.names(), [])
    const tracer = holdUnsampled(
      new BasicTracerProvider({
        sampler: recordingAll(new AlwaysOffSampler()),
        spanProcessors: [rest],
      }).getTracer('test'),
    )
    await assert.rejects(inHopSpan(tracer, 'failing', parentOf(3), () => Promise.reject(new Error('no rows'))))
    keep([traceIdOf(3)])
    assert.deepEqual(
      ended.map(({ status }) => status.code),
      [SpanStatusCode.ERROR],
    )
  })
})
