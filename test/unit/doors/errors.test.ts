// One error, the same at every door.

import assert from 'node:assert/strict'
import { ClusterError, type ErrorCode } from '../../../lib/errors.js'
import { createApiKeys } from '../../../services/router/api-keys.js'
import { retryAfterMs, shortened, STATUS } from '../../../services/router/grpc/rich-errors.js'
import { errorBody, httpStatus } from '../../../services/router/http/http-errors.js'
import { CODES } from '../../../sdk/src/index.js'

const table: readonly [ErrorCode, http: number, grpc: number, type: string][] = [
  ['cancelled', 499, 1, 'server_error'],
  ['invalid_argument', 400, 3, 'invalid_request_error'],
  ['deadline_exceeded', 504, 4, 'timeout_error'],
  ['not_found', 404, 5, 'invalid_request_error'],
  ['already_exists', 409, 6, 'invalid_request_error'],
  ['permission_denied', 403, 7, 'permission_error'],
  ['resource_exhausted', 429, 8, 'rate_limit_error'],
  ['failed_precondition', 400, 9, 'invalid_request_error'],
  ['aborted', 409, 10, 'server_error'],
  ['unimplemented', 501, 12, 'invalid_request_error'],
  ['internal', 500, 13, 'server_error'],
  ['unavailable', 503, 14, 'server_error'],
  ['data_loss', 500, 15, 'server_error'],
  ['unauthenticated', 401, 16, 'authentication_error'],
]

describe('an error at the doors', () => {
  for (const [code, http, grpc, type] of table) {
    it(`${code}: HTTP ${http}, gRPC ${grpc}, the same word in the SDK`, () => {
      const error = new ClusterError(code, 'as it is')
      assert.deepEqual([httpStatus(error), STATUS[code], CODES[grpc]], [http, grpc, code])
      assert.deepEqual(errorBody(error), { error: { message: 'as it is', type, param: null, code } })
    })
  }

  it('names its field and its reason', () => {
    const details = { reason: 'MODEL_NOT_FOUND', field: 'model' }
    const { error } = errorBody(new ClusterError('not_found', 'x', { details }))
    assert.deepEqual([error.param, error.code], ['model', 'model_not_found'])
  })

  it('has a pause of its own or a common one', () => {
    const advised = (value: string): number =>
      retryAfterMs(new ClusterError('unavailable', 'x', { details: { retryAfterMs: value } }))
    assert.equal(advised('40'), 40)
    assert.equal(advised('soon'), retryAfterMs(new ClusterError('unavailable', 'x')))
  })

  it('is short enough for a trailer, and keeps whole characters', () => {
    const long = '🙂'.repeat(10_000)
    const error = shortened(new ClusterError('not_found', `a${long}`, { details: { model: long, reason: 'R' } }))
    assert.ok(encodeURI(error.message).length < 8_000)
    assert.ok(encodeURI(error.details.model ?? '').length < 8_000)
    assert.equal(error.details.reason, 'R')
  })
})

describe('API keys', () => {
  const keys = createApiKeys(['one', 'two'])
  const refused = (authorization: string | undefined): void =>
    assert.throws(
      () => keys.check(authorization),
      (error) => error instanceof ClusterError && error.code === 'unauthenticated',
    )

  it('let everybody in where none is configured', () => assert.equal(createApiKeys([]).check('Bearer x'), ''))

  it('tell the tenants apart without naming the key', () => {
    const [one, two] = [keys.check('Bearer one'), keys.check('bearer two')]
    assert.notEqual(one, two)
    assert.doesNotMatch(`${one}${two}`, /one|two/)
  })

  it('refuse what is absent, wrong, a part, or of another scheme', () => {
    for (const authorization of [undefined, '', 'Bearer', 'Bearer ', 'Bearer on', 'Bearer one two', 'Basic one', 'one'])
      refused(authorization)
  })

  it('never let an empty key in, even a configured one', () =>
    assert.throws(() => createApiKeys(['']).check('Bearer ')))

  it('of one name are one tenant, and the first says its rates', () => {
    const named = createApiKeys(['new;name=alice;requests=5', 'old;name=alice;tokens=9', 'three;tokens=7'])
    assert.deepEqual([named.check('Bearer new'), named.check('Bearer old')], ['alice', 'alice'])
    assert.equal(named.limitsOf('alice')?.requestsPerSecond, 5)
    assert.equal(named.limitsOf(named.check('Bearer three'))?.tokensPerMinute, 7)
    assert.throws(() => named.check('Bearer new;name=alice;requests=5'))
  })
})
