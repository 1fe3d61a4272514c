// What one caller's texts may do for another: nothing, unless the cluster is told so. Seen in the returned trees: sources
// that read texts propose no token that was not in one.

import assert from 'node:assert/strict'
import { BanyanClient, type GenerateRequest } from '../../sdk/src/index.js'
import type { RouterOptions } from '../../lib/config/service.js'
import { createRandom } from '../helpers/random.js'
import { startTestCluster } from '../helpers/test-cluster.js'

const NUM_PROMPTS = 3 // a drafter may be late once, and is left alone for a while then

const random = createRandom(9)
/** Nothing that a draft could copy from the prompt itself. */
const requests = Array.from({ length: NUM_PROMPTS }, (_, i): GenerateRequest => ({
  tokens: Array.from({ length: 12 }, () => 300 + Math.floor(random() * 3700)),
  returnTrees: true,
  sampling: { temperature: 0.8, seed: BigInt(i), maxTokens: 60, ignoreEos: true },
}))

/** What one key has asked for and got. */
interface Caller {
  readonly client: BanyanClient
  readonly own: Set<number> // tokens of all its texts
}

interface Drafted {
  readonly tokens: readonly number[] // of the answer
  readonly numNew: number // nodes whose token the text had not yet had
  readonly numForeign: number // nodes whose token no text of the caller had yet had
}

async function ask({ client, own }: Caller, request: GenerateRequest): Promise<Drafted> {
  const { tokens: prompt = [] } = request
  const text = [...prompt]
  for (const token of prompt) own.add(token)
  let [numNew, numForeign] = [0, 0]
  for await (const event of client.generate(request)) {
    if (event.type !== 'chunk') continue
    const drafted = (event.tree?.nodes ?? []).filter(({ sources }) => sources.length > 0)
    numNew += drafted.filter(({ token }) => !text.includes(token)).length
    numForeign += drafted.filter(({ token }) => !own.has(token)).length
    text.push(...event.tokenIds)
    for (const token of event.tokenIds) own.add(token)
  }
  return { tokens: text.slice(prompt.length), numNew, numForeign }
}

type Answers = Record<'anna' | 'bert' | 'annaAgain', Drafted[]>

/** For each prompt: Anna asks, Bert asks the same, Anna asks it again. */
async function askAll(draftSharing: RouterOptions['draftSharing']): Promise<Answers> {
  const cluster = await startTestCluster({
    draftSharing,
    apiKeys: ['anna', 'bert'],
    draft: ['prompt-lookup', 'suffix', 'ngram'],
    draftPrice: 0,
  })
  const callerOf = (apiKey: string): Caller => ({
    client: new BanyanClient({ address: cluster.router.grpc, apiKey }),
    own: new Set(),
  })
  const [anna, bert] = [callerOf('anna'), callerOf('bert')]
  const answers: Answers = { anna: [], bert: [], annaAgain: [] }
  try {
    for (const request of requests) {
      answers.anna.push(await ask(anna, request))
      answers.bert.push(await ask(bert, request))
      answers.annaAgain.push(await ask(anna, request))
    }
    return answers
  } finally {
    for (const { client } of [anna, bert]) client.close()
    await cluster.stop()
  }
}

const sum = (answers: readonly Drafted[], of: 'numNew' | 'numForeign'): number =>
  answers.reduce((total, answer) => total + answer[of], 0)

describe('texts of one API key', function () {
  this.timeout(30_000)

  it('are drafted from for that key alone', async () => {
    const { anna, bert, annaAgain } = await askAll('key')
    assert.deepEqual([sum(anna, 'numForeign'), sum(bert, 'numForeign')], [0, 0])
    assert.ok(sum(annaAgain, 'numNew') > 0, 'the key’s own earlier texts are of use')
    for (const other of [bert, annaAgain])
      assert.deepEqual(
        other.map(({ tokens }) => tokens),
        anna.map(({ tokens }) => tokens),
      )
  })

  it('serve every key where the cluster shares them', async () => {
    assert.ok(sum((await askAll('all')).bert, 'numForeign') > 0)
  })

  it('serve nobody where sharing is off', async () => {
    const { anna, bert, annaAgain } = await askAll('off')
    assert.equal(sum([...anna, ...bert, ...annaAgain], 'numNew'), 0)
  })
})
