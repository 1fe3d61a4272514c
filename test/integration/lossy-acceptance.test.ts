// Typical acceptance, the one lossy way: it says so, and only sampled text may differ.

import assert from 'node:assert/strict'
import { BanyanClient, type Completion, type GenerateRequest } from '../../sdk/src/index.js'
import { COPYING_PROMPTS, PROMPTS } from '../helpers/prompts.js'
import { startTestCluster, type ClusterShape } from '../helpers/test-cluster.js'

const texts = [...PROMPTS.slice(0, 6), ...COPYING_PROMPTS.slice(0, 2)]
const SEEDS = [0, 100, 200, 300] // a drafter may be late once, and is left alone for a while then

const requestsAt = (temperature: number, seed: number, wishes: Partial<GenerateRequest> = {}): GenerateRequest[] =>
  texts.map((text, i) => ({
    text,
    sampling: { temperature, seed: BigInt(seed + i), maxTokens: 60, ignoreEos: true },
    ...wishes,
  }))

interface Answers {
  readonly greedy: readonly Completion[]
  readonly sampled: readonly Completion[]
  readonly withLogprobs: readonly Completion[]
}

async function answerAll(shape: ClusterShape): Promise<Answers> {
  const cluster = await startTestCluster(shape)
  const client = new BanyanClient({ address: cluster.router.grpc })
  const answer = (requests: readonly GenerateRequest[]): Promise<Completion[]> =>
    Promise.all(requests.map((request) => client.complete(request)))
  try {
    const greedy = await answer(requestsAt(0, 0))
    const sampled: Completion[] = []
    for (const seed of SEEDS) sampled.push(...(await answer(requestsAt(1, seed))))
    return { greedy, sampled, withLogprobs: await answer(requestsAt(1, 0, { logprobs: 0 })) }
  } finally {
    client.close()
    await cluster.stop()
  }
}

/** Drafts from all texts: the greedy ones are what typical acceptance likes to take. */
const LOSSY: ClusterShape = {
  acceptance: 'typical',
  draftSharing: 'all',
  draft: ['prompt-lookup', 'suffix', 'ngram'],
  draftPrice: 0.05,
}

describe('typical acceptance', function () {
  this.timeout(30_000)
  let exact: Answers
  let lossy: Answers
  before(async () => {
    exact = await answerAll({ draft: [], drafters: 0 })
    lossy = await answerAll(LOSSY)
  })

  const tokensOf = (kind: keyof Answers): [(readonly number[])[], (readonly number[])[]] => [
    lossy[kind].map(({ tokenIds }) => tokenIds),
    exact[kind].map(({ tokenIds }) => tokenIds),
  ]

  it('is told by the fingerprint', () => {
    const [plain, typical] = [exact, lossy].map(({ greedy: [first] }) => first?.fingerprint ?? '')
    assert.equal(typical, `${plain}-lossy-typical`)
  })

  it('changes no greedy text', () => assert.deepEqual(...tokensOf('greedy')))

  it('changes no text whose log-probabilities are asked for', () => assert.deepEqual(...tokensOf('withLogprobs')))

  it('ends every sampled text as it should', () => {
    for (const { tokenIds, finishReason, text } of lossy.sampled)
      assert.deepEqual([tokenIds.length, finishReason, text.length > 0], [60, 'length', true])
  })

  it('takes drafts that nobody sampled', () => assert.notDeepEqual(...tokensOf('sampled')))
})
