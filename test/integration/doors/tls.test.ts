// Both doors over TLS: with certificates of clients, and with one that is renewed while they are open.

import assert from 'node:assert/strict'
import { copyFileSync, writeFileSync } from 'node:fs'
import { join, dirname } from 'node:path'
import { connect } from 'node:tls'
import { fetchWith } from '../../../cli/client-tls.js'
import { createManualClock } from '../../../lib/actor/clock.js'
import { ClusterError } from '../../../lib/errors.js'
import { startGrpcServer, type GrpcServer } from '../../../services/router/grpc-server.js'
import { startHttpServer, type HttpServer } from '../../../services/router/http/http-server.js'
import { openTls, type TlsSource } from '../../../services/router/tls-source.js'
import { BanyanClient, BanyanError } from '../../../sdk/src/index.js'
import { createAuthority, pem, type Authority, type Certificate } from '../../helpers/certificates.js'
import { eventually } from '../../helpers/eventually.js'
import { createScriptedEngine, silent } from './scripted-engine.js'

for (const isMutual of [false, true]) {
  describe(`the doors over ${isMutual ? 'mutual TLS' : 'TLS'}`, function () {
    this.timeout(20_000)
    const clock = createManualClock()
    const warnings: string[] = []
    const logger = { ...silent, warn: (_: unknown, message: string) => void warnings.push(message) }
    let authority: Authority
    let stranger: Authority
    let server: Certificate
    let tls: TlsSource
    let http: HttpServer
    let grpc: GrpcServer
    before(async () => {
      authority = createAuthority()
      stranger = createAuthority('somebody else')
      server = authority.issue('router')
      tls = openTls({ ...server, clientCa: isMutual ? authority.ca : undefined }, { clock, logger })
      const options = { engine: createScriptedEngine(), host: '127.0.0.1', port: 0, apiKeys: [], logger: silent, tls }
      http = await startHttpServer(options)
      grpc = await startGrpcServer(options)
    })
    after(async () => {
      await Promise.all([http.stop(0), grpc.stop(0)])
      tls.close()
      authority.remove()
      stranger.remove()
    })

    const identity = (issuer = authority): { readonly cert: Buffer; readonly key: Buffer } => {
      const { cert, key } = issuer.issue('client')
      return { cert: pem(cert), key: pem(key) }
    }
    const overHttp = async (tls: { ca?: Buffer; cert?: Buffer; key?: Buffer }): Promise<number> =>
      (await fetchWith(tls)(`${http.url}/v1/models`, {})).status
    async function overGrpc({ ca, cert, key }: { ca?: Buffer; cert?: Buffer; key?: Buffer }): Promise<string> {
      const files = {
        ...(ca && { rootCertificate: ca }),
        ...(cert && { certificate: cert }),
        ...(key && { privateKey: key }),
      }
      const client = new BanyanClient({ address: grpc.address, tls: files, maxAttempts: 1 })
      try {
        return (await client.complete({ text: 'x' }, { deadlineMs: 5_000 })).text
      } finally {
        client.close()
      }
    }
    const isCut = (error: unknown): boolean => error instanceof BanyanError && error.code === 'unavailable'

    it('serve clients that trust them', async () => {
      assert.match(http.url, /^https:/)
      const trusting = { ca: pem(authority.ca), ...(isMutual && identity()) }
      assert.equal(await overHttp(trusting), 200)
      assert.equal(await overGrpc(trusting), 'ab')
    })

    it('serve nobody in the clear', async () => {
      await assert.rejects(fetch(http.url.replace('https', 'http')))
      const client = new BanyanClient({ address: grpc.address, maxAttempts: 1 })
      await assert.rejects(client.complete({ text: 'x' }, { deadlineMs: 5_000 }), isCut)
      client.close()
    })

    it('are not trusted by clients of another authority', async () => {
      const foreign = { ca: pem(stranger.ca), ...(isMutual && identity()) }
      await assert.rejects(overHttp(foreign))
      await assert.rejects(overGrpc(foreign), isCut)
    })

    if (isMutual) {
      it('refuse a client without a certificate, or with one of another authority', async () => {
        for (const client of [{}, identity(stranger)]) {
          await assert.rejects(overHttp({ ca: pem(authority.ca), ...client }))
          await assert.rejects(overGrpc({ ca: pem(authority.ca), ...client }), isCut)
        }
      })
    }

    it('take a renewed certificate, and keep the old one while the new is not whole', async () => {
      const nameAt = async (address: string, protocol: string): Promise<string> => {
        const [host, port] = address.split(':')
        const options = { ca: pem(authority.ca), ALPNProtocols: [protocol], ...identity() }
        const socket = connect(Number(port), host, options)
        await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject))
        const { CN } = socket.getPeerCertificate().subject
        socket.destroy()
        return String(CN)
      }
      const names = (): Promise<string[]> =>
        Promise.all([nameAt(http.url.slice('https://'.length), 'http/1.1'), nameAt(grpc.address, 'h2')])
      assert.deepEqual(await names(), ['router', 'router'])

      const next = authority.issue('renewed')
      const halfWritten = pem(next.cert).subarray(0, 100)
      writeFileSync(server.cert, halfWritten)
      clock.advance(4_000)
      assert.deepEqual([await names(), warnings.length], [['router', 'router'], 1])

      copyFileSync(next.cert, server.cert)
      copyFileSync(next.key, server.key)
      clock.advance(2_000)
      await eventually(async () => (await names()).every((name) => name === 'renewed'), 'the new certificate is shown')
      const trusting = { ca: pem(authority.ca), ...(isMutual && identity()) }
      assert.equal(await overGrpc(trusting), 'ab')
    })
  })
}

describe('openTls', () => {
  it('names files that cannot be read or do not fit', () => {
    const authority = createAuthority()
    const [one, two] = [authority.issue('one'), authority.issue('two')]
    const open = (cert: string, key: string) => () =>
      openTls({ cert, key }, { clock: createManualClock(), logger: silent })
    const isBad = (error: unknown): boolean => error instanceof ClusterError && error.code === 'invalid_argument'
    for (const files of [
      [one.cert, two.key],
      [join(dirname(one.cert), 'none.pem'), one.key],
      [one.key, one.cert],
    ] as const)
      assert.throws(open(...files), isBad)
    authority.remove()
  })
})
