import assert from 'node:assert/strict'
import { isApiKey, parseApiKey } from '../../../lib/config/api-keys.js'

describe('parseApiKey', () => {
  it('reads a name and limits after the key, in any order', () => {
    const wanted = { key: 'k', name: 'alice', requestsPerSecond: 5, tokensPerMinute: 1000 }
    assert.deepEqual(parseApiKey('k;name=alice;requests=5;tokens=1000'), wanted)
    assert.deepEqual(parseApiKey('k;tokens=1000;name=alice;requests=5'), wanted)
  })

  it('leaves a key alone that only looks a little like that', () => {
    for (const key of ['a;b', 'c2VjcmV0==', 'a;b=c', 'x=1'])
      assert.deepEqual(parseApiKey(key), {
        key,
        name: undefined,
        requestsPerSecond: undefined,
        tokensPerMinute: undefined,
      })
  })

  it('refuses options that are unknown, double, empty or no numbers, without showing the key', () => {
    const bad = [
      'k;requests=',
      'k;requests=0',
      'k;requests=x',
      'k;name=a b',
      'k;name=a;name=b',
      'k;name=a;speed=1',
      ';name=a',
    ]
    for (const text of bad) assert.ok(!isApiKey(text), text)
    assert.throws(
      () => parseApiKey('secret;requests=x'),
      (error: Error) => !error.message.includes('secret') && error.message.includes('requests'),
    )
  })
})
