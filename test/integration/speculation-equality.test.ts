// I1 and I3 over every draft source: what comes out with drafts is what comes out without, to the last bit of the
// log-probabilities, whatever a request asks for. `npm run soak:speculation` is this at length.

import assert from 'node:assert/strict'
import { BanyanClient, type Completion, type GenerateRequest } from '../../sdk/src/index.js'
import { startNatsForTest, type TestNats } from '../helpers/nats.js'
import { demoModel } from '../helpers/paths.js'
import { createRandom } from '../helpers/random.js'
import { startTestCluster, type ClusterShape, type TestCluster } from '../helpers/test-cluster.js'
import { compareChoices } from '../soak/differences.js'
import { baseRequest, FEATURES, finalRequest, type Draw } from '../soak/requests.js'
import { startOracle } from './oracle-drafter.js'

const SEED = 77
const NUM_FEATURES = Object.keys(FEATURES).length
const LEAST_COMPARED = 5000
const MAX_TRIES = 5

interface Job {
  readonly name: string
  readonly request: GenerateRequest
  readonly want: Completion
}

interface Shape extends ClusterShape {
  readonly isNats?: boolean
}

/** Each source alone, then all; every size of trees, way of drafting and transport more than once. Most try what would not pay. */
const SHAPES: readonly Shape[] = [
  { draft: ['prompt-lookup'], maxTreeNodes: 8 },
  { draft: ['suffix'], maxTreeNodes: 48, draftPrice: 0.05, isNats: true },
  { draft: ['ngram'], maxTreeNodes: 2, draftPrice: 0 },
  { draft: ['medusa'], maxTreeNodes: 8, draftPrice: 0, draftAhead: false },
  { draft: ['eagle'], maxTreeNodes: 48, draftPrice: 0.1, sharedNoise: false, isNats: true },
  { draft: ['model'], draftModel: demoModel, maxTreeNodes: 8, draftPrice: 0.1 },
  { draft: ['auto'], draftModel: demoModel, maxTreeNodes: 48, draftPrice: 0.2, isNats: true },
  { draft: ['auto'], maxTreeNodes: 48, draftPrice: 0.02, draftAhead: false, sharedNoise: false },
  { draft: ['auto'], maxTreeNodes: 2, sharedNoise: false },
]

const numTokens = ({ choices }: Completion): number => choices.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0)
const total = (answers: readonly Completion[], of: 'drafted' | 'accepted'): number =>
  answers.flatMap(({ choices }) => choices).reduce((sum, { stats }) => sum + stats[of], 0)

const titleOf = ({ draft = [], maxTreeNodes, draftAhead = true, sharedNoise = true, isNats = false }: Shape): string =>
  [
    `${draft.join()}, ${maxTreeNodes} nodes`,
    draftAhead ? 'ahead' : 'not ahead',
    sharedNoise ? 'with the sampler’s noise' : 'without noise',
    isNats ? 'nats' : 'local',
  ].join(', ')

describe('answers with drafts are those without', function () {
  this.timeout(60_000)
  let nats: TestNats
  let jobs: readonly Job[] // every feature, then every feature at another temperature
  let numCompared = 0

  before(async () => {
    nats = await startNatsForTest()
    jobs = await withClient({ draft: [], drafters: 0, prefixCache: false }, drawJobs)
  })
  after(() => nats.stop())

  async function withClient<T>(
    { isNats = false, ...shape }: Shape,
    use: (client: BanyanClient, cluster: TestCluster) => Promise<T>,
  ): Promise<T> {
    const cluster = await startTestCluster({ ...shape, ...(isNats && { nats: nats.url }) })
    const client = new BanyanClient({ address: cluster.router.grpc })
    try {
      return await use(client, cluster)
    } finally {
      client.close()
      await cluster.stop()
    }
  }

  /** Answers the jobs, so many at a time, and compares them with the plain answers. */
  async function compare(client: BanyanClient, some: readonly Job[], streams: number): Promise<Completion[]> {
    const answers = await inParallel(some, streams, ({ request }) => client.complete({ ...request, returnTrees: true }))
    for (const [i, { name, request, want }] of some.entries()) {
      const { count, first } = compareChoices(want.choices, answers[i]?.choices ?? [])
      assert.equal(count, 0, `${name}, seed ${SEED}: ${first}\n${asJson(request)}`)
      numCompared += numTokens(want)
    }
    return answers
  }

  it('the requests use every feature, at several temperatures, and are answered at length', () => {
    assert.equal(jobs.length, 2 * NUM_FEATURES)
    assert.ok(jobs.every(({ want }) => numTokens(want) > 0))
    const reasons = new Set(jobs.flatMap(({ want }) => want.choices.map(({ finishReason }) => finishReason)))
    assert.deepEqual([...reasons].sort(), ['length', 'stop'])
  })

  for (const shape of SHAPES) {
    it(titleOf(shape), () =>
      withClient(shape, async (client) => {
        const alone: Completion[] = []
        const isOfUse = (): boolean => total(alone, 'drafted') > 0 && total(alone, 'accepted') > 0
        // A drafter that was late once is left alone for a while: it gets another chance.
        for (let tries = 0; tries < MAX_TRIES && !isOfUse(); tries++)
          alone.push(...(await compare(client, jobs.slice(0, NUM_FEATURES), 1)))
        assert.ok(isOfUse(), `${total(alone, 'accepted')} of ${total(alone, 'drafted')} drafted tokens were accepted`)
        await compare(client, jobs.slice(NUM_FEATURES), 16) // with the second choices as many streams
      }),
    )
  }

  for (const isNats of [false, true]) {
    it(`with a drafter that knows the answers and puts a wrong token before each right one, ${isNats ? 'nats' : 'local'}`, () =>
      withClient({ drafters: 0, draftPrice: 0.1, isNats }, async (client, cluster) => {
        const oracle = await startOracle(
          cluster,
          jobs.map(({ want }) => want),
        )
        const answers = await compare(client, jobs, 16)
        await oracle.stop()
        const paths = answers.flatMap(({ choices }) =>
          choices.flatMap(({ trees }) => trees.map(({ accepted }) => accepted)),
        )
        const numGaps = paths.filter((path) => path.some((node, place) => node !== place)).length
        assert.ok(numGaps > 0, `${numGaps} steps whose accepted rows were not the first`)
      }))
  }

  it('with a drafter that goes in the middle of 8 streams', () =>
    withClient({}, async (client, cluster) => {
      const long = jobs.filter(({ want }) => want.choices.length === 1 && numTokens(want) > 40).slice(0, 8)
      let numStarted = 0
      let stopping: Promise<void> | undefined
      await inParallel(long, 8, async ({ name, request, want }) => {
        const tokens: number[] = []
        for await (const event of client.generate(request)) {
          if (event.type !== 'chunk') continue
          if (tokens.length === 0) numStarted += 1
          tokens.push(...event.tokenIds)
          if (numStarted === long.length) stopping ??= cluster.stopService('drafter-0')
        }
        assert.deepEqual(tokens, want.tokenIds, name)
      })
      assert.ok(stopping, 'it went')
      await stopping
    }))

  it(`at least ${LEAST_COMPARED} tokens were compared`, () =>
    assert.ok(numCompared >= LEAST_COMPARED, `${numCompared} compared`))
})

/** Requests with every feature and their answers without drafts. */
async function drawJobs(client: BanyanClient): Promise<Job[]> {
  const { vocabSize, maxPositions } = await client.modelInfo()
  const draw: Draw = { random: createRandom(SEED), vocabSize, maxPositions }
  const bases = Array.from({ length: 2 * NUM_FEATURES }, (_, i) => baseRequest(i, draw))
  const answers = await inParallel(bases, 16, (base) => client.complete(base))
  const finals = bases.map((base, i) => finalRequest(i, base, answers[i]!, draw))
  return inParallel(finals, 1, async ({ feature, request }, i) => ({
    name: `request ${i} (${feature})`,
    request,
    want: await client.complete(request),
  }))
}

/** Runs so many at a time; the results are in the order of the items. */
async function inParallel<T, R>(
  items: readonly T[],
  atOnce: number,
  run: (item: T, i: number) => Promise<R>,
): Promise<R[]> {
  const results: R[] = []
  let next = 0
  const worker = async (): Promise<void> => {
    for (let i = next++; i < items.length; i = next++) results[i] = await run(items[i]!, i)
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
  return results
}

const asJson = (request: GenerateRequest): string =>
  JSON.stringify(request, (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value))
