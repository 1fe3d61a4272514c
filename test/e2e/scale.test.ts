// `banyan scale` on a real cluster under streams: processes come and go, and every token is that of the quiet run.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { BanyanClient } from '../../sdk/src/index.js'
import { eventually } from '../helpers/eventually.js'
import { isAlive, runCli, upCli } from '../helpers/cli.js'
import { PROMPTS } from '../helpers/prompts.js'

const STREAMS = 8

interface Status {
  readonly processes: readonly { readonly id: string; readonly pid: number; readonly state: string }[]
}

describe('banyan scale', function () {
  this.timeout(240_000)

  it('wants something to change', async () => {
    const { code, stderr } = await runCli(['scale', '--json'])
    assert.equal(code, 2)
    assert.match(stderr, /--experts/)
  })

  for (const transport of ['nats', 'local']) {
    it(`${transport}: experts 2 → 4 → 1, attention 1 → 2 → 1, routers 1 → 2 → 1 under streams`, async () => {
      const cluster = await upCli(['--transport', transport, '--cluster', `scale-${transport}`, '--api-key', 'k'])
      const client = new BanyanClient({ address: cluster.ready.grpc, apiKey: 'k', maxAttempts: 1 })
      const streams = (): Promise<(readonly number[])[]> =>
        Promise.all(
          Array.from({ length: STREAMS }, async (_, i) => {
            const tokens: number[] = []
            const sampling = { temperature: i % 2 === 0 ? 0 : 0.9, seed: BigInt(i), maxTokens: 96, ignoreEos: true }
            for await (const event of client.generate({ text: PROMPTS[i] ?? 'a', sampling }, { deadlineMs: 60_000 })) {
              if (event.type === 'chunk') tokens.push(...event.tokenIds)
            }
            return tokens
          }),
        )
      const scale = async (...flags: readonly string[]): Promise<Record<string, Record<string, number>>> => {
        const where = ['--url', cluster.ready.http, '--api-key', 'k', '--json']
        const { code, stdout, stderr } = await runCli(['scale', ...where, ...flags])
        assert.equal(code, 0, stderr)
        return JSON.parse(stdout) as Record<string, Record<string, number>> // the documented form
      }
      const processes = async (): Promise<Status['processes']> => {
        const headers = { authorization: 'Bearer k' }
        return ((await (await fetch(`${cluster.ready.http}/cluster`, { headers })).json()) as Status).processes // likewise
      }
      try {
        const quiet = await streams()
        let isChanging = true
        const changes = (async () => {
          const { was, is } = await scale('--experts', '4', '--attention', '2', '--routers', '2', '--replicas', '2')
          assert.deepEqual(was, { routers: 1, attention: 1, experts: 2, drafters: 1, replicas: 1 })
          assert.deepEqual(is, { routers: 2, attention: 2, experts: 4, drafters: 1, replicas: 2 })
          const before = await processes()
          const after = await scale('--experts', '1', '--attention', '1', '--routers', '1', '--replicas', '1')
          assert.deepEqual(after.is, { routers: 1, attention: 1, experts: 1, drafters: 1, replicas: 1 })
          const left = before.filter(({ id }) => /^(expert-worker-[1-3]|attention-1|router-1)$/.test(id))
          assert.equal(left.length, 5)
          const isGone = (): boolean => left.every(({ pid }) => !isAlive(pid)) // a farewell is heard before the exit
          if (transport === 'nats') await eventually(isGone, 'who drained is gone', 10_000)
        })().finally(() => {
          isChanging = false
        })
        changes.catch(() => undefined) // thrown below, after the streams of the round
        do assert.deepEqual(await streams(), quiet)
        while (isChanging)
        await changes
      } finally {
        client.close()
        await cluster.end()
      }
    })
  }

  it('the ready file names the routers of now, and finds the cluster for `scale`', async () => {
    const cluster = await upCli(['--transport', 'local'])
    const numRouters = (): number =>
      (JSON.parse(readFileSync(cluster.readyFile, 'utf8')) as { routers: readonly unknown[] }).routers.length // the documented form
    try {
      for (const count of [3, 1]) {
        const { code, stderr } = await runCli(['scale', '--ready-file', cluster.readyFile, '--routers', String(count)])
        assert.equal(code, 0, stderr)
        assert.equal(numRouters(), count)
      }
    } finally {
      await cluster.end()
    }
  })
})
