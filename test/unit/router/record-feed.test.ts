// Listeners to records: none costs more memory than its bound, and who falls behind is told at once.

import assert from 'node:assert/strict'
import { ClusterError } from '../../../lib/errors.js'
import type { RequestRecord } from '../../../lib/traffic/request-record.js'
import { createRecordFeed } from '../../../services/router/capture/record-feed.js'
import { plainRecord } from '../../helpers/request-record.js'

const isExhausted = (error: unknown): boolean => error instanceof ClusterError && error.code === 'resource_exhausted'

const recordOf = (numTokens: number): RequestRecord =>
  plainRecord({
    content: 'ids',
    prompt: {
      numTokens,
      cachedTokens: 0,
      blockTokens: 512,
      blockHashes: [],
      ids: Array.from({ length: numTokens }, () => 7),
    },
  })

describe('createRecordFeed', () => {
  it('bounds what waits in bytes, and tells the listener while it is stuck', async () => {
    const feed = createRecordFeed()
    const { signal } = new AbortController()
    const told: ClusterError[] = []
    const heard = feed.listen({ tenant: '', content: 'ids', signal, onLost: (error) => void told.push(error) })
    const first = heard.next()
    const long = recordOf(2 ** 20) // 8 MiB
    feed.publish('', long)
    assert.equal((await first).done, false)
    feed.publish('', long)
    assert.deepEqual(told, [])
    for (let i = 0; i < 3; i++) feed.publish('', long)
    assert.equal(told.length, 1)
    await assert.rejects(heard.next(), isExhausted)
  })

  it('has so many listeners at most, and wants what they want', async () => {
    const feed = createRecordFeed()
    const abort = new AbortController()
    const listen = (content: 'ids' | 'hash') => feed.listen({ tenant: 'a', content, signal: abort.signal })
    const ends = [listen('hash'), listen('ids')].map((heard) => heard.next())
    assert.deepEqual([feed.contentFor('a'), feed.contentFor('b')], ['ids', undefined])
    for (let i = 2; i < 64; i++) ends.push(listen('hash').next())
    assert.throws(() => listen('hash'), isExhausted)
    abort.abort()
    await Promise.all(ends)
    assert.equal(feed.contentFor('a'), undefined)
  })
})
