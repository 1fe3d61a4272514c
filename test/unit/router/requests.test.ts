// I2 and R3 of the requests: each ends once, in its results or in one typed error, and a known id is joined.

import assert from 'node:assert/strict'
import { createManualClock, systemClock } from '../../../lib/actor/clock.js'
import { ClusterError } from '../../../lib/errors.js'
import type { GenerateInput } from '../../../services/router/engine.js'
import { createRequestLog } from '../../../services/router/request-log.js'
import { createRequests, hashBody } from '../../../services/router/requests.js'

const isCode = (code: string) => (error: unknown) => error instanceof ClusterError && error.code === code
const input: GenerateInput = {
  prompt: { kind: 'text', text: 'x' },
  sampling: { seed: 7n, logitBias: new Map([[1, 2]]) },
}

describe('hashBody', () => {
  it('ignores the id, and sees seeds and biases', () => {
    assert.equal(hashBody({ ...input, requestId: 'a' }), hashBody({ ...input, requestId: 'b' }))
    assert.notEqual(hashBody({ ...input, sampling: { ...input.sampling, seed: 8n } }), hashBody(input))
    assert.notEqual(
      hashBody({ ...input, sampling: { ...input.sampling, logitBias: new Map([[1, 3]]) } }),
      hashBody(input),
    )
  })
})

describe('requests', () => {
  const start = () => {
    const clock = createManualClock(1000)
    const forgotten: string[] = []
    const requests = createRequests({
      clock,
      cancelSequences: () => undefined,
      onForgotten: ({ id }) => void forgotten.push(id),
      onResume: () => undefined,
    })
    const open = (id: string, deadlineMs?: number) => requests.open({ id, tenant: '', bodyHash: 'body', deadlineMs })
    return { clock, requests, open, forgotten }
  }

  it('joins a known id, and refuses it with another body (R3)', () => {
    const { requests, open } = start()
    const record = open('r')
    assert.equal(requests.find({ id: 'r', tenant: '' }, 'body'), record)
    assert.throws(() => requests.find({ id: 'r', tenant: '' }, 'other'), isCode('already_exists'))
  })

  it('ends when the last choice does, and lets its deadline go', () => {
    const { requests, open, clock } = start()
    const record = open('r', 5000)
    record.numOpen = 2
    requests.choiceFinished(record)
    assert.deepEqual([record.outcome, requests.numOpen], ['running', 1])
    requests.choiceFinished(record)
    assert.deepEqual([record.outcome, requests.numOpen, clock.numTimers], ['finished', 0, 0])
  })

  it('ends at its deadline with a typed error', () => {
    const { open, clock } = start()
    const record = open('r', 5000)
    clock.advance(3999)
    assert.equal(record.outcome, 'running')
    clock.advance(1)
    assert.deepEqual([record.outcome, record.log.error?.code], ['failed', 'deadline_exceeded'])
  })

  it('is cancelled when its last reader leaves', async () => {
    const { requests, open } = start()
    const record = open('r')
    const leave = new AbortController()
    const reading = record.log.read(leave.signal).next()
    leave.abort()
    await assert.rejects(reading, isCode('cancelled'))
    assert.deepEqual([record.outcome, requests.numOpen], ['cancelled', 0])
  })

  it('forgets the oldest that ended, never one that runs', () => {
    const { requests, open } = start()
    open('running')
    for (let i = 0; i < 600; i++) requests.fail(open(`r${i}`), new ClusterError('internal', ''))
    assert.deepEqual(
      ['running', 'r0', 'r599'].map((id) => requests.get('', id) !== undefined),
      [true, false, true],
    )
  })

  it('forgets none that ended because many run', () => {
    const { requests, open, forgotten } = start()
    for (let i = 0; i < 600; i++) open(`running ${i}`)
    requests.finished(open('done'))
    assert.deepEqual([requests.get('', 'done')?.outcome, forgotten], ['finished', []])
  })

  it('forgets early where much was yielded, so that memory has a bound', () => {
    const { requests, open, forgotten } = start()
    const text = 'x'.repeat(2 ** 20)
    for (let i = 0; i < 200; i++) {
      const record = open(`r${i}`)
      record.log.append({ kind: 'chunk', choice: 0, offset: 0, tokenIds: [1], text, textEnds: [2 ** 20], logprobs: [] })
      requests.finished(record)
    }
    assert.ok(forgotten.length > 50, `${forgotten.length} were forgotten`)
    assert.equal(requests.get('', 'r199')?.outcome, 'finished')
  })

  it('is idle at once where nothing runs, at the deadline where something does', async () => {
    const { requests, open, clock } = start()
    await requests.whenIdle(10)
    open('r')
    const idle = requests.whenIdle(10)
    clock.advance(10)
    await idle
    assert.equal(clock.numTimers, 0)
  })
})

describe('request log', () => {
  const chunk = (choice: number, offset: number, tokenIds: number[]) =>
    ({
      kind: 'chunk',
      choice,
      offset,
      tokenIds,
      text: tokenIds.join(''),
      textEnds: tokenIds.map((_, i) => i + 1),
      logprobs: [],
    }) as const

  it('gives its error to every reader, after the events before it', async () => {
    const log = createRequestLog(systemClock)
    log.append(chunk(0, 0, [1]))
    const early = log.read(new AbortController().signal)
    await early.next()
    log.close(new ClusterError('unavailable', 'lost'))
    await assert.rejects(early.next(), isCode('unavailable'))
    const late = log.read(new AbortController().signal)
    assert.equal((await late.next()).done, false)
    await assert.rejects(late.next(), isCode('unavailable'))
  })

  it('keeps one chunk per choice once it is over', () => {
    const log = createRequestLog(systemClock)
    for (const event of [chunk(0, 0, [1]), chunk(1, 0, [5]), chunk(0, 1, [2, 3])]) log.append(event)
    log.close()
    assert.deepEqual(
      log.events,
      [chunk(0, 0, [1, 2, 3]), chunk(1, 0, [5])].map((event, i) => ({
        ...event,
        text: i === 0 ? '123' : '5',
      })),
    )
  })

  it('takes nothing after its end', () => {
    const log = createRequestLog(systemClock)
    log.close()
    log.append(chunk(0, 0, [1]))
    assert.deepEqual(log.events, [])
  })

  it('a reader that left listens no more', async () => {
    const log = createRequestLog(systemClock)
    const leave = new AbortController()
    const reading = log.read(leave.signal).next()
    leave.abort()
    await assert.rejects(reading, isCode('cancelled'))
    assert.equal(log.numReaders, 0)
  })
})
