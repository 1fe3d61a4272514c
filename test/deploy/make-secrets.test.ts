// The script that makes the Secrets: what is rotated alone, and an authority that stays.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { V1Secret } from '@kubernetes/client-node'
import { parseManifests, type Typed } from './manifests.js'
import { SECRETS_SCRIPT } from './secrets.js'

/** Data of the Secrets by name. */
function make(...words: string[]): ReadonlyMap<string, Readonly<Record<string, string>>> {
  const { status, stdout, stderr } = spawnSync('sh', [SECRETS_SCRIPT, ...words], { encoding: 'utf8' })
  assert.equal(status, 0, stderr)
  const secrets = parseManifests(stdout) as readonly Typed<V1Secret>[] // it makes nothing else
  return new Map(
    secrets.map(({ metadata, data = {} }) => [
      metadata.name ?? '',
      Object.fromEntries(Object.entries(data).map(([key, value]) => [key, Buffer.from(value, 'base64').toString()])),
    ]),
  )
}

function certificates(...words: string[]): { readonly authority: X509Certificate; readonly server: X509Certificate } {
  const secret = make(...words).get('nats-tls') ?? {}
  return {
    authority: new X509Certificate(secret['ca.crt'] ?? ''),
    server: new X509Certificate(secret['tls.crt'] ?? ''),
  }
}

describe('make-secrets.sh', () => {
  let folder = ''
  beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'banyan-secrets-'))))
  afterEach(() => rmSync(folder, { recursive: true }))

  it('makes all, or those that are named', () => {
    assert.deepEqual([...make().keys()], ['nats-passwords', 'banyan-api-keys', 'nats-tls'])
    assert.deepEqual([...make('-t').keys()], ['nats-passwords', 'banyan-api-keys'])
    assert.deepEqual([...make('banyan-api-keys').keys()], ['banyan-api-keys'])
    assert.deepEqual([...make('-n', 'other', 'nats-tls', 'nats-passwords').keys()], ['nats-passwords', 'nats-tls'])
  })

  it('makes nothing of a name that it does not know', () => {
    const { status, stdout, stderr } = spawnSync('sh', [SECRETS_SCRIPT, 'nats-tsl'], { encoding: 'utf8' })
    assert.deepEqual([status, stdout], [2, ''])
    assert.match(stderr, /nats-passwords .*one per role/)
  })

  it('keeps an authority in a folder: who knows it knows the next certificate, too', () => {
    const kept = join(folder, 'authority')
    const [first, second] = [certificates('-c', kept), certificates('-c', kept, 'nats-tls')]
    assert.equal(first.authority.fingerprint256, second.authority.fingerprint256)
    assert.notEqual(first.server.fingerprint256, second.server.fingerprint256)
    assert.ok(second.server.verify(first.authority.publicKey))
    assert.equal(statSync(join(kept, 'ca.key')).mode & 0o077, 0, 'the key is for its owner alone')
  })

  it('makes a new authority where none is kept, and none where half of one is', () => {
    assert.notEqual(certificates().authority.fingerprint256, certificates().authority.fingerprint256)
    certificates('-c', folder)
    rmSync(join(folder, 'ca.crt'))
    const { status, stdout, stderr } = spawnSync('sh', [SECRETS_SCRIPT, '-c', folder], { encoding: 'utf8' })
    assert.deepEqual([status, stdout], [1, ''])
    assert.match(stderr, /ca\.crt/)
  })
})
