// The examples as a reader runs them, against a cluster that asks for a key.

import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { eventually } from '../helpers/eventually.js'
import { repositoryRoot } from '../helpers/paths.js'
import { startTestCluster, type TestCluster } from '../helpers/test-cluster.js'

const KEY = 'sk-right'

describe('examples', function () {
  this.timeout(60_000)
  let cluster: TestCluster

  before(async () => void (cluster = await startTestCluster({ apiKeys: [KEY] })))
  after(() => cluster?.stop())

  const run = async (command: string, script: string, key = KEY): Promise<string> => {
    const { http, grpc } = cluster.router
    const env = { ...process.env, BANYAN_URL: http, BANYAN_ADDRESS: grpc, BANYAN_API_KEY: key }
    return (await promisify(execFile)(command, [join(repositoryRoot, script)], { env, timeout: 30_000 })).stdout
  }
  const node = (name: string, key?: string): Promise<string> => run(process.execPath, `dist/examples/${name}.js`, key)

  it('SDK and OpenAI client stream the same text of the same request', async () => {
    const text = (await node('openai-client')).trimEnd()
    assert.ok(text.length > 50, text)
    const told = await node('sdk')
    assert.ok(told.startsWith(text), `${told}\n\nis not\n\n${text}`)
    assert.match(told, /completionTokens: 64/)
  })

  it('streaming ends its request by leaving its loop', async () => {
    assert.equal((await node('streaming')).trimEnd().split('\n').length, 5)
    const running = async (): Promise<number> => {
      const answer = await fetch(`${cluster.router.http}/cluster`, { headers: { authorization: `Bearer ${KEY}` } })
      const { requests } = (await answer.json()) as { requests: { running: number } } // as docs/reference.md has it
      return requests.running
    }
    await eventually(async () => (await running()) === 0, 'no request runs')
  })

  it('curl.sh streams events', async function () {
    if (spawnSync('curl', ['--version']).status !== 0) {
      console.log('      skipped: no curl on the PATH')
      this.skip()
    }
    assert.match(await run('sh', 'examples/curl.sh'), /"text":[^]*data: \[DONE\]\s*$/)
  })

  it('fail with another key', async () => {
    await assert.rejects(node('openai-client', 'sk-wrong'), /401/)
  })
})
