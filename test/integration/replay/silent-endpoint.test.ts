// A replay against an endpoint that accepts connections and never answers anything.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { eventually } from '../../helpers/eventually.js'
import { runCli, startCli } from '../../helpers/cli.js'
import { repositoryRoot } from '../../helpers/paths.js'

const trace = join(repositoryRoot, 'test/fixtures/traces/mooncake.jsonl')

interface Report {
  readonly was_cancelled: boolean
}

describe('an endpoint that accepts and never answers', function () {
  this.timeout(30_000)
  const sockets: Socket[] = []
  let server: Server | undefined
  let url = ''
  before(async () => {
    server = createServer((socket) => sockets.push(socket.on('error', () => undefined)))
    await once(server.listen(0, '127.0.0.1'), 'listening')
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  })
  after(() => {
    for (const socket of sockets) socket.destroy()
    server?.close()
  })

  it('is not asked about itself for longer than for an answer', async () => {
    const startMs = performance.now()
    const words = ['--url', url, '--limit', '1', '--first-byte-timeout-ms', '100', '--json']
    const { code, stdout, stderr } = await runCli(['replay', trace, ...words])
    assert.equal(code, 1, stderr)
    assert.match(stdout, /first_byte_timeout/)
    assert.ok(performance.now() - startMs < 5_000, 'less than one question’s own bound')
  })

  it('can be left while it is asked: an empty report, exit 130', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'banyan-left-'))
    const numBefore = sockets.length
    const running = startCli(['replay', trace, '--url', url, '--json', '--out', folder])
    await eventually(() => sockets.length > numBefore, 'it is asked')
    running.child.kill('SIGINT')
    const { code, stdout, stderr } = await running.outcome
    assert.equal(code, 130, stderr)
    assert.equal((JSON.parse(stdout) as Report).was_cancelled, true)
    assert.equal(readdirSync(folder).length, 4)
    rmSync(folder, { recursive: true })
  })
})
