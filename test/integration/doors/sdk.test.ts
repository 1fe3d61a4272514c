// The SDK against a scripted server: what it retries, what it raises, whom it asks.

import assert from 'node:assert/strict'
import { constants, createServer as createHttp2Server } from 'node:http2'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { BanyanClient, BanyanError, type Code, type GenerateEvent } from '../../../sdk/src/index.js'
import { ClusterError } from '../../../lib/errors.js'
import { startGrpcServer, type GrpcServer } from '../../../services/router/grpc-server.js'
import { eventually } from '../../helpers/eventually.js'
import { accepted, answer, chunk, createScriptedEngine, finished, hang, refuseWith, silent } from './scripted-engine.js'

const raises =
  (code: Code, message = /./) =>
  (error: unknown): boolean =>
    error instanceof BanyanError && error.code === code && message.test(error.message)

const unavailable = (details = {}): ClusterError => new ClusterError('unavailable', 'no live replica', { details })

describe('the SDK', () => {
  const engine = createScriptedEngine()
  let door: GrpcServer
  let client: BanyanClient
  const open = (): Promise<GrpcServer> =>
    startGrpcServer({ engine, host: '127.0.0.1', port: 0, apiKeys: [], logger: silent })
  before(async () => {
    door = await open()
    client = new BanyanClient({ address: door.address })
  })
  after(async () => {
    client.close()
    await door.stop(0)
  })
  beforeEach(() => engine.play(answer))

  /** Plays `first` for the first calls, then the ordinary answer. */
  const failFirst = (numTimes: number, first = refuseWith(unavailable({ retryAfterMs: '1' }))): (() => number) => {
    let numCalls = 0
    engine.play((input, signal) => ((numCalls += 1) <= numTimes ? first : answer)(input, signal))
    return () => numCalls
  }

  it('assembles a whole answer of several choices', async () => {
    const { text, tokenIds, choices, seed } = await client.complete({ text: 'x', n: 2 })
    assert.deepEqual([text, tokenIds, seed], ['ab', [100, 101], 7n])
    assert.deepEqual(
      choices.map((choice) => choice.text),
      ['ab', 'ab'],
    )
  })

  describe('retries', () => {
    it('what may be retried, before the first token', async () => {
      const numCalls = failFirst(3)
      assert.equal((await client.complete({ text: 'x' })).text, 'ab')
      assert.equal(numCalls(), 4)
    })

    it('no more often than it was told', async () => {
      const numCalls = failFirst(99)
      await assert.rejects(client.complete({ text: 'x' }), raises('unavailable'))
      assert.equal(numCalls(), 4)
    })

    for (const [advisedMs, wanted] of [
      ['1', [50, 100, 200]],
      ['120', [120, 120, 200]],
    ] as const) {
      it(`after pauses that double, and of ${advisedMs} ms at least where the server says so`, async () => {
        const pauses: number[] = []
        const clock = {
          now: Date.now,
          random: () => 1,
          newId: () => 'patient',
          after: (ms: number, callback: () => void) => {
            pauses.push(ms)
            setImmediate(callback)
            return () => undefined
          },
        }
        const patient = new BanyanClient({ address: door.address }, { clock })
        failFirst(3, refuseWith(unavailable({ retryAfterMs: advisedMs })))
        assert.equal((await patient.complete({ text: 'x' })).text, 'ab')
        patient.close()
        assert.deepEqual(pauses, wanted)
      })
    }

    it('nothing that a retry does not help', async () => {
      const numCalls = failFirst(1, refuseWith(new ClusterError('invalid_argument', 'top_p: want less')))
      await assert.rejects(client.complete({ text: 'x' }), raises('invalid_argument', /top_p/))
      assert.equal(numCalls(), 1)
    })

    it('nothing after the first token where the request itself failed', async () => {
      const numCalls = failFirst(1, async function* () {
        yield accepted('r')
        yield chunk(0, 0, 'a')
        throw unavailable({ reason: 'EXPERT_UNAVAILABLE', retryAfterMs: '1' })
      })
      await assert.rejects(
        client.complete({ text: 'x' }),
        (error) => raises('unavailable')(error) && error instanceof BanyanError && error.isRetryable,
      )
      assert.equal(numCalls(), 1)
    })

    it('under one request id, accepted once', async () => {
      failFirst(1, async function* () {
        yield accepted('r')
        throw unavailable({ reason: 'EXPERT_UNAVAILABLE', retryAfterMs: '1' })
      })
      const events: GenerateEvent[] = []
      for await (const event of client.generate({ text: 'x' })) events.push(event)
      assert.equal(events.filter(({ type }) => type === 'accepted').length, 1)
      const [first, second] = engine.calls.map(({ input }) => input.requestId)
      assert.ok(first)
      assert.equal(first, second)
    })

    it('not beyond the deadline', async () => {
      const numCalls = failFirst(1, refuseWith(unavailable({ retryAfterMs: '60000' })))
      await assert.rejects(client.complete({ text: 'x' }, { deadlineMs: 5_000 }), raises('unavailable'))
      assert.equal(numCalls(), 1)
    })

    it('at the next address when one does not answer', async () => {
      const closed = createServer().listen(0, '127.0.0.1')
      await new Promise((resolve) => closed.once('listening', resolve))
      const { port } = closed.address() as AddressInfo // a TCP server has a port
      await new Promise((resolve) => closed.close(resolve))
      const both = new BanyanClient({ address: [`127.0.0.1:${port}`, door.address] })
      assert.equal((await both.complete({ text: 'x' })).text, 'ab')
      assert.equal((await both.modelInfo()).id, 'demo')
      assert.equal((await both.modelInfo()).id, 'demo')
      both.close()
    })

    it('at the next address when a stream ends without a status', async () => {
      const cutter = createHttp2Server()
      cutter.on('stream', (stream) => {
        stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
        stream.close(constants.NGHTTP2_NO_ERROR)
      })
      await new Promise<void>((resolve) => cutter.listen(0, '127.0.0.1', resolve))
      const { port } = cutter.address() as AddressInfo // a TCP server has a port
      const both = new BanyanClient({ address: [`127.0.0.1:${port}`, door.address] })
      assert.equal((await both.complete({ text: 'x' })).text, 'ab')
      both.close()
      await new Promise((resolve) => cutter.close(resolve))
    })
  })

  describe('resumes', () => {
    const leaving = { reason: 'ROUTER_LEAVING', retryAfterMs: '1' }

    it('a broken stream from the tokens that came', async () => {
      let isSecond = false
      engine.play(async function* ({ requestId = '' }) {
        yield accepted(requestId)
        if (!isSecond) {
          isSecond = true
          yield chunk(0, 0, 'a')
          yield chunk(1, 0, 'a')
          yield chunk(1, 1, 'b')
          yield finished(1, 2)
          throw unavailable(leaving)
        }
        yield finished(1, 2)
        yield chunk(0, 1, 'b')
        yield finished(0, 2)
      })
      const { choices } = await client.complete({ text: 'x', n: 2 })
      assert.deepEqual(
        choices.map(({ text, tokenIds }) => [text, tokenIds]),
        [
          ['ab', [100, 101]],
          ['ab', [100, 101]],
        ],
      )
      assert.deepEqual(engine.calls[1]?.held, [1, 2])
      assert.equal(engine.calls[0]?.input.requestId, engine.calls[1]?.input.requestId)
    })

    it('until its patience ends', async () => {
      const impatient = new BanyanClient({ address: door.address, resumeTimeoutMs: 200 })
      engine.play(async function* () {
        if (engine.calls.length === 1) yield accepted('r')
        throw unavailable(leaving)
      })
      await assert.rejects(impatient.complete({ text: 'x' }), raises('unavailable'))
      assert.ok(engine.calls.length > 2)
      impatient.close()
    })

    it('never what another model would go on with', async () => {
      engine.play(async function* () {
        const event = accepted('r')
        yield engine.calls.length === 1 || event.kind !== 'accepted' ? event : { ...event, fingerprint: 'bny-1' }
        throw unavailable(leaving)
      })
      await assert.rejects(client.complete({ text: 'x' }), raises('data_loss', /bny-1/))
    })
  })

  describe('raises one kind of error', () => {
    it('for a call that was aborted before it began', async () => {
      const signal = AbortSignal.abort()
      await assert.rejects(client.complete({ text: 'x' }, { signal }), raises('cancelled'))
      await assert.rejects(client.modelInfo({ signal }), raises('cancelled'))
      assert.equal(engine.calls.length, 0)
    })

    it('for a call that is aborted while it runs, and the engine hears of it', async () => {
      engine.play(hang)
      const abort = new AbortController()
      const call = client.complete({ text: 'x' }, { signal: abort.signal })
      await eventually(() => engine.calls.length === 1, 'it runs')
      abort.abort()
      await assert.rejects(call, raises('cancelled'))
      await eventually(() => engine.calls[0]?.hasEnded === true, 'the request is let go')
    })

    it('for a call that is aborted while it waits to retry', async () => {
      const abort = new AbortController()
      engine.play(refuseWith(unavailable({ retryAfterMs: '9000' })))
      const call = client.complete({ text: 'x' }, { signal: abort.signal })
      await eventually(() => engine.calls[0]?.hasEnded === true, 'it was refused')
      abort.abort()
      await assert.rejects(call, (error) => error instanceof BanyanError)
    })

    it('for a server that leaves in the middle: unavailable, not cancelled', async () => {
      const leaving = await open()
      const lone = new BanyanClient({ address: leaving.address, resumeTimeoutMs: 0 })
      engine.play(hang)
      const call = lone.complete({ text: 'x' })
      await eventually(() => (engine.calls[0]?.numEvents ?? 0) === 2, 'it streams')
      const failed = assert.rejects(call, raises('unavailable'))
      await leaving.stop(0)
      await failed
      lone.close()
    })

    it('for a stream with a gap', async () => {
      engine.play(async function* () {
        yield accepted('r')
        yield chunk(0, 0, 'a')
        yield chunk(0, 2, 'c')
        yield finished(0, 3)
      })
      await assert.rejects(client.complete({ text: 'x' }), raises('data_loss', /want token 1 next, got 2/))
    })

    it('for a stream that ends before all of its choices', async () => {
      engine.play((input, signal) => answer({ ...input, n: 1 }, signal))
      await assert.rejects(client.complete({ text: 'x', n: 2 }), raises('data_loss', /1 of 2 choices/))
    })
  })

  it('leaving the loop cancels', async () => {
    engine.play(hang)
    for await (const event of client.generate({ text: 'x' })) if (event.type === 'chunk') break
    await eventually(() => engine.calls[0]?.hasEnded === true, 'the request is let go')
  })

  it('asks every address to cancel: one of them has the request', async () => {
    const other = await open()
    const both = new BanyanClient({ address: [door.address, other.address] })
    assert.equal(await both.cancel('running'), true)
    assert.deepEqual(engine.cancelled, ['running', 'running'])
    assert.equal(await both.cancel('unknown'), false)
    both.close()
    await other.stop(0)
  })
})
