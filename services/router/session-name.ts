// What a client calls a conversation may be anything, a person's name too: it is kept as a hash.

import { createHash } from 'node:crypto'

const HASH_DIGITS = 16

/** The name of a session from its header; undefined without one. */
export const sessionName = (header: string | undefined): string | undefined =>
  header === undefined || header === ''
    ? undefined
    : createHash('sha256').update(header).digest('hex').slice(0, HASH_DIGITS)
