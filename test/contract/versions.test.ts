// Processes that speak different versions of the frame, over every transport: N1 to N3 of `lib/actor/peer-versions.ts`,
// Q1 and Q2 of `lib/actor/asking.ts`.

import assert from 'node:assert/strict'
import type { ActorSystem, Handlers, Question } from '../../lib/actor/actor.js'
import { systemClock } from '../../lib/actor/clock.js'
import { createActorSystem } from '../../lib/actor/system.js'
import { ClusterError } from '../../lib/errors.js'
import { createLocalHub, createLocalTransport } from '../../lib/transport/local.js'
import { connectNats } from '../../lib/transport/nats.js'
import type { Transport } from '../../lib/transport/transport.js'
import { decodeFrame, encodeFrame } from '../../lib/wire/frame.js'
import type { MessageOf } from '../../lib/wire/messages.js'
import { subjects } from '../../lib/wire/subjects.js'
import { packF32, packI32, readF32 } from '../../lib/wire/tensor.js'
import type { VersionRange } from '../../lib/wire/versions.js'
import { eventually } from '../helpers/eventually.js'
import { startNatsForTest, type TestNats } from '../helpers/nats.js'
import { watchVersions } from '../helpers/watch-versions.js'

const ONE: VersionRange = { lowest: 1, highest: 1 }
const TWO: VersionRange = { lowest: 2, highest: 2 }
const BOTH: VersionRange = { lowest: 1, highest: 2 }
const WORKER = 'expert-worker-0'

/** A build that knows those versions and no others. */
const build = (versions: VersionRange) => ({ speaks: versions, reads: versions })
const NEW = build(BOTH)
const OLD = build(ONE)
const CAPPED = { speaks: ONE, reads: BOTH } // `--wire-version 1`
type Build = typeof NEW

const compute = (layer: number): Question<'expert.compute', 'expert.output'> => ({
  kind: 'expert.compute',
  body: {
    step: 's',
    layer,
    hidden: packF32(Float32Array.of(0.1, -2), [1, 2]),
    experts: packI32([3]),
    counts: packI32([1]),
    rows: packI32([0]),
    weights: packF32(Float32Array.of(0.5)),
  },
  replyKind: 'expert.output',
})

for (const kind of ['local', 'nats', 'nats with links'] as const) {
  describe(`versions of the frame over ${kind}`, function () {
    this.timeout(20_000)
    let nats: TestNats | undefined
    let hub = createLocalHub()
    let numClusters = 0
    const closers: (() => Promise<void>)[] = []

    before(async () => {
      if (kind !== 'local') nats = await startNatsForTest()
    })
    after(() => nats?.stop())
    beforeEach(() => {
      hub = createLocalHub()
      numClusters += 1
    })
    afterEach(async () => {
      for (const close of closers.splice(0)) await close()
    })

    const cluster = (): string => `c${numClusters}`

    interface Process {
      readonly system: ActorSystem
      readonly transport: Transport
      readonly asked: number[] // versions of the questions that it sent
      readonly answered: number[] // and of the answers
      stop(): Promise<void>
    }

    async function start(node: string, { speaks, reads }: Build): Promise<Process> {
      const link = kind === 'nats' ? undefined : { host: '127.0.0.1', port: 0 }
      const transport =
        nats === undefined ? createLocalTransport({ hub }) : await connectNats({ url: nats.url, name: node, link })
      const asked: number[] = []
      const answered: number[] = []
      const watched = watchVersions(transport, {
        sent: (version) => asked.push(version),
        answered: (version) => answered.push(version),
      })
      const common = { clock: systemClock, random: Math.random, cluster: cluster() }
      const system = createActorSystem({ ...common, transport: watched, node, speaks, reads })
      const stop = async (): Promise<void> => {
        await system.stop()
        await transport.close()
      }
      closers.push(stop)
      return { system, transport, asked, answered, stop }
    }

    /** An expert worker that answers with its own layer, and what it was asked. */
    async function startWorker(versions: Build) {
      const worker = await start(WORKER, versions)
      const handled: { readonly layer: number; readonly dueInMs: number }[] = []
      const cancelled: string[] = []
      const handlers = (): Handlers => ({
        'expert.compute': ({ step, layer, hidden }, { dueMs }) => {
          handled.push({ layer, dueInMs: dueMs - systemClock.monotonicMs() })
          if (layer === 99) throw new ClusterError('invalid_argument', 'no such layer')
          return { kind: 'expert.output', step, layer, partials: hidden, computeMs: 0 }
        },
        'expert.cancel': ({ step }) => void cancelled.push(step),
      })
      worker.system.spawn({ address: WORKER, mailboxCapacity: 16, systemKinds: new Set(), create: handlers })
      await worker.transport.flush()
      return { ...worker, handled, cancelled }
    }

    const ask = async ({ system }: Process, layer = 0, timeoutMs = 5_000): Promise<readonly number[]> => {
      const { partials } = await system.ask(WORKER, compute(layer), { timeoutMs })
      return [...readF32(partials, 'partials')]
    }
    const ANSWER = [...Float32Array.of(0.1, -2)]

    const failure = async (asking: Promise<unknown>): Promise<string> => {
      const error = await asking.then(
        () => assert.fail('it was answered'),
        (reason: unknown) => ClusterError.from(reason),
      )
      return `${error.code} ${error.details.reason}: ${error.message}`
    }

    it('are the lowest at first, then the highest of both', async () => {
      const [near, far] = [await start('attention-0', NEW), await startWorker(NEW)]
      for (const layer of [1, 2, 3]) assert.deepEqual(await ask(near, layer), ANSWER)
      assert.deepEqual(
        [near.asked, far.answered],
        [
          [1, 2, 2],
          [1, 2, 2],
        ],
      )
    })

    it('are known from a heartbeat before anything is asked', async () => {
      const [near, far] = [await start('attention-0', NEW), await startWorker(NEW)]
      near.system.listen(subjects.health(cluster()), 'worker.heartbeat', () => undefined)
      await near.transport.flush()
      const beat = (): void => far.system.broadcast(subjects.health(cluster()), 'worker.heartbeat', heartbeatOf(WORKER))
      await eventually(() => {
        beat()
        return near.system.versionsOf(WORKER)?.highest === 2
      }, 'the heartbeat came')
      assert.deepEqual(await ask(near), ANSWER)
      assert.deepEqual(near.asked, [2])
      assert.ok(
        far.asked.every((version) => version === 1),
        'what everybody reads is of the lowest version',
      )
    })

    for (const [name, older] of [
      ['an older build', OLD],
      ['a build that is told to speak no more', CAPPED],
    ] as const) {
      it(`are those of ${name}, whoever asks`, async () => {
        const [near, far] = [await start('attention-0', NEW), await startWorker(older)]
        for (const layer of [1, 2]) assert.deepEqual(await ask(near, layer), ANSWER)
        assert.deepEqual(
          [near.asked, far.answered],
          [
            [1, 1],
            [1, 1],
          ],
        )
        await far.stop()
        const [back, forth] = [await start('attention-1', older), await startWorker(NEW)]
        for (const layer of [1, 2]) assert.deepEqual(await ask(back, layer), ANSWER)
        assert.deepEqual(
          [back.asked, forth.answered],
          [
            [1, 1],
            [1, 1],
          ],
        )
      })
    }

    it('go down with a process that is started anew: nothing is lost, nothing done twice, no deadline grows', async () => {
      const [near, far] = [await start('attention-0', NEW), await startWorker(NEW)]
      for (const layer of [1, 2]) await ask(near, layer)
      await far.stop()
      const older = await startWorker(OLD)
      const before = systemClock.monotonicMs()
      assert.deepEqual(await ask(near, 7, 3_000), ANSWER)
      assert.deepEqual(near.asked.slice(2), [2, 1])
      assert.deepEqual(
        older.handled.map(({ layer }) => layer),
        [7],
      )
      const [{ dueInMs } = { dueInMs: NaN }] = older.handled
      assert.ok(dueInMs <= 3_000 && dueInMs > 3_000 - (systemClock.monotonicMs() - before) - 1, `${dueInMs} ms`)
      assert.deepEqual(await ask(near, 8), ANSWER)
      assert.deepEqual(near.asked.slice(4), [1], 'it has learnt')
      await older.stop()
      await startWorker(NEW)
      for (const layer of [9, 10]) assert.deepEqual(await ask(near, layer), ANSWER)
      assert.deepEqual(near.asked.slice(5), [1, 2], 'and goes up again')
    })

    it('may change under a question that reads its answer as it comes, and under one of many', async () => {
      const [near, far] = [await start('attention-0', NEW), await startWorker(NEW)]
      for (const layer of [1, 2]) await ask(near, layer)
      await far.stop()
      const older = await startWorker(OLD)
      const seen: number[] = []
      const read = ({ layer }: MessageOf<'expert.output'>): void => void seen.push(layer)
      const asked = [3, 4, 5, 6].map((layer) =>
        near.system.ask(WORKER, { ...compute(layer), read }, { timeoutMs: 5_000 }),
      )
      await Promise.all(asked)
      assert.deepEqual([...seen].sort(), [3, 4, 5, 6])
      assert.deepEqual(older.handled.map(({ layer }) => layer).sort(), [3, 4, 5, 6])
    })

    it('do not hide what a question was refused for by its own handler', async () => {
      for (const versions of [NEW, OLD, CAPPED]) {
        const [near, far] = [await start('attention-0', NEW), await startWorker(versions)]
        for (let n = 0; n < 2; n++)
          assert.equal(await failure(ask(near, 99)), 'invalid_argument undefined: no such layer')
        assert.equal(far.handled.length, 2)
        await Promise.all([near.stop(), far.stop()])
      }
    })

    it('are used for what is told, too', async () => {
      const [near, far] = [await start('attention-0', NEW), await startWorker(NEW)]
      await ask(near)
      near.system.tell(WORKER, 'expert.cancel', { step: 'x' })
      await eventually(() => far.cancelled.length === 1, 'it was told')
      assert.deepEqual(near.asked, [1, 2])
    })

    it('that two processes have not in common end in one error that names both', async () => {
      const notRead = 'invalid_argument WIRE_VERSION: frame: want version'
      const far = await startWorker(build(TWO))
      const [first, second] = [await start('attention-0', OLD), await start('attention-1', CAPPED)]
      assert.equal(await failure(ask(first)), `${notRead} 1, got 2; its sender speaks version 2`)
      assert.equal(
        await failure(ask(second)),
        `failed_precondition WIRE_VERSION: ${WORKER}: want a process that speaks version 1 of the frame, found version 2`,
      )
      await far.stop()
      const older = await startWorker(OLD)
      const newer = await start('attention-2', build(TWO))
      assert.equal(await failure(ask(newer)), `${notRead} 2, got 1; its sender speaks version 1`)
      assert.equal(older.system.deadLetters.get('undecodable'), 1)
      assert.deepEqual([far.handled, older.handled], [[], []])
    })

    it('decide whose heartbeats count: a process with which there is no version in common is not there', async () => {
      const capped = await start('router-0', CAPPED)
      const heard: string[] = []
      capped.system.listen(subjects.health(cluster()), 'worker.heartbeat', ({ id }) => void heard.push(id))
      await capped.transport.flush()
      const [next, old] = [await start('expert-worker-1', build(TWO)), await startWorker(OLD)]
      for (const { system } of [next, old]) {
        system.broadcast(subjects.health(cluster()), 'worker.heartbeat', heartbeatOf(WORKER))
      }
      await eventually(() => heard.length > 0 && capped.system.deadLetters.size > 0, 'both heartbeats came')
      assert.deepEqual([heard, capped.system.deadLetters.get('undecodable')], [[WORKER], 1])
    })

    it('go up at once for who reads no lower one', async () => {
      const [near, far] = [await start('attention-0', NEW), await startWorker(build(TWO))]
      for (const layer of [1, 2]) assert.deepEqual(await ask(near, layer), ANSWER)
      assert.deepEqual(
        [near.asked, far.answered],
        [
          [1, 2, 2],
          [2, 2, 2],
        ],
      )
      assert.equal(far.handled.length, 2)
    })

    it('that change with every answer end with the deadline', async () => {
      const near = await start('attention-0', NEW)
      const liar = await start('liar', NEW)
      let numAnswers = 0
      liar.transport.subscribe(subjects.actor(cluster(), WORKER), ({ payload, reply }) => {
        numAnswers += 1
        const { version } = decodeFrame(payload)
        const speaks = version === 1 ? TWO : ONE // what it was not asked in
        const message = { kind: 'request.failed', code: 'invalid_argument', message: 'never', details: {} } as const
        const envelope = { id: 'x', from: WORKER, timeoutMs: 0, epoch: 0, traceparent: undefined }
        reply?.(encodeFrame({ version: speaks.lowest, speaks, envelope, message }))
      })
      await liar.transport.flush()
      assert.match(await failure(ask(near, 1, 150)), /^deadline_exceeded /)
      assert.ok(numAnswers > 1)
    })
  })
}

const heartbeatOf = (id: string) => ({
  role: 'expert-worker' as const,
  id,
  incarnation: 'i',
  pid: 1,
  state: 'ready' as const,
  deviceClass: 'cpu',
  fingerprint: 'f',
  shards: [],
  capacity: { kvTokens: 0, maxRows: 0 },
  load: {},
})
