// I1: the tokens of a request do not depend on how the cluster is cut, on what else is in the batch, on speculation or
// on the size of prefill chunks. Every shape below must give the ids of the plainest one, bit for bit.

import assert from 'node:assert/strict'
import type { WeightFormat } from '../../lib/model/spec.js'
import { BanyanClient, type Completion, type GenerateRequest } from '../../sdk/src/index.js'
import { generateAll, type Job } from '../helpers/generate-all.js'
import { startNatsForTest, type TestNats } from '../helpers/nats.js'
import { goldenModel } from '../helpers/paths.js'
import { COPYING_PROMPTS, PROMPTS } from '../helpers/prompts.js'
import { startTestCluster, type ClusterShape } from '../helpers/test-cluster.js'
import { compareChoices } from '../soak/differences.js'

const jobs: readonly Job[] = [
  ...PROMPTS.flatMap((text, i): Job[] => [
    { name: `greedy ${i}`, request: { text, sampling: { temperature: 0, maxTokens: 64, ignoreEos: true } } },
    {
      name: `sampled ${i}`,
      request: {
        text,
        sampling: { temperature: 0.9, topP: 0.95, seed: 7n + BigInt(i), maxTokens: 64, ignoreEos: true },
      },
    },
  ]),
  ...COPYING_PROMPTS.map((text, i): Job => {
    const sampling = {
      temperature: i % 2 === 0 ? 0 : 0.9,
      seed: 11n,
      maxTokens: 150,
      ignoreEos: true,
      repetitionPenalty: 1.01,
    }
    return { name: `copying ${i}`, request: { text, sampling } }
  }),
]

const SHAPES: readonly (ClusterShape & { readonly title: string; readonly isNats?: boolean })[] = [
  {
    title: 'local with frames between all, 5 experts, 2 replicas, lookup drafts, chunks of 7',
    experts: 5,
    replicas: 2,
    prefillChunk: 7,
    neighbours: false,
  },
  { title: 'local, 2 experts, KV for a few sequences only (preemption)', kvTokens: 1_600, maxRunning: 32 },
  { title: 'nats without direct links, 1 expert, no drafts', isNats: true, links: false, experts: 1, draft: [] },
  {
    title: 'nats, 2 experts, 2 replicas, 2 attention, drafts, chunks of 33',
    isNats: true,
    replicas: 2,
    attention: 2,
    prefillChunk: 33,
  },
  {
    title: 'nats, 5 experts, drafts, wide trees, two micro-batches',
    isNats: true,
    experts: 5,
    maxTreeNodes: 32,
    microBatches: 2,
  },
  {
    title: 'nats, two micro-batches of one prompt’s chunks, one of the next',
    isNats: true,
    microBatches: 2,
    prefillChunk: 19,
  },
]

/** One of everything, no drafts; what the others are compared with computes in WebAssembly alone. */
const PLAIN = { experts: 1, draft: [], drafters: 0 }

describe('the same answer from every shape of cluster', function () {
  this.timeout(120_000)
  let nats: TestNats
  let plain: Record<string, readonly number[]>

  before(async () => {
    nats = await startNatsForTest()
    const cluster = await startTestCluster({ ...PLAIN, prefixCache: false, machineCode: false })
    plain = await generateAll(cluster.router.grpc, jobs, 'alone')
    await cluster.stop()
  })
  after(() => nats.stop())

  it('the plain runs are as long as asked', () => {
    for (const { name, request } of jobs) assert.equal(plain[name]?.length, request.sampling?.maxTokens, name)
  })

  for (const { title, isNats = false, ...shape } of SHAPES) {
    it(title, async () => {
      const cluster = await startTestCluster({ ...shape, ...(isNats ? { nats: nats.url } : {}) })
      try {
        assert.deepEqual(await generateAll(cluster.router.grpc, jobs, 'together'), plain)
      } finally {
        await cluster.stop()
      }
    })
  }

  for (const weights of ['f32', 'int4'] as const) {
    it(`${weights} weights: plain in one process, and cut up with trees over nats`, async () => {
      const some = jobs.filter((_, i) => i % 6 === 0)
      const one = await startTestCluster({ ...PLAIN, weights, machineCode: false })
      const alone = await generateAll(one.router.grpc, some, 'alone')
      await one.stop()
      const many = await startTestCluster({ weights, nats: nats.url, experts: 3, replicas: 2, prefillChunk: 5 })
      try {
        assert.deepEqual(await generateAll(many.router.grpc, some, 'together'), alone)
      } finally {
        await many.stop()
      }
    })
  }
})

/** Windows and sinks, latent attention, norms after the sublayers; texts reach over windows and over a page's border. */
const FAMILIES: readonly (readonly [model: string, weights: WeightFormat])[] = [
  ['gpt-oss', 'int8'],
  ['deepseek-v3', 'int4'],
  ['gemma3', 'f32'],
]
const VOCABULARY = 100 // that all of them have
const START = Array.from({ length: 140 }, (_, i) => 3 + ((i * i + 5 * i) % (VOCABULARY - 3)))

/** Texts that share beginnings of a few sizes; the one that is cut short repeats itself. */
const familyRequests: readonly GenerateRequest[] = [140, 120, 70, 9, 1].map((length, i) => ({
  tokens: i === 2 ? [...START.slice(0, 35), ...START.slice(0, 35)] : [...START.slice(0, length), 3 + i],
  logprobs: 1,
  sampling: { temperature: i % 2 === 0 ? 0 : 0.4, seed: 5n + BigInt(i), maxTokens: 24, ignoreEos: true },
}))

describe('the same answer in every family, plain and with everything at once', function () {
  this.timeout(60_000)
  let nats: TestNats
  before(async () => {
    nats = await startNatsForTest()
  })
  after(() => nats.stop())

  for (const [name, weights] of FAMILIES) {
    it(`${name}, ${weights}: two attention workers of which one goes, replicas, drafts, chunks of 19, shared prefixes`, async () => {
      const model = { model: goldenModel(name), weights }
      const wanted: Completion[] = []
      await withClient({ ...PLAIN, ...model, prefixCache: false, machineCode: false }, async (client) => {
        for (const request of familyRequests) wanted.push(await client.complete(request))
      })
      const answers: Completion[] = []
      const shape = { experts: 3, replicas: 2, attention: 2, prefillChunk: 19, microBatches: 2, draftPrice: 0.02 }
      await withClient({ ...model, ...shape, nats: nats.url }, async (client, stopService) => {
        const askAll = () => Promise.all(familyRequests.map((request) => client.complete(request)))
        let going: Promise<void> | undefined
        const [first] = await Promise.all([
          askAll(),
          streamed(client, familyRequests[3]!, (numTokens) => {
            if (numTokens >= 8) going ??= stopService('attention-0')
          }),
        ])
        assert.ok(going, 'it went')
        await going
        answers.push(...first)
        // A drafter that was late once is left alone for a while: it gets another chance.
        for (let tries = 0; tries < MAX_TRIES && acceptedIn(answers) === 0; tries++) answers.push(...(await askAll()))
      })
      for (const [i, { choices }] of answers.entries()) {
        const { first } = compareChoices(wanted[i % wanted.length]!.choices, choices)
        assert.equal(first, '', `request ${i}`)
      }
      assert.ok(acceptedIn(answers) > 0, 'drafted tokens were accepted')
      assert.ok(answers.some(({ usage }) => usage.cachedTokens > 0))
    })
  }

  async function withClient(
    shape: ClusterShape,
    use: (client: BanyanClient, stopService: (id: string) => Promise<void>) => Promise<void>,
  ): Promise<void> {
    const cluster = await startTestCluster(shape)
    const client = new BanyanClient({ address: cluster.router.grpc })
    try {
      await use(client, (id) => cluster.stopService(id))
    } finally {
      client.close()
      await cluster.stop()
    }
  }
})

const MAX_TRIES = 4

const acceptedIn = (answers: readonly Completion[]): number =>
  answers.flatMap(({ choices }) => choices).reduce((sum, { stats }) => sum + stats.accepted, 0)

/** Streams a request and says how many tokens have come, chunk after chunk. */
async function streamed(client: BanyanClient, request: GenerateRequest, onTokens: (count: number) => void) {
  let count = 0
  for await (const event of client.generate(request)) {
    if (event.type !== 'chunk') continue
    count += event.tokenIds.length
    onTokens(count)
  }
}
