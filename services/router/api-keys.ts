// Who may call: API keys, compared in constant time. Without configured keys everybody may, and any key is ignored.

import { createHash, timingSafeEqual } from 'node:crypto'
import { ClusterError } from '../../lib/errors.js'

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

export interface ApiKeys {
  /** The caller's tenant (a short hash of its key, or '' without keys). Throws `unauthenticated`. */
  check(authorization: string | undefined): string
}

export function createApiKeys(keys: readonly string[]): ApiKeys {
  const digests = keys.map(digest)
  return {
    check: (authorization) => {
      if (digests.length === 0) return ''
      const [, key = ''] = /^Bearer\s+(.+)$/i.exec(authorization ?? '') ?? []
      const given = digest(key)
      // Every key is compared: the time taken says nothing about which one, or how much of it, was right.
      const isKnown = digests.reduce((found, known) => timingSafeEqual(known, given) || found, false)
      if (isKnown && key !== '') return given.toString('hex').slice(0, 16)
      throw new ClusterError('unauthenticated', 'want a known key in `Authorization: Bearer KEY`', {
        details: { reason: 'UNKNOWN_API_KEY' },
      })
    },
  }
}
