// A whole cluster whose doors ask every client for a certificate, as a user runs it.

import assert from 'node:assert/strict'
import { runCli, upCli, type CliCluster, type Outcome } from '../helpers/cli.js'
import { createAuthority, type Authority, type Certificate } from '../helpers/certificates.js'

describe('banyan over mutual TLS', function () {
  this.timeout(120_000)
  let authority: Authority
  let client: Certificate
  let cluster: CliCluster
  before(async () => {
    authority = createAuthority()
    client = authority.issue('client')
    const { cert, key } = authority.issue('router')
    const tls = ['--tls-cert', cert, '--tls-key', key, '--tls-client-ca', authority.ca]
    cluster = await upCli(['--transport', 'local', '--experts', '1', '--api-key', 'hush;name=alice', ...tls])
  })
  after(async () => {
    const { code } = await cluster.end()
    authority.remove()
    assert.equal(code, 0)
  })

  const ours = (): string[] => ['--tls-ca', authority.ca, '--tls-cert', client.cert, '--tls-key', client.key]
  const generate = (url: string, tls = ours()): Promise<Outcome> =>
    runCli([
      'generate',
      'export interface ',
      '--max-tokens',
      '6',
      '--seed',
      '7',
      '--url',
      url,
      '--api-key',
      'hush',
      ...tls,
    ])

  it('answers the same at both doors', async () => {
    assert.match(cluster.ready.http, /^https:\/\/127\.0\.0\.1:\d+$/)
    const [http, grpc] = [await generate(cluster.ready.http), await generate(cluster.ready.grpc)]
    assert.deepEqual([http.code, grpc.code], [0, 0], `${http.stderr}${grpc.stderr}`)
    assert.ok(http.stdout.trim().length > 0)
    assert.equal(http.stdout, grpc.stdout)
  })

  it('shows its status', async () => {
    const { code, stdout, stderr } = await runCli([
      'status',
      '--url',
      cluster.ready.http,
      '--api-key',
      'hush',
      ...ours(),
    ])
    assert.equal(code, 0, stderr)
    assert.match(stdout, /router-0/)
  })

  it('lets nobody in without a certificate', async () => {
    for (const url of [cluster.ready.http, cluster.ready.grpc]) {
      const { code, stderr } = await generate(url, ['--tls-ca', authority.ca])
      assert.deepEqual([code, /unavailable/.test(stderr)], [1, true], stderr)
    }
  })

  it('half of a pair is a usage error, of a cluster and of a client', async () => {
    const up = await runCli(['up', '--tls-cert', client.cert])
    const status = await runCli(['status', '--url', cluster.ready.http, '--tls-key', client.key])
    assert.deepEqual([up.code, status.code], [2, 2], `${up.stderr}${status.stderr}`)
  })
})
