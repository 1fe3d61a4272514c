// Recorded traffic replayed against clusters of another shape: every answer again, to the bit; and what is told where an
// answer is not the recorded one.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  askServer,
  checkRun,
  createGrpcClient,
  createHttpCaller,
  createOpenAiClient,
  planReplay,
  readTrace,
  replay,
  requireCheckable,
  systemClock,
  type Pace,
  type ReplayOptions,
  type Trace,
} from '../../../replay/src/index.js'
import { BanyanClient, type GenerateRequest } from '../../../sdk/src/index.js'
import { eventually } from '../../helpers/eventually.js'
import { startNatsForTest, type TestNats } from '../../helpers/nats.js'
import { COPYING_PROMPTS, PROMPTS } from '../../helpers/prompts.js'
import { startTestCluster, type ClusterShape, type TestCluster } from '../../helpers/test-cluster.js'

const STREAMS = 16
const TOKENS = 24

/** Greedy and sampled, penalties, biases, stops, choices, chat, ids; some end by themselves. */
const JOBS: readonly GenerateRequest[] = [
  ...PROMPTS.flatMap((text, i): GenerateRequest[] => [
    { text, sampling: { temperature: 0, maxTokens: TOKENS } },
    {
      text,
      n: i % 4 === 0 ? 2 : 1,
      sampling: {
        temperature: 0.9,
        topP: 0.95,
        maxTokens: TOKENS,
        ...(i % 3 === 0 && { repetitionPenalty: 1.07, frequencyPenalty: 0.3 }),
        ...(i % 5 === 0 && { stop: [';', '\n}'], topK: 40 }),
        ...(i % 7 === 0 && { logitBias: { 300: 3.5, 301: -100 }, minTokens: 8, ignoreEos: true }),
      },
    },
  ]),
  ...COPYING_PROMPTS.map((text): GenerateRequest => ({ text, sampling: { temperature: 0.8, maxTokens: 48 } })),
  { tokens: [40, 41, 42], sampling: { temperature: 1, seed: 2n ** 64n - 5n, maxTokens: TOKENS } },
]

async function generateAll(address: string): Promise<void> {
  const client = new BanyanClient({ address })
  const left = [...JOBS]
  const stream = async (): Promise<void> => {
    for (let job = left.shift(); job !== undefined; job = left.shift()) await client.complete(job)
  }
  try {
    await Promise.all(Array.from({ length: STREAMS }, stream))
    for await (const event of client.generate({ text: PROMPTS[1] ?? '', sampling: { temperature: 1, maxTokens: 400 } }))
      if (event.type === 'chunk') break // a client that leaves
  } finally {
    client.close()
  }
}

async function replayTo(
  cluster: TestCluster,
  trace: Trace,
  more: Partial<ReplayOptions> & { door?: 'grpc'; pace?: Pace } = {},
) {
  const { http: url, grpc: address } = cluster.router
  const http = createHttpCaller({ clock: systemClock, connectTimeoutMs: 5000 })
  const ask = { http, clock: systemClock, url }
  const client =
    more.door === 'grpc'
      ? createGrpcClient({ address })
      : createOpenAiClient({ url, http, model: 'demo', notice: (line) => assert.fail(line) })
  try {
    const before = await askServer(ask)
    const plan = planReplay(trace, { pace: more.pace ?? { kind: 'concurrency', limit: STREAMS } })
    const run = await replay(plan, { client, clock: systemClock, endsByItself: () => true, ...more })
    const served = { fingerprint: before.fingerprint, parts: before.fingerprintParts }
    return { check: checkRun(run.answers, trace, served) }
  } finally {
    client.close()
    http.close()
  }
}

describe('replay with a check', function () {
  this.timeout(120_000)
  const folder = mkdtempSync(join(tmpdir(), 'banyan-replay-'))
  const open: TestCluster[] = []
  let nats: TestNats
  let trace: Trace
  let plain: TestCluster // local, one expert worker, no trees

  const start = async (shape: ClusterShape): Promise<TestCluster> => {
    const cluster = await startTestCluster(shape)
    open.push(cluster)
    return cluster
  }

  before(async () => {
    nats = await startNatsForTest()
    const recording = await startTestCluster({ nats: nats.url, experts: 3, traceDir: folder, traceContent: 'ids' })
    await generateAll(recording.router.grpc)
    await eventually(async () => (await recorded()) > JOBS.length, 'the request that was left is recorded')
    await recording.stop()
    trace = await readTrace(folder)
    plain = await start({ experts: 1, drafters: 0, draft: [] })
  })
  after(async () => {
    for (const cluster of open) await cluster.stop()
    await nats.stop()
    rmSync(folder, { recursive: true, force: true })
  })
  const recorded = async (): Promise<number> =>
    readTrace(folder).then(
      ({ requests }) => requests.length,
      () => 0,
    )

  it('local, one expert worker, no trees: no answer differs, at either door', async () => {
    requireCheckable(trace.requests)
    const { check } = await replayTo(plain, trace)
    assert.deepEqual(
      [check.mode, check.differing, check.failed, check.compared, check.isProven],
      ['exact', 0, 0, JOBS.length + 1, true],
      JSON.stringify(check.differences),
    )
    const half = { ...trace, requests: trace.requests.filter((_, i) => i % 3 === 0) }
    assert.equal((await replayTo(plain, half, { door: 'grpc' })).check.isProven, true)
  })

  it('an expert worker dies during the replay, and nothing changes', async () => {
    const cluster = await start({ nats: nats.url, experts: 2, replicas: 2 })
    let isStopped = false
    const { check } = await replayTo(cluster, trace, {
      onProgress: ({ done }) => {
        if (done < 5 || isStopped) return
        isStopped = true
        void cluster.stopService('expert-worker-1')
      },
    })
    assert.equal(isStopped, true)
    assert.deepEqual([check.differing, check.failed, check.isProven], [0, 0, true], JSON.stringify(check.differences))
  })

  it('other weights: says what differs, and how far the answers agree, and proves nothing', async () => {
    const cluster = await start({ weights: 'int4' })
    const few = { ...trace, requests: trace.requests.slice(0, 10) }
    const { check } = await replayTo(cluster, few)
    assert.deepEqual([check.mode, check.isProven, check.compared, check.differing > 0], ['divergence', false, 10, true])
    assert.deepEqual(
      check.fingerprintDifferences.filter(({ part }) => part === 'weights'),
      [{ part: 'weights', recorded: 'int8', served: 'int4' }],
    )
    assert.ok(check.meanCommonPrefix.tokens > 0 && check.meanCommonPrefix.share < 1)
  })

  it('a recording that was changed is found out, at the token that was changed', async () => {
    const [request] = trace.requests.filter(({ recorded: answer }) => (answer?.numTokens[0] ?? 0) > 8)
    const ids = request?.recorded?.tokenIds?.[0] ?? []
    assert.ok(request?.recorded && ids.length > 8)
    const changed = ids.map((id, i) => (i === 6 ? id + 1 : id))
    const forged = { ...trace, requests: [{ ...request, recorded: { ...request.recorded, tokenIds: [changed] } }] }
    const { check } = await replayTo(plain, forged)
    assert.deepEqual([check.differing, check.isProven], [1, false])
    const [difference] = check.differences
    assert.deepEqual([difference?.requestId, difference?.choice, difference?.offset], [request.id, 0, 6])
    const { fingerprint = '', finishReasons, numTokens, tokenHashes = [] } = request.recorded
    const hashed = { fingerprint, finishReasons, numTokens, tokenHashes, isWhole: true }
    const byHash = { ...trace, requests: [{ ...request, recorded: hashed }] }
    assert.equal((await replayTo(plain, byHash)).check.isProven, true)
    const withoutPrompt = {
      ...request,
      prompt: { kind: 'blocks', numTokens: 3, blockTokens: 512, blocks: [] },
    } as const
    assert.throws(() => requireCheckable([withoutPrompt]), /found only their hashes/)
  })
})
