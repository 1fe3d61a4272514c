import assert from 'node:assert/strict'
import type { ClusterError } from '../../../lib/errors.js'
import { natsAccess, withoutLogin } from '../../../lib/transport/nats-access.js'

describe('natsAccess', () => {
  const cases: readonly [string, readonly string[], object][] = [
    ['nats://host:4222', ['nats://host:4222'], {}],
    ['nats://me:word@host:4222', ['nats://host:4222'], { user: 'me', pass: 'word' }],
    ['nats://me:12%40%3a3@host', ['nats://host'], { user: 'me', pass: '12@:3' }],
    ['nats://me:p@ss:w%rd@host', ['nats://host'], { user: 'me', pass: 'p@ss:w%rd' }],
    ['nats://secret@host:1', ['nats://host:1'], { token: 'secret' }],
    ['nats://a:1,nats://u:p@b:2', ['nats://a:1', 'nats://b:2'], { user: 'u', pass: 'p' }],
  ]
  for (const [url, servers, login] of cases) {
    it(`reads ${url}`, () => assert.deepEqual(natsAccess(url), { servers, login, tls: undefined }))
  }

  it('takes the login beside the URL where the URL has none', () => {
    const login = { user: 'router', password: 'p@ss:w%rd' }
    assert.deepEqual(natsAccess('nats://a,nats://b', { login }).login, { user: 'router', pass: 'p@ss:w%rd' })
    assert.deepEqual(natsAccess('nats://a,nats://u:p@b', { login }).login, { user: 'u', pass: 'p' })
    assert.deepEqual(natsAccess('nats://a', { login: { password: 'alone' } }).login, {})
  })

  it('speaks TLS where the scheme or a file asks for it', () => {
    assert.deepEqual(natsAccess('tls://host').tls, {})
    assert.deepEqual(natsAccess('nats://host', { tls: { ca: import.meta.filename } }).tls, {
      caFile: import.meta.filename,
    })
  })

  it('names a file that cannot be read', () =>
    assert.throws(
      () => natsAccess('nats://host', { tls: { ca: '/nowhere/ca.pem' } }),
      (error: ClusterError) => error.code === 'invalid_argument' && error.message.includes('/nowhere/ca.pem'),
    ))

  it('shows servers without their logins', () =>
    assert.equal(withoutLogin('at nats://u:p@a:1,tls://t@b, x'), 'at nats://a:1,tls://b, x'))
})
