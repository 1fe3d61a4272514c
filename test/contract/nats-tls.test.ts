// NATS over TLS: the server is verified, a client shows its certificate, and nothing goes without.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ClusterError } from '../../lib/errors.js'
import { connectNats, type NatsOptions } from '../../lib/transport/nats.js'
import { createAuthority, type Authority, type Certificate } from '../helpers/certificates.js'
import { startConfiguredNats, type ConfiguredNats } from '../helpers/nats-config.js'

describe('NATS over TLS', function () {
  this.timeout(20_000)
  const folder = mkdtempSync(join(tmpdir(), 'banyan-nats-tls-'))
  let authority: Authority
  let stranger: Authority
  let client: Certificate
  let nats: ConfiguredNats
  before(async () => {
    authority = createAuthority()
    stranger = createAuthority('somebody else')
    const { cert, key } = authority.issue('nats')
    client = authority.issue('router')
    const file = join(folder, 'server.conf')
    writeFileSync(
      file,
      `tls { cert_file: "${cert}", key_file: "${key}", ca_file: "${authority.ca}", verify: true }
       authorization { user: me, password: $BANYAN_TEST_PASSWORD }`,
    )
    nats = await startConfiguredNats(file, { BANYAN_TEST_PASSWORD: 'w0rd' })
  })
  after(async () => {
    await nats.stop()
    authority.remove()
    stranger.remove()
    rmSync(folder, { recursive: true, force: true })
  })

  const open = (options: Partial<NatsOptions> = {}) =>
    connectNats({
      url: `tls://me:w0rd@${nats.address}`,
      name: 'test',
      tls: { ca: authority.ca, ...client },
      connectTimeoutMs: 1_000,
      ...options,
    })
  const isRefused = (error: unknown): boolean =>
    error instanceof ClusterError && error.code === 'unavailable' && !error.message.includes('w0rd')

  it('carries requests', async () => {
    const transport = await open()
    transport.subscribe('echo', ({ payload, reply }) => reply?.(payload))
    await transport.flush()
    assert.deepEqual([...(await transport.request('echo', Buffer.from('a'), { timeoutMs: 2_000 }))], [97])
    await transport.close()
  })

  it('refuses who has no certificate, or one of another authority', async () => {
    await assert.rejects(open({ tls: { ca: authority.ca } }), isRefused)
    await assert.rejects(open({ tls: { ca: authority.ca, ...stranger.issue('router') } }), isRefused)
  })

  it('refuses a server that the authority does not vouch for', () =>
    assert.rejects(open({ tls: { ca: stranger.ca, ...client } }), isRefused))

  it('refuses a wrong password, and does not say it', () =>
    assert.rejects(open({ url: `tls://me:w0rd2@${nats.address}` }), isRefused))
})
