import assert from 'node:assert/strict'
import { createManualClock } from '../../../lib/actor/clock.js'
import { ClusterError } from '../../../lib/errors.js'
import { openCheckpoint } from '../../../lib/model/checkpoint.js'
import { NEUTRAL_SAMPLING } from '../../../lib/sampling/params.js'
import {
  hashBlocks,
  hashTokens,
  requestRecordSchema,
  type RecordContent,
  type RequestRecord as TrafficRecord,
} from '../../../lib/traffic/request-record.js'
import type { Served } from '../../../services/router/capture/describe-request.js'
import { createRecorder } from '../../../services/router/capture/recorder.js'
import { createSequences } from '../../../services/router/create-sequences.js'
import { createRequests, type RequestRecord } from '../../../services/router/requests.js'
import type { ValidRequest } from '../../../services/router/validate.js'
import { demoModel } from '../../helpers/paths.js'

const EOS = 2
const prompt = Array.from({ length: 600 }, (_, i) => 10 + (i % 40))
const REQUEST: ValidRequest = {
  prompt,
  n: 2,
  maxTokens: 4,
  stop: ['secret stop'],
  includeStop: false,
  drafts: true,
  returnsTrees: false,
  priority: 'normal',
  sampling: {
    ...NEUTRAL_SAMPLING,
    temperature: 0.5,
    seed: 2n ** 63n + 1n,
    logitBias: [[4, -1.5]],
    endTokenIds: [EOS, 7],
  },
}

describe('createRecorder', () => {
  const checkpoint = openCheckpoint(demoModel)
  after(() => checkpoint.close())

  const left = new ClusterError('cancelled', 'the client left', { details: { reason: 'CLIENT_LEFT' } })

  const start = (content?: RecordContent, tokenizer: Served['tokenizer'] = checkpoint.tokenizer) => {
    const clock = createManualClock(1_000)
    const lines: string[] = []
    const file = {
      add: (line: string) => lines.push(line) > 0,
      flush: () => Promise.resolve(),
      close: () => Promise.resolve(),
      numDropped: 0,
    }
    const partsOf = (fingerprint: string) => (fingerprint === 'bny-0' ? { weights: 'int8' } : undefined)
    const served = { router: 'router-0', model: 'demo', eosTokenIds: [EOS], tokenizer, partsOf }
    const recorder = createRecorder({ clock, file, content, ...served })
    const requests = createRequests({
      clock,
      cancelSequences: () => undefined,
      onForgotten: () => undefined,
      onResume: () => undefined,
      onEnded: (record) => recorder.ended(record),
    })
    const open = (request = REQUEST, tenant = '', outputs: number[][] = []): RequestRecord => {
      const record = requests.open({ id: 'r', tenant, bodyHash: 'body', deadlineMs: undefined, waitedMs: 5 })
      recorder.began(record)
      record.accepted = { request, fingerprint: 'bny-0', session: undefined }
      record.numOpen = request.n
      record.sequences = createSequences(
        {
          checkpoint,
          idPrefix: 'x',
          mayDraft: true,
          now: () => clock.monotonicMs(),
          onToken: () => undefined,
          onFinished: (one) => requests.choiceFinished(one),
          onFailed: (one, error) => requests.fail(one, ClusterError.from(error)),
        },
        record,
        request,
        outputs,
      ).map(({ sequence }) => sequence)
      return record
    }
    /** As a step would. */
    const emit = (record: RequestRecord, choice: number, tokens: readonly number[]): void => {
      const sequence = record.sequences[choice] ?? assert.fail()
      sequence.stats.steps += 1
      const ending = sequence.emitter.push(tokens, [])
      if (ending !== undefined) sequence.emitter.finish(ending, sequence.stats, 128)
    }
    const records = (): TrafficRecord[] => lines.map((line) => requestRecordSchema.parse(JSON.parse(line)))
    return { clock, requests, recorder, open, emit, lines, records }
  }

  it('says all that the answer is a function of, and when every token came', () => {
    const { clock, open, emit, records } = start()
    const record = open()
    clock.advance(10)
    emit(record, 0, [20, 21])
    clock.advance(2.5)
    emit(record, 1, [30])
    emit(record, 0, [22, 23])
    emit(record, 1, [7])
    const [written, ...others] = records()
    assert.deepEqual(others, [])
    assert.deepEqual(written, {
      schema: 'banyan.request.v1',
      id: 'r',
      arrivalUnixMs: 995,
      endMs: 17.5,
      model: 'demo',
      fingerprint: 'bny-0',
      fingerprintParts: { weights: 'int8' },
      router: 'router-0',
      content: 'ids',
      prompt: { numTokens: 600, cachedTokens: 128, blockTokens: 512, blockHashes: hashBlocks(prompt), ids: prompt },
      params: {
        temperature: 0.5,
        topP: 1,
        topK: 0,
        minP: 0,
        repetitionPenalty: 1,
        presencePenalty: 0,
        frequencyPenalty: 0,
        logitBias: { 4: -1.5 },
        maxTokens: 4,
        minTokens: 0,
        stop: ['secret stop'],
        stopTokenIds: [7],
        ignoreEos: false,
        includeStop: false,
        seed: '9223372036854775809',
        n: 2,
      },
      choices: [
        {
          numTokens: 4,
          hash: hashTokens([20, 21, 22, 23]),
          ids: [20, 21, 22, 23],
          finishReason: 'length',
          chunks: [
            [15, 2],
            [17.5, 2],
          ],
          steps: 2,
          drafted: 0,
          accepted: 0,
        },
        {
          numTokens: 2,
          hash: hashTokens([30, 7]),
          ids: [30, 7],
          finishReason: 'stop',
          chunks: [
            [17.5, 1],
            [17.5, 1],
          ],
          steps: 2,
          drafted: 0,
          accepted: 0,
        },
      ],
      outcome: 'finished',
    })
  })

  it('tells ignored end tokens from tokens of the request', () => {
    const { requests, open, records } = start()
    const ignoring = { ...REQUEST, sampling: { ...REQUEST.sampling, endTokenIds: [7] } }
    requests.fail(open(ignoring), new ClusterError('internal', 'broken'))
    assert.deepEqual([records()[0]?.params.ignoreEos, records()[0]?.params.stopTokenIds], [true, [7]])
  })

  it('records what failed and what was cancelled with the tokens that were there', () => {
    for (const [code, outcome] of [
      ['cancelled', 'cancelled'],
      ['unavailable', 'failed'],
    ] as const) {
      const { requests, open, emit, records } = start()
      const record = open()
      emit(record, 1, [30])
      requests.fail(record, new ClusterError(code, 'ended'))
      const [written] = records()
      assert.deepEqual([written?.outcome, written?.error], [outcome, { code, message: 'ended' }])
      assert.deepEqual(
        written?.choices.map(({ ids, finishReason }) => [ids, finishReason]),
        [
          [[], undefined],
          [[30], undefined],
        ],
      )
    }
  })

  it('leaves a request that ran elsewhere to its owner (C1)', () => {
    const { requests, open, lines } = start()
    const record = open()
    record.accepted = undefined
    requests.finished(record)
    assert.deepEqual(lines, [])
  })

  it('records a request whose client left once, also where it comes back (C1)', async () => {
    const { clock, requests, recorder, open, emit, records } = start()
    requests.fail(open(), left)
    clock.advance(1_000)
    assert.deepEqual(records(), [])
    const again = open()
    emit(again, 0, [20, 21, 22, 23])
    emit(again, 1, [7])
    clock.advance(10_000)
    assert.deepEqual(
      records().map(({ outcome }) => outcome),
      ['finished'],
    )
    requests.fail(open(), left)
    clock.advance(2_000)
    requests.fail(open(), left)
    await recorder.close()
    assert.deepEqual(
      records().map(({ outcome }) => outcome),
      ['finished', 'cancelled', 'cancelled'],
    )
  })

  it('keeps the times of the tokens that were there when the client left (C1)', () => {
    const { clock, requests, open, emit, records } = start()
    const first = open({ ...REQUEST, n: 1 })
    clock.advance(10)
    emit(first, 0, [20, 21])
    requests.fail(first, left)
    clock.advance(500)
    const again = open({ ...REQUEST, n: 1 }, '', [[20, 21]])
    again.timeline.arrivedAt(995)
    emit(again, 0, [22, 23])
    const [choice] = records()[0]?.choices ?? []
    assert.deepEqual(
      [choice?.numTokens, choice?.chunks, choice?.replayedTokens],
      [
        4,
        [
          [15, 2],
          [515, 2],
        ],
        undefined,
      ],
    )
    assert.equal(again.timeline.firstTokenMs, 15)
  })

  it('has no times of tokens whose times are not known here', () => {
    const { open, emit, records } = start()
    const record = open({ ...REQUEST, n: 1 }, '', [[20, 21]])
    emit(record, 0, [22, 23])
    const [choice] = records()[0]?.choices ?? []
    assert.deepEqual([choice?.numTokens, choice?.chunks, choice?.replayedTokens], [4, [[5, 2]], 2])
    assert.equal(record.timeline.firstTokenMs, undefined)
  })

  it('tells what a leaving router handed over from what failed', async () => {
    const { requests, recorder, open, records } = start()
    const leaving = new ClusterError('unavailable', 'leaving', { details: { reason: 'ROUTER_LEAVING' } })
    requests.fail(open(), leaving)
    await recorder.close()
    const [written] = records()
    const error = { code: 'unavailable', message: 'leaving', reason: 'ROUTER_LEAVING' }
    assert.deepEqual([written?.outcome, written?.error], ['cancelled', error])
  })

  it('makes no text where nobody may have it', () => {
    let numDecoded = 0
    const tokenizer = {
      decode: (tokens: readonly number[]) => {
        numDecoded += 1
        return tokens.join(' ')
      },
    }
    for (const content of ['hash', 'ids', 'text'] as const) {
      const { requests, open } = start(content, tokenizer)
      requests.fail(open(), new ClusterError('internal', 'broken'))
    }
    assert.equal(numDecoded, 1)
  })

  it('has texts only where they were asked for, ids unless they were not wanted (C2)', () => {
    const finish = (content?: RecordContent): TrafficRecord | undefined => {
      const { open, emit, records } = start(content)
      const record = open({ ...REQUEST, n: 1 })
      emit(record, 0, [20, 21, 22, 23])
      return records()[0]
    }
    const [text, ids, hash] = [finish('text'), finish('ids'), finish('hash')]
    assert.equal(text?.prompt.text, checkpoint.tokenizer?.decode(prompt))
    assert.equal(text?.choices[0]?.text, checkpoint.tokenizer?.decode([20, 21, 22, 23]))
    assert.deepEqual([text?.prompt.ids, text?.choices[0]?.ids], [prompt, [20, 21, 22, 23]])
    assert.deepEqual([ids?.prompt.text, ids?.choices[0]?.text, ids?.prompt.ids], [undefined, undefined, prompt])
    assert.deepEqual([hash?.prompt.ids, hash?.choices[0]?.ids, hash?.params.stop], [undefined, undefined, undefined])
    assert.equal(hash?.choices[0]?.hash, hashTokens([20, 21, 22, 23]))
  })

  it('gives listeners their own requests, with no more in them than was allowed (C2)', async () => {
    const seen = async (content: RecordContent | undefined, asked: RecordContent): Promise<string[]> => {
      const { requests, recorder, open } = start(content)
      const heard = recorder.listen({ tenant: 'a', content: asked, signal: new AbortController().signal })
      const first = heard.next() // it listens from now on
      for (const tenant of ['b', 'a']) requests.fail(open(REQUEST, tenant), new ClusterError('internal', tenant))
      const heardFirst = await first
      const closed = recorder.close()
      assert.equal((await heard.next()).done, true)
      await closed
      assert.ok(heardFirst.done !== true)
      return [heardFirst.value.error?.message ?? '', heardFirst.value.content]
    }
    assert.deepEqual(await seen(undefined, 'text'), ['a', 'hash'])
    assert.deepEqual(await seen('text', 'ids'), ['a', 'ids'])
    assert.deepEqual(await seen('hash', 'text'), ['a', 'hash'])
  })

  it('tells a listener that fell behind instead of ending as if all were told (C3)', async () => {
    const { requests, recorder, open } = start()
    const heard = recorder.listen({ tenant: '', content: 'hash', signal: new AbortController().signal })
    const first = heard.next()
    const fail = (): void => requests.fail(open(), new ClusterError('internal', 'broken'))
    fail()
    assert.equal((await first).done, false)
    for (let i = 0; i < 1_100; i++) fail()
    await assert.rejects(heard.next(), (error) => error instanceof ClusterError && error.code === 'resource_exhausted')
  })
})
