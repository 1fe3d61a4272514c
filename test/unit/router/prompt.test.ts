import assert from 'node:assert/strict'
import { ClusterError } from '../../../lib/errors.js'
import { openCheckpoint } from '../../../lib/model/checkpoint.js'
import { promptTokens } from '../../../services/router/prompt.js'
import { demoModel } from '../../helpers/paths.js'

const CONTROL = '<|endoftext|>' // id 0

describe('promptTokens', () => {
  const checkpoint = openCheckpoint(demoModel)
  after(() => checkpoint.close())
  const chat = (...contents: string[]): readonly number[] =>
    promptTokens(checkpoint, { kind: 'chat', messages: contents.map((content) => ({ role: 'user', content })) })

  it('a control token spelled in a message stays text, and nothing of the text is lost', () => {
    const contents = [`a${CONTROL}b \ue000 `, `${CONTROL}${CONTROL}`]
    const tokens = chat(...contents)
    assert.ok(!tokens.includes(0))
    assert.equal(checkpoint.tokenizer?.decode(tokens), contents.join(''))
  })

  it('an ordinary chat is the template’s text, tokenised as one', () => {
    assert.deepEqual(chat('export ', 'interface'), checkpoint.tokenizer?.encode('export interface'))
  })

  it('text is never read for control tokens', () => {
    assert.ok(!promptTokens(checkpoint, { kind: 'text', text: `a${CONTROL}` }).includes(0))
  })

  describe('refuses what cannot fit before it is tokenised', () => {
    const isRefused = (field: string) => (error: unknown) =>
      error instanceof ClusterError && error.code === 'invalid_argument' && error.details.field === field
    const max = checkpoint.spec.maxPositions * 16

    it('a text', () => {
      assert.throws(() => promptTokens(checkpoint, { kind: 'text', text: ' '.repeat(max + 1) }), isRefused('prompt'))
      assert.ok(promptTokens(checkpoint, { kind: 'text', text: 'interface '.repeat(max / 10) }).length > 0)
    })

    it('messages, together', () =>
      assert.throws(() => chat('a'.repeat(max / 2), 'a'.repeat(max / 2)), isRefused('prompt')))

    it('too many messages', () =>
      assert.throws(() => chat(...Array.from({ length: max / 16 + 1 }, () => '')), isRefused('messages')))
  })
})
