// What nobody reads is bounded (L1): the log pauses its sequences, a reader that catches up lets them go on, one that reads
// nothing at all is given up.

import assert from 'node:assert/strict'
import { createManualClock, systemClock } from '../../../lib/actor/clock.js'
import type { GenerateEvent } from '../../../services/router/engine.js'
import { createRequestLog, PAUSE_BYTES, type RequestLog } from '../../../services/router/request-log.js'
import { createRequests } from '../../../services/router/requests.js'
import { GIVE_UP_MS } from '../../../services/router/slow-reader.js'

const never = new AbortController().signal
const logprob = { token: 1, logprob: -1, text: 'x', bytes: [120] }
const chunk = (offset: number, numLogprobs = 0): GenerateEvent => ({
  kind: 'chunk',
  choice: 0,
  offset,
  tokenIds: [offset],
  text: 'x',
  textEnds: [1],
  logprobs: numLogprobs === 0 ? [] : [{ ...logprob, top: Array.from({ length: numLogprobs }, () => logprob) }],
})

/** Appends until the log is paused; how many that took. */
function fill(log: RequestLog, numLogprobs = 0): number {
  let count = 0
  for (; !log.isPaused && count < 100_000; count++) log.append(chunk(count, numLogprobs))
  return count
}

async function readSome(reader: AsyncIterator<GenerateEvent>, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await reader.next()
}

describe('request log with a slow reader', () => {
  it('is paused above the bound, and no more when half of it is read', async () => {
    const log = createRequestLog(systemClock)
    const changes: boolean[] = []
    log.onPause((isPaused) => changes.push(isPaused))
    const reader = log.read(never)
    const count = fill(log)
    assert.ok(count > 200 && count < PAUSE_BYTES / 100, `${count} chunks`)
    await readSome(reader, Math.floor(count / 3))
    assert.equal(log.isPaused, true)
    await readSome(reader, Math.floor(count / 3))
    assert.deepEqual([log.isPaused, changes], [false, [true, false]])
  })

  it('counts log-probabilities: fewer tokens fill it', () => {
    assert.ok(10 * fill(createRequestLog(systemClock), 20) < fill(createRequestLog(systemClock)))
  })

  it('goes by the furthest reader: a second one that stops holds nobody up', async () => {
    const log = createRequestLog(systemClock)
    const [fast, slow] = [log.read(never), log.read(never)]
    log.append(chunk(0))
    await slow.next()
    for (let i = 0; i < 5000; i++) {
      await fast.next()
      log.append(chunk(i + 1))
    }
    assert.equal(log.isPaused, false)
  })

  it('knows what was read elsewhere, by the tokens that are held there', () => {
    const log = createRequestLog(systemClock)
    const count = fill(log)
    log.noteRead([Math.floor(count / 3)])
    assert.equal(log.isPaused, true)
    log.noteRead([Math.ceil((2 * count) / 3)])
    assert.deepEqual([log.isPaused, log.numRead], [false, Math.ceil((2 * count) / 3)])
  })

  it('ends its pause with its end', () => {
    const log = createRequestLog(systemClock)
    fill(log)
    log.close()
    assert.equal(log.isPaused, false)
  })
})

describe('requests with a slow reader', () => {
  const start = () => {
    const clock = createManualClock(1000)
    let numResumed = 0
    const requests = createRequests({
      clock,
      cancelSequences: () => undefined,
      onForgotten: () => undefined,
      onResume: () => (numResumed += 1),
    })
    const record = requests.open({ id: 'r', tenant: '', bodyHash: 'body', deadlineMs: undefined })
    return { clock, requests, record, reader: record.log.read(never), numResumed: () => numResumed }
  }

  it('go on when it has caught up', async () => {
    const { clock, record, reader, numResumed } = start()
    await readSome(reader, fill(record.log))
    assert.deepEqual([numResumed(), clock.numTimers], [1, 0])
  })

  it('end as SLOW_READER where it reads nothing for a while, not where it reads a little', async () => {
    const { clock, record, reader } = start()
    fill(record.log)
    for (let i = 0; i < 10; i++) {
      clock.advance(GIVE_UP_MS - 1)
      await reader.next()
    }
    assert.deepEqual([record.outcome, record.log.isPaused], ['running', true])
    clock.advance(2 * GIVE_UP_MS)
    assert.deepEqual([record.outcome, record.log.error?.details.reason], ['failed', 'SLOW_READER'])
    assert.deepEqual([record.log.error?.code, clock.numTimers], ['resource_exhausted', 0])
  })

  it('leave no timer where they end while paused', () => {
    const { clock, requests, record } = start()
    fill(record.log)
    assert.equal(clock.numTimers, 1)
    requests.choiceFinished(Object.assign(record, { numOpen: 1 }))
    assert.deepEqual([record.outcome, clock.numTimers], ['finished', 0])
  })
})
