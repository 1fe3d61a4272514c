// I3 against drafters that lie: whatever they answer, early, late or never, the tokens are those without any drafter, and
// the cluster goes on serving.

import assert from 'node:assert/strict'
import { generateAll, type Job } from '../helpers/generate-all.js'
import { startNatsForTest, type TestNats } from '../helpers/nats.js'
import { PROMPTS } from '../helpers/prompts.js'
import { createRandom } from '../helpers/random.js'
import { startScriptedDrafter, type ScriptedDrafter } from '../helpers/scripted-drafter.js'
import { startTestCluster, type ClusterShape, type TestCluster } from '../helpers/test-cluster.js'
import { BROKEN_LIES, TREE_LIES, type Lie } from './lies.js'

const SEED = 20_240
const MAX_ROUNDS = 40

/** Eight streams, greedy and sampled. */
const jobs = PROMPTS.slice(0, 8).map((text, i): Job => {
  const sampling = { temperature: i % 2 === 0 ? 0 : 0.9, seed: BigInt(i), maxTokens: 32, ignoreEos: true }
  return { name: `stream ${i}`, request: { text, sampling } }
})

describe('drafters that lie', function () {
  this.timeout(60_000)
  let nats: TestNats
  let plain: Record<string, readonly number[]>

  before(async () => {
    nats = await startNatsForTest()
    plain = await withCluster({ draft: [] }, ({ router }) => generateAll(router.grpc, jobs, 'together'))
  })
  after(() => nats.stop())

  async function withCluster<T>(shape: ClusterShape, use: (cluster: TestCluster) => Promise<T>): Promise<T> {
    const cluster = await startTestCluster({ drafters: 0, ...shape })
    try {
      return await use(cluster)
    } finally {
      await cluster.stop()
    }
  }

  for (const transport of ['local', 'nats'] as const) {
    it(`change no token and end nothing, over ${transport}`, () =>
      withCluster({ draftPrice: 0, ...(transport === 'nats' && { nats: nats.url }) }, async (cluster) => {
        const untold = new Set([...Object.keys(TREE_LIES), ...Object.keys(BROKEN_LIES), 'late', 'silent'])
        const liars = await startLiars(cluster, (lie) => untold.delete(lie))
        for (let round = 0; round < MAX_ROUNDS && untold.size > 0; round++)
          assert.deepEqual(
            await generateAll(cluster.router.grpc, jobs, 'together'),
            plain,
            `seed ${SEED}, round ${round}`,
          )
        assert.deepEqual([...untold], [], 'every lie was told')
        for (const liar of liars) await liar.stop()
        assert.deepEqual(await generateAll(cluster.router.grpc, jobs, 'together'), plain)
        assert.equal((await fetch(`${cluster.router.http}/ready`)).status, 200)
      }))
  }

  it('are not heard where nobody asked them', () =>
    withCluster({}, async (cluster) => {
      for (let i = 0; i < 100; i++)
        cluster.system.tell('router-0', 'draft.trees', { step: `step ${i}`, sources: [], computeMs: 0, entries: [] })
      assert.deepEqual(await generateAll(cluster.router.grpc, jobs, 'together'), plain)
    }))
})

/** One that tells the well-formed lies in turn, one for each of the others, one that is late and one that says nothing. */
async function startLiars(cluster: TestCluster, onTold: (lie: string) => void): Promise<ScriptedDrafter[]> {
  const random = createRandom(SEED)
  const liars: ScriptedDrafter[] = []
  const start = async (id: string, lies: readonly (readonly [string, Lie])[], hidden = 0): Promise<void> => {
    let numTold = 0
    const answer = (asked: Parameters<Lie>[0], reply: (bytes: Uint8Array) => void): void => {
      const [name, lie] = lies[numTold++ % lies.length]!
      reply(lie(asked, random))
      onTold(name)
    }
    liars.push(await startScriptedDrafter(cluster, { id, hidden, answer }))
  }
  await start('liar', Object.entries(TREE_LIES), 128)
  for (const [i, lie] of Object.entries(BROKEN_LIES).entries()) await start(`liar-${i}`, [lie])
  let answerLast = (): void => undefined
  const answerLate = (asked: Parameters<Lie>[0], reply: (bytes: Uint8Array) => void): void => {
    answerLast() // its deadline is over: otherwise this question had not come
    answerLast = () => {
      reply(TREE_LIES['random trees']!(asked, random))
      onTold('late')
    }
  }
  liars.push(
    await startScriptedDrafter(cluster, { id: 'liar-late', answer: answerLate }),
    await startScriptedDrafter(cluster, { id: 'liar-silent', answer: () => onTold('silent') }),
  )
  return liars
}
