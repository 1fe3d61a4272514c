// Decides whether a draft model says what it would say of the whole text, whatever tree it runs, and what it runs twice.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ClusterError } from '../../../lib/errors.js'
import { OP, type Kernels } from '../../../lib/compute/kernels.js'
import { openCheckpoint, type Checkpoint } from '../../../lib/model/checkpoint.js'
import type { ModelTokenizer } from '../../../lib/model/tokenizer.js'
import { openSafetensors } from '../../../lib/model/safetensors.js'
import type { DraftModel, NodeRow } from '../../../services/drafter/draft-model.js'
import { createModelDrafter } from '../../../services/drafter/model-drafter.js'
import { demoModel, goldenModel } from '../../helpers/paths.js'
import { referenceLogits, type ReferenceConfig } from '../../helpers/reference-model.js'
import { COMPUTE, drawTokens, openDemo } from './demo-heads.js'
import { sequenceOf } from './drafting.js'
import { relativeError } from './reference-heads.js'

const TOLERANCE = 1e-4

/** An engine that counts the rows whose keys are rotated, layer by layer: those that are run. */
function counting({ kernels, ...rest }: typeof COMPUTE, numLayers: number) {
  let rotated = 0
  const task: Kernels['task'] = (op, ...operands) => {
    if (op === OP.rotate) rotated += operands[3] ?? 0
    kernels.task(op, ...operands)
  }
  const counter = {
    reset: () => (rotated = 0),
    get rows() {
      return rotated / numLayers
    },
  }
  return { counter, compute: { ...rest, kernels: { ...kernels, task } } }
}

describe('createModelDrafter', () => {
  const target = openDemo()
  const { vocabSize } = target.spec
  const checkpoint = openDemo()
  const { counter, compute } = counting(COMPUTE, checkpoint.spec.layers.length)
  let model: DraftModel
  before(async () => {
    model = await createModelDrafter(checkpoint, { ...compute, target })
  })
  after(() => {
    model.dispose()
    target.close()
  })

  let numForgotten = 0
  /** Logits after a text, run at once as a sequence of its own. */
  const plainly = (tokens: ArrayLike<number>): Float32Array => {
    const id = `plain-${numForgotten++}`
    const [logits] = model.follow([{ sequence: sequenceOf(tokens, { id }), hidden: [] }])
    assert.ok(logits !== undefined)
    const copy = logits.slice()
    model.forget(id)
    return copy
  }

  /** Follows a text to its end: a long one takes several calls. */
  const followOne = (tokens: ArrayLike<number>, id = 's'): Float32Array | undefined => {
    const following = { sequence: sequenceOf(tokens, { id }), hidden: [] }
    let logits: Float32Array | undefined
    do logits = model.follow([following])[0]?.slice()
    while (model.backlog(following) > 0)
    return logits
  }

  /** Tokens after each node of a drawn tree: the parent of node i is drawn among the nodes before it. */
  function drawTree(committed: Int32Array, parents: readonly number[], id = 's') {
    const sequence = sequenceOf(committed, { id })
    const paths: number[][] = [[]]
    const rows = parents.map((drawn, i): NodeRow => {
      const [node, parent] = [i + 1, drawn % (i + 1)]
      const token = (node * 131 + committed[0]!) % vocabSize
      const path = [...paths[parent]!, token]
      paths.push(path)
      return { sequence, node, parent, token, depth: path.length }
    })
    return { rows, texts: paths.slice(1).map((path) => [...committed, ...path]) }
  }

  const anyCommitted = fc
    .tuple(fc.integer({ min: 1, max: 1e6 }), fc.integer({ min: 1, max: 12 }))
    .map(([seed, length]) => drawTokens(seed, length, vocabSize))
  const anyParents = fc.array(fc.nat(), { minLength: 1, maxLength: 6 })

  it('says what the published model says', () => {
    const file = openSafetensors(join(demoModel, 'model.safetensors'))
    const weights = new Map(
      [...file.tensors].map(([name, { shape }]) => [name, { data: file.readFloat32(name), shape }] as const),
    )
    file.close()
    const json = JSON.parse(readFileSync(join(demoModel, 'config.json'), 'utf8')) as ReferenceConfig // published
    const config = { ...json, rope_parameters: { rope_theta: 10_000, rope_type: 'default' } }
    const tokens = drawTokens(5, 6, vocabSize)
    const error = relativeError(plainly(tokens), referenceLogits(config, weights, [...tokens])[5]!)
    assert.ok(error < TOLERANCE, `off by ${error}`)
  })

  it('says after a root what it says of the whole text, however the text came', () => {
    const anyCuts = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(anyCommitted, anyCuts, (tokens, cuts) => {
        let held = 0
        for (const cut of cuts) {
          if (held === tokens.length) break
          held = Math.min(tokens.length, held + cut)
          assert.deepEqual(followOne(tokens.subarray(0, held)), plainly(tokens.subarray(0, held)))
        }
        model.forget('s')
      }),
      { numRuns: 10 },
    )
  })

  it('says after a node what it says of the text on the path to it', () => {
    fc.assert(
      fc.property(anyCommitted, anyParents, (committed, parents) => {
        followOne(committed)
        const { rows, texts } = drawTree(committed, parents)
        const logits = model.expand(rows).map((row) => row.slice())
        texts.forEach((text, i) => assert.deepEqual(logits[i], plainly(text)))
        model.forget('s')
      }),
      { numRuns: 10 },
    )
  })

  it('says it of the nodes of several sequences in one call, their rows mixed', () => {
    fc.assert(
      fc.property(anyCommitted, anyCommitted, anyParents, anyParents, (first, second, parents, others) => {
        followOne(first, 'a')
        followOne(second, 'b')
        const trees = [drawTree(first, parents, 'a'), drawTree(second, others, 'b')]
        const nodes = trees
          .flatMap(({ rows, texts }) => rows.map((row, i) => ({ row, text: texts[i]! })))
          .sort((a, b) => a.row.node - b.row.node)
        const logits = model.expand(nodes.map(({ row }) => row)).map((row) => row.slice())
        nodes.forEach(({ text }, i) => assert.deepEqual(logits[i], plainly(text)))
        for (const id of ['a', 'b']) model.forget(id)
      }),
      { numRuns: 10 },
    )
  })

  it('says it over several waves', () => {
    const committed = drawTokens(3, 6, vocabSize)
    followOne(committed)
    const { rows, texts } = drawTree(committed, [0, 0, 1, 2, 3, 3])
    for (const [i, row] of rows.entries()) assert.deepEqual(model.expand([row])[0]?.slice(), plainly(texts[i]!))
    model.forget('s')
  })

  /** Follows a text, runs the tree  0 ── 7 ── 8 ── 9,  0 ── 5  and follows what then came true. */
  function runAndFollow(cameTrue: readonly number[]) {
    const committed = drawTokens(3, 6, vocabSize)
    const sequence = sequenceOf(committed)
    followOne(committed)
    model.expand([
      { sequence, node: 1, parent: 0, token: 5, depth: 1 },
      { sequence, node: 2, parent: 0, token: 7, depth: 1 },
      { sequence, node: 3, parent: 2, token: 8, depth: 2 },
      { sequence, node: 4, parent: 3, token: 9, depth: 3 },
    ])
    const text = [...committed, ...cameTrue]
    counter.reset()
    const logits = followOne(text)
    const numRun = counter.rows
    model.forget('s')
    return { logits, numRun, wanted: plainly(text) }
  }

  for (const [title, cameTrue, numRun] of [
    ['all but the new root', [7, 8, 30], 1],
    ['the whole chain, and runs what came after', [7, 8, 9, 30, 31], 2],
    ['a part of it', [7, 30, 31], 2],
    ['nothing of it where something else came', [30, 7, 8], 3],
  ] as const) {
    it(`M1 keeps the nodes that came true: ${title}`, () => {
      const result = runAndFollow(cameTrue)
      assert.equal(result.numRun, numRun)
      assert.deepEqual(result.logits, result.wanted)
    })
  }

  it('M1 forgets the nodes that did not come true', () => {
    const committed = drawTokens(3, 6, vocabSize)
    followOne(committed)
    const { rows } = drawTree(committed, [0, 1, 2])
    model.expand(rows)
    const longer = Int32Array.from([...committed, 9])
    followOne(longer)
    const again = drawTree(longer, [0, 1])
    const logits = model.expand(again.rows).map((row) => row.slice())
    again.texts.forEach((text, i) => assert.deepEqual(logits[i], plainly(text)))
    model.forget('s')
  })

  it('takes a long text in over several calls', () => {
    const tokens = drawTokens(8, 1300, vocabSize)
    counter.reset()
    const logits = followOne(tokens)
    assert.equal(counter.rows, tokens.length)
    followOne(tokens.subarray(0, 700), 'b')
    assert.deepEqual(logits, followOne(tokens, 'b'))
    for (const id of ['s', 'b']) model.forget(id)
  })

  it('gives the memory of a forgotten sequence back', () => {
    const tokens = drawTokens(8, 300, vocabSize)
    followOne(tokens)
    model.forget('s')
    const used = COMPUTE.kernels.usedBytes
    followOne(tokens)
    model.forget('s')
    assert.equal(COMPUTE.kernels.usedBytes, used)
  })
})

describe('createModelDrafter, another vocabulary', () => {
  const refuses = async (draft: Checkpoint, target: Checkpoint, message: RegExp): Promise<void> => {
    await assert.rejects(
      createModelDrafter(draft, { ...COMPUTE, target }),
      (error) => error instanceof ClusterError && error.code === 'failed_precondition' && message.test(error.message),
    )
    draft.close()
    target.close()
  }

  it('refuses a model with another number of tokens, naming both and the folder', () => {
    const path = goldenModel('qwen3-moe')
    return refuses(openCheckpoint(path), openDemo(), new RegExp(`${path}.*4096.*320`))
  })

  /** The demonstration model with other tokens in the place of some. */
  function withTokens(placeOf: (token: number, tokenizer: ModelTokenizer) => number): Checkpoint {
    const checkpoint = openDemo()
    const { tokenizer } = checkpoint
    assert.ok(tokenizer !== undefined)
    return {
      ...checkpoint,
      tokenizer: {
        ...tokenizer,
        tokenText: (token) => tokenizer.tokenText(placeOf(token, tokenizer)),
        tokenBytes: (token) => tokenizer.tokenBytes(placeOf(token, tokenizer)),
      },
    }
  }

  it('refuses a model with another tokenizer, naming the first token that differs', () =>
    refuses(
      withTokens((token) => (token >= 300 ? 65 : token)),
      openDemo(),
      /tokenizer.*token 300 /,
    ))

  it('tells apart tokens that are no whole characters', () => {
    const partsOf = (tokenizer: ModelTokenizer): number[] =>
      Array.from({ length: 300 }, (_, token) => token).filter((token) => tokenizer.tokenText(token) === '')
    const swapped = (token: number, tokenizer: ModelTokenizer): number => {
      const [first, second] = partsOf(tokenizer).slice(-2)
      return token === first ? second! : token === second ? first! : token
    }
    return refuses(withTokens(swapped), openDemo(), /tokenizer/)
  })
})
