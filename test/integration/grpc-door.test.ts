// The gRPC door as its users meet it: reflection, health, typed errors, the SDK, cancellation.

import assert from 'node:assert/strict'
import { credentials } from '@grpc/grpc-js'
import { GrpcReflection } from 'grpc-js-reflection-client'
import { BanyanClient, BanyanError, type GenerateRequest } from '../../sdk/src/index.js'
import { eventually } from '../helpers/eventually.js'
import { startTestCluster, type TestCluster } from '../helpers/test-cluster.js'

interface Status {
  readonly processes: readonly { readonly id: string; readonly load: Readonly<Record<string, number>> }[]
  readonly requests: { readonly running: number }
}

describe('the gRPC door', function () {
  this.timeout(30_000)
  let cluster: TestCluster
  let client: BanyanClient

  before(async () => {
    cluster = await startTestCluster({ neighbours: false }) // expert workers hear of a cancel by frames
    client = new BanyanClient({ address: cluster.router.grpc, maxAttempts: 1 })
  })
  after(async () => {
    client.close()
    await cluster.stop()
  })

  const status = async (): Promise<Status> => (await (await fetch(`${cluster.router.http}/cluster`)).json()) as Status // the documented form

  it('reflection lists the services', async () => {
    const reflection = new GrpcReflection(cluster.router.grpc, credentials.createInsecure())
    const services = await reflection.listServices()
    assert.ok(services.includes('banyan.v1.InferenceService'))
    assert.ok(services.includes('grpc.health.v1.Health'))
    const methods = await reflection.listMethods('banyan.v1.InferenceService')
    assert.deepEqual(methods.map(({ name }) => name).sort(), [
      'Cancel',
      'Generate',
      'GetModelInfo',
      'GetServerInfo',
      'Resume',
    ])
  })

  it('describes model and server', async () => {
    const model = await client.modelInfo()
    assert.deepEqual([model.id, model.numExperts, model.expertsPerToken, model.vocabSize], ['demo', 16, 2, 4096])
    const server = await client.serverInfo()
    assert.equal(server.ready, true)
    assert.ok(server.processes.some(({ role }) => role === 'expert-worker'))
  })

  it('tells what its fingerprint is made of, the same at both doors', async () => {
    const { fingerprint, fingerprintParts } = await client.serverInfo()
    const version = (await (await fetch(`${cluster.router.http}/version`)).json()) as Record<string, unknown> // an object
    assert.deepEqual([version.fingerprint, version.fingerprint_parts], [fingerprint, fingerprintParts])
    assert.deepEqual(Object.keys(fingerprintParts).sort(), [
      'acceptance',
      'checkpoint',
      'device_class',
      'kv',
      'sampler',
      'weights',
    ])
    assert.equal(fingerprintParts.weights, 'int8')
  })

  it('returns the drawn seed, and that seed gives the same answer', async () => {
    const request: GenerateRequest = { text: 'export class ', sampling: { temperature: 1, maxTokens: 24 } }
    const drawn = await client.complete(request)
    const again = await client.complete({ ...request, sampling: { ...request.sampling, seed: drawn.seed } })
    assert.deepEqual(again.tokenIds, drawn.tokenIds)
  })

  it('carries a 64-bit seed without loss', async () => {
    const seed = 2n ** 64n - 1n
    assert.equal((await client.complete({ text: 'a', sampling: { seed, maxTokens: 2 } })).seed, seed)
  })

  it('gives each choice noise of its own', async () => {
    const { choices } = await client.complete({
      text: 'export ',
      n: 3,
      sampling: { temperature: 1, seed: 5n, maxTokens: 24 },
    })
    assert.equal(new Set(choices.map(({ tokenIds }) => tokenIds.join())).size, 3)
  })

  it('joins a request id that is known, and refuses it with another body', async () => {
    const request: GenerateRequest = {
      text: 'export ',
      requestId: 'twice',
      sampling: { temperature: 1, maxTokens: 16 },
    }
    const [a, b] = await Promise.all([client.complete(request), client.complete(request)])
    assert.deepEqual([a.tokenIds, a.seed], [b.tokenIds, b.seed])
    await assert.rejects(
      client.complete({ ...request, text: 'import ' }),
      (error) =>
        error instanceof BanyanError && error.code === 'already_exists' && error.reason === 'REQUEST_ID_REUSED',
    )
  })

  it('runs a request again under its id after it was cancelled', async () => {
    const request: GenerateRequest = {
      text: 'export ',
      requestId: 'once-more',
      sampling: { temperature: 0, maxTokens: 24, ignoreEos: true },
    }
    const abort = new AbortController()
    const events = client.generate(request, { signal: abort.signal })
    await events.next()
    abort.abort()
    await assert.rejects(events.next())
    await eventually(async () => (await status()).requests.running === 0, 'it is gone')
    assert.equal((await client.complete(request)).tokenIds.length, 24)
  })

  const refused: readonly [string, GenerateRequest, RegExp][] = [
    ['an unknown model', { text: 'a', model: 'other' }, /other.*demo/],
    ['top_p out of range', { text: 'a', sampling: { topP: 1.5 } }, /top_p.*1\.5/],
    ['an id outside the vocabulary', { tokens: [99_999] }, /99999.*4095/],
    ['min_tokens above max_tokens', { text: 'a', sampling: { minTokens: 9, maxTokens: 3 } }, /min_tokens/],
  ]
  for (const [title, request, message] of refused) {
    it(`refuses ${title} with code, reason and words`, () =>
      assert.rejects(
        client.complete(request),
        (error) =>
          error instanceof BanyanError &&
          ['invalid_argument', 'not_found'].includes(error.code) &&
          message.test(error.message) &&
          error.reason !== '',
      ))
  }

  it('ends a call at its deadline', () =>
    assert.rejects(
      client.complete({ text: 'export ', sampling: { maxTokens: 2000, ignoreEos: true } }, { deadlineMs: 200 }),
      (error) => error instanceof BanyanError && error.code === 'deadline_exceeded',
    ))

  /** Starts a request with a long prompt, cancels it while it runs, and waits until it is gone. */
  async function startAndCancel(): Promise<void> {
    const abort = new AbortController()
    const tokens = Array<number>(1500).fill(300)
    const events = client.generate({ tokens, sampling: { maxTokens: 300, ignoreEos: true } }, { signal: abort.signal })
    const first = await events.next()
    assert.ok(first.done !== true && first.value.type === 'accepted')
    await eventually(async () => (await status()).requests.running === 1, 'it runs')
    abort.abort()
    await assert.rejects(events.next(), (error) => error instanceof BanyanError && error.code === 'cancelled')
    await eventually(async () => (await status()).requests.running === 0, 'it is gone')
  }

  it('a cancel is seen by the expert workers and frees the request', async () => {
    const cancelled = async (): Promise<number> =>
      (await status()).processes.reduce((sum, { load }) => sum + (load.cancelledSteps ?? 0), 0)
    const before = await cancelled()
    // A cancel that falls between two steps has nobody to tell: then the next one is watched.
    const isSeen = async (): Promise<boolean> => {
      await startAndCancel()
      return (await cancelled()) > before
    }
    await eventually(isSeen, 'an expert worker was told')
  })
})
