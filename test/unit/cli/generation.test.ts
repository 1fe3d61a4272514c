import assert from 'node:assert/strict'
import fc from 'fast-check'
import { collectGeneration, type GenerationEvent } from '../../../cli/generation/generation.js'
import { requestBody } from '../../../cli/generation/http-door.js'
import { readEvents } from '../../../replay/src/index.js'

async function* from<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items
}

const drain = async <T>(items: AsyncIterable<T>): Promise<T[]> => {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

describe('readEvents', () => {
  it('finds the same events however the bytes are cut and lines end', async () => {
    const events = fc.array(
      fc.string({ unit: 'grapheme', minLength: 1 }).filter((text) => !/[\r\n]/.test(text) && !text.startsWith(' ')),
      { minLength: 1, maxLength: 5 },
    )
    const lineEnds = fc.constantFrom('\n', '\r\n', '\r')
    await fc.assert(
      fc.asyncProperty(
        events,
        fc.array(fc.nat({ max: 200 }), { maxLength: 6 }),
        lineEnds,
        async (wanted, cuts, end) => {
          const bytes = new TextEncoder().encode(wanted.map((data) => `: note${end}data: ${data}${end}${end}`).join(''))
          const places = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length]
          const pieces = places.slice(1).map((end, i) => bytes.subarray(places[i], end))
          assert.deepEqual(await drain(readEvents(from(pieces))), wanted)
        },
      ),
    )
  })

  it('does not wait for what follows a carriage return, nor for an empty line at the end', async () => {
    const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
    async function* endless(): AsyncGenerator<Uint8Array> {
      yield bytes('\ufeffdata: a\r\r')
      await new Promise(() => undefined)
    }
    const first = await readEvents(endless()).next()
    assert.equal(first.value, 'a')
    assert.deepEqual(await drain(readEvents(from([bytes('event: x\r\ndata: b\r\ndata: c')]))), ['b\nc'])
    await assert.rejects(drain(readEvents(from([bytes('<html>'), bytes('</html>')]))), /found "<html><\/html>"/)
  })
})

describe('collectGeneration', () => {
  const stats = {
    ttftMs: 5,
    tpotMs: 2,
    tokensPerSecond: 10,
    steps: 4,
    drafted: 6,
    accepted: 3,
    acceptanceLength: 1.75,
    draftSteps: 0,
    offered: 0,
    draftMs: 0,
    meanPrice: 0,
  }
  const usage = { promptTokens: 3, cachedTokens: 0, completionTokens: 2 }
  const chunk = (choice: number, tokenIds: number[], text: string): GenerationEvent => ({
    type: 'chunk',
    choice,
    tokenIds,
    text,
  })
  const end = (choice: number, finishReason: string): GenerationEvent => ({
    type: 'finished',
    choice,
    finishReason,
    usage,
    stats,
  })

  it('puts every chunk into its choice and hands it on at once', async () => {
    const seen: string[] = []
    const events = [
      { type: 'accepted', fingerprint: 'bny-1' } as const,
      chunk(0, [1], 'a'),
      chunk(1, [9], 'x'),
      chunk(0, [2], 'b'),
      end(0, 'length'),
      end(1, 'stop'),
    ]
    const result = await collectGeneration(from(events), ({ text }) => seen.push(text))
    assert.deepEqual(result.choices, [
      { text: 'ab', tokenIds: [1, 2], finishReason: 'length' },
      { text: 'x', tokenIds: [9], finishReason: 'stop' },
    ])
    assert.deepEqual(result.usage, { promptTokens: 3, cachedTokens: 0, completionTokens: 3 })
    assert.equal(result.fingerprint, 'bny-1')
    assert.deepEqual(seen, ['a', 'x', 'b'])
  })

  it('adds up counts over choices and keeps one choice’s figures as they are', async () => {
    const alone = await collectGeneration(from([chunk(0, [1], 'a'), end(0, 'stop')]), () => undefined)
    assert.deepEqual(alone.stats, stats)
    const both = await collectGeneration(
      from([chunk(0, [1], 'a'), chunk(1, [1], 'a'), end(0, 'stop'), end(1, 'stop')]),
      () => undefined,
    )
    assert.deepEqual(
      [both.stats.steps, both.stats.accepted, both.stats.acceptanceLength, both.stats.ttftMs],
      [8, 6, 1.75, 5],
    )
    const { ttftMs, tpotMs, tokensPerSecond } = stats
    const untold = { ...end(1, 'stop'), stats: { ttftMs, tpotMs, tokensPerSecond } } as GenerationEvent // of another server
    const one = await collectGeneration(from([end(0, 'stop'), untold]), () => undefined)
    assert.deepEqual(one.stats, { ttftMs, tpotMs, tokensPerSecond: 2 * tokensPerSecond })
  })
})

describe('collectGeneration with trees', () => {
  const node = { token: 5, text: 'a', parent: -1, value: 1, sources: [] }
  const times = { plainMs: 0, predictedMs: 0, stepMs: 1, draftMs: 0 }
  const tree = { nodes: [node], accepted: [0], proposed: 0, price: 0.5, ...times }
  const chunks: readonly GenerationEvent[] = [
    { type: 'chunk', choice: 0, tokenIds: [1], text: 'a' },
    { type: 'chunk', choice: 0, tokenIds: [2], text: 'b', tree },
  ]

  it('gathers those of each choice', async () => {
    const { choices } = await collectGeneration(from(chunks), () => undefined, { withTrees: true })
    assert.deepEqual(choices[0]?.trees, [tree])
  })

  it('leaves them out where nobody asked', async () => {
    const { choices } = await collectGeneration(from(chunks), () => undefined)
    assert.deepEqual(Object.keys(choices[0] ?? {}), ['text', 'tokenIds', 'finishReason'])
  })
})

describe('requestBody', () => {
  const body = (seed: bigint): unknown =>
    (
      JSON.parse(requestBody('demo', { input: { kind: 'tokens', tokens: [1, 2] }, sampling: { seed }, n: 1 })) as {
        seed: unknown
      }
    ).seed

  it('keeps every bit of a seed', () => {
    assert.equal(body(7n), 7)
    assert.equal(body(2n ** 64n - 1n), '18446744073709551615')
  })
})
