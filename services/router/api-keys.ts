// Who may call: API keys, compared in constant time. Without configured keys everybody may, and any key is ignored.

import { createHash, timingSafeEqual } from 'node:crypto'
import { parseApiKey, type RateLimit } from '../../lib/config/api-keys.js'
import { ClusterError } from '../../lib/errors.js'

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

export interface ApiKeys {
  /** The caller's tenant (its key's name, else a short hash of the key; '' without keys). Throws `unauthenticated`. */
  check(authorization: string | undefined): string
  /** What the tenant's key says of its rates. */
  readonly limitsOf: (tenant: string) => RateLimit | undefined
}

interface KnownKey extends RateLimit {
  readonly digest: Buffer
  readonly tenant: string
}

/** Keys as they are configured (`lib/config/api-keys.ts`). */
export function createApiKeys(keys: readonly string[]): ApiKeys {
  const known = keys.map((text): KnownKey => {
    const { key, name, ...limits } = parseApiKey(text)
    return { digest: digest(key), tenant: name ?? digest(key).toString('hex').slice(0, 16), ...limits }
  })
  const byTenant = new Map([...known].reverse().map((key) => [key.tenant, key])) // the first key of a name says its rates
  return {
    check: (authorization) => {
      if (known.length === 0) return ''
      const [, key = ''] = /^Bearer\s+(.+)$/i.exec(authorization ?? '') ?? []
      const given = digest(key)
      // Every key is compared: the time taken says nothing about which one, or how much of it, was right.
      const found = known.reduce<KnownKey | undefined>(
        (match, candidate) => (timingSafeEqual(candidate.digest, given) ? candidate : match),
        undefined,
      )
      if (found !== undefined && key !== '') return found.tenant
      throw new ClusterError('unauthenticated', 'want a known key in `Authorization: Bearer KEY`', {
        details: { reason: 'UNKNOWN_API_KEY' },
      })
    },
    limitsOf: (tenant) => byTenant.get(tenant),
  }
}
