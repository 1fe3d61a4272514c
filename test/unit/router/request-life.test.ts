// Where a request runs: journaled before it is accepted, taken over from a router that is gone, given up where another
// router has it (I2, J1 to J7). Two routers on one local bus; what an attention worker would do is done by hand.

import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import assert from 'node:assert/strict'
import { systemClock } from '../../../lib/actor/clock.js'
import { createActorSystem } from '../../../lib/actor/system.js'
import type { Logger } from '../../../lib/config/service.js'
import { ClusterError } from '../../../lib/errors.js'
import { openCheckpoint } from '../../../lib/model/checkpoint.js'
import { NEUTRAL_SAMPLING } from '../../../lib/sampling/params.js'
import { requestRecordSchema, type RequestRecord as TrafficRecord } from '../../../lib/traffic/request-record.js'
import { createLocalHub, createLocalTransport, type LocalHub } from '../../../lib/transport/local.js'
import { createMemoryStore } from '../../../lib/transport/memory-store.js'
import type { RecordStore } from '../../../lib/transport/record-store.js'
import type { GenerateEvent } from '../../../services/router/engine.js'
import { createRecorder } from '../../../services/router/capture/recorder.js'
import { createJournal } from '../../../services/router/journal.js'
import { createOtherRouters, requestActor } from '../../../services/router/other-routers.js'
import { createRequestLife } from '../../../services/router/request-life.js'
import { createRequests, type RequestRecord } from '../../../services/router/requests.js'
import { numOutput, type Sequence } from '../../../services/router/sequence.js'
import type { ValidRequest } from '../../../services/router/validate.js'
import { eventually } from '../../helpers/eventually.js'
import { demoModel } from '../../helpers/paths.js'

const MAX_TOKENS = 200
const REQUEST: ValidRequest = {
  prompt: [1, 2, 3],
  n: 1,
  maxTokens: MAX_TOKENS,
  stop: [],
  includeStop: false,
  drafts: true,
  returnsTrees: false,
  priority: 'normal',
  sampling: { ...NEUTRAL_SAMPLING, seed: 2n ** 63n + 1n, logitBias: [[4, -1.5]] },
}
const noFile = { flush: () => Promise.resolve(), close: () => Promise.resolve(), numDropped: 0 }
const silent: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

/** The token that the model would give as the i-th. */
const tokenAt = (i: number): number => 10 + ((i * 7) % 50)
const tokens = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => tokenAt(from + i))

describe('where a request runs', function () {
  this.timeout(10_000)
  const checkpoint = openCheckpoint(demoModel)
  after(() => checkpoint.close())
  const closers: (() => Promise<void>)[] = []
  afterEach(async () => {
    for (const close of closers.splice(0)) await close()
  })

  function startRouter(
    name: string,
    hub: LocalHub,
    store: RecordStore,
    { fingerprint = 'bny-0', isDeaf = false } = {},
  ) {
    const transport = createLocalTransport({ hub })
    const system = createActorSystem({
      transport,
      clock: systemClock,
      random: Math.random,
      cluster: 'test',
      node: name,
    })
    const submitted: Sequence[] = []
    const withdrawn: Sequence[] = []
    const recorded: TrafficRecord[] = []
    const recorder = createRecorder({
      clock: systemClock,
      file: { ...noFile, add: (line) => recorded.push(requestRecordSchema.parse(JSON.parse(line))) > 0 },
      content: undefined,
      router: name,
      model: 'demo',
      eosTokenIds: [],
      tokenizer: undefined,
      partsOf: () => undefined,
    })
    const requests = createRequests({
      clock: systemClock,
      cancelSequences: (sequences) => void withdrawn.push(...sequences),
      onForgotten: () => undefined,
      onResume: () => undefined,
      onEnded: (record) => recorder.ended(record),
    })
    const incarnation = `${name}-1`
    const life = createRequestLife({
      router: name,
      incarnation,
      model: 'demo',
      fingerprint: () => fingerprint,
      clock: systemClock,
      logger: silent,
      journal: createJournal(store),
      others: createOtherRouters(system),
      requests,
      maker: {
        checkpoint,
        idPrefix: incarnation,
        mayDraft: true,
        now: () => performance.now(),
        onToken: (record, count) => record.journaled?.tokens(count),
        onFinished: (record) => requests.choiceFinished(record),
        onFailed: (record, error) => requests.fail(record, ClusterError.from(error)),
      },
      isLeaving: () => false,
      onRun: (record) => recorder.began(record),
      submit: (sequences) => void submitted.push(...sequences),
      withdraw: (sequences) => void withdrawn.push(...sequences),
    })
    const cancel = (record: RequestRecord): void => requests.fail(record, new ClusterError('cancelled', 'cancelled'))
    if (!isDeaf) system.spawn(requestActor({ router: name, incarnation, system, requests, cancel }))
    closers.push(async () => {
      await system.stop()
      await transport.close()
    })
    const open = (bodyHash = 'body'): RequestRecord =>
      requests.open({ id: 'r', tenant: '', bodyHash, deadlineMs: undefined })
    const begin = async (traceparent?: string): Promise<RequestRecord> => {
      const record = open()
      record.traceparent = traceparent
      await life.begin(record, REQUEST, { deadlineMs: undefined, fingerprint, door: undefined })
      return record
    }
    return { life, requests, recorder, submitted, withdrawn, recorded, open, begin }
  }

  /** A step's tokens for a sequence, up to a number of output tokens in all. */
  function yieldUpTo(sequence: Sequence | undefined, count: number): void {
    assert.ok(sequence, 'it runs')
    const news = tokens(numOutput(sequence), count)
    sequence.tokens.push(...news)
    const ending = sequence.emitter.push(news, [])
    if (ending !== undefined) sequence.emitter.finish(ending, sequence.stats, 0)
  }

  /** Reads to the end in the background. */
  function follow(record: RequestRecord, held: readonly number[] = []) {
    const events: GenerateEvent[] = []
    const whole = (async () => {
      for await (const event of record.log.read(new AbortController().signal, held)) events.push(event)
      return events.flatMap((event) => (event.kind === 'chunk' ? [...event.tokenIds] : []))
    })()
    whole.catch(() => undefined)
    return { events, whole }
  }

  const journaled = async (store: RecordStore) => (await createJournal(store).load('', 'r'))?.record
  const isCode = (code: string) => (error: unknown) => error instanceof ClusterError && error.code === code

  it('is accepted only when its record is durable (J1)', async () => {
    const store = createMemoryStore()
    let release = (): void => undefined
    const held = new Promise<void>((resolve) => (release = resolve))
    const router = startRouter('a', createLocalHub(), {
      ...store,
      put: async (...args) => {
        await held
        return store.put(...args)
      },
    })
    const begun = router.begin()
    await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual([router.requests.get('', 'r')?.log.events, router.submitted], [[], []])
    release()
    const record = await begun
    assert.deepEqual([record.log.events[0]?.kind, router.submitted.length], ['accepted', 1])
  })

  it('is refused where its record does not fit, and nothing runs', async () => {
    const full = async (): Promise<number> => {
      throw new ClusterError('resource_exhausted', 'records: full')
    }
    const router = startRouter('a', createLocalHub(), { ...createMemoryStore(), put: full })
    const record = await router.begin()
    assert.deepEqual([record.log.error?.code, router.submitted], ['resource_exhausted', []])
  })

  it('whose acknowledgement was lost runs once, with the seed that was drawn first', async () => {
    const store = createMemoryStore()
    let isFirst = true
    const router = startRouter('a', createLocalHub(), {
      ...store,
      put: async (...args) => {
        const revision = await store.put(...args)
        if (!isFirst) return revision
        isFirst = false
        throw new ClusterError('unavailable', 'no answer', { details: { reason: 'UNCONFIRMED' } })
      },
    })
    assert.equal((await router.begin()).log.error?.code, 'unavailable')
    router.requests.find({ id: 'r', tenant: '' }, 'body') // as an ask with the same id does
    const record = router.open()
    const drawn = { ...REQUEST, sampling: { ...REQUEST.sampling, seed: 5n } }
    await router.life.begin(record, drawn, { deadlineMs: undefined, fingerprint: 'bny-0', door: undefined })
    assert.deepEqual(
      router.submitted.map(({ sampling }) => sampling),
      [REQUEST.sampling],
    )
  })

  it('is taken over from a router that is gone, from the tokens in the journal; that one, awake again, passes on what the other has (J6)', async () => {
    const hub = createLocalHub()
    const store = createMemoryStore()
    const frozen = startRouter('a', hub, store, { isDeaf: true })
    const other = startRouter('b', hub, store)
    const firstTrace = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const first = await frozen.begin(firstTrace)
    const { whole } = follow(first)
    yieldUpTo(frozen.submitted[0], 70)
    await eventually(async () => (await journaled(store))?.outputs[0]?.byteLength === 280, 'a commit point')
    yieldUpTo(frozen.submitted[0], 80) // not in the journal

    const exporter = new InMemorySpanExporter()
    const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
    const second = other.open()
    second.span = provider.getTracer('test').startSpan('request')
    await other.life.adopt(second, { isAskedAgain: false })
    second.span.end()
    const [span] = exporter.getFinishedSpans()
    assert.deepEqual(
      [span?.events.map(({ name }) => name), span?.links.map(({ context }) => context.spanId)],
      [['banyan.taken_over'], ['b7ad6b7169203331']],
    )
    assert.deepEqual(other.submitted[0]?.tokens, [...REQUEST.prompt, ...tokens(0, 70)])
    const resumed = follow(second, [75])
    yieldUpTo(other.submitted[0], 150)

    yieldUpTo(frozen.submitted[0], 145) // its next commit finds that it was overtaken
    await eventually(() => frozen.withdrawn.length === 1, 'it gives up')
    yieldUpTo(other.submitted[0], MAX_TOKENS)
    assert.deepEqual(await whole, tokens(0, MAX_TOKENS))
    assert.deepEqual(await resumed.whole, tokens(75, MAX_TOKENS))
    await eventually(async () => (await journaled(store))?.state === 'finished', 'its end is journaled')
    assert.equal((await journaled(store))?.owner.router, 'b')
    assert.deepEqual([frozen.recorded.length, other.recorded.length], [0, 1])
  })

  it('is passed on from a router that lives, and taken over in the middle when that one dies', async () => {
    const hub = createLocalHub()
    const store = createMemoryStore()
    const [a, b] = [startRouter('a', hub, store), startRouter('b', hub, store)]
    await a.begin()
    const record = b.open()
    const { whole } = follow(record)
    void b.life.adopt(record, { isAskedAgain: false })
    yieldUpTo(a.submitted[0], 30)
    await eventually(() => record.log.held[0] === 30, 'passed on')
    assert.deepEqual(b.submitted, [])
    await closers[0]?.() // a dies
    await eventually(() => b.submitted.length === 1, 'taken over')
    yieldUpTo(b.submitted[0], MAX_TOKENS)
    assert.deepEqual(await whole, tokens(0, MAX_TOKENS))
    const [written, ...others] = b.recorded
    const [choice] = written?.choices ?? []
    assert.deepEqual([a.recorded, others], [[], []])
    assert.deepEqual([choice?.ids, written?.params.seed], [tokens(0, MAX_TOKENS), REQUEST.sampling.seed.toString()])
    assert.equal(
      choice?.chunks.reduce((sum, [, count]) => sum + count, 0),
      MAX_TOKENS,
    )
    assert.deepEqual(
      choice.chunks.map(([ms]) => ms),
      choice.chunks.map(([ms]) => ms).sort((x, y) => x - y),
    )
  })

  it('that has ended is given again without a computation, text and all', async () => {
    const hub = createLocalHub()
    const store = createMemoryStore()
    const a = startRouter('a', hub, store, { isDeaf: true })
    const first = await a.begin()
    yieldUpTo(a.submitted[0], MAX_TOKENS)
    await eventually(async () => (await journaled(store))?.state === 'finished', 'journaled')
    const b = startRouter('b', hub, store)
    const record = b.open()
    await b.life.adopt(record, { isAskedAgain: false })
    const text = ({ log }: RequestRecord) =>
      log.events.map((event) => (event.kind === 'chunk' ? event.text : '')).join('')
    assert.deepEqual([b.submitted, record.outcome, text(record)], [[], 'finished', text(first)])
    assert.deepEqual(record.log.held, [MAX_TOKENS])
    assert.deepEqual([a.recorded.length, b.recorded.length], [1, 0])
  })

  it('that failed gives its error again, and runs anew where it is asked for again', async () => {
    const hub = createLocalHub()
    const store = createMemoryStore()
    const a = startRouter('a', hub, store, { isDeaf: true })
    a.requests.fail(
      await a.begin(),
      new ClusterError('unavailable', 'no expert', { details: { reason: 'X', layer: '3' } }),
    )
    await eventually(async () => (await journaled(store))?.state === 'failed', 'journaled')
    const b = startRouter('b', hub, store)
    const told = b.open()
    await b.life.adopt(told, { isAskedAgain: false })
    assert.deepEqual([told.log.error?.code, told.log.error?.details], ['unavailable', { reason: 'X', layer: '3' }])
    b.requests.find({ id: 'r', tenant: '' }, 'body')
    await b.life.adopt(b.open(), { isAskedAgain: true })
    assert.deepEqual(
      b.submitted.map(({ tokens: all, sampling }) => [all, sampling]),
      [[REQUEST.prompt, REQUEST.sampling]],
    )
  })

  it('is not gone on with by a cluster whose answer may differ, nor under another body', async () => {
    const hub = createLocalHub()
    const store = createMemoryStore()
    await startRouter('a', hub, store, { isDeaf: true }).begin()
    const other = startRouter('b', hub, store, { fingerprint: 'bny-1' })
    const record = other.open()
    await other.life.adopt(record, { isAskedAgain: false })
    assert.deepEqual(
      [record.log.error?.code, record.log.error?.details.reason],
      ['failed_precondition', 'FINGERPRINT_CHANGED'],
    )
    const third = startRouter('c', hub, store)
    const confused = third.open('other body')
    await third.life.adopt(confused, { isAskedAgain: true })
    assert.deepEqual([confused.log.error?.code, third.submitted], ['already_exists', []])
  })

  it('goes on while the store is away, and is written when it is back; a record that was lost is made anew', async () => {
    let store = createMemoryStore()
    let isAway = false
    const checked = (): RecordStore => {
      if (isAway) throw new ClusterError('unavailable', 'away')
      return store
    }
    const flaky: RecordStore = {
      ...store,
      put: async (...args) => checked().put(...args),
      get: async (...args) => checked().get(...args),
    }
    const router = startRouter('a', createLocalHub(), flaky)
    const { whole } = follow(await router.begin())
    isAway = true
    yieldUpTo(router.submitted[0], MAX_TOKENS)
    assert.deepEqual(await whole, tokens(0, MAX_TOKENS))
    store = createMemoryStore() // the broker came back without its store
    isAway = false
    await eventually(async () => (await journaled(store))?.state === 'finished', 'written anew')
  })

  it('that was cancelled while it was journaled stays cancelled, whoever asks for it', async () => {
    const hub = createLocalHub()
    const store = createMemoryStore()
    const router = startRouter('a', hub, store, { isDeaf: true })
    const record = router.open()
    const begun = router.life.begin(record, REQUEST, { deadlineMs: undefined, fingerprint: 'bny-0', door: undefined })
    router.requests.fail(record, new ClusterError('cancelled', 'cancelled'))
    await begun
    await eventually(async () => (await journaled(store))?.state === 'cancelled', 'its end is journaled')
    const other = startRouter('b', hub, store)
    const asked = other.open()
    await other.life.adopt(asked, { isAskedAgain: false })
    assert.deepEqual([asked.log.error?.code, other.submitted], ['cancelled', []])
  })

  it('does not begin where other device classes came to serve while it was journaled', async () => {
    const store = createMemoryStore()
    const router = startRouter('a', createLocalHub(), store, { fingerprint: 'bny-1' })
    const record = router.open()
    await router.life.begin(record, REQUEST, { deadlineMs: undefined, fingerprint: 'bny-0', door: undefined })
    assert.deepEqual([record.log.error?.details.reason, router.submitted], ['FINGERPRINT_CHANGED', []])
    await eventually(async () => (await journaled(store))?.state === 'failed', 'its end is journaled')
  })

  it('with log-probabilities is not computed again by a cluster whose answer may differ, though it had ended', async () => {
    const hub = createLocalHub()
    const store = createMemoryStore()
    const a = startRouter('a', hub, store, { isDeaf: true })
    const first = a.open()
    const request = { ...REQUEST, sampling: { ...REQUEST.sampling, logprobs: 0 } }
    await a.life.begin(first, request, { deadlineMs: undefined, fingerprint: 'bny-0', door: undefined })
    yieldUpTo(a.submitted[0], MAX_TOKENS)
    await eventually(async () => (await journaled(store))?.state === 'finished', 'journaled')
    const b = startRouter('b', hub, store, { fingerprint: 'bny-1' })
    const record = b.open()
    await b.life.adopt(record, { isAskedAgain: false })
    assert.equal(record.log.error?.details.reason, 'FINGERPRINT_CHANGED')
  })

  it('whose client comes back and leaves again before it runs is recorded as it was left (C1)', async () => {
    const store = createMemoryStore()
    const { life, requests, recorder, submitted, recorded, open, begin } = startRouter('a', createLocalHub(), store)
    const left = new ClusterError('cancelled', 'left', { details: { reason: 'CLIENT_LEFT' } })
    const first = await begin()
    yieldUpTo(submitted[0], 5)
    requests.fail(first, left)
    await eventually(async () => (await journaled(store))?.state === 'left', 'it may come back')
    requests.find({ id: 'r', tenant: '' }, 'body')
    const again = open()
    const adopted = life.adopt(again, { isAskedAgain: false })
    requests.fail(again, left)
    await adopted
    await recorder.close()
    assert.deepEqual(
      recorded.map(({ choices }) => choices[0]?.ids),
      [tokens(0, 5)],
    )
  })

  it('whose client left while it was journaled does not run', async () => {
    const store = createMemoryStore()
    const router = startRouter('a', createLocalHub(), store)
    const record = router.open()
    const leave = new AbortController()
    const reading = record.log.read(leave.signal).next()
    const begun = router.life.begin(record, REQUEST, { deadlineMs: undefined, fingerprint: 'bny-0', door: undefined })
    leave.abort()
    await assert.rejects(reading, isCode('cancelled'))
    await begun
    assert.deepEqual(router.submitted, [])
    await eventually(async () => (await journaled(store))?.state === 'left', 'it may come back')
  })
})
