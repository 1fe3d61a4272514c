import assert from 'node:assert/strict'
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
})
