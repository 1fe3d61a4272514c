// Real processes, really killed (SIGKILL) or stopped (SIGSTOP) in the middle of streams: every stream ends with the tokens
// of a quiet run.

import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { BanyanClient } from '../../sdk/src/index.js'
import { upCli, type CliCluster } from '../helpers/cli.js'
import { eventually } from '../helpers/eventually.js'
import { PROMPTS } from '../helpers/prompts.js'

const STREAMS = 8

const FROZEN_MS = 3_000 // the fault itself

describe('SIGKILL and SIGSTOP in the middle of streams', function () {
  this.timeout(90_000)
  let cluster: CliCluster
  let client: BanyanClient
  let quiet: (readonly number[])[]

  before(async () => {
    cluster = await upCli([
      '--transport',
      'nats',
      '--experts',
      '2',
      '--replicas',
      '2',
      '--attention',
      '2',
      '--cluster',
      'kill',
    ])
    client = new BanyanClient({ address: cluster.ready.grpc, maxAttempts: 1 })
    quiet = await streams(() => Promise.resolve())
  })
  after(async () => {
    client.close()
    await cluster.end()
  })

  /** All streams at once; `meanwhile` runs once, after the first stream's tenth token. */
  async function streams(meanwhile: () => Promise<void>): Promise<(readonly number[])[]> {
    let isCalled = false
    const one = async (i: number): Promise<readonly number[]> => {
      const tokens: number[] = []
      const sampling = { temperature: i % 2 === 0 ? 0 : 0.9, seed: BigInt(i), maxTokens: 96, ignoreEos: true }
      for await (const event of client.generate({ text: PROMPTS[i] ?? 'a', sampling }, { deadlineMs: 60_000 })) {
        if (event.type === 'chunk') tokens.push(...event.tokenIds)
        if (tokens.length < 10 || isCalled) continue
        isCalled = true
        await meanwhile()
      }
      return tokens
    }
    return Promise.all(Array.from({ length: STREAMS }, (_, i) => one(i)))
  }

  interface Row {
    readonly id: string
    readonly pid: number
    readonly state: string
  }

  const processes = async (): Promise<readonly Row[]> =>
    ((await (await fetch(`${cluster.ready.http}/cluster`)).json()) as { processes: Row[] }).processes // the documented form

  const ready = async (id: string): Promise<Row | undefined> =>
    (await processes()).find((row) => row.id === id && row.state === 'ready')

  for (const victim of ['expert-worker-0', 'attention-0', 'drafter-0']) {
    it(`${victim} stopped for ${FROZEN_MS} ms: no token differs, and it is the same process afterwards`, async () => {
      const { pid } = (await ready(victim)) ?? assert.fail(`${victim} is ready`)
      let woken: Promise<boolean> | undefined
      const tokens = await streams(() => {
        process.kill(pid, 'SIGSTOP')
        woken = sleep(FROZEN_MS).then(() => process.kill(pid, 'SIGCONT'))
        return Promise.resolve()
      })
      await woken
      assert.deepEqual(tokens, quiet)
      await eventually(async () => (await ready(victim))?.pid === pid, `${victim} is back`)
    })

    it(`${victim} killed: no token differs, and it is back with a new process id`, async () => {
      const { pid } = (await ready(victim)) ?? assert.fail(`${victim} is ready`)
      assert.deepEqual(await streams(async () => void process.kill(pid, 'SIGKILL')), quiet)
      await eventually(async () => ((await ready(victim))?.pid ?? pid) !== pid, `${victim} is back`)
    })
  }
})
