// The parts of the comparison with llama.cpp that need neither side: prompts, weight bytes, memory, its lockfile.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { activeBytes } from '../../../bench/peers/active-bytes.js'
import { drawPrompts } from '../../../bench/peers/prompts.js'
import { parseStatus } from '../../../bench/peers/resident-memory.js'
import { rowSizes } from '../../../bench/peers/rows.js'
import { candidates } from '../../../bench/peers/theirs.js'
import { repositoryRoot } from '../../helpers/paths.js'

describe('drawPrompts', () => {
  const options = fc.record({
    seed: fc.nat(),
    count: fc.integer({ min: 1, max: 64 }),
    length: fc.integer({ min: 16, max: 64 }),
    vocabSize: fc.integer({ min: 1000, max: 200_000 }),
  })

  it('is a function of its arguments', () => {
    fc.assert(fc.property(options, (drawn) => assert.deepEqual(drawPrompts(drawn), drawPrompts(drawn))))
  })

  it('draws ids of the vocabulary, and no prompt twice', () => {
    fc.assert(
      fc.property(options, (drawn) => {
        const prompts = drawPrompts(drawn)
        assert.ok(prompts.flat().every((id) => Number.isInteger(id) && id > 0 && id < drawn.vocabSize))
        assert.equal(new Set(prompts.map(String)).size, drawn.count)
      }),
    )
  })

  it('draws others for another seed', () =>
    assert.notDeepEqual(
      drawPrompts({ seed: 1, count: 1, length: 16, vocabSize: 4096 }),
      drawPrompts({ seed: 2, count: 1, length: 16, vocabSize: 4096 }),
    ))
})

describe('activeBytes', () => {
  const model = { activeParameters: 1000, vocabSize: 10, hidden: 32, isTied: true }

  it('counts block scales: float32 of ours, float16 of GGUF', () => {
    assert.equal(activeBytes(model, 'int8', 'ours'), 1125)
    assert.equal(activeBytes(model, 'int8', 'theirs'), 1062.5)
    assert.equal(activeBytes(model, 'int4', 'theirs'), 562.5)
  })

  it('leaves out an embedding that is not the LM head', () =>
    assert.equal(activeBytes({ ...model, isTied: false }, 'f32', 'ours'), (1000 - 320) * 4))
})

describe('rowSizes', () => {
  it('keeps a prompt and its token within the model’s context', () =>
    assert.deepEqual(
      rowSizes(2048, 64).flatMap(({ kind, promptTokens }) => (kind === 'prefill' ? [promptTokens] : [])),
      [32, 512, 2046],
    ))
})

describe('candidates', () => {
  it('tries one thread for little work, large batches for long prompts, flash attention both ways', () => {
    const tried = (promptTokens: number, streams: number): string[] =>
      candidates({ promptTokens, streams }, 2).map((c) => `${c.threads} ${c.batchSize} ${c.flashAttention}`)
    assert.deepEqual(tried(16, 1), ['2 512 true', '2 512 false', '1 512 true', '1 512 false'])
    assert.deepEqual(tried(2048, 1), ['2 512 true', '2 512 false', '2 2048 true', '2 2048 false'])
    assert.deepEqual(tried(16, 64), ['2 512 true', '2 512 false'])
  })
})

describe('parseStatus', () => {
  it('reads resident bytes from the text of /proc', () => {
    const text = 'Name:\tnode\nVmRSS:\t   2048 kB\nRssAnon:\t    1024 kB\nRssFile:\t    1024 kB\n'
    assert.deepEqual(parseStatus(text), { anonymousBytes: 2 ** 20, totalBytes: 2 ** 21 })
  })

  it('counts nothing of a process that has ended', () =>
    assert.deepEqual(parseStatus(''), { anonymousBytes: 0, totalBytes: 0 }))
})

describe('bench/peers/package-lock.json', () => {
  const lock = readFileSync(join(repositoryRoot, 'bench', 'peers', 'package-lock.json'), 'utf8')

  it('names no registry host', () => assert.doesNotMatch(lock, /"resolved"/))
})
