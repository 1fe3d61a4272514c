// O1 to O3: from tokens to a client's events.

import assert from 'node:assert/strict'
import { systemClock } from '../../../lib/actor/clock.js'
import type { Detokenizer } from '../../../lib/model/detokenizer.js'
import { createEmitter, type EmitterOptions } from '../../../services/router/emitter.js'
import type { GenerateEvent } from '../../../services/router/engine.js'
import { createRequestLog } from '../../../services/router/request-log.js'
import { noStats, type Ending } from '../../../services/router/sequence.js'
import { createStopChecker } from '../../../services/router/stop-checker.js'

const END = 99

/** Token t is the letter of code 96 + t; an odd token from 51 on is half a character, completed by the next one. */
function letters(): Detokenizer {
  let isHalf = false
  return {
    push: (token) => {
      isHalf = token > 50
      return isHalf ? '' : String.fromCharCode(96 + token)
    },
    flush: () => (isHalf ? '\ufffd' : ''),
  }
}

function start(options: Partial<EmitterOptions> & { stops?: readonly string[] } = {}) {
  const log = createRequestLog(systemClock)
  const ended: (Ending | string)[] = []
  const { stops = [], includeStop = false } = options
  let nowMs = 100
  const emitter = createEmitter({
    log,
    choice: 2,
    promptTokens: 5,
    maxTokens: 6,
    endTokenIds: new Set([END]),
    includeStop,
    returnsTrees: false,
    detokenizer: letters(),
    stopChecker: stops.length > 0 ? createStopChecker(stops, includeStop) : undefined,
    tokenText: (token) => ({ text: `<${token}>`, bytes: [token] }),
    now: () => (nowMs += 10),
    startedMs: 100,
    onToken: () => undefined,
    onFinished: (ending) => void ended.push(ending),
    onFailed: (error) => void ended.push(String(error)),
    ...options,
  })
  const chunks = (): Extract<GenerateEvent, { kind: 'chunk' }>[] => log.events.filter((event) => event.kind === 'chunk')
  const text = (): string =>
    chunks()
      .map((chunk) => chunk.text)
      .join('')
  return { emitter, log, ended, chunks, text }
}

const stats = { ...noStats(), steps: 3, drafted: 4, accepted: 2 }

describe('emitter', () => {
  it('tells no gap between a token of an earlier run and the first here', () => {
    const told: unknown[] = []
    const { emitter } = start({ onToken: (...news) => void told.push(news) })
    emitter.replay([1, 2])
    emitter.push([3], [])
    emitter.push([4, 5], [])
    assert.deepEqual(told, [
      [1, undefined, false],
      [2, 10, false],
    ])
  })

  it('puts every token into one chunk, with its place in the choice (O1)', () => {
    const { emitter, chunks } = start()
    for (const tokens of [[1], [2, 3, 4], [5]]) assert.equal(emitter.push(tokens, []), undefined)
    assert.deepEqual(
      chunks().map(({ choice, offset, tokenIds, text }) => [choice, offset, tokenIds, text]),
      [
        [2, 0, [1], 'a'],
        [2, 1, [2, 3, 4], 'bcd'],
        [2, 4, [5], 'e'],
      ],
    )
  })

  it('ends at the token limit, and lets half a character go then', () => {
    const { emitter, text } = start({ maxTokens: 2 })
    assert.deepEqual(emitter.push([1, 51], []), { reason: 'length' })
    assert.equal(text(), 'a\ufffd')
  })

  it('ends at an end token, which is counted but not shown', () => {
    const { emitter, chunks } = start()
    assert.deepEqual(emitter.push([1, END, 3], []), { reason: 'stop', stopReason: END })
    assert.deepEqual(
      chunks().map(({ tokenIds, text }) => [tokenIds, text]),
      [[[1, END], 'a']],
    )
  })

  it('holds the beginning of a stop string back, and ends where it is complete (O2)', () => {
    const { emitter, chunks } = start({ stops: ['bc'] })
    assert.equal(emitter.push([1, 2], []), undefined)
    assert.deepEqual(emitter.push([3, 4], []), { reason: 'stop', stopReason: 'bc' })
    assert.deepEqual(
      chunks().map(({ tokenIds, text }) => [tokenIds, text]),
      [
        [[1, 2], 'a'],
        [[3], ''],
      ],
    )
  })

  it('keeps the stop string where that is asked for', () => {
    const { emitter, text } = start({ stops: ['bc'], includeStop: true })
    emitter.push([1, 2, 3, 4], [])
    assert.equal(text(), 'abc')
  })

  it('lets held text go where the choice ends otherwise', () => {
    const { emitter, text } = start({ stops: ['bc'], maxTokens: 2 })
    assert.deepEqual(emitter.push([1, 2], []), { reason: 'length' })
    assert.equal(text(), 'ab')
  })

  it('names tokens in the log-probabilities, of taken tokens only', () => {
    const { emitter, chunks } = start({ maxTokens: 1 })
    const entry = (token: number) => ({ token, logprob: -1, top: [{ token: 7, logprob: -0.5 }] })
    emitter.push([1, 2], [entry(1), entry(2)])
    assert.deepEqual(chunks()[0]?.logprobs, [
      {
        token: 1,
        logprob: -1,
        text: '<1>',
        bytes: [1],
        top: [{ token: 7, logprob: -0.5, text: '<7>', bytes: [7] }],
      },
    ])
  })

  describe('with the tree of a step', () => {
    const node = (token: number, parent: number) => ({ token, parent, value: 0.5, sources: ['suffix'] })
    const times = { plainMs: 1, predictedMs: 2, stepMs: 3, draftMs: 4 }
    const tree = { nodes: [node(7, -1), node(1, 0)], accepted: [0, 1], proposed: 3, price: 0.2, ...times }

    it('passes it on with the texts of its tokens', () => {
      const { emitter, chunks } = start({ returnsTrees: true })
      emitter.push([1, 2], [], tree)
      emitter.push([3], [])
      assert.deepEqual(
        chunks().map((chunk) => chunk.tree),
        [{ ...tree, nodes: tree.nodes.map((one) => ({ ...one, text: `<${one.token}>` })) }, undefined],
      )
    })

    it('keeps it from who did not ask for it', () => {
      const { emitter, chunks } = start()
      emitter.push([1, 2], [], tree)
      assert.equal(chunks()[0]?.tree, undefined)
    })
  })

  it('serves ids alone where there is no tokenizer', () => {
    const { emitter, chunks } = start({ detokenizer: undefined })
    emitter.push([1, 2], [])
    assert.deepEqual([chunks()[0]?.tokenIds, chunks()[0]?.text], [[1, 2], ''])
  })

  it('finishes once, and says nothing after that (O3)', () => {
    const { emitter, log, ended } = start()
    emitter.push([1, 2, 3], [])
    emitter.finish({ reason: 'cancelled' }, stats, 2)
    emitter.finish({ reason: 'stop' }, stats, 2)
    emitter.push([4], [])
    emitter.fail(new Error('late'))
    assert.deepEqual(
      log.events.map(({ kind }) => kind),
      ['chunk', 'finished'],
    )
    assert.deepEqual(ended, [{ reason: 'cancelled' }])
  })

  it('accounts for tokens and time in its last event', () => {
    const { emitter, log } = start() // the clock moves 10 ms at each look: made at 110, tokens at 120 and 130
    emitter.push([1], [])
    emitter.push([2, 3], [])
    emitter.finish({ reason: 'stop' }, stats, 2)
    const last = log.events.at(-1)
    assert.equal(last?.kind, 'finished')
    assert.deepEqual(last.usage, { promptTokens: 5, cachedTokens: 2, completionTokens: 3 })
    assert.deepEqual([last.stats.ttftMs, last.stats.tpotMs, last.stats.tokensPerSecond], [10, 5, 150])
  })

  it('fails once, and then finishes no more', () => {
    const { emitter, log, ended } = start()
    emitter.fail('a')
    emitter.fail('b')
    emitter.finish({ reason: 'stop' }, stats, 2)
    assert.deepEqual([ended, log.events], [['a'], []])
  })
})
